//! The report of the demo: one HTML file that needs nothing else.

use super::chart;
use super::record::{Arm, Record};
use super::sheet::Sheet;
use super::verdict::{Claim, Verdict};
use std::fmt::Write as _;
use std::time::Duration;

/// The whole page.
pub fn page(record: &Record, verdicts: &[Verdict], claims: &[Claim]) -> String {
    let mut sheet =
        Sheet::new("Bimetal demo: one policy, two hosts", include_str!("page.intro.html"));
    for verdict in verdicts.iter().filter(|verdict| verdict.arm != Arm::Direct) {
        let name = verdict.arm.name();
        let id = format!("arm{}", verdict.arm as usize);
        sheet.picture(name, &chart::draw(&id, name, &summary(verdict), record.line(verdict.arm)));
    }
    sheet.end(&COLUMNS, &rows(verdicts), EXPLAINED, claims)
}

fn summary(verdict: &Verdict) -> String {
    let mut text = String::new();
    for outage in &verdict.outages {
        let _ = write!(
            text,
            "Outage, echo server {}: tripped after {}, recovered {} after its end. ",
            outage.name,
            time(outage.to_trip),
            time(outage.to_recover)
        );
    }
    text
}

/// The columns of the closing table.
pub const COLUMNS: [&str; 10] = [
    "arm",
    "calls",
    "good",
    "failed",
    "rejected",
    "leaked",
    "time to trip",
    "time to recover",
    "added p50",
    "added p99",
];

/// What the columns mean.
pub const EXPLAINED: &str = "leaked: failures let through before the breaker tripped. Times: one \
for each outage. Added: over the direct calls (in brackets), while all was well; below zero, the \
machine's own noise is larger than the difference.";

/// The rows of the closing table, one an arm. The last arm is the one that latencies are compared
/// with.
pub fn rows(verdicts: &[Verdict]) -> Vec<[String; 10]> {
    let direct = verdicts.iter().find(|verdict| verdict.arm == Arm::Direct);
    verdicts
        .iter()
        .map(|verdict| {
            let each = |of: fn(&super::verdict::Outage) -> Option<Duration>| {
                let times: Vec<String> =
                    verdict.outages.iter().map(|outage| time(of(outage))).collect();
                times.join(", ")
            };
            let added = |of: fn(&Verdict) -> Duration| match direct {
                Some(direct) if verdict.arm != Arm::Direct => added(of(verdict), of(direct)),
                _ => format!("({:.2} ms)", of(verdict).as_secs_f64() * 1e3),
            };
            let host = verdict.arm != Arm::Direct;
            let only_host = |text: String| if host { text } else { "-".to_owned() };
            [
                verdict.arm.name().to_owned(),
                verdict.calls.to_string(),
                verdict.good.to_string(),
                verdict.failed.to_string(),
                only_host(verdict.rejected.to_string()),
                only_host(verdict.leaked().to_string()),
                only_host(each(|outage| outage.to_trip)),
                only_host(each(|outage| outage.to_recover)),
                added(|verdict| verdict.p50),
                added(|verdict| verdict.p99),
            ]
        })
        .collect()
}

fn added(with: Duration, without: Duration) -> String {
    format!("{:+.2} ms", (with.as_secs_f64() - without.as_secs_f64()) * 1e3)
}

fn time(time: Option<Duration>) -> String {
    time.map_or_else(|| "never".to_owned(), |time| format!("{:.2} s", time.as_secs_f64()))
}
