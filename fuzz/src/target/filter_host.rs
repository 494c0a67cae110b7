//! A host that answers every call of the filter with whatever the input says.

use crate::source::Source;
use bimetal_core::Instant;
use bimetal_filter::board::{ONLY_IF_ABSENT, SharedBoard, SharedData, WorkerBoard};
use bimetal_filter::flags::FLAGS;
use bimetal_filter::headers::Headers;
use bimetal_filter::port::{Host, HostError, Level, Map, MetricKind, Property, Reply};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Values that get deep, beside whatever bytes.
const VALUES: [&str; 24] = [
    "200",
    "404",
    "500",
    "503",
    "101",
    "99999",
    "via_upstream",
    "upstream_reset",
    "echo",
    "POST",
    "/echo",
    "/echo/a?b",
    "application/grpc",
    "application/grpc+proto",
    "text/event-stream",
    "0",
    "14",
    "17",
    "1",
    "18446744073709551615",
    "10.0.0.1:80",
    "[::1]:80",
    "250m",
    "-5",
];

/// Headers that the filter or a document below looks for.
const HEADERS: [&str; 15] = [
    ":status",
    ":path",
    ":method",
    ":authority",
    "content-type",
    "grpc-status",
    "retry-after",
    "x-envoy-upstream-service-time",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-expected-rq-timeout-ms",
    "x-tenant",
    "x",
    "",
    "grpc-timeout",
    "x-request-deadline-ms",
];

/// Names of plugins: few, so that configurations meet.
pub(super) const NAMES: [&str; 3] = ["one", "two", ""];

/// The documents that the plugin may be given.
const DOCUMENTS: [&str; 7] = [
    r#"{"version":"v1","policies":[{"name":"echo","scope":"policy","timeout":{"request":"1s"},"debug_headers":true,
        "breaker":{"trip":{"consecutive_failures":1,"slow_rate":{"threshold":1,"slower_than":"100ms","window":{"calls":10},"minimum_calls":2}},
        "open":{"base":"1s","jitter":0},"recovery":{"ramp":"2s"}}}]}"#,
    r#"{"version":"v1","policies":[{"name":"echo","scope":"policy","timeout":{"request":"1s"},
        "breaker":{"profile":"origin-study","open":{"base":"1s"}},"fallback":{"when":["rejected"],"status":200,"headers":{"x":"y"},"body":"b"}}]}"#,
    r#"{"version":"v1","policies":[{"name":"all","scope":"header:x-tenant","scopes":{"max":2,"when_full":"pass"},
        "breaker":{"trip":{"failure_rate":{"threshold":0.5,"window":{"time":"1s"},"minimum_calls":1}}}},{"name":"rest","mode":"shadow","scope":"client",
        "breaker":{"trip":{"consecutive_failures":1},"share":"none"}}]}"#,
    r#"{"version":"v1","policies":[{"name":"in","match":{"direction":"inbound","hosts":["*.a","echo"],"path_prefix":"/echo","methods":["POST"],"headers":{"x":"*"}},
        "breaker":{"trip":{"consecutive_failures":2}}},{"name":"forced","scope":"route","mode":"forced_open","debug_headers":true}]}"#,
    r#"{"version":"v1","unsupported":"skip","policies":[{"name":"off","match":{"path":"/off"},"mode":"disabled"},
        {"name":"d","scope":"destination","breaker":{"profile":"origin-study"},"connections":{"per_client":1}}]}"#,
    r#"{"version":"v1","policies":[]}"#,
    r#"{"version":"v1","policies":[{"name":"waits","scope":"policy","deadline":{},"debug_headers":true,"concurrency":{"max":1,"queue":{"max":3,"max_wait":"1s"}},
        "breaker":{"trip":{"slow_rate":{"threshold":1,"slower_than":"100ms","window":{"calls":10},"minimum_calls":2}}}}]}"#,
];

/// The host; its clones are one.
#[derive(Clone, Debug)]
pub(super) struct Fuzzed(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// What the answers are made of, used up from the front.
    answers: Vec<u8>,
    used: usize,
    /// Below this byte a call fails.
    failing: u8,
    now: u64,
    metrics: HashMap<String, (u32, MetricKind)>,
    shared: HashMap<String, (Vec<u8>, u32)>,
    tokens: u32,
    told: u64,
    calls: u64,
}

