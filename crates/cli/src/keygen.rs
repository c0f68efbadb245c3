//! `tidewire keygen`: strong keys, said once and kept where only their owner reads them.
//!
//! What is to be used goes to standard output, so that `$(tidewire keygen)` is the secret and nothing else; what is to be
//! known about it goes to standard error.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tidewire_auth::api_key::{self, Entry, Powers};
use tidewire_auth::jwt::Algorithm;
use tidewire_auth::jwt::generate::{self, KeyPair};
use tidewire_auth::secret::NoEntropy;

use crate::exit::Failure;
use crate::show::print_line;

#[derive(Clone, Debug, Args)]
pub(crate) struct Keygen {
    /// What to make
    #[arg(value_enum, default_value_t = Kind::Hs256)]
    pub kind: Kind,
    /// Write files into this folder instead of printing; none is overwritten
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// What an API key is called in the configuration and in logs
    #[arg(long, default_value = "backend")]
    pub name: String,
    /// What an API key may do: publish, subscribe, admin, joined by +
    #[arg(long, default_value = "publish+subscribe")]
    pub scopes: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A secret of 256 bits: who verifies tokens can also sign them
    Hs256,
    /// A secret of 512 bits
    Hs512,
    /// A pair of Ed25519: servers hold only the public half
    Eddsa,
    /// A pair of P-256: the same, where Ed25519 is not understood
    Es256,
    /// A key for a backend; the configuration holds its hash
    ApiKey,
}

pub(crate) fn run(args: &Keygen) -> Result<(), Failure> {
    let made = match args.kind {
        Kind::Hs256 => secret(Algorithm::Hs256, "hs256")?,
        Kind::Hs512 => secret(Algorithm::Hs512, "hs512")?,
        Kind::Eddsa => pair(Algorithm::EdDsa, "eddsa")?,
        Kind::Es256 => pair(Algorithm::Es256, "es256")?,
        Kind::ApiKey => api_key(&args.name, &args.scopes)?,
    };
    let mut description = made.description;
    let shown: Vec<String> = match &args.out {
        None => {
            for part in &made.parts {
                description[part.field] = part.text.trim_end().into();
            }
            made.parts.iter().map(|part| part.text.trim_end().to_owned()).collect()
        }
        Some(folder) => {
            let paths = write(folder, &made.parts)?;
            description["files"] = paths.as_slice().into();
            paths
        }
    };
    if args.json {
        return print_line(&description.to_string());
    }
    print_line(&shown.join("\n"))?;
    made.notes.iter().for_each(|note| eprintln!("{note}"));
    Ok(())
}

/// What was made, in the order shown.
struct Made {
    parts: Vec<Part>,
    /// For `--json`: everything but the parts.
    description: Value,
    /// What its owner should know.
    notes: Vec<String>,
}

struct Part {
    /// Its name in `--json`.
    field: &'static str,
    file: String,
    secret: bool,
    text: String,
}

fn secret(algorithm: Algorithm, name: &str) -> Result<Made, Failure> {
    let secret = generate::secret(algorithm).map_err(no_entropy)?;
    let secret = secret.ok_or_else(|| Failure::Usage(format!("{algorithm} has no secret")))?;
    let bits = algorithm.secret_bytes_min().unwrap_or_default() * 8;
    let file = format!("{name}.secret");
    let mut notes = vec![format!(
        "# {bits} random bits from the operating system, in base64url; the text itself is the secret."
    )];
    if algorithm == Algorithm::Hs256 {
        notes.push(
            "# Give it to the server as TIDEWIRE_AUTH__HS256_SECRET, and to whoever signs tokens.".into(),
        );
    } else {
        notes.push(format!("# Keep it in a file and name that in auth.keys: \"{algorithm}:{file}\"."));
    }
    Ok(Made {
        parts: vec![Part { field: "secret", file, secret: true, text: format!("{}\n", *secret) }],
        description: json!({ "algorithm": algorithm.name(), "entropy_bits": bits }),
        notes,
    })
}

