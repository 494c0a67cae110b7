//! Other programs: started in a process group of their own, watched, and ended by their id — also
//! when this program is told to stop.

use crate::{place, say};
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The groups that are alive, for [`end_all_when_told`].
static ALIVE: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// Set when this program was told to stop.
static STOPPING: AtomicBool = AtomicBool::new(false);

/// Ids of programs that lead no group of ours.
static GUESTS: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// How often a program is looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// How long a program may take to end when asked, before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// The same when a person waits at the terminal.
const IMPATIENCE: Duration = Duration::from_secs(2);

/// Whether this program was told to stop: what it would show from now on is not worth showing.
pub fn stopping() -> bool {
    STOPPING.load(Ordering::Relaxed)
}

/// On Ctrl-C, SIGTERM and SIGHUP every program started here is ended, then this one (exit 130).
///
/// # Errors
/// The handler cannot be set.
pub fn end_all_when_told() -> Result<()> {
    ctrlc::set_handler(|| {
        STOPPING.store(true, Ordering::Relaxed);
        let groups = alive().clone();
        for guest in GUESTS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = kill(Pid::from_raw(*guest), Signal::SIGTERM);
        }
        for group in &groups {
            let _ = killpg(Pid::from_raw(*group), Signal::SIGTERM);
        }
        let asked = Instant::now();
        while asked.elapsed() < IMPATIENCE && groups.iter().any(|group| lives(*group)) {
            std::thread::sleep(GLANCE);
        }
        for group in &groups {
            let _ = killpg(Pid::from_raw(*group), Signal::SIGKILL);
        }
        crate::demo::terminal::restore();
        eprintln!("stopped");
        std::process::exit(130);
    })
    .context("cannot listen for Ctrl-C")
}

/// A program that another part started and ends: ended with the others when this one is told to
/// stop.
#[derive(Debug)]
pub struct Guest(i32);

impl Guest {
    /// Takes note of the process with this id.
    pub fn new(id: u32) -> Self {
        let id = i32::try_from(id).unwrap_or(i32::MAX);
        GUESTS.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        Self(id)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        GUESTS.lock().unwrap_or_else(PoisonError::into_inner).retain(|one| *one != self.0);
    }
}

fn alive() -> std::sync::MutexGuard<'static, Vec<i32>> {
    ALIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lives(group: i32) -> bool {
    killpg(Pid::from_raw(group), None).is_ok()
}

/// A program at work, with all it started. Ended when dropped.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts `command` with its output in the file `log`.
    ///
    /// # Errors
    /// The log cannot be written, or the program cannot be started.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let twin = file.try_clone().with_context(|| format!("cannot write {}", log.display()))?;
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(twin)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        alive().push(group_of(&child));
        Ok(Self { name: name.to_owned(), child, log: log.to_path_buf() })
    }

    /// What it is called here.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Id of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The end of its output.
    pub fn last_words(&self) -> String {
        last_words(&self.log)
    }

    /// Its exit status, once it has ended.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn status(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot watch {}", self.name))
    }

    /// Asks it to end (SIGTERM), with all it started. [`Running::wait`] waits for that.
    pub fn ask_to_end(&self) {
        let _ = killpg(Pid::from_raw(group_of(&self.child)), Signal::SIGTERM);
    }

    /// Waits for the end, telling every [`say::BEAT`] how long it takes and its last line.
    ///
    /// # Errors
    /// It takes longer than `limit` (the program is ended then).
    pub fn wait(self, limit: Duration) -> Result<ExitStatus> {
        let log = self.log.clone();
        self.wait_telling(limit, || last_line(&log))
    }

    /// The same, telling what `now` says instead of its last line.
    ///
    /// # Errors
    /// As [`Running::wait`].
    pub fn wait_telling(mut self, limit: Duration, now: impl Fn() -> String) -> Result<ExitStatus> {
        let since = Instant::now();
        let mut told = since;
        loop {
            if let Some(status) = self.status()? {
                return Ok(status);
            }
            if since.elapsed() > limit {
                bail!("{} did not end within {}", self.name, say::span(limit));
            }
            if told.elapsed() >= say::BEAT {
                told = Instant::now();
                say::works(&self.name, since, &now());
            }
            std::thread::sleep(GLANCE);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = group_of(&self.child);
        let _ = killpg(Pid::from_raw(group), Signal::SIGTERM);
        let asked = Instant::now();
        while asked.elapsed() < GRACE {
            // Reaping our child first lets its group vanish.
            let _ = self.child.try_wait();
            if !lives(group) {
                break;
            }
            std::thread::sleep(GLANCE);
        }
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        let _ = self.child.wait();
        alive().retain(|one| *one != group);
    }
}

