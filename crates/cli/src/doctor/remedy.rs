//! The lines to change: for each finding, in each kind of box.
//!
//! They are those of `tidewire proxy-config`, which the tests run; and the tests of `doctor` write them into a proxy that
//! was told otherwise, and see the finding vanish.

use super::finding::{Code, Place};
use super::fronts::{Cloud, Fronts, Proxy};

/// Something to write, and where.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Change {
    /// Whose configuration.
    #[serde(rename = "in")]
    pub place: &'static str,
    pub lines: String,
    /// They are words about a console rather than lines of a file.
    #[serde(skip)]
    pub is_words: bool,
}

/// Whose lines are shown where nobody in front shows.
const LIKELY: [Proxy; 3] = [Proxy::Nginx, Proxy::Haproxy, Proxy::Caddy];

/// What to change. Of a box that is recognised, its lines; else those of the three most likely.
pub(crate) fn changes(code: Code, fronts: &Fronts, origin: Option<&str>) -> Vec<Change> {
    let mut changes = Vec::new();
    let tidewire = tidewire(code);
    if !tidewire.is_empty() {
        let lines = tidewire.replace("{origin}", origin.unwrap_or("https://app.example"));
        changes.push(Change { place: "tidewire.toml", lines, is_words: false });
    }
    let known: Vec<Change> = fronts.proxies.iter().filter_map(|proxy| of(code, *proxy)).collect();
    let clouds = fronts.clouds.iter().filter_map(|cloud| hint(code, *cloud).map(|hint| (cloud, hint)));
    let clouds: Vec<Change> = clouds
        .map(|(cloud, hint)| Change { place: cloud.name(), lines: hint.into(), is_words: true })
        .collect();
    if known.is_empty() && clouds.is_empty() {
        changes.extend(LIKELY.iter().filter_map(|proxy| of(code, *proxy)));
    }
    changes.extend(known);
    changes.extend(clouds);
    changes
}

fn of(code: Code, proxy: Proxy) -> Option<Change> {
    lines(code, proxy).map(|lines| Change { place: proxy.name(), lines: lines.to_owned(), is_words: false })
}

/// What belongs into `tidewire.toml`; empty for nothing.
fn tidewire(code: Code) -> &'static str {
    match code {
        Code::OriginRefused => "[auth]\norigins = [\"{origin}\"]   # beside those that are there",
        Code::NodesApart => "[broker]\nurl = \"redis://10.0.0.1:6379\"   # the same at every node",
        Code::NodeDeaf => {
            "# `/readyz` of each node says which one does not hear its broker;\n# look at the network between that node and Redis"
        }
        Code::BodyLimit => "[limits]\nmessage_bytes_max = \"64KiB\"",
        Code::TurnedAway => "[limits]\n# /metrics says which limit is met:\nconnections_max = \"auto\"",
        _ => "",
    }
}

