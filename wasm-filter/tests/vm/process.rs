//! What the VMs of one process share: shared data, metrics, a clock, a log.
//!
//! It behaves as Envoy does where the filter can tell: maps exist only in their phases, shared data
//! is a table with compare-and-swap tokens, a metric of one name is one metric however often it is
//! defined, adding zero to a metric is an error.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Status values of the ABI (`proxy_status_t`).
pub(crate) mod status {
    pub(crate) const OK: u32 = 0;
    pub(crate) const NOT_FOUND: u32 = 1;
    pub(crate) const BAD_ARGUMENT: u32 = 2;
    pub(crate) const CAS_MISMATCH: u32 = 8;
    pub(crate) const INTERNAL_FAILURE: u32 = 10;
}

/// How a host call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It returns this status and does nothing.
    Status(u32),
    /// It says OK and gives a null pointer of this size; a call that gives no bytes says OK and
    /// does nothing.
    Null(u32),
    /// It says OK and gives no bytes, at a place that is not null.
    Empty,
    /// It says OK and gives bytes that mean nothing.
    Garbage,
    /// It says OK and gives only the first bytes of what it should.
    Short,
    /// It says OK and gives the bytes that the test has written down.
    Written,
}

/// Who is asked: a VM and a context in it.
pub(crate) type Id = (u32, u32);

/// Name and value, in order, as bytes.
pub(crate) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// What the host knows of a context. A map that is `None` does not exist in this phase.
#[derive(Clone, Debug, Default)]
pub(crate) struct Context {
    pub(crate) request: Option<Pairs>,
    pub(crate) response: Option<Pairs>,
    pub(crate) trailers: Option<Pairs>,
    pub(crate) properties: BTreeMap<&'static str, Vec<u8>>,
    pub(crate) configuration: Vec<u8>,
    /// The part of the answer's body that is shown now.
    pub(crate) body: Vec<u8>,
    pub(crate) reply: Option<Reply>,
    /// How often the module had the host go on with it.
    pub(crate) let_go: u32,
}

/// A local reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u32,
    pub(crate) details: String,
    pub(crate) headers: Vec<u8>,
}

/// One metric.
#[derive(Clone, Debug)]
pub(crate) struct Metric {
    pub(crate) kind: u32,
    pub(crate) name: String,
    pub(crate) value: i64,
}

/// Something that happens between a read and a write of another VM.
type Interruption = Box<dyn FnMut() + Send>;

/// Shared state of one process.
#[derive(Default)]
pub(crate) struct ProcessState {
    pub(crate) nanos: u64,
    pub(crate) shared: HashMap<Vec<u8>, (Vec<u8>, u32)>,
    tokens: u32,
    pub(crate) metrics: Vec<Metric>,
    pub(crate) contexts: HashMap<Id, Context>,
    pub(crate) lines: Vec<(u32, String)>,
    pub(crate) stderr: String,
    /// What [`Fault::Written`] gives.
    pub(crate) written: Vec<u8>,
    pub(crate) faults: BTreeMap<&'static str, Fault>,
    /// So many of the next writes find that somebody else wrote.
    pub(crate) races: u32,
    /// How often each host call was made.
    pub(crate) calls: BTreeMap<&'static str, u64>,
    pub(crate) interruption: Option<Interruption>,
    random: u64,
    /// The lowest level that the log takes; 1 is debug.
    pub(crate) log_level: u32,
}

/// Shared state of one process, behind its lock.
#[derive(Clone)]
pub(crate) struct Process(Arc<Mutex<ProcessState>>);

/// How the names of the filter's metrics end.
const METRICS: [&str; 21] = [
    "board_changes",
    "breaker_replicas",
    "breaker_transitions_total",
    "calls_outstanding",
    "decision_errors_total",
    "events_lost_total",
    "fallbacks_total",
    "late_total",
    "limit_keys",
    "outcomes_total",
    "queue_length",
    "request_duration_ms",
    "requests_total",
    "retries_total",
    "retry_budget",
    "scopes",
    "shadow_total",
    "unprotected_total",
    "unshared_total",
    "unsupported_skipped",
    "wasted_total",
];

