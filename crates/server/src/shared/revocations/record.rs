//! A revocation as it lies in Redis: an entry of a stream.

use redis::{Cmd, Value};
use tidewire_hub::channel::Channel;
use tidewire_hub::revocation::Revoked;

/// What was taken back, and until when that is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) what: Revoked,
    /// In seconds since 1970.
    pub(super) at_s: u64,
    /// In milliseconds since 1970: another node's steady clock means nothing here.
    pub(super) until_ms: u64,
}

/// The longest name that is read, in bytes: as long as the API takes.
const NAME_BYTES_MAX: usize = 256;

impl Record {
    /// Whether whoever knows this record learns nothing from `other`, which is about the same.
    pub(super) fn covers(&self, other: &Record) -> bool {
        self.at_s >= other.at_s && self.until_ms >= other.until_ms
    }

    /// Writes its fields behind a command that adds an entry.
    pub(super) fn write(&self, command: &mut Cmd) {
        let (kind, name) = match &self.what {
            Revoked::Subject(subject) => ("sub", &**subject),
            Revoked::Token(id) => ("jti", &**id),
            Revoked::Channel(channel) => ("channel", channel.as_str()),
        };
        command.arg(&[kind, name]).arg("at").arg(self.at_s).arg("until").arg(self.until_ms);
    }

    /// Reads the fields of an entry; nothing where it is none of ours (fault F33). Fields that this version does not know
    /// are passed over: without them rather too much is taken back than too little.
    pub(super) fn read(fields: &[Value]) -> Option<Record> {
        let (mut what, mut at_s, mut until_ms) = (None, None, None);
        for pair in fields.chunks(2) {
            let [Value::BulkString(name), Value::BulkString(value)] = pair else { return None };
            let value = std::str::from_utf8(value).ok()?;
            let named = || (1..=NAME_BYTES_MAX).contains(&value.len()).then(|| value.into());
            match &name[..] {
                b"sub" => what = Some(Revoked::Subject(named()?)),
                b"jti" => what = Some(Revoked::Token(named()?)),
                b"channel" => what = Some(Revoked::Channel(Channel::parse(value).ok()?)),
                b"at" => at_s = Some(value.parse().ok()?),
                b"until" => until_ms = Some(value.parse().ok()?),
                _ => {}
            }
        }
        Some(Record { what: what?, at_s: at_s?, until_ms: until_ms? })
    }
}

/// Where an entry stands in its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id {
    ms: u64,
    seq: u64,
}

impl Id {
    pub(super) fn read(value: &Value) -> Option<Id> {
        let Value::BulkString(text) = value else { return None };
        let (ms, seq) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(Id { ms: ms.parse().ok()?, seq: seq.parse().ok()? })
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

#[cfg(test)]
pub(super) fn id(seq: u64) -> Id {
    Id { ms: 1, seq }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(words: &[&str]) -> Vec<Value> {
        words.iter().map(|word| Value::BulkString(word.as_bytes().to_vec())).collect()
    }

    #[test]
    fn s26_what_is_written_is_read() {
        let channel = Channel::parse("orders:42").unwrap();
        for what in
            [Revoked::Subject("älice".into()), Revoked::Token("t 1".into()), Revoked::Channel(channel)]
        {
            let record = Record { what, at_s: 7, until_ms: u64::MAX };
            let mut command = Cmd::new();
            record.write(&mut command);
            let written: Vec<Value> = command
                .args_iter()
                .map(|arg| match arg {
                    redis::Arg::Simple(bytes) => Value::BulkString(bytes.to_vec()),
                    _ => panic!("a word"),
                })
                .collect();
            assert_eq!(Record::read(&written), Some(record));
        }
    }

    #[test]
    fn f33_what_is_none_of_ours_is_nothing() {
        let good = ["sub", "a", "at", "1", "until", "2"];
        assert!(Record::read(&fields(&good)).is_some());
        assert!(Record::read(&fields(&[&good[..], &["new", "field"]].concat())).is_some());
        let long = "x".repeat(257);
        for bad in [
            &[][..],
            &["sub"],
            &["sub", "a", "at", "1"],
            &["sub", "", "at", "1", "until", "2"],
            &["sub", &long, "at", "1", "until", "2"],
            &["sub", "a", "at", "-1", "until", "2"],
            &["sub", "a", "at", "1", "until", "99999999999999999999"],
            &["channel", "a b", "at", "1", "until", "2"],
            &["room", "a", "at", "1", "until", "2"],
        ] {
            assert_eq!(Record::read(&fields(bad)), None, "{bad:?}");
        }
        let latin = Value::BulkString(vec![0xe9]);
        assert_eq!(Record::read(&[fields(&["sub"]), vec![latin], fields(&good[2..])].concat()), None);
    }
}
