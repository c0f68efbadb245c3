//! Whether everybody behind one address is one service: connections that land anywhere must meet the same log.

use std::time::Duration;

use super::super::finding::{Code, Verdict};
use super::super::route::{Route, STEP_MAX, nonce, shown};
use super::super::stream::Stream;

const CHECK: &str = "nodes";

/// Connections whose log is looked at. Two nodes that take turns, or are drawn by lot, are both met by one of eight in
/// all but one case of 128.
const CONNECTIONS: usize = 8;

/// The log that each connection met: the part of a cursor before the dot, which every node of one service shares and a node
/// by itself makes up (`docs/protocol.md`, "Ids and cursors", leaves open what is in a cursor; this is the server's own tool).
pub(crate) async fn measure(route: &Route) -> Vec<String> {
    let channel = route.channel("nodes");
    let mut logs = Vec::with_capacity(CONNECTIONS);
    for at in 0..CONNECTIONS {
        // An address of its own each, so that no cache answers for a node.
        let request = route.get(&channel, &[("doctor", &at.to_string())]);
        let Ok(answer) = route.ask(request, STEP_MAX).await else { break };
        let Some(page) = answer.page() else { break };
        logs.push(page.cursor.split('.').next().unwrap_or_default().to_owned());
    }
    logs
}

/// Streams that listen, wherever they land.
const STREAMS: usize = 4;

/// How many streams were open, and how many of them heard what was published once, by a connection that is none of theirs.
pub(crate) async fn measure_hearing(route: &Route) -> Result<Heard, String> {
    let channel = route.channel("heard");
    let mut streams = Vec::with_capacity(STREAMS);
    for _ in 0..STREAMS {
        let mut stream = Stream::open(route, route.get(&channel, &[])).await?;
        if stream.event(STEP_MAX, |event| event.kind == "$ready").await.is_some() {
            streams.push(stream);
        }
    }
    let word = nonce();
    route.publish(&channel, word.clone()).await.map_err(|why| why.words())?;
    let mut heard = Heard { open: streams.len(), heard: 0 };
    for stream in &mut streams {
        // What came meanwhile waits to be looked at.
        let said = stream.event(HEARD_WITHIN, |event| event.data == word).await;
        heard.heard += usize::from(said.is_some());
    }
    Ok(heard)
}

/// How long a message may take from one node to another.
const HEARD_WITHIN: Duration = Duration::from_millis(1_000);

/// Streams that were open, and those that heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub open: usize,
    pub heard: usize,
}

/// Whether more than one log was met.
pub(crate) fn are_apart(logs: &[String]) -> bool {
    logs.windows(2).any(|pair| pair[0] != pair[1])
}

/// `hearing` is nothing where nothing could be heard.
pub(crate) fn judge(logs: &[String], hearing: Option<&Result<Heard, String>>) -> Verdict {
    if logs.len() < 2 {
        let seen = format!("{} of {CONNECTIONS} polls were answered with a page", logs.len());
        return Verdict::wrong(CHECK, Code::Unanswered, seen);
    }
    let mut distinct = logs.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() == 1 {
        let met = format!("{} connections met one log", logs.len());
        return match hearing {
            Some(Ok(Heard { open, heard })) if heard < open => {
                let seen =
                    format!("{met}, and {heard} of {open} streams heard what was published beside them");
                Verdict::wrong(CHECK, Code::NodeDeaf, seen)
            }
            Some(Ok(Heard { open, .. })) => {
                Verdict::passed(CHECK, format!("{met}; {open} of {open} streams heard a message"))
            }
            Some(Err(why)) => Verdict::wrong(CHECK, Code::Unanswered, format!("{met}; then: {why}")),
            None => Verdict::passed(CHECK, met),
        };
    }
    let named: Vec<String> = distinct.iter().map(|log| shown(log)).collect();
    let seen = format!("{} connections met {} logs: {}", logs.len(), distinct.len(), named.join(", "));
    Verdict::wrong(CHECK, Code::NodesApart, seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_connection_that_meets_another_log_is_enough() {
        let logs = |all: &[&str]| -> Vec<String> { all.iter().map(|&log| log.to_owned()).collect() };
        assert!(judge(&logs(&["a", "a", "a"]), None).findings().is_empty());
        assert!(!are_apart(&logs(&["a", "a"])));
        let apart = logs(&["a", "a", "b", "a"]);
        assert!(are_apart(&apart));
        assert_eq!(judge(&apart, None).findings()[0].code, Code::NodesApart);
        assert_eq!(judge(&logs(&["a"]), None).findings()[0].code, Code::Unanswered);
    }

    #[test]
    fn a_node_that_hears_nothing_is_told_from_one_that_is_apart() {
        let logs = vec!["a".to_owned(), "a".to_owned()];
        let code = |heard| {
            let verdict = judge(&logs, Some(&Ok(Heard { open: 4, heard })));
            verdict.findings().first().map(|finding| finding.code)
        };
        assert_eq!(code(4), None);
        assert_eq!(code(2), Some(Code::NodeDeaf));
    }
}
