//! Thousands of seeded histories: demand that moves, packets that are lost, repeated, late and out of order, members
//! that come, end and are cut off, a store that is gone for a while, forgets, or whose clock is set. After every step
//! the rules must hold; at the end all is well again, and each member must have its share.

use super::world::{Weather, World};

/// Histories in the ordinary run.
const SEEDS: u64 = 2_000;
const STEPS: usize = 40;
/// A lease, in milliseconds.
const LEASE: u64 = 1_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What histories came by: a simulation that never gets anywhere proves nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Coverage {
    lent: u64,
    cut_off: u64,
    restarts: u64,
    forgot: u64,
    gone: u64,
    arrived: u64,
    /// Steps in which more was in force than the rate, by what the bound names.
    above: u64,
}

#[test]
fn the_rules_hold_in_every_history() {
    let seeds = match number("BIMETAL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("BIMETAL_SEEDS").unwrap_or(SEEDS),
    };
    let mut all = Coverage::default();
    for seed in seeds.clone() {
        match play(seed) {
            Ok(one) => {
                all.lent += one.lent;
                all.cut_off += one.cut_off;
                all.restarts += one.restarts;
                all.forgot += one.forgot;
                all.gone += one.gone;
                all.arrived += one.arrived;
                all.above += one.above;
            }
            Err(broken) => panic!("BIMETAL_SEED={seed}: {broken}"),
        }
    }
    println!("{} histories: {all:?}", seeds.clone().count());
    if seeds.count() as u64 >= SEEDS {
        let Coverage { lent, cut_off, restarts, forgot, gone, arrived, above } = all;
        let seen = [lent, cut_off, restarts, forgot, gone, arrived, above];
        assert!(seen.into_iter().all(|count| count > 100), "{all:?}");
    }
}

fn play(seed: u64) -> Result<Coverage, String> {
    let mut world = World::new(100, 20, 2 + (seed % 6) as usize, seed);
    let mut seen = Coverage::default();
    let whole = |world: &mut World| world.draw(4) as f64 / 3.0 * f64::from(world.rate);
    for number in 0..world.members.len() {
        world.members[number].demand = whole(&mut world);
    }
    for _ in 0..STEPS {
        let number = world.draw(world.members.len() as u64) as usize;
        match world.draw(24) {
            0..=5 => world.members[number].demand = whole(&mut world),
            6 => {
                let (all, one) = (world.members.len(), f64::from(world.rate) * 2.0);
                world.members.iter_mut().for_each(|member| member.demand = 0.0);
                world.members[number % all].demand = one;
            }
            7 | 8 => {
                let (loss, repeat) = (world.draw(4) as f64 / 10.0, world.draw(3) as f64 / 10.0);
                let delay = world.draw(4) * 40_000_000;
                world.weather = Weather { loss, repeat, delay };
            }
            9 => {
                world.members[number].is_cut_off = true;
                seen.cut_off += 1;
            }
            10..=13 => world.members[number].is_cut_off = false,
            14 => {
                world.restart(number);
                seen.restarts += 1;
            }
            15 if world.members.len() < 9 => {
                world.arrive();
                world.members.last_mut().unwrap().demand = 50.0;
                seen.arrived += 1;
            }
            16 => {
                world.forget();
                seen.forgot += 1;
            }
            17 => {
                let ahead = world.draw(1_000_000_000_000_000);
                world.set_store_clock(ahead);
            }
            18 => {
                world.is_store_gone = true;
                seen.gone += 1;
            }
            19..=21 => world.is_store_gone = false,
            _ => {}
        }
        for _ in 0..1 + world.draw(6) {
            world.run(50);
            rules(&mut world, &mut seen)?;
        }
    }
    recovers(&mut world)?;
    seen.lent = world.lent;
    Ok(seen)
}

/// What must hold at any time.
fn rules(world: &mut World, seen: &mut Coverage) -> Result<(), String> {
    let (lent, members) = (world.lent(), world.members.len());
    if lent > 1.0 + 1e-6 {
        return Err(format!("{lent} of the pool are lent"));
    }
    let alone = (0..members).filter(|number| !world.is_leased(*number)).count();
    // Of members with leases a part of the pool and a floor each, of others by what they know: at worst
    // that they are alone.
    let most = lent.max(1.0) + members as f64 / 32.0 + alone as f64;
    let in_force = world.in_force();
    if in_force > most {
        return Err(format!("{in_force} of the rate are in force, {most} are allowed"));
    }
    seen.above += u64::from(in_force > 1.04);
    // Full buckets of members that came, and what flowed since; the whole bucket once for a key that is new.
    let arrivals = world.members.len() as f64 * 2.0;
    let comings = arrivals + (seen.restarts + seen.forgot) as f64;
    let bound = world.allowed + f64::from(world.capacity) * comings + comings;
    if world.admitted() as f64 > bound {
        return Err(format!("{} admitted, {bound} are allowed", world.admitted()));
    }
    let (records, packets) = world.kept();
    if records > 2 * members || packets > 64 * members {
        return Err(format!("{records} records, {packets} packets are kept"));
    }
    Ok(())
}

/// Behind all faults each member has its share by demand, and all together the limit.
fn recovers(world: &mut World) -> Result<(), String> {
    world.weather = Weather::default();
    world.is_store_gone = false;
    world.members.iter_mut().for_each(|one| one.is_cut_off = false);
    let count = world.members.len();
    for (number, one) in world.members.iter_mut().enumerate() {
        one.demand = if number == 0 { f64::from(world.rate) * 2.0 } else { 20.0 };
    }
    world.run(4 * LEASE);
    let before: Vec<_> = world.members.iter().map(|one| (one.offered, one.admitted)).collect();
    world.run(5_000);
    let demand = f64::from(world.rate) * 2.0 + 20.0 * (count - 1) as f64;
    let mut all = 0.0;
    for (number, (one, before)) in world.members.iter().zip(before).enumerate() {
        let admitted = (one.admitted - before.1) as f64 / 5.0;
        all += admitted;
        let fair = one.demand / demand * f64::from(world.rate);
        if admitted < fair * 0.6 - 1.0 {
            return Err(format!("member {number} admits {admitted} in a second, of {fair}"));
        }
    }
    let rate = f64::from(world.rate);
    // Poisson's chance at small numbers, and what buckets held before.
    if !(0.85 * rate..=1.05 * rate + f64::from(world.capacity) / 5.0).contains(&all) {
        return Err(format!("{all} in a second, of {rate}"));
    }
    Ok(())
}
