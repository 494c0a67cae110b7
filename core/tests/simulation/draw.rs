//! The history of a seed.

use super::documents::DOCUMENTS;
use super::{By, Input, KEYS, Media, NEWEST, Reply, Start, Step, WORKERS};
use bimetal_core::call::Upload;
use bimetal_core::outcome::Transport;
use bimetal_core::rng::Rng;

/// What kind of history a seed has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Character {
    /// Whole requests and plain answers: what a scenario of the conformance room can tell.
    Plain,
    /// Any input in any order, whatever the upstream and its clients do.
    Mixed,
    /// Probes whose clients take their time, on all workers.
    Probed,
    /// Any client, in front of an upstream that answers everything well and at once.
    Healthy,
}

impl Character {
    pub(crate) const fn of(seed: u64) -> Self {
        // Documents go by the seed modulo their number: all of them meet every character.
        match seed / DOCUMENTS.len() as u64 % 5 {
            0 | 1 => Self::Plain,
            2 => Self::Mixed,
            3 => Self::Probed,
            _ => Self::Healthy,
        }
    }
}

/// Draws the steps of one history.
struct Draw {
    rng: Rng,
    character: Character,
    /// The share of answers that are failures.
    failing: f64,
    patience: u64,
    clock_jumps: bool,
}

/// The history of a seed. Some are made of failures, some are healthy, most are mixed.
pub(crate) fn history(seed: u64) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    let mut draw = Draw {
        character: Character::of(seed),
        failing: rng.next_share(),
        patience: 1 + rng.next_u64() % 4_000,
        clock_jumps: rng.next_u64().is_multiple_of(4),
        rng,
    };
    let steps = 60 + draw.below(140);
    if draw.character == Character::Probed {
        let trip = trip().into_iter();
        return trip.chain((0..steps).map(|_| draw.probe())).collect();
    }
    (0..steps).map(|_| draw.step()).collect()
}

/// What opens the breaker of every document, and the wait for its end.
fn trip() -> Vec<Step> {
    let start = Start::HandedOver(Upload::Complete);
    let input = Input::Headers(Reply::whole(500));
    let failure =
        |worker| [Step::Call { worker, key: 0, start }, Step::See { call: NEWEST, input }];
    let failures = (0..6).flat_map(|number| failure(number % WORKERS));
    failures.chain([Step::Wait { millis: 2_500 }]).collect()
}

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.rng.next_u64() % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    fn step(&mut self) -> Step {
        let (workers, call) = (WORKERS as u64, self.below(64) as usize);
        match self.below(100) {
            0..25 => Step::Wait { millis: self.below(self.patience) },
            25 if self.clock_jumps => Step::ClockBack { millis: self.below(5_000) },
            25..57 => Step::Call {
                worker: self.below(workers) as usize,
                key: self.below(KEYS as u64) as usize,
                start: self.start(),
            },
            57..91 => {
                // A call's life is seen in full where the newest is looked at again and again.
                let newest = self.character != Character::Plain && self.below(5) < 2;
                let call = if newest { NEWEST } else { call };
                Step::See { call, input: self.input() }
            }
            91..93 => Step::Lose { call },
            93..98 => Step::Tick { worker: self.below(workers) as usize },
            98 => Step::Restart { worker: self.below(workers) as usize },
            _ => Step::Load { document: self.below(DOCUMENTS.len() as u64) as usize },
        }
    }

    /// A step of a history of probes.
    fn probe(&mut self) -> Step {
        let (workers, call) = (WORKERS as u64, self.below(4) as usize);
        match self.below(100) {
            0..30 => Step::Wait { millis: self.below(1_200) },
            30..50 => Step::Call {
                worker: self.below(workers) as usize,
                key: self.below(20) as usize / 19,
                start: self.start(),
            },
            50..80 => Step::See { call, input: Input::Upload(self.upload()) },
            80..88 => Step::See { call, input: self.input() },
            88..99 => Step::Tick { worker: self.below(workers) as usize },
            _ => Step::Restart { worker: self.below(workers) as usize },
        }
    }

    fn start(&mut self) -> Start {
        match (self.character, self.below(10)) {
            (Character::Plain, _) => Start::HandedOver(Upload::Complete),
            (_, 0) => Start::Kept,
            (_, 1) => Start::Queued,
            _ => Start::HandedOver(self.upload()),
        }
    }

    fn upload(&mut self) -> Upload {
        self.pick(&[
            Upload::WaitsForClient,
            Upload::WaitsForClient,
            Upload::WaitsForUpstream,
            Upload::Complete,
            Upload::Complete,
        ])
    }

    fn input(&mut self) -> Input {
        if self.character == Character::Plain {
            let end = self.below(4) > 0;
            return match self.below(8) {
                0 => Input::Ended,
                _ => Input::Headers(Reply { end, ..self.plain() }),
            };
        }
        match self.below(100) {
            0..4 => Input::Queued,
            4..20 => Input::HandedOver(self.upload()),
            20..40 => Input::Upload(self.upload()),
            40..43 => Input::Informational,
            43..65 => Input::Headers(self.reply()),
            65..72 => Input::Body(self.pick(&[1, 5, 9, 64])),
            72 => Input::Unseen,
            73..76 => {
                let none = self.below(3) == 0;
                Input::Trailers((!none).then(|| self.pick(&[0, 0, 5, 14])))
            }
            76..83 => Input::Ended,
            83 => Input::Switched,
            84..92 => Input::Broken(self.pick(&Transport::ALL)),
            92..98 => Input::ClientGone,
            _ => Input::Dropped,
        }
    }

    /// An answer of a status alone.
    fn plain(&mut self) -> Reply {
        let status = match self.below(1_000) as f64 / 1_000.0 {
            share if share < self.failing => 500,
            share if share < self.failing + 0.05 => 404,
            _ => 200,
        };
        // Whole seconds, as the header has them.
        let retry_after = if self.below(10) == 0 { self.below(20) } else { 0 };
        Reply { retry_after, ..Reply::whole(status) }
    }

    fn reply(&mut self) -> Reply {
        use Media::{Events, Grpc, Plain, Web, WebText};
        let plain = self.plain();
        let media = self.pick(&[Plain, Plain, Plain, Grpc, Web, WebText, Events]);
        let grpc = match self.below(6) {
            0 => Some(0),
            1 if plain.status == 500 => Some(14),
            _ => None,
        };
        Reply {
            status: if self.below(20) == 0 { 101 } else { plain.status },
            media,
            by: self.pick(&[By::Upstream, By::Upstream, By::Upstream, By::Mesh, By::Other]),
            grpc,
            end: self.below(3) == 0,
            timed: self.below(4) == 0,
            ..plain
        }
    }
}
