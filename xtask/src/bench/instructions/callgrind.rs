//! Programs under valgrind's callgrind, which counts the instructions they execute. The count does
//! not depend on what else the machine does.

use crate::process::{self, Running};
use crate::{place, tools};
use anyhow::{Context, Result, bail};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a program may take to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a program without a server may run.
const LIMIT: Duration = Duration::from_secs(1800);

/// Makes the kernel let others go on when the program is woken (SCHED_BATCH): what they have to say
/// to it is said when it looks.
const BATCH: [&str; 2] = ["--batch", "0"];

/// valgrind, and a folder for what it writes.
#[derive(Debug)]
pub struct Callgrind {
    valgrind: PathBuf,
    folder: PathBuf,
}

impl Callgrind {
    /// Finds valgrind, or installs it.
    ///
    /// # Errors
    /// It cannot be had; the message says what can be done.
    pub fn get() -> Result<Self> {
        let valgrind = tools::named("valgrind")?.get()?;
        process::answer("chrt", &[BATCH[0], BATCH[1], "true"])
            .context("chrt of util-linux is missing, or may not choose SCHED_BATCH")?;
        Ok(Self { valgrind, folder: place::made("bench/instructions")? })
    }

    /// valgrind's version.
    pub fn version(&self) -> Option<String> {
        let told = process::answer(&self.valgrind, &["--version"])?;
        Some(told.trim_start_matches("valgrind-").to_owned())
    }

    /// Where a file of that name may be written.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// All instructions of `program` with `arguments`, from its start to its end.
    ///
    /// # Errors
    /// It cannot be started, or fails.
    pub fn whole(&self, program: &Path, arguments: &[&str]) -> Result<u64> {
        let out = self.fresh_output()?;
        let mut command = self.command(program, &out);
        command.args(arguments);
        process::succeed("callgrind", &mut command, LIMIT)?;
        total(&out)
    }

    /// All instructions of a server, from its start to its end: once it listens at `address`,
    /// `work` is done with the id of its process, then it is told to end.
    ///
    /// # Errors
    /// It does not start or end, or `work` fails.
    pub fn serving(
        &self,
        program: &Path,
        arguments: &[&str],
        address: SocketAddr,
        work: impl FnOnce(u32) -> Result<()>,
    ) -> Result<u64> {
        let out = self.fresh_output()?;
        let mut command = self.command(program, &out);
        command.args(arguments);
        let mut running = Running::start("callgrind", &mut command, &self.file("server.log"))?;
        listening(&mut running, address)?;
        if let Err(error) = work(running.id()) {
            bail!("{error:#}; the program's last words:\n{}", running.last_words());
        }
        running.ask_to_end();
        running.wait(PATIENCE)?;
        total(&out)
    }

    fn command(&self, program: &Path, out: &Path) -> Command {
        let mut command = Command::new("chrt");
        command.args(BATCH).arg(&self.valgrind);
        // What a user set for other work must not change the count.
        command.env_remove("VALGRIND_OPTS").arg("--tool=callgrind");
        command.arg(format!("--callgrind-out-file={}", out.display())).arg(program);
        command
    }

    /// Where callgrind writes; nothing of an earlier run is there.
    fn fresh_output(&self) -> Result<PathBuf> {
        let out = self.file("callgrind.out");
        match std::fs::remove_file(&out) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", out.display()))
            }
            _ => Ok(out),
        }
    }
}

/// Waits until a connection to `address` is taken. It is closed at once.
fn listening(running: &mut Running, address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        if let Some(status) = running.status()? {
            bail!("the program ended ({status}): {}", running.last_words());
        }
        if Instant::now() > deadline {
            bail!("the program does not listen: {}", running.last_words());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn total(out: &Path) -> Result<u64> {
    let text =
        std::fs::read_to_string(out).with_context(|| format!("cannot read {}", out.display()))?;
    counted(&text).with_context(|| format!("in {}", out.display()))
}

/// The instructions that callgrind's output file tells: the sum of its lines `totals:`, one for
/// each part. The only event must be `Ir`, instructions read.
fn counted(text: &str) -> Result<u64> {
    let after = |what| text.lines().filter_map(move |line| line.strip_prefix(what));
    if let Some(other) = after("events:").find(|events| events.trim() != "Ir") {
        bail!("callgrind counted{other} and not instructions alone");
    }
    let mut parts = after("totals:").map(|count| {
        count.trim().parse::<u64>().with_context(|| format!("no number of instructions: {count}"))
    });
    let first = parts.next().context("callgrind wrote no totals")??;
    parts.try_fold(first, |sum, part| Ok(sum + part?))
}

/// Instructions of one call, where one run made `few` calls and another `many`: what both runs did
/// beside the calls falls out.
///
/// # Errors
/// The run with more calls needed no more instructions, so the calls are not what was counted.
pub fn per_call((few, fewer): (u64, u64), (many, more): (u64, u64)) -> Result<f64> {
    match (many.checked_sub(few), more.checked_sub(fewer)) {
        (Some(calls @ 1..), Some(instructions @ 1..)) => Ok(instructions as f64 / calls as f64),
        _ => bail!("{few} calls took {fewer} instructions, {many} calls {more}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "# callgrind format\nversion: 1\ncreator: callgrind-3.19.0\npid: 7\n\
        cmd:  ./program\npart: 1\n\npositions: line\nevents: Ir\nsummary: 1687362\n\n\n\
        ob=(1) /usr/bin/program\nfl=(1) main.rs\nfn=(1) totals\n16 3\n\ntotals: 1687519\n";

    #[test]
    fn the_total_is_read_and_not_the_summary() {
        assert_eq!(counted(OUTPUT).unwrap(), 1_687_519);
    }

    #[test]
    fn parts_are_added_up() {
        assert_eq!(
            counted(&format!("{OUTPUT}\npart: 2\nevents: Ir\ntotals: 81\n")).unwrap(),
            1_687_600
        );
    }

    #[test]
    fn what_is_no_count_of_instructions_is_an_error() {
        let told = |text: &str| format!("{:#}", counted(text).unwrap_err());
        assert!(told("events: Ir\n").contains("no totals"));
        assert!(told("events: Ir\ntotals: many\n").contains("many"));
        assert!(told("events: Ir Dr\ntotals: 3 1\n").contains("Ir Dr"));
    }

    #[test]
    fn what_both_runs_did_falls_out() {
        let start = 1_700_000;
        let run = |calls| (calls, start + calls * 37_060);
        assert_eq!(per_call(run(320), run(1_920)).unwrap(), 37_060.0);
        assert!(per_call(run(320), run(320)).is_err());
        assert!(per_call((1, 10), (2, 9)).is_err());
    }
}
