//! A host that a test writes down and reads back.

use bimetal_core::Instant;
use bimetal_filter::board::WorkerBoard;
use bimetal_filter::headers::Headers;
use bimetal_filter::port::{Host, HostError, Level, Map, MetricKind, Property, Reply};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

/// State of the host, shared between its clones.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) nanos: u64,
    pub(crate) headers: BTreeMap<(&'static str, String), Vec<u8>>,
    pub(crate) properties: BTreeMap<&'static str, Vec<u8>>,
    pub(crate) configuration: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) reply: Option<Reply>,
    pub(crate) ticks: Option<u32>,
    /// The context that calls are those of, where the filter chose one.
    pub(crate) entered: Option<u32>,
    /// Every context that was chosen.
    pub(crate) visits: Vec<u32>,
    /// Contexts of paused requests that were let go.
    pub(crate) let_go: Vec<u32>,
    pub(crate) metrics: Vec<(MetricKind, String, i64)>,
    pub(crate) lines: Vec<(Level, String)>,
    /// Where its workers meet, if they do.
    pub(crate) board: Option<Arc<dyn WorkerBoard>>,
    /// Whether its log has no lines of debugging.
    pub(crate) is_quiet: bool,
    /// Names of calls that fail.
    pub(crate) failing: BTreeSet<&'static str>,
    /// Number of calls since the start; what one request costs.
    pub(crate) calls: u32,
}

/// A host of paper.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fake(pub(crate) Rc<RefCell<State>>);

fn map_name(map: Map) -> &'static str {
    match map {
        Map::Request => "request",
        Map::Response => "response",
        Map::Trailers => "trailers",
    }
}

impl Fake {
    pub(crate) fn set<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.borrow_mut())
    }

    /// Sets a header or trailer.
    pub(crate) fn header(&self, map: Map, name: &str, value: impl AsRef<[u8]>) {
        let value = value.as_ref().to_vec();
        self.set(|state| state.headers.insert((map_name(map), name.to_owned()), value));
    }

    pub(crate) fn property(&self, property: Property, value: impl AsRef<[u8]>) {
        let value = value.as_ref().to_vec();
        self.set(|state| state.properties.insert(property.path(), value));
    }

    /// The sum of every metric whose name contains all parts.
    ///
    /// # Panics
    /// There is none: a sum of nothing would be 0, whatever is asked for.
    pub(crate) fn metric(&self, parts: &[&str]) -> i64 {
        self.find_metric(parts).unwrap_or_else(|| {
            let state = self.0.borrow();
            let names: Vec<_> = state.metrics.iter().map(|(_, name, _)| name).collect();
            panic!("no metric with {parts:?} among {names:#?}")
        })
    }

    /// The same; none where nothing was counted under such a name yet.
    pub(crate) fn find_metric(&self, parts: &[&str]) -> Option<i64> {
        let state = self.0.borrow();
        let ours =
            state.metrics.iter().filter(|(_, name, _)| parts.iter().all(|p| name.contains(p)));
        let values: Vec<i64> = ours.map(|(_, _, value)| *value).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Events of a kind so far, as JSON.
    pub(crate) fn events(&self, kind: &str) -> Vec<serde_json::Value> {
        let state = self.0.borrow();
        let json =
            |(_, line): &(Level, String)| serde_json::from_str::<serde_json::Value>(line).ok();
        state.lines.iter().filter_map(json).filter(|event| event["event"] == kind).collect()
    }

    /// What settled calls counted as, in order.
    pub(crate) fn outcomes(&self) -> Vec<String> {
        let outcome = |event: &serde_json::Value| event["outcome"].as_str().map(str::to_owned);
        self.events("settled").iter().filter_map(outcome).collect()
    }

    fn call<T>(
        &self,
        call: &'static str,
        act: impl FnOnce(&mut State) -> T,
    ) -> Result<T, HostError> {
        let mut state = self.0.borrow_mut();
        state.calls += 1;
        if state.failing.contains(call) {
            return Err(HostError { call, status: 10 });
        }
        Ok(act(&mut state))
    }
}

