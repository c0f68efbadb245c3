//! Why something was refused or ended: one table for HTTP statuses, WebSocket close codes and retry advice.

/// What a client should do after a refusal or an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request will be refused again.
    Never,
    /// The same request may succeed later; come back after a random delay.
    Later,
    /// Come back with the cursor, at once or after a short random delay.
    Resume,
}

macro_rules! reasons {
    ($(#[doc = $meaning:literal] $name:ident, $code:literal, $status:literal, $close:literal, $retry:ident, $hint:literal;)*) => {
        /// Why something was refused or ended. One meaning per code, for ever: these are part of the wire protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $(#[doc = $meaning] $name,)* }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// The stable code that clients may match on.
            #[must_use]
            pub const fn code(self) -> &'static str { match self { $(Reason::$name => $code,)* } }

            /// The HTTP status of a refusal (RFC 9110 section 15).
            #[must_use]
            pub const fn status(self) -> u16 { match self { $(Reason::$name => $status,)* } }

            /// The WebSocket close code of an end (RFC 6455 section 7.4).
            #[must_use]
            pub const fn close_code(self) -> u16 { match self { $(Reason::$name => $close,)* } }

            /// What it means, in a sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Reason::$name => $meaning.trim_ascii(),)* }
            }

            /// What the client should do next.
            #[must_use]
            pub const fn retry(self) -> Retry { match self { $(Reason::$name => Retry::$retry,)* } }

            /// What the person who made the request can do about it.
            #[must_use]
            pub const fn hint(self) -> &'static str { match self { $(Reason::$name => $hint,)* } }
        }
    };
}

reasons! {
    // name, code, HTTP status, close code, retry, hint
    /// The request is not HTTP/1.1 as RFC 9112 writes it.
    MalformedRequest, "malformed_request", 400, 1002, Never, "Send a well-formed HTTP/1.1 request.";
    /// A channel name is not valid.
    ChannelInvalid, "channel_invalid", 400, 4400, Never, "Use 1 to 128 of A-Z a-z 0-9 . _ : @ = + ~ - and no leading $.";
    /// More channels than one connection may have, or fewer or more than the request allows.
    ChannelCount, "channel_count", 400, 4400, Never, "Publish to exactly one channel; subscribe to no more than the limit.";
    /// An event name is not valid.
    EventInvalid, "event_invalid", 400, 4400, Never, "Use up to 128 visible bytes; open, error and $… are taken.";
    /// A parameter, header or field cannot be read.
    BadRequest, "bad_request", 400, 4400, Never, "Read docs/protocol.md for what this request may hold.";
    /// A text payload is not UTF-8.
    NotUtf8, "not_utf8", 400, 1007, Never, "Send UTF-8, or a binary Content-Type such as application/octet-stream.";
    /// The credentials are missing or not accepted.
    Unauthorized, "unauthorized", 401, 4401, Never, "Send a valid token.";
    /// The rights of this connection ended.
    Expired, "expired", 401, 4401, Resume, "Get a new token and come back with the cursor.";
    /// The rights of this connection were revoked.
    Revoked, "revoked", 401, 4401, Never, "Get a new token.";
    /// The grant does not hold this action on this channel.
    Forbidden, "forbidden", 403, 4403, Never, "Ask for a grant that names this channel.";
    /// The Origin header is not on the allow-list.
    OriginRefused, "origin_refused", 403, 4403, Never, "Add the page's origin to auth.origins; in dev mode, open the page from a loopback address.";
    /// The Host header is not one of ours.
    HostRefused, "host_refused", 403, 4403, Never, "Use the server's own name; in dev mode, 127.0.0.1 or localhost.";
    /// There is nothing at this address.
    NotFound, "not_found", 404, 4404, Never, "Channels live under /c/, the control API under /v1/.";
    /// The address exists, the method does not.
    MethodNotAllowed, "method_not_allowed", 405, 4405, Never, "GET subscribes, POST publishes.";
    /// The client took too long.
    Timeout, "timeout", 408, 4408, Later, "Send the request without pauses.";
    /// The same idempotency key came with another payload, event or type.
    KeyReused, "key_reused", 409, 4409, Never, "Use a new Idempotency-Key for a new message.";
    /// The payload or body is larger than allowed.
    TooLarge, "too_large", 413, 1009, Never, "Publish a smaller message, or raise limits.message_bytes_max.";
    /// The request target is longer than allowed.
    TargetTooLong, "target_too_long", 414, 1009, Never, "Keep the URL within 8 KiB.";
    /// The WebSocket version is not 13, or an upgrade is required.
    UpgradeRequired, "upgrade_required", 426, 1002, Never, "Use Sec-WebSocket-Version: 13.";
    /// The subscriber comes or acts too often.
    RateLimited, "rate_limited", 429, 4429, Later, "Slow down.";
    /// The request head is larger than allowed.
    HeadTooLarge, "head_too_large", 431, 1009, Never, "Keep the head within 16 KiB and 100 headers.";
    /// The client asked for something that the server does not do.
    Unsupported, "unsupported", 501, 1003, Never, "Read docs/protocol.md for what is supported.";
    /// The server is at a limit.
    Overloaded, "overloaded", 503, 1013, Later, "Come back after a random delay.";
    /// As many channels exist as may.
    ChannelsFull, "channels_full", 503, 1013, Later, "Raise limits.channels_max, or use fewer channels.";
    /// As many idempotency keys are remembered as may be.
    KeysFull, "keys_full", 503, 1013, Later, "Publish more slowly with keys, or raise limits.keys_max.";
    /// The broker cannot be reached.
    BrokerUnavailable, "broker_unavailable", 503, 1013, Later, "Come back after a random delay; nothing has happened.";
    /// The broker did not answer, so that nobody knows whether the message was placed.
    OutcomeUnknown, "outcome_unknown", 504, 1013, Later, "Repeat it with the same Idempotency-Key; with one, it happens once.";
    /// The broker has no memory left for messages.
    BrokerFull, "broker_full", 507, 1013, Later, "Raise maxmemory of Redis, or keep less history.";
    /// The server is going away.
    Draining, "draining", 503, 1012, Resume, "Come back with the cursor; another node or the next process answers.";
    /// The subscriber read too slowly.
    SlowConsumer, "slow_consumer", 503, 4408, Resume, "Come back with the cursor; read faster or subscribe to less.";
    /// Messages may be missing and this format cannot say so inside the stream.
    Gap, "gap", 200, 4410, Resume, "Read the state anew, then come back with the cursor.";
    /// The client broke RFC 6455.
    ProtocolError, "protocol_error", 400, 1002, Never, "Use a WebSocket library.";
    /// The client fell silent.
    Silent, "silent", 408, 4408, Resume, "Answer pings.";
    /// Something broke on our side.
    Internal, "internal", 500, 1011, Later, "Report it with the trace id.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_reason_has_one_code_and_valid_numbers() {
        let codes: HashSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!((200..600).contains(&reason.status()), "{reason:?}");
            // RFC 6455 section 7.4.2: 1000 to 1015 are the protocol's, 4000 to 4999 are ours.
            assert!(matches!(reason.close_code(), 1002 | 1003 | 1007..=1013 | 4400..=4499), "{reason:?}");
            assert!(reason.code().len() + 60 < 123, "fits a close frame beside a cursor");
        }
    }
}
