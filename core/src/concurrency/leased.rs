//! Slots that a worker leases from an [account](crate::board::account).
//!
//! The account has a word for each worker: how many slots it leases, whether it turned calls away for want of
//! one, and when it said so last. All leases together are no more than the limit, so no more calls are under
//! way than may be. A worker that says nothing for [`LIFE`] is taken for dead, and its slots are others'.
//!
//! A call takes a slot that its worker has, and only where none is left the worker asks the account for a
//! [`batch`]. What comes free stays, up to a batch; what nobody used between two polls goes back. So with `n`
//! workers and a batch of `b` a call may be turned away while `(n − 1)·b` slots lie unused elsewhere; of
//! limits below [`FEW`] none does. Where others turned calls away at their last poll, a worker that has its
//! part of the limit takes no more, and gives back at once what it has beyond: so who comes late does not
//! starve. Of a limit smaller than the number of workers a part is one slot, and who has one may keep it.

use crate::board::account::{Account, exchange};
use crate::time::{Duration, Instant};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A worker that did not renew its lease for so long has lost it.
pub const LIFE: Duration = Duration::from_secs(2);

/// A lease is renewed when it is so old.
const RENEWED_AFTER: Duration = Duration::from_millis(500);

/// Where there was no slot the account is asked again after this.
const PATIENCE: Duration = Duration::from_millis(5);

/// Of fewer slots than these none lies unused.
pub const FEW: u32 = 8;

/// How many slots of a limit a worker keeps unused at most.
pub const fn batch(max: u32) -> u32 {
    match max.div_ceil(32) {
        _ if max < FEW => 0,
        few if few < 64 => few,
        _ => 64,
    }
}

/// One worker's part of a limit.
#[derive(Debug)]
pub(super) struct LeasedSlots {
    account: Arc<dyn Account>,
    words: Vec<u64>,
    /// What it said last; none where it has nothing.
    said: Option<Entry>,
    /// Slots that are leased.
    pub(super) slots: u32,
    /// The fewest that were unused since the last poll.
    least_unused: u32,
    /// Its part of the limit, were all to have the same.
    fair: u32,
    others_want: bool,
    /// Whether all slots were leased when it looked last.
    is_tight: bool,
    /// Whether calls were turned away since the last poll.
    denies: bool,
    /// Whether the account knows that.
    wants: bool,
    max: u32,
    renewed: Instant,
    asks_at: Instant,
    /// Whether the engine looks after it.
    is_listed: bool,
}

/// What one worker says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    id: u32,
    slots: u32,
    wants: bool,
    /// In milliseconds, as many as fit.
    at: u32,
}

const ID_BITS: u32 = 12;
const SLOT_BITS: u32 = 20;
const TIME_BITS: u32 = 31;

const fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

const fn millis(now: Instant) -> u32 {
    ((now.as_nanos() / 1_000_000) & mask(TIME_BITS)) as u32
}

impl Entry {
    const fn unpack(word: u64) -> Self {
        Self {
            id: (word & mask(ID_BITS)) as u32,
            slots: (word >> ID_BITS & mask(SLOT_BITS)) as u32,
            wants: word >> (ID_BITS + SLOT_BITS) & 1 == 1,
            at: (word >> (ID_BITS + SLOT_BITS + 1)) as u32,
        }
    }

    const fn pack(self) -> u64 {
        self.id as u64
            | (self.slots as u64 & mask(SLOT_BITS)) << ID_BITS
            | (self.wants as u64) << (ID_BITS + SLOT_BITS)
            | (self.at as u64) << (ID_BITS + SLOT_BITS + 1)
    }

    /// How old it is. Clocks of workers may differ a little: what is ahead is new.
    fn age(&self, now: Instant) -> Duration {
        let age = u64::from(millis(now).wrapping_sub(self.at)) & mask(TIME_BITS);
        Duration::from_millis(if age > mask(TIME_BITS - 1) { 0 } else { age })
    }
}

impl LeasedSlots {
    pub(super) fn new(account: Arc<dyn Account>) -> Self {
        Self {
            account,
            words: Vec::new(),
            said: None,
            slots: 0,
            least_unused: 0,
            fair: 0,
            others_want: false,
            is_tight: false,
            denies: false,
            wants: false,
            max: 0,
            renewed: Instant::ZERO,
            asks_at: Instant::ZERO,
            is_listed: false,
        }
    }

    /// A call is about to ask for a slot, while `taken` are in use: leases more where none is left.
    #[inline]
    pub(super) fn prepare(&mut self, now: Instant, max: u32, taken: u32) {
        self.max = max;
        if taken >= self.slots && taken < max {
            self.ask(now, taken);
        }
    }

    #[cold]
    fn ask(&mut self, now: Instant, taken: u32) {
        if now < self.asks_at && self.asks_at.since(now) <= PATIENCE {
            self.denies = true;
            return;
        }
        self.agree(now, taken, taken.saturating_add(batch(self.max).max(1)));
        if self.slots <= taken {
            self.denies = true;
            self.asks_at = now + PATIENCE;
            if !self.wants {
                self.agree(now, taken, taken);
            }
        }
    }

