//! Where settings come from, and how the layers are laid over each other.

use std::fmt;
use std::io::Read as _;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::contradictions::Contradiction;
use super::keys::{self, Found, Key};
use super::kinds::Form;
use super::namespace::NamespaceSettings;
use super::place::{Place, Places};
use super::settings::Settings;
use super::settle::settle;

/// The raw settings of one start. Later layers beat earlier ones: file, environment, flags.
#[derive(Clone, Default)]
pub struct Sources {
    /// The name and the text of the configuration file, where there is one. Relative paths in it begin in its folder.
    pub file: Option<(String, String)>,
    /// Environment variables; those that do not begin with `TIDEWIRE_` are passed over.
    pub environment: Vec<(String, String)>,
    /// Flags: the key, the value, and the flag as it was typed.
    pub flags: Vec<Flag>,
}

/// One flag of the command line.
#[derive(Clone)]
pub struct Flag {
    /// The key it sets.
    pub key: String,
    /// To what.
    pub value: String,
    /// As the user typed it, but without a value that may be a secret: for messages.
    pub typed: String,
}

/// Settings, and where they come from.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The settings.
    pub settings: Settings,
    /// Where those that are no defaults were made.
    pub places: Places,
    /// What would hold if nothing were set.
    pub defaults: Settings,
    /// What can be used, but is hardly meant.
    pub warnings: Vec<ConfigError>,
}

/// A setting that cannot be used: where it stands and what is wrong with it. Exit code 78.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file and line, the variable, or the flag; nothing where no single setting is to blame.
    pub place: Option<String>,
    /// What is wrong, and what would be right. Never holds a secret (security rule S49).
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

impl std::error::Error for ConfigError {}

// What was written may be a secret, and what is written where is of no use in a log.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

impl fmt::Debug for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Flag").field(&self.typed).finish()
    }
}

/// Environment variables of the command line's own and of programs that publish, which are no settings of a server.
const NOT_SETTINGS: [&str; 6] = [
    "TIDEWIRE_URL",
    "TIDEWIRE_TOKEN",
    "TIDEWIRE_API_KEY",
    "TIDEWIRE_CONFIG",
    "TIDEWIRE_ADMIN_PASSWORD",
    "TIDEWIRE_ADMIN_PASSWORD_FILE",
];

/// What a name ends in that holds the name of a file in place of the value.
const IN_A_FILE: &str = "_file";

/// The longest value that is read from a file of its own, in bytes.
const CONTENT_BYTES_MAX: u64 = 64 << 10;

impl Sources {
    /// Lays the layers over `defaults`.
    ///
    /// # Errors
    /// Every setting that does not exist, cannot be read, or contradicts another.
    pub fn resolve(&self, defaults: Settings) -> Result<Resolved, Vec<ConfigError>> {
        let (resolved, problems) = self.look(defaults);
        if problems.is_empty() { Ok(resolved) } else { Err(problems) }
    }

    /// The same, with what comes of the layers where some of it cannot be used: for whoever wants to say more.
    #[must_use]
    pub fn look(&self, defaults: Settings) -> (Resolved, Vec<ConfigError>) {
        let mut layers = Layers::over(defaults);
        let whole = self.file.as_ref().is_none_or(|(name, text)| layers.lay_file(name, text));
        for (name, value) in &self.environment {
            layers.lay_variable(name, value);
        }
        for flag in &self.flags {
            layers.lay(&flag.key, &flag.value, Place::Flag(flag.typed.clone()), Path::new(""));
        }
        layers.settle(whole)
    }
}

struct Layers {
    so_far: Resolved,
    problems: Vec<ConfigError>,
}

impl Layers {
    fn over(defaults: Settings) -> Layers {
        let settings = defaults.clone();
        let so_far = Resolved { settings, places: Places::default(), defaults, warnings: Vec::new() };
        Layers { so_far, problems: Vec::new() }
    }