impl Host for Fake {
    fn board(&self, _plugin: &[u8], _seed: u64) -> Result<Option<Arc<dyn WorkerBoard>>, HostError> {
        Ok(self.set(|state| state.board.clone()))
    }

    fn random(&self) -> Result<u64, HostError> {
        self.call("random", |_| 4)
    }

    fn now(&self) -> Result<Instant, HostError> {
        self.call("now", |state| Instant::from_nanos(state.nanos))
    }

    fn headers(&self, map: Map) -> Result<Headers, HostError> {
        self.call("headers", |state| {
            let of_map = state.headers.iter().filter(|((of, _), _)| *of == map_name(map));
            let pairs: Vec<_> = of_map.map(|((_, name), value)| (name, value)).collect();
            Headers::of(&pairs)
        })
    }

    fn set_header(&self, map: Map, name: &str, value: &str) -> Result<(), HostError> {
        let key = (map_name(map), name.to_owned());
        self.call("set_header", |state| {
            state.headers.insert(key, value.into());
        })
    }

    fn remove_header(&self, map: Map, name: &str) -> Result<(), HostError> {
        let key = (map_name(map), name.to_owned());
        self.call("remove_header", |state| {
            state.headers.remove(&key);
        })
    }

    fn property(&self, path: Property) -> Result<Option<Vec<u8>>, HostError> {
        self.call("property", |state| state.properties.get(path.path()).cloned())
    }

    fn configuration(&self) -> Result<Vec<u8>, HostError> {
        self.call("configuration", |state| state.configuration.clone())
    }

    fn response_body(&self, size: usize) -> Result<Vec<u8>, HostError> {
        self.call("response_body", |state| state.body.iter().copied().take(size).collect())
    }

    fn reply(&self, reply: &Reply) -> Result<(), HostError> {
        self.call("reply", |state| state.reply = Some(reply.clone()))
    }

    fn go_on(&self) -> Result<(), HostError> {
        self.call("go_on", |state| {
            let context = state.entered.expect("a request is let go from elsewhere");
            state.let_go.push(context);
        })
    }

    fn enter(&self, context: u32) -> Result<(), HostError> {
        self.call("enter", |state| {
            state.entered = Some(context);
            state.visits.push(context);
        })
    }

    fn leave(&self) -> Result<(), HostError> {
        self.call("leave", |state| state.entered = None)
    }

    fn tick_every(&self, millis: u32) -> Result<(), HostError> {
        self.call("tick_every", |state| state.ticks = Some(millis))
    }

    /// As Envoy: one metric a name, whoever defines it.
    fn define_metric(&self, kind: MetricKind, name: &str) -> Result<u32, HostError> {
        self.call("define_metric", |state| {
            let found = state.metrics.iter().position(|(_, known, _)| known == name);
            let id = found.unwrap_or_else(|| {
                state.metrics.push((kind, name.to_owned(), 0));
                state.metrics.len() - 1
            });
            u32::try_from(id).unwrap()
        })
    }

    /// As Envoy: adding zero is an error.
    fn add_to_metric(&self, id: u32, by: i64) -> Result<(), HostError> {
        self.call("add_to_metric", |state| {
            let (kind, name, value) = state.metrics.get_mut(id as usize).expect("a defined metric");
            assert!(by > 0 || (by < 0 && *kind == MetricKind::Gauge), "{name}: {by}");
            *value += by;
        })
    }

    fn record(&self, id: u32, value: u64) -> Result<(), HostError> {
        self.call("record", |state| {
            let (kind, name, sum) = state.metrics.get_mut(id as usize).expect("a defined metric");
            match kind {
                MetricKind::Histogram => *sum += 1,
                MetricKind::Gauge => *sum = value.try_into().unwrap(),
                MetricKind::Counter => panic!("{name} is a counter"),
            }
        })
    }

    fn log(&self, level: Level, line: &str) {
        self.set(|state| state.lines.push((level, line.to_owned())));
    }

    fn logs(&self, level: Level) -> bool {
        level != Level::Debug || !self.0.borrow().is_quiet
    }
}
