//! `tidewire token`: makes tokens for trying things out, reads them, and says why one is not accepted.

use std::io::Read as _;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tidewire_auth::Claims;
use tidewire_auth::jwt::claims::SUBJECT_BYTES_MAX;
use tidewire_auth::jwt::error::{PATTERNS_MAX, TOKEN_BYTES_MAX};
use tidewire_auth::jwt::{
    Algorithm, Draft, Key, KeyError, KeySet, Options, Rules, SigningKey, Strength, Verifier, generate, source,
};
use tidewire_hub::{Now, Pattern, Scope};

use crate::exit::Failure;
use crate::show::{plain, print_line};

/// Where the server looks for its secret, too.
const SECRET_VARIABLE: &str = "TIDEWIRE_AUTH__HS256_SECRET";

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Token {
    /// Sign a token.
    New(New),
    /// Show what a token says. Proves nothing.
    Decode(Decode),
    /// Check a token as a server would, and say what is wrong with it.
    Verify(Verify),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct New {
    /// A private key or secret: FILE, ALGORITHM:FILE or ALGORITHM:KID:FILE
    #[arg(long, value_name = "KEY", conflicts_with = "secret_env")]
    pub key: Option<String>,
    /// The environment variable with the secret, for HS256 [default: TIDEWIRE_AUTH__HS256_SECRET]
    #[arg(long, value_name = "VARIABLE")]
    pub secret_env: Option<String>,
    /// Who bears it
    #[arg(long, value_name = "SUBJECT")]
    pub sub: String,
    /// Channels to subscribe to, as often as needed; `*` stands for whole segments
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub subscribe: Vec<String>,
    /// Channels to publish to
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub publish: Vec<String>,
    /// Channels to read from the beginning
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub history: Vec<String>,
    /// Channels whose presence to see
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub presence: Vec<String>,
    /// How long it is good: 90s, 15m, 1h, 7d
    #[arg(long, default_value = "1h", value_name = "DURATION")]
    pub ttl: String,
    /// The name of the key, which a server with several needs
    #[arg(long)]
    pub kid: Option<String>,
    /// Whom it is meant for
    #[arg(long, value_name = "AUDIENCE")]
    pub aud: Option<String>,
    /// Who issued it
    #[arg(long, value_name = "ISSUER")]
    pub iss: Option<String>,
    /// A name for this token, to revoke it by; a random one if none is given
    #[arg(long, value_name = "ID", num_args = 0..=1, default_missing_value = "")]
    pub jti: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Decode {
    /// The token; `-` reads standard input
    pub token: String,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Verify {
    /// The token; `-` reads standard input
    pub token: String,
    /// A public key or secret, as often as needed: FILE, ALGORITHM:FILE, ALGORITHM:KID:FILE or keys.json
    #[arg(long, value_name = "KEY")]
    pub key: Vec<String>,
    /// The environment variable with the secret, for HS256 [default: TIDEWIRE_AUTH__HS256_SECRET]
    #[arg(long, value_name = "VARIABLE")]
    pub secret_env: Option<String>,
    /// What `iss` must be
    #[arg(long, value_name = "ISSUER")]
    pub iss: Option<String>,
    /// What `aud` must be or contain
    #[arg(long, value_name = "AUDIENCE")]
    pub aud: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

pub(crate) fn run(token: Token) -> Result<(), Failure> {
    match token {
        Token::New(new) => sign(&new),
        Token::Decode(decode) => show(&decode),
        Token::Verify(verify) => check(&verify),
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Failure {
        Failure::Configuration(error.to_string())
    }
}

fn sign(args: &New) -> Result<(), Failure> {
    let key = match &args.key {
        Some(entry) => SigningKey::read(entry, Strength::Required),
        None => {
            let secret = secret(args.secret_env.as_deref())?
                .ok_or_else(|| Failure::Usage(format!("name a key with --key, or set {SECRET_VARIABLE}")))?;
            SigningKey::secret(Algorithm::Hs256, None, secret.as_bytes(), Strength::Required)
        }
    }?;
    let key = match &args.kid {
        Some(kid) => key.named(kid).map_err(|error| Failure::Usage(format!("--kid: {error}")))?,
        None => key,
    };
    let draft = draft(args, now().wall_ms / 1_000)?;
    let lasts_s = draft.expires_at_s - draft.issued_at_s;
    let max_s = Rules::default().lifetime_max.as_secs();
    let token = key.sign(&draft)?;
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Failure::Usage(format!(
            "the token has {} bytes; servers take {TOKEN_BYTES_MAX} at most",
            token.len()
        )));
    }
    print_line(&token)?;
    if lasts_s > max_s {
        eprintln!(
            "tidewire: this token lasts {lasts_s} s; servers take {max_s} s at most unless told otherwise"
        );
    }
    Ok(())
}

fn draft(args: &New, now_s: u64) -> Result<Draft, Failure> {
    if !(1..=SUBJECT_BYTES_MAX).contains(&args.sub.len()) {
        return Err(Failure::Usage(format!("--sub is 1 to {SUBJECT_BYTES_MAX} bytes")));
    }
    let lists = [&args.subscribe, &args.publish, &args.history, &args.presence];
    if lists.iter().map(|list| list.len()).sum::<usize>() > PATTERNS_MAX {
        return Err(Failure::Usage(format!("a token lists {PATTERNS_MAX} patterns at most")));
    }
    let id = match args.jti.as_deref() {
        None => None,
        Some("") => Some(generate::token_id().map_err(|error| Failure::Runtime(error.to_string()))?),
        Some(id) if id.len() <= SUBJECT_BYTES_MAX => Some(id.to_owned()),
        Some(_) => return Err(Failure::Usage(format!("--jti is 1 to {SUBJECT_BYTES_MAX} bytes"))),
    };
    Ok(Draft {
        subject: args.sub.clone(),
        issuer: args.iss.clone(),
        audience: args.aud.clone(),
        id,
        issued_at_s: now_s,
        expires_at_s: now_s.saturating_add(seconds(&args.ttl)?),
        subscribe: patterns("--subscribe", &args.subscribe)?,
        publish: patterns("--publish", &args.publish)?,
        presence: patterns("--presence", &args.presence)?,
        history: patterns("--history", &args.history)?,
    })
}

fn patterns(flag: &str, list: &[String]) -> Result<Vec<Pattern>, Failure> {
    let read = list.iter().map(|pattern| {
        Pattern::parse(pattern)
            .map_err(|error| Failure::Usage(format!("{flag} {}: {error}", pattern.escape_default())))
    });
    read.collect()
}

fn show(args: &Decode) -> Result<(), Failure> {
    let token = given(&args.token)?;
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Failure::Runtime("a token is three parts joined by dots; this is not".into()));
    };
    let (header, claims) = (part("header", header)?, part("part with the claims", claims)?);
    if args.json {
        return print_line(&json!({ "verified": false, "header": header, "claims": claims }).to_string());
    }
    print_line(&plain(&format!("{header:#}\n{claims:#}")))?;
    if let Some(expires_at_s) = claims.get("exp").and_then(Value::as_u64) {
        let now_s = now().wall_ms / 1_000;
        match expires_at_s.checked_sub(now_s) {
            Some(left_s) => eprintln!("It expires in {left_s} s."),
            None => eprintln!("It expired {} s ago.", now_s - expires_at_s),
        }
    }
    eprintln!("NOTHING WAS VERIFIED: anybody can write such a token. Check it with `tidewire token verify`.");
    Ok(())
}

fn part(name: &str, text: &str) -> Result<Value, Failure> {
    let bytes = URL_SAFE_NO_PAD.decode(text);
    let bytes =
        bytes.map_err(|_| Failure::Runtime(format!("the {name} is not base64url without padding")))?;
    serde_json::from_slice(&bytes).map_err(|_| Failure::Runtime(format!("the {name} is not JSON")))
}

fn check(args: &Verify) -> Result<(), Failure> {
    let mut keys = Vec::new();
    for entry in &args.key {
        let read = source::read_typed(entry, Strength::Required);
        keys.extend(read.map_err(|error| Failure::Configuration(format!("--key {entry}: {error}")))?);
    }
    if args.key.is_empty() || args.secret_env.is_some() {
        let secret = secret(args.secret_env.as_deref())?
            .ok_or_else(|| Failure::Usage(format!("name a key with --key, or set {SECRET_VARIABLE}")))?;
        keys.push(Key::secret(Algorithm::Hs256, None, secret.as_bytes(), Strength::Required)?);
    }
    let verifier = Verifier::new(Options {
        keys: KeySet::new(keys)?,
        jwks: None,
        rules: Rules {
            issuer: args.iss.as_deref().map(Into::into),
            audience: args.aud.as_deref().map(Into::into),
            ..Rules::default()
        },
    });
    let now = now();
    match verifier.verify_static(&given(&args.token)?, now) {
        Ok(claims) if args.json => print_line(&as_json(&claims).to_string()),
        Ok(claims) => {
            let left_s = claims.expires_at_s.saturating_sub(now.wall_ms / 1_000);
            let mut lines = vec![
                format!("subject    {}", plain(&claims.subject.escape_debug().to_string())),
                format!("expires    in {left_s} s"),
            ];
            lines.extend(
                claims
                    .id
                    .as_deref()
                    .map(|id| format!("id         {}", plain(&id.escape_debug().to_string()))),
            );
            for (name, scope) in scopes(&claims) {
                let patterns: Vec<&str> = scope.patterns().iter().map(Pattern::as_str).collect();
                lines.push(format!(
                    "{name:<10} {}",
                    if patterns.is_empty() { "-".into() } else { patterns.join(" ") }
                ));
            }
            print_line(&lines.join("\n"))
        }
        Err(error) => {
            if args.json {
                print_line(&json!({ "verified": false, "why": error.to_string() }).to_string())?;
            }
            Err(Failure::Runtime(format!("the token is not accepted: {error}")))
        }
    }
}

fn scopes(claims: &Claims) -> [(&'static str, &Scope); 4] {
    [
        ("subscribe", &claims.subscribe),
        ("publish", &claims.publish),
        ("presence", &claims.presence),
        ("history", &claims.history),
    ]
}

fn as_json(claims: &Claims) -> Value {
    let channels = scopes(claims).map(|(name, scope)| {
        let patterns: Vec<&str> = scope.patterns().iter().map(Pattern::as_str).collect();
        (name.to_owned(), patterns.into())
    });
    json!({
        "verified": true, "sub": claims.subject, "jti": claims.id, "iat": claims.issued_at_s,
        "exp": claims.expires_at_s, "channels": Value::Object(channels.into_iter().collect()),
    })
}

/// The secret of an environment variable. Nothing if nobody named one and the usual one is not set.
fn secret(variable: Option<&str>) -> Result<Option<String>, Failure> {
    match (std::env::var(variable.unwrap_or(SECRET_VARIABLE)), variable) {
        (Ok(secret), _) => Ok(Some(secret)),
        (Err(_), None) => Ok(None),
        (Err(_), Some(name)) => {
            Err(Failure::Usage(format!("the environment variable {name} is not set, or not UTF-8")))
        }
    }
}

/// The token that was typed or piped. What surrounds it is no part of it.
fn given(token: &str) -> Result<String, Failure> {
    if token != "-" {
        return Ok(token.trim().to_owned());
    }
    let mut text = String::new();
    // More than a token may have, so that one that is too long is called that.
    let read = std::io::stdin().lock().take(16 * TOKEN_BYTES_MAX as u64).read_to_string(&mut text);
    read.map_err(|error| Failure::Runtime(format!("cannot read standard input: {error}")))?;
    Ok(text.trim().to_owned())
}

/// `90s`, `15m`, `1h`, `7d`.
pub(crate) fn seconds(text: &str) -> Result<u64, Failure> {
    let wrong = || Failure::Usage(format!("--ttl {}: write 90s, 15m, 1h or 7d", text.escape_default()));
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(factor).filter(|seconds| *seconds > 0).ok_or_else(wrong)
}

fn now() -> Now {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now { monotonic_ms: 0, wall_ms: u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX), micros: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_has_a_unit_and_a_length() {
        for (text, expected) in [("90s", 90), ("15m", 900), ("1h", 3_600), ("7d", 604_800)] {
            assert_eq!(seconds(text), Ok(expected));
        }
        for wrong in ["", "1", "0s", "-1h", "1.5h", "h", "1é", "99999999999999999999d"] {
            assert!(matches!(seconds(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn a_token_cannot_write_on_the_terminal() {
        assert_eq!(plain("a\u{1b}[2J\u{9b}\u{202e}\nb"), "a\\u{1b}[2J\\u{9b}\\u{202e}\nb");
    }
}
