use super::*;
use crate::clock::Clock;
use crate::config::{self, Syntax};
use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::runtime::{Builder, LocalOptions};

fn group() -> (Group, Dns) {
    let file = "upstreams: {echo: {dns: 'svc.example:80'}}";
    let settings = config::parse(file, Syntax::Yaml).unwrap();
    let upstream = settings.upstreams[0].clone();
    let dns = upstream.dns.clone().unwrap();
    (Group::new(upstream, Clock::start(), None), dns)
}

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn v6(last: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into()
}

fn answer(v6: &[IpAddr], v4: &[IpAddr]) -> Found {
    Found { v6: Some(v6.to_vec()), v4: Some(v4.to_vec()), is_over: true, ..Found::default() }
}

fn places(group: &Group) -> Vec<String> {
    group.members().list.iter().map(|member| member.place.to_string()).collect()
}

#[test]
fn each_address_is_an_endpoint_whatever_their_order() {
    let (group, dns) = group();
    assert_eq!(take(&group, &dns, &answer(&[v6(1)], &[v4(2), v4(1), v4(2)])), Ok(true));
    let wanted = ["192.0.2.1:80", "192.0.2.2:80", "[2001:db8::1]:80"];
    assert_eq!(places(&group), wanted);
    let before = group.members().list;
    // apache/apisix 13441: an answer in another order began everything anew.
    assert_eq!(take(&group, &dns, &answer(&[v6(1)], &[v4(1), v4(2)])), Ok(false));
    assert!(Arc::ptr_eq(&before, &group.members().list));
    // Whoever stays is the same as before.
    assert_eq!(take(&group, &dns, &answer(&[], &[v4(3), v4(2)])), Ok(true));
    assert_eq!(places(&group), ["192.0.2.2:80", "192.0.2.3:80"]);
    assert!(Arc::ptr_eq(&before[1], &group.members().list[0]));
}

/// envoyproxy/envoy 2691: an answer without an address took all endpoints away.
#[test]
fn what_is_known_stays_where_an_answer_has_nothing() {
    let (group, dns) = group();
    let none =
        Found { why: Some("there is no such name".into()), is_over: true, ..Found::default() };
    let why = "cannot resolve svc.example: there is no such name";
    assert_eq!(take(&group, &dns, &none), Err(why.into()));
    assert_eq!(group.members().why_none.as_deref(), Some(why));
    assert_eq!(take(&group, &dns, &answer(&[], &[v4(1)])), Ok(true));
    assert_eq!(group.members().why_none, None);
    for worse in [none, answer(&[], &[]), Found::default()] {
        assert!(take(&group, &dns, &worse).is_err());
        assert_eq!((places(&group).len(), group.members().why_none), (1, None));
    }
}

#[test]
fn those_of_a_version_that_nobody_could_tell_of_stay() {
    let (group, dns) = group();
    take(&group, &dns, &answer(&[v6(1)], &[v4(1), v4(2)])).unwrap();
    let half = Found { v6_failed: true, ..answer(&[], &[v4(2)]) };
    assert_eq!(take(&group, &dns, &half), Ok(true));
    assert_eq!(places(&group), ["192.0.2.2:80", "[2001:db8::1]:80"]);
    let half = Found { v4_failed: true, ..answer(&[], &[]) };
    assert_eq!(take(&group, &dns, &half), Ok(true));
    assert_eq!(places(&group), ["192.0.2.2:80"]);
}

#[test]
fn an_answer_that_is_too_large_changes_nothing_and_the_first_is_cut() {
    let (group, dns) = group();
    let many: Vec<_> = (0..=MOST_ADDRESSES).map(|n| v6(u16::try_from(n).unwrap())).collect();
    assert!(take(&group, &dns, &answer(&many, &[])).is_err());
    assert_eq!(places(&group).len(), MOST_ADDRESSES);
    take(&group, &dns, &answer(&[], &[v4(1)])).unwrap();
    assert!(take(&group, &dns, &answer(&many, &[])).is_err());
    assert_eq!(places(&group), ["192.0.2.1:80"]);
    assert_eq!(take(&group, &dns, &answer(&many[1..], &[])), Ok(true));
}

/// A server whose answer the test changes: the last numbers of addresses of version 4, or silence.
struct Server {
    port: u16,
    says: Arc<Mutex<Option<Vec<u8>>>>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let (says, asked): (_, Arc<AtomicUsize>) =
            (Arc::new(Mutex::new(None::<Vec<u8>>)), Arc::default());
        let (answer, count) = (says.clone(), asked.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((size, client)) = socket.recv_from(&mut buffer) {
                let message = Message::from_vec(&buffer[..size]).unwrap();
                let question = message.queries[0].clone();
                count.fetch_add(1, Ordering::SeqCst);
                let Some(says) = answer.lock().unwrap().clone() else { continue };
                let mut answer = message.into_response();
                if question.query_type() == RecordType::A {
                    let record = |last: u8| {
                        let address = RData::A(Ipv4Addr::new(192, 0, 2, last).into());
                        Record::from_rdata(question.name().clone(), 1, address)
                    };
                    answer.insert_answers(says.into_iter().map(record).collect());
                }
                drop(socket.send_to(&answer.to_vec().unwrap(), client));
            }
        });
        Self { port, says, asked }
    }

    fn says(&self, answer: Option<&[u8]>) {
        *self.says.lock().unwrap() = answer.map(<[u8]>::to_vec);
        self.asked.store(0, Ordering::SeqCst);
    }

    async fn is_asked(&self, times: usize) {
        until(|| self.asked.load(Ordering::SeqCst) >= times).await;
    }
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[test]
fn addresses_follow_the_server_and_outlive_its_silence() {
    let (group, dns) = group();
    let group = Arc::new(group);
    let server = Server::start();
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(LocalOptions::default()).unwrap();
    let test = async {
        let (_loads, watch) = watch::channel(0);
        let (followed, name) = (group.clone(), dns.clone());
        let port = server.port;
        let mut members = group.watch();
        server.says(Some(&[1, 2]));
        tokio::task::spawn_local(async move {
            follow(&followed, &name, &Resolver::asking(port), watch).await;
        });
        members.wait_for(|members| members.list.len() == 2).await.unwrap();
        // No address at all; then nothing, for as long as the look-up waits.
        server.says(Some(&[]));
        server.is_asked(2).await;
        server.says(None);
        server.is_asked(1).await;
        assert_eq!(places(&group), ["192.0.2.1:80", "192.0.2.2:80"]);
        server.says(Some(&[2, 3]));
        until(|| places(&group) == ["192.0.2.2:80", "192.0.2.3:80"]).await;
    };
    let test = async { tokio::time::timeout(Duration::from_secs(30), test).await };
    runtime.block_on(test).expect("the test hangs");
}