fn group_of(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap_or(i32::MAX)
}

/// The last line of a file that may still grow; empty where there is none.
fn last_line(file: &Path) -> String {
    let tail = tail(file, 4096);
    tail.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().to_owned()
}

/// The last lines of a log, for a message.
fn last_words(log: &Path) -> String {
    let output = tail(log, 6_000);
    let lines: Vec<&str> = output.lines().collect();
    let from = lines.len().saturating_sub(40);
    lines.get(from..).unwrap_or_default().join("\n")
}

/// The last bytes of a file as text; empty where it cannot be read.
pub fn tail(file: &Path, bytes: u64) -> String {
    let mut text = Vec::new();
    if let Ok(mut file) = File::open(file) {
        let length = file.metadata().map(|meta| meta.len()).unwrap_or(0);
        let _ = file.seek(SeekFrom::Start(length.saturating_sub(bytes)));
        let _ = file.read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// What a finished program left.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Where its output is.
    pub log: PathBuf,
}

impl Finished {
    /// All of its output, as text.
    pub fn output(&self) -> String {
        tail(&self.log, u64::MAX)
    }

    /// Its end, for a message.
    pub fn last_words(&self) -> String {
        last_words(&self.log)
    }
}

/// Runs `command` to its end with progress; its output goes to a log file under `target/xtask`.
///
/// # Errors
/// It cannot be started, or takes longer than `limit`.
pub fn run(name: &str, command: &mut Command, limit: Duration) -> Result<Finished> {
    let safe: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let log = place::made("xtask")?.join(format!("{safe}.log"));
    let status = Running::start(name, command, &log)?.wait(limit)?;
    Ok(Finished { status, log })
}

/// As [`run`], and a program that fails is an error that shows its last words.
///
/// # Errors
/// As [`run`], or the program exits with another status than 0.
pub fn succeed(name: &str, command: &mut Command, limit: Duration) -> Result<Finished> {
    let finished = run(name, command, limit)?;
    if !finished.status.success() {
        bail!(
            "{name} failed ({}):\n{}\nall of its output: {}",
            finished.status,
            finished.last_words(),
            finished.log.display()
        );
    }
    Ok(finished)
}

/// What a short program prints on stdout; `None` where it fails or is not there.
pub fn answer(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(place::root())
        .stdin(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(name: &str) -> PathBuf {
        place::made("xtask/tests").unwrap().join(name)
    }

    #[test]
    fn dropping_a_program_ends_all_it_started() {
        let log = log("group.log");
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 300 & echo $!; wait"]);
        let running = Running::start("sleeper", &mut command, &log).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        let inner = loop {
            if let Ok(id) = tail(&log, 100).trim().parse::<i32>() {
                break id;
            }
            assert!(Instant::now() < deadline, "the shell did not tell its child's id");
            std::thread::yield_now();
        };
        drop(running);
        // A zombie whose parent has gone is taken by init in its own time: look at its state.
        while let Ok(stat) = std::fs::read_to_string(format!("/proc/{inner}/stat")) {
            if stat.contains(") Z ") {
                break;
            }
            assert!(Instant::now() < deadline, "the grandchild is still there");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_program_over_its_time_is_ended() {
        let mut command = Command::new("sleep");
        let running = Running::start("sleep", command.arg("300"), &log("limit.log")).unwrap();
        let error = running.wait(Duration::from_millis(1)).unwrap_err();
        assert!(error.to_string().contains("did not end"), "{error}");
    }

    #[test]
    fn a_failure_shows_the_last_words() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo so it goes; exit 3"]);
        let error = succeed("failing test", &mut command, Duration::from_secs(20)).unwrap_err();
        assert!(error.to_string().contains("so it goes"), "{error}");
    }
}
