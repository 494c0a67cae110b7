//! Whatever Envoy calls, in whatever order, and whatever it answers: the filter goes on, and each
//! call that was admitted settles once.

use super::filter_host::{Fuzzed, NAMES};
use crate::Behaviour;
use crate::source::Source;
use bimetal_core::engine::Totals;
use bimetal_filter::call::Call;
use bimetal_filter::registry::{self, Worker};
use bimetal_filter::root::Root;
use std::rc::{Rc, Weak};

/// Most requests and configurations at a time.
const MOST: usize = 12;

struct Plugin {
    host: Fuzzed,
    roots: Vec<Root<Fuzzed>>,
    calls: Vec<Call<Fuzzed>>,
    /// What the configurations so far decide by; each ends with its last configuration.
    workers: Vec<Weak<Worker>>,
    accepted: u32,
    stopped: u32,
}

/// The first byte says how often the host fails, the second how long the row of events is; the
/// rest are its answers.
pub(super) fn host_calls(bytes: &[u8]) -> Behaviour {
    let mut source = Source::new(bytes);
    // Half of the inputs have a host that never fails.
    let failing = source.byte().saturating_sub(128);
    let events = source.bytes(255);
    let answers = source.bytes_left();
    let mut plugin = Plugin {
        host: Fuzzed::new(answers, failing),
        roots: Vec::new(),
        calls: Vec::new(),
        workers: Vec::new(),
        accepted: 0,
        stopped: 0,
    };
    plugin.event(0, &mut Source::new(&[]));
    let mut source = Source::new(events);
    let mut kinds = 0_u32;
    while !source.is_empty() {
        let kind = source.byte() % 18;
        kinds |= 1 << kind;
        plugin.event(kind, &mut source);
        plugin.check();
    }
    let sums = plugin.end();
    let host_calls = plugin.host.calls().checked_ilog2();
    Behaviour::of((kinds, plugin.accepted.min(4), plugin.stopped.min(4), sums, host_calls))
}

impl Plugin {
    fn event(&mut self, kind: u8, source: &mut Source<'_>) {
        match kind {
            0 if self.roots.len() < MOST => {
                let mut root = Root::new(self.host.clone());
                self.accepted += u32::from(root.configure());
                self.roots.push(root);
                self.find_workers();
            }
            1 => {
                if let Some(root) = any(&mut self.roots, source) {
                    root.configure();
                    self.find_workers();
                }
            }
            2 if self.roots.len() > 1 => {
                drop(self.roots.swap_remove(source.below(self.roots.len())))
            }
            3 => {
                if let Some(root) = any(&mut self.roots, source) {
                    root.tick();
                }
            }
            4..=6 if self.calls.len() < MOST => {
                if let Some(root) = any(&mut self.roots, source) {
                    let mut call = root.call(1);
                    self.stopped += u32::from(!call.request_headers(end_of_stream(source)));
                    self.calls.push(call);
                }
            }
            // Envoy does not do it; nothing may break all the same.
            7 => self.with_call(source, |call, source| {
                call.request_headers(end_of_stream(source));
            }),
            8 | 9 => {
                self.with_call(source, |call, source| call.response_headers(end_of_stream(source)))
            }
            10 => self.with_call(source, |call, source| {
                call.response_body(usize::from(source.byte()), end_of_stream(source));
            }),
            11 => self.with_call(source, |call, _| call.response_trailers()),
            12 => self.with_call(source, |call, _| call.log()),
            13 if !self.calls.is_empty() => {
                drop(self.calls.swap_remove(source.below(self.calls.len())));
            }
            14 => {
                let millis = u64::from(source.byte()) * 10;
                self.host.jump(|now| now.saturating_add(millis * 1_000_000));
            }
            15 => {
                let by = source.number();
                self.host.jump(|now| now.wrapping_add(by));
            }
            16 => self.with_call(source, |call, source| call.request_body(end_of_stream(source))),
            17 => self.with_call(source, |call, _| call.request_trailers()),
            _ => {}
        }
    }

    fn with_call(
        &mut self,
        source: &mut Source<'_>,
        act: impl FnOnce(&mut Call<Fuzzed>, &mut Source<'_>),
    ) {
        if let Some(call) = any(&mut self.calls, source) {
            act(call, source);
        }
    }

    /// No more is settled than was admitted, and no more is open than there are requests.
    fn check(&self) {
        let open: u64 = self.totals().map(open).sum();
        assert!(open <= self.calls.len() as u64, "{open} open");
    }

    fn find_workers(&mut self) {
        self.workers.retain(|worker| worker.strong_count() > 0);
        for name in NAMES {
            let worker = Rc::downgrade(&registry::worker(&self.host, name.as_bytes()));
            if !self.workers.iter().any(|known| known.ptr_eq(&worker)) {
                self.workers.push(worker);
            }
        }
    }

    fn totals(&self) -> impl Iterator<Item = Totals> {
        let alive = self.workers.iter().filter_map(Weak::upgrade);
        alive.filter_map(|worker| worker.with(|inside| inside.engine.totals()))
    }

    /// All requests end, then all configurations.
    fn end(&mut self) -> [u64; 2] {
        self.calls.clear();
        let sums: Vec<_> = self.totals().collect();
        for totals in &sums {
            assert_eq!(open(*totals), 0, "{totals:?}");
            assert_eq!(totals.events_lost, 0);
        }
        self.roots.clear();
        let sum = |of: fn(&Totals) -> u64| sums.iter().map(of).sum::<u64>().min(8);
        [sum(|totals| totals.issued), sum(|totals| totals.scopes)]
    }
}

fn open(totals: Totals) -> u64 {
    let open = totals.issued.checked_sub(totals.settled);
    open.expect("no call settles twice")
}

fn any<'t, T>(of: &'t mut [T], source: &mut Source<'_>) -> Option<&'t mut T> {
    if of.is_empty() {
        return None;
    }
    let place = source.below(of.len());
    of.get_mut(place)
}

fn end_of_stream(source: &mut Source<'_>) -> bool {
    source.byte() & 1 == 1
}
