//! What can be found, as a closed list, and what a check comes to.

use serde::{Serialize, Serializer};

/// How bad it is. Both make the command end with 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// It works, later or worse than it could.
    Warning,
    /// Something does not work.
    Problem,
}

/// Something that is wrong on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub code: Code,
    /// What was seen, with its figures.
    pub seen: String,
}

impl Finding {
    pub(crate) fn new(code: Code, seen: impl Into<String>) -> Finding {
        Finding { code, seen: seen.into() }
    }
}

/// What a check came to: one line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub check: &'static str,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As it should be, and what was seen.
    Passed(String),
    /// Neither good nor bad, and worth knowing.
    Told(String),
    /// Not looked at, and why.
    LeftOut(String),
    /// At least one thing is wrong.
    Wrong(Vec<Finding>),
}

impl Verdict {
    pub(crate) fn passed(check: &'static str, seen: impl Into<String>) -> Verdict {
        Verdict { check, outcome: Outcome::Passed(seen.into()) }
    }

    pub(crate) fn told(check: &'static str, what: impl Into<String>) -> Verdict {
        Verdict { check, outcome: Outcome::Told(what.into()) }
    }

    pub(crate) fn left_out(check: &'static str, why: impl Into<String>) -> Verdict {
        Verdict { check, outcome: Outcome::LeftOut(why.into()) }
    }

    pub(crate) fn wrong(check: &'static str, code: Code, seen: impl Into<String>) -> Verdict {
        Verdict { check, outcome: Outcome::Wrong(vec![Finding::new(code, seen)]) }
    }

    /// What was found; nothing means that it passed, with these words.
    pub(crate) fn of(check: &'static str, findings: Vec<Finding>, seen: impl Into<String>) -> Verdict {
        if findings.is_empty() {
            return Verdict::passed(check, seen);
        }
        Verdict { check, outcome: Outcome::Wrong(findings) }
    }

    pub(crate) fn findings(&self) -> &[Finding] {
        match &self.outcome {
            Outcome::Wrong(findings) => findings,
            _ => &[],
        }
    }
}

/// All findings, the worst first.
pub(crate) fn findings(verdicts: &[Verdict]) -> Vec<&Finding> {
    let mut findings: Vec<&Finding> = verdicts.iter().flat_map(Verdict::findings).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.code.level()));
    findings
}

/// Where something is most likely to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A proxy, balancer or CDN on the way.
    Proxy,
    /// The box that ends TLS.
    TlsEnd,
    /// Tidewire's own configuration.
    Tidewire,
    /// A machine's clock.
    Clock,
    /// Name resolution, routing, a firewall.
    Network,
    /// What was typed.
    Command,
    /// It cannot be told.
    Anywhere,
}

impl Place {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Place::Proxy => "a proxy, balancer or CDN on the way",
            Place::TlsEnd => "the box that ends TLS",
            Place::Tidewire => "Tidewire's configuration",
            Place::Clock => "the clock of a machine",
            Place::Network => "names, routes or a firewall",
            Place::Command => "what this command was given",
            Place::Anywhere => "anywhere from here to the server, which may have too much to do",
        }
    }
}

/// Declares the list: variant, stable name, level, place, title, and what it means for a page.
macro_rules! codes {
    ($($variant:ident $name:literal $level:ident $place:ident $title:literal, $means:literal;)+) => {
        /// What can be found. Names are stable: scripts match on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Code { $($variant),+ }

        impl Code {
            #[cfg(test)]
            pub(crate) const EVERY: &[Code] = &[$(Code::$variant),+];

            /// As scripts know it.
            pub(crate) fn name(self) -> &'static str { match self { $(Code::$variant => $name),+ } }
            pub(crate) fn level(self) -> Level { match self { $(Code::$variant => Level::$level),+ } }
            pub(crate) fn place(self) -> Place { match self { $(Code::$variant => Place::$place),+ } }
            /// In a few words, for the line of its check.
            pub(crate) fn title(self) -> &'static str { match self { $(Code::$variant => $title),+ } }
            /// What it means for a page.
            pub(crate) fn means(self) -> &'static str { match self { $(Code::$variant => $means),+ } }
        }
    };
}

