//! A real Redis server on a socket of the file system: no port can be taken by another.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for a server that answers.
const DEADLINE: Duration = Duration::from_secs(20);

/// A running server; killed when dropped.
pub(crate) struct Redis {
    program: PathBuf,
    folder: PathBuf,
    child: Child,
}

impl Redis {
    /// Starts one. `None`, and a line that says so, where there is no such program.
    pub(crate) fn start(name: &str) -> Option<Self> {
        let program = std::env::var_os("REDIS_SERVER").map_or("redis-server".into(), PathBuf::from);
        if Command::new(&program).arg("--version").stdout(Stdio::null()).status().is_err() {
            println!("skipped: {name}: no redis-server on PATH and none by REDIS_SERVER");
            return None;
        }
        // A socket's path is at most 107 bytes long.
        let folder = std::env::temp_dir().join(format!("bimetal-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let child = spawn(&program, &folder);
        let redis = Self { program, folder, child };
        redis.wait();
        Some(redis)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("s")
    }

    /// Its address for the service.
    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    fn wait(&self) {
        let end = Instant::now() + DEADLINE;
        while !self.try_ask("PING").is_some_and(|answer| answer.starts_with("+PONG")) {
            assert!(Instant::now() < end, "no redis-server that answers in time");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn try_ask(&self, line: &str) -> Option<String> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        stream.write_all(format!("{line}\r\nQUIT\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// What it answers to one line, as it is on the wire.
    pub(crate) fn ask(&self, line: &str) -> String {
        self.try_ask(line).unwrap_or_else(|| panic!("no answer to {line}"))
    }

    /// Ends it at once; nothing is saved.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, empty.
    pub(crate) fn restart(&mut self) {
        let _ = std::fs::remove_file(self.socket());
        self.child = spawn(&self.program, &self.folder);
        self.wait();
    }
}

fn spawn(program: &Path, folder: &Path) -> Child {
    Command::new(program)
        .args(["--port", "0", "--unixsocket"])
        .arg(folder.join("s"))
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
