//! Presence as JSON, the same everywhere (`docs/protocol.md`, "Presence").

use tidewire_hub::channel::Channel;
use tidewire_hub::presence::{Change, Members, News};

use crate::envelope;

/// The members of a channel, as the control API answers.
#[must_use]
pub fn members(channel: &Channel, members: &Members) -> String {
    let mut out = Vec::with_capacity(192 + members.listed.len() * 64);
    out.push(b'{');
    write_members_fields(channel, members, &mut out);
    out.push(b'}');
    text(out)
}

/// A change, as the `data` of `$presence`.
#[must_use]
pub fn news(news: &News) -> String {
    let mut out = Vec::with_capacity(256);
    out.push(b'{');
    write_news_fields(news, &mut out);
    out.push(b'}');
    text(out)
}

/// Appends the fields of a list without its braces.
pub(crate) fn write_members_fields(channel: &Channel, members: &Members, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"channel\":");
    envelope::write_channel(channel, out);
    out.extend_from_slice(b",\"members\":[");
    for (index, member) in members.listed.iter().enumerate() {
        out.extend_from_slice(if index > 0 { b",{\"subject\":" } else { b"{\"subject\":" });
        envelope::write_string(member.subject.as_str(), out);
        out.extend_from_slice(b",\"sessions\":");
        envelope::write_number(u64::from(member.sessions), out);
        out.push(b'}');
    }
    out.extend_from_slice(b"],\"count\":");
    envelope::write_number(members.count as u64, out);
    let more = members.count > members.listed.len();
    out.extend_from_slice(if more { b",\"more\":true" } else { b",\"more\":false" });
}

/// Appends the fields of a change without their braces.
pub(crate) fn write_news_fields(news: &News, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"channel\":");
    envelope::write_channel(&news.channel, out);
    let (event, subject) = match &news.change {
        Change::Join(subject) => ("join", Some(subject)),
        Change::Leave(subject) => ("leave", Some(subject)),
        Change::Missed => ("missed", None),
    };
    out.extend_from_slice(b",\"event\":\"");
    out.extend_from_slice(event.as_bytes());
    out.push(b'"');
    if let Some(subject) = subject {
        out.extend_from_slice(b",\"subject\":");
        envelope::write_string(subject.as_str(), out);
    }
}

fn text(out: Vec<u8>) -> String {
    String::from_utf8(out).expect("names, numbers and escaped strings are UTF-8")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};
    use tidewire_hub::presence::{Member, Subject};

    pub(crate) fn chat() -> Channel {
        Channel::parse("chat:1").unwrap()
    }

    pub(crate) fn two_of_three() -> Members {
        let member = |name, sessions| Member { subject: Subject::told(name), sessions };
        Members { listed: vec![member("a\"\n</script>", 2), member("b", 0)], count: 3 }
    }

    #[test]
    fn a_list_says_who_how_often_and_whether_there_are_more() {
        let list: Value = serde_json::from_str(&members(&chat(), &two_of_three())).unwrap();
        let listed = json!([{"subject": "a\"\n</script>", "sessions": 2}, {"subject": "b", "sessions": 0}]);
        assert_eq!(list, json!({"channel": "chat:1", "members": listed, "count": 3, "more": true}));
        let nobody = r#"{"channel":"chat:1","members":[],"count":0,"more":false}"#;
        assert_eq!(members(&chat(), &Members::default()), nobody);
    }

    #[test]
    fn s29_the_name_of_a_subject_is_text_whatever_stands_in_it() {
        let subject = Subject::told("\"},\n\ndata: x");
        let told = news(&News { channel: chat(), change: Change::Join(subject) });
        assert_eq!(told, r#"{"channel":"chat:1","event":"join","subject":"\"},\n\ndata: x"}"#);
        let missed = news(&News { channel: chat(), change: Change::Missed });
        assert_eq!(missed, r#"{"channel":"chat:1","event":"missed"}"#);
    }
}
