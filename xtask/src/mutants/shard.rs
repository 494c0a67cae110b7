//! A part of each room's mutants.

use std::str::FromStr;

/// Part `index` of `count`; the parts take the mutants by turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u64,
    count: u64,
}

impl Shard {
    /// The part that is due at `turn`, of `count`.
    pub fn at(turn: u64, count: u64) -> Self {
        let count = count.max(1);
        Self { index: turn % count, count }
    }

    /// What cargo-mutants is told. By turns: a part has something of every file.
    pub fn arguments(self) -> [String; 3] {
        ["--sharding=round-robin".into(), "--shard".into(), self.to_string()]
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = || {
            let (index, count) = text.split_once('/')?;
            Some((index.parse().ok()?, count.parse().ok()?))
        };
        match numbers() {
            Some((index, count)) if index < count => Ok(Self { index, count }),
            _ => Err("a part is K/N, with K from 0 to N-1: 0/8 is the first of eight".to_owned()),
        }
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::Shard;

    #[test]
    fn a_part_is_read_and_written() {
        for text in ["0/1", "0/8", "7/8"] {
            assert_eq!(text.parse::<Shard>().unwrap().to_string(), text);
        }
        for text in ["8/8", "1/0", "0/0", "-1/8", "1", "/", "a/b", "1/8/2", ""] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_parts_take_turns() {
        let turns: Vec<_> = (46..50).map(|turn| Shard::at(turn, 48).to_string()).collect();
        assert_eq!(turns, ["46/48", "47/48", "0/48", "1/48"]);
    }
}
