//! What follows from what was set: values that were left open, and two ways to say one thing.

use super::keys::KEYS;
use super::namespace::SlowReader;
use super::place::{Place, Places};
use super::settings::{self, Settings};

/// The keys of the section that ends dev mode.
const AUTH: &str = "auth.";

/// Fills in what nobody set. Afterwards every field of `settings` means what it says.
pub(super) fn settle(settings: &mut Settings, places: &mut Places, defaults: &Settings) {
    if !places.knows("dev")
        && let Some(key) = auth_key(settings, places, defaults)
    {
        let why = format!("`{key}` is set");
        settings.dev = false;
        places.note("dev", Place::Because(why));
    }
    if !places.knows("admin_listen") && !settings.dev {
        settings.admin_listen = Some(settings::admin_listen());
        places.note("admin_listen", Place::Because("dev mode is off".into()));
    }
    if !places.knows("drain_within") && !settings.dev {
        settings.drain_within = settings::drain_within(false);
        places.note("drain_within", Place::Because("dev mode is off".into()));
    }
    if !places.knows("auth.credentials") && settings.auth.cookie.is_some() {
        settings.auth.credentials = true;
        places.note("auth.credentials", Place::Because("`auth.cookie` is set".into()));
    }
    settle_slow_readers(settings, places);
}

/// A key under `auth` that somebody set to more than its default.
fn auth_key<'p>(settings: &Settings, places: &'p Places, defaults: &Settings) -> Option<&'p str> {
    let set = |key: &str| {
        let row = KEYS.iter().find(|row| row.name == key);
        row.is_some_and(|row| !(row.same)(settings, defaults))
    };
    let unread = places.unread().find(|key| key.starts_with(AUTH));
    unread.or_else(|| places.keys().find(|key| key.starts_with(AUTH) && set(key)))
}

/// `limits.conflate` and the namespaces' `slow_reader` say the same. Where they differ, the namespace is the more
/// particular one.
fn settle_slow_readers(settings: &mut Settings, places: &mut Places) {
    for name in std::mem::take(&mut settings.limits.conflate) {
        let namespace = settings.namespaces.entry(name.clone()).or_default();
        if namespace.slow_reader.is_none() {
            namespace.slow_reader = Some(SlowReader::Conflate);
            let key = format!("namespace.{name}.slow_reader");
            places.note(&key, Place::Because("`limits.conflate` names it".into()));
        }
    }
    // Naming a namespace without setting anything says nothing.
    settings.namespaces.retain(|_, namespace| *namespace != Default::default());
    let conflated = settings
        .namespaces
        .iter()
        .filter(|(_, namespace)| namespace.slow_reader == Some(SlowReader::Conflate));
    settings.limits.conflate = conflated.map(|(name, _)| name.clone()).collect();
    if !settings.limits.conflate.is_empty() && !places.knows("limits.conflate") {
        places.note("limits.conflate", Place::Because("a namespace conflates".into()));
    }
}