    /// Whether the file is TOML. If it is not, what of it could be read says nothing about the rest.
    fn lay_file(&mut self, name: &str, text: &str) -> bool {
        let line = |at: usize| text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
        let place = |line| Place::File { name: name.to_owned(), line };
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            // The message alone: the rest would repeat the line, and with it whatever secret is on it.
            self.wrong(&place(line(error.span().map_or(0, |span| span.start))), error.message().to_owned());
        }
        if !errors.is_empty() {
            return false;
        }
        let mut entries = Vec::new();
        let mut tables = vec![(String::new(), document.get_ref())];
        while let Some((section, table)) = tables.pop() {
            for (key, value) in table {
                let path = format!("{section}{}", key.get_ref());
                match value.get_ref() {
                    DeValue::Table(table) => tables.push((format!("{path}."), table)),
                    value => {
                        let text = text_of(value, keys::find(&path).ok().map(|found| found.form()));
                        entries.push((line(key.span().start), path, text));
                    }
                }
            }
        }
        // Problems come in the order of the file, as its author reads it.
        entries.sort_by_key(|(line, ..)| *line);
        let folder = Path::new(name).parent().unwrap_or(Path::new(""));
        for (line, path, value) in entries {
            match value {
                Ok(value) => self.lay(&path, &value, place(line), folder),
                Err(problem) => {
                    self.so_far.places.note_unread(&path, place(line));
                    self.wrong(&place(line), format!("`{path}`: {problem}"));
                }
            }
        }
        true
    }

    fn lay_variable(&mut self, name: &str, value: &str) {
        let Some(rest) = name.strip_prefix("TIDEWIRE_").filter(|_| !NOT_SETTINGS.contains(&name)) else {
            return;
        };
        let key = rest.replace("__", ".").to_lowercase();
        let plain = key.strip_suffix(IN_A_FILE).unwrap_or(&key);
        // Other programs may keep variables of their own under our prefix. Only what looks like a key is held to be one.
        if !key.contains('.') && keys::find(plain).is_err() && keys::nearest(&key).is_none() {
            return;
        }
        self.lay(&key, value, Place::Variable(name.to_owned()), Path::new(""));
    }

    /// Lays one setting over the others.
    fn lay(&mut self, name: &str, value: &str, place: Place, folder: &Path) {
        let found = match keys::find(name) {
            Ok(found) => found,
            Err(problem) => match in_a_file(name, &place) {
                Some(key) => return self.lay_content(key, value, place, folder),
                None => return self.wrong(&place, problem),
            },
        };
        if let Some(rival) = self.so_far.places.of(name).filter(|earlier| earlier.rivals(&place)) {
            let problem = format!("`{name}` is set at {rival}, too; leave one of them out");
            return self.wrong(&place, problem);
        }
        if found.form().is_secret() && matches!(place, Place::Flag(_)) {
            let warning = format!(
                "`{name}`: what stands on a command line is seen by every user of this machine; \
                 put it into a file, and set {} to its name",
                variable(name)
            );
            self.warn(&place, warning);
        }
        let Resolved { settings, defaults, places, .. } = &mut self.so_far;
        let outcome = match found {
            Found::Node(key) => set(key, settings, defaults, value, folder),
            Found::Namespace(namespace, key) => {
                let of_namespace = settings.namespaces.entry(namespace).or_default();
                set(key, of_namespace, &NamespaceSettings::default(), value, folder)
            }
        };
        match outcome {
            Ok(Outcome::Set) => places.note(name, place),
            Ok(Outcome::Default) => places.forget(name),
            Err(problem) => {
                places.note_unread(name, place.clone());
                self.wrong(&place, format!("`{name}`: {problem}"));
            }
        }
    }

    /// Lays what stands in the file `path` over the others, as the value of `name`.
    fn lay_content(&mut self, name: &str, path: &str, place: Place, folder: &Path) {
        let path = folder.join(path);
        match content(&path) {
            Ok(value) => {
                let of = Box::new(place);
                self.lay(name, &value, Place::Content { path: path.display().to_string(), of }, folder);
            }
            Err(problem) => {
                self.so_far.places.note_unread(name, place.clone());
                self.wrong(&place, format!("`{name}`: {problem}"));
            }
        }
    }

    /// Looks at the whole. `complete` says whether every layer could be read.
    fn settle(mut self, complete: bool) -> (Resolved, Vec<ConfigError>) {
        let Resolved { settings, defaults, places, warnings } = &mut self.so_far;
        settle(settings, places, defaults);
        if complete {
            let contradictions = settings.contradictions().into_iter();
            self.problems.extend(contradictions.filter_map(|found| found.locate(places)));
            warnings.extend(settings.doubts().into_iter().filter_map(|found| found.locate(places)));
        }
        (self.so_far, self.problems)
    }

    fn wrong(&mut self, place: &Place, problem: String) {
        self.problems.push(ConfigError { place: Some(place.to_string()), problem });
    }

    fn warn(&mut self, place: &Place, problem: String) {
        self.so_far.warnings.push(ConfigError { place: Some(place.to_string()), problem });
    }
}

