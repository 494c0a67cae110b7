use super::*;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::SOA;
use hickory_resolver::proto::rr::{RData, Record};
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex};
use tokio::runtime::{Builder, LocalOptions};

impl Resolver {
    fn of(sources: Sources) -> Self {
        Self { sources: RefCell::new(Some(Rc::new(sources))), ..Self::default() }
    }

    /// One that knows a file of hosts and nothing else.
    pub(in crate::upstream) fn with_hosts(file: &str) -> Self {
        let mut hosts = Hosts::default();
        hosts.read_hosts_conf(file.as_bytes()).unwrap();
        Self::of(Sources { hosts, servers: Err("nobody to ask".into()) })
    }

    /// One that asks the server at this port of this machine.
    pub(in crate::upstream) fn asking(port: u16) -> Self {
        Self::of(sources(port, &[]))
    }

    /// One whose server never answers.
    pub(in crate::upstream) fn with_silent_server() -> Self {
        // Bound and never read; kept for as long as the tests run.
        let server = Box::leak(Box::new(UdpSocket::bind("127.0.0.1:0").unwrap()));
        Self::of(sources(server.local_addr().unwrap().port(), &[]))
    }
}

fn sources(port: u16, search: &[&str]) -> Sources {
    let mut connection = ConnectionConfig::udp();
    connection.port = port;
    let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![connection]);
    let search = search.iter().map(|name| Name::from_ascii(name).unwrap()).collect();
    let config = ResolverConfig::from_parts(None, search, vec![server]);
    Sources { hosts: Hosts::default(), servers: Servers::new(config, ResolverOpts::default()) }
}

/// A server that does as the first label of a name says; and what it was asked.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((size, client)) = socket.recv_from(&mut buffer) {
                let message = Message::from_vec(&buffer[..size]).unwrap();
                let question = message.queries[0].clone();
                let (name, kind) = (question.name().to_string(), question.query_type());
                log.lock().unwrap().push(format!("{name} {kind}"));
                let mut answer = message.into_response();
                let is_v4 = kind == RecordType::A;
                let v4 = || {
                    let address = RData::A(Ipv4Addr::new(192, 0, 2, 1).into());
                    Record::from_rdata(question.name().clone(), 3600, address)
                };
                match name.split('.').next().unwrap() {
                    // One that knows nothing of version 6 and is silent.
                    "mute" if !is_v4 => continue,
                    "mute" | "both" if is_v4 => answer.insert_answers(vec![v4()]),
                    "both" | "nothing" => {}
                    "broken" => answer.metadata.response_code = ResponseCode::ServFail,
                    _ => {
                        answer.metadata.response_code = ResponseCode::NXDomain;
                        let root = Name::from_ascii("example.").unwrap();
                        let soa = SOA::new(root.clone(), root.clone(), 1, 1, 1, 1, 86_400);
                        let soa = Record::from_rdata(root, 86_400, RData::SOA(soa));
                        answer.insert_authorities(vec![soa]);
                    }
                }
                drop(socket.send_to(&answer.to_vec().unwrap(), client));
            }
        });
        Self { port, asked }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(LocalOptions::default()).unwrap();
    let patience = Duration::from_secs(30);
    let test = async { tokio::time::timeout(patience, test).await.expect("the test hangs") };
    runtime.block_on(test)
}

async fn all_of(resolver: &Resolver, host: &str) -> Found {
    resolver.look_up(host).wait_for(|found| found.is_over).await.unwrap().clone()
}

