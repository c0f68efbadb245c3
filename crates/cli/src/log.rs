//! Log lines: one event, one line, in one of two forms.
//!
//! ```text
//! text   2026-11-29T14:55:15.123456Z  INFO tidewire_server::life: ready address=127.0.0.1:8080
//! json   {"time":"2026-11-29T14:55:15.123456Z","level":"INFO","target":"tidewire_server::life","message":"ready","address":"127.0.0.1:8080"}
//! ```
//!
//! What clients wrote stands in fields. In neither form can it begin a line of its own, change a terminal or fill a disk: control
//! characters are escaped, and values and lines have bounds.
//!
//! Who serves clients does not write them: whoever reads standard error may stop, a pager or a collector that hangs, and a full
//! pipe would hold up everybody who has something to say. A thread writes, and what it has no room for is dropped and counted.

use std::fmt::{self, Write as _};

use serde_json::Value;
use tidewire_server::config::{LogFormat, Settings};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::show::{is_obeyed, plain_json};

/// Bytes of one value that are written.
const VALUE_BYTES_MAX: usize = 1 << 10;

/// Fields of one event that are written, and bytes of them all together.
const FIELDS_MAX: usize = 32;
const FIELDS_BYTES_MAX: usize = 8 << 10;

/// Lines that wait to be written. One has some three hundred bytes, and ten kibibytes at the most.
const LINES_MAX: usize = 8_192;

/// Writes lines to standard error, none of whom waits for it. Whoever holds the guard waits for what was written, for a second at
/// the most, when letting go of it.
pub(crate) fn writer() -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_MAX)
        .lossy(true)
        .thread_name("tidewire-log")
        .finish(std::io::stderr())
}

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// For people.
    Text,
    /// For machines: a JSON object each.
    Json,
}

impl Lines {
    /// What `settings` ask for. `auto` is for people on a terminal and in dev mode, and for machines otherwise.
    pub(crate) fn of(settings: &Settings, is_terminal: bool) -> Lines {
        match settings.log_format {
            LogFormat::Text => Lines::Text,
            LogFormat::Json => Lines::Json,
            LogFormat::Auto if is_terminal || settings.dev => Lines::Text,
            LogFormat::Auto => Lines::Json,
        }
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let (level, target) = (event.metadata().level(), event.metadata().target());
        match self {
            Lines::Text => {
                let is_coloured = out.has_ansi_escapes();
                text(&mut out, &time, *level, target, &fields, is_coloured)
            }
            Lines::Json => json(&mut out, &time, *level, target, &fields),
        }
    }
}

/// What an event says, in the order in which it says it.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
    bytes: usize,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        let bytes = value.as_str().map_or(8, str::len);
        if field.name() == "message" {
            self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        } else if self.others.len() < FIELDS_MAX && self.bytes + bytes <= FIELDS_BYTES_MAX {
            self.bytes += bytes;
            self.others.push((field.name(), value));
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut bounded = Bounded(String::new());
        // It stops with an error where the value is longer than is written.
        let _ = write!(bounded, "{value:?}");
        self.add(field, Value::String(bounded.0));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let mut bounded = Bounded(String::new());
        let _ = bounded.write_str(value);
        self.add(field, Value::String(bounded.0));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }
}

/// Takes [`VALUE_BYTES_MAX`] bytes and an ellipsis.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = VALUE_BYTES_MAX.saturating_sub(self.0.len());
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        self.0.push_str(&text[..end]);
        self.0.push('…');
        Err(fmt::Error)
    }
}

fn text(
    out: &mut impl fmt::Write,
    time: &str,
    level: Level,
    target: &str,
    fields: &Fields,
    is_coloured: bool,
) -> fmt::Result {
    let (dim, colour, plain) = match (is_coloured, level) {
        (false, _) => ("", "", ""),
        (true, Level::ERROR) => ("\x1b[2m", "\x1b[31m", "\x1b[0m"),
        (true, Level::WARN) => ("\x1b[2m", "\x1b[33m", "\x1b[0m"),
        (true, Level::INFO) => ("\x1b[2m", "\x1b[32m", "\x1b[0m"),
        (true, _) => ("\x1b[2m", "\x1b[34m", "\x1b[0m"),
    };
    write!(out, "{dim}{time}{plain} {colour}{level:>5}{plain} {dim}{target}:{plain} ")?;
    out.write_str(&plain_json(&fields.message))?;
    for (name, value) in &fields.others {
        write!(out, " {dim}{name}={plain}")?;
        match value {
            Value::String(value) if is_plain(value) => out.write_str(value)?,
            // Quoted as JSON, in which what is not shown is escaped.
            Value::String(value) => write!(out, "{}", quoted(value))?,
            value => write!(out, "{value}")?,
        }
    }
    writeln!(out)
}