impl Contradiction {
    /// Names the place of the first setting involved; nothing where one of them could not be read, and what it would
    /// have said is not known.
    pub(super) fn locate(self, places: &Places) -> Option<ConfigError> {
        if self.keys.iter().any(|key| places.is_unread(key)) {
            return None;
        }
        let place = self.keys.iter().find_map(|key| places.of(key)).map(Place::to_string);
        Some(ConfigError { place, problem: self.problem })
    }
}

/// What setting a value came to.
enum Outcome {
    Set,
    /// The value is the word for its absence.
    Default,
}

fn set<S>(key: &Key<S>, to: &mut S, defaults: &S, value: &str, folder: &Path) -> Result<Outcome, String> {
    if matches!(value, "auto" | "none") && value == key.default {
        (key.take)(to, defaults);
        return Ok(Outcome::Default);
    }
    // An empty text is what a mistaken `$VARIABLE` leaves behind. It must not switch anything off, dev mode least of all.
    if value.trim().is_empty() {
        let word = if ["auto", "none"].contains(&key.default) { key.default } else { "its default" };
        return Err(format!("there is nothing in it; leave it out, or write {word}"));
    }
    (key.set)(to, value, folder).map(|()| Outcome::Set)
}

/// The key whose value stands in a file that `name` names: any key in the environment, secrets elsewhere.
fn in_a_file<'n>(name: &'n str, place: &Place) -> Option<&'n str> {
    let key = name.strip_suffix(IN_A_FILE)?;
    let secret = keys::may_hold_a_secret(key, keys::find(key).ok()?.form());
    (secret || matches!(place, Place::Variable(_))).then_some(key)
}

/// The variable that names a file with the value of `key`.
fn variable(key: &str) -> String {
    format!("TIDEWIRE_{}_FILE", key.replace('.', "__").to_uppercase())
}

/// What a file holds, without the line end that editors and `echo` put behind it.
fn content(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(CONTENT_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| format!("cannot read {shown}: {error}"))?;
    if read as u64 > CONTENT_BYTES_MAX {
        return Err(format!("{shown} holds more than {} KiB", CONTENT_BYTES_MAX >> 10));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// A value of the file as it would be written elsewhere: lists with commas, the empty one as `none`.
fn text_of(value: &DeValue<'_>, form: Option<Form>) -> Result<String, String> {
    match value {
        DeValue::String(value) => Ok(value.to_string()),
        DeValue::Integer(value) => Ok(value.to_string()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        DeValue::Array(items) if matches!(form, Some(Form::List(_)) | None) => {
            let items: Option<Vec<&str>> = items.iter().map(|item| item.get_ref().as_str()).collect();
            let items = items.ok_or("expected a list of strings")?;
            if items.iter().any(|item| item.contains(',')) {
                return Err("a comma separates the items of a list, and stands in none of them".into());
            }
            Ok(if items.is_empty() { "none".into() } else { items.join(",") })
        }
        _ if matches!(form, Some(Form::List(_))) => Err("expected a list of strings".into()),
        _ => Err("expected a string, a whole number, true or false".into()),
    }
}

#[cfg(test)]
mod tests;
