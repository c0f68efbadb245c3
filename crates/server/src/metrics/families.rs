//! The table of metrics: what there is, and what it means to whoever is on call. `docs/metrics.md` is made of it.
//!
//! Names follow Prometheus' practice: base units, `_total` where a number only rises, and no label whose values somebody else
//! chooses: never a channel, a user or an address (decision 30).

/// What kind of number a family holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, and begins anew with the process.
    Counter,
    /// Rises and falls.
    Gauge,
    /// How often something took how long.
    Histogram,
}

/// Numbers of one name.
#[derive(Debug)]
pub struct Family {
    /// Its whole name, unit and `_total` included.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Tells its numbers apart, where there are several.
    pub label: Option<&'static str>,
    /// What it says.
    pub help: &'static str,
}

impl Family {
    /// Its unit, which is part of its name.
    #[must_use]
    pub fn unit(&self) -> Option<&'static str> {
        ["seconds", "bytes"].into_iter().find(|unit| self.without_total().ends_with(&format!("_{unit}")))
    }

    /// Its name without unit and `_total`.
    #[must_use]
    pub fn stem(&self) -> &'static str {
        let name = self.without_total();
        match self.unit() {
            Some(unit) => &name[..name.len() - unit.len() - 1],
            None => name,
        }
    }

    fn without_total(&self) -> &'static str {
        self.name.strip_suffix("_total").unwrap_or(self.name)
    }
}

macro_rules! families {
    ($($title:literal, $intro:literal { $($id:ident: $kind:ident $name:literal $([$label:literal])?, $help:literal;)* })*) => {
        $($(
            pub(super) const $id: &Family =
                &Family { name: $name, kind: Kind::$kind, label: families!(@label $($label)?), help: $help };
        )*)*

        /// Every family, in sections that have a title and an introduction.
        pub const SECTIONS: &[(&str, &str, &[&Family])] = &[$(($title, $intro, &[$($id,)*]),)*];
    };
    (@label) => { None };
    (@label $label:literal) => { Some($label) };
}

