//! Where each setting came from: a file and its line, a variable, a flag, another setting, or nowhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Where a setting was made. It never holds the value, which may be a secret (security rule S49).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    File {
        /// As it was named.
        name: String,
        /// From 1.
        line: usize,
    },
    /// In an environment variable of this name.
    Variable(String),
    /// By a flag, as it was typed but for the value.
    Flag(String),
    /// In a file of its own, which another setting names.
    Content {
        /// The file.
        path: String,
        /// What names it.
        of: Box<Place>,
    },
    /// It follows from another setting; these words say how.
    Because(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { name, line } => write!(f, "{name}:{line}"),
            Place::Variable(name) => f.write_str(name),
            Place::Flag(typed) => f.write_str(typed),
            Place::Content { path, of } => write!(f, "{path}, which {of} names"),
            Place::Because(words) => write!(f, "because {words}"),
        }
    }
}

impl Place {
    /// Whether one layer may not speak of a key at both places. A flag may be repeated, and the last one counts.
    pub(super) fn rivals(&self, other: &Place) -> bool {
        let layers = (self.layer(), other.layer());
        matches!(layers, (Place::File { .. }, Place::File { .. }) | (Place::Variable(_), Place::Variable(_)))
    }

    fn layer(&self) -> &Place {
        match self {
            Place::Content { of, .. } => of.layer(),
            place => place,
        }
    }
}

/// Where every setting that is no default came from, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    made: BTreeMap<String, Place>,
    /// Keys whose value could not be read: what else is wrong with them cannot be known.
    unread: BTreeSet<String>,
}

impl Places {
    /// Where `key` was set; nothing means nowhere, and that its default holds.
    #[must_use]
    pub fn of(&self, key: &str) -> Option<&Place> {
        self.made.get(key)
    }

    /// Every key that was set, or follows from one that was.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.made.keys().map(String::as_str)
    }

    /// Whether anybody set `key`, readably or not.
    pub(super) fn knows(&self, key: &str) -> bool {
        self.made.contains_key(key)
    }

    /// Whether the value of `key` could not be read.
    pub(super) fn is_unread(&self, key: &str) -> bool {
        self.unread.contains(key)
    }

    /// The keys whose value could not be read.
    pub(super) fn unread(&self) -> impl Iterator<Item = &str> {
        self.unread.iter().map(String::as_str)
    }

    pub(super) fn note(&mut self, key: &str, place: Place) {
        self.unread.remove(key);
        self.made.insert(key.to_owned(), place);
    }

    pub(super) fn note_unread(&mut self, key: &str, place: Place) {
        self.made.insert(key.to_owned(), place);
        self.unread.insert(key.to_owned());
    }

    /// A later layer gives `key` back to its default.
    pub(super) fn forget(&mut self, key: &str) {
        self.unread.remove(key);
        self.made.remove(key);
    }
}
