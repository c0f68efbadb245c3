//! `tidewire presence`: who is connected to a channel.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use serde::Deserialize;
use serde_json::Value;

use crate::args::Presence;
use crate::exit::Failure;
use crate::http;
use crate::show::{is_obeyed, print_line};
use crate::target::Target;

/// A list has at most 1 000 members, each with a name of at most 256 bytes, which JSON may write six times as long.
const LIST_BYTES_MAX: usize = 2 << 20;

#[derive(Deserialize)]
struct List {
    members: Vec<Value>,
    count: u64,
}

pub(crate) async fn run(args: Presence) -> Result<(), Failure> {
    let target = Target::of(&args.server)?;
    let path = Target::channels(&args.channel).replacen("/c/", "/v1/channels/", 1) + "/presence";
    let request = http::request(&target, "GET", &target.path(&path, &[])).body(Full::new(Bytes::new()));
    let request = request.map_err(|error| Failure::Usage(format!("this cannot be asked: {error}")))?;
    let response = http::send(&target, request).await?;
    let body = Limited::new(response.into_body(), LIST_BYTES_MAX).collect().await;
    let body = body.map_err(|error| Failure::TryAgain(format!("the answer broke: {error}")))?;
    let List { members, count } = serde_json::from_slice(&body.to_bytes())
        .map_err(|error| Failure::Runtime(format!("the answer cannot be read: {error}")))?;
    let listed = members.len() as u64;
    for member in members {
        if args.json {
            print_line(&member.to_string())?;
        } else if let Some(subject) = member.get("subject").and_then(Value::as_str) {
            print_line(&one_line(subject))?;
        }
    }
    if count > listed {
        eprintln!("tidewire: and {} more", count - listed);
    }
    Ok(())
}

/// A name as one line of text: whoever chose it is not to write on somebody else's terminal.
fn one_line(subject: &str) -> String {
    let mut line = String::with_capacity(subject.len());
    for character in subject.chars() {
        if is_obeyed(character) {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s29_a_name_is_one_line_of_text() {
        assert_eq!(one_line("alice\n\x1b[2J\u{202e}é 7"), "alice\\n\\u{1b}[2J\\u{202e}é 7");
    }
}
