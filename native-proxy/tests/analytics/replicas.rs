//! Replicas over one store, and what they do when it fails.

use crate::echo_support::wait_for;
use crate::redis::Redis;
use crate::service::{Kept, Service, batch};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

fn replica(redis: &Redis) -> Service {
    Service::start(&["--redis", &redis.url()])
}

/// What all replicas tell alike.
fn shared(service: &Service) -> Value {
    let mut told = service.analyze();
    let fields = told.as_object_mut().unwrap();
    fields.remove("replica");
    fields.remove("store");
    told
}

fn wait_for_state(service: &Service, state: &str) -> Value {
    wait_for(&format!("a store that is {state}"), || {
        let store = service.analyze()["store"].clone();
        (store["state"] == state && (state == "down" || store["waiting"] == 0)).then_some(store)
    })
}

#[test]
fn three_replicas_tell_the_same() {
    let Some(redis) = Redis::start("alike") else { return };
    let replicas: Vec<Service> = (0..3).map(|_| replica(&redis)).collect();
    // Times are interleaved, and some come late.
    for (number, one) in replicas.iter().enumerate() {
        for first in [600, 200, 1000] {
            let rps = (0..40).map(|place| 100.0 + f64::from(place % 3) + number as f64 / 10.0);
            assert_eq!(one.ingest(&batch(first + number as u64, rps)).status(), 202);
        }
    }
    replicas[1].ingest(&batch(2000, [900.0]));
    let named = r#"{"timestamp":1990.25,"cpu":7,"rps":101,"id":"web-1/7"}"#;
    for one in &replicas {
        assert_eq!(one.ingest(named).json(), json!({"accepted": 1}));
    }
    let told = shared(&replicas[0]);
    assert_eq!((&told["count"], &told["window"]), (&json!(362), &json!(50)));
    assert_eq!(told["latest"][0]["rps"], 900.0);
    assert_eq!(told["latest"][1]["id"], "web-1/7");
    for one in &replicas[1..] {
        assert_eq!(shared(one), told);
    }
    let store = replicas[2].analyze()["store"].clone();
    assert_eq!((&store["state"], &store["replicas"]), (&json!("up"), &json!(3)));
    // The latest samples lie under their times, as JSON, for so long and no longer.
    let kept = redis.ask("GET bimetal:analytics:sample:1990.250000");
    assert!(
        kept.contains(r#"{"timestamp":1990.25,"cpu":7.0,"rps":101.0,"id":"web-1/7"}"#),
        "{kept}"
    );
    let ttl = redis.ask("TTL bimetal:analytics:sample:1990.250000");
    let ttl: u64 = ttl[1..].split('\r').next().unwrap().parse().unwrap();
    assert!((1..=600).contains(&ttl));
    // What left the window is not kept: 50 samples, three keys beside them.
    let keys = redis.ask("DBSIZE");
    let keys: u64 = keys[1..].split('\r').next().unwrap().parse().unwrap();
    assert!(keys <= 53, "{keys}");
}

#[test]
fn one_replica_is_killed_under_load_and_nothing_acknowledged_is_lost() {
    let Some(redis) = Redis::start("killed") else { return };
    let mut replicas: Vec<Service> = (0..3).map(|_| replica(&redis)).collect();
    let addresses: Vec<_> = replicas.iter().map(|one| one.listen).collect();
    let (sent, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..6_usize)
            .map(|sender| {
                let (addresses, sent, is_over) = (&addresses, &sent, &is_over);
                scope.spawn(move || {
                    let mut to = sender % 3;
                    let mut connection = Kept::open(addresses[to]).unwrap();
                    let mut number = 0_u64;
                    while !is_over.load(Ordering::Relaxed) {
                        let rows: Vec<String> = (0..20)
                            .map(|place| {
                                let second = number * 20 + place;
                                format!(r#"{{"timestamp":{second},"cpu":1,"rps":{sender},"id":"{sender}/{second}"}}"#)
                            })
                            .collect();
                        let body = format!("[{}]", rows.join(","));
                        // Without an answer nobody knows: the same goes to another replica.
                        match connection.ingest(&body) {
                            Ok((status, answer)) => {
                                assert_eq!(status, 202, "{answer}");
                                sent.fetch_add(20, Ordering::Relaxed);
                                number += 1;
                            }
                            Err(_) => loop {
                                to = (to + 1) % 3;
                                if let Ok(new) = Kept::open(addresses[to]) {
                                    connection = new;
                                    break;
                                }
                            },
                        }
                    }
                })
            })
            .collect();
        wait_for("some load", || (sent.load(Ordering::Relaxed) > 2_000).then_some(()));
        replicas[1].child.kill().unwrap();
        let before = sent.load(Ordering::Relaxed);
        wait_for("more load", || (sent.load(Ordering::Relaxed) > before + 2_000).then_some(()));
        is_over.store(true, Ordering::Relaxed);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });
    let told = shared(&replicas[0]);
    assert_eq!(told["count"], sent.load(Ordering::Relaxed));
    assert_eq!(shared(&replicas[2]), told);
    // A new one knows what the dead one took in.
    assert_eq!(shared(&replica(&redis)), told);
}

