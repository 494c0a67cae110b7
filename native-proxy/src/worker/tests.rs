//! Panics within a worker, what it counts, its share of a listener's connections, and its end.

use super::*;
use crate::account::End;
use crate::config::Listener;
use crate::serve::{self, Sharing, bind};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};

fn start(sockets: Vec<(Listener, TcpListener)>) -> Start {
    Start {
        index: 0,
        clock: Clock::start(),
        seed: 1,
        board: Arc::default(),
        directory: Arc::new(Directory::new(Clock::start())),
        level: Level::Info,
        failure_log: Arc::default(),
        interactions: Arc::default(),
        stale: Arc::default(),
        history: Arc::default(),
        traces: None,
        mesh: None,
        ready_path: "/ready".into(),
        sockets,
        settings: Arc::new(crate::config::builtin("127.0.0.1").unwrap()),
    }
}

pub(super) fn worker() -> (Rc<Worker>, Arc<Settings>) {
    let start = start(Vec::new());
    let worker = Worker::new(&start);
    worker.load(&start.settings);
    (worker, start.settings)
}

fn run(test: impl Future<Output = ()>) {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(LocalOptions::default()).unwrap();
    let patience = std::time::Duration::from_secs(20);
    let test = async { tokio::time::timeout(patience, test).await.expect("the test hangs") };
    runtime.block_on(test);
}

#[test]
fn a_panic_ends_one_connection_and_is_counted() {
    let (worker, _) = worker();
    let place = worker.enter();
    let other = worker.enter();
    run(async {
        let task = tokio::task::spawn_local(async move {
            let _place = place;
            panic!("a fault of ours");
        });
        assert!(task.await.unwrap_err().is_panic());
    });
    assert_eq!((worker.panics.get(), worker.connections()), (1, 1));
    drop(other);
    assert_eq!((worker.stats().panics, worker.stats().connections), (1, 0));
}

/// What a listener answers to one request, until it closes.
async fn ask(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    // A connection that breaks has no answer.
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

#[test]
#[expect(clippy::await_holding_refcell_ref, reason = "that is the fault")]
fn a_panic_within_a_request_leaves_the_listener_at_work() {
    let (worker, settings) = worker();
    let socket = bind(([127, 0, 0, 1], 0).into(), Sharing::Alone).unwrap();
    let address = socket.local_addr().unwrap();
    // One place only: a panic that kept it would hold all others up.
    let listener = Listener { max_connections: 1, ..settings.listeners[0].clone() };
    run(async {
        serve::listen(&worker, listener, socket, 1).unwrap();
        assert!(ask(address).await.starts_with("HTTP/1.1 404 "));
        // A request that finds the routes taken panics where it looks for its own.
        let taken = worker.routing.borrow_mut();
        assert_eq!(ask(address).await, "");
        drop(taken);
        assert!(ask(address).await.starts_with("HTTP/1.1 404 "));
    });
    assert_eq!((worker.stats().panics, worker.stats().connections), (1, 0));
    // Each of the three has its account.
    let count = |end: End| worker.stats().ends[end.place()];
    assert_eq!((count(End::Answered), count(End::Panicked)), (2, 1));
}

/// The status of one answer on a connection that stays.
async fn ready(stream: &mut TcpStream) -> String {
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8_lossy(&head[9..12]).into_owned()
}

#[test]
fn each_worker_lets_in_its_share_rounded_up() {
    let (worker, settings) = worker();
    let socket = bind(([127, 0, 0, 1], 0).into(), Sharing::Alone).unwrap();
    let address = socket.local_addr().unwrap();
    let listener = Listener { max_connections: 3, ..settings.listeners[0].clone() };
    run(async {
        serve::listen(&worker, listener, socket, 2).unwrap();
        let mut one = TcpStream::connect(address).await.unwrap();
        let mut two = TcpStream::connect(address).await.unwrap();
        assert_eq!((ready(&mut one).await, ready(&mut two).await), ("204".into(), "204".into()));
        let mut three = TcpStream::connect(address).await.unwrap();
        // Whatever came before these answers was seen before them.
        for _ in 0..3 {
            assert_eq!(ready(&mut one).await, "204");
        }
        assert_eq!(worker.connections(), 2);
        drop(two);
        assert_eq!(ready(&mut three).await, "204");
    });
}

#[test]
fn who_is_connected_when_a_drain_begins_is_answered() {
    let socket = bind(([127, 0, 0, 1], 0).into(), Sharing::Alone).unwrap();
    let mut client = std::net::TcpStream::connect(socket.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut start = start(Vec::new());
    start.sockets.push((start.settings.listeners[0].clone(), socket));
    // The worker hears of the drain before it has let anybody in.
    let (sender, commands) = tokio::sync::mpsc::unbounded_channel();
    sender.send(Command::Drain(std::time::Duration::from_secs(20))).unwrap();
    let (started, _) = tokio::sync::oneshot::channel();
    let thread = spawn(start, commands, started).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    thread.join().unwrap();
}

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn every_connection_learns_of_a_drain_once() {
    let (worker, _) = worker();
    let bells: [Arc<Bell>; 3] = Default::default();
    let rung = || bells.each_ref().map(|bell| bell.0.load(Ordering::Relaxed));
    let enter = |bell: usize| {
        let place = worker.enter();
        place.wake_on_drain(&bells[bell].clone().into());
        place
    };
    let (_one, two) = (enter(0), enter(1));
    // A place that is given back is taken anew.
    drop(two);
    let _three = enter(2);
    assert_eq!((worker.connections(), worker.is_draining(), rung()), (2, false, [0, 0, 0]));
    worker.drain();
    assert_eq!((worker.connections(), worker.is_draining(), rung()), (2, true, [1, 0, 1]));
}

#[test]
fn what_the_engine_cannot_be_told_is_counted() {
    let (worker, _) = worker();
    let taken = worker.engine.borrow_mut();
    assert_eq!([worker.tell(|_| 7), worker.tell(|_| 7)], [None, None]);
    drop(taken);
    assert_eq!((worker.tell(|_| 7), worker.stats().decision_errors), (Some(7), 2));
}

#[test]
fn what_outlasts_a_drain_is_cut_off_and_what_its_client_leaves_is_not() {
    let (worker, settings) = worker();
    let count = |end: End| worker.stats().ends[end.place()];
    run(async {
        let upstream = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let text = format!(
            "upstreams: {{u: {{endpoints: ['{}']}}}}\nroutes: [{{upstream: u}}]",
            upstream.local_addr().unwrap()
        );
        worker.load(&crate::config::parse(&text, crate::config::Syntax::Yaml).unwrap());
        let socket = bind(([127, 0, 0, 1], 0).into(), Sharing::Alone).unwrap();
        let address = socket.local_addr().unwrap();
        serve::listen(&worker, settings.listeners[0].clone(), socket, 1).unwrap();
        // A request that is under way: the upstream has it, and does not answer.
        let under_way = async || {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            let (mut peer, _) = upstream.accept().await.unwrap();
            peer.read_u8().await.unwrap();
            (client, peer)
        };
        let (client, _peer) = under_way().await;
        drop(client);
        while count(End::ClientGone) == 0 {
            tokio::task::yield_now().await;
        }
        let _both = under_way().await;
        worker.cut_off();
    });
    assert_eq!((count(End::ClientGone), count(End::CutOff)), (1, 1));
}
