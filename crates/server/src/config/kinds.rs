//! Kinds of values: how each is written, read and shown again. A row of the table names one.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tidewire_hub::channel::Channel;

use super::settings::{Io, LogFormat};
use super::units;

/// How values of one kind are written.
pub trait Kind {
    /// What it is once it was read.
    type Value;

    /// How it is written, for the reference and the schema.
    const FORM: Form;

    /// Reads what was written; relative paths begin in `folder`.
    ///
    /// # Errors
    /// What is wrong and what would be right. Never holds a secret (security rule S49).
    fn read(text: &str, folder: &Path) -> Result<Self::Value, String>;

    /// Shows it as it could be written in the file: a string, a list of strings, a whole number or a truth value.
    fn show(value: &Self::Value) -> Value;

    /// How much it allows, for kinds that are bounds: more is looser.
    fn weight(_: &Self::Value) -> Option<u128> {
        None
    }
}

/// How a kind of value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `true` or `false`.
    Boolean,
    /// A whole number between two bounds.
    Count(u64, u64),
    /// `500ms`, `15s`, `5m`, `1h`, or whole seconds.
    Duration,
    /// `64KiB`, `1MiB`, or whole bytes.
    Size,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One of what the words say.
    Text(&'static str),
    /// A list of what the words say.
    List(&'static str),
    /// What nobody else may know.
    Secret,
}

impl Form {
    /// Whether values of it are masked wherever they are shown.
    #[must_use]
    pub fn is_secret(self) -> bool {
        self == Form::Secret
    }

    /// Its name in the reference.
    #[must_use]
    pub fn word(self) -> String {
        match self {
            Form::Boolean => "true or false".into(),
            Form::Count(0, _) => "number".into(),
            Form::Count(least, most) => format!("number, {least} to {most}"),
            Form::Duration => "duration".into(),
            Form::Size => "size".into(),
            Form::Choice(words) => words.join(", "),
            Form::Text(what) => what.into(),
            Form::List(what) => format!("list of {what}"),
            Form::Secret => "secret".into(),
        }
    }
}

/// In `limits`, 0 switches a bound off. So much is never reached, and leaves room to add to it.
pub(super) const NO_BOUND: usize = usize::MAX / 8;
pub(super) const NO_BOUND_32: u32 = u32::MAX / 8;
/// A year: beyond any connection's life, and small enough for every clock.
pub(super) const NEVER: Duration = Duration::from_secs(365 * 86_400);

/// The parts of a list, which are separated by commas or line ends.
pub(super) fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', '\n']).map(str::trim).filter(|item| !item.is_empty())
}

pub(super) fn list<T: ToString>(values: impl IntoIterator<Item = T>) -> Value {
    values.into_iter().map(|value| Value::String(value.to_string())).collect()
}

/// `true` or `false`.
pub struct Boolean;

impl Kind for Boolean {
    type Value = bool;
    const FORM: Form = Form::Boolean;

    fn read(text: &str, _: &Path) -> Result<bool, String> {
        text.parse().map_err(|_| format!("`{text}` is neither true nor false"))
    }

    fn show(value: &bool) -> Value {
        (*value).into()
    }
}

/// An address and a port.
pub struct Address;

impl Kind for Address {
    type Value = SocketAddr;
    const FORM: Form = Form::Text("address and port");

    fn read(text: &str, _: &Path) -> Result<SocketAddr, String> {
        let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let numeric = numeric.as_deref().unwrap_or(text);
        numeric
            .parse()
            .map_err(|_| format!("`{text}` is not an address and a port; write 127.0.0.1:8080 or [::1]:8080"))
    }

    fn show(value: &SocketAddr) -> Value {
        value.to_string().into()
    }
}

/// An address of its own, or `same`: that of the public listener.
pub struct OtherAddress;

impl Kind for OtherAddress {
    type Value = Option<SocketAddr>;
    const FORM: Form = Form::Text("address and port, or `same`");

    fn read(text: &str, folder: &Path) -> Result<Option<SocketAddr>, String> {
        match text {
            "same" => Ok(None),
            _ => Address::read(text, folder).map(Some).map_err(|wrong| format!("{wrong}, or same")),
        }
    }

    fn show(value: &Option<SocketAddr>) -> Value {
        value.map_or_else(|| "same".into(), |address| Address::show(&address))
    }
}

/// Any text.
pub struct Text;

impl Kind for Text {
    type Value = String;
    const FORM: Form = Form::Text("text");

    fn read(text: &str, _: &Path) -> Result<String, String> {
        Ok(text.to_owned())
    }

    fn show(value: &String) -> Value {
        value.as_str().into()
    }
}

