//! `cargo xtask demo --overload`: more calls than three replicas of a model can serve, by five ways,
//! one after the other, under the same load.

mod arm;
mod attack;
mod burst;
mod chart;
mod picture;
mod record;
mod scene;
mod verdict;

pub use burst::burst;

use super::{Look, sheet};
use crate::demo::scene::Parts;
use crate::demo::terminal::Screen;
use crate::{place, process, say, tools};
use anyhow::{Context, Result, bail};
use arm::Arm;
use attack::{Attack, Pace, Senders, Vegeta};
use record::Block;
use scene::{Capacity, Host, Models};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use verdict::Verdict;

/// Three replicas with six slots for 19 ms each: 947 calls a second, less what the timer of
/// milliseconds and a busy machine add.
const CAPACITY: Capacity = Capacity { slots: 6, work: "19ms" };

/// Clients that never rest, while the capacity is measured: two for each slot, so that no slot is
/// ever without its next call.
const RESTLESS: u32 = 36;

/// Rounds; each has every arm once. The second goes through them backwards, so that what drifts
/// (heat, other programs) is the same for all.
const ROUNDS: usize = 2;

/// How often the picture is drawn.
const GLANCE: Duration = Duration::from_millis(250);

/// Everything that the demo needs.
struct Stage {
    parts: Parts,
    vegeta: PathBuf,
    folder: PathBuf,
    look: Look,
}

/// Runs the demo. True means that every claim holds.
///
/// # Errors
/// Something cannot be installed, built, started or written.
pub fn run(look: Look) -> Result<bool> {
    let vegeta = tools::named("vegeta")?.get()?;
    let stage =
        Stage { parts: Parts::make()?, vegeta, folder: place::made("demo/overload")?, look };
    let blocks = play(&stage)?;
    let verdicts = Arm::ALL.map(|arm| Verdict::of(&blocks, arm));
    let claims = verdict::claims(&blocks, &verdicts);
    let capacity = blocks.iter().map(|block| block.capacity).sum::<f64>() / blocks.len() as f64;
    let explained = verdict::explained(capacity);
    sheet::tell(&verdict::COLUMNS, &verdict::rows(&verdicts), &explained, &claims);
    let file = stage.folder.join("index.html");
    sheet::write(&file, &chart::page(&blocks, &verdicts, &explained, &claims))?;
    println!("the timelines, drawn: {}", file.display());
    Ok(claims.iter().all(|claim| claim.holds))
}

/// Lets every arm stand the load once in each round.
fn play(stage: &Stage) -> Result<Vec<Block>> {
    let mut models = Models::start(&stage.parts.bimetal, &stage.folder, CAPACITY)?;
    say::begins("overload", "about two and a half minutes; Ctrl-C ends it");
    let mut vegeta =
        Vegeta { program: &stage.vegeta, folder: &stage.folder, senders: Senders::default() };
    let mut screen = Screen::default();
    let mut blocks = Vec::new();
    for round in 0..ROUNDS {
        let capacity = attack::capacity(&mut vegeta, &models.addresses(), RESTLESS)?;
        if stage.look == Look::Plain {
            println!("round {}: capacity {capacity:.0} calls a second", round + 1);
        }
        let mut arms = Arm::ALL;
        if round % 2 == 1 {
            arms.reverse();
        }
        for arm in arms {
            let before = models.idle()?;
            let mut block = Block { arm, capacity, hits: Vec::new(), done: 0.0, metrics: None };
            let host = Host::start(arm, scene::POLICY, &stage.parts, &stage.folder, &models)?;
            let attack = Attack::begin(&mut vegeta, &[host.address()], Pace::Open)?;
            stand(stage.look, attack, &blocks, &mut block, &mut screen)?;
            block.done = models.idle()? - before;
            if Arm::OURS.contains(&arm) {
                block.metrics = Some(host.metrics()?);
            }
            blocks.push(block);
        }
    }
    Ok(blocks)
}

/// One arm under load, shown as it goes.
fn stand(
    look: Look,
    mut attack: Attack,
    before: &[Block],
    block: &mut Block,
    screen: &mut Screen,
) -> Result<()> {
    let start = Instant::now();
    let mut told = Duration::ZERO;
    loop {
        let (hits, is_over) = attack.ended()?;
        block.hits.extend(hits);
        match look {
            _ if process::stopping() => bail!("stopped"),
            Look::Live => {
                let picture = picture::picture(before, block, Screen::width());
                screen.draw(&picture).context("cannot draw on the terminal")?;
            }
            Look::Plain => {
                let second = Duration::from_secs(1);
                // A call that is lost is known after the client's patience.
                while told < attack::LENGTH
                    && (is_over || start.elapsed() > told + second + attack::PATIENCE)
                {
                    told += second;
                    println!("{}", picture::line(block, told));
                }
            }
        }
        if is_over {
            return Ok(());
        }
        std::thread::sleep(GLANCE);
    }
}