impl Process {
    /// A process that has just begun; its random numbers follow from `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        let state = ProcessState {
            nanos: 1_000_000_000,
            random: seed,
            log_level: 1,
            ..ProcessState::default()
        };
        Self(Arc::new(Mutex::new(state)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, ProcessState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, millis: u64) {
        self.lock().nanos += millis * 1_000_000;
    }

    /// The sum of every metric whose name contains all parts.
    ///
    /// # Panics
    /// There is none: a sum of nothing would be 0, whatever is asked for.
    pub(crate) fn metric(&self, parts: &[&str]) -> i64 {
        self.find_metric(parts).unwrap_or_else(|| {
            let state = self.lock();
            let names: Vec<_> = state.metrics.iter().map(|metric| &metric.name).collect();
            panic!("no metric with {parts:?} among {names:#?}")
        })
    }

    /// The same; none where nothing was counted under such a name yet. The last part names the
    /// metric, and every metric has a name that is known here: one that got another is no zero.
    pub(crate) fn find_metric(&self, parts: &[&str]) -> Option<i64> {
        let name = parts.last().expect("the name of a metric");
        assert!(METRICS.contains(name), "{name} is no metric of the filter");
        let state = self.lock();
        for metric in &state.metrics {
            assert!(METRICS.iter().any(|name| metric.name.ends_with(name)), "{}", metric.name);
        }
        let ours =
            state.metrics.iter().filter(|metric| parts.iter().all(|p| metric.name.contains(p)));
        let values: Vec<i64> = ours.map(|metric| metric.value).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Events of a kind so far.
    pub(crate) fn events(&self, kind: &str) -> Vec<serde_json::Value> {
        let state = self.lock();
        let json = |(_, line): &(u32, String)| serde_json::from_str::<serde_json::Value>(line).ok();
        state.lines.iter().filter_map(json).filter(|event| event["event"] == kind).collect()
    }

    /// What settled calls counted as, in order.
    pub(crate) fn outcomes(&self) -> Vec<String> {
        let outcome = |event: &serde_json::Value| event["outcome"].as_str().map(str::to_owned);
        self.events("settled").iter().filter_map(outcome).collect()
    }

    /// Log lines of level error so far.
    pub(crate) fn errors(&self) -> Vec<String> {
        let state = self.lock();
        state.lines.iter().filter(|(level, _)| *level == 4).map(|(_, line)| line.clone()).collect()
    }

    /// What an operator may do at any time: every counter is zero.
    pub(crate) fn reset_counters(&self) {
        let mut state = self.lock();
        state
            .metrics
            .iter_mut()
            .filter(|metric| metric.kind == 0)
            .for_each(|metric| metric.value = 0);
    }

    /// From now on, the host call `call` goes wrong.
    pub(crate) fn fail(&self, call: &'static str, fault: Fault) {
        self.lock().faults.insert(call, fault);
    }

    /// From now on all goes well.
    pub(crate) fn heal(&self) {
        let mut state = self.lock();
        state.faults.clear();
        state.races = 0;
    }
}

impl ProcessState {
    /// Notes a host call and says how it goes wrong, if it does.
    pub(crate) fn called(&mut self, call: &'static str) -> Option<Fault> {
        *self.calls.entry(call).or_insert(0) += 1;
        self.faults.get(call).copied()
    }

    /// The next random number (SplitMix64, Steele and others 2014).
    pub(crate) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Writes shared data as Envoy does: the token decides, but a missing key is always made.
    pub(crate) fn set_shared(&mut self, key: &[u8], value: &[u8], token: u32) -> u32 {
        let known = self.shared.get(key).map(|(_, token)| *token);
        if known.is_some_and(|known| token != 0 && token != known) {
            return status::CAS_MISMATCH;
        }
        if known.is_some() && self.races > 0 {
            self.races -= 1;
            return status::CAS_MISMATCH;
        }
        self.put_shared(key, value);
        status::OK
    }

    /// Puts a value under a key, whoever holds its token.
    pub(crate) fn put_shared(&mut self, key: &[u8], value: &[u8]) {
        self.tokens += 1;
        self.shared.insert(key.to_vec(), (value.to_vec(), self.tokens));
    }

    /// The id of a metric; one a name.
    pub(crate) fn define(&mut self, kind: u32, name: String) -> u32 {
        let known = self.metrics.iter().position(|metric| metric.name == name);
        let index = known.unwrap_or_else(|| {
            self.metrics.push(Metric { kind, name, value: 0 });
            self.metrics.len() - 1
        });
        u32::try_from(index).unwrap()
    }

    /// Adds to a counter (0) or gauge (1).
    pub(crate) fn add(&mut self, id: u32, by: i64) -> u32 {
        match self.metrics.get_mut(id as usize) {
            Some(metric) if by > 0 || (by < 0 && metric.kind == 1) => {
                metric.value += by;
                status::OK
            }
            _ => status::BAD_ARGUMENT,
        }
    }

    /// Sets a gauge, or counts a value of a histogram (2).
    pub(crate) fn record(&mut self, id: u32, value: u64) -> u32 {
        match self.metrics.get_mut(id as usize) {
            Some(metric) if metric.kind == 1 => metric.value = value.cast_signed(),
            Some(metric) if metric.kind == 2 => metric.value += 1,
            _ => return status::BAD_ARGUMENT,
        }
        status::OK
    }
}
