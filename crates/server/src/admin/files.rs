//! The page, as `admin/build.mjs` wrote it.

use axum::body::Body;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, Response};
use rust_embed::RustEmbed;

use crate::api::serve_file;

#[derive(RustEmbed)]
#[folder = "../../admin/dist"]
struct Page;

/// `GET /admin`
pub(super) async fn page(headers: HeaderMap) -> Response<Body> {
    serve_file::<Page>("index.html", &headers)
}

/// `GET /admin/assets/{file}`
pub(super) async fn file(file: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Response<Body> {
    serve_file::<Page>(file.as_ref().map_or("", |Path(file)| file), &headers)
}
