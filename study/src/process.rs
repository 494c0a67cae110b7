//! Processes of arms: started in a group of their own on one core, watched, and ended with all that
//! they started.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take to end when asked, before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// How often a program is looked at.
const GLANCE: Duration = Duration::from_millis(5);

/// A command that starts `program` so that the kernel kills it when the thread that started it has
/// ended. A study that is itself killed, which runs no destructor, leaves no proxy at work beside the
/// next one.
///
/// `setpriv` of util-linux sets that (`PR_SET_PDEATHSIG`) and becomes the program: doing it between
/// fork and exec ourselves takes unsafe code. What the program starts in its turn is not included.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// A program at work. Ended when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts `command` with its output in the file `log`.
    ///
    /// # Errors
    /// The log cannot be written, or the program cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let twin = file.try_clone()?;
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(twin)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        Ok(Self { child, log: log.to_path_buf() })
    }

    /// Id of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, once it has ended.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn status(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("a process cannot be watched")
    }

    /// The file with all of its output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The end of its output, for a message.
    pub fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else {
            return;
        };
        let _ = kill_process_group(group, Signal::TERM);
        let asked = Instant::now();
        while asked.elapsed() < GRACE {
            // Reaping our child first lets its group vanish.
            let _ = self.child.try_wait();
            if test_kill_process_group(group).is_err() {
                break;
            }
            std::thread::sleep(GLANCE);
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// The two cores of a study.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// Where every arm's processes run, one arm at a time.
    pub arms: usize,
    /// Where the generator and the server behind the arms run.
    pub load: usize,
}

impl Cores {
    /// The first two cores that this process may use; the same one twice where it may use one
    /// alone. Nothing can be told from such a run, but it shows that everything works.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn take() -> Result<Self> {
        let set = sched_getaffinity(None).context("cannot ask for the cores")?;
        let mut own = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core));
        let arms = own.next().context("this process may use no core")?;
        Ok(Self { arms, load: own.next().unwrap_or(arms) })
    }

    /// Whether arms and load have a core each.
    pub fn are_two(self) -> bool {
        self.arms != self.load
    }
}

/// Does `work` on `core`; programs that it starts stay there.
///
/// # Errors
/// The core cannot be taken, or `work` fails.
pub fn on<T>(core: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = sched_getaffinity(None).context("cannot ask for the cores")?;
    let mut one = CpuSet::new();
    one.set(core);
    sched_setaffinity(None, &one).with_context(|| format!("cannot run on core {core}"))?;
    let done = work();
    sched_setaffinity(None, &before).context("cannot return to all cores")?;
    done
}

/// CPU time of a process, user and system together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Of its threads, but for those that are told apart.
    pub own: Duration,
    /// Of those.
    pub apart: Duration,
}

impl Used {
    /// Both.
    pub fn whole(self) -> Duration {
        self.own + self.apart
    }

    /// What was used since `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            own: self.own.saturating_sub(before.own),
            apart: self.apart.saturating_sub(before.apart),
        }
    }
}

impl std::iter::Sum for Used {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            own: sum.own + one.own,
            apart: sum.apart + one.apart,
        })
    }
}

/// CPU time that all living threads of a process used so far, by the scheduler's own clock
/// (`/proc/PID/task/*/schedstat`). Threads whose name is in `apart` are told apart.
///
/// # Errors
/// The process is gone, or the kernel keeps no such statistics.
pub fn time_used(process: u32, apart: &[String]) -> Result<Used> {
    let folder = format!("/proc/{process}/task");
    let threads = std::fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))?;
    let mut used = Used::default();
    for thread in threads {
        let thread = thread?.path();
        let file = thread.join("schedstat");
        // A thread may end between the two reads; what it used is then lost, not the block.
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        let nanos = text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
        let nanos = nanos.with_context(|| format!("{} holds no time", file.display()))?;
        let is_apart = !apart.is_empty()
            && std::fs::read_to_string(thread.join("comm"))
                .is_ok_and(|name| apart.iter().any(|one| one == name.trim_end()));
        *(if is_apart { &mut used.apart } else { &mut used.own }) += Duration::from_nanos(nanos);
    }
    Ok(used)
}

