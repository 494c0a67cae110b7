//! Where the processor's time goes: a profile in the format of pprof, as `go tool pprof` reads it
//! (<https://github.com/google/pprof/blob/main/proto/profile.proto>).

use pprof::{ProfilerGuard, ProfilerGuardBuilder, Report, Symbol};
use prost::Message;
use std::collections::HashMap;

/// Samples a second. No round number, so as not to march in step with what happens each 10 ms.
const FREQUENCY: i32 = 99;

/// Begins to sample this process.
///
/// # Errors
/// The system does not let it, or another profile is being taken.
pub(super) fn begin() -> Result<ProfilerGuard<'static>, String> {
    ProfilerGuardBuilder::default()
        .frequency(FREQUENCY)
        // The unwinder may not be asked from within these: they hold what it would wait for.
        .blocklist(&["libc", "libgcc", "pthread", "vdso"])
        .build()
        .map_err(|why| why.to_string())
}

/// Ends the sampling and writes the profile. It looks up symbols, which takes a while.
///
/// # Errors
/// The samples cannot be read.
pub(super) fn end(guard: &ProfilerGuard<'static>) -> Result<Vec<u8>, String> {
    guard
        .report()
        .build()
        .map(|report| profile(&report).encode_to_vec())
        .map_err(|why| why.to_string())
}

/// What of the format is written. Field numbers are those of `profile.proto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Profile {
    #[prost(message, repeated, tag = "1")]
    pub(super) sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    pub(super) sample: Vec<Stack>,
    #[prost(message, repeated, tag = "4")]
    pub(super) location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    pub(super) function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    pub(super) string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    pub(super) time_nanos: i64,
    #[prost(int64, tag = "10")]
    pub(super) duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    pub(super) period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    pub(super) period: i64,
}

/// A kind of value and its unit, as places in the table of texts.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct ValueType {
    #[prost(int64, tag = "1")]
    pub(super) kind: i64,
    #[prost(int64, tag = "2")]
    pub(super) unit: i64,
}

/// How often a stack was seen: its locations, the innermost first.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Stack {
    #[prost(uint64, repeated, tag = "1")]
    pub(super) location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    pub(super) value: Vec<i64>,
}

/// A place in the code. Several lines: what was inlined stands first.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Location {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(message, repeated, tag = "4")]
    pub(super) line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Line {
    #[prost(uint64, tag = "1")]
    pub(super) function_id: u64,
    #[prost(int64, tag = "2")]
    pub(super) line: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Function {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(int64, tag = "2")]
    pub(super) name: i64,
    #[prost(int64, tag = "4")]
    pub(super) filename: i64,
}

/// Tables of a profile, each entry once.
struct Tables {
    profile: Profile,
    texts: HashMap<String, i64>,
    functions: HashMap<(i64, i64), u64>,
    locations: HashMap<Vec<(u64, i64)>, u64>,
}

impl Tables {
    fn text(&mut self, text: &str) -> i64 {
        if let Some(place) = self.texts.get(text) {
            return *place;
        }
        let place = self.profile.string_table.len() as i64;
        self.profile.string_table.push(text.to_owned());
        self.texts.insert(text.to_owned(), place);
        place
    }

    fn function(&mut self, name: &str, file: &str) -> u64 {
        let (name, filename) = (self.text(name), self.text(file));
        let next = self.functions.len() as u64 + 1;
        *self.functions.entry((name, filename)).or_insert_with(|| {
            self.profile.function.push(Function { id: next, name, filename });
            next
        })
    }

    fn location(&mut self, lines: Vec<(u64, i64)>) -> u64 {
        let next = self.locations.len() as u64 + 1;
        *self.locations.entry(lines).or_insert_with_key(|lines| {
            let line = lines
                .iter()
                .map(|(function_id, line)| Line { function_id: *function_id, line: *line });
            self.profile.location.push(Location { id: next, line: line.collect() });
            next
        })
    }
}

