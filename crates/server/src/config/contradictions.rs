//! What no single key can get wrong: settings that contradict each other, and some that are hardly meant.

use std::collections::HashSet;
use std::hash::Hash;
use std::net::SocketAddr;

use tidewire_auth::jwt::KeyFile;

use super::auth::Auth;
use super::console::ConsoleSettings;
use super::gate;
use super::namespace::NamespaceSettings;
use super::settings::{Io, Settings};
use super::tls::TlsSettings;
use crate::tls::Identities;

/// Settings that do not go together.
#[derive(Debug)]
pub(super) struct Contradiction {
    /// The keys involved. The first that somebody set is where it is put right.
    pub(super) keys: Vec<String>,
    /// What is wrong, and what would be right.
    pub(super) problem: String,
}

/// Collects them.
#[derive(Default)]
struct Found(Vec<Contradiction>);

impl Found {
    fn add(&mut self, keys: &[&str], problem: impl Into<String>) {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        self.0.push(Contradiction { keys, problem: problem.into() });
    }
}

impl Settings {
    /// What cannot be used.
    pub(super) fn contradictions(&self) -> Vec<Contradiction> {
        let mut found = Found::default();
        if self.has_listeners {
            self.contradictions_of_modes(&mut found);
            self.contradictions_of_listeners(&mut found);
        }
        self.contradictions_of_auth(&mut found);
        self.contradictions_of_console(&mut found);
        self.contradictions_of_broker(&mut found);
        self.contradictions_of_limits(&mut found);
        found.0
    }

    fn contradictions_of_modes(&self, found: &mut Found) {
        if !self.dev && !self.auth.verifies() {
            let [secret, keys, jwks, api] = Auth::VERIFIERS;
            found.add(
                &["dev", secret, keys, jwks, api],
                format!(
                    "dev mode is off, and nothing can verify credentials: set one of `{secret}`, `{keys}`, `{jwks}` \
                     and `{api}`, or stay in dev mode with --dev"
                ),
            );
        }
        if self.demo && !self.dev {
            found.add(
                &["demo", "dev"],
                "the demonstrations are for dev mode: whoever opens them brings no credentials, and may write",
            );
        }
        if !self.dev || self.dev_public {
            return;
        }
        if !self.listen.ip().is_loopback() {
            found.add(
                &["listen", "dev"],
                format!(
                    "dev mode lets everybody publish and subscribe, so it does not listen on {}; listen on \
                     127.0.0.1, say under `auth` who may come in (`tidewire init` writes a file to begin with), or say \
                     --dev-public if everybody who can reach this machine may, as of a container whose port is \
                     published to its host alone: docker run -p 127.0.0.1:{}:{} … --dev-public",
                    self.listen,
                    self.listen.port(),
                    self.listen.port(),
                ),
            );
        }
        if let Some(admin) = self.admin_listen.filter(|admin| !admin.ip().is_loopback()) {
            found.add(
                &["admin_listen", "dev"],
                format!("dev mode does not listen on {admin}; listen on 127.0.0.1, or say --dev-public"),
            );
        }
    }

    fn contradictions_of_console(&self, found: &mut Found) {
        let ConsoleSettings { password, viewer_password } = &self.console;
        if password.is_some() && password == viewer_password {
            found.add(
                &["admin.viewer_password", "admin.password"],
                "`admin.viewer_password` is `admin.password`: whoever is to look would do everything",
            );
        }
    }

    fn contradictions_of_broker(&self, found: &mut Found) {
        let broker = &self.broker;
        if !broker.bridge.is_empty() && broker.url.is_none() {
            found.add(
                &["broker.bridge", "broker.url"],
                "there is nothing to bridge to: `broker.url` names no Redis",
            );
        }
        if let Some(stray) = broker.bridge_publish.iter().find(|channel| !broker.bridge.contains(channel)) {
            found.add(
                &["broker.bridge_publish", "broker.bridge"],
                format!(
                    "`{stray}` is in `broker.bridge_publish` and not in `broker.bridge`: nobody would hear it"
                ),
            );
        }
    }

    fn contradictions_of_auth(&self, found: &mut Found) {
        for unusable in gate::unusable(self).into_iter().filter(|_| !self.dev) {
            found.add(&unusable.keys, unusable.to_string());
        }
        if let Some(kid) = repeated(self.auth.keys.iter().filter_map(KeyFile::kid)) {
            found.add(&["auth.keys"], format!("`auth.keys`: two keys have the id `{kid}`"));
        }
    }

