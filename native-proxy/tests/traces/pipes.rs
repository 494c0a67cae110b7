//! Standard output that nobody reads, or that is closed.

use crate::lines::Trace;
use crate::proxy_support::metrics::Metrics;
use crate::proxy_support::program::Program;
use crate::proxy_support::{Client, Upstream, get, ok, wait_for};
use crate::traced::{Lines, on_stdout, proxy};
use std::io::Read;
use std::net::SocketAddr;

fn dropped(program: &Program) -> f64 {
    Metrics::of(program.admin).sum("bimetal_spans_dropped_total", &[])
}

/// So many requests on one connection; each is answered.
fn ask(program: &Program, requests: usize) {
    ask_at(program.listen, requests);
}

fn ask_at(listen: SocketAddr, requests: usize) {
    let mut client = Client::connect(listen);
    for _ in 0..requests {
        assert_eq!(client.ask(&get("/")).status, 200);
    }
}

#[test]
fn a_pipe_that_nobody_reads_delays_nobody_and_what_is_lost_is_counted() {
    let upstream = Upstream::answering(ok("x"));
    let queue = ("OTEL_BSP_MAX_QUEUE_SIZE", "100");
    let mut command = proxy("unread", upstream.address, &on_stdout("sample: 1"), &[queue]);
    let mut program = Program::spawn(&mut command);
    let mut asked = 0;
    // A pipe holds 64 KiB: a few dozen lines, then the queue fills.
    wait_for("dropped spans", || {
        ask(&program, 50);
        asked += 50;
        (dropped(&program) >= 20.0).then_some(())
    });
    assert_eq!(dropped(&program) % 2.0, 0.0, "traces are dropped whole");
    let lines = Lines::of(program.child.stdout.take().unwrap());
    // Somebody reads again, so everything that waited comes, and it is whole.
    let told = dropped(&program) as usize / 2;
    for _ in 0..asked - told {
        assert_eq!(lines.next().spans.len(), 2);
    }
    ask(&program, 1);
    assert_eq!(lines.next().spans.len(), 2);
    program.signal("TERM");
    assert_eq!(program.exit_code(), Some(0));
    assert_eq!(lines.rest().len(), 0);
}

#[test]
fn an_end_does_not_wait_for_who_does_not_read() {
    let upstream = Upstream::answering(ok("x"));
    let mut command = proxy("stuck", upstream.address, &on_stdout("sample: 1"), &[]);
    let mut program = Program::spawn(&mut command);
    ask(&program, 200);
    program.signal("TERM");
    let told = program.log_with("traces: ");
    assert!(told.ends_with(" spans did not go out within 5s"), "{told}");
    assert_eq!(program.exit_code(), Some(0));
}

#[test]
fn ten_thousand_spans_at_once_are_all_there() {
    let upstream = Upstream::answering(ok("x"));
    let mut command = proxy("many", upstream.address, &on_stdout("tree: origin-study"), &[]);
    let mut program = Program::spawn(&mut command);
    // Six spans each, and nobody reads meanwhile.
    let (listen, requests) = (program.listen, 1_700);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| ask_at(listen, requests / 4));
        }
    });
    let mut stdout = program.child.stdout.take().unwrap();
    program.signal("TERM");
    let mut text = String::new();
    stdout.read_to_string(&mut text).unwrap();
    assert_eq!(program.exit_code(), Some(0));
    let spans: usize = text.lines().map(|line| Trace::read(line).spans.len()).sum();
    assert_eq!((text.lines().count(), spans), (requests, requests * 6));
}

#[test]
fn a_pipe_that_is_closed_costs_the_traces_and_nothing_else() {
    let upstream = Upstream::answering(ok("x"));
    let mut command = proxy("closed", upstream.address, &on_stdout("sample: 1"), &[]);
    let mut program = Program::spawn(&mut command);
    drop(program.child.stdout.take());
    ask(&program, 10);
    wait_for("all of them dropped", || (dropped(&program) == 20.0).then_some(()));
    let told = program.log_with("spans are lost: ");
    assert!(told.starts_with("standard output: Broken pipe"), "{told}");
    program.signal("TERM");
    assert_eq!(program.exit_code(), Some(0));
}
