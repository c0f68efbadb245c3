//! JSON read strictly: what two readers could read differently is not read at all (security rules S13, S14).

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::error::JsonFault;

/// How deeply arrays and objects may be nested, the outermost included (security rule S13).
pub(crate) const DEPTH_MAX: usize = 16;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool,
    /// A number without sign, fraction or exponent, as it was written.
    Integer(u64),
    /// Any other number. Nothing of ours has one, so its value is not kept.
    Number,
    Text(String),
    List(Vec<Json>),
    Object(Object),
}

/// The members of an object. No two have one name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Object(Vec<(String, Json)>);

impl Object {
    /// Reads a text that holds one object and nothing else.
    pub(crate) fn parse(text: &[u8]) -> Result<Object, JsonFault> {
        let fault = Cell::new(JsonFault::Malformed);
        let mut reader = serde_json::Deserializer::from_slice(text);
        let strict = Strict { levels_left: DEPTH_MAX, fault: &fault };
        let value = strict.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
        match value {
            Ok(Json::Object(object)) => Ok(object),
            Ok(_) => Err(JsonFault::NotAnObject),
            Err(_) => Err(fault.get()),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| value)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    fn has_twins(&self) -> bool {
        // Sorted rather than compared pair by pair: a header is read before its signature, and its author may be anyone.
        let mut names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    }
}

impl Json {
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    levels_left: usize,
    fault: &'a Cell<JsonFault>,
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let levels_left = self.levels_left.checked_sub(1).ok_or_else(|| self.fails(JsonFault::TooDeep))?;
        Ok(Strict { levels_left, ..self })
    }

    fn fails<E: serde::de::Error>(self, fault: JsonFault) -> E {
        self.fault.set(fault);
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Json, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Bool)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Integer(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let inside = self.deeper()?;
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(inside)? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let inside = self.deeper()?;
        let mut object = Object::default();
        while let Some(name) = map.next_key::<String>()? {
            object.0.push((name, map.next_value_seed(inside)?));
        }
        if object.has_twins() { Err(self.fails(JsonFault::Duplicate)) } else { Ok(Json::Object(object)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Object, JsonFault> {
        Object::parse(text.as_bytes())
    }

    #[test]
    fn s14_a_name_occurs_once_however_it_is_written() {
        for twice in [
            r#"{"exp":1,"exp":2}"#,
            r#"{"exp":1,"\u0065xp":2}"#,
            r#"{"a":{"b":1,"b":1}}"#,
            r#"{"a":[{"b":1,"c":2,"b":1}]}"#,
        ] {
            assert_eq!(parse(twice), Err(JsonFault::Duplicate), "{twice}");
        }
        assert!(parse(r#"{"a":{"b":1},"b":1,"A":1}"#).is_ok());
    }

    #[test]
    fn s13_nesting_has_a_bound() {
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(parse(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(parse(&nested(DEPTH_MAX + 1)), Err(JsonFault::TooDeep));
        assert_eq!(parse(&format!("{{\"a\":{}", "[".repeat(8_000))), Err(JsonFault::TooDeep));
    }

    #[test]
    fn s13_a_number_is_an_integer_only_if_it_is_written_as_one() {
        let number = |text: &str| parse(&format!("{{\"n\":{text}}}")).map(|object| object.0[0].1.clone());
        assert_eq!(number("9999"), Ok(Json::Integer(9_999)));
        assert_eq!(number("18446744073709551615"), Ok(Json::Integer(u64::MAX)));
        for other in ["-1", "-0", "1.0", "1e3", "18446744073709551616", "1E0"] {
            assert_eq!(number(other), Ok(Json::Number), "{other}");
        }
        for wrong in ["1e400", "01", "+1", "0x1", "NaN", "Infinity", ".5", "1_000", ""] {
            assert_eq!(number(wrong), Err(JsonFault::Malformed), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for (text, fault) in [
            ("", JsonFault::Malformed),
            ("{} {}", JsonFault::Malformed),
            ("{}x", JsonFault::Malformed),
            ("{'a':1}", JsonFault::Malformed),
            ("{\"a\":1,}", JsonFault::Malformed),
            ("{\"a\":\"\u{0}\"}", JsonFault::Malformed),
            (r#"{"a":"\ud800"}"#, JsonFault::Malformed),
            ("\u{feff}{}", JsonFault::Malformed),
            ("[]", JsonFault::NotAnObject),
            ("\"a\"", JsonFault::NotAnObject),
            ("null", JsonFault::NotAnObject),
        ] {
            assert_eq!(parse(text), Err(fault), "{text:?}");
        }
        assert_eq!(Object::parse(b"{\"a\":\"\xff\"}"), Err(JsonFault::Malformed));
        assert_eq!(parse(" {} \n"), Ok(Object::default()));
    }
}
