//! The front: requests of the application's server, made into what Tidewire's own would hand over.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, OriginalUri, Request, State};
use axum::http::uri::Scheme;
use axum::http::{Extensions, StatusCode, Uri, header, request};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use hyper::upgrade::OnUpgrade;
use tidewire_hub::channel::ChannelSet;
use tidewire_server::api::{self, Parts, Peer};
use tidewire_server::inquiry::Inquiry;
use tidewire_transport::http1::percent_decode;
use tokio::sync::watch;
use tower::Layer as _;

use crate::access::Asked;
use crate::gate::{Judge, Waits, action};
use crate::live::Inner;

/// More than any connection may have; what is beyond is refused elsewhere, with words.
const CHANNELS_MAX: usize = 1_000;

/// Where nobody says who is at the other end.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The addresses that clients use. It keeps Tidewire running for as long as it exists.
pub(crate) fn router<S>(live: Arc<Inner>, parts: &Parts) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    const ADDRESSES: [&str; 4] = ["/c/", "/c/{*channels}", "/v1/{*rest}", "/client.js"];
    behind(live, &ADDRESSES, api::router(parts, false, None))
}

/// The addresses that machines use who watch.
pub(crate) fn ops_router<S>(live: Arc<Inner>, parts: &Parts) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    behind(live, &["/livez", "/readyz", "/metrics"], api::admin_router(parts))
}

/// In front of the routes rather than on each: what comes over HTTP/2 may have another method than it means. What is none of
/// these addresses stays the application's.
fn behind<S>(live: Arc<Inner>, addresses: &[&str], routes: Router) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let service = from_fn_with_state(live, front).layer(routes);
    addresses.iter().fold(Router::new(), |router, address| router.route_service(address, service.clone()))
}

async fn front(State(live): State<Arc<Inner>>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    let connects = understand(&mut head);
    let upgrade = head.extensions.remove::<OnUpgrade>();
    // Parameters of the path that the router is nested at are none of ours, and the rest is for the application to look at.
    let found = std::mem::replace(&mut head.extensions, Extensions::new());
    let peer = found.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| *address);
    let written = found.get::<OriginalUri>().map_or_else(|| head.uri.clone(), |uri| uri.0.clone());
    let secure = written.scheme() == Some(&Scheme::HTTPS);
    head.extensions.insert(Peer { address: peer.unwrap_or(NOBODY), secure });
    if let Some(upgrade) = upgrade {
        head.extensions.insert(upgrade);
    }
    // Dropped with this request, where the client takes it back or has gone before it is answered.
    let (_waits, until_then) = watch::channel(());
    head.extensions.insert(inquiry(&live.judge, &head, written, found, until_then));
    let mut response = next.run(Request::from_parts(head, body)).await;
    if connects && response.status() == StatusCode::SWITCHING_PROTOCOLS {
        *response.status_mut() = StatusCode::OK;
        for name in [header::SEC_WEBSOCKET_ACCEPT, header::CONNECTION, header::UPGRADE] {
            response.headers_mut().remove(name);
        }
    }
    response
}

/// Whom to ask about this request, if it gets that far.
fn inquiry(judge: &Judge, head: &request::Parts, written: Uri, found: Extensions, waits: Waits) -> Inquiry {
    let channels = channels(head.uri.path());
    let mut whole = head.clone();
    (whole.uri, whole.extensions) = (written, found);
    let (judge, whole) = (judge.clone(), Arc::new(whole));
    Inquiry::new(move |question, done| {
        let client = Some(question.client).filter(|client| !client.is_unspecified());
        let asked = Asked {
            head: whole.clone(),
            action: action(question.action),
            channels: channels.clone(),
            client,
        };
        judge.decide(asked, question, waits.clone(), done);
    })
}

/// The channels that an address names, read as whoever opens them reads it: what the application looks at is what is opened.
/// What is no channel is refused elsewhere, with words.
fn channels(path: &str) -> Vec<Box<str>> {
    let list = path.strip_prefix("/c/").or_else(|| path.strip_prefix("/v1/channels/")?.split('/').next());
    let decoded = percent_decode(list.unwrap_or_default()).unwrap_or_default();
    let set = ChannelSet::parse(std::str::from_utf8(&decoded).unwrap_or_default(), CHANNELS_MAX);
    set.map_or_else(|_| Vec::new(), |set| set.iter().map(|channel| channel.as_str().into()).collect())
}

/// Makes a WebSocket of HTTP/2 (RFC 8441) into what everybody understands: `GET` and `Upgrade`. Whether it was one.
#[cfg(feature = "http2")]
fn understand(head: &mut request::Parts) -> bool {
    use axum::http::{HeaderValue, Method};

    let protocol = head.extensions.get::<hyper::ext::Protocol>().map(hyper::ext::Protocol::as_str);
    if head.method != Method::CONNECT || protocol != Some("websocket") {
        return false;
    }
    head.method = Method::GET;
    head.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    // There is none over HTTP/2 (RFC 8441 section 5), and the answer to it is not sent.
    head.headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_static("AAAAAAAAAAAAAAAAAAAAAA=="));
    true
}

#[cfg(not(feature = "http2"))]
fn understand(_: &mut request::Parts) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channels_of_an_address_are_those_that_are_channels() {
        assert_eq!(channels("/c/a,room:1"), [Box::from("a"), Box::from("room:1")]);
        assert_eq!(channels("/c/%61%2Croom%3a1"), [Box::from("a"), Box::from("room:1")]);
        assert_eq!(channels("/v1/channels/room:1/history"), [Box::from("room:1")]);
        assert_eq!(channels("/v1/channels/room%3A1/presence"), [Box::from("room:1")]);
        for none in ["/c/", "/c/a b", "/c/%zz", "/c/%ff", "/c/%2561", "/v1/publish", "/client.js"] {
            assert!(channels(none).is_empty(), "{none}");
        }
    }
}
