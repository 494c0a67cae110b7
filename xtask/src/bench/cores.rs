//! Which core a program runs on, and how long it ran there.

use anyhow::{Context, Result, bail};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::fs;
use std::time::Duration;

/// The two cores of a run.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    /// Where every proxy runs, one at work at a time.
    pub proxy: usize,
    /// Where the load and the server behind the proxies run.
    pub load: usize,
}

impl Cores {
    /// The first two cores that this process may use.
    ///
    /// # Errors
    /// There is only one: load and proxy would share it, and nothing could be told from the run.
    pub fn take() -> Result<Self> {
        match allowed()?.as_slice() {
            [proxy, load, ..] => Ok(Self { proxy: *proxy, load: *load }),
            _ => bail!("the benchmark needs two cores: one for the proxies, one for the load"),
        }
    }
}

/// The last core that this process may use.
///
/// # Errors
/// The operating system does not tell.
pub fn last() -> Result<usize> {
    allowed()?.pop().context("this process may use no core")
}

fn allowed() -> Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0)).context("cannot ask for the cores")?;
    Ok((0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect())
}

/// Does `work` on `core`; programs that it starts stay there.
///
/// # Errors
/// The core cannot be taken, or `work` fails.
pub fn on<T>(core: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let own = Pid::from_raw(0);
    let before = sched_getaffinity(own).context("cannot ask for the cores")?;
    let mut one = CpuSet::new();
    one.set(core)?;
    sched_setaffinity(own, &one).with_context(|| format!("cannot run on core {core}"))?;
    let done = work();
    sched_setaffinity(own, &before).context("cannot return to all cores")?;
    done
}

/// CPU time that all living threads of a process used so far, user and system together.
///
/// The scheduler's own clock in nanoseconds (`/proc/PID/task/*/schedstat`): `stat` counts in ticks
/// of 10 ms, too coarse for blocks of a second.
///
/// # Errors
/// The process is gone, or the kernel keeps no such statistics.
pub fn time_used(process: u32) -> Result<Duration> {
    let folder = format!("/proc/{process}/task");
    let threads = fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))?;
    let mut nanos = 0;
    for thread in threads {
        let file = thread?.path().join("schedstat");
        // A thread may end between the two reads; what it used is then lost, not the run.
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let used = text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
        nanos += used.with_context(|| format!("{} holds no time", file.display()))?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// Whether every thread of a process sleeps: it has done all there is to do.
///
/// # Errors
/// The process is gone.
pub fn rests(process: u32) -> Result<bool> {
    let folder = format!("/proc/{process}/task");
    let threads = fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))?;
    for thread in threads {
        // A thread that has ended meanwhile does nothing more.
        let stat = fs::read_to_string(thread?.path().join("stat")).unwrap_or_default();
        // The name before the state may hold anything, also brackets.
        match stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes()) {
            Some([b'Z' | b'X', ..]) => bail!("process {process} has ended"),
            Some([b'S', ..]) | None => {}
            Some(_) => return Ok(false),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_waits_rests_and_one_that_works_does_not() {
        let run = |script| {
            let mut command = std::process::Command::new("sh");
            command.args(["-c", script]).stdin(std::process::Stdio::piped()).spawn().unwrap()
        };
        let (mut waits, mut works) = (run("read line"), run("while :; do :; done"));
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !rests(waits.id()).unwrap() || rests(works.id()).unwrap() {
            assert!(std::time::Instant::now() < deadline, "they are not told apart");
            std::thread::yield_now();
        }
        for program in [&mut waits, &mut works] {
            program.kill().unwrap();
        }
        while rests(works.id()).is_ok() {
            assert!(
                std::time::Instant::now() < deadline,
                "a program that was killed is still there"
            );
            std::thread::yield_now();
        }
        for program in [&mut waits, &mut works] {
            program.wait().unwrap();
            assert!(rests(program.id()).is_err());
        }
    }

    #[test]
    fn time_passes_while_working() {
        let own = std::process::id();
        let before = time_used(own).unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while time_used(own).unwrap() < before + Duration::from_millis(5) {
            assert!(std::time::Instant::now() < deadline, "no time is counted");
        }
    }

    #[test]
    fn work_stays_on_its_core_and_leaves_it_again() {
        let own = Pid::from_raw(0);
        let before = sched_getaffinity(own).unwrap();
        let core = (0..CpuSet::count()).find(|core| before.is_set(*core).unwrap()).unwrap();
        let during = on(core, || Ok(sched_getaffinity(own)?)).unwrap();
        let set = (0..CpuSet::count()).filter(|core| during.is_set(*core).unwrap());
        assert_eq!(set.collect::<Vec<_>>(), [core]);
        assert_eq!(sched_getaffinity(own).unwrap(), before);
    }
}
