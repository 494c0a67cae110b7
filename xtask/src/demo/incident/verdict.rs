//! What the incident showed, and whether it is the story that was told.

use super::numbers::{
    DATABASE, HOT, JOB_RATES, LENGTH, REPORT_LIMIT, SHARDS, SLOTS, SLOW_FROM, SLOW_TO, WORK, busy,
    capacity, told,
};
use super::record::{Part, Record};
use crate::demo::metrics::Page;
use crate::demo::verdict::Claim;
use std::time::Duration;

/// The last part of the timeline: the cause is long gone.
const LATE_FROM: Duration = Duration::from_secs(35);

/// After the tracker became slow, its queues fill for so long before it is looked at.
const FILLING: Duration = Duration::from_secs(2);

/// The columns of the closing table.
pub const COLUMNS: [&str; 6] =
    ["part", "before", "while slow", "after", "before, protected", "while slow, protected"];

/// What the columns mean, and what was to be expected by the numbers.
pub fn explained() -> String {
    let slots = told::PODS * told::PROCESSES;
    let percent = |shard: usize, copies| 100.0 * busy(JOB_RATES[shard], copies);
    let other = (HOT + 1) % SHARDS;
    format!(
        "Shares of calls and jobs that were served in time: while all was well, while the tracker was \
         slow, and in the last ten seconds, long after. Protected: the proxy on every edge; its last ten \
         seconds stand in the promises. As it was told, the monolith had {slots} slots for {:.0} calls a \
         second, and {:.0} while each slot waited for the tracker; here it has {SLOTS} for {:.0} and {:.0}. \
         The hot shard's worker is busy {:.0} % of the time, and {:.0} % when each job is done twice: \
         more than there is. Another's: {:.0} % and {:.0} %.",
        capacity(slots, told::WORK),
        capacity(slots, told::REPORT_LIMIT),
        capacity(SLOTS, WORK),
        capacity(SLOTS, REPORT_LIMIT),
        percent(HOT, 1),
        percent(HOT, 2),
        percent(other, 1),
        percent(other, 2),
    )
}

/// The rows of the closing table, one a part.
pub fn rows(bare: &Record, protected: &Record) -> Vec<[String; 6]> {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let shares = |record: &Record, part| {
        [(Duration::ZERO, SLOW_FROM), (SLOW_FROM, SLOW_TO), (LATE_FROM, LENGTH)]
            .map(|(from, to)| percent(record.good_share(part, from, to)))
    };
    Part::all()
        .into_iter()
        .map(|part| {
            let [before, slow, late] = shares(bare, part);
            let [with_before, with_slow, _] = shares(protected, part);
            [part.name(), before, slow, late, with_before, with_slow]
        })
        .collect()
}

/// The story without protection, as the report tells it.
pub fn story(bare: &Record) -> Vec<Claim> {
    let seconds = (SLOW_TO - SLOW_FROM - FILLING).as_secs_f64();
    let good = bare.events.iter().filter(|event| {
        event.part == Part::Monolith
            && event.is_good
            && SLOW_FROM + FILLING <= event.due
            && event.due < SLOW_TO
    });
    let served = good.count() as f64 / seconds;
    let ill = capacity(SLOTS, REPORT_LIMIT);
    let database = bare.sights.iter().map(|sight| sight.database).max().unwrap_or(0);
    let checkout = bare.good_share(Part::Checkout, SLOW_FROM + FILLING, SLOW_TO);
    let late = |part| bare.good_share(part, LATE_FROM, LENGTH);
    let others = (0..SHARDS).filter(|shard| *shard != HOT).map(|shard| late(Part::Shard(shard)));
    let others = others.fold(1.0, f64::min);
    let hot = late(Part::Shard(HOT));
    vec![
        Claim {
            text: format!(
                "unprotected, the monolith: every slot waits for the tracker, and at most {ill:.0} calls a \
                 second of {:.0} are left ({served:.0} of its clients' were served in time)",
                capacity(SLOTS, WORK)
            ),
            holds: served <= ill * 1.1,
        },
        Claim {
            text: format!(
                "unprotected, checkout: all {DATABASE} connections of its database were held by calls to the \
                 monolith ({database}), and {:.0} % of its clients' calls were served",
                checkout * 100.0
            ),
            holds: database == DATABASE as usize && checkout < 0.5,
        },
        Claim {
            text: format!(
                "unprotected, processing: the cause is gone, three shards came back ({:.0} % in time at \
                 least), the hot one did not ({:.0} %, {} copies wait)",
                others * 100.0,
                hot * 100.0,
                bare.last().backlog[HOT]
            ),
            holds: others >= 0.95 && hot < 0.5,
        },
    ]
}

