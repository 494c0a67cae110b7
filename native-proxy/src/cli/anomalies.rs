//! `bimetal anomalies`: what in a file of samples is unlike the rest of it, row by row, by what came
//! before alone.

use super::output::{WRONG_INPUT, complain};
use super::samples::{self, Sample, Samples, WrongInput};
use bimetal_core::anomaly::{Detector, Outlier, ZScore};
use clap::ValueEnum;
use std::cell::RefCell;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

const EXAMPLES: &str = "\
The input has a header with the columns `timestamp` and `value`; other columns are kept. A timestamp is
RFC 3339, `2026-03-01 12:00:00` (read as UTC), or seconds since 1970. A value that is empty or NaN is a
missing sample: it is not judged. The output has two columns more: `anomaly_score` from 0 to 1, and
`anomaly`, which is 1 from a score of 0.5 on.

Examples:
  bimetal anomalies requests.csv
  bimetal anomalies requests.csv --by samples > judged.csv
  tail -f requests.csv | bimetal anomalies - | grep ',1$'

Exit codes: 0 fine, 1 failed, 2 wrong input.";

#[derive(Debug, clap::Args)]
#[command(
    about = "Judge a CSV file of samples; write it with a score and a flag for each",
    after_help = EXAMPLES
)]
pub(super) struct AnomaliesArgs {
    /// CSV file; `-` reads standard input
    file: PathBuf,
    /// What is looked for
    #[arg(long, value_enum, default_value_t)]
    by: JudgeName,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum JudgeName {
    /// What is worth waking up for, told once
    #[default]
    Incidents,
    /// Each sample unlike those before it
    Samples,
    /// Each sample more than two deviations from the mean of the last 50
    ZScore,
}

enum Judge {
    Incidents(Box<Detector>),
    Samples(Box<Outlier>),
    ZScore(ZScore),
}

/// A score in 0–1, and the flag.
type Judgement = (f64, bool);

impl Judge {
    fn new(name: JudgeName) -> Self {
        match name {
            JudgeName::Incidents => Self::Incidents(Box::default()),
            JudgeName::Samples => Self::Samples(Box::default()),
            JudgeName::ZScore => Self::ZScore(ZScore::default()),
        }
    }

    /// `None` for a missing sample.
    fn observe(&mut self, sample: Sample) -> Option<Judgement> {
        match self {
            Self::Incidents(detector) => {
                let reading = detector.observe(sample.time, sample.value)?;
                Some((reading.score, reading.is_alarm))
            }
            Self::Samples(outlier) => {
                let distance = outlier.observe(sample.value)?.abs();
                Some((score(distance, Outlier::THRESHOLD), distance > Outlier::THRESHOLD))
            }
            Self::ZScore(window) => {
                let reading = window.observe(sample.value)?;
                let is_beyond = reading.is_beyond(ZScore::THRESHOLD);
                Some((score(reading.z.abs(), ZScore::THRESHOLD), is_beyond))
            }
        }
    }
}

/// 0.5 at the threshold.
fn score(distance: f64, threshold: f64) -> f64 {
    distance / (distance + threshold)
}

/// Why not the whole file was judged.
enum Failure {
    Input(WrongInput),
    Output(io::Error),
}

impl From<WrongInput> for Failure {
    fn from(error: WrongInput) -> Self {
        Self::Input(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

pub(super) fn run(args: AnomaliesArgs) -> ExitCode {
    match judge(&args) {
        Ok(notes) => {
            notes.tell();
            ExitCode::SUCCESS
        }
        Err(Failure::Input(error)) => {
            complain(format_args!("{error}"));
            ExitCode::from(WRONG_INPUT)
        }
        // A reader that left early has what it wanted.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Output(error)) => {
            complain(format_args!("cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn judge(args: &AnomaliesArgs) -> Result<Notes, Failure> {
    let out = Rc::new(RefCell::new(BufWriter::new(io::stdout().lock())));
    let before_waiting = {
        let out = Rc::clone(&out);
        // A reader of a growing file shall see each row when it is judged. Should this fail, the next
        // row fails too, and tells.
        move || drop(out.borrow_mut().flush())
    };
    let mut samples = Samples::open(&args.file, before_waiting)?;
    let result = judge_all(&mut samples, Judge::new(args.by), &out);
    // What was judged before the error is good.
    out.borrow_mut().flush()?;
    result
}

fn judge_all(
    samples: &mut Samples,
    mut judge: Judge,
    out: &RefCell<BufWriter<io::StdoutLock<'_>>>,
) -> Result<Notes, Failure> {
    let mut notes = Notes::default();
    let mut line = Vec::new();
    samples::write_row(&mut line, samples.header().iter().chain(["anomaly_score", "anomaly"]));
    out.borrow_mut().write_all(&line)?;
    while let Some(sample) = samples.next_row()? {
        let judgement = judge.observe(sample);
        notes.count(sample, judgement.is_none());
        let (score, is_anomaly) = judgement.unwrap_or((0.0, false));
        let added = [format!("{score:.6}"), u8::from(is_anomaly).to_string()];
        line.clear();
        samples::write_row(&mut line, samples.row().iter().chain(added.iter().map(String::as_str)));
        out.borrow_mut().write_all(&line)?;
    }
    Ok(notes)
}

/// What is odd about a file, but no error.
#[derive(Default)]
struct Notes {
    missing: u64,
    backwards: u64,
    last: Option<i128>,
}

impl Notes {
    fn count(&mut self, sample: Sample, is_missing: bool) {
        self.missing += u64::from(is_missing);
        self.backwards += u64::from(self.last.is_some_and(|last| sample.nanos < last));
        self.last = Some(sample.nanos);
    }

    fn tell(&self) {
        if self.missing > 0 {
            complain(format_args!("{} missing samples were not judged", self.missing));
        }
        if self.backwards > 0 {
            complain(format_args!("the time goes backwards at {} rows", self.backwards));
        }
    }
}
