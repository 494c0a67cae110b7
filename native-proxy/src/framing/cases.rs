//! Requests, good and bad, for the tests.

pub(super) const GET: &str = "GET /a?b=c HTTP/1.1\r\nHost: echo:80\r\nX: y z\r\n\r\n";
pub(super) const POST: &str = "POST /echo HTTP/1.1\r\nhost: echo\r\ncontent-length: 5\r\n\r\nhello";
pub(super) const CHUNKED: &str = "POST /echo HTTP/1.1\r\nhost: echo\r\ntransfer-encoding: Chunked\r\n\r\n\
    5\r\nhello\r\n00A;a;b=c;d=\"e\\\"f g\"\r\n0123456789\r\n0\r\nx-sum: 1\r\n\r\n";

/// Good requests besides those.
pub(super) const GOOD: [&str; 10] = [
    "GET /\"{a}|^\\~[b]?`{c}|^\\[d]' HTTP/1.1\r\nhost: a%41_b:80\r\n\r\n",
    "\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
    "GET http://a.example/x HTTP/1.1\r\nhost: a.example\r\n\r\n",
    "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n",
    "GET / HTTP/1.1\r\nHOST:\t[::1]:80 \t\r\nempty:\r\nlatin: \u{e9}\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length:  00003 \r\n\r\nabc",
    "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
];

/// Heads that are refused, and by what status. `^` stands for a NUL.
pub(super) const BAD: [(u16, &str); 74] = [
    // Length and coding.
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5, 5\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +5\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -5\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0x5\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5 5\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length:\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9223372036854775808\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999999\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, chunked\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: identity\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: \u{b}chunked\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding:\r\n\r\n"),
    (
        400,
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
    ),
    (
        400,
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: x\r\n\r\n",
    ),
    (400, "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"),
    // Lines.
    (400, "GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n folded\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n\tfolded\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\n host: a\r\n\r\n"),
    (400, "GET / HTTP/1.1\nhost: a\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\n\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nx: y\r\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\r\nhost: a\r\n\r\n"),
    (400, "\n\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "\r\n\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nx: a^b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nx^: b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nx: a\u{7f}b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nx : b\r\n\r\n"),
    (400, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length : 5\r\n\r\nhello"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\n: b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nno colon\r\n\r\n"),
    // Host.
    (400, "GET / HTTP/1.1\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a\r\nHost: b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a, b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost:\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a:b\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: :80\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: user@a\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: ::1\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: [::1\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nhost: a%zz\r\n\r\n"),
    (400, "GET http://a:b/ HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET http://[::1/ HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET http://a%41/ HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "CONNECT a:b HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "CONNECT user@a:443 HTTP/1.1\r\nhost: a\r\n\r\n"),
    // Request line.
    (400, "GET /<a> HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET /`a HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET /?\"a\" HTTP/1.1\r\nhost: a\r\n\r\n"),
    // TLS.
    (400, "\u{16}\u{3}\u{1}\r\n\r\n"),
    (400, "GET /a\u{1}b HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET /a^b HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET /a b HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET  / HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "G(T / HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET http://user@a/ HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET http://?a HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET http://a,b/ HTTP/1.1\r\nhost: a\r\n\r\n"),
    // Expectations.
    (417, "POST / HTTP/1.1\r\nhost: a\r\nexpect: more\r\ncontent-length: 5\r\n\r\nhello"),
    (417, "GET / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue, more\r\n\r\n"),
    (417, "GET / HTTP/1.1\r\nhost: a\r\nexpect:\r\n\r\n"),
    (400, "GET a HTTP/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET / http/1.1\r\nhost: a\r\n\r\n"),
    (400, "GET /\r\nhost: a\r\n\r\n"),
];

/// Chunked bodies that turn bad, and how much of them is good.
pub(super) const BAD_BODIES: [(usize, &str); 20] = [
    (0, "g\r\n"),
    (0, "\r\n"),
    (0, " 5\r\nhello\r\n"),
    (0, "-5\r\nhello\r\n"),
    (1, "0x5\r\nhello\r\n"),
    (1, "5 \r\nhello\r\n"),
    (1, "5\nhello\r\n"),
    (15, "0000000000000005\r\nhello\r\n"),
    (15, "ffffffffffffffff\r\n"),
    (2, "5;\r\nhello\r\n"),
    (3, "5;a\nhello\r\n"),
    (4, "5;a=\r\nhello\r\n"),
    (6, "5;a=\"b\r\nhello\r\n"),
    (3, "5;a\0\r\nhello\r\n"),
    (8, "5\r\nhello0\r\n\r\n"),
    (9, "5\r\nhello\r5\r\n"),
    (3, "0\r\n: x\r\n\r\n"),
    (17, "0\r\ncontent-length: 5\r\n\r\n"),
    (7, "0\r\nx: y\n\r\n"),
    (4, "0\r\n\rx"),
];
