//! Answers of our scripts, read strictly: what does not fit is [`Error::Malformed`] and never a panic (fault F33).

use bytes::Bytes;
use redis::Value;
use tidewire_hub::position::{Gen, Position};

use super::envelope::decimal;
use super::error::Error;
use super::fence::{Ancestor, Fence, Replication};
use super::link::Probe;
use super::log::{Lease, Placing};

/// The parts of an answer, taken from the front.
pub(super) struct Parts(std::vec::IntoIter<Value>);

impl Parts {
    /// The parts of an array; an error reply becomes what it means.
    pub(super) fn of(value: Value) -> Result<Parts, Error> {
        match value {
            Value::Array(parts) => Ok(Parts(parts.into_iter())),
            Value::ServerError(error) => Err(Error::of_reply(&error)),
            _ => Err(Error::malformed("no array")),
        }
    }

    /// As [`Parts::of`], for answers that begin with a word. Refusals that every script may give are errors.
    fn after_word(value: Value) -> Result<(Bytes, Parts), Error> {
        let mut parts = Parts::of(value)?;
        let word = parts.bytes()?;
        match &*word {
            b"FENCED" => Err(Error::Fenced),
            b"READONLY" => Err(Error::ReadOnly),
            b"LEFT" => Err(Error::Left),
            b"TOO OLD" => Err(Error::too_old(&parts.text()?)),
            _ => Ok((word, parts)),
        }
    }

    /// What follows `wanted`, which has to be the first word.
    pub(super) fn after(value: Value, wanted: &[u8]) -> Result<Parts, Error> {
        let (word, parts) = Parts::after_word(value)?;
        if word == wanted { Ok(parts) } else { Err(Error::malformed("unknown word")) }
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes, Error> {
        match self.0.next() {
            Some(Value::BulkString(bytes)) => Ok(bytes.into()),
            _ => Err(Error::malformed("no string")),
        }
    }

    pub(super) fn text(&mut self) -> Result<String, Error> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| Error::malformed("no text"))
    }

    pub(super) fn seq(&mut self) -> Result<u64, Error> {
        decimal(&self.bytes()?).ok_or_else(|| Error::malformed("no seq"))
    }

    pub(super) fn generation(&mut self) -> Result<Gen, Error> {
        Gen::parse(&self.bytes()?).ok_or_else(|| Error::malformed("no generation"))
    }

    pub(super) fn count(&mut self) -> Result<u32, Error> {
        match self.0.next() {
            Some(Value::Int(number)) => u32::try_from(number).map_err(|_| Error::malformed("no count")),
            _ => Err(Error::malformed("no count")),
        }
    }

    pub(super) fn parts(&mut self) -> Result<Parts, Error> {
        Parts::of(self.0.next().unwrap_or(Value::Nil))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    fn replication(&mut self) -> Result<Replication, Error> {
        Replication::parse(&self.text()?).ok_or_else(|| Error::malformed("no replication id"))
    }
}

pub(super) fn fence(value: Value) -> Result<Fence, Error> {
    let mut parts = Parts::after(value, b"IN")?;
    let (generation, seq, era) = (parts.generation()?, parts.seq()?, parts.generation()?);
    let (replication, before) = (parts.replication()?, Replication::parse(&parts.text()?));
    let evicts = parts.count()? != 0;
    let (mut ancestors, mut lineage) = (parts.parts()?, Vec::new());
    while !ancestors.is_empty() {
        lineage.push(ancestor(&ancestors.bytes()?).ok_or_else(|| Error::malformed("no ancestor"))?);
    }
    Ok(Fence { generation, seq, era, replication, before, evicts, lineage })
}

fn ancestor(text: &[u8]) -> Option<Ancestor> {
    let mut words = text.split(|byte| *byte == b' ');
    let generation = Gen::parse(words.next()?)?;
    let base = decimal(words.next()?)?;
    let lossy = match words.next()? {
        b"0" => false,
        b"1" => true,
        _ => return None,
    };
    words.next().is_none().then_some(Ancestor { generation, base, lossy })
}

/// The outcomes of one call that published `count` messages.
pub(super) fn placings(value: Value, generation: Gen, count: usize) -> Vec<Result<Placing, Error>> {
    match value {
        Value::Array(answers) if matches!(answers.first(), Some(Value::BulkString(_))) => {
            let refusal = Parts::after(Value::Array(answers), b"").err();
            vec![Err(refusal.unwrap_or_else(|| Error::malformed("unknown word"))); count]
        }
        Value::Array(answers) if answers.len() == count => {
            answers.into_iter().map(|answer| placing(answer, generation)).collect()
        }
        Value::ServerError(error) => vec![Err(Error::of_reply(&error)); count],
        _ => vec![Err(Error::malformed("count")); count],
    }
}

