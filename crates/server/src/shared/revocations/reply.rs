//! What Redis answers about the stream.

use redis::Value;
use tidewire_broker::redis::Error;

use super::record::{Id, Record};

/// An entry, as far as it can be read (fault F33).
pub(super) type Entry = (Id, Option<Record>);

pub(super) fn malformed() -> Error {
    Error::Malformed { what: "revocations".into() }
}

/// Why an answer is none; nothing where it is one.
pub(super) fn refusal(answer: &Value) -> Option<Error> {
    match answer {
        Value::ServerError(error) => {
            let plain = |char: &char| char.is_ascii_alphanumeric();
            Some(Error::Refused { code: error.code().chars().filter(plain).take(32).collect() })
        }
        _ => None,
    }
}

/// The replication id of a server.
pub(super) fn replication(answer: &Value) -> Result<String, Error> {
    let text = match answer {
        Value::BulkString(text) => std::str::from_utf8(text).map_err(|_| malformed())?,
        Value::VerbatimString { text, .. } => text,
        answer => return Err(refusal(answer).unwrap_or_else(malformed)),
    };
    let id = text.lines().find_map(|line| line.strip_prefix("master_replid:"));
    id.map(ToString::to_string).ok_or_else(malformed)
}

/// The newest id that a stream ever had; none where there is no stream.
pub(super) fn newest(answer: &Value) -> Result<Id, Error> {
    let found = |(name, value): (&Value, &Value)| match name {
        Value::BulkString(name) if name == b"last-generated-id" => Id::read(value),
        Value::SimpleString(name) if name == "last-generated-id" => Id::read(value),
        _ => None,
    };
    let id = match answer {
        // "ERR no such key". What else it may be, the other commands say too.
        Value::ServerError(error) if error.code() == "ERR" => return Ok(Id::default()),
        Value::Map(fields) => fields.iter().map(|(name, value)| (name, value)).find_map(found),
        Value::Array(fields) => fields.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).find_map(found),
        answer => return Err(refusal(answer).unwrap_or_else(malformed)),
    };
    id.ok_or_else(malformed)
}

/// What a read of one stream gives.
pub(super) fn news(answer: &Value) -> Result<Vec<Entry>, Error> {
    match answer {
        Value::Nil => Ok(Vec::new()),
        Value::Map(streams) => match &streams[..] {
            [(_, found)] => entries(found),
            _ => Err(malformed()),
        },
        answer => Err(refusal(answer).unwrap_or_else(malformed)),
    }
}

/// Entries, in their order.
pub(super) fn entries(answer: &Value) -> Result<Vec<Entry>, Error> {
    let Value::Array(found) = answer else { return Err(refusal(answer).unwrap_or_else(malformed)) };
    let entry = |value: &Value| {
        let Value::Array(entry) = value else { return None };
        let (id, fields) = (Id::read(entry.first()?)?, entry.get(1)?);
        let Value::Array(fields) = fields else { return None };
        Some((id, Record::read(fields)))
    };
    found.iter().map(|value| entry(value).ok_or_else(malformed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn f33_an_entry_that_cannot_be_read_keeps_its_place() {
        let entry = |id, words: &[&str]| {
            Value::Array(vec![bulk(id), Value::Array(words.iter().map(|word| bulk(word)).collect())])
        };
        let found = Value::Array(vec![
            entry("1-0", &["junk", "x"]),
            entry("1-1", &["sub", "a", "at", "1", "until", "2"]),
        ]);
        let entries = news(&Value::Map(vec![(bulk("key"), found)])).unwrap();
        assert!(matches!(&entries[..], [(_, None), (_, Some(_))]));
        assert!(news(&Value::Nil).unwrap().is_empty());
    }

    #[test]
    fn f33_answers_that_are_none_are_errors() {
        for junk in
            [Value::Okay, Value::Int(1), Value::Map(vec![]), Value::Array(vec![Value::Nil]), bulk("x")]
        {
            assert!(news(&junk).is_err() && replication(&junk).is_err() && newest(&junk).is_err());
        }
        assert!(entries(&Value::Array(vec![Value::Array(vec![bulk("x"), Value::Nil])])).is_err());
    }

    #[test]
    fn the_newest_id_and_the_replication_id_are_found() {
        let info = Value::Map(vec![
            (bulk("length"), Value::Int(0)),
            (Value::SimpleString("last-generated-id".into()), bulk("5-1")),
        ]);
        assert_eq!(newest(&info).unwrap().to_string(), "5-1");
        let text = "# Replication\r\nrole:master\r\nmaster_replid:abc\r\n".to_string();
        assert_eq!(replication(&bulk(&text)).unwrap(), "abc");
        let verbatim = Value::VerbatimString { format: redis::VerbatimFormat::Text, text };
        assert_eq!(replication(&verbatim).unwrap(), "abc");
    }
}
