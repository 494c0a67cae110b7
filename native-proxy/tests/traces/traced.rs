//! Programs whose standard output is read, line by line, as traces.

use crate::lines::Trace;
use crate::proxy_support::program::{Program, command, write};
use crate::proxy_support::{Answer, Client, TEST_DEADLINE, file};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};

/// Variables that could come from the machine that the tests run on.
const VARIABLES: [&str; 14] = [
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_EXPORT_TIMEOUT",
];

/// Takes variables of the machine away from a command, and gives it these.
pub(crate) fn with<'a>(command: &'a mut Command, variables: &[(&str, &str)]) -> &'a mut Command {
    for name in VARIABLES {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied())
}

/// A command for a proxy in front of `upstream`; `rest` is added to its file.
pub(crate) fn proxy(
    name: &str,
    upstream: SocketAddr,
    rest: &str,
    variables: &[(&str, &str)],
) -> Command {
    let path = write(&format!("traces-{name}.yaml"), &file(upstream, rest));
    let mut command = command(&path);
    with(&mut command, variables);
    command
}

/// The file's `telemetry` for traces on standard output.
pub(crate) fn on_stdout(more: &str) -> String {
    format!("telemetry: {{traces: {{exporter: otlp_stdout, {more}}}, service_name: echo-proxy}}")
}

/// Lines that a program writes, in their order.
pub(crate) struct Lines(Receiver<String>);

impl Lines {
    /// Reads them from now on.
    pub(crate) fn of(stdout: ChildStdout) -> Self {
        let (sender, lines) = mpsc::channel();
        let read = BufReader::new(stdout).lines();
        std::thread::spawn(move || {
            read.map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self(lines)
    }

    /// The next one.
    pub(crate) fn next(&self) -> Trace {
        Trace::read(&self.0.recv_timeout(TEST_DEADLINE).expect("a line"))
    }

    /// Those that are left once the program has ended.
    pub(crate) fn rest(self) -> Vec<Trace> {
        self.0.iter().map(|line| Trace::read(&line)).collect()
    }
}

/// A proxy whose traces are read.
pub(crate) struct Traced {
    pub(crate) program: Program,
    pub(crate) lines: Lines,
}

impl Traced {
    /// Starts one in front of `upstream`.
    pub(crate) fn start(name: &str, upstream: SocketAddr, rest: &str) -> Self {
        Self::with(name, upstream, rest, &[])
    }

    /// Starts one with these variables.
    pub(crate) fn with(
        name: &str,
        upstream: SocketAddr,
        rest: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        Self::spawn(&mut proxy(name, upstream, rest, variables))
    }

    /// Starts one with a whole file.
    pub(crate) fn of(name: &str, file: &str) -> Self {
        let path = write(&format!("traces-{name}.yaml"), file);
        Self::spawn(with(&mut command(&path), &[]))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut program = Program::spawn(command);
        let lines = Lines::of(program.child.stdout.take().unwrap());
        Self { program, lines }
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, request: &str) -> Answer {
        Client::connect(self.program.listen).ask(request)
    }

    /// Ends it; gives the traces that were not read yet.
    pub(crate) fn end(mut self) -> Vec<Trace> {
        self.program.signal("TERM");
        assert_eq!(self.program.exit_code(), Some(0));
        self.lines.rest()
    }
}

/// An address where nobody listens, and nobody will as long as the socket is there.
pub(crate) fn nobody() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// A `POST /echo` with these header lines.
pub(crate) fn post(path: &str, headers: &str) -> String {
    let body = r#"{"message":"hi"}"#;
    format!(
        "POST {path} HTTP/1.1\r\nhost: shop:80\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// An echo server whose traces are read.
pub(crate) struct EchoServer {
    child: Child,
    pub(crate) listen: SocketAddr,
    pub(crate) lines: Lines,
}

impl EchoServer {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bimetal"));
        command.args(["echo", "--listen", "127.0.0.1:0", "--print-ports"]).args(flags);
        with(&mut command, &[]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = Lines::of(child.stdout.take().unwrap());
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let listen = loop {
            let mut line = String::new();
            log.read_line(&mut line).unwrap();
            if let Ok(ports) = serde_json::from_str::<serde_json::Value>(&line) {
                break ports["listen"].as_str().unwrap().parse().unwrap();
            }
            assert!(!line.is_empty(), "it ended");
        };
        // A pipe that nobody reads is not the case here.
        std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
        Self { child, listen, lines }
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