fn profile(report: &Report) -> Profile {
    let mut tables = Tables {
        profile: Profile::default(),
        texts: HashMap::new(),
        functions: HashMap::new(),
        locations: HashMap::new(),
    };
    // The first text is the empty one.
    tables.text("");
    let (samples, count) = (tables.text("samples"), tables.text("count"));
    let (cpu, nanoseconds) = (tables.text("cpu"), tables.text("nanoseconds"));
    let period = 1_000_000_000 / i64::from(FREQUENCY);
    for (frames, count) in &report.data {
        let location_id = interrupted(&frames.frames).iter().map(|symbols| {
            let lines = symbols.iter().map(|symbol| {
                let function = tables.function(&symbol.name(), &symbol.filename());
                (function, i64::from(symbol.lineno()))
            });
            let lines = lines.collect();
            tables.location(lines)
        });
        let location_id = location_id.collect();
        let count = *count as i64;
        tables.profile.sample.push(Stack { location_id, value: vec![count, count * period] });
    }
    let nanos = |time: u128| i64::try_from(time).unwrap_or(i64::MAX);
    let since = report.timing.start_time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let cpu = ValueType { kind: cpu, unit: nanoseconds };
    Profile {
        sample_type: vec![ValueType { kind: samples, unit: count }, cpu],
        time_nanos: nanos(since.as_nanos()),
        duration_nanos: nanos(report.timing.duration.as_nanos()),
        period_type: Some(cpu),
        period,
        ..tables.profile
    }
}

/// The frames of the code that was interrupted. Those of the sampling itself lie within them.
fn interrupted(frames: &[Vec<Symbol>]) -> &[Vec<Symbol>] {
    let is_ours = |symbol: &Symbol| {
        let name = symbol.name();
        ["trace_unsynchronized", "perf_signal_handler", "__restore_rt"]
            .iter()
            .any(|ours| name.contains(ours))
    };
    let last = frames.iter().rposition(|symbols| symbols.iter().any(is_ours));
    frames.get(last.map_or(0, |last| last + 1)..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;
    use std::time::{Duration, Instant};

    #[inline(never)]
    fn burns_the_processor(until: Instant) -> u64 {
        let mut sum = 1_u64;
        while Instant::now() < until {
            for number in 0..10_000 {
                sum = black_box(sum.wrapping_mul(31).wrapping_add(number));
            }
        }
        sum
    }

    #[test]
    fn a_profile_names_who_burns_the_processor() {
        let guard = begin().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        // The kernel gives as many signals as there was processor time; on a busy machine that takes longer.
        let profile = loop {
            black_box(burns_the_processor(Instant::now() + Duration::from_millis(200)));
            let profile = Profile::decode(&*end(&guard).unwrap()).unwrap();
            if profile.string_table.iter().any(|text| text.contains("burns_the_processor")) {
                break profile;
            }
            assert!(Instant::now() < deadline, "{:?}", profile.string_table);
        };
        let named = |place: i64| profile.string_table[place as usize].as_str();
        assert_eq!(profile.string_table[0], "");
        let kinds = profile.sample_type.iter().map(|kind| (named(kind.kind), named(kind.unit)));
        assert_eq!(kinds.collect::<Vec<_>>(), [("samples", "count"), ("cpu", "nanoseconds")]);
        // The sampling itself is in nobody's stack.
        let is_sampling = |text: &String| text.contains("trace_unsynchronized");
        assert!(!profile.string_table.iter().any(is_sampling), "{:?}", profile.string_table);
        // Every reference leads somewhere.
        for stack in &profile.sample {
            assert!(stack.value[0] > 0 && stack.value[1] == stack.value[0] * profile.period);
            for id in &stack.location_id {
                let location = &profile.location[*id as usize - 1];
                assert_eq!(location.id, *id);
                for line in &location.line {
                    let function = &profile.function[line.function_id as usize - 1];
                    assert_eq!(function.id, line.function_id);
                    named(function.name);
                    named(function.filename);
                }
            }
        }
    }
}
