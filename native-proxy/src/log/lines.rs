//! What a line looks like.

use super::{CORE_EVENTS, Format};
use bimetal_core::event::Json;
use std::fmt::{self, Debug, Write};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::registry::LookupSpan;

/// The field that `tracing` gives an event's text.
const MESSAGE: &str = "message";

/// Writes an event as one line. As text that is its message, as JSON all its fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines(pub Format);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = level(*event.metadata().level());
        if event.metadata().target() == CORE_EVENTS {
            text(&mut writer, event)?;
        } else if self.0 == Format::Text {
            write!(writer, "{level}: ")?;
            text(&mut writer, event)?;
        } else {
            writer.write_str(r#"{"time":""#)?;
            SystemTime.format_time(&mut writer)?;
            write!(writer, r#"","level":"{level}""#)?;
            let mut fields = Fields { into: &mut writer, result: Ok(()) };
            event.record(&mut fields);
            fields.result?;
            writer.write_char('}')?;
        }
        writer.write_char('\n')
    }
}

/// The name of a level; people and tests know it as the beginning of a line.
pub(super) const fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        _ => "debug",
    }
}

fn text(writer: &mut Writer<'_>, event: &Event<'_>) -> fmt::Result {
    let mut message = Message { into: Plain(writer), result: Ok(()) };
    event.record(&mut message);
    message.result
}

/// Passes text on as what can neither end a line nor move a terminal's cursor: everything that is no
/// printable letter is escaped.
struct Plain<'a, W>(&'a mut W);

impl<W: Write> Write for Plain<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(|letter: char| !(' '..='~').contains(&letter)) {
            let (plain, other) = rest.split_at(at);
            self.0.write_str(plain)?;
            let mut letters = other.chars();
            if let Some(letter) = letters.next() {
                write!(self.0, "{}", letter.escape_debug())?;
            }
            rest = letters.as_str();
        }
        self.0.write_str(rest)
    }
}

/// Takes the message of an event and nothing else.
struct Message<'a, W> {
    into: Plain<'a, W>,
    result: fmt::Result,
}

impl<W: Write> Visit for Message<'_, W> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == MESSAGE {
            self.result = write!(self.into, "{value:?}");
        }
    }
}

/// Writes every field as a member of a JSON object.
struct Fields<'a, W> {
    into: &'a mut W,
    result: fmt::Result,
}

impl<W: Write> Fields<'_, W> {
    fn add(&mut self, field: &Field, value: impl fmt::Display) {
        if self.result.is_ok() {
            self.result = write!(self.into, ",{}:{value}", Json(field.name()));
        }
    }
}

impl<W: Write> Visit for Fields<'_, W> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, Json(&format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Json(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no number for what is none.
        if value.is_finite() {
            self.add(field, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt;

    /// Takes what is written.
    #[derive(Default)]
    struct Page(Mutex<Vec<u8>>);

    impl std::io::Write for &Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(format: Format, say: impl FnOnce()) -> String {
        let page = Arc::new(Page::default());
        let layer =
            tracing_subscriber::fmt::layer().event_format(Lines(format)).with_writer(page.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), say);
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    }

    const HOSTILE: &str = "a\"\\ä\n\u{1b}[31m\u{9b}1m\u{2028}\u{202e}";

    #[test]
    fn text_is_the_message_behind_the_level_and_cannot_break_out() {
        let lines = written(Format::Text, || {
            tracing::info!(port = 1, "listening on {}", "x");
            tracing::warn!("{HOSTILE}");
            tracing::error!("e");
            tracing::debug!("d");
        });
        let hostile = r#"a"\ä\n\u{1b}[31m\u{9b}1m\u{2028}\u{202e}"#;
        assert_eq!(
            lines,
            format!("info: listening on x\nwarning: {hostile}\nerror: e\ndebug: d\n")
        );
    }

    #[test]
    fn json_has_every_field_and_is_one_line() {
        let line = written(Format::Json, || {
            let none: Option<u64> = None;
            tracing::warn!(name = HOSTILE, count = 3_u64, share = 0.5, none, "m {}", HOSTILE);
        });
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte) || byte == b'\n'), "{line}");
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let time = value["time"].as_str().unwrap();
        assert!(time.len() == 27 && time.starts_with("20") && time.ends_with('Z'), "{time}");
        let wanted = serde_json::json!({
            "time": time, "level": "warning", "message": format!("m {HOSTILE}"),
            "name": HOSTILE, "count": 3, "share": 0.5,
        });
        assert_eq!(value, wanted);
    }

    #[test]
    fn events_of_the_core_stay_as_they_are() {
        for format in [Format::Text, Format::Json] {
            let line = written(format, || {
                tracing::debug!(target: CORE_EVENTS, "{}", r#"{"event":"decision"}"#);
            });
            assert_eq!(line, "{\"event\":\"decision\"}\n");
        }
    }
}
