//! Whatever verbs come, at whatever times: the books balance, breakers end, and time that is due is
//! carried out.

use crate::Behaviour;
use crate::source::Source;
use bimetal_core::engine::{Policies, Tracing};
use bimetal_core::event::{EventKind, State};
use bimetal_core::outcome::{Outcome, Report};
use bimetal_core::policy::{Document, Host};
use bimetal_core::series::TRANSITIONS;
use bimetal_core::{Duration, Engine, Facts, Instant, Ticket, Verdict};
use bimetal_proxy::board::MemoryBoard;
use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

const WORKERS: usize = 2;

/// Documents that differ in what decides: streaks, both windows, scopes, sharing, modes.
static DOCUMENTS: LazyLock<Vec<Document>> = LazyLock::new(|| {
    let breakers = [
        r#""breaker":{"trip":{"consecutive_failures":1},"open":{"base":"1s","jitter":0}}"#,
        r#""breaker":{"trip":{"consecutive_failures":3},"open":{"base":"1s","max":"5s"},"half_open":{"max_probes":2,"required_successes":3,"lease":"1s"},"recovery":{"ramp":"3s"}}"#,
        r#""breaker":{"trip":{"failure_rate":{"threshold":0.5,"window":{"time":"1s"},"minimum_calls":2}},"open":{"base":"100ms"}}"#,
        r#""breaker":{"trip":{"slow_rate":{"threshold":0.3,"slower_than":"1ms","window":{"calls":3},"minimum_calls":1,"confidence":0.9}},"share":"none"}"#,
        r#""breaker":{"trip":{"consecutive_failures":2,"failure_rate":{"threshold":1,"window":{"calls":64},"minimum_calls":64}},"respect_retry_after":false}"#,
        r#""breaker":{"profile":"origin-study"}"#,
        r#""debug_headers":true"#,
        r#""rate_limits":[{"rate":"2/s","key":["header:x","client"],"max_keys":2,"burst":{"tokens":2}},{"rate":"9/m","key":["policy"]}],"deadline":{},"concurrency":{"max":2},"breaker":{"trip":{"consecutive_failures":2}}"#,
    ];
    let places = [
        r#""scope":"policy""#,
        r#""scope":"client","scopes":{"max":2,"when_full":"pass"}"#,
        r#""scope":"header:x","scopes":{"max":1,"when_full":"share"}"#,
        r#""scope":"authority","mode":"shadow""#,
        r#""scope":"policy","mode":"forced_open""#,
        r#""scope":"policy","mode":"disabled""#,
    ];
    let mut documents = Vec::new();
    for breaker in breakers {
        for place in places {
            let text = format!(
                r#"{{"version":"v1","policies":[{{"name":"a","match":{{"path_prefix":"/a"}},{place},{breaker}}},{{"name":"b",{place},{breaker}}}]}}"#
            );
            let document = Document::parse(text.as_bytes(), Host::Native);
            documents.push(document.unwrap_or_else(|problems| panic!("{problems}: {text}")));
        }
    }
    documents
});

struct Request<'a> {
    key: &'a [u8],
    path: &'static str,
}

impl Facts for Request<'_> {
    fn authority(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.key))
    }
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.path.as_bytes()))
    }
    fn header(&self, _: &str) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.key))
    }
    fn client(&self) -> Option<Cow<'_, [u8]>> {
        (!self.key.is_empty()).then_some(Cow::Borrowed(self.key))
    }
}

struct World {
    now: Instant,
    engines: Vec<Engine>,
    /// What is in force in each.
    policies: Vec<Policies>,
    tickets: Vec<(usize, Ticket)>,
    /// Tickets that a host lost, for each engine.
    lost: Vec<u64>,
    /// Which transitions and reasons were seen, as bits.
    seen: u64,
}

/// A row of verbs.
pub(super) fn verbs(bytes: &[u8]) -> Behaviour {
    let mut source = Source::new(bytes);
    let mut world = World::new(source.byte());
    let mut taken = 0_u32;
    while !source.is_empty() {
        let verb = source.byte() % 16;
        taken |= 1 << verb;
        world.take(verb, &mut source);
        world.check();
    }
    world.end();
    Behaviour::of((taken, world.seen))
}

impl World {
    fn new(kind: u8) -> Self {
        let board = Arc::new(MemoryBoard::default());
        let engine = |seed| match kind % 4 {
            0 => Engine::new(seed),
            _ => Engine::with_board(seed, board.clone()),
        };
        let mut world = Self {
            now: Instant::from_nanos(if kind & 4 == 0 { 0 } else { 1 << 50 }),
            engines: (1..=WORKERS as u64).map(engine).collect(),
            policies: Vec::new(),
            tickets: Vec::new(),
            lost: vec![0; WORKERS],
            seen: 0,
        };
        let document = &DOCUMENTS[usize::from(kind >> 3) % DOCUMENTS.len()];
        world.policies = world.engines.iter_mut().map(|engine| engine.load(document)).collect();
        world
    }