/// The name of a file.
pub struct File;

impl Kind for File {
    type Value = PathBuf;
    const FORM: Form = Form::Text("path");

    fn read(text: &str, folder: &Path) -> Result<PathBuf, String> {
        Ok(folder.join(text))
    }

    fn show(value: &PathBuf) -> Value {
        value.display().to_string().into()
    }
}

/// A value that may be missing, which is shown as `none`.
pub struct Maybe<K>(PhantomData<K>);

impl<K: Kind> Kind for Maybe<K> {
    type Value = Option<K::Value>;
    const FORM: Form = K::FORM;

    fn read(text: &str, folder: &Path) -> Result<Self::Value, String> {
        K::read(text, folder).map(Some)
    }

    fn show(value: &Self::Value) -> Value {
        value.as_ref().map_or_else(|| "none".into(), K::show)
    }
}

/// A value that may be missing because another one stands for it, which is shown as `auto`.
pub struct Inherited<K>(PhantomData<K>);

impl<K: Kind> Kind for Inherited<K> {
    type Value = Option<K::Value>;
    const FORM: Form = K::FORM;

    fn read(text: &str, folder: &Path) -> Result<Self::Value, String> {
        K::read(text, folder).map(Some)
    }

    fn show(value: &Self::Value) -> Value {
        value.as_ref().map_or_else(|| "auto".into(), K::show)
    }

    fn weight(value: &Self::Value) -> Option<u128> {
        value.as_ref().and_then(K::weight)
    }
}

/// A duration whose 0 means no time at all.
pub struct Plain;

impl Kind for Plain {
    type Value = Duration;
    const FORM: Form = Form::Duration;

    fn read(text: &str, _: &Path) -> Result<Duration, String> {
        units::duration(text)
    }

    fn show(value: &Duration) -> Value {
        units::show_duration(*value).into()
    }

    fn weight(value: &Duration) -> Option<u128> {
        Some(value.as_millis())
    }
}

/// A duration whose 0 switches off what it bounds.
pub struct Deadline;

impl Kind for Deadline {
    type Value = Duration;
    const FORM: Form = Form::Duration;

    fn read(text: &str, _: &Path) -> Result<Duration, String> {
        units::duration(text).map(|duration| if duration.is_zero() { NEVER } else { duration })
    }

    fn show(value: &Duration) -> Value {
        if *value == NEVER { "0s".into() } else { units::show_duration(*value).into() }
    }

    fn weight(value: &Duration) -> Option<u128> {
        Some(value.as_millis())
    }
}

/// Bytes, whose 0 switches off what they bound.
pub struct Size;

impl Kind for Size {
    type Value = usize;
    const FORM: Form = Form::Size;

    fn read(text: &str, _: &Path) -> Result<usize, String> {
        units::size(text).map(|size| if size == 0 { NO_BOUND } else { size })
    }

    fn show(value: &usize) -> Value {
        units::show_size(if *value == NO_BOUND { 0 } else { *value }).into()
    }

    fn weight(value: &usize) -> Option<u128> {
        Some(*value as u128)
    }
}

/// A number whose 0 means none.
pub struct Count;

impl Kind for Count {
    type Value = usize;
    const FORM: Form = Form::Count(0, NO_BOUND as u64);

    fn read(text: &str, _: &Path) -> Result<usize, String> {
        text.parse().map_err(|_| format!("`{text}` is not a whole number"))
    }

    fn show(value: &usize) -> Value {
        (*value).into()
    }

    fn weight(value: &usize) -> Option<u128> {
        Some(*value as u128)
    }
}

/// A number whose 0 switches off what it bounds.
pub struct Bound;

impl Kind for Bound {
    type Value = usize;
    const FORM: Form = Count::FORM;

    fn read(text: &str, folder: &Path) -> Result<usize, String> {
        Count::read(text, folder).map(|count| if count == 0 { NO_BOUND } else { count })
    }

    fn show(value: &usize) -> Value {
        (if *value == NO_BOUND { 0 } else { *value }).into()
    }

    fn weight(value: &usize) -> Option<u128> {
        Some(*value as u128)
    }
}

/// A rate or small number whose 0 switches off what it bounds.
pub struct Rate;

impl Kind for Rate {
    type Value = u32;
    const FORM: Form = Form::Count(0, u32::MAX as u64);

    fn read(text: &str, _: &Path) -> Result<u32, String> {
        let count: u32 = text.parse().map_err(|_| format!("`{text}` is not a whole number below 2^32"))?;
        Ok(if count == 0 { NO_BOUND_32 } else { count })
    }

    fn show(value: &u32) -> Value {
        (if *value == NO_BOUND_32 { 0 } else { *value }).into()
    }