fn json(out: &mut impl fmt::Write, time: &str, level: Level, target: &str, fields: &Fields) -> fmt::Result {
    let ours = [("time", time), ("level", level.as_str()), ("target", target), ("message", &fields.message)];
    for (at, (name, value)) in ours.into_iter().enumerate() {
        write!(out, "{}\"{name}\":{}", if at == 0 { '{' } else { ',' }, quoted(value))?;
    }
    for (name, value) in &fields.others {
        // No field may take the place of one of those above.
        let prefix = if ours.iter().any(|(ours, _)| ours == name) { "field_" } else { "" };
        write!(out, ",\"{prefix}{name}\":")?;
        match value {
            Value::String(value) => out.write_str(&quoted(value))?,
            value => write!(out, "{value}")?,
        }
    }
    out.write_str("}\n")
}

/// Whether a value needs no quotes to be told from what is around it.
fn is_plain(value: &str) -> bool {
    !value.is_empty() && value.chars().all(|char| !char.is_whitespace() && char != '"' && !is_obeyed(char))
}

/// As a JSON string, without what JSON leaves as it is and terminals obey, or whoever reads text takes for the end of a line.
fn quoted(value: &str) -> String {
    plain_json(&Value::String(value.to_owned()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-11-29T14:55:15.123456Z";

    fn fields(others: &[(&'static str, &str)]) -> Fields {
        let others = others.iter().map(|(name, value)| (*name, Value::from(*value))).collect();
        Fields { message: "refused".to_owned(), others, bytes: 0 }
    }

    fn both(others: &[(&'static str, &str)]) -> [String; 2] {
        let [mut people, mut machines] = [String::new(), String::new()];
        text(&mut people, TIME, Level::INFO, "a::b", &fields(others), false).unwrap();
        json(&mut machines, TIME, Level::INFO, "a::b", &fields(others)).unwrap();
        [people, machines]
    }

    #[test]
    fn an_event_is_a_line_in_either_form() {
        let [people, machines] = both(&[("code", "forbidden"), ("detail", "no, not you")]);
        assert_eq!(people, format!("{TIME}  INFO a::b: refused code=forbidden detail=\"no, not you\"\n"));
        let read: Value = serde_json::from_str(&machines).unwrap();
        assert_eq!(
            (&read["time"], &read["level"], &read["target"]),
            (&TIME.into(), &"INFO".into(), &"a::b".into())
        );
        assert_eq!((&read["message"], &read["detail"]), (&"refused".into(), &"no, not you".into()));
    }

    #[test]
    fn what_a_client_wrote_begins_no_line_and_moves_no_cursor() {
        for evil in [
            "a\nERROR forged",
            "a\r\n",
            "\x1b[2J\x1b[31m",
            "\u{9b}31m",
            "\0",
            "\u{7f}",
            "\u{2028}x",
            "\u{202e}x",
            "a\tb",
        ] {
            for line in both(&[("path", evil)]) {
                let (body, end) = line.split_at(line.len() - 1);
                assert_eq!(end, "\n", "{line:?}");
                assert!(!body.chars().any(is_obeyed), "{evil:?}: {line:?}");
            }
            let read: Value = serde_json::from_str(&both(&[("path", evil)])[1]).unwrap();
            assert_eq!(read["path"], evil, "a machine reads what was written");
        }
    }

    #[test]
    fn a_field_takes_no_other_ones_place() {
        let read: Value = serde_json::from_str(&both(&[("level", "forged")])[1]).unwrap();
        assert_eq!((&read["level"], &read["field_level"]), (&"INFO".into(), &"forged".into()));
    }

    #[test]
    fn a_value_has_a_bound_and_is_cut_between_characters() {
        let mut bounded = Bounded(String::new());
        assert!(bounded.write_str(&"é".repeat(1_000)).is_err());
        assert_eq!(bounded.0.len(), VALUE_BYTES_MAX + '…'.len_utf8());
    }
}
