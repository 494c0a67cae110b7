//! Instructions of a request through a proxy.

use super::super::Extent;
use super::super::arms::free_port;
use super::super::servers::{self, Relay};
use super::callgrind::{self, Callgrind};
use super::traffic::{self, Call, Origin, Proxy};
use crate::{process, say};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The host that every request names, whatever port it goes to: numbers of another length would be
/// other work.
const HOST: &str = "127.0.0.1:18080";

/// Fields that a browser sends beside the host.
const BROWSER: [(&str, &str); 8] = [
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/141.0.0.0 Safari/537.36",
    ),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"),
    ("Accept-Language", "en-US,en;q=0.9,de;q=0.8"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Referer", "https://shop.example/products?page=2"),
    ("Cookie", "session=4f1c2a9be07d4e55; theme=dark; consent=necessary"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Cache-Control", "max-age=0"),
];

/// The row with traces at a sampling of 0, and the one without them that it is held against.
pub const UNSAMPLED: &str = "GET with policy, traces at 0";
/// See [`UNSAMPLED`].
pub const POLICY: &str = "GET with policy";

/// Bytes of the row with a body.
const BODY: usize = 1024;

/// How the proxy is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Ours without a policy.
    Bare,
    /// Ours with the study's breaker and a timeout.
    Policy,
    /// The same, with an exporter of traces that records none of the requests.
    Unsampled,
    /// Ours with a breaker that is held open.
    Open,
    /// HAProxy.
    Haproxy,
}

/// A measured request.
#[derive(Debug)]
pub struct Row {
    /// Its name in tables and files.
    pub name: &'static str,
    /// The proxy it goes through.
    pub setting: Setting,
    call: Call,
}

/// What is measured.
pub fn rows() -> Vec<Row> {
    let row = |name, setting, request: fn(&str) -> Vec<u8>, status| {
        // No policy is for that path, so no time limit is either: the first calls under callgrind
        // take seconds.
        let call = Call { request: request("/echo"), warm_up: request("/warm"), status };
        Row { name, setting, call }
    };
    vec![
        row("GET without a policy", Setting::Bare, get, 200),
        row(POLICY, Setting::Policy, get, 200),
        row(UNSAMPLED, Setting::Unsampled, get, 200),
        row("GET with policy and 8 more headers", Setting::Policy, get_by_browser, 200),
        row("POST of 1 KiB with policy", Setting::Policy, post, 200),
        row("GET rejected by an open breaker", Setting::Open, get, 503),
        row("GET through HAProxy", Setting::Haproxy, get, 200),
    ]
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").into_bytes()
}

fn get_by_browser(path: &str) -> Vec<u8> {
    let fields = BROWSER.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
    format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n").into_bytes()
}

fn post(path: &str) -> Vec<u8> {
    let body = "x".repeat(BODY);
    format!(
        "POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n\
         Content-Length: {BODY}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Requests of the run with few and of the run with many. The few warm up: they open the
/// connections on both sides and grow what grows once.
const fn calls(extent: Extent) -> (u64, u64) {
    match extent {
        Extent::Usual => (1_600, 17_600),
        Extent::Quick => (640, 1_920),
    }
}

/// Counts `row` through `program`, with `origin` behind it.
///
/// # Errors
/// The program does not start or end, or answers in another way than the row expects.
pub fn count(
    callgrind: &Callgrind,
    program: &Path,
    row: &Row,
    origin: &Origin,
    extent: Extent,
) -> Result<f64> {
    let (few, many) = calls(extent);
    let run = |calls| {
        let listen = free_port()?;
        let (file, first) = configured(callgrind, row.setting, listen, origin.address)?;
        let file = file.display().to_string();
        let arguments: Vec<&str> = first.iter().copied().chain([file.as_str()]).collect();
        let work = |process| {
            let proxy = Proxy { address: listen, process };
            traffic::send(&proxy, origin, &row.call, calls)
        };
        callgrind.serving(program, &arguments, listen, work).map(|counted| (calls, counted))
    };
    // The policy's time limit may be over where the machine has much other work.
    let run = |calls| {
        run(calls).or_else(|error| {
            if process::stopping() {
                return Err(error);
            }
            say::line(format!("    once more, because: {error:#}"));
            run(calls)
        })
    };
    let counted = run(few).and_then(|fewer| callgrind::per_call(fewer, run(many)?));
    counted.with_context(|| row.name.to_owned())
}

/// Writes the program's file; gives it and the arguments before it.
fn configured(
    callgrind: &Callgrind,
    setting: Setting,
    listen: SocketAddr,
    upstream: SocketAddr,
) -> Result<(PathBuf, &'static [&'static str])> {
    let (name, text, arguments): (_, _, &[&str]) = match setting {
        Setting::Haproxy => {
            ("haproxy.cfg", servers::haproxy(listen, upstream, Relay::Http), &["-f"])
        }
        _ => {
            let addresses = [listen, free_port()?, free_port()?];
            let mut file = servers::native(addresses, upstream, &policies(setting));
            // A program that starts under callgrind beside other work needs more than the usual 10 s.
            file["listeners"][0]["header_timeout"] = "10m".into();
            if setting == Setting::Unsampled {
                file["telemetry"] = json!({"traces": {"exporter": "otlp_stdout", "sample": 0}});
            }
            ("proxy.json", file.to_string(), &["proxy", "--config"])
        }
    };
    let file = callgrind.file(name);
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok((file, arguments))
}

fn policies(setting: Setting) -> Value {
    let mut policies = servers::policy()["policies"].take();
    match setting {
        Setting::Bare | Setting::Haproxy => json!([]),
        Setting::Policy | Setting::Unsampled => policies,
        Setting::Open => {
            policies[0]["mode"] = "forced_open".into();
            policies
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::Reader;
    use super::*;
    use bimetal_core::policy::{Document, Host, Mode};

    #[test]
    fn every_request_is_one_whole_message() {
        for row in rows() {
            for request in [&row.call.request, &row.call.warm_up] {
                let mut reader = Reader::new(request.as_slice());
                let message = reader.next().unwrap().unwrap();
                let body = if row.name.starts_with("POST") { BODY } else { 0 };
                assert_eq!(message.body.len(), body, "{}", row.name);
                assert_eq!(reader.next().unwrap(), None, "{}", row.name);
            }
            assert_eq!(row.call.request.len(), row.call.warm_up.len());
        }
    }

    #[test]
    fn only_the_rejection_is_held_open() {
        for (setting, mode) in [(Setting::Policy, Mode::Enforce), (Setting::Open, Mode::ForcedOpen)]
        {
            let text = json!({"version": "v1", "policies": policies(setting)}).to_string();
            let document = Document::parse(text.as_bytes(), Host::Native).unwrap();
            assert_eq!(document.policies[0].mode, mode);
        }
    }
}