/// The lines of a proxy that we know.
fn lines(code: Code, proxy: Proxy) -> Option<&'static str> {
    Some(match (code, proxy) {
        (Code::StreamBuffered, Proxy::Nginx) => {
            "proxy_http_version 1.1;   # in the location of Tidewire\nproxy_buffering off;\n# and no `proxy_ignore_headers X-Accel-Buffering;`"
        }
        (Code::StreamBuffered, Proxy::Haproxy) => "option http-no-delay   # in the frontend and the backend",
        (Code::StreamBuffered | Code::StreamDelayed, Proxy::Caddy) => {
            "flush_interval -1   # inside reverse_proxy\n# and no `buffer_responses`, since 2.7 `response_buffers`"
        }
        (Code::StreamBuffered, Proxy::Envoy) => "# drop the filter envoy.filters.http.buffer from this route",
        (Code::StreamBuffered | Code::StreamDelayed, Proxy::Traefik) => {
            "responseForwarding: { flushInterval: \"-1ms\" }   # of the service\n# and no middleware `buffering` on the router"
        }
        (Code::StreamDelayed, Proxy::Nginx) => "tcp_nodelay on;\nproxy_buffering off;",
        (Code::StreamDelayed, Proxy::Haproxy) => "option http-no-delay   # in the frontend and the backend",
        (Code::StreamCompressed | Code::CompressionHolds, Proxy::Nginx) => {
            "gzip off;   # in the location of Tidewire\n# or take text/event-stream out of gzip_types"
        }
        (Code::StreamCompressed | Code::CompressionHolds, Proxy::Haproxy) => {
            "# without text/event-stream:\ncompression type text/html text/css application/javascript"
        }
        (Code::StreamCompressed | Code::CompressionHolds, Proxy::Caddy) => {
            "# no `encode` for what Tidewire answers:\n@pages not path /c/* /v1/*\nencode @pages gzip"
        }
        (Code::StreamCompressed | Code::CompressionHolds, Proxy::Envoy) => {
            "# of envoy.filters.http.compressor, without text/event-stream:\ncontent_type: [text/html, text/css, application/javascript]"
        }
        (Code::StreamCompressed | Code::CompressionHolds, Proxy::Traefik) => {
            "compress: { excludedContentTypes: [text/event-stream] }"
        }
        (Code::PublishLost, Proxy::Nginx) => "# drop `limit_except` and what looks at $request_method",
        (Code::PublishLost, Proxy::Haproxy) => "# drop `http-request deny` by METH_POST or `method`",
        (Code::PublishLost, Proxy::Caddy) => "# drop the matchers of `method` that leave POST out",
        (Code::StreamType, Proxy::Nginx) => "# drop what hides or adds Content-Type",
        (Code::StreamType, Proxy::Haproxy) => "# drop `http-response set-header Content-Type …`",
        (Code::StreamType, Proxy::Caddy) => "# drop `header Content-Type …` and `header_down Content-Type …`",
        (Code::StreamLength, Proxy::Nginx) => "proxy_buffering off;",
        (Code::StreamCut, Proxy::Nginx) => "proxy_read_timeout 60s;   # a heartbeat comes after 12 to 18 s",
        (Code::StreamCut | Code::PollCut, Proxy::Haproxy) => {
            "timeout server 60s   # in the backend; heartbeats take 12 to 18 s\ntimeout client 60s   # in the frontend"
        }
        (Code::StreamCut | Code::StreamCapped | Code::PollCut, Proxy::Caddy) => {
            "# drop `timeouts { write … }` from the global options, and here:\ntransport http {\n\tread_timeout 0\n\tresponse_header_timeout 0\n}"
        }
        (Code::StreamCut, Proxy::Envoy) => "stream_idle_timeout: 60s",
        (Code::SocketCut, Proxy::Nginx) => {
            "proxy_read_timeout 60s;   # a ping comes after 20 s\nproxy_send_timeout 60s;"
        }
        (Code::SocketCut, Proxy::Haproxy) => "timeout tunnel 60s   # in the backend; a ping comes after 20 s",
        (Code::SocketCut, Proxy::Envoy) => "stream_idle_timeout: 60s",
        (Code::StreamCapped | Code::SocketCapped, Proxy::Envoy) => {
            "timeout: 0s   # of the route\nmax_stream_duration: { max_stream_duration: 0s }"
        }
        (Code::StreamCapped | Code::SocketCapped, Proxy::Traefik) => {
            "# of the entry point:\nrespondingTimeouts: { readTimeout: 0, writeTimeout: 0 }"
        }
        (Code::SocketCapped, Proxy::Caddy) => "stream_timeout 0   # inside reverse_proxy",
        (Code::PollCut, Proxy::Nginx) => "proxy_read_timeout 75s;   # a poll waits for 60 s at most",
        (Code::PollCut, Proxy::Envoy) => "timeout: 0s   # of the route",
        (Code::UpgradeLost, Proxy::Nginx) => {
            "proxy_http_version 1.1;\nproxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection $tidewire_connection;\n\n# and outside of the server block:\nmap $http_upgrade $tidewire_connection { default upgrade; \"\" \"\"; }"
        }
        (Code::UpgradeLost, Proxy::Haproxy) => {
            "# drop `http-request del-header Upgrade` and `option httpclose`;\n# HAProxy passes WebSockets by itself in `mode http`"
        }
        (Code::UpgradeLost, Proxy::Caddy) => {
            "# drop `buffer_responses`, and `header_up` of Upgrade or Connection:\n# Caddy passes WebSockets by itself over `transport http`"
        }
        (Code::UpgradeLost, Proxy::Envoy) => "upgrade_configs: [{ upgrade_type: websocket }]",
        (Code::UpgradeLost, Proxy::Traefik) => "# no middleware `headers` that touches Upgrade or Connection",
        (Code::SubprotocolLost, Proxy::Nginx) => {
            "proxy_set_header Sec-WebSocket-Protocol $http_sec_websocket_protocol;"
        }
        (Code::SubprotocolLost, Proxy::Haproxy) => "# drop what deletes or sets Sec-WebSocket-Protocol",
        (Code::SubprotocolLost, Proxy::Caddy) => "# drop `header_up -Sec-WebSocket-Protocol`",
        (Code::Http2Missing, Proxy::Nginx) => {
            "listen 443 ssl http2;   # since 1.25.1: listen 443 ssl; http2 on;"
        }
        (Code::Http2Missing, Proxy::Haproxy) => {
            "bind :443 ssl crt /etc/haproxy/tidewire.pem alpn h2,http/1.1"
        }
        (Code::Http2Missing, Proxy::Caddy) => {
            "# global options: take `protocols h1` away, or name h2 too\nservers {\n\tprotocols h1 h2\n}"
        }
        (Code::Http2Missing, Proxy::Envoy) => "alpn_protocols: [h2, http/1.1]   # of common_tls_context",
        (Code::Http2Streams, Proxy::Nginx) => "http2_max_concurrent_streams 128;",
        (Code::Http2Streams, Proxy::Haproxy) => "tune.h2.max-concurrent-streams 100   # in global",
        (Code::Http2Streams, Proxy::Envoy) => "http2_protocol_options: { max_concurrent_streams: 100 }",
        (Code::EtagLost, Proxy::Nginx) => {
            "gzip off;   # in the location of Tidewire\n# and drop what hides ETag or If-None-Match"
        }
        (Code::EtagLost, Proxy::Haproxy) => "# drop what deletes ETag or If-None-Match",
        (Code::EtagLost, Proxy::Caddy) => "# drop `header_down -ETag` and `header_up -If-None-Match`",
        (Code::Cached, Proxy::Nginx) => {
            "proxy_cache off;   # in the location of Tidewire\n# or drop `proxy_ignore_headers Cache-Control;`"
        }
        (Code::Cached, Proxy::Haproxy) => "# drop `http-request cache-use` and `http-response cache-store`",
        (Code::Cached, Proxy::Caddy) => "# no `cache` for /c/* and /v1/*",
        (Code::CacheControlLost, Proxy::Nginx) => "expires off;\n# and drop what hides or adds Cache-Control",
        (Code::CacheControlLost, Proxy::Haproxy) => {
            "# drop what sets or deletes Cache-Control in http-response"
        }
        (Code::CacheControlLost, Proxy::Caddy) => {
            "# drop `header Cache-Control …` and `header_down Cache-Control …`"
        }
        (Code::LastEventIdLost, Proxy::Nginx) => {
            "proxy_set_header Last-Event-ID $http_last_event_id;\n# and `proxy_pass_request_headers off;` has to go"
        }
        (Code::LastEventIdLost, Proxy::Haproxy) => "# drop `http-request del-header Last-Event-ID`",
        (Code::LastEventIdLost, Proxy::Caddy) => "# drop `header_up -Last-Event-ID`",
        (Code::AuthorizationLost | Code::CredentialsRefused, Proxy::Nginx) => {
            "proxy_set_header Authorization $http_authorization;"
        }
        (Code::AuthorizationLost | Code::CredentialsRefused, Proxy::Haproxy) => {
            "# drop `http-request del-header Authorization`"
        }
        (Code::AuthorizationLost | Code::CredentialsRefused, Proxy::Caddy) => {
            "# drop `header_up -Authorization`"
        }
        (Code::QueryLost, Proxy::Nginx) => "proxy_pass http://tidewire;   # with nothing behind the name",
        (Code::QueryLost, Proxy::Haproxy) => {
            "# drop `http-request set-query`, and `set-uri` without %[query]"
        }
        (Code::QueryLost, Proxy::Caddy) => "# `rewrite` has to end in ?{query}",
        (Code::HeadTooLarge, Proxy::Nginx) => "large_client_header_buffers 4 16k;   # in the server block",
        (Code::HeadTooLarge, Proxy::Haproxy) => "tune.bufsize 32768   # in global",
        (Code::HeadTooLarge, Proxy::Caddy) => "# global options:\nservers {\n\tmax_header_size 16KiB\n}",
        (Code::HeadTooLarge, Proxy::Envoy) => "max_request_headers_kb: 60",
        (Code::BodyTooLarge, Proxy::Nginx) => "client_max_body_size 1m;",
        (Code::BodyTooLarge, Proxy::Haproxy) => "# drop what denies by req.body_size or content-length",
        (Code::BodyTooLarge, Proxy::Caddy) => "request_body {\n\tmax_size 1MB\n}",
        (Code::BodyTooLarge, Proxy::Traefik) => "buffering: { maxRequestBodyBytes: 0 }",
        (Code::HostRefused, Proxy::Nginx) => "proxy_set_header Host $http_host;",
        (Code::HostRefused, Proxy::Haproxy) => "# drop `http-request set-header Host …`",
        (Code::HostRefused, Proxy::Caddy) => {
            "header_up Host {http.request.host}   # drop any other `header_up Host`"
        }
        (Code::CorsDoubled | Code::CorsMissing, Proxy::Nginx) => {
            "# drop what adds or hides Access-Control-Allow-Origin:\n# Tidewire answers it by auth.origins"
        }
        (Code::CorsDoubled | Code::CorsMissing, Proxy::Haproxy) => {
            "# drop what adds or deletes Access-Control-Allow-Origin:\n# Tidewire answers it by auth.origins"
        }
        (Code::CorsDoubled | Code::CorsMissing, Proxy::Caddy) => {
            "# drop `header Access-Control-Allow-Origin …`:\n# Tidewire answers it by auth.origins"
        }
        (Code::CertificateChain, Proxy::Nginx) => {
            "# not cert.pem:\nssl_certificate /etc/letsencrypt/live/NAME/fullchain.pem;"
        }
        (Code::CertificateChain, Proxy::Haproxy) => "bind :443 ssl crt /etc/haproxy/fullchain-and-key.pem",
        (Code::CertificateName, Proxy::Nginx) => {
            "server_name NAME;\nssl_certificate /etc/letsencrypt/live/NAME/fullchain.pem;"
        }
        (Code::CertificateName, Proxy::Haproxy) => "bind :443 ssl crt /etc/haproxy/NAME.pem",
        (Code::CertificateName, Proxy::Caddy) => {
            "NAME {   # Caddy gets itself a certificate for the names of its sites"
        }
        (Code::NoNode, Proxy::Nginx) => {
            "server 127.0.0.1:8080 max_fails=0;   # where `tidewire serve` listens"
        }
        (Code::NoNode, Proxy::Haproxy) => {
            "# where `tidewire serve` listens:\nserver tidewire-1 127.0.0.1:8080 check"
        }
        (Code::NoNode, Proxy::Caddy) => "reverse_proxy 127.0.0.1:8080   # where `tidewire serve` listens",
        (Code::PathLost, Proxy::Nginx) => {
            "# for / or at least /c/ and /v1/, with nothing behind the name:\nproxy_pass http://tidewire;"
        }
        (Code::PathLost, Proxy::Haproxy) => "use_backend tidewire if { path_beg /c/ /v1/ }",
        (Code::PathLost, Proxy::Caddy) => "handle /c/* {\n\treverse_proxy 127.0.0.1:8080\n}",
        _ => return None,
    })
}

