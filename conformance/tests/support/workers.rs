//! What a host with four workers must do, whichever it is.

use bimetal_conformance::real::tools::Tools;
use bimetal_conformance::shared::{Answer, Fleet, Load, Order, STEPS, Share, Stage, WORKERS};
use std::io;
use std::path::Path;
use std::time::Duration;

pub(crate) const GOOD: Answer = Answer::Admitted(200);
pub(crate) const BAD: Answer = Answer::Admitted(500);

/// Plays on one host; its files go to a folder named `test`.
pub(crate) fn play<F: Fleet>(
    test: &str,
    share: Share,
    play: impl AsyncFnOnce(&mut Stage<F>) -> io::Result<()>,
) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shared");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let played = runtime.block_on(async {
        let tools = Tools::find()?;
        let mut stage = Stage::<F>::set(&tools, share, &folder.join(test)).await?;
        play(&mut stage).await
    });
    played.unwrap_or_else(|error| panic!("{test}: {error}"));
}

/// Every promise of sharing, one after the other.
pub(crate) fn decide_as_one<F: Fleet>(host: &str) {
    play::<F>(host, Share::Process, async |stage| {
        a_success_on_another_worker_clears_the_streak(stage).await?;
        three_failures_on_three_workers_trip(stage).await?;
        one_probe_passes_over_all_workers(stage).await?;
        idle_workers_learn_by_their_tick(stage).await?;
        no_worker_admits_after_a_trip_under_load(host, stage).await
    });
}

/// What the same failures do where workers do not share: else the tests above would prove nothing.
pub(crate) fn do_not_share_unless_told<F: Fleet>(host: &str) {
    let test = format!("{host}-alone");
    play::<F>(&test, Share::Nobody, async |stage| {
        for worker in 0..3 {
            call(stage, worker, Order::Fail, BAD).await?;
        }
        for worker in 0..WORKERS {
            call(stage, worker, Order::Succeed, GOOD).await?;
        }
        assert_eq!(changes(stage, "open")?, (0, 0));
        Ok(())
    });
}

pub(crate) async fn call<F: Fleet>(
    stage: &mut Stage<F>,
    worker: usize,
    order: Order,
    expected: Answer,
) -> io::Result<()> {
    let seen = stage.call(worker, order).await?;
    assert_eq!(seen.answer, expected, "worker {worker}, {order:?}");
    Ok(())
}

/// Own changes to `state` and adopted ones, since the start.
fn changes<F: Fleet>(stage: &mut Stage<F>, state: &str) -> io::Result<(usize, usize)> {
    let events = stage.events()?.iter();
    let events = events.filter(|event| event.policy == STEPS.policy);
    let to = events.filter(|event| event.to.as_deref() == Some(state));
    let own = to.clone().filter(|event| !event.adopted).count();
    Ok((own, to.count() - own))
}

async fn a_success_on_another_worker_clears_the_streak<F: Fleet>(
    stage: &mut Stage<F>,
) -> io::Result<()> {
    call(stage, 0, Order::Fail, BAD).await?;
    call(stage, 1, Order::Fail, BAD).await?;
    call(stage, 2, Order::Succeed, GOOD).await?;
    call(stage, 3, Order::Fail, BAD).await?;
    call(stage, 0, Order::Fail, BAD).await?;
    for worker in 0..WORKERS {
        call(stage, worker, Order::Succeed, GOOD).await?;
    }
    assert_eq!(changes(stage, "open")?, (0, 0));
    Ok(())
}

async fn three_failures_on_three_workers_trip<F: Fleet>(stage: &mut Stage<F>) -> io::Result<()> {
    for worker in 0..3 {
        call(stage, worker, Order::Fail, BAD).await?;
    }
    // The one that saw no failure first.
    for worker in [3, 0, 1, 2] {
        call(stage, worker, Order::Succeed, Answer::Rejected).await?;
    }
    stage.adopted("open", WORKERS - 1).await?;
    assert_eq!(changes(stage, "open")?, (1, WORKERS - 1));
    stage.all_are("open").await
}

async fn one_probe_passes_over_all_workers<F: Fleet>(stage: &mut Stage<F>) -> io::Result<()> {
    stage.open_time_passes().await?;
    let held = stage.call_all_held("probe").await?;
    for (worker, seen) in &held.answered {
        assert_eq!(seen.answer, Answer::Rejected, "worker {worker}");
    }
    for _ in 0..3 {
        for worker in 0..WORKERS {
            call(stage, worker, Order::Succeed, Answer::Rejected).await?;
        }
    }
    let (worker, seen) = stage.release(held, "probe").await?;
    assert_eq!(seen.answer, GOOD, "the probe on worker {worker}");
    stage.all_are("closed").await?;
    for worker in 0..WORKERS {
        call(stage, worker, Order::Succeed, GOOD).await?;
    }
    assert_eq!(changes(stage, "half_open")?.0, 1);
    assert_eq!(changes(stage, "closed")?.0, 1);
    Ok(())
}

async fn idle_workers_learn_by_their_tick<F: Fleet>(stage: &mut Stage<F>) -> io::Result<()> {
    for _ in 0..3 {
        call(stage, 1, Order::Fail, BAD).await?;
    }
    // Nobody calls meanwhile.
    stage.all_are("open").await?;
    stage.open_time_passes().await?;
    call(stage, 2, Order::Succeed, GOOD).await?;
    stage.all_are("closed").await?;
    assert_eq!(changes(stage, "closed")?.0, 2);
    Ok(())
}

async fn no_worker_admits_after_a_trip_under_load<F: Fleet>(
    host: &str,
    stage: &mut Stage<F>,
) -> io::Result<()> {
    // 5,000 are to come about: a client is late by up to the timer's millisecond at every call.
    let load =
        Load { rate: 6_500, healthy: Duration::from_secs(1), failing: Duration::from_secs(1) };
    let report = stage.load(load).await?;
    println!("{host}\n{report}\n");
    let settled: usize = report.settled.iter().sum();
    assert_eq!(report.settled_in_log, settled, "each call settles once");
    assert!(
        report.settled.iter().all(|calls| calls * 10 >= settled),
        "every worker settles at least a tenth: {report:?}"
    );
    assert_eq!((report.trips, report.adopted), (1, WORKERS - 1));
    for (worker, (sent, admitted)) in report.sent_late.iter().enumerate() {
        assert!(*sent > 0, "worker {worker} was not asked after the trip");
        assert_eq!(*admitted, 0, "worker {worker} admitted calls after the trip");
    }
    Ok(())
}
