//! `docs/errors.md`, made of the table of reasons.

use std::collections::BTreeMap;

use tidewire_hub::reason::{Reason, Retry};
use tidewire_transport::refusal::{answers_as_stream, status_phrase};

/// The page.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(HEAD);
    page.push_str("\n## By code\n\n| code | status | close | come back | what it means | what to do |\n");
    page.push_str("|---|---|---|---|---|---|\n");
    for reason in Reason::ALL.iter().copied() {
        let stream = if answers_as_stream(reason) { " ¹" } else { "" };
        let (code, status, close) = (reason.code(), reason.status(), reason.close_code());
        let (meaning, hint) = (cell(reason.meaning()), cell(reason.hint()));
        let come_back = come_back(reason.retry());
        page.push_str(&format!(
            "| `{code}` | {status}{stream} | {close} | {come_back} | {meaning} | {hint} |\n"
        ));
    }
    page.push_str(&by_number("By status", |reason| format!("{} {}", reason.status(), phrase(reason))));
    page.push_str(&by_number("By close code", |reason| reason.close_code().to_string()));
    page
}

fn come_back(retry: Retry) -> &'static str {
    match retry {
        Retry::Never => "never",
        Retry::Later => "later",
        Retry::Resume => "resume",
    }
}

fn phrase(reason: Reason) -> &'static str {
    status_phrase(reason.status())
}

/// For whoever saw a number and nothing else.
fn by_number(title: &str, number: impl Fn(Reason) -> String) -> String {
    let mut codes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for reason in Reason::ALL.iter().copied() {
        codes.entry(number(reason)).or_default().push(format!("`{}`", reason.code()));
    }
    let rows = codes.into_iter().map(|(number, codes)| format!("| {number} | {} |\n", codes.join(", ")));
    format!("\n## {title}\n\n| | codes |\n|---|---|\n{}", rows.collect::<String>())
}

fn cell(words: &str) -> String {
    words.replace('|', "\\|")
}

const HEAD: &str = "# Errors

Whatever is refused or ended has a code, which is stable: match on it, and leave the words to people. Where to find it:

- **Over HTTP** in `code` of the body, which is `application/problem+json` (RFC 9457), beside `detail`, which speaks of
  this request, and `hint`, which is the last column below. `trace_id` finds the refusal in the server's log.
- **On a WebSocket** in the reason of the close frame, unless that is a cursor to come back with; the close code tells the
  kind. A `tidewire.v1` frame that is refused is answered by an `error` with the code, and the connection stays.
- **In a batch** in the result of the message that was refused.
- **On the command line** in parentheses, between detail and hint. The exit code is 75 if the same may succeed later, and
  1 if not.

*Come back* says whether to: **never** (the same request is refused again), **later** (after a random delay; an HTTP answer
has `Retry-After`), or **resume** (with the cursor, at once or after a short random delay).

¹ An `EventSource` gets `200`, a `retry:` and a clean end instead, because it gives up for good on any other status.

This page is generated from the table of reasons. The wire protocol, which says when each is given, is in
[protocol.md](protocol.md#refusals).
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reference::assert_written;

    #[test]
    fn the_reference_of_errors_says_what_the_table_says() {
        assert_written("docs/errors.md", &reference());
    }

    #[test]
    fn the_reference_of_errors_has_a_row_for_every_reason() {
        let page = reference();
        for reason in Reason::ALL {
            assert_eq!(page.matches(&format!("\n| `{}` |", reason.code())).count(), 1, "{reason:?}");
            assert!(!reason.meaning().is_empty() && page.contains(&cell(reason.meaning())), "{reason:?}");
        }
    }
}
