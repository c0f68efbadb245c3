//! Dev mode with channels that are kept for tokens: who is let in as whom.

#![allow(clippy::unwrap_used)] // Helpers are not test functions, yet a panic is their report too.

mod rig;

use std::collections::HashMap;
use std::sync::{Arc, mpsc};

use rig::{POLL, SSE, START, StubVerifier, WS, asked, channel, claims, scope};
use tidewire_auth::vault::MemoryVault;
use tidewire_auth::{Claims, DevGate, GuardedGate, Tickets};
use tidewire_hub::broker::Now;
use tidewire_hub::grant::{Action, Asked, Gate, Grant, Holder, TicketOrder, Tickets as _};
use tidewire_hub::reason::Reason;

const TOKEN: &str = "Bearer token-of-alice";

/// A gate that keeps `user:*` and `desk:*` for tokens, and knows one of Alice, who may hear `desk:a`.
fn gate() -> GuardedGate {
    let alice = Claims { subscribe: scope(&["desk:a"]), ..claims("alice", START.wall_ms / 1_000 + 60) };
    let tokens = HashMap::from([("token-of-alice".to_owned(), alice)]);
    let verifier = StubVerifier { tokens: tokens.into(), ..StubVerifier::default() };
    let kept = scope(&["user:*", "desk:*"]);
    let tickets = Tickets::new(Arc::new(MemoryVault::default())).unwrap();
    GuardedGate::new(DevGate::new(false), Arc::new(verifier), kept, tickets, Arc::default()).unwrap()
}

fn local(action: Action) -> Asked<'static> {
    Asked { host: Some("127.0.0.1:8080"), client: [127, 0, 0, 1].into(), ..asked(action) }
}

fn enter(gate: &GuardedGate, asked: &Asked<'_>, now: Now) -> Result<Arc<Grant>, Reason> {
    let (sender, answer) = mpsc::channel();
    gate.admit(asked, now, Box::new(move |outcome| sender.send(outcome).unwrap()));
    answer.try_recv().expect("answered at once").map(|entry| entry.grant).map_err(|denied| denied.reason)
}

fn buy(gate: &GuardedGate, grant: Arc<Grant>) -> String {
    let (sender, answer) = mpsc::channel();
    let order =
        TicketOrder { grant, origin: None, client: [127, 0, 0, 1].into(), channels: None, ttl_s: None };
    gate.sell(order, START, Box::new(move |outcome| sender.send(outcome).unwrap()));
    answer.try_recv().unwrap().unwrap().secret.into()
}

#[test]
fn whoever_shows_nothing_is_a_developer_who_does_not_reach_what_is_kept_for_tokens() {
    let gate = gate();
    for action in [SSE, WS, POLL, Action::Publish, Action::Control, Action::Presence, Action::Ticket] {
        for authorization in [None, Some("Bearer tw_anything"), Some("Basic dTpw")] {
            let grant = enter(&gate, &Asked { authorization, ..local(action) }, START).unwrap();
            assert_eq!((&grant.holder, grant.admin), (&Holder::Developer, true));
            assert!(grant.may_subscribe(&channel("prices")) && grant.may_publish(&channel("prices")));
            for kept in ["user:alice", "user:alice:inbox", "desk:a"].map(channel) {
                assert!(!grant.may_subscribe(&kept) && !grant.may_publish(&kept), "{kept}");
                assert!(!grant.may_read_history(&kept) && !grant.may_see_presence(&kept), "{kept}");
            }
        }
    }
}

#[test]
fn whoever_shows_a_token_may_do_what_it_says_and_nothing_else() {
    let gate = gate();
    for action in [SSE, WS, POLL, Action::Publish, Action::Presence, Action::Ticket] {
        let grant = enter(&gate, &Asked { authorization: Some(TOKEN), ..local(action) }, START).unwrap();
        assert!(matches!(&grant.holder, Holder::Token(token) if &*token.subject == "alice"));
        assert!(grant.may_subscribe(&channel("desk:a")) && grant.may_subscribe(&channel("user:alice")));
        assert!(!["desk:b", "user:bob", "prices"].map(channel).iter().any(|name| grant.may_subscribe(name)));
    }
    let control = Asked { authorization: Some(TOKEN), ..local(Action::Control) };
    assert_eq!(enter(&gate, &control, START), Err(Reason::Forbidden), "no token reaches the control API");
}

#[test]
fn s17_a_token_that_does_not_count_is_no_developer() {
    let gate = gate();
    for wrong in ["Bearer token-of-mallory", "Bearer x"] {
        let asked = Asked { authorization: Some(wrong), ..local(SSE) };
        assert_eq!(enter(&gate, &asked, START), Err(Reason::Unauthorized), "{wrong}");
    }
}

#[test]
fn s20_a_ticket_opens_once_what_its_token_may_hear() {
    let gate = gate();
    let buyer = Asked { authorization: Some(TOKEN), ..local(Action::Ticket) };
    let ticket = buy(&gate, enter(&gate, &buyer, START).unwrap());
    let visit = Asked { ticket: Some(&ticket), ..local(WS) };
    let grant = enter(&gate, &visit, START).unwrap();
    assert!(grant.may_subscribe(&channel("desk:a")) && !grant.may_subscribe(&channel("desk:b")));
    assert_eq!(enter(&gate, &visit, START), Err(Reason::Unauthorized));
}

#[test]
fn a_ticket_of_nobody_opens_what_anybody_may_hear() {
    let gate = gate();
    let ticket = buy(&gate, enter(&gate, &local(Action::Ticket), START).unwrap());
    for ticket in [ticket.as_str(), "made-up"] {
        let grant = enter(&gate, &Asked { ticket: Some(ticket), ..local(SSE) }, START).unwrap();
        assert!(grant.may_subscribe(&channel("prices")) && !grant.may_subscribe(&channel("desk:a")));
    }
}

#[test]
fn a_token_that_is_renewed_is_judged_like_one_that_is_shown() {
    let gate = gate();
    let renew = |token: &str| {
        let (sender, answer) = mpsc::channel();
        gate.renew(token, START, Box::new(move |outcome| sender.send(outcome).unwrap()));
        answer.try_recv().unwrap().map(|grant| grant.holder.publisher()).map_err(|denied| denied.reason)
    };
    assert_eq!(renew("token-of-alice"), Ok("token:alice".into()));
    assert_eq!(renew("token-of-mallory"), Err(Reason::Unauthorized));
}

#[test]
fn s10_other_machines_and_other_names_stay_out_whatever_they_show() {
    let gate = gate();
    let elsewhere = Asked { authorization: Some(TOKEN), client: [10, 0, 0, 2].into(), ..local(SSE) };
    assert_eq!(enter(&gate, &elsewhere, START), Err(Reason::Forbidden));
    let rebound = Asked { authorization: Some(TOKEN), host: Some("evil.example"), ..local(SSE) };
    assert_eq!(enter(&gate, &rebound, START), Err(Reason::HostRefused));
    let page = Asked { authorization: Some(TOKEN), origin: Some("https://evil.example"), ..local(SSE) };
    assert_eq!(enter(&gate, &page, START), Err(Reason::OriginRefused));
}
