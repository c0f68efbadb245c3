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
    if name.ends_with('/') {
        return assets::serve::<Files>(&format!("{name}index.html"), &headers);
    }
    assets::serve::<Files>(name, &headers)
}
