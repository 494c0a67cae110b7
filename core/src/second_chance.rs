//! Which entry leaves a bounded table: the second chance, also called the clock (Corbató, "A paging
//! experiment with the Multics system", 1968).
//!
//! A hand goes round the entries. One that was used since the hand came by last is passed over once; the
//! first that was not used leaves. Nothing has to be kept in the order of its use.

/// How many entries are looked at for one that may leave. A table of entries that may not must not cost
/// each new key a walk through all of them.
pub(crate) const LOOKS: usize = 128;

/// The hand of one table.
#[derive(Debug, Default)]
pub(crate) struct SecondChance {
    hand: usize,
}

impl SecondChance {
    /// The number of the entry, of `len`, that leaves: one that was not used for long, or the first that
    /// may leave where all were used. None where none was found that may leave.
    ///
    /// `take_used` is asked for an entry by its number: whether it was used since it was asked for last,
    /// or none if it may not leave.
    pub(crate) fn choose(
        &mut self,
        len: usize,
        mut take_used: impl FnMut(usize) -> Option<bool>,
    ) -> Option<usize> {
        let mut first = None;
        for _ in 0..LOOKS.min(len.saturating_mul(2)) {
            let at = self.hand;
            self.hand = if at + 1 < len { at + 1 } else { 0 };
            match take_used(at) {
                Some(false) => return Some(at),
                Some(true) => first = first.or(Some(at)),
                None => {}
            }
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_used_is_passed_over_once() {
        let mut used = [true, false, true];
        let mut chance = SecondChance::default();
        let mut choose = || chance.choose(3, |at| Some(core::mem::take(&mut used[at])));
        assert_eq!([choose(), choose(), choose()], [Some(1), Some(0), Some(1)]);
    }

    #[test]
    fn where_all_are_used_the_first_leaves() {
        assert_eq!(SecondChance::default().choose(10 * LOOKS, |_| Some(true)), Some(0));
    }

    #[test]
    fn only_so_many_are_looked_at_and_the_next_look_goes_on_from_there() {
        let mut chance = SecondChance::default();
        for round in 0..3 {
            let mut looked = 0;
            let none = chance.choose(10 * LOOKS, |at| {
                assert_eq!(at, round * LOOKS + looked);
                looked += 1;
                None
            });
            assert_eq!((none, looked), (None, LOOKS));
        }
        assert_eq!(SecondChance::default().choose(0, |_| Some(false)), None);
    }
}
