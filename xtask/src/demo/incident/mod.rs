//! `cargo xtask demo --incident`: how a slow error tracker stops three tiers, and what is left of it
//! where every edge is protected.

mod numbers;
mod page;
mod picture;
mod record;
mod scene;
mod shard;
mod tiers;
mod verdict;

use super::{Look, sheet};
use crate::demo::metrics::Page;
use crate::demo::scene::program;
use crate::demo::terminal::Screen;
use crate::{place, process, say};
use anyhow::{Context, Result, bail};
use numbers::LENGTH;
use record::{Log, Record};
use scene::Scene;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often the tiers are looked at.
const GLANCE: Duration = Duration::from_millis(250);

/// Runs the demo. True means that every claim holds.
///
/// # Errors
/// Something cannot be built, started or written.
pub fn run(look: Look) -> Result<bool> {
    let bimetal = program()?;
    let folder = place::made("demo/incident")?;
    say::begins("incident", "a minute and a half; Ctrl-C ends it");
    let (bare, _) = play(&bimetal, &folder, false, look)?;
    let (protected, metrics) = play(&bimetal, &folder, true, look)?;
    let metrics = metrics.context("the protected arm has no proxy")?;
    let mut claims = verdict::story(&bare);
    claims.extend(verdict::promises(&protected, &metrics));
    let rows = verdict::rows(&bare, &protected);
    sheet::tell(&verdict::COLUMNS, &rows, &verdict::explained(), &claims);
    let file = folder.join("index.html");
    sheet::write(&file, &page::page(&bare, &protected, &claims))?;
    println!("the timelines, drawn: {}", file.display());
    Ok(claims.iter().all(|claim| claim.holds))
}

/// Plays one arm; gives what was seen, and what the proxy counted where there is one.
fn play(
    bimetal: &Path,
    folder: &Path,
    is_protected: bool,
    look: Look,
) -> Result<(Record, Option<Page>)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the tiers")?;
    let arm = if is_protected { "protected" } else { "unprotected" };
    runtime.block_on(async {
        let scene = Scene::start(bimetal, folder, is_protected).await?;
        let log = Arc::new(Log::default());
        let mut record = Record::default();
        let start = Instant::now();
        tokio::select! {
            done = scene.play(&log, start) => done?,
            shown = show(arm, &scene, &log, &mut record, start, look) => shown?,
        }
        record.events.extend(log.taken());
        Ok((record, scene.metrics()?))
    })
}

/// Looks at the tiers until it is dropped.
async fn show(
    arm: &str,
    scene: &Scene,
    log: &Log,
    record: &mut Record,
    start: Instant,
    look: Look,
) -> Result<()> {
    let mut screen = Screen::default();
    let mut told = Duration::ZERO;
    loop {
        tokio::time::sleep(GLANCE).await;
        if process::stopping() {
            bail!("stopped");
        }
        let now = start.elapsed();
        if now > LENGTH {
            // What is due is sent; the rest is waiting for answers.
            continue;
        }
        record.events.extend(log.taken());
        record.sights.push(scene.sight(now));
        match look {
            Look::Live => {
                let picture = picture::picture(arm, record, now, Screen::width());
                screen.draw(&picture).context("cannot draw on the terminal")?;
            }
            Look::Plain if now >= told + Duration::from_secs(1) => {
                told += Duration::from_secs(1);
                println!("{}", picture::line(arm, record, now));
            }
            Look::Plain => {}
        }
    }
}