    fn take(&mut self, verb: u8, source: &mut Source<'_>) {
        let worker = source.below(WORKERS);
        let engine = &mut self.engines[worker];
        match verb {
            0..=4 => {
                let keys: [&[u8]; 4] = [b"", b"a", b"b:80", b"\xff\"\n"];
                let request = Request {
                    key: source.pick::<&[u8]>(&keys),
                    path: source.pick::<&str>(&["/a", "/b"]),
                };
                match engine.admit(self.now, &self.policies[worker], &request) {
                    Verdict::Admit(admission) => self.tickets.push((worker, admission.ticket)),
                    Verdict::Reject(refusal) => {
                        let reason = refusal.rejection.to_string();
                        assert!(reason.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
                        self.seen |= 1 << 40 << (refusal.rejection.state() as u64);
                    }
                    Verdict::Pass(_) => self.seen |= 1 << 50,
                    _ => self.seen |= 1 << 51,
                }
            }
            5..=8 => {
                let outcomes =
                    [Outcome::Failure, Outcome::Success, Outcome::Slow, Outcome::Neutral];
                let outcome = *source.pick(&outcomes);
                let retry_after = match source.byte() {
                    0..=199 => None,
                    255 => Some(Duration::MAX),
                    seconds => Some(Duration::from_secs(u64::from(seconds) - 200)),
                };
                self.settle(source, Report { outcome, retry_after, latency: None });
            }
            9 if !self.tickets.is_empty() => {
                let place = source.below(self.tickets.len().min(256));
                let (owner, ticket) = &mut self.tickets[place];
                self.engines[*owner].answered(self.now, ticket);
            }
            10 => engine.poll(self.now),
            11 => {
                let document = &DOCUMENTS[source.below(DOCUMENTS.len())];
                self.policies[worker] = engine.load(document);
                // Sometimes the old state stays for a while.
                if source.byte().is_multiple_of(2) {
                    engine.poll(self.now);
                }
            }
            12 => engine.set_tracing(match source.byte() % 2 {
                0 => Tracing::All,
                _ => Tracing::Transitions,
            }),
            13 => self.now = jumped(self.now, source),
            14 => {
                if let Some(due) = engine.next_wakeup() {
                    self.now = due;
                    engine.poll(due);
                }
            }
            15 if !self.tickets.is_empty() && source.byte().is_multiple_of(8) => {
                let (owner, _) = self.tickets.swap_remove(0);
                self.lost[owner] += 1;
            }
            _ => {}
        }
    }

    fn settle(&mut self, source: &mut Source<'_>, report: Report) {
        if self.tickets.is_empty() {
            return;
        }
        let place = source.below(self.tickets.len().min(256));
        let (owner, ticket) = self.tickets.swap_remove(place);
        let settled = self.engines[owner].settle(self.now, ticket, report);
        assert_eq!(settled.outcome, report.outcome);
    }

    fn check(&mut self) {
        for (worker, engine) in self.engines.iter_mut().enumerate() {
            while let Some(event) = engine.take_event() {
                let line = event.to_string();
                let read: Result<serde_json::Value, _> = serde_json::from_str(&line);
                assert!(read.is_ok() && !line.contains('\n'), "{line}");
                if let EventKind::Transition(change) = &event.kind {
                    let kind = TRANSITIONS.iter().position(|kind| {
                        (kind.from, kind.to, kind.cause)
                            == (change.from, change.to, change.cause.name())
                    });
                    self.seen |= 1 << kind.unwrap_or(32);
                }
            }
            let totals = engine.totals();
            let held = self.tickets.iter().filter(|(owner, _)| *owner == worker);
            let open = held.count() as u64 + self.lost[worker];
            assert_eq!(totals.issued, totals.settled + open, "{totals:?}");
            assert_eq!(totals.events_lost, 0);
            let (mut admitted, mut settled, mut states) = (0, 0, [0_u32; 3]);
            for (_, _, counts) in engine.series() {
                // A call that shadow mode only would have turned away has no ticket.
                admitted += counts.decisions[0] - counts.shadow[1..].iter().sum::<u64>();
                settled += counts.settled_calls();
                states.iter_mut().zip(counts.states).for_each(|(sum, count)| *sum += count);
            }
            assert_eq!((admitted, settled), (totals.issued, totals.settled));
            let mut seen = [0_u32; 3];
            for breaker in engine.breakers(self.now) {
                seen[breaker.view.state as usize] += 1;
                let is_open = breaker.view.state == State::Open;
                assert_eq!(breaker.view.next_probe.is_some(), is_open);
            }
            assert_eq!(states, seen, "states as counted, as they are");
        }
    }

    /// What is due is done by one poll: a host that sleeps until the next wake-up must not spin.
    fn end(&mut self) {
        while let Some((owner, ticket)) = self.tickets.pop() {
            let _ = self.engines[owner].settle(self.now, ticket, Outcome::Neutral.into());
            // Events are taken after every verb: only so many wait.
            self.check();
        }
        for engine in &mut self.engines {
            engine.poll(self.now);
            let due = engine.next_wakeup();
            let is_later = due.is_none_or(|due| due > self.now || due == Instant::FAR_FUTURE);
            assert!(is_later, "due at {due:?}, it is {:?}", self.now);
        }
        self.check();
    }
}

/// Small steps, long waits, jumps back, and the end of time.
fn jumped(now: Instant, source: &mut Source<'_>) -> Instant {
    let nanos = now.as_nanos();
    let size = source.byte();
    let millis = |count: u64| count * 1_000_000;
    Instant::from_nanos(match size {
        0..=99 => nanos.saturating_add(millis(u64::from(size))),
        100..=219 => nanos.saturating_add(millis(u64::from(size - 99) * 100)),
        220..=239 => nanos.saturating_sub(millis(u64::from(size - 219) * 100)),
        240..=249 => nanos.wrapping_add(source.number()),
        250..=252 => u64::MAX - u64::from(size),
        253 => u64::MAX,
        _ => 0,
    })
}