#[test]
fn a_store_that_dies_loses_nothing_and_is_told_all_when_it_is_back() {
    let Some(mut redis) = Redis::start("dies") else { return };
    let (one, other) = (replica(&redis), replica(&redis));
    assert_eq!(one.ingest(&batch(100, [1.0, 2.0])).status(), 202);
    assert_eq!(other.ingest(&batch(200, [3.0])).status(), 202);
    assert_eq!(shared(&one)["count"], 3);
    redis.kill();
    assert_eq!(one.ingest(&batch(300, [4.0; 30])).status(), 202);
    assert_eq!(other.ingest(&batch(400, [5.0; 30])).status(), 202);
    for service in [&one, &other] {
        let store = wait_for_state(service, "down");
        assert_eq!(store["waiting"], 30);
        assert!(store["error"].is_string());
        assert_eq!(service.analyze()["count"], 33);
        assert_eq!(service.ask("GET", "/readyz", "").status(), 200);
    }
    // It comes back with nothing: what it knew before is told again, too.
    redis.restart();
    for service in [&one, &other] {
        wait_for_state(service, "up");
    }
    wait_for("the same from both", || {
        let told = shared(&one);
        (told["count"] == 63 && shared(&other) == told && told["window"] == 50).then_some(())
    });
    let new = replica(&redis);
    wait_for("the same from a new one", || (shared(&new) == shared(&one)).then_some(()));
}

#[test]
fn a_full_or_read_only_store_or_one_with_other_things_in_it_is_said_and_waited_for() {
    let Some(redis) = Redis::start("full") else { return };
    let service = replica(&redis);
    let mut count = 0;
    for (spoil, mend, why) in [
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "memory"),
        ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0", "replicas"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "read only"),
        ("SET bimetal:analytics:window x", "DEL bimetal:analytics:window", "wrong kind"),
    ] {
        assert_eq!(service.ingest(&batch(100 + count, [1.0])).status(), 202);
        wait_for_state(&service, "up");
        count += 1;
        if spoil.starts_with("SET ") {
            redis.ask(mend);
        }
        assert!(redis.ask(spoil).starts_with("+OK"), "{spoil}");
        // It has a name: one that was noted by half an exchange would count no more.
        let named = format!(r#"{{"timestamp":{},"cpu":1,"rps":2,"id":"a/{count}"}}"#, 100 + count);
        assert_eq!(service.ingest(&named).status(), 202);
        count += 1;
        let store = wait_for_state(&service, "down");
        let error = store["error"].as_str().unwrap();
        assert!(error.contains(why), "{spoil}: {error}");
        assert_eq!((&store["waiting"], &service.analyze()["count"]), (&json!(1), &json!(count)));
        redis.ask(mend);
        wait_for_state(&service, "up");
        assert_eq!(service.analyze()["count"], count);
    }
}