/// What a service offers, where it offers anything.
fn hint(code: Code, cloud: Cloud) -> Option<&'static str> {
    Some(match (code, cloud) {
        (Code::StreamBuffered, Cloud::Cloudflare) => {
            "Response Buffering off, and no Worker that reads the body before it answers"
        }
        (Code::StreamBuffered, Cloud::Fastly) => "set beresp.do_stream = true;   # in vcl_fetch",
        (Code::StreamBuffered, Cloud::AzureFrontDoor) => {
            "it may hold back small pieces: have the stream's host name lead past it"
        }
        (Code::StreamCompressed | Code::CompressionHolds, Cloud::Cloudflare) => {
            "keep `no-transform` in Cache-Control, or a Compression Rule that is off for /c/*"
        }
        (Code::StreamCompressed | Code::CompressionHolds, Cloud::AwsCdn) => {
            "Compress objects automatically: off, in the behaviour of /c/*"
        }
        (Code::StreamCut | Code::PollCut, Cloud::AwsBalancer) => "idle_timeout.timeout_seconds = 60, or more",
        (Code::SocketCut, Cloud::AwsBalancer) => "idle_timeout.timeout_seconds = 60, or more",
        (Code::StreamCut | Code::PollCut, Cloud::AwsCdn) => "Origin response timeout: 60 s",
        (Code::StreamCapped | Code::SocketCapped, Cloud::Google) => {
            "timeoutSec: 86400   # of the backend service: it bounds whole streams and WebSockets"
        }
        (Code::StreamCut | Code::SocketCut, Cloud::Heroku) => {
            "it cuts what is silent for 55 s: leave limits.heartbeat at 15s"
        }
        (
            Code::Cached,
            Cloud::Cloudflare | Cloud::AwsCdn | Cloud::Fastly | Cloud::AzureFrontDoor | Cloud::Akamai,
        ) => "a rule that bypasses the cache for /c/* and /v1/*",
        (Code::LastEventIdLost | Code::AuthorizationLost | Code::QueryLost, Cloud::AwsCdn) => {
            "Origin request policy: AllViewer, and Cache policy: CachingDisabled"
        }
        (Code::UpgradeLost, Cloud::Cloudflare) => "Network, WebSockets: on",
        (Code::UpgradeLost, Cloud::AwsCdn) => {
            "Origin request policy: AllViewer, which passes the Sec-WebSocket-… fields"
        }
        (Code::UpgradeLost, Cloud::Fastly) => {
            "WebSockets are a product of their own there: enable it, or have them lead past it"
        }
        _ => return None,
    })
}

