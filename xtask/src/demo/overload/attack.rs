//! The load: vegeta, a program of others. It sends at its rate whatever became of the calls before,
//! and its clients leave after half a second.

use super::record::{Hit, Seen};
use crate::process::Running;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Calls a second.
pub const RATE: u32 = 1000;
/// How long.
pub const LENGTH: Duration = Duration::from_secs(10);
/// What a client waits. Without it an unbounded queue would lose no call.
pub const PATIENCE: Duration = Duration::from_millis(500);
/// How long the capacity is measured.
const MEASURED: Duration = Duration::from_secs(4);
/// How long vegeta may take beyond the time of its load.
const GRACE: Duration = Duration::from_secs(20);

/// What a call asks; 32 bytes, as in the origin's measurement 35.
const BODY: &str = r#"{"data": [[5.1, 3.5, 1.4, 0.2]]}"#;

/// How calls are sent.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// [`RATE`] a second for [`LENGTH`], whatever comes back.
    Open,
    /// So many clients, each of which asks again once it is answered.
    Closed(u32),
}

/// Who sends: each attack has an address of its own on loopback. Clients that leave close their
/// connections, and the ports of ten thousand of these are not free again before the next attack.
#[derive(Debug, Default)]
pub struct Senders(u8);

impl Senders {
    /// The next address.
    fn next(&mut self) -> Ipv4Addr {
        self.0 = self.0.wrapping_add(1);
        Ipv4Addr::new(127, 0, 1, self.0)
    }
}

/// Vegeta and what it needs.
#[derive(Debug)]
pub struct Vegeta<'a> {
    /// The program.
    pub program: &'a Path,
    /// Where its files go.
    pub folder: &'a Path,
    /// Who sends.
    pub senders: Senders,
}

/// Vegeta at work.
#[derive(Debug)]
pub struct Attack {
    vegeta: Running,
    results: Results,
    limit: Instant,
}

