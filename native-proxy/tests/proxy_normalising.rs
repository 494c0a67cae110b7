//! Behind the proxy stand servers that bring paths into a form of their own: whatever a client
//! writes, the policy and the route that judged it are those of the path where it ends.

mod proxy_support;

use proxy_support::{Running, get, wait_for};
use socket2::{Domain, Socket, Type};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A server; ended when dropped.
struct Server {
    child: Child,
    address: SocketAddr,
    _held: Socket,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts `program` where it is installed; `arguments` gets a folder of its own and a free port.
fn start(program: &str, arguments: impl FnOnce(&PathBuf, u16) -> Vec<String>) -> Option<Server> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
        println!("skipped: paths before {program}, which is not installed");
        return None;
    }
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("paths-{program}"));
    fs::create_dir_all(&folder).unwrap();
    // Held, and yet the server can take it: both say so, and this one does not listen. A port that is only
    // free may be another's by then, or our own: who connects to it can be given it as his own end.
    let held = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    held.set_reuse_address(true).unwrap();
    held.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let address = held.local_addr().unwrap().as_socket().unwrap();
    let mut command = Command::new(program);
    command.args(arguments(&folder, address.port())).current_dir(&folder);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut server = Server { child, address, _held: held };
    wait_for(program, || {
        assert!(server.child.try_wait().unwrap().is_none(), "{program} ended");
        TcpStream::connect(address).ok()
    });
    Some(server)
}

/// Each answers with the first segment of the path that it ends at: `public`, `admin` or `rest`.
#[test]
fn before_nginx() {
    let server = start("nginx", |folder, port| {
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/{kind}; ", folder.display()))
            .concat();
        let text = format!(
            "daemon off; master_process off; error_log stderr; pid {0}/pid; events {{}} \
             http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port}; \
             location ~ ^/public(/|$) {{ return 200 public; }} \
             location ~ ^/admin(/|$) {{ return 200 admin; }} \
             location / {{ return 200 rest; }} }} }}",
            folder.display()
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, text).unwrap();
        let argument = |path: &PathBuf| path.to_str().unwrap().to_owned();
        vec!["-p".into(), argument(folder), "-c".into(), argument(&file)]
    });
    if let Some(server) = server {
        judge(&server);
    }
}

#[test]
fn before_pythons_server() {
    const SERVER: &str = r#"
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
class Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        # What it would open, in a folder "/".
        self.directory = "/"
        first = self.translate_path(self.path).split("/")[1]
        body = (first if first in ("public", "admin") else "rest").encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;
    let server = start("python3", |_, port| vec!["-c".into(), SERVER.into(), port.to_string()]);
    if let Some(server) = server {
        judge(&server);
    }
}

#[test]
fn before_javas_server() {
    const SERVER: &str = r#"
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;
public class Server {
    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(arguments[0]);
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
        server.setExecutor(Executors.newFixedThreadPool(2));
        server.createContext("/", exchange -> {
            String first = "";
            for (String part : exchange.getRequestURI().normalize().getPath().split("/"))
                if (first.isEmpty()) first = part;
            byte[] body = (first.equals("public") || first.equals("admin") ? first : "rest").getBytes();
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
    }
}
"#;
    let server = start("java", |folder, port| {
        let file = folder.join("Server.java");
        fs::write(&file, SERVER).unwrap();
        let small = ["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-Xmx64m"].map(String::from);
        let file = file.to_str().unwrap().to_owned();
        small.into_iter().chain([file, port.to_string()]).collect()
    });
    if let Some(server) = server {
        judge(&server);
    }
}

/// Spellings from reports, then ones that a seed makes.
fn spellings() -> Vec<String> {
    let known = [
        "/admin",
        "//admin",
        "/./admin",
        "/%61dmin",
        "/x/../admin",
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/x/../../admin",
        "/public//../admin",
        "/x//../admin",
        "/public/..%2fadmin",
        "/public/..;/admin",
        "/public/..%5cadmin",
        "/%2e%2e/admin",
        "/public/%252e%252e/admin",
        "/public%2f..%2fadmin",
        "/admin/..",
        "/admin/../public/.",
        "/public/.%00./admin",
        "/admin%00",
        "/;/admin",
        "/admin/%2e",
        "/..//admin",
        "/a%2fb/../admin",
    ];
    let pieces = [
        "/", "/", "/", "//", ".", "..", "%2e", "%2E%2e", "a", "admin", "public", "%61dmin",
        "pu%62lic", "..;", ";", "%2F", "%2f", "%5C", "\\", "%25", "%252e", "~", "@", ":", "%20",
        "+",
    ];
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut number = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below
    };
    let made: Vec<String> = (0..400)
        .map(|_| {
            let count = 1 + number(9);
            let path: String = (0..count).map(|_| pieces[number(pieces.len())]).collect();
            format!("/{path}")
        })
        .collect();
    known.into_iter().map(str::to_owned).chain(made).collect()
}

fn judge(server: &Server) {
    let policies = ["public", "admin"]
        .map(|name| {
            format!("{{name: {name}, debug_headers: true, match: {{path_prefix: /{name}}}}}")
        })
        .join(", ");
    let policies =
        format!("policies: [{policies}, {{name: rest, debug_headers: true, scope: policy}}]");
    let all = Running::start(server.address, &policies);
    let file = proxy_support::file(server.address, "");
    let one = Running::with(&file.replace("routes: [{", "routes: [{path_prefix: /public, "));
    let mut compared = [0; 3];
    for path in spellings() {
        let answer = all.ask(&get(&path));
        let policy = answer.header("x-bimetal-policy").map(str::to_owned);
        if answer.status == 200 {
            let end = answer.text();
            let policy = policy.unwrap_or_default();
            let is_split = path.to_ascii_lowercase().contains("%2f");
            // Whether an encoded slash is one is the upstream's matter. What it cannot do is to
            // lead out of where it was let in.
            if !is_split || policy != "rest" {
                assert_eq!(end, policy, "{path}");
                compared
                    [["public", "admin", "rest"].iter().position(|name| **name == end).unwrap()] +=
                    1;
            }
        }
        let answer = one.ask(&get(&path));
        if answer.status == 200 {
            assert_eq!(answer.text(), "public", "{path} by the only route");
        }
    }
    assert!(compared.iter().all(|count| *count > 10), "{compared:?} were worth comparing");
}