/// Whether a finding can be mended in a box at all.
pub(crate) fn is_elsewhere(code: Code) -> bool {
    matches!(code.place(), Place::Clock | Place::Network | Place::Command | Place::Anywhere)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_that_shows_itself_is_told_its_own_lines_and_otherwise_the_likely_ones_are() {
        let nobody = Fronts::default();
        let places = |code, fronts: &Fronts| -> Vec<&str> {
            changes(code, fronts, None).iter().map(|change| change.place).collect()
        };
        assert_eq!(places(Code::StreamBuffered, &nobody), ["nginx", "HAProxy", "Caddy"]);
        let envoy = Fronts { proxies: vec![Proxy::Envoy], ..Fronts::default() };
        assert_eq!(places(Code::StreamBuffered, &envoy), ["Envoy"]);
        let cloud = Fronts { clouds: vec![Cloud::AwsBalancer], ..Fronts::default() };
        assert_eq!(places(Code::SocketCut, &cloud), ["AWS Application Load Balancer"]);
        assert_eq!(places(Code::NodesApart, &nobody), ["tidewire.toml"]);
    }

    #[test]
    fn the_origin_that_was_asked_about_is_the_one_to_write() {
        let change = &changes(Code::OriginRefused, &Fronts::default(), Some("https://a.example"))[0];
        assert!(change.lines.contains("origins = [\"https://a.example\"]"), "{}", change.lines);
    }

    #[test]
    fn whatever_a_proxy_may_be_to_blame_for_has_lines_for_the_likely_ones() {
        for code in Code::EVERY.iter().filter(|code| code.place() == Place::Proxy) {
            let exempt = [
                Code::NotTidewire,
                Code::RequestRefused,
                Code::StreamRefused,
                Code::AcceptWrong,
                Code::SocketAltered,
                Code::HeartbeatsLost,
                Code::PollNotHeld,
            ];
            let lines = changes(*code, &Fronts::default(), None);
            assert!(!lines.is_empty() || exempt.contains(code), "{code:?}");
        }
    }
}