#[test]
fn garbage_in_the_store_harms_nobody() {
    let Some(redis) = Redis::start("garbage") else { return };
    let service = replica(&redis);
    assert_eq!(service.ingest(&batch(100, [1.0])).status(), 202);
    for line in [
        "ZADD bimetal:analytics:window 999 \"\\xff\\xfe\"",
        "ZADD bimetal:analytics:window 999 \"a b c d\"",
        "HSET bimetal:analytics:counters x y 0123456789abcdef/samples nan fedcba9876543210/samples -7",
    ] {
        assert!(!redis.ask(line).starts_with('-'), "{line}");
    }
    let id = service.analyze()["replica"]["id"].as_str().unwrap().to_owned();
    redis.ask(&format!("HSET bimetal:analytics:counters {id}/samples inf {id}/sequence x"));
    assert_eq!(service.ingest(&batch(200, [2.0])).status(), 202);
    let told = service.analyze();
    assert_eq!((&told["count"], &told["window"]), (&json!(2), &json!(2)));
    assert_eq!(told["store"]["state"], "up");
}

#[test]
fn a_store_that_hangs_or_speaks_no_redis_holds_nobody_up_for_long() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let babbling = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [&silent, &babbling].map(|one| one.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in babbling.incoming() {
            let mut stream = stream.unwrap();
            // Whoever left needs no garbage.
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    for address in addresses {
        let mut service = Service::start(&["--redis", &format!("redis://{address}")]);
        assert_eq!(service.ingest(&batch(100, [1.0])).status(), 202);
        let store = wait_for_state(&service, "down");
        assert_eq!((&store["waiting"], &service.analyze()["count"]), (&json!(1), &json!(1)));
        assert_eq!(service.ask("GET", "/readyz", "").status(), 200);
        service.signal("TERM");
        assert_eq!(service.end().code(), Some(0));
    }
    // It never took a connection from its queue.
    drop(silent);
}

#[test]
fn an_address_that_is_none_is_refused_and_not_repeated() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bimetal"));
    let output = command.args(["analytics", "--redis", "http://u:secret@h"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--redis: ") && !said.contains("secret"), "{said}");
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_bimetal"))
        .args(["analytics", "--help"])
        .env("BIMETAL_ANALYTICS_REDIS", "redis://u:secret@h")
        .output()
        .unwrap();
    assert!(!String::from_utf8_lossy(&help.stdout).contains("secret"));
}

/// Passes everything on to `socket`, but where `loses` it keeps the answers for itself.
fn between(socket: std::path::PathBuf, loses: &'static AtomicBool) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut server = std::os::unix::net::UnixStream::connect(&socket).unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            // Whichever side leaves first ends both ways.
            std::thread::spawn(move || drop(std::io::copy(&mut from, &mut to)));
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(count) = server.read(&mut bytes) {
                    let is_lost = loses.load(Ordering::SeqCst);
                    if count == 0 || is_lost || client.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
                let _ = client.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    address
}

#[test]
fn what_is_sent_again_because_its_answer_was_lost_counts_once() {
    static LOSES: AtomicBool = AtomicBool::new(false);
    let Some(redis) = Redis::start("lost") else { return };
    let address = between(redis.socket(), &LOSES);
    let service = Service::start(&["--redis", &format!("redis://{address}")]);
    assert_eq!(service.ingest(&batch(100, [1.0])).status(), 202);
    LOSES.store(true, Ordering::SeqCst);
    assert_eq!(service.ingest(&batch(200, [2.0, 3.0])).status(), 202);
    wait_for_state(&service, "down");
    LOSES.store(false, Ordering::SeqCst);
    wait_for_state(&service, "up");
    assert_eq!(service.analyze()["count"], 3);
    assert_eq!(shared(&replica(&redis)), shared(&service));
}