codes! {
    NameUnknown "name_unknown" Problem Network "the name leads to no address",
        "No browser finds the server.";
    Unreachable "unreachable" Problem Network "nobody answers",
        "No browser reaches the server.";
    AddressDead "address_dead" Warning Network "one of the addresses does not answer",
        "Browsers that try this address first wait before they try the other one.";
    TlsFailed "tls_failed" Problem TlsEnd "the TLS handshake fails",
        "No browser opens this address.";
    CertificateName "certificate_name" Problem TlsEnd "the certificate is for another name",
        "Browsers refuse the connection; a page sees an error without a reason.";
    CertificateExpired "certificate_expired" Problem TlsEnd "the certificate is not valid today",
        "Browsers refuse the connection; a page sees an error without a reason.";
    CertificateExpiring "certificate_expiring" Warning TlsEnd "the certificate ends soon",
        "On that day every page stops, at once.";
    CertificateUntrusted "certificate_untrusted" Problem TlsEnd "nobody vouches for the certificate",
        "Browsers refuse the connection, unless their machine trusts the issuer.";
    CertificateChain "certificate_chain" Problem TlsEnd "the certificate comes without its issuer",
        "Of a public issuer: some browsers fetch what is missing, others and most programs refuse the connection. Of one of your own: machines have to be told to trust it.";
    Redirected "redirected" Warning Command "the address only redirects",
        "EventSource follows, a WebSocket does not, and a publish may arrive as a GET.";
    NoNode "no_node" Problem Proxy "a proxy answers, and no Tidewire behind it",
        "An EventSource that meets this status closes for good, unless the proxy is told otherwise.";
    PathLost "path_lost" Problem Proxy "the path does not lead to Tidewire",
        "Pages get the answer of something else.";
    NotTidewire "not_tidewire" Problem Proxy "something else answers",
        "Pages talk to another program.";
    HostRefused "host_refused" Problem Proxy "Tidewire does not know the name it is called by",
        "Every request is refused: the proxy sends another Host than the browser did, or the name is not allowed.";
    RequestRefused "request_refused" Problem Proxy "Tidewire does not take the request",
        "Pages ask the same and are refused, too: something on the way changes what they ask.";
    TurnedAway "turned_away" Warning Tidewire "the server turns newcomers away for now",
        "Pages come back by themselves, as soon as there is room.";
    CredentialsMissing "credentials_missing" Problem Command "this server asks who comes",
        "Nothing more can be seen from outside without credentials.";
    CredentialsRefused "credentials_refused" Problem Command "the credentials are not accepted",
        "Nothing more can be seen. Either they are wrong, or a proxy drops or replaces Authorization.";
    AuthorizationLost "authorization_lost" Problem Proxy "Authorization does not arrive",
        "Whoever comes with a token in that header is nobody to the server.";
    GrantMissing "grant_missing" Problem Command "the credentials do not allow this channel",
        "Nothing more can be seen on it.";
    Unanswered "unanswered" Problem Anywhere "not everything is answered in time",
        "Pages wait as long, or see errors. What could not be looked at may be well or not.";
    PublishLost "publish_lost" Problem Proxy "a publish does not arrive",
        "Something on the way keeps POST out, or answers it: nobody publishes by this address.";
    StreamRefused "stream_refused" Problem Proxy "a stream is not answered as one",
        "EventSource gives up for good.";
    StreamType "stream_type" Problem Proxy "the stream lost its Content-Type",
        "EventSource takes text/event-stream and nothing else: it fails at once.";
    StreamLength "stream_length" Problem Proxy "the stream was given an end",
        "Somebody on the way reads all of it before passing it on.";
    StreamBuffered "stream_buffered" Problem Proxy "events are held back",
        "Pages see nothing until a buffer is full; to a visitor the page is dead.";
    StreamDelayed "stream_delayed" Warning Proxy "every event is late",
        "Everything works, a fifth of a second or so behind.";
    StreamCompressed "stream_compressed" Warning Proxy "the stream is compressed on the way",
        "The compressor keeps a window for every visitor, and may hold events for as long as it likes.";
    CompressionHolds "compression_holds" Problem Proxy "compression holds events back",
        "Every browser asks for compression, so pages see nothing until the compressor has had enough.";
    StreamCut "stream_cut" Problem Proxy "quiet streams are cut",
        "Pages reconnect again and again. They lose nothing, but each round costs a handshake, and seconds of delay.";
    StreamCapped "stream_capped" Problem Proxy "streams are cut after a fixed time",
        "Heartbeats do not help: whatever the page does, its stream ends then, and it reconnects.";
    HeartbeatsLost "heartbeats_lost" Problem Proxy "heartbeats do not come through",
        "Proxies lose patience with a stream that is quiet to them, and nobody notices one that died.";
    UpgradeLost "upgrade_lost" Problem Proxy "the WebSocket handshake does not pass",
        "WebSockets fail in every browser; pages that can fall back to a stream do.";
    AcceptWrong "accept_wrong" Problem Proxy "the WebSocket handshake is answered wrongly",
        "Browsers refuse the WebSocket: something on the way answered for the server, from a cache or by itself.";
    SubprotocolLost "subprotocol_lost" Problem Proxy "the WebSocket's subprotocol is lost",
        "A page that asks for tidewire.v1 is refused by its browser, or speaks to a server that thinks it is raw.";
    SocketAltered "socket_altered" Problem Proxy "a WebSocket's messages do not come back as sent",
        "What pages send arrives changed, or not at all.";
    SocketRefused "socket_refused" Problem Tidewire "the server refuses the WebSocket",
        "WebSockets fail in every browser.";
    SocketCut "socket_cut" Problem Proxy "quiet WebSockets are cut",
        "Pages reconnect again and again, or stay deaf if they do not.";
    SocketCapped "socket_capped" Problem Proxy "WebSockets are cut after a fixed time",
        "Pings do not help: whatever the page does, its WebSocket ends then.";
    Http2Missing "http2_missing" Warning TlsEnd "there is no HTTP/2",
        "A browser opens six connections to a host and no more: the seventh stream waits, and in Chromium the seventh tab.";
    Http2Streams "http2_streams" Problem Proxy "one HTTP/2 connection does not carry many streams",
        "Pages with several streams wait for one another.";
    PollCut "poll_cut" Problem Proxy "long polls are cut before they are answered",
        "Pages that poll see errors in place of an empty answer, and ask again at once.";
    PollNotHeld "poll_not_held" Warning Proxy "long polls are answered at once",
        "Pages that poll ask as fast as they can.";
    EtagLost "etag_lost" Warning Proxy "short polls lose their ETag",
        "Every poll is answered in full, whether or not there is anything new.";
    Cached "cached" Problem Proxy "answers come out of a cache",
        "Pages that poll are shown the past, and one visitor may be shown what was meant for another.";
    CacheControlLost "cache_control_lost" Warning Proxy "Cache-Control is rewritten on the way",
        "Caches further out may keep what they must not, and compress what must pass at once.";
    ClockProxy "clock_proxy" Warning Clock "the clock of the box in front is off",
        "What it decides by time is wrong: caches, cookies, the renewal of certificates.";
    ClockNode "clock_node" Warning Clock "the clock of the node is off",
        "Tokens end early or late, and new ones may be refused: exp and nbf are held against that clock.";
    LastEventIdLost "last_event_id_lost" Problem Proxy "Last-Event-ID does not arrive",
        "EventSource comes back without its cursor: what was published meanwhile is lost, and nobody is told.";
    QueryLost "query_lost" Problem Proxy "the query does not arrive",
        "Clients come back without their cursor: what was published meanwhile is lost, and nobody is told.";
    HeadTooLarge "head_too_large" Warning Proxy "a header field of 4 KiB does not pass",
        "Visitors with a large token or many cookies are turned away, and nobody else is.";
    BodyTooLarge "body_too_large" Warning Proxy "a publish of 64 KiB does not pass",
        "Large messages are refused before Tidewire sees them.";
    BodyLimit "body_limit" Warning Tidewire "Tidewire takes no publish of 64 KiB",
        "Larger messages than its limit are refused.";
    OriginRefused "origin_refused" Problem Tidewire "pages of this origin are not let in",
        "Their streams, polls and WebSockets are refused.";
    CorsMissing "cors_missing" Problem Proxy "the answer does not name the page's origin",
        "The browser hides the answer from the page, which sees an error.";
    CorsDoubled "cors_doubled" Problem Proxy "Access-Control-Allow-Origin is there twice",
        "Browsers take two for none, and hide the answer from the page.";
    NodesApart "nodes_apart" Problem Tidewire "the nodes behind this address do not know of one another",
        "Whoever is connected to one never hears what was published at another, and resumes with a gap.";
    NodeDeaf "node_deaf" Problem Tidewire "some connections do not hear what others do",
        "Whoever is connected to such a node waits for messages that others have had; it is told of a gap at best.";
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_fit_for_scripts() {
        let mut names: Vec<&str> = Code::EVERY.iter().map(|code| code.name()).collect();
        assert!(
            names
                .iter()
                .all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || b"_2".contains(&byte)))
        );
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn titles_fit_on_the_line_of_their_check_and_meanings_are_sentences() {
        for code in Code::EVERY {
            assert!(code.title().chars().count() <= 58, "{}", code.title());
            assert!(code.means().ends_with('.'), "{}", code.means());
        }
    }
}
