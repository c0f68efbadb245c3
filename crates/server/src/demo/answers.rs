//! What a demonstration's backend is asked and how it answers: JSON, and refusals in the words of everybody else.

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use serde::de::DeserializeOwned;
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;

use crate::api::{Problem, read_json};

/// More than any page sends.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// An answer in JSON, or a refusal.
pub(super) type Answer<T> = Result<Json<T>, Refused>;

/// A refusal as an answer.
pub(super) struct Refused(Refusal);

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        Refused(refusal)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        Problem(self.0).into_response()
    }
}

/// A body that is to be a `T`.
pub(super) struct Asked<T> {
    body: Result<Bytes, Refusal>,
    kind: std::marker::PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Asked<T> {
    /// What was sent.
    ///
    /// # Errors
    /// `bad_request` where it is no `T`, `too_large` where it is longer than any page writes.
    pub(super) fn read(self) -> Result<T, Refusal> {
        read_json(&self.body?, "what the page sends").map_err(|Problem(refusal)| refusal)
    }
}

impl<S: Sync, T> FromRequest<S> for Asked<T> {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Asked<T>, Self::Rejection> {
        let long = |_| Refusal::new(Reason::TooLarge, "this is more than any page sends");
        let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
        let body = body.map(http_body_util::Collected::to_bytes).map_err(long);
        Ok(Asked { body, kind: std::marker::PhantomData })
    }
}

/// `text` without blanks around it, if there is any and it is no longer than `chars_max`. `what` is what it is called.
///
/// # Errors
/// `bad_request`.
pub(super) fn brief(text: &str, what: &str, chars_max: usize) -> Result<String, Refusal> {
    let text = text.trim();
    let wrong = |detail| Err(Refusal::new(Reason::BadRequest, detail));
    match text.chars().count() {
        0 => wrong(format!("the {what} is empty")),
        count if count > chars_max => wrong(format!("the {what} is longer than {chars_max} characters")),
        _ => Ok(text.to_owned()),
    }
}
