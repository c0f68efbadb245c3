//! Why a token was not accepted.

use std::fmt;

use tidewire_hub::pattern::PatternError;

/// Why a token was not accepted.
///
/// Its words are for dev mode and for `tidewire token verify`. Elsewhere every one of them but
/// [`TokenError::KeysUnavailable`] is the same refusal: who tries keys must not learn what failed (security rule S17).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// It has more than [`TOKEN_BYTES_MAX`] bytes.
    TooLong {
        /// How many it has.
        bytes: usize,
    },
    /// It is not three parts joined by dots.
    NotThreeParts,
    /// A part is not base64url as RFC 7515 section 2 wants it.
    Encoding(Part),
    /// A part is not a JSON object of the kind that we read.
    Json(Part, JsonFault),
    /// The header lacks `alg`, or a parameter has the wrong type.
    Header(&'static str),
    /// The header asks for an algorithm that we do not have, `none` among them.
    AlgorithmRefused,
    /// The header says that it is something else than a token for access.
    TypeRefused,
    /// The header wants extensions (`crit`, or `b64` of RFC 7797).
    ExtensionRefused(&'static str),
    /// The name of its key has other characters than `A-Za-z0-9._-`, or more than 128 of them.
    KidInvalid,
    /// There is no signature.
    SignatureMissing,
    /// No key of that name and algorithm is known.
    KeyUnknown,
    /// The key does not bear out the signature.
    SignatureInvalid,
    /// The keys cannot be fetched at the moment. Not the token's fault: the same token may be accepted later.
    KeysUnavailable,
    /// A claim is missing that must be there.
    ClaimMissing(&'static str),
    /// A claim has another type, or another form, than it must have.
    ClaimInvalid(&'static str, &'static str),
    /// `exp` has passed.
    Expired {
        /// Seconds ago.
        ago_s: u64,
    },
    /// `nbf` or `iat` lies ahead.
    NotYet(&'static str, u64),
    /// It would last longer than tokens may.
    LastsTooLong {
        /// Seconds that it would last.
        lasts_s: u64,
        /// Seconds that it may.
        max_s: u64,
    },
    /// `iss` is not the issuer that is configured.
    IssuerRefused,
    /// `aud` does not name the audience that is configured.
    AudienceRefused,
    /// `channels` has a member that we do not know.
    ChannelsUnknown(Box<str>),
    /// There are more than [`PATTERNS_MAX`] patterns in all lists together.
    TooManyPatterns,
    /// A pattern of channels cannot be read.
    Pattern(PatternError),
}

/// The longest token, in bytes (security rule S13).
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

/// Patterns in all lists of one token together (security rule S13).
pub const PATTERNS_MAX: usize = 256;

/// One of the three parts of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The first.
    Header,
    /// The second.
    Claims,
    /// The third.
    Signature,
}

/// Why a text is not JSON that we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonFault {
    /// It is not JSON (RFC 8259), or a number is out of range.
    Malformed,
    /// An object has two members of one name: two readers could see two things.
    Duplicate,
    /// It is nested more than 16 levels deep.
    TooDeep,
    /// It is no object.
    NotAnObject,
}

impl TokenError {
    /// Whether the token may be accepted later, as it is: then the client should come back rather than give up.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        matches!(self, TokenError::KeysUnavailable)
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenError::TooLong { bytes } => {
                write!(f, "the token has {bytes} bytes; {TOKEN_BYTES_MAX} is the most")
            }
            TokenError::NotThreeParts => f.write_str("a token is three parts joined by dots; this is not"),
            TokenError::Encoding(part) => {
                write!(f, "the {part} is not base64url without padding (RFC 7515 section 2)")
            }
            TokenError::Json(part, fault) => write!(f, "the {part} {fault}"),
            TokenError::Header(what) => write!(f, "the header's {what}"),
            TokenError::AlgorithmRefused => {
                f.write_str("the header's `alg` is none of HS256, HS384, HS512, RS256, PS256, ES256, EdDSA")
            }
            TokenError::TypeRefused => f.write_str("the header's `typ` is neither `JWT` nor `at+jwt`"),
            TokenError::ExtensionRefused(name) => {
                write!(f, "the header has `{name}`, an extension that is not supported")
            }
            TokenError::KidInvalid => {
                f.write_str("the header's `kid` is not 1 to 128 characters of A-Z a-z 0-9 . _ -")
            }
            TokenError::SignatureMissing => f.write_str("the token is not signed"),
            TokenError::KeyUnknown => {
                f.write_str("no key of the header's `kid` and `alg` is configured or in the key set")
            }
            TokenError::SignatureInvalid => {
                f.write_str("the signature does not fit: another key signed it, or it was changed")
            }
            TokenError::KeysUnavailable => f.write_str("the key set cannot be fetched at the moment"),
            TokenError::ClaimMissing(name) => write!(f, "the claim `{name}` is missing"),
            TokenError::ClaimInvalid(name, wanted) => write!(f, "the claim `{name}` must be {wanted}"),
            TokenError::Expired { ago_s } => write!(f, "the token expired {ago_s} s ago"),
            TokenError::NotYet(name, in_s) => {
                write!(f, "the claim `{name}` lies {in_s} s ahead; compare the clocks")
            }
            TokenError::LastsTooLong { lasts_s, max_s } => {
                write!(f, "the token would last {lasts_s} s; {max_s} s is the most (auth.lifetime_max)")
            }
            TokenError::IssuerRefused => f.write_str("the claim `iss` is not the configured issuer"),
            TokenError::AudienceRefused => {
                f.write_str("the claim `aud` does not name the configured audience")
            }
            TokenError::ChannelsUnknown(name) => {
                let name: String = name.escape_default().take(64).collect();
                write!(
                    f,
                    "`channels` has `{name}`; it may have `subscribe`, `publish`, `presence` and `history`"
                )
            }
            TokenError::TooManyPatterns => {
                write!(f, "`channels` lists more than {PATTERNS_MAX} patterns in all")
            }
            TokenError::Pattern(error) => write!(f, "a pattern in `channels` cannot be read: {error}"),
        }
    }
}

impl std::error::Error for TokenError {}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Header => "header",
            Part::Claims => "part with the claims",
            Part::Signature => "signature",
        })
    }
}

impl fmt::Display for JsonFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JsonFault::Malformed => "is not JSON",
            JsonFault::Duplicate => "names something twice",
            JsonFault::TooDeep => "is nested too deeply",
            JsonFault::NotAnObject => "is not a JSON object",
        })
    }
}
