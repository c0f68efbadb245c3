//! A log that has lost something, as those meet it who are connected (delivery rules R5 and R7).

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its report")]

mod rig;

use rig::Rig;
use tidewire_hub::limits::Limits;

#[test]
fn r7_a_poll_that_is_answered_by_a_loss_goes_on_in_the_log_that_the_gap_leads_into() {
    let mut rig = Rig::new(Limits::default());
    rig.publish("a", 3, 1);
    let poll = rig.client(b"GET /c/a?wait=60&cursor=7.3 HTTP/1.1\r\nHost: localhost\r\n\r\n", usize::MAX);
    rig.lose("a", 8);
    let answer = poll.taken();
    let gap = r#""gap":{"channels":["a"],"reason":"store_reset","cursor":"8.0"}"#;
    assert!(answer.contains(gap), "{answer}");
    assert!(answer.contains(r#""messages":[],"cursor":"8.0""#), "{answer}");
}