fn pair(algorithm: Algorithm, name: &str) -> Result<Made, Failure> {
    let pair = KeyPair::generate(algorithm).map_err(no_entropy)?;
    let pair = pair.ok_or_else(|| Failure::Usage(format!("{algorithm} has no pair of keys")))?;
    let part = |field, file: &str, secret, text: &str| Part {
        field,
        file: format!("{name}.{file}"),
        secret,
        text: text.to_owned(),
    };
    Ok(Made {
        parts: vec![
            part("private_pem", "private.pem", true, &pair.private_pem),
            part("public_pem", "public.pem", false, &pair.public_pem),
            part("jwk", "jwk.json", false, &format!("{}\n", pair.jwk)),
        ],
        description: json!({ "algorithm": algorithm.name(), "kid": pair.kid, "entropy_bits": 256 }),
        notes: vec![
            "# 256 random bits from the operating system; to find the private key from the public one takes about 2^128 steps.".into(),
            "# Sign with the private key and keep it from servers. Name the public one in auth.keys:".into(),
            format!("#   \"{algorithm}:{}:{name}.public.pem\", or \"{name}.jwk.json\"", pair.kid),
        ],
    })
}

fn api_key(name: &str, scopes: &str) -> Result<Made, Failure> {
    let powers: Powers = scopes.parse().map_err(|_| {
        let scopes = scopes.escape_default();
        Failure::Usage(format!("--scopes {scopes}: join some of publish, subscribe and admin by +"))
    })?;
    let key = api_key::generate().map_err(no_entropy)?;
    let entry = Entry::of(name, powers, &key)
        .map_err(|_| Failure::Usage("--name is 1 to 64 characters of A-Z a-z 0-9 . _ -".into()))?;
    // In one order and each once: two lines that mean the same look the same.
    let (line, scopes) = (entry.line(), powers.to_string());
    let scopes: Vec<&str> = scopes.split('+').collect();
    Ok(Made {
        parts: vec![
            Part { field: "key", file: format!("{name}.api-key"), secret: true, text: format!("{}\n", key.reveal()) },
            Part { field: "line", file: format!("{name}.api-key.line"), secret: false, text: format!("{line}\n") },
        ],
        description: json!({ "name": name, "scopes": scopes, "entropy_bits": 256 }),
        notes: vec![
            "# The key has 256 random bits from the operating system and is shown this once.".into(),
            "# The backend sends it as `Authorization: Bearer …`; the line with its hash goes into auth.api_keys.".into(),
        ],
    })
}

/// Writes every part, or none: a folder that holds one of the files already is left as it is.
fn write(folder: &Path, parts: &[Part]) -> Result<Vec<String>, Failure> {
    let fails = |path: &Path, why: &dyn std::fmt::Display| {
        Failure::Runtime(format!("cannot write {}: {why}", path.display()))
    };
    let paths: Vec<PathBuf> = parts.iter().map(|part| folder.join(&part.file)).collect();
    if let Some(taken) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(fails(taken, &"it exists, and keys are not overwritten"));
    }
    let mut made = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut made, 0o700);
    made.recursive(true).create(folder).map_err(|error| fails(folder, &error))?;
    for (part, path) in parts.iter().zip(&paths) {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        // The mode is set with the file, so that no moment passes in which others may open it.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, if part.secret { 0o600 } else { 0o644 });
        let mut file = options.open(path).map_err(|error| fails(path, &error))?;
        let written = file.write_all(part.text.as_bytes()).and_then(|()| file.sync_all());
        written.map_err(|error| fails(path, &error))?;
    }
    Ok(paths.iter().map(|path| path.display().to_string()).collect())
}

fn no_entropy(error: NoEntropy) -> Failure {
    Failure::Runtime(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_key_comes_with_the_line_that_lets_it_in() {
        let made = api_key("billing", "admin+publish").unwrap();
        let (key, line) = (made.parts[0].text.trim_end(), made.parts[1].text.trim_end());
        assert_eq!(
            line,
            format!(
                "billing:publish+admin:{}",
                tidewire_auth::secret::hex(&tidewire_auth::secret::digest(key))
            )
        );
        assert!(made.parts[0].secret && !made.parts[1].secret);
    }

    #[test]
    fn a_name_or_scope_that_the_configuration_could_not_hold_is_refused() {
        for (name, scopes) in [
            ("", "admin"),
            ("a:b", "admin"),
            ("a,b", "admin"),
            ("a", ""),
            ("a", "root"),
            ("a", "publish,admin"),
        ] {
            assert!(matches!(api_key(name, scopes), Err(Failure::Usage(_))), "{name} {scopes}");
        }
    }
}