fn placing(value: Value, generation: Gen) -> Result<Placing, Error> {
    if let Value::Int(seq) = value {
        let seq = u64::try_from(seq).map_err(|_| Error::malformed("no seq"))?;
        return Ok(Placing::Placed(Position { generation, seq }));
    }
    let (word, mut parts) = Parts::after_word(value)?;
    match &*word {
        b"SAME" => Ok(Placing::Repeated(Position { generation: parts.generation()?, seq: parts.seq()? })),
        b"REUSED" => Ok(Placing::KeyReused),
        _ => Err(Error::malformed("unknown word")),
    }
}

pub(super) fn tail(value: Value, generation: Gen) -> Result<(u64, Position), Error> {
    let mut parts = Parts::after(value, b"AT")?;
    let (head, before) = (parts.seq()?, parts.seq()?);
    Ok((before, Position { generation, seq: head }))
}

pub(super) fn lease(value: Value) -> Result<Lease, Error> {
    let mut parts = Parts::after(value, b"IN")?;
    Ok(Lease { seq: parts.seq()?, nodes: parts.count()?, awaited: parts.count()? })
}

pub(super) fn out(value: Value) -> Result<(), Error> {
    Parts::after(value, b"OUT").map(drop)
}

pub(super) fn probe(value: Value) -> Result<Probe, Error> {
    let mut parts = Parts::of(value)?;
    let (generation, seq) = (parts.bytes()?, parts.bytes()?);
    let head = match (Gen::parse(&generation), decimal(&seq)) {
        (Some(generation), Some(seq)) => Some(Position { generation, seq }),
        _ => None,
    };
    Ok(Probe { head, is_master: parts.text()? == "master", replication: parts.replication()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Value {
        Value::Array(words.iter().map(|word| Value::BulkString(word.as_bytes().to_vec())).collect())
    }

    #[test]
    fn refusals_of_scripts_are_errors() {
        for (answer, error) in [
            (words(&["FENCED"]), Error::Fenced),
            (words(&["READONLY"]), Error::ReadOnly),
            (words(&["LEFT"]), Error::Left),
            (words(&["TOO OLD", "6.2.14"]), Error::TooOld { version: "6.2.14".into() }),
        ] {
            assert_eq!(fence(answer), Err(error));
        }
    }

    #[test]
    fn f33_an_answer_that_no_script_gives_is_malformed() {
        let generation = Gen::from_random(1);
        let strange = [
            Value::Nil,
            Value::Okay,
            Value::Int(-1),
            words(&[]),
            words(&["IN"]),
            words(&["IN", "0", "1"]),
            words(&["SAME", "a", "x"]),
            Value::Array(vec![Value::Nil]),
        ];
        for value in strange {
            for outcome in [
                fence(value.clone()).err(),
                placing(value.clone(), generation).err(),
                tail(value.clone(), generation).err(),
                lease(value.clone()).err(),
                probe(value.clone()).err(),
            ] {
                assert!(matches!(outcome, Some(Error::Malformed { .. })), "{value:?}: {outcome:?}");
            }
        }
    }

    #[test]
    fn every_message_of_a_call_has_an_outcome_of_its_own_or_all_have_one() {
        let generation = Gen::from_random(1);
        let read = |value, count| placings(value, generation, count);
        let placed = Ok(Placing::Placed(Position { generation, seq: 7 }));
        let answers = Value::Array(vec![Value::Int(7), words(&["REUSED"]), words(&["FENCED"])]);
        assert_eq!(read(answers.clone(), 3), [placed, Ok(Placing::KeyReused), Err(Error::Fenced)]);
        assert_eq!(read(words(&["FENCED"]), 2), vec![Err(Error::Fenced); 2]);
        let strange =
            [answers, Value::Nil, Value::Int(7), words(&["IN"]), words(&[""]), Value::Array(vec![])];
        for value in strange {
            let outcomes = read(value.clone(), 2);
            let malformed = |outcome: &_| matches!(outcome, Err(Error::Malformed { .. }));
            assert!(outcomes.len() == 2 && outcomes.iter().all(malformed), "{value:?}: {outcomes:?}");
        }
    }

    #[test]
    fn an_ancestor_is_read_strictly() {
        let ancestors = [&b"a 5 0"[..], b"a 5 1"].map(|text| ancestor(text).map(|one| (one.base, one.lossy)));
        assert_eq!(ancestors, [Some((5, false)), Some((5, true))]);
        for bad in [&b""[..], b"a", b"a 5", b"a 5 2", b"a 5 0 0", b"A 5 0", b"a 05 0"] {
            assert_eq!(ancestor(bad), None);
        }
    }
}
