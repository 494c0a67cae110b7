//! Rate limits in the proxy: what a client gets, whose address counts, and workers that share.

mod proxy_support;

use proxy_support::{Client, Running, Upstream, file, get, ok};

const PER_CLIENT: &str = "policies: [{name: p, scope: policy, rate_limits: \
    [{rate: 2/h, key: [client], allow: ['192.0.2.0/24']}]}]";

fn for_client(forwarded: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: t\r\nx-forwarded-for: {forwarded}\r\n\r\n")
}

fn behind(hops: u32) -> (Upstream, Running) {
    let upstream = Upstream::answering(ok("fine"));
    let with = format!("'127.0.0.1:0', trusted_hops: {hops}}}]");
    let text = file(upstream.address, PER_CLIENT).replacen("'127.0.0.1:0'}]", &with, 1);
    (upstream, Running::with(&text))
}

#[test]
fn who_exceeds_a_limit_is_told_when_to_come_back() {
    let (_upstream, proxy) = behind(0);
    let mut client = proxy.client();
    for _ in 0..2 {
        assert_eq!(client.ask(&get("/")).status, 200);
    }
    let refused = client.ask(&get("/"));
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("x-bimetal-rule"), Some("p/rate_limit"));
    assert_eq!(refused.header("ratelimit-policy"), Some("\"p.0\";q=2;w=3600"));
    let seconds: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1_700..=1_800).contains(&seconds), "{seconds}");
    assert_eq!(refused.header("ratelimit"), Some(&*format!("\"p.0\";r=0;t={seconds}")));
    // The connection goes on, and another one is the same client.
    assert_eq!(client.ask(&get("/")).status, 429);
    assert_eq!(proxy.ask(&get("/")).status, 429);
    let decided = |decision| {
        proxy.metrics().sum("bimetal_requests_total", &[("policy", "p"), ("decision", decision)])
    };
    assert_eq!((decided("admitted"), decided("rate_limit")), (2.0, 3.0));
    assert_eq!(proxy.metrics().line("bimetal_limit_keys"), Some(1.0));
}

#[test]
fn without_trusted_hops_a_client_cannot_choose_its_address() {
    let (_upstream, proxy) = behind(0);
    let answers = ["10.0.0.1", "10.0.0.2", "192.0.2.1", "10.0.0.4"];
    let statuses = answers.map(|address| proxy.ask(&for_client(address)).status);
    assert_eq!(statuses, [200, 200, 429, 429]);
}

#[test]
fn with_one_it_is_who_the_hop_says_and_no_more() {
    let (_upstream, proxy) = behind(1);
    let ask = |forwarded: &str| proxy.ask(&for_client(forwarded)).status;
    // What stands before is the client's own word.
    let forged = ["10.0.0.1", "9.9.9.9, 10.0.0.1", "192.0.2.1, 10.0.0.1", "x, 10.0.0.1"].map(ask);
    assert_eq!(forged, [200, 200, 429, 429]);
    assert_eq!([ask("10.0.0.2"), ask("10.0.0.2"), ask("10.0.0.2")], [200, 200, 429]);
    // An allowed network, as the hop says it.
    assert!((0..5).all(|_| ask("10.0.0.1, 192.0.2.7") == 200));
}

#[test]
fn workers_share_a_limit_exactly() {
    let upstream = Upstream::answering(ok("fine"));
    let limit = "policies: [{name: p, scope: policy, rate_limits: [{rate: 40/h}]}]";
    let text = file(upstream.address, limit).replace("workers: 1", "workers: 4");
    let proxy = Running::with(&text);
    // The kernel spreads connections over the workers.
    let ask = || {
        let mut client: Client = proxy.client();
        (0..5).filter(|_| client.ask(&get("/")).status == 200).count()
    };
    let admitted: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| ask() + ask() + ask())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(admitted, 40);
}
