//! The fields of a client's frame: one flat JSON object, cut into raw values.
//!
//! Cutting does not stop at a mistake, because the `id` that the answer needs may come after it.

use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer as _};
use serde_json::value::RawValue;
use tidewire_hub::reason::Reason;

use super::client::{ID_BYTES_MAX, V1Error};

/// The fields of a frame, each as raw JSON.
#[derive(Default)]
pub(super) struct Fields<'a> {
    values: [Option<&'a RawValue>; Field::ALL.len()],
    mistake: Option<Mistake>,
}

/// The name of a field. No two types of frame use one name for two things.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Type,
    Id,
    Channels,
    Channel,
    Cursor,
    Event,
    Data,
    Base64,
    Key,
    Token,
}

impl Field {
    pub(super) const ALL: [Field; 10] = [
        Field::Type,
        Field::Id,
        Field::Channels,
        Field::Channel,
        Field::Cursor,
        Field::Event,
        Field::Data,
        Field::Base64,
        Field::Key,
        Field::Token,
    ];

    /// The name on the wire.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Field::Type => "type",
            Field::Id => "id",
            Field::Channels => "channels",
            Field::Channel => "channel",
            Field::Cursor => "cursor",
            Field::Event => "event",
            Field::Data => "data",
            Field::Base64 => "base64",
            Field::Key => "key",
            Field::Token => "token",
        }
    }
}

impl<'a> Fields<'a> {
    /// Cuts `text` into its fields; what is wrong with it waits in [`Fields::take_mistake`].
    pub(super) fn cut(text: &'a str) -> Fields<'a> {
        let mut fields = Fields::default();
        let mut reader = serde_json::Deserializer::from_str(text);
        if let Err(error) = reader.deserialize_map(Cut(&mut fields)).and_then(|()| reader.end()) {
            let detail = format!("the frame is not one JSON object (column {})", error.column());
            fields.mistake = Some(Mistake::bad(detail));
        }
        fields
    }

    /// The first thing that is wrong with the object as such.
    pub(super) fn take_mistake(&mut self) -> Result<(), Mistake> {
        self.mistake.take().map_or(Ok(()), Err)
    }

    /// The tag for the answer, as it came.
    pub(super) fn id(&self) -> Result<Option<Box<str>>, Mistake> {
        match self.get(Field::Id).map(RawValue::get) {
            None => Ok(None),
            Some(id) if id.len() > ID_BYTES_MAX => {
                Err(Mistake::bad(format!("`id` has {} bytes; {ID_BYTES_MAX} is the most", id.len())))
            }
            Some(id) if id.starts_with(|first: char| matches!(first, '"' | '-' | '0'..='9')) => {
                Ok(Some(id.into()))
            }
            Some(_) => Err(Mistake::bad("`id` is neither a string nor a number")),
        }
    }

    /// A field's value; nothing where it is absent or `null`.
    fn get(&self, field: Field) -> Option<&'a RawValue> {
        self.values[field as usize].filter(|value| value.get() != "null")
    }

    /// A field's value, read as `what`.
    pub(super) fn read<T: Deserialize<'a>>(&self, field: Field, what: &str) -> Result<Option<T>, Mistake> {
        let Some(value) = self.get(field) else { return Ok(None) };
        match serde_json::from_str(value.get()) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(Mistake::bad(format!("`{}` is not {what}", field.name()))),
        }
    }

    /// A field's value as a string.
    pub(super) fn string(&self, field: Field) -> Result<Option<String>, Mistake> {
        self.read(field, "a string")
    }

    /// Refuses fields that this type of frame does not have: a misspelt intention must not pass for none.
    pub(super) fn allow(&self, kind: &str, allowed: &[Field]) -> Result<(), Mistake> {
        let foreign = |field: &Field| !matches!(field, Field::Type | Field::Id) && !allowed.contains(field);
        match Field::ALL.into_iter().filter(foreign).find(|field| self.get(*field).is_some()) {
            Some(field) => Err(Mistake::bad(format!("`{kind}` has no field `{}`", field.name()))),
            None => Ok(()),
        }
    }
}

/// Cuts an object into its fields. Goes on after a mistake, because the `id` may come later.
struct Cut<'f, 'a>(&'f mut Fields<'a>);

impl<'a> Visitor<'a> for Cut<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<FieldName>()? {
            let value = map.next_value::<&RawValue>()?;
            let mistake = match name {
                FieldName::Known(field) => match self.0.values[field as usize].replace(value) {
                    None => continue,
                    Some(_) => format!("`{}` stands there twice", field.name()),
                },
                FieldName::Unknown(start) => format!("there is no field `{start}`"),
            };
            self.0.mistake.get_or_insert_with(|| Mistake::bad(mistake));
        }
        Ok(())
    }
}

enum FieldName {
    Known(Field),
    /// How it begins: enough to find it, not enough to fill a log with.
    Unknown(String),
}

impl<'de> Deserialize<'de> for FieldName {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<FieldName, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = FieldName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<FieldName, E> {
                let known = Field::ALL.into_iter().find(|field| field.name() == name);
                Ok(known.map_or_else(|| FieldName::Unknown(beginning(name)), FieldName::Known))
            }
        }

        deserializer.deserialize_identifier(Name)
    }
}

/// What is wrong, before it is known which frame to blame.
pub(super) struct Mistake {
    reason: Reason,
    detail: String,
}

impl Mistake {
    pub(super) fn new(reason: Reason, detail: impl fmt::Display) -> Mistake {
        Mistake { reason, detail: detail.to_string() }
    }

    pub(super) fn bad(detail: impl fmt::Display) -> Mistake {
        Mistake::new(Reason::BadRequest, detail)
    }

    pub(super) fn of(self, id: Option<Box<str>>) -> V1Error {
        V1Error { id, reason: self.reason, detail: self.detail.into() }
    }
}

/// The first characters of a name that nobody knows.
pub(super) fn beginning(name: &str) -> String {
    name.chars().take(32).collect()
}
