//! What was heard, and what of it is seen: states by hand, and screens as text.

mod drawn;
mod stated;

use std::collections::BTreeMap;

use serde_json::json;

use super::plain::Plain;
use super::said::{About, Figures};
use super::state::{News, State};

/// Figures of a node that is well, with this much going on.
fn figures(node: &str, published: f64, delivered: f64) -> Figures {
    serde_json::from_value(json!({
        "node": node,
        "version": "0.1.0",
        "time": 1_800_000_000_000_u64,
        "uptime_ms": 11_520_000,
        "phase": "ready",
        "connections": { "sse": 800, "ws": 400, "poll": 4, "http": 10, "all": 1214 },
        "rates": { "published": published, "delivered": delivered, "bytes_out": delivered * 160.0 },
        "queued_bytes": 0,
        "slow_consumers": 0,
        "gaps": {},
        "refusals": {},
        "channels": 120,
        "history_messages": 12_040,
        "history_bytes": 8_600_000,
        "memory_bytes": 85_983_232,
        "cpu_percent": 34.2,
        "broker": { "kind": "memory", "state": "ready" },
        "placed_us": 90,
    }))
    .unwrap()
}

fn opened(node: &str) -> News {
    News::Opened(About { node: Plain::of(node), version: Plain::of("0.1.0"), csrf: String::new() })
}

fn told(figures: Figures) -> News {
    News::Figures { figures: Box::new(figures), asked: false }
}

const NODE: &str = "127.0.0.1:8080-3fa2b1";

/// A server that has been watched for a minute: messages come in waves, somebody does not read, and somebody was refused.
fn busy() -> State {
    let mut state = State::new("127.0.0.1:8080");
    state.hear(opened(NODE), 0);
    let channels = |placed: u64| {
        let row = |name: &str, factor: u64, sse: u64| {
            json!({ "channel": name, "receivers": { "sse": sse, "ws": 2, "poll": 0 }, "messages": 1000, "bytes": 160_000,
                    "placed": placed * factor })
        };
        let rows = [row("prices", 90, 700), row("chat:42", 3, 12), row("user:alice", 0, 1)];
        News::Channels(Ok(serde_json::from_value(json!({ "channels": rows, "more": true })).unwrap()))
    };
    for second in 0..60_u64 {
        let wave = 400.0 + 300.0 * f64::sin(second as f64 / 5.0);
        let mut figures = figures(NODE, wave.round(), (wave * 100.0).round());
        figures.connections.all += second;
        figures.connections.sse += second;
        figures.queued_bytes = second * 1_024;
        figures.slow_consumers = u64::from(second > 55);
        figures.gaps = BTreeMap::from([(Plain::of("slow_consumer"), 3)]);
        figures.refusals =
            BTreeMap::from([(Plain::of("forbidden"), second / 10), (Plain::of("unauthorized"), 1)]);
        state.hear(told(figures), second * 1_000 + 100);
        if second == 58 {
            state.hear(channels(10), 58_100);
        }
        state.tick(second * 1_000 + 1_000);
    }
    state.hear(channels(20), 60_100);
    let row = |transport: &str, name: Option<&str>, backlog: u64, age_ms: u64| {
        json!({ "id": "0-1", "transport": transport, "who": { "kind": "token", "name": name }, "address": "203.0.113.9",
                "channels": ["prices", "chat:42"], "channel_count": 12, "age_ms": age_ms, "messages": 4711,
                "backlog_bytes": backlog })
    };
    let rows = [
        row("sse", Some("alice"), 0, 7_300_000),
        row("ws tidewire.v1", Some("bob\u{1b}[2J\u{9b}31m"), 262_144, 65_000),
        row("poll", None, 0, 3_000),
    ];
    let rows = json!({ "connections": rows, "matching": 1_273, "all": 1_273 });
    state.hear(News::Connections(Ok(serde_json::from_value(rows).unwrap())), 60_000);
    let row = |ago_ms: u64, status: u16, code: &str, path: &str, detail: &str| {
        json!({ "time": 1_800_000_000_900_u64 - ago_ms, "status": status, "code": code, "detail": detail,
                "client": "203.0.113.9", "origin": "https://app.example", "asked": "sse", "path": path })
    };
    let rows = [
        row(
            2_000,
            403,
            "forbidden",
            "/c/prices",
            "the grant allows to subscribe to `chat`; asked was `prices`",
        ),
        row(70_000, 401, "unauthorized", "/c/\u{1b}]0;owned\u{7}", "no credentials came"),
    ];
    let rows = json!({ "refusals": rows });
    state.hear(News::Refusals(Ok(serde_json::from_value(rows).unwrap())), 60_000);
    state
}