    fn weight(value: &u32) -> Option<u128> {
        Some((*value).into())
    }
}

/// Event loops.
pub struct Shards;

impl Kind for Shards {
    type Value = usize;
    const FORM: Form = Form::Count(1, 64);

    fn read(text: &str, _: &Path) -> Result<usize, String> {
        match text.parse() {
            Ok(shards @ 1..=64) => Ok(shards),
            _ => Err(format!("`{text}` is not a number from 1 to 64")),
        }
    }

    fn show(value: &usize) -> Value {
        (*value).into()
    }
}

impl Kind for LogFormat {
    type Value = LogFormat;
    const FORM: Form = Form::Choice(&["auto", "json", "text"]);

    fn read(text: &str, _: &Path) -> Result<LogFormat, String> {
        match text {
            "auto" => Ok(LogFormat::Auto),
            "json" => Ok(LogFormat::Json),
            "text" => Ok(LogFormat::Text),
            _ => Err(format!("`{text}` is not one of auto, json, text")),
        }
    }

    fn show(value: &LogFormat) -> Value {
        match value {
            LogFormat::Auto => "auto",
            LogFormat::Json => "json",
            LogFormat::Text => "text",
        }
        .into()
    }
}

impl Kind for Io {
    type Value = Io;
    const FORM: Form = Form::Choice(&["auto", "uring", "epoll", "tokio"]);

    fn read(text: &str, _: &Path) -> Result<Io, String> {
        match text {
            "auto" => Ok(Io::Auto),
            "uring" => Ok(Io::Uring),
            "epoll" => Ok(Io::Epoll),
            "tokio" => Ok(Io::Tokio),
            _ => Err(format!("`{text}` is not one of auto, uring, epoll, tokio")),
        }
    }

    fn show(value: &Io) -> Value {
        match value {
            Io::Auto => "auto",
            Io::Uring => "uring",
            Io::Epoll => "epoll",
            Io::Tokio => "tokio",
        }
        .into()
    }
}

/// Namespaces.
pub struct Namespaces;

impl Kind for Namespaces {
    type Value = Vec<Box<str>>;
    const FORM: Form = Form::List("namespaces");

    fn read(text: &str, _: &Path) -> Result<Vec<Box<str>>, String> {
        items(text).map(namespace).collect()
    }

    fn show(value: &Vec<Box<str>>) -> Value {
        list(value)
    }
}

/// Reads the name of a namespace.
pub(super) fn namespace(name: &str) -> Result<Box<str>, String> {
    match Channel::parse(name) {
        Ok(channel) if channel.namespace() == channel.as_str() => Ok(channel.as_str().into()),
        _ => Err(format!("`{name}` is not a namespace: the part of a channel name before its first `:`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round<K: Kind>(text: &str) -> Value {
        K::show(&K::read(text, Path::new("")).unwrap())
    }

    #[test]
    fn what_is_shown_is_what_was_meant() {
        assert_eq!(round::<Deadline>("90"), "90s");
        assert_eq!(round::<Deadline>("0"), "0s");
        assert_eq!(round::<Plain>("0"), "0s");
        assert_eq!(round::<Size>("65536"), "64KiB");
        assert_eq!(round::<Size>("0"), "0");
        assert_eq!(round::<Bound>("0"), 0);
        assert_eq!(round::<Rate>("0"), 0);
        assert_eq!(round::<OtherAddress>("same"), "same");
        assert_eq!(round::<OtherAddress>("localhost:1"), "127.0.0.1:1");
        assert_eq!(Maybe::<Text>::show(&None), "none");
        assert_eq!(Inherited::<Bound>::show(&None), "auto");
        assert_eq!(round::<Namespaces>("a, b,\nc\n"), serde_json::json!(["a", "b", "c"]));
    }

    #[test]
    fn zero_switches_a_bound_off_and_off_is_the_loosest() {
        let weight = |text| Bound::weight(&Bound::read(text, Path::new("")).unwrap());
        assert!(weight("0") > weight("1000000000"));
        assert_eq!(Deadline::read("0", Path::new("")), Ok(NEVER));
        assert_eq!(Rate::read("0", Path::new("")), Ok(NO_BOUND_32));
    }

    #[test]
    fn a_relative_path_begins_where_it_was_written() {
        assert_eq!(File::read("a.pem", Path::new("/etc/tidewire")), Ok("/etc/tidewire/a.pem".into()));
        assert_eq!(File::read("/b.pem", Path::new("/etc/tidewire")), Ok("/b.pem".into()));
        assert_eq!(File::read("a.pem", Path::new("")), Ok("a.pem".into()));
    }
}
