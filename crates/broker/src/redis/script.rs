//! The scripts, and calls of them by their hash: Redis is sent a script's text once.

use std::sync::LazyLock;

use redis::Cmd;

/// One of our scripts. Their texts are fixed, and what users say is only ever an argument (security rules S47, S53).
pub(super) struct Script {
    source: &'static str,
    hash: String,
    /// `EVALSHA`, or the form that no replica and no full memory refuses, for those that only read.
    call: &'static str,
}

pub(super) static PUBLISH: LazyLock<Script> =
    LazyLock::new(|| Script::new("EVALSHA", include_str!("scripts/publish.lua")));
pub(super) static HANDSHAKE: LazyLock<Script> =
    LazyLock::new(|| Script::new("EVALSHA", include_str!("scripts/handshake.lua")));
pub(super) static LEASE: LazyLock<Script> =
    LazyLock::new(|| Script::new("EVALSHA", include_str!("scripts/lease.lua")));
pub(super) static FAREWELL: LazyLock<Script> =
    LazyLock::new(|| Script::new("EVALSHA", include_str!("scripts/farewell.lua")));
pub(super) static HISTORY: LazyLock<Script> =
    LazyLock::new(|| Script::new("EVALSHA_RO", include_str!("scripts/history.lua")));
pub(super) static TAIL: LazyLock<Script> =
    LazyLock::new(|| Script::new("EVALSHA_RO", include_str!("scripts/tail.lua")));
pub(super) static PROBE: LazyLock<Script> =
    LazyLock::new(|| Script::new("EVALSHA_RO", include_str!("scripts/probe.lua")));
pub(super) static PRESENCE_RENEW: LazyLock<Script> =
    LazyLock::new(|| Script::new("EVALSHA", include_str!("scripts/presence_renew.lua")));
pub(super) static PRESENCE_WRITE: LazyLock<Script> =
    LazyLock::new(|| Script::new("EVALSHA", include_str!("scripts/presence_write.lua")));
pub(super) static PRESENCE_REAP: LazyLock<Script> =
    LazyLock::new(|| Script::new("EVALSHA", include_str!("scripts/presence_reap.lua")));
pub(super) static PRESENCE_LIST: LazyLock<Script> =
    LazyLock::new(|| Script::new("EVALSHA_RO", include_str!("scripts/presence_list.lua")));

impl Script {
    fn new(call: &'static str, source: &'static str) -> Script {
        let hash = redis::Script::new(source).get_hash().to_owned();
        Script { source, hash, call }
    }

    /// A call with `keys`; arguments are appended by the caller.
    pub(super) fn call(&self, keys: &[String]) -> Cmd {
        let mut call = redis::cmd(self.call);
        call.arg(&self.hash).arg(keys.len()).arg(keys);
        call
    }

    /// Hands Redis the text, after which it knows the hash: until it restarts or is told to forget (fault F15).
    pub(super) fn load(&self) -> Cmd {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(self.source);
        load
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f3_every_script_says_which_it_is_and_in_which_version() {
        let all = [
            ("publish 3", &PUBLISH),
            ("handshake 2", &HANDSHAKE),
            ("lease 1", &LEASE),
            ("history 2", &HISTORY),
            ("tail 1", &TAIL),
            ("probe 1", &PROBE),
            ("farewell 1", &FAREWELL),
            ("presence-renew 1", &PRESENCE_RENEW),
            ("presence-write 1", &PRESENCE_WRITE),
            ("presence-reap 1", &PRESENCE_REAP),
            ("presence-list 1", &PRESENCE_LIST),
        ];
        for (name, script) in all {
            assert!(script.source.starts_with(&format!("-- tidewire {name}\n")), "{name}");
            assert_eq!(script.hash.len(), 40);
        }
    }
}