impl Attack {
    /// Begins to send calls to `targets` in turn.
    ///
    /// # Errors
    /// It does not start, or a file cannot be written.
    pub fn begin(vegeta: &mut Vegeta<'_>, targets: &[SocketAddr], pace: Pace) -> Result<Self> {
        let Vegeta { program, folder, senders } = vegeta;
        let body = folder.join("body.json");
        std::fs::write(&body, BODY).context("cannot write the load's body")?;
        let targets: String = targets
            .iter()
            .map(|address| format!("POST http://{address}/predict\n@{}\n\n", body.display()))
            .collect();
        let list = folder.join("targets.txt");
        std::fs::write(&list, targets).context("cannot write the load's targets")?;
        let (length, rate) = match pace {
            Pace::Open => (LENGTH, vec![format!("-rate={RATE}/s")]),
            Pace::Closed(clients) => {
                let clients = [format!("-workers={clients}"), format!("-max-workers={clients}")];
                (MEASURED, [vec!["-rate=0".to_owned()], clients.to_vec()].concat())
            }
        };
        let results = folder.join("results.csv");
        let mut command = Command::new("sh");
        // "$0" is vegeta, "$@" what it attacks with. A line a call, as it comes.
        command.args(["-c", r#""$0" attack "$@" | "$0" encode --to csv"#]).arg(program);
        command.arg(format!("-laddr={}", senders.next()));
        command.arg(format!("-duration={}s", length.as_secs()));
        command.arg(format!("-timeout={}ms", PATIENCE.as_millis()));
        command.args(["-header", "content-type: application/json"]);
        // The clients say how long they wait.
        command.args(["-header", &format!("x-request-deadline-ms: {}", PATIENCE.as_millis())]);
        command.arg(format!("-targets={}", list.display())).args(rate);
        let vegeta = Running::start("vegeta", &mut command, &results)?;
        let limit = Instant::now() + length + GRACE;
        Ok(Self { vegeta, results: Results::new(results)?, limit })
    }

    /// The calls that ended since the last time, and whether these were the last ones.
    ///
    /// # Errors
    /// Vegeta fails or takes too long.
    pub fn ended(&mut self) -> Result<(Vec<Hit>, bool)> {
        // Asked before the file is read: what it wrote until its end is read then.
        let status = self.vegeta.status()?;
        let hits = self.results.read()?;
        match status {
            Some(status) if !status.success() => {
                bail!("vegeta failed ({status}): {}", self.vegeta.last_words())
            }
            None if Instant::now() > self.limit => {
                bail!("vegeta does not end: {}", self.vegeta.last_words())
            }
            status => Ok((hits, status.is_some())),
        }
    }
}

/// The capacity in calls a second that `targets` have together, by `clients` that never rest.
///
/// # Errors
/// Vegeta fails, or nothing is answered.
pub fn capacity(vegeta: &mut Vegeta<'_>, targets: &[SocketAddr], clients: u32) -> Result<f64> {
    let mut attack = Attack::begin(vegeta, targets, Pace::Closed(clients))?;
    let mut hits = Vec::new();
    loop {
        let (more, is_over) = attack.ended()?;
        hits.extend(more);
        if is_over {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    throughput(&hits).context("the capacity cannot be measured: no call was answered")
}

/// Good answers a second, from the first call to the last one, or to the last good answer where that
/// is later.
pub fn throughput(hits: &[Hit]) -> Option<f64> {
    let good = || hits.iter().filter(|hit| hit.seen == Seen::Good);
    let sent = hits.iter().map(|hit| hit.due);
    let end = good().map(|hit| hit.due + hit.latency).chain(sent).max()?;
    let good = good().count();
    (good > 0).then(|| good as f64 / end.as_secs_f64())
}

/// A file of vegeta's that grows.
#[derive(Debug)]
struct Results {
    file: BufReader<File>,
    half: String,
    first: Option<u128>,
}

impl Results {
    fn new(path: PathBuf) -> Result<Self> {
        let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { file: BufReader::new(file), half: String::new(), first: None })
    }

    /// The whole lines since the last time.
    fn read(&mut self) -> Result<Vec<Hit>> {
        let mut hits = Vec::new();
        loop {
            let more = self.file.read_line(&mut self.half).context("cannot read the results")?;
            if more == 0 || !self.half.ends_with('\n') {
                return Ok(hits);
            }
            hits.extend(hit(&self.half, &mut self.first));
            self.half.clear();
        }
    }
}

/// Reads one line: nanoseconds since 1970, status, nanoseconds that it took, and more that is not
/// looked at. A line that is none (a warning) is left out; what is missing shows in the count.
fn hit(line: &str, first: &mut Option<u128>) -> Option<Hit> {
    let mut fields = line.split(',');
    let sent: u128 = fields.next()?.parse().ok()?;
    let status: u16 = fields.next()?.parse().ok()?;
    let latency = Duration::from_nanos(fields.next()?.parse().ok()?);
    // Results come in the order of their ends: an earlier call may come later.
    let first = first.get_or_insert(sent);
    let due = u64::try_from(sent.saturating_sub(*first)).unwrap_or(u64::MAX);
    let seen = match status {
        200 => Seen::Good,
        429 | 503 => Seen::Rejected,
        // Mostly 0: the client's patience was over. Or its host's, or the connection failed.
        _ => Seen::Lost,
    };
    Some(Hit { due: Duration::from_nanos(due), latency, seen })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_vegeta_are_read() {
        let mut first = None;
        let line = "1795672398228114255,200,21000000,32,75,,eyJ=,,0,POST,http://x/predict,abc\n";
        let good = hit(line, &mut first).unwrap();
        assert_eq!((good.due, good.latency), (Duration::ZERO, Duration::from_millis(21)));
        assert_eq!(good.seen, Seen::Good);
        let line =
            "1795672398328114255,0,500100000,0,0,\"Post \"\"http://x\"\": timeout, or so\",,,1\n";
        let lost = hit(line, &mut first).unwrap();
        assert_eq!((lost.due, lost.seen), (Duration::from_millis(100), Seen::Lost));
        let rejected = hit("1795672398228114256,503,400000,32,40,503,,\n", &mut first).unwrap();
        assert_eq!(rejected.seen, Seen::Rejected);
        let late = hit("1795672398228114256,504,400000,32,40,504,,\n", &mut first).unwrap();
        assert_eq!(late.seen, Seen::Lost);
        assert!(hit("warning: something\n", &mut first).is_none());
    }

    #[test]
    fn half_a_line_waits_for_its_end() {
        let path = crate::place::made("xtask/tests").unwrap().join("results.csv");
        std::fs::write(&path, "100,200,5,0,0,,\n200,20").unwrap();
        let mut results = Results::new(path.clone()).unwrap();
        assert_eq!(results.read().unwrap().len(), 1);
        let mut more = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        std::io::Write::write_all(&mut more, b"0,7,0,0,,\n").unwrap();
        let hits = results.read().unwrap();
        assert_eq!(hits.len(), 1);
        assert_eq!(hits[0].latency, Duration::from_nanos(7));
    }

    #[test]
    fn throughput_is_taken_to_the_end_of_load_and_answers() {
        let hit = |due_s, latency_s, seen| Hit {
            due: Duration::from_secs(due_s),
            latency: Duration::from_secs(latency_s),
            seen,
        };
        let good = [hit(0, 1, Seen::Good), hit(1, 3, Seen::Good)];
        assert_eq!(throughput(&good), Some(0.5));
        assert_eq!(throughput(&[good[0], good[1], hit(8, 9, Seen::Rejected)]), Some(0.25));
        assert_eq!(throughput(&[hit(0, 1, Seen::Lost)]), None);
    }
}
