//! The demonstrations' pages, embedded in the binary; a debug build reads them from the source folder as they are.

use axum::body::Body;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, Response};
use rust_embed::RustEmbed;

use crate::api::assets;

#[derive(RustEmbed)]
#[folder = "../../demo"]
struct Files;

/// `GET /`.
pub(super) async fn index(headers: HeaderMap) -> Response<Body> {
    assets::serve::<Files>("index.html", &headers)
}

/// `GET /demo/{file}`; a folder is its `index.html`.
pub(super) async fn file(file: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Response<Body> {
    let name = assets::name(&file);
    let folder = name.ends_with('/').then(|| format!("{name}index.html"));
    let mut response = assets::serve::<Files>(folder.as_deref().unwrap_or(name), &headers);
    if name.starts_with("compare/") {
        assets::reach_loopback(&mut response);
    }
    response
}
