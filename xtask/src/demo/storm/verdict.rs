//! What the storm showed, in numbers, and whether it is what was promised.

use super::CALLS;
use super::hops::{Arm, HOPS, TRIES};
use crate::demo::verdict::Claim;

/// One arm.
#[derive(Clone, Debug)]
pub struct Block {
    /// Which.
    pub arm: Arm,
    /// What each call got.
    pub statuses: Vec<u16>,
    /// When each try reached the dead service, in seconds of its own clock.
    pub tries: Vec<f64>,
}

impl Block {
    /// Tries at the last hop for one call.
    pub fn amplification(&self) -> f64 {
        self.tries.len() as f64 / self.statuses.len().max(1) as f64
    }
}

/// The columns of the closing table.
pub const COLUMNS: [&str; 5] =
    ["arm", "calls", "tries at the last hop", "for one call", "expected"];

/// What the columns mean.
pub const EXPLAINED: &str = "Each of three hops makes three tries of a call that failed; the service answers 503 to \
all. naive: three Envoys. The others are three native proxies: one that gave up says so on its answer \
(x-bimetal-retries), and hops before it do not try again; the last arm has a budget of 5 % of its calls besides.";

/// An arm's row.
pub fn row(block: &Block) -> [String; 5] {
    let expected = match block.arm {
        Arm::Naive => format!("{TRIES}^{HOPS} = {:.0}", block.arm.expected()),
        Arm::Marked => format!("{:.0}", block.arm.expected()),
        Arm::Budgeted => format!("at most {:.2}", block.arm.expected()),
    };
    [
        block.arm.name().to_owned(),
        block.statuses.len().to_string(),
        block.tries.len().to_string(),
        format!("{:.2}", block.amplification()),
        expected,
    ]
}

/// What was promised, and whether it holds.
pub fn claims(blocks: &[Block]) -> Vec<Claim> {
    let mut claims = Vec::new();
    for block in blocks {
        let (name, seen) = (block.arm.name(), block.amplification());
        let expected = block.arm.expected();
        let (what, holds) = match block.arm {
            Arm::Naive => (
                format!("makes {seen:.2} tries of one call, as {TRIES}^{HOPS} says"),
                (seen - expected).abs() < 0.01,
            ),
            Arm::Marked => {
                (format!("{seen:.2}: one hop alone tries again"), seen > 1.5 && seen <= expected)
            }
            Arm::Budgeted => (
                format!("{seen:.2}; promised are {expected} at most"),
                seen >= 1.0 && seen <= expected,
            ),
        };
        claims.push(Claim { text: format!("{name}: {what}"), holds });
    }
    let told =
        blocks.iter().flat_map(|block| &block.statuses).filter(|status| **status == 503).count();
    let all = CALLS as usize * blocks.len();
    claims.push(Claim {
        text: format!("every client was told: {told} of {all} calls got the service's 503"),
        holds: told == all && all > 0,
    });
    claims
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(arm: Arm, tries: usize) -> Block {
        Block { arm, statuses: vec![503; CALLS as usize], tries: vec![0.0; tries] }
    }

    fn holds(naive: usize, marked: usize, budgeted: usize) -> Vec<bool> {
        let blocks =
            [block(Arm::Naive, naive), block(Arm::Marked, marked), block(Arm::Budgeted, budgeted)];
        claims(&blocks).iter().map(|claim| claim.holds).collect()
    }

    #[test]
    fn each_promise_is_held_alone() {
        assert_eq!(holds(8_100, 900, 315), [true; 4]);
        assert_eq!(holds(8_000, 900, 315), [false, true, true, true]);
        assert_eq!(holds(8_100, 901, 315), [true, false, true, true]);
        assert_eq!(holds(8_100, 300, 315), [true, false, true, true], "nothing was tried again");
        assert_eq!(holds(8_100, 900, 331), [true, true, false, true]);
        assert_eq!(holds(8_100, 900, 299), [true, true, false, true], "a call never arrived");
        let mut short = block(Arm::Budgeted, 315);
        short.statuses[7] = 504;
        assert!(!claims(&[short])[1].holds);
    }
}