/// Resident memory of a process in KiB.
///
/// # Errors
/// The process is gone, or has ended and was not waited for yet: then it has no memory to tell of.
pub fn resident_kib(process: u32) -> Result<u64> {
    let file = format!("/proc/{process}/status");
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).with_context(|| format!("{file} tells no size"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell that starts what `script` says, and the id that it prints.
    fn shell(script: &str, arguments: &[&OsStr]) -> (Running, u32) {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).args(arguments);
        let running = Running::start(&mut command, &folder.path().join("log")).unwrap();
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Ok(id) = running.last_words().trim().parse() {
                return (running, id);
            }
            assert!(Instant::now() < deadline, "the shell did not tell its child's id");
            std::thread::yield_now();
        }
    }

    fn has_ended(id: u32) {
        let deadline = Instant::now() + DEADLINE;
        // A zombie whose parent has gone is taken by init in its own time: look at its state.
        while let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) {
            if stat.contains(") Z ") {
                break;
            }
            assert!(Instant::now() < deadline, "process {id} is still there");
            std::thread::yield_now();
        }
    }

    const DEADLINE: Duration = Duration::from_secs(20);

    #[test]
    fn a_program_is_ended_with_all_it_started() {
        let (running, inner) = shell("sleep 300 & echo $!; wait", &[]);
        drop(running);
        has_ended(inner);
    }

    #[test]
    fn a_program_ends_with_a_parent_that_is_killed() {
        let mut sleeper = command("sh");
        sleeper.args(["-c", "echo $$; exec sleep 300"]);
        let words: Vec<&OsStr> =
            std::iter::once(sleeper.get_program()).chain(sleeper.get_args()).collect();
        let (running, inner) = shell(r#""$@" & wait"#, &words);
        let parent = Pid::from_raw(running.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(parent, Signal::KILL).unwrap();
        has_ended(inner);
    }

    #[test]
    fn work_stays_on_its_core_and_leaves_it_again() {
        let before = sched_getaffinity(None).unwrap();
        let core = Cores::take().unwrap().arms;
        let during = on(core, || Ok(sched_getaffinity(None)?)).unwrap();
        let set: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| during.is_set(*core)).collect();
        assert_eq!(set, [core]);
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }

    #[test]
    fn time_and_memory_of_a_process_can_be_read() {
        let own = std::process::id();
        let used = |apart: &[String]| time_used(own, apart).unwrap();
        let before = used(&[]);
        let deadline = Instant::now() + Duration::from_secs(20);
        while used(&[]).own < before.own + Duration::from_millis(5) {
            assert!(Instant::now() < deadline, "no time is counted");
        }
        assert_eq!(used(&[]).apart, Duration::ZERO);
        assert_eq!(used(&["nobody".into()]).apart, Duration::ZERO);
        assert!(resident_kib(own).unwrap() > 100);
        assert!(time_used(u32::MAX, &[]).is_err() && resident_kib(u32::MAX).is_err());
    }

    #[test]
    fn a_thread_is_told_apart_by_its_name() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let work = move || while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {};
        let busy = std::thread::Builder::new().name("exporter".into()).spawn(work).unwrap();
        let apart = ["exporter".to_owned()];
        let deadline = Instant::now() + DEADLINE;
        while time_used(std::process::id(), &apart).unwrap().apart < Duration::from_millis(5) {
            assert!(Instant::now() < deadline, "no time of the thread is counted");
        }
        drop(stop);
        busy.join().unwrap();
    }

    #[test]
    fn a_process_that_has_ended_has_no_size() {
        let mut child = Command::new("true").spawn().unwrap();
        let deadline = Instant::now() + DEADLINE;
        // It stays as a zombie until it is waited for.
        while resident_kib(child.id()).is_ok() {
            assert!(Instant::now() < deadline, "an ended process has a size");
            std::thread::yield_now();
        }
        assert!(child.wait().unwrap().success());
    }
}