families! {
    "The node", "Is it there, is it healthy, and is it full?" {
        BUILD_INFO: Gauge "tidewire_build_info" ["version"],
            "Always 1; the label says which version runs.";
        READY: Gauge "tidewire_ready",
            "Whether /readyz is green: 0 while the node starts, drains, or cannot hear its broker.";
        CONNECTIONS_MAX: Gauge "tidewire_connections_max",
            "Connections that this node takes; beyond it whoever comes is refused as overloaded.";
        MEMORY_BUDGET: Gauge "tidewire_memory_budget_bytes",
            "What histories and queues may take together.";
        MEMORY_USED: Gauge "tidewire_memory_used_bytes",
            "What histories and queues take of the budget. Near it, old messages are trimmed and slow readers are ended.";
        LOOPS: Gauge "tidewire_loops" ["io"],
            "Event loops over sockets, by what they write through.";
        LOOP_TURNS: Counter "tidewire_loop_turns_total",
            "Turns of all event loops.";
        LOOP_BUSY: Counter "tidewire_loop_busy_seconds_total",
            "Time in which event loops did not wait. Its rate over the number of loops is how full they are: 1 is saturated.";
        LOOP_PANICS: Counter "tidewire_loop_panics_total",
            "Bugs that cut every connection of a loop, which then resumed. Report each with the log.";
    }
    "Clients", "Who is connected, who comes and goes, and who is turned away." {
        CONNECTIONS: Gauge "tidewire_connections" ["transport"],
            "Subscribers connected now. Over HTTP/2 each stream counts.";
        SOCKETS: Gauge "tidewire_sockets" ["holder"],
            "TCP connections open now, by who holds them: the event loops, or the API server (TLS, HTTP/2, requests, pages).";
        ACCEPTED: Counter "tidewire_connections_accepted_total",
            "TCP connections accepted.";
        CLOSED: Counter "tidewire_connections_closed_total" ["reason"],
            "Streams and WebSockets that ended: client where the client went or its connection broke, otherwise a code of docs/errors.md.";
        ADMITTED: Counter "tidewire_subscriptions_total",
            "Subscriptions let in. Many more than there are subscribers: clients come back again and again.";
        REFUSALS: Counter "tidewire_refusals_total" ["reason"],
            "Requests refused, by code of docs/errors.md. The newest ones stand in the console.";
        HANDED_OVER: Counter "tidewire_connections_handed_over_total",
            "Connections that an event loop gave to the API server, because they asked for no subscription.";
        ACCEPT_PAUSES: Counter "tidewire_accept_pauses_total",
            "Times that accepting paused, at the limit of connections or out of file descriptors. Clients wait meanwhile.";
        TIMEOUTS: Counter "tidewire_timeouts_total",
            "Connections ended by a deadline: a request that did not come, or a WebSocket that answered no ping.";
        PROTOCOL_ERRORS: Counter "tidewire_protocol_errors_total",
            "Connections ended for breaking HTTP or the WebSocket protocol.";
        HTTP2_CONNECTIONS: Gauge "tidewire_http2_connections",
            "Connections that speak HTTP/2.";
        HTTP2_STREAMS: Gauge "tidewire_http2_streams",
            "Streams open on all of them, requests included.";
    }
    "Messages", "Do messages come in, do they go out, and how long does that take?" {
        PUBLISHED: Counter "tidewire_messages_published_total",
            "Messages that publishers of this node were given a receipt for.";
        PUBLISH_FAILURES: Counter "tidewire_publish_failures_total" ["reason"],
            "Publishes that were let in and came to nothing, or to nobody knows what, by code of docs/errors.md.";
        PUBLISH: Histogram "tidewire_publish_seconds",
            "From a publish that was let in until its receipt. With Redis it holds a round trip there.";
        DELIVERED: Counter "tidewire_messages_delivered_total" ["transport"],
            "Messages queued to subscribers, history included; what a slow reader then skips or never takes is in it.";
        DELIVERY: Histogram "tidewire_delivery_seconds",
            "From when this node took a message until each subscriber of an event loop had been written to; once a message and loop. What a slow reader still has to take is not in it.";
        RECEIVED: Counter "tidewire_messages_received_total",
            "Messages received from WebSockets.";
        POSTS: Counter "tidewire_posts_total",
            "Publishes that event loops read themselves, without the API server.";
        ENCODED: Counter "tidewire_messages_encoded_total",
            "Messages encoded, once for each encoding and loop that needed one.";
        GAPS: Counter "tidewire_gaps_total" ["reason"],
            "Gaps told to subscribers. failover and store_reset mean that acknowledged messages may be lost.";
        SLOW_CONSUMERS: Counter "tidewire_slow_consumers_total",
            "Subscribers that read too slowly: they were ended, or skipped to the newest messages.";
        QUEUED: Gauge "tidewire_queued_bytes",
            "Bytes that wait for sockets, each frame once however many wait for it.";
        BARRIERS: Counter "tidewire_barriers_total",
            "Times that an event loop fell so far behind that it re-read the log.";
        WRITTEN: Counter "tidewire_written_bytes_total",
            "Bytes written to sockets and pipes.";
        WRITES: Counter "tidewire_writes_total",
            "Writes to sockets and pipes.";
        WRITE_CALLS: Counter "tidewire_write_calls_total",
            "System calls that those writes took.";
        WRITES_SHORT: Counter "tidewire_writes_short_total",
            "Writes that a socket did not take whole: its client or network is slower than what it subscribes to.";
        HEARTBEATS: Counter "tidewire_heartbeats_total",
            "Heartbeats and pings sent.";
    }
    "History", "What is kept for whoever comes back." {
        CHANNELS: Gauge "tidewire_channels",
            "Channels that this node knows.";
        HISTORY_MESSAGES: Gauge "tidewire_history_messages",
            "Messages kept on this node.";
        HISTORY_BYTES: Gauge "tidewire_history_bytes",
            "What they take, overhead included.";
        KEYS: Gauge "tidewire_idempotency_keys",
            "Idempotency keys remembered in this process. With Redis they are there instead.";
        LOG_MESSAGES: Counter "tidewire_log_messages_total",
            "The newest position of the log: messages placed by all nodes, as far as this one has heard.";
    }
    "The broker", "Is Redis there, is it heard, and how fast is it? In memory there is no more than the first two." {
        BROKER_UP: Gauge "tidewire_broker_up",
            "Whether messages come and go; always 1 in memory.";
        BROKER_STATE: Gauge "tidewire_broker_state" ["state"],
            "1 for the state that the broker is in. away: nobody can tell that it is there; deaf: it is there and this node does not hear it.";
        BROKER: Histogram "tidewire_broker_seconds",
            "Round trips of publishes to Redis.";
        BROKER_PROBE: Gauge "tidewire_broker_probe_seconds",
            "The last round trip over the link that brings messages.";
        BROKER_SILENCE: Gauge "tidewire_broker_silence_seconds",
            "For how long nothing has been heard; 0 while the link is good.";
        BROKER_RECONNECTS: Counter "tidewire_broker_reconnects_total",
            "Times that this node came into the log again.";
        BROKER_LOSSES: Counter "tidewire_broker_losses_total",
            "Times that the log may have lost what was seen here: a failover, or another store.";
        BROKER_HOLES: Counter "tidewire_broker_holes_total",
            "Messages that followed one that never came. The link is given up and what is missing is read.";
        BROKER_JUNK: Counter "tidewire_broker_junk_total",
            "What came over the link and was no message of this log: somebody else writes to these names, or a newer version does.";
        BROKER_WAITING: Gauge "tidewire_broker_waiting",
            "Subscriptions and reads that wait for the broker.";
        BROKER_READS: Counter "tidewire_broker_reads_total",
            "Reads of history in Redis.";
        BROKER_FLUSHES: Counter "tidewire_broker_flushes_total",
            "Calls that placed messages; each takes as many as are there.";
        BROKER_PLACED: Counter "tidewire_broker_placed_total",
            "Messages placed by this node.";
    }
    "The bridge", "Only where broker.bridge is set." {
        BRIDGE_UP: Gauge "tidewire_bridge_up",
            "Whether what is published in Redis is heard.";
        BRIDGE_RELAYED: Counter "tidewire_bridge_relayed_total",
            "Messages that came over the bridge.";
        BRIDGE_SENT: Counter "tidewire_bridge_sent_total",
            "Messages of clients that went over it.";
        BRIDGE_TOO_LARGE: Counter "tidewire_bridge_too_large_total",
            "Messages that were larger than limits.message_bytes_max and were lost, which subscribers were told.";
        BRIDGE_DISTURBANCES: Counter "tidewire_bridge_disturbances_total",
            "Times that the bridge was lost, each a gap for its subscribers.";
    }
    "Presence", "Where a namespace keeps it." {
        PRESENCE_MEMBERS: Gauge "tidewire_presence_members",
            "Members of this node's channels.";
        PRESENCE_UNTOLD: Counter "tidewire_presence_untold_total",
            "Joins and leaves told as missed, because an event loop had no room for them.";
        PRESENCE_JUNK: Counter "tidewire_presence_junk_total",
            "What came over the link of presence and could not be read. Only with Redis.";
    }
    "Rights", "Tickets, revocations, keys and certificates." {
        TICKETS: Counter "tidewire_tickets_issued_total",
            "Tickets issued.";
        REVOKED: Counter "tidewire_connections_revoked_total",
            "Subscribers ended because their rights were taken back.";
        REVOCATIONS: Gauge "tidewire_revocations",
            "Revocations in force. This and the next five only with Redis.";
        REVOCATIONS_MALFORMED: Counter "tidewire_revocations_malformed_total",
            "Revocations in Redis that could not be read.";
        REVOCATIONS_DROPPED: Counter "tidewire_revocations_dropped_total",
            "Revocations for which there was no room.";
        REVOCATIONS_REREAD: Counter "tidewire_revocations_reread_total",
            "Times that all revocations were read.";
        REVOCATIONS_REWRITTEN: Counter "tidewire_revocations_rewritten_total",
            "Revocations that Redis had lost and were written again.";
        REVOCATIONS_SILENCE: Gauge "tidewire_revocations_silence_seconds",
            "Since when Redis was last heard of revocations: what is revoked elsewhere meanwhile is not in force here.";
        JWKS_AGE: Gauge "tidewire_jwks_age_seconds",
            "How long ago the key set was fetched that is in use. Only with auth.jwks_url, as the next two.";
        JWKS_FETCHES: Counter "tidewire_jwks_fetches_total",
            "Fetches of the key set.";
        JWKS_FAILURES: Counter "tidewire_jwks_failures_total",
            "Those of them that failed; the last good set stays in use.";
        CERTIFICATE_EXPIRY: Gauge "tidewire_certificate_expiry_timestamp_seconds",
            "When the first of the certificates in use ends, in seconds since 1970. Only with TLS.";
    }
    "Log and traces", "What this node could not tell." {
        LOG_LINES_DROPPED: Counter "tidewire_log_lines_dropped_total",
            "Log lines that were given up, because whoever reads standard error fell behind.";
        SPANS_DROPPED: Counter "tidewire_spans_dropped_total",
            "Spans for which there was no room. Only where traces are exported, as the next.";
        SPANS_FAILED: Counter "tidewire_spans_failed_total",
            "Spans that no collector took; the log has why.";
    }
    "The process", "The names that every exporter has; Linux only." {
        PROCESS_CPU: Counter "process_cpu_seconds_total",
            "CPU time, of all threads.";
        PROCESS_MEMORY: Gauge "process_resident_memory_bytes",
            "Memory that is in RAM.";
        PROCESS_FDS: Gauge "process_open_fds",
            "File descriptors open now: one a connection, and a handful.";
        PROCESS_MAX_FDS: Gauge "process_max_fds",
            "File descriptors that may be open.";
        PROCESS_START: Gauge "process_start_time_seconds",
            "When the process began, in seconds since 1970.";
    }
}

/// The family whose name has this stem behind `tidewire_`.
pub(super) fn of(stem: &str) -> Option<&'static Family> {
    let all = SECTIONS.iter().flat_map(|(_, _, families)| families.iter());
    all.copied().find(|family| family.stem().strip_prefix("tidewire_") == Some(stem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_follow_the_practice_and_no_two_are_the_same() {
        let mut names = HashSet::new();
        for family in SECTIONS.iter().flat_map(|(_, _, families)| families.iter()) {
            let name = family.name;
            assert!(names.insert(name), "{name} twice");
            assert!(name.starts_with("tidewire_") || name.starts_with("process_"), "{name}");
            assert_eq!(name.ends_with("_total"), family.kind == Kind::Counter, "{name}");
            assert!(family.kind != Kind::Histogram || family.unit() == Some("seconds"), "{name}");
            assert!(!family.help.contains(['\n', '\\', '"']) && family.help.ends_with('.'), "{name}");
            for label in ["channel", "user", "subject", "client", "address", "origin"] {
                assert_ne!(family.label, Some(label), "{name} has a label that others choose");
            }
        }
        assert_eq!(of("broker").map(|family| family.name), Some("tidewire_broker_seconds"));
    }
}