    fn contradictions_of_listeners(&self, found: &mut Found) {
        let listen = self.listen;
        let meets = |admin: SocketAddr| {
            let everywhere = admin.ip().is_unspecified() || listen.ip().is_unspecified();
            admin.port() == listen.port() && (everywhere || admin.ip() == listen.ip()) && listen.port() != 0
        };
        if let Some(admin) = self.admin_listen.filter(|admin| meets(*admin)) {
            found.add(
                &["admin_listen", "listen"],
                format!(
                    "`admin_listen` is {admin}, where `listen` is already; give it another port, or say \
                     `same` to have one listener for both"
                ),
            );
        }
        if matches!(self.io, Io::Uring | Io::Epoll) && !cfg!(target_os = "linux") {
            found.add(&["engine.io"], "`uring` and `epoll` need Linux; `auto` takes tokio here");
        }
        self.contradictions_of_tls(found);
        if self.proxy_protocol && self.trusted_proxies.is_empty() {
            found.add(
                &["proxy_protocol"],
                "`proxy_protocol` is spoken by trusted proxies alone: name them in `trusted_proxies`",
            );
        }
    }

    fn contradictions_of_tls(&self, found: &mut Found) {
        let tls = &self.tls;
        let (certs, keys) = (tls.cert.len(), tls.key.len());
        if certs != keys {
            found.add(
                &["tls.key", "tls.cert"],
                format!("`tls.cert` names {certs} files and `tls.key` {keys}: every certificate has a key"),
            );
        } else if tls.self_signed && certs > 0 {
            found.add(
                &["tls.self_signed", "tls.cert"],
                "`tls.self_signed` makes up a certificate, and `tls.cert` names one: choose",
            );
        } else if !tls.acme.is_empty() && (certs > 0 || tls.self_signed) {
            let (other, does) =
                if certs > 0 { ("tls.cert", "names one") } else { ("tls.self_signed", "makes one up") };
            found.add(
                &["tls.acme", other],
                format!("`tls.acme` asks for a certificate, and `{other}` {does}: choose"),
            );
        } else if let Err(unreadable) = Identities::read(tls) {
            found.add(&[unreadable.key], unreadable.to_string());
        }
        if tls.is_on() && matches!(self.io, Io::Uring | Io::Epoll) {
            found.add(
                &["engine.io", "tls.cert", "tls.self_signed", "tls.acme"],
                "`uring` and `epoll` drive sockets without TLS; with it, tokio does: leave `engine.io` to `auto`",
            );
        }
    }

    fn contradictions_of_limits(&self, found: &mut Found) {
        if self.limits.ping >= self.limits.silence_max {
            found.add(
                &["limits.ping", "limits.silence_max"],
                "`limits.ping` must be shorter than `limits.silence_max`, or every WebSocket is ended",
            );
        }
        for (name, NamespaceSettings { message_bytes_max, .. }) in &self.namespaces {
            if message_bytes_max.is_some_and(|bytes| bytes > self.limits.message_bytes_max) {
                let key = format!("namespace.{name}.message_bytes_max");
                found.add(
                    &[&key, "limits.message_bytes_max"],
                    format!("`{key}` is beyond `limits.message_bytes_max`, which holds for all"),
                );
            }
        }
    }

    /// What can be used, but is hardly meant.
    pub(super) fn doubts(&self) -> Vec<Contradiction> {
        let mut found = Found::default();
        let auth = &self.auth;
        if self.dev && self.has_listeners && auth.verifies() {
            found.add(
                &["dev", "auth.hs256_secret"],
                "dev mode is on, so nobody is asked for the credentials that `auth` can verify",
            );
        }
        for unusable in gate::unusable(self).into_iter().filter(|_| self.dev) {
            found.add(&unusable.keys, format!("{unusable}; outside dev mode it is refused"));
        }
        let alone =
            [("auth.jwks_ca", auth.jwks_ca.is_some()), ("auth.jwks_allow_private", auth.jwks_allow_private)];
        for (key, _) in alone.into_iter().filter(|(_, set)| *set && auth.jwks_url.is_none()) {
            found.add(&[key], format!("`{key}` is without effect while there is no `auth.jwks_url`"));
        }
        let tls = &self.tls;
        let alone = [
            ("tls.acme_contact", !tls.acme_contact.is_empty()),
            ("tls.acme_directory", tls.acme_directory != TlsSettings::default().acme_directory),
            ("tls.acme_cache", tls.acme_cache.is_some()),
            ("tls.acme_ca", tls.acme_ca.is_some()),
        ];
        for (key, _) in alone.into_iter().filter(|(_, set)| *set && tls.acme.is_empty()) {
            found.add(&[key], format!("`{key}` is without effect while there is no `tls.acme`"));
        }
        found.0
    }
}

fn repeated<T: Copy + Eq + Hash>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let mut seen = HashSet::new();
    values.find(|value| !seen.insert(*value))
}
