//! A token taken apart, and its header: all that is looked at before the signature (security rules S11, S12, S17).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::algorithm::Algorithm;
use super::error::{Part, TOKEN_BYTES_MAX, TokenError};
use super::json::{Json, Object};

/// The longest name of a key, in bytes.
pub(crate) const KID_BYTES_MAX: usize = 128;

/// A token in the compact form of RFC 7515 section 7.1, its header read and its claims not.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    pub header: Header,
    /// What was signed: the first two parts with their dot.
    pub message: &'a str,
    /// The third part, in base64url.
    pub signature: &'a str,
    payload: &'a str,
}

/// What a token says about its signature. It names a key and describes it; both are only compared with what we have.
#[derive(Debug)]
pub(crate) struct Header {
    pub algorithm: Algorithm,
    pub kid: Option<Box<str>>,
}

impl<'a> Parts<'a> {
    pub(crate) fn read(token: &'a str) -> Result<Parts<'a>, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong { bytes: token.len() });
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::NotThreeParts);
        };
        let message = &token[..header.len() + 1 + payload.len()];
        let header = Header::read(&object(header, Part::Header)?)?;
        if signature.is_empty() {
            return Err(TokenError::SignatureMissing);
        }
        Ok(Parts { header, message, signature, payload })
    }

    /// The claims. To be called once the signature has been borne out, and not before.
    pub(crate) fn claims(&self) -> Result<Object, TokenError> {
        object(self.payload, Part::Claims)
    }
}

impl Header {
    // `jku`, `jwk`, `x5u` and `x5c` are not read: a key that comes with a token proves nothing.
    fn read(header: &Object) -> Result<Header, TokenError> {
        for extension in ["crit", "b64"] {
            if header.get(extension).is_some() {
                return Err(TokenError::ExtensionRefused(extension));
            }
        }
        let algorithm = match header.get("alg") {
            None => return Err(TokenError::Header("`alg` is missing")),
            Some(Json::Text(name)) => Algorithm::parse(name).ok_or(TokenError::AlgorithmRefused)?,
            Some(_) => return Err(TokenError::Header("`alg` is not a text")),
        };
        match header.get("typ") {
            None => {}
            Some(Json::Text(kind)) if is_access_token(kind) => {}
            Some(Json::Text(_)) => return Err(TokenError::TypeRefused),
            Some(_) => return Err(TokenError::Header("`typ` is not a text")),
        }
        let kid = match header.get("kid") {
            None => None,
            Some(Json::Text(kid)) if is_kid(kid) => Some(kid.as_str().into()),
            Some(_) => return Err(TokenError::KidInvalid),
        };
        Ok(Header { algorithm, kid })
    }
}

/// Whether `kid` may name a key: nothing in it means anything to a path, a URL, a query or a terminal.
pub(crate) fn is_kid(kid: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=KID_BYTES_MAX).contains(&kid.len()) && kid.bytes().all(plain)
}

/// A media type whose `application/` may be left out and whose case does not matter (RFC 7515 section 4.1.9).
fn is_access_token(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    matches!(kind.strip_prefix("application/").unwrap_or(&kind), "jwt" | "at+jwt")
}

fn object(part: &str, which: Part) -> Result<Object, TokenError> {
    let text = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Encoding(which))?;
    Object::parse(&text).map_err(|fault| TokenError::Json(which, fault))
}
