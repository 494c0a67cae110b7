//! The filter in an Envoy with four workers: they decide as one. Without Envoy or the filter this
//! test counts as ignored, and one line says why.

#[path = "support/workers.rs"]
mod workers;

use bimetal_conformance::real::tools;
use bimetal_conformance::shared::{EnvoyFleet, Order, Share, UncountedEnvoyFleet, WORKERS};
use libtest_mimic::{Arguments, Trial};
use workers::{BAD, GOOD, call, play};

/// How many changes the workers told each other over the board.
const CHANGES: &str = "bimetal_board_changes";

/// Each write to Envoy's shared data takes its lock, for all workers.
fn healthy_calls_do_not_write() {
    play::<EnvoyFleet>("envoy-writes", Share::Process, async |stage| {
        let start = stage.metric(CHANGES)?;
        for nth in 0..100 {
            call(stage, nth % WORKERS, Order::Succeed, GOOD).await?;
        }
        assert_eq!(stage.metric(CHANGES)?, start);
        // A failure is known to all at once, and the success after it as well.
        call(stage, 0, Order::Fail, BAD).await?;
        assert_eq!(stage.metric(CHANGES)?, start + 1.0);
        call(stage, 1, Order::Succeed, GOOD).await?;
        assert_eq!(stage.metric(CHANGES)?, start + 2.0);
        call(stage, 2, Order::Succeed, GOOD).await?;
        assert_eq!(stage.metric(CHANGES)?, start + 2.0);
        Ok(())
    });
}

fn main() {
    let missing = tools::envoy().err();
    if let Some(why) = &missing {
        println!("skipped: {why}");
    }
    let trial = |name: &str, test: fn()| {
        let run = move || {
            test();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(missing.is_some())
    };
    let trials = vec![
        trial("the_workers_of_envoy_decide_as_one", || {
            workers::decide_as_one::<EnvoyFleet>("envoy");
        }),
        trial("they_do_so_where_envoy_keeps_no_counter", || {
            workers::decide_as_one::<UncountedEnvoyFleet>("envoy-uncounted");
        }),
        trial("the_workers_of_envoy_do_not_share_unless_told", || {
            workers::do_not_share_unless_told::<EnvoyFleet>("envoy");
        }),
        trial("healthy_calls_do_not_write", healthy_calls_do_not_write),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
