//! The program `bimetal proxy`, running.

use super::{Client, TEST_DEADLINE, get, wait_for};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};

/// A running program; killed when dropped.
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) log: Receiver<String>,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) health: SocketAddr,
}

impl Program {
    pub(crate) fn start(config: &Path, flags: &[&str]) -> Self {
        Self::spawn(command(config).args(flags))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self::reading(command, "")
    }

    /// One whose lines are JSON: there its addresses stand before a quote.
    pub(crate) fn spawn_json(command: &mut Command) -> Self {
        Self::reading(command, "\"}")
    }

    fn reading(command: &mut Command, end: &str) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, log) = mpsc::channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let nobody = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut program = Self { child, log, listen: nobody, admin: nobody, health: nobody };
        let after = |text: &str| program.log_with(text).strip_suffix(end).unwrap().to_owned();
        let (listen, rest) = (after("listening on "), after("admin on "));
        program.listen = listen.parse().unwrap();
        let (admin, health) = rest.split_once(", health on ").unwrap();
        (program.admin, program.health) = (admin.parse().unwrap(), health.parse().unwrap());
        program
    }

    /// Waits for a line of the log, and gives what follows `text` in it.
    pub(crate) fn log_with(&self, text: &str) -> String {
        loop {
            let line = self.log.recv_timeout(TEST_DEADLINE).unwrap_or_else(|_| {
                panic!("no line with {text:?}");
            });
            if let Some((_, rest)) = line.split_once(text) {
                return rest.to_owned();
            }
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }

    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        wait_for("the end of the process", || self.child.try_wait().unwrap()).code()
    }

    pub(crate) fn status(&self, address: SocketAddr, path: &str) -> u16 {
        Client::connect(address).ask(&get(path)).status
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn command(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bimetal"));
    command.arg("proxy").arg("--config").arg(config);
    command
}

/// A file of its own for each test.
pub(crate) fn write(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path
}
