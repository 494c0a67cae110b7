use super::*;
use crate::clock::Clock;
use crate::config::{Syntax, parse};
use bimetal_core::Duration as Span;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use tokio::runtime::{Builder, LocalOptions};

fn checks(healthy_after: u32, unhealthy_after: u32) -> Checks {
    Checks {
        path: "/healthz?full".into(),
        interval: Span::from_millis(1),
        timeout: Span::from_secs(10),
        healthy_after,
        unhealthy_after,
    }
}

/// What an endpoint is after each of these checks.
fn after(begin: Health, ends: &str) -> String {
    let (mut row, mut health) = (Row::default(), begin);
    let checks = checks(2, 3);
    let letters = ends.chars().map(|end| {
        health = match end {
            '+' => row.passed(health, &checks),
            _ => row.failed(health, &checks),
        };
        match health {
            Health::Healthy => 'h',
            Health::Unhealthy => 'u',
            Health::Unknown | Health::New => '?',
        }
    });
    letters.collect()
}

#[test]
fn the_first_check_decides_at_once_and_others_in_a_row() {
    for begin in [Health::Unknown, Health::New] {
        assert_eq!(after(begin, "+--+---+-++"), "hhhhhhuuuuh");
        assert_eq!(after(begin, "-+-++"), "uuuuh");
    }
    assert_eq!(after(Health::Healthy, "--+--+---"), "hhhhhhhhu");
    assert_eq!(after(Health::Unhealthy, "+-+-++-"), "uuuuuhh");
}

/// A server that answers each connection with these bytes; `None`: by silence.
fn server(answer: Option<&'static str>) -> (SocketAddr, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let Some(answer) = answer else {
                silent.push(stream);
                continue;
            };
            let mut head = Vec::new();
            let mut piece = [0; 1_024];
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read(&mut piece) {
                    Ok(size @ 1..) => head.extend(&piece[..size]),
                    _ => break,
                }
            }
            // The test may be over.
            drop(tell.send(String::from_utf8_lossy(&head).to_lowercase()));
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    (address, asked)
}

fn ask(address: SocketAddr, more: &str, checks: &Checks) -> Result<(), Trouble> {
    let text = format!("upstreams: {{echo: {{endpoints: ['{address}'], {more}}}}}");
    let settings = parse(&text, Syntax::Yaml).unwrap().upstreams[0].clone();
    let group = Group::new(settings, Clock::start(), None);
    let permits = Arc::new(Semaphore::new(1));
    let checker = Checker { resolver: Rc::default(), permits };
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(LocalOptions::default()).unwrap();
    let place = group.members().list[0].place.clone();
    runtime.block_on(checker.ask(&group, &place, checks))
}

#[test]
fn two_and_three_hundreds_pass_and_nothing_else() {
    let checks = checks(1, 1);
    for (answer, passes) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true),
        ("HTTP/1.1 204 No Content\r\n\r\n", true),
        ("HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", true),
        // The head is what counts, and the connection ends behind it.
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", true),
        ("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n", false),
        ("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", false),
        ("SSH-2.0-x\r\n", false),
        ("", false),
    ] {
        let (address, asked) = server(Some(answer));
        let end = ask(address, "", &checks);
        assert_eq!(end.is_ok(), passes, "{answer:?}: {end:?}");
        let head = asked.recv().unwrap();
        assert!(head.starts_with("get /healthz?full http/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("host: {address}\r\n")), "{head}");
    }
    let (address, asked) = server(Some("HTTP/1.1 200 OK\r\n\r\n"));
    assert!(ask(address, "host: client", &checks).is_ok());
    assert!(asked.recv().unwrap().contains(&format!("host: {address}\r\n")));
}

#[test]
fn who_refuses_or_is_silent_fails_in_words() {
    let short = Checks { timeout: Span::from_millis(50), ..checks(1, 1) };
    let (silent, _asked) = server(None);
    let Err(Trouble::Failed(why)) = ask(silent, "", &short) else { panic!("it passed") };
    assert!(why.starts_with("no answer within 50ms"), "{why}");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let Err(Trouble::Failed(why)) = ask(nobody, "", &checks(1, 1)) else { panic!("it passed") };
    assert!(why.contains("refused"), "{why}");
    let own = NoConnection::Exhausted("no descriptors".into());
    assert!(matches!(Trouble::from(own), Trouble::Own));
}
