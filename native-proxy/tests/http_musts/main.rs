//! What RFC 9110 and RFC 9112 demand of an intermediary and no other test holds, and that the table
//! of all demands (`docs/http-musts.md`) names tests that exist.

mod answers;
mod connections;
mod fields;
mod lengths;
#[path = "../proxy_support/mod.rs"]
mod proxy_support;
mod table;
mod targets;

use proxy_support::{TEST_DEADLINE, Upstream};
use std::sync::mpsc::{self, Receiver};

/// A request as an upstream got it: its head, byte for byte, and its body.
struct Got {
    head: String,
    body: Vec<u8>,
}

impl Got {
    /// The values of all lines of this name, in their order.
    fn values(&self, name: &str) -> Vec<&str> {
        values(&self.head, name)
    }
}

/// The values of all lines of this name, in their order.
fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(is, _)| is.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

/// An upstream that gives each request to the test and answers it with what `answer` says.
fn telling(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> (Upstream, Receiver<Got>) {
    let (told, requests) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        while let Some(head) = peer.raw_head() {
            let body = peer.body_of(&head);
            let answer = answer(&head);
            // The test may have seen enough.
            drop(told.send(Got { head, body }));
            peer.send(&answer);
        }
    });
    (upstream, requests)
}

/// The next request that an upstream got.
fn next(requests: &Receiver<Got>) -> Got {
    requests.recv_timeout(TEST_DEADLINE).expect("a request")
}