#[test]
fn no_is_kept_for_half_a_minute_at_most_and_forgotten_by_a_reload() {
    let server = Server::start();
    let resolver = Resolver::of(sources(server.port, &[]));
    let options = resolver.sources().servers.as_ref().unwrap().resolver.options().clone();
    assert_eq!(options.negative_max_ttl, Some(Duration::from_secs(30)));
    assert_eq!(options.positive_max_ttl, Some(Duration::from_secs(300)));
    assert!(options.timeout <= Duration::from_secs(2));
    run(async {
        let found = all_of(&resolver, "gone.example").await;
        let why = "there is no such name (servers asked: 127.0.0.1)";
        assert_eq!((found.why.as_deref(), found.is_own), (Some(why), false));
        assert_eq!(server.asked().len(), 2);
        assert!(all_of(&resolver, "gone.example").await.why.is_some());
        assert_eq!(server.asked(), [""; 0]);
        resolver.forget();
        assert!(resolver.sources.borrow().is_none());
        resolver.sources.replace(Some(Rc::new(sources(server.port, &[]))));
        all_of(&resolver, "gone.example").await;
        assert_eq!(server.asked().len(), 2);
    });
}

#[test]
fn errors_are_ours_and_name_who_was_asked() {
    let server = Server::start();
    let resolver = Resolver::of(sources(server.port, &[]));
    run(async {
        let why = |host: &'static str| {
            let resolver = &resolver;
            async move { all_of(resolver, host).await.why.unwrap() }
        };
        let asked = " (servers asked: 127.0.0.1)";
        assert_eq!(why("nothing.example").await, format!("the name has no address{asked}"));
        assert_eq!(why("broken.example").await, format!("the answer was Server Failure{asked}"));
        assert_eq!(why("a..b").await, format!("it is no name{asked}"));
        let nobody = Resolver::with_hosts("");
        assert_eq!(all_of(&nobody, "a").await.why.unwrap(), "nobody to ask");
    });
}

#[test]
fn one_family_does_not_wait_for_the_other() {
    let server = Server::start();
    let resolver = Resolver::of(sources(server.port, &[]));
    run(async {
        let mut told = resolver.look_up("mute.example");
        let found = told.wait_for(|found| found.v4.is_some()).await.unwrap().clone();
        assert_eq!((found.v6, found.is_over), (None, false));
        assert_eq!(found.v4.unwrap(), [Ipv4Addr::new(192, 0, 2, 1)]);
        // Who comes meanwhile asks nobody again.
        server.asked();
        let again = resolver.look_up("mute.example");
        assert!(again.same_channel(&told) && again.borrow().v4.is_some());
        let both = all_of(&resolver, "both.example").await;
        assert_eq!((both.v6, both.v4.map(|v4| v4.len())), (Some(Vec::new()), Some(1)));
    });
}

#[test]
fn a_look_up_ends_although_nobody_waits() {
    let server = Server::start();
    let resolver = Resolver::of(sources(server.port, &[]));
    run(async {
        drop(resolver.look_up("both.example"));
        while !resolver.under_way.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        server.asked();
        assert!(all_of(&resolver, "both.example").await.why.is_none());
        assert_eq!(server.asked(), [""; 0]);
    });
}

#[test]
fn short_names_are_looked_for_in_the_search_list() {
    let server = Server::start();
    let resolver = Resolver::of(sources(server.port, &["one.example.", "two.example."]));
    let names = |host: &str| {
        let sources = resolver.sources();
        let names = sources.servers.as_ref().unwrap().whole_names(host);
        names.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(names("a"), ["a.one.example.", "a.two.example.", "a."]);
    assert_eq!(names("a.b"), ["a.b.", "a.b.one.example.", "a.b.two.example."]);
    assert_eq!(names("a.b."), ["a.b."]);
    run(async {
        assert!(all_of(&resolver, "both").await.v4.is_some());
        assert_eq!(server.asked().len(), 2);
    });
}

#[test]
fn what_is_in_the_file_of_hosts_is_asked_of_nobody() {
    let resolver = Resolver::with_hosts("127.0.0.1 svc\n::1 six\n");
    let found = resolver.look_up("svc").borrow().clone();
    assert!(found.is_over && found.v6.unwrap().is_empty());
    assert_eq!(found.v4.unwrap(), [Ipv4Addr::LOCALHOST]);
    let found = resolver.look_up("six").borrow().clone();
    assert!(found.is_over && found.v4.unwrap().is_empty() && found.v6.unwrap().len() == 1);
}
