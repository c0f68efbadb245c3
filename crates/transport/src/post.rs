//! Posts: publishes over HTTP/1.1 that are simple enough for the engine to read, and what their publisher is told.
//!
//! Most publishes are one channel, a `Content-Length` and a small body, over a connection that is kept for the next.
//! Those never leave the loop that read them. Whatever is unusual about any other goes to the API server, which knows
//! the whole of HTTP; what a publish means is decided in one place for both.

use std::fmt;

use tidewire_hub::admit::HeadFields;
use tidewire_hub::channel::Channel;
use tidewire_hub::limits::Limits;
use tidewire_hub::publish::Receipt;

use crate::http1::{Body, Head};
use crate::{envelope, head};

/// A publish that is asked for, whole. Nothing but its form has been looked at.
#[derive(Clone, Copy)]
pub struct Post<'b> {
    /// Its head.
    pub head: &'b Head<'b>,
    /// Where it goes.
    pub channel: &'b Channel,
    /// What it holds.
    pub body: &'b [u8],
    /// Whether it is the first request of its connection.
    pub first: bool,
}

/// The largest body that is read with its head. A larger one costs so much more than its head that nothing is saved.
const BODY_BYTES_MAX: u64 = 16 << 10;

/// The channel of a publish that the engine reads, and the bytes of its body.
///
/// Nothing for chunks, HTTP/1.0, upgrades and expectations, for a large body, and for an address that is not simply the
/// name of one channel: why such a name is wrong is for the API server to say.
pub(crate) fn of(head: &Head<'_>, limits: &Limits) -> Option<(Channel, usize)> {
    let list =
        head.target.strip_prefix("/c/").filter(|_| head.method == "POST" && head.minor_version == 1)?;
    let body_bytes = match head.body {
        Body::None => 0,
        Body::Length(length) if length <= BODY_BYTES_MAX => usize::try_from(length).ok()?,
        Body::Length(_) | Body::Chunked => return None,
    };
    let is_plain = |(name, _): &(&str, &[u8])| {
        !["upgrade", "expect", "te", "trailer"].iter().any(|other| name.eq_ignore_ascii_case(other))
    };
    if body_bytes > limits.message_bytes_max || !head.headers.iter().all(is_plain) {
        return None;
    }
    Some((Channel::parse(list).ok()?, body_bytes))
}

/// Appends the whole answer to a publish that was taken.
pub fn response(
    channel: &Channel,
    receipt: &Receipt,
    allow_origin: Option<&str>,
    fields: &HeadFields,
    close: bool,
    out: &mut Vec<u8>,
) {
    let mut json = Vec::with_capacity(RECEIPT_BYTES + channel.as_str().len());
    write_receipt(channel, receipt, &mut json);
    out.reserve(256 + json.len());
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ");
    envelope::write_number(json.len() as u64, out);
    out.extend_from_slice(b"\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
    if close {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    head::write_fields(allow_origin, fields, out);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&json);
}

/// Appends what a publisher is told as JSON: `{"id":"…","channel":"…","receivers":{"sse":0,"ws":0,"poll":0}}`.
pub fn write_receipt(channel: &Channel, receipt: &Receipt, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":");
    // Nothing on a bridged channel.
    envelope::write_id(receipt.position, out);
    out.extend_from_slice(b",\"channel\":");
    envelope::write_channel(channel, out);
    for (name, count) in [
        (b",\"receivers\":{\"sse\":".as_slice(), receipt.receivers.sse),
        (b",\"ws\":", receipt.receivers.ws),
        (b",\"poll\":", receipt.receivers.poll),
    ] {
        out.extend_from_slice(name);
        envelope::write_number(u64::from(count), out);
    }
    out.extend_from_slice(b"}}");
}

/// About how many bytes a receipt has, its channel apart.
const RECEIPT_BYTES: usize = 128;

impl fmt::Debug for Post<'_> {
    // Credentials and payloads stay out of logs (security rule S49).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post")
            .field("channel", self.channel)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