/// What protection promises.
pub fn promises(protected: &Record, page: &Page) -> Vec<Claim> {
    let share = |part| protected.good_share(part, Duration::ZERO, LENGTH);
    let [monolith, checkout] = [Part::Monolith, Part::Checkout].map(share);
    let jobs = (0..SHARDS).map(|shard| share(Part::Shard(shard))).fold(1.0, f64::min);
    let waiting: usize = protected.last().backlog.iter().sum();
    let opened =
        page.sum("bimetal_breaker_transitions_total", &[("policy", "tracker"), ("to", "open")]);
    let turned_away =
        page.sum("bimetal_requests_total", &[("policy", "tracker"), ("decision", "breaker")]);
    vec![
        Claim {
            text: format!(
                "protected: the breaker before the tracker opened {opened} times and turned {turned_away} \
                 reports away at once"
            ),
            holds: opened > 0.0 && turned_away > 0.0,
        },
        Claim {
            text: format!(
                "protected: served in time were {:.1} % of the monolith's calls, {:.1} % of checkout's, \
                 {:.1} % of the jobs of the worst shard; promised are 95 % of each",
                monolith * 100.0,
                checkout * 100.0,
                jobs * 100.0
            ),
            holds: [monolith, checkout, jobs].iter().all(|share| *share >= 0.95),
        },
        Claim {
            text: format!("protected: no shard stayed slow ({waiting} jobs wait in the end)"),
            holds: waiting <= SHARDS * 4,
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::super::record::{Event, Sight};
    use super::*;

    /// Ten calls a second of each part; `good` says which were served in time.
    fn record(good: impl Fn(Part, Duration) -> bool, database: usize, hot: usize) -> Record {
        let mut record = Record::default();
        for part in Part::all() {
            for number in 0..450 {
                let due = Duration::from_millis(number * 100);
                record.events.push(Event { part, due, is_good: good(part, due) });
            }
        }
        let mut sight = Sight { database, ..Sight::default() };
        sight.backlog[HOT] = hot;
        record.sights.push(sight);
        record
    }

    fn is_slow(due: Duration) -> bool {
        SLOW_FROM <= due && due < SLOW_TO
    }

    fn told() -> Record {
        let good = |part, due| !is_slow(due) && (part != Part::Shard(HOT) || due < SLOW_FROM);
        record(good, DATABASE as usize, 300)
    }

    fn holds(claims: &[Claim]) -> Vec<bool> {
        claims.iter().map(|claim| claim.holds).collect()
    }

    #[test]
    fn the_story_is_recognised() {
        assert_eq!(holds(&story(&told())), [true; 3]);
    }

    #[test]
    fn another_story_is_not() {
        let unhurt = record(|_, _| true, 2, 0);
        assert_eq!(
            holds(&story(&unhurt)),
            [true, false, false],
            "ten a second are below the limit"
        );
        let all_stay = record(|part, due| !is_slow(due) && part == Part::Checkout, 20, 300);
        assert_eq!(holds(&story(&all_stay)), [true, true, false]);
        let mut idle = told();
        idle.sights.clear();
        assert_eq!(holds(&story(&idle)), [true, false, true]);
        let mut busy = told();
        let more = Event { part: Part::Monolith, due: SLOW_FROM + FILLING, is_good: true };
        busy.events.extend([more; 1000]);
        assert_eq!(holds(&story(&busy)), [false, true, true]);
    }

    #[test]
    fn each_promise_is_held_alone() {
        let page = |opened, turned_away| {
            Page(format!(
                "bimetal_breaker_transitions_total{{policy=\"tracker\",from=\"closed\",to=\"open\"}} {opened}\n\
                 bimetal_requests_total{{policy=\"tracker\",decision=\"breaker\"}} {turned_away}\n"
            ))
        };
        let kept = record(|_, _| true, 2, 0);
        assert_eq!(holds(&promises(&kept, &page(1, 9))), [true; 3]);
        assert_eq!(holds(&promises(&kept, &page(0, 9))), [false, true, true]);
        assert_eq!(holds(&promises(&kept, &page(1, 0))), [false, true, true]);
        let one_shard = record(|part, due| part != Part::Shard(3) || !is_slow(due), 2, 0);
        assert_eq!(holds(&promises(&one_shard, &page(1, 9))), [true, false, true]);
        let stays = record(|_, _| true, 2, 300);
        assert_eq!(holds(&promises(&stays, &page(1, 9))), [true, true, false]);
    }
}
