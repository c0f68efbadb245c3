//! Pages and what they load, embedded in the binary. Nothing comes from anywhere else, and the browser is told so.

use axum::body::Body;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use rust_embed::{EmbeddedFile, RustEmbed};
use tidewire_hub::reason::Reason;

use super::problem::Problem;

/// The page of a channel and the console, as `admin/build.mjs` wrote them (decision 25).
#[derive(RustEmbed)]
#[folder = "../../admin/dist"]
struct Inspector;

/// The browser client as `clients/js/build.mjs` wrote it (decision 23).
#[derive(RustEmbed)]
#[folder = "../../clients/js/dist"]
struct Client;

/// No inline script, no inline style, nothing from elsewhere (security rule S51).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; \
                      img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'self'";

/// `GET /c/{channels}` with `Accept: text/html`.
pub(super) fn inspector(headers: &HeaderMap) -> Response<Body> {
    serve::<Inspector>("inspector.html", headers)
}

/// `GET /inspector/{file}`.
pub(super) async fn inspector_file(
    file: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response<Body> {
    serve::<Inspector>(name(&file), &headers)
}

/// `GET /client.js`: what pages of other origins load too, and what an application may load on every page of its own.
pub(super) async fn client(headers: HeaderMap) -> Response<Body> {
    let mut response = serve::<Client>("client.js", &headers);
    let fields = response.headers_mut();
    // With an origin the answer names it, and a cache must not give one to the other.
    fields.insert(header::VARY, HeaderValue::from_static("Origin"));
    // A page that isolates itself (`Cross-Origin-Embedder-Policy`) asks for this to be said.
    fields.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
    // An older one speaks the same protocol. So a page need not ask on every visit; after an update it does within a day.
    fields.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=600, stale-while-revalidate=86400"),
    );
    response
}

/// The name in the path; none where it cannot be decoded, which axum would say in its own words.
pub(crate) fn name(file: &Result<Path<String>, PathRejection>) -> &str {
    file.as_ref().map_or("", |Path(file)| file)
}

/// The file `name` of those that are embedded, with a policy that lets it load nothing from elsewhere.
pub(crate) fn serve<Files: RustEmbed>(name: &str, headers: &HeaderMap) -> Response<Body> {
    let Some((file, kind)) = content_type(name).and_then(|kind| Some((Files::get(name)?, kind))) else {
        return Problem::new(Reason::NotFound, "there is no such file").into_response();
    };
    let etag = etag(&file);
    let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|tags| names(tags, &etag));
    let mut response =
        if known { StatusCode::NOT_MODIFIED.into_response() } else { file.data.into_response() };
    let fields = response.headers_mut();
    let fixed = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
        // So that the page's EventSource opens a connection of its own, which the engine then holds, and does not
        // ride on this one (`delivery.md`, simpler thing 6).
        (header::CONNECTION, "close"),
    ];
    for (name, value) in fixed {
        fields.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(etag) = HeaderValue::try_from(etag) {
        fields.insert(header::ETAG, etag);
    }
    response
}

/// Lets a page connect to other ports of this machine, which are the lanes of the comparison.
#[cfg(feature = "demo")]
pub(crate) fn reach_loopback(response: &mut Response<Body>) {
    let policy = POLICY.replace("connect-src 'self'", "connect-src 'self' http://127.0.0.1:*");
    if let Ok(policy) = HeaderValue::try_from(policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
}

fn content_type(name: &str) -> Option<&'static str> {
    Some(match name.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        "png" => "image/png",
        _ => return None,
    })
}

/// The beginning of the content's SHA-256: enough to tell two versions of a file apart.
fn etag(file: &EmbeddedFile) -> String {
    let digest: String = file.metadata.sha256_hash()[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digest}\"")
}

fn names(tags: &HeaderValue, etag: &str) -> bool {
    let tags = tags.to_str().unwrap_or_default();
    tags.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == etag || tag == "*")
}