impl State {
    fn source<T>(&mut self, act: impl FnOnce(&mut Source<'_>) -> T) -> T {
        let rest = self.answers.get(self.used..).unwrap_or_default();
        let before = rest.len();
        let mut source = Source::new(rest);
        let done = act(&mut source);
        self.used += before - source.len();
        done
    }

    /// Whether this call works, as the input says; all do once it is used up.
    fn works(&mut self, call: &'static str) -> Result<(), HostError> {
        self.calls += 1;
        let failing = self.failing;
        let (is_over, byte) = self.source(|source| (source.is_empty(), source.byte()));
        if !is_over && byte < failing {
            Err(HostError { call, status: u32::from(byte) })
        } else {
            Ok(())
        }
    }

    fn value(&mut self) -> Vec<u8> {
        self.source(|source| match source.byte() % 4 {
            0 => source.bytes(32).to_vec(),
            _ => source.pick(&VALUES).as_bytes().to_vec(),
        })
    }
}

impl Fuzzed {
    /// A host whose answers are made of these bytes; below `failing` a call fails.
    pub(super) fn new(answers: &[u8], failing: u8) -> Self {
        Self(Arc::new(Mutex::new(State {
            answers: answers.to_vec(),
            used: 0,
            failing,
            now: 1 << 40,
            metrics: HashMap::new(),
            shared: HashMap::new(),
            tokens: 0,
            told: 0,
            calls: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the clock, also backwards.
    pub(super) fn jump(&self, to: impl FnOnce(u64) -> u64) {
        let mut state = self.state();
        state.now = to(state.now);
    }

    /// Calls of the host so far.
    pub(super) fn calls(&self) -> u64 {
        self.state().calls
    }
}

impl Host for Fuzzed {
    fn now(&self) -> Result<Instant, HostError> {
        let mut state = self.state();
        state.works("now")?;
        Ok(Instant::from_nanos(state.now))
    }

    fn random(&self) -> Result<u64, HostError> {
        let mut state = self.state();
        state.works("random")?;
        Ok(u64::from(state.source(|source| source.byte())))
    }

    /// Some of the headers that are looked for, or a block of whatever bytes.
    fn headers(&self, _: Map) -> Result<Headers, HostError> {
        let mut state = self.state();
        state.works("headers")?;
        let count = state.source(|source| source.byte());
        if count % 16 == 15 {
            return Ok(Headers::from_block(state.source(|source| source.bytes(100).to_vec())));
        }
        let mut pairs = Vec::new();
        for _ in 0..count % 16 / 2 {
            let name = *state.source(|source| source.pick(&HEADERS));
            pairs.push((name, state.value()));
        }
        Ok(Headers::of(&pairs))
    }

    fn set_header(&self, _: Map, name: &str, value: &str) -> Result<(), HostError> {
        for text in [name, value] {
            assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{text:?}");
        }
        self.state().works("set_header")
    }

    fn remove_header(&self, _: Map, _: &str) -> Result<(), HostError> {
        self.state().works("remove_header")
    }

    fn property(&self, path: Property) -> Result<Option<Vec<u8>>, HostError> {
        let mut state = self.state();
        state.works("property")?;
        let kind = state.source(|source| source.byte() % 4);
        Ok(match (path, kind) {
            (_, 0) => None,
            (_, 1) => Some(state.value()),
            (Property::PluginName, _) => {
                Some(state.source(|source| source.pick(&NAMES).as_bytes().to_vec()))
            }
            (Property::Direction, _) => {
                let number = state.source(|source| u64::from(source.byte() % 4));
                Some(number.to_le_bytes().to_vec())
            }
            (Property::ResponseFlags, _) => {
                let bits = state.source(|source| {
                    let first = source.pick(&FLAGS).bit;
                    1_u64 << first | 1 << (source.byte() & 63)
                });
                Some(bits.to_le_bytes().to_vec())
            }
            (Property::ResponseDetails, 2) => Some(b"via_upstream".to_vec()),
            _ => Some(state.value()),
        })
    }

    fn response_body(&self, size: usize) -> Result<Vec<u8>, HostError> {
        let mut state = self.state();
        state.works("response_body")?;
        Ok(state.source(|source| source.bytes(size).to_vec()))
    }

    fn configuration(&self) -> Result<Vec<u8>, HostError> {
        let mut state = self.state();
        state.works("configuration")?;
        Ok(match state.source(|source| source.byte()) % 8 {
            7 => state.source(|source| source.bytes(200).to_vec()),
            which => DOCUMENTS[usize::from(which) % DOCUMENTS.len()].as_bytes().to_vec(),
        })
    }

    fn reply(&self, reply: &Reply) -> Result<(), HostError> {
        assert!((100..600).contains(&reply.status));
        for (name, value) in &reply.headers {
            assert!(!name.is_empty() && !name.bytes().any(|byte| byte.is_ascii_uppercase()));
            let is_safe = |byte: u8| (0x20..0x7f).contains(&byte);
            assert!(name.bytes().chain(value.bytes()).all(is_safe), "{name}: {value}");
        }
        self.state().works("reply")
    }

    fn go_on(&self) -> Result<(), HostError> {
        self.state().works("go_on")
    }

    fn enter(&self, _: u32) -> Result<(), HostError> {
        self.state().works("enter")
    }

    fn leave(&self) -> Result<(), HostError> {
        self.state().works("leave")
    }

    fn tick_every(&self, millis: u32) -> Result<(), HostError> {
        assert!(millis > 0);
        self.state().works("tick_every")
    }

    fn define_metric(&self, kind: MetricKind, name: &str) -> Result<u32, HostError> {
        let mut state = self.state();
        state.works("define_metric")?;
        assert_eq!(forged(name), None, "{name}");
        // What Envoy makes of it: a label's value has no dots at its end.
        let twin = state.metrics.keys().find(|known| shown(known) == shown(name));
        assert!(twin.is_none_or(|known| known == name), "{name} and {twin:?} are shown alike");
        let next = u32::try_from(state.metrics.len()).unwrap_or(u32::MAX);
        let (id, known) = *state.metrics.entry(name.to_owned()).or_insert((next, kind));
        assert_eq!(known, kind, "{name} has one kind");
        Ok(id)
    }

    fn add_to_metric(&self, id: u32, by: i64) -> Result<(), HostError> {
        let mut state = self.state();
        let metric = state.metrics.iter().find(|(_, (known, _))| *known == id);
        let (name, (_, kind)) = metric.expect("only metrics that were defined");
        let is_lawful = by > 0 || by < 0 && *kind == MetricKind::Gauge;
        assert!(is_lawful, "{name}: {by}");
        state.works("add_to_metric")
    }

    fn record(&self, id: u32, _: u64) -> Result<(), HostError> {
        let mut state = self.state();
        let metric = state.metrics.values().find(|(known, _)| *known == id);
        let (_, kind) = metric.expect("only metrics that were defined");
        assert_ne!(*kind, MetricKind::Counter);
        state.works("record")
    }

    fn board(&self, plugin: &[u8], seed: u64) -> Result<Option<Arc<dyn WorkerBoard>>, HostError> {
        let mut state = self.state();
        state.works("board")?;
        let shares = state.source(|source| source.byte() % 4 != 0);
        drop(state);
        let board =
            || Arc::new(SharedBoard::new(self.clone(), plugin, seed)) as Arc<dyn WorkerBoard>;
        Ok(shares.then(board))
    }

    fn log(&self, _: Level, line: &str) {
        assert!(!line.contains(['\n', '\r', '\0']), "a forged line: {line:?}");
    }

    fn logs(&self, _: Level) -> bool {
        self.state().source(|source| source.byte() % 2 == 0)
    }
}

/// The first label in a metric's name that is none of ours, or stands there twice.
fn forged(name: &str) -> Option<&str> {
    let ours = [
        "policy", "decision", "outcome", "state", "from", "to", "cause", "result", "signal",
        "scope",
    ];
    let mut seen = Vec::new();
    let mut parts: Vec<&str> = name.split("=.=").collect();
    parts.pop();
    parts.into_iter().find_map(|part| {
        let label = part.rsplit(";.;").next().unwrap_or_default();
        let is_good = ours.contains(&label) && !seen.contains(&label);
        seen.push(label);
        (!is_good).then_some(label)
    })
}

/// A metric's labels and name as Envoy shows them: without dots at the end of a value.
fn shown(name: &str) -> Vec<&str> {
    name.split(";.;").map(|part| part.trim_end_matches('.')).collect()
}

/// Shared data as Envoy has it, now and then with what another program left there.
impl SharedData for Fuzzed {
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, u32)>, HostError> {
        let mut state = self.state();
        state.works("get")?;
        if state.source(|source| source.byte() % 16 == 1) {
            let junk = state.source(|source| source.bytes(64).to_vec());
            let token = state.tokens;
            state.shared.insert(key.to_owned(), (junk, token));
            state.told = state.told.wrapping_add(1);
        }
        Ok(state.shared.get(key).cloned())
    }

    fn set(&self, key: &str, value: &[u8], token: u32) -> Result<bool, HostError> {
        let mut state = self.state();
        state.works("set")?;
        if state.source(|source| source.byte() % 16 == 1) {
            return Ok(false);
        }
        let known = state.shared.get(key).map(|(_, known)| *known);
        let is_stale = known.is_some_and(|known| token != 0 && token != known);
        if is_stale || known.is_some() && token == ONLY_IF_ABSENT {
            return Ok(false);
        }
        state.tokens += 1;
        let next = state.tokens;
        state.shared.insert(key.to_owned(), (value.to_vec(), next));
        Ok(true)
    }

    fn told(&self) -> Result<u64, HostError> {
        let mut state = self.state();
        state.works("told")?;
        Ok(state.told)
    }

    fn nanos(&self) -> Result<u64, HostError> {
        Host::now(self).map(Instant::as_nanos)
    }

    fn tell(&self, changes: u32) -> Result<(), HostError> {
        assert!(changes > 0);
        let mut state = self.state();
        state.works("tell")?;
        state.told = state.told.wrapping_add(u64::from(changes));
        Ok(())
    }
}
