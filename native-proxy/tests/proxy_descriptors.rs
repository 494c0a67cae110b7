//! A program that has no descriptors left.

mod proxy_support;

use proxy_support::metrics::Metrics;
use proxy_support::program::{Program, write};
use proxy_support::{Client, TEST_DEADLINE, Upstream, file, get, ok, policy, wait_for};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// The program with 40 descriptors: enough for itself and some calls.
fn limited(config: &Path) -> Command {
    let mut command = Command::new("sh");
    let program = format!("ulimit -n 40; exec {} proxy --config", env!("CARGO_BIN_EXE_bimetal"));
    command.arg("-c").arg(format!("{program} \"$0\"")).arg(config);
    command
}

/// How many calls of the policy `p` counted as `outcome`.
fn outcomes(program: &Program, outcome: &str) -> f64 {
    let labels = [("policy", "p"), ("outcome", outcome)];
    Metrics::of(program.admin).sum("bimetal_outcomes_total", &labels)
}

#[test]
fn a_crowd_before_the_door_does_not_keep_the_admin_interface_from_starting() {
    let upstream = Upstream::answering(ok("fine"));
    // A port of our own, so that the crowd is there the moment it listens.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = file(upstream.address, "").replacen("127.0.0.1:0", &port.to_string(), 1);
    let path = write("crowd.yaml", &text);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let come = || {
            let mut crowd = Vec::new();
            while crowd.len() < 25 && !over.load(Ordering::SeqCst) {
                crowd.extend(TcpStream::connect(port));
            }
            crowd
        };
        let crowd: Vec<_> = (0..4).map(|_| scope.spawn(come)).collect();
        let started = std::panic::catch_unwind(|| {
            let program = Program::spawn(&mut limited(&path));
            program.log_with("cannot accept on");
            program
        });
        over.store(true, Ordering::SeqCst);
        let program = started.unwrap();
        crowd.into_iter().for_each(|crowd| drop(crowd.join()));
        wait_for("health", || (program.status(program.health, "/readyz") == 200).then_some(()));
        assert_eq!(program.status(program.admin, "/breakers"), 200);
    });
}

#[test]
fn a_program_out_of_descriptors_neither_spins_nor_dies_and_comes_back() {
    // Each call needs a new connection.
    let upstream =
        Upstream::answering(ok("fine").replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n"));
    let path = write("descriptors.yaml", &file(upstream.address, &policy("")));
    let mut program = Program::spawn(&mut limited(&path));
    let mut first = Client::connect(program.listen);
    assert_eq!(first.ask(&get("/")).text(), "fine");
    // More than it can take: the kernel holds the rest.
    let crowd: Vec<Client> = (0..100).map(|_| Client::connect(program.listen)).collect();
    program.log_with("cannot accept on");
    let before = processor_time(program.child.id());
    // Its clients are told, as soon as there is none left for the way to the upstream.
    let answer = wait_for("want", || {
        let answer = first.ask(&get("/"));
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("can open no more connections"), "{}", answer.text());
    program.log_with("upstream echo: exhausted: Too many open files (os error 24)");
    // Nobody is told of it again and again, and waiting costs nothing to speak of.
    let repeated = program.log.recv_timeout(Duration::from_secs(1));
    assert_eq!(repeated, Err(mpsc::RecvTimeoutError::Timeout));
    let used = processor_time(program.child.id()) - before;
    assert!(used < 10, "{used} hundredths of a second");
    assert!(program.child.try_wait().unwrap().is_none(), "it died");
    drop(crowd);
    wait_for("service", || {
        let mut client = Client::connect(program.listen);
        client.peer.stream.set_read_timeout(Some(TEST_DEADLINE)).unwrap();
        client.peer.stream.write_all(get("/").as_bytes()).ok()?;
        (client.answer()?.status == 200).then_some(())
    });
    wait_for("health", || (program.status(program.health, "/readyz") == 200).then_some(()));
    // Our own want is not the upstream's failure.
    assert!(outcomes(&program, "success") >= 2.0);
    assert_eq!(outcomes(&program, "failure"), 0.0);
}

/// Processor time of a process so far, in ticks of the kernel (hundredths of a second).
fn processor_time(process: u32) -> u64 {
    let line = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = line.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}