    /// Whether others want what this worker has beyond its part.
    pub(super) const fn is_too_much(&self) -> bool {
        self.others_want && self.slots > self.fair
    }

    /// A slot was taken.
    #[inline]
    pub(super) fn took(&mut self, taken: u32) {
        self.least_unused = self.least_unused.min(self.slots.saturating_sub(taken));
    }

    /// A slot came back: what is too much to keep goes to others.
    #[inline]
    pub(super) fn release(&mut self, now: Instant, taken: u32) {
        let unused = self.slots.saturating_sub(taken);
        let batch = batch(self.max);
        let is_too_much = self.is_too_much() && unused > 0;
        // Without a clock the next poll does it.
        if now < self.renewed || !is_too_much && unused <= batch {
            return;
        }
        let kept = taken.saturating_add(batch.div_ceil(2)).min(self.slots);
        self.agree(now, taken, if is_too_much { kept.min(self.fair).max(taken) } else { kept });
        // There is one now.
        self.asks_at = now;
    }

    /// Gives back what was not used since the last time, and renews the lease of the rest. Whether anything
    /// is left.
    pub(super) fn renew(&mut self, now: Instant, taken: u32) -> bool {
        let unused = self.least_unused.min(self.slots.saturating_sub(taken));
        let is_old = self.renewed <= now && now.since(self.renewed) >= RENEWED_AFTER;
        let says_more = self.wants != self.denies;
        if unused > 0 || is_old || says_more || self.is_tight || self.others_want {
            self.agree(now, taken, self.slots.saturating_sub(unused).min(self.max.max(taken)));
        }
        self.denies = false;
        self.least_unused = self.slots.saturating_sub(taken);
        let is_left = self.slots > 0 || self.wants;
        self.is_listed &= is_left;
        is_left
    }

    /// Whether nobody looks after the lease yet; said once.
    pub(super) fn is_to_be_listed(&mut self) -> bool {
        (self.slots > 0 || self.wants) && !core::mem::replace(&mut self.is_listed, true)
    }

    /// The worker ends, or its scope: others have its slots.
    pub(super) fn leave(&mut self) {
        if self.said.is_some() {
            self.denies = false;
            self.agree(self.renewed, 0, 0);
        }
    }

    /// Tells the account that this worker has `wanted` slots from now on, no fewer than are `taken` and no
    /// more than others leave; and learns of the others.
    fn agree(&mut self, now: Instant, taken: u32, wanted: u32) {
        let (said, max, wants) = (self.said, self.max, self.denies);
        let mut words = core::mem::take(&mut self.words);
        let agreed = exchange(&*self.account, now, &mut words, |words| {
            let mut entries: Vec<Entry> = words.iter().map(|word| Entry::unpack(*word)).collect();
            entries.retain(|entry| entry.age(now) < LIFE);
            let mine = entries.iter().position(|entry| Some(*entry) == said);
            let is_other = |(place, _): &(usize, &Entry)| Some(*place) != mine;
            let others = || entries.iter().enumerate().filter(is_other).map(|(_, entry)| entry);
            let taken_by_others: u32 = others().map(|entry| entry.slots).sum();
            let workers = 1 + u32::try_from(others().count()).unwrap_or(u32::MAX - 1);
            let fair = max.div_ceil(workers);
            let others_want = others().any(|entry| entry.wants);
            let most = if others_want { fair } else { max };
            let left = max.saturating_sub(taken_by_others);
            let slots = wanted.min(left).min(most).max(taken);
            let unknown = (1..).find(|id| others().all(|entry| entry.id != *id));
            let id = said.filter(|_| mine.is_some()).map(|said| said.id).or(unknown);
            let age = said.map(|said| said.age(now));
            let at = match said {
                Some(said) if age.is_some_and(|age| age < RENEWED_AFTER) => said.at,
                _ => millis(now),
            };
            let entry = Entry { id: id.unwrap_or(0), slots, wants, at };
            let says = (slots > 0 || wants).then_some(entry);
            match (mine, says) {
                (Some(place), Some(entry)) => {
                    entries.get_mut(place).into_iter().for_each(|mine| *mine = entry);
                }
                (Some(place), None) => drop(entries.remove(place)),
                (None, Some(entry)) => entries.push(entry),
                (None, None) => {}
            }
            words.clear();
            words.extend(entries.iter().map(|entry| entry.pack()));
            let is_tight = slots.saturating_add(taken_by_others) >= max;
            ((slots, fair, others_want, is_tight, says), now + LIFE)
        });
        self.words = words;
        (self.slots, self.fair, self.others_want, self.is_tight, self.said) = agreed;
        let said = self.said;
        self.wants = wants && said.is_some();
        self.took(taken);
        // An entry that was not renewed is as old as it says.
        let age = said.map_or(Duration::ZERO, |said| said.age(now));
        self.renewed = Instant::from_nanos(now.as_nanos().saturating_sub(age.as_nanos()));
    }
}
