//! The proxy's own log: one line for each event, on standard error. Standard output stays empty: it
//! is for traces alone.
//!
//! Whoever has something to say uses the macros of `tracing`. What becomes of it is set once in a
//! process, by [`start`]; a program that embeds the proxy may take another subscriber.

mod lines;
mod stderr;

use lines::Lines;
use std::sync::Arc;
use stderr::Stderr;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What an operator wants to know: starts, reloads, changes of a breaker's state.
    #[default]
    Info,
    /// Also each request when it ends, and each event of the core as one bare line of JSON.
    Debug,
}

/// What a line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `info: listening on 127.0.0.1:8001`
    #[default]
    Text,
    /// `{"time":…,"level":"info","message":"listening on 127.0.0.1:8001"}`
    Json,
}

/// The target of the core's events: they are JSON already and are written as they are.
pub(crate) const CORE_EVENTS: &str = "bimetal_core::events";

/// Sets what becomes of this process's log. Panics are lines of it, too: the standard library's own
/// message would wait for room in a full pipe.
///
/// Where a subscriber is set already, that one stays.
pub fn start(level: Level, format: Format) {
    let level = match level {
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    // What libraries say is for their developers.
    let ours = Targets::new().with_target("bimetal_proxy", level).with_target(CORE_EVENTS, level);
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Lines(format))
        .with_writer(Arc::new(Stderr::new(format)))
        // They would go to standard error, by a macro that panics where that is closed.
        .log_internal_errors(false);
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(ours));
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("unnamed");
            tracing::error!(thread = name, "thread {name} {}", Told(panic));
        }));
    }
}

/// A panic in one line: `panicked at src/x.rs:1:2: message`.
struct Told<'a>(&'a std::panic::PanicHookInfo<'a>);

impl std::fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("panicked")?;
        if let Some(place) = self.0.location() {
            write!(f, " at {place}")?;
        }
        let payload = self.0.payload();
        let text = payload.downcast_ref::<&str>().copied();
        match text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)) {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}
