//! Files with keys: what `auth.keys` and the command line name.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::algorithm::Algorithm;
use super::jwk;
use super::keys::{Key, KeyError};
use super::parts::is_kid;
use super::secret::Strength;

/// The largest file of keys, in bytes.
pub const FILE_BYTES_MAX: usize = 256 << 10;

/// An entry of `auth.keys`: a file with keys, and what they are for. The algorithm is the configuration's, never the
/// token's (security rule S11).
///
/// | entry | names |
/// |---|---|
/// | `ES256:key.pem` | a public key in PEM, for tokens of that algorithm |
/// | `ES256:2026-11:key.pem` | the same, for tokens whose `kid` is `2026-11` |
/// | `HS512:live:secret.txt` | a file that holds a secret; a line break at its end does not belong to it |
/// | `keys.json` | a JWK or JWK Set (RFC 7517) whose keys name their `alg` |
///
/// A file whose own name has a colon is written with both: `ES256::a:b.pem`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFile {
    /// A file with nothing but the key: PEM, or the secret of an HMAC.
    Key {
        /// What it verifies.
        algorithm: Algorithm,
        /// The `kid` of tokens that it verifies; nothing means those of any.
        kid: Option<Box<str>>,
        /// Where it lies.
        path: PathBuf,
    },
    /// A JWK or a set of them in JSON, which name their algorithms and ids themselves.
    Jwk(PathBuf),
}

impl KeyFile {
    /// Reads what was written. The file itself is not looked at.
    ///
    /// # Errors
    /// [`KeyError::Entry`], [`KeyError::Algorithm`], [`KeyError::Kid`], and [`KeyError::Jwk`] for a file of JWKs that is
    /// said to be something else.
    pub fn parse(entry: &str) -> Result<KeyFile, KeyError> {
        let is_json = entry.ends_with(".json");
        let (name, rest) = match entry.split_once(':') {
            Some((name, rest)) if !rest.is_empty() => (name, rest),
            _ if is_json => return Ok(KeyFile::Jwk(entry.into())),
            _ => return Err(KeyError::Entry),
        };
        let algorithm = match Algorithm::parse(name) {
            Some(_) if is_json => {
                return Err(KeyError::Jwk("a JWK says itself what it is for: name its file alone"));
            }
            Some(algorithm) => algorithm,
            None if is_json => return Ok(KeyFile::Jwk(entry.into())),
            None => return Err(KeyError::Algorithm(name.into())),
        };
        let (kid, path) = rest.split_once(':').unwrap_or(("", rest));
        if path.is_empty() {
            return Err(KeyError::Entry);
        }
        if !kid.is_empty() && !is_kid(kid) {
            return Err(KeyError::Kid);
        }
        let kid = (!kid.is_empty()).then(|| kid.into());
        Ok(KeyFile::Key { algorithm, kid, path: path.into() })
    }

    /// The same file, its relative path beginning in `folder`.
    #[must_use]
    pub fn within(mut self, folder: &Path) -> KeyFile {
        let (KeyFile::Key { path, .. } | KeyFile::Jwk(path)) = &mut self;
        *path = folder.join(&*path);
        self
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        let (KeyFile::Key { path, .. } | KeyFile::Jwk(path)) = self;
        path
    }

    /// The `kid` that the entry gives to its key.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        match self {
            KeyFile::Key { kid, .. } => kid.as_deref(),
            KeyFile::Jwk(_) => None,
        }
    }

    /// Reads the keys.
    ///
    /// # Errors
    /// What is wrong with the file or a key. No error holds key material.
    pub fn read(&self, strength: Strength) -> Result<Vec<Key>, KeyError> {
        let text = file(self.path())?;
        let KeyFile::Key { algorithm, kid, .. } = self else {
            let text = std::str::from_utf8(&text).map_err(|_| KeyError::Jwk("the file is not UTF-8"))?;
            return jwk::read_file(text, strength);
        };
        let (algorithm, kid) = (*algorithm, kid.as_deref());
        if algorithm.secret_bytes_min().is_some() {
            return Ok(vec![Key::secret(algorithm, kid, line(&text), strength)?]);
        }
        let pem = std::str::from_utf8(&text).map_err(|_| KeyError::NotPem)?;
        Ok(vec![Key::pem(algorithm, kid, pem)?])
    }
}

impl fmt::Display for KeyFile {
    // As it is written in the configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path().display().to_string();
        match self {
            KeyFile::Jwk(_) => f.write_str(&path),
            KeyFile::Key { algorithm, kid: Some(kid), .. } => write!(f, "{algorithm}:{kid}:{path}"),
            // A colon of the path must not be taken for the end of an id.
            KeyFile::Key { algorithm, kid: None, .. } if path.contains(':') => {
                write!(f, "{algorithm}::{path}")
            }
            KeyFile::Key { algorithm, kid: None, .. } => write!(f, "{algorithm}:{path}"),
        }
    }
}

/// Reads an entry as people type it: a file alone will do where its content tells the algorithm, as a public key of P-256
/// or Ed25519 does; any other text is a secret for HS256. The configuration has to say more (security rule S11).
///
/// # Errors
/// As [`KeyFile::parse`] and [`KeyFile::read`].
pub fn read_typed(entry: &str, strength: Strength) -> Result<Vec<Key>, KeyError> {
    match KeyFile::parse(entry) {
        Err(KeyError::Entry) => {}
        named => return named?.read(strength),
    }
    let text = file(Path::new(entry))?;
    let Some(pem) = std::str::from_utf8(&text).ok().filter(|text| text.contains("-----BEGIN ")) else {
        return Ok(vec![Key::secret(Algorithm::Hs256, None, line(&text), strength)?]);
    };
    match Key::pem(Algorithm::EdDsa, None, pem).or_else(|_| Key::pem(Algorithm::Es256, None, pem)) {
        Ok(key) => Ok(vec![key]),
        Err(KeyError::WrongKind { .. }) => Err(KeyError::Entry),
        Err(error) => Err(error),
    }
}

/// The bytes of a file, which may be secret.
pub(crate) fn file(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let fails = |why: String| KeyError::File { path: path.display().to_string().into(), why: why.into() };
    let mut file = File::open(path).map_err(|error| fails(error.to_string()))?;
    // Reserved at once, so that no copy is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX + 1));
    let read = file.by_ref().take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| fails(error.to_string()))?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(fails(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// What a file of one line holds: editors and `echo` end it with a line break.
pub(crate) fn line(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(algorithm: Algorithm, kid: Option<&str>, path: &str) -> Result<KeyFile, KeyError> {
        Ok(KeyFile::Key { algorithm, kid: kid.map(Into::into), path: path.into() })
    }

    #[test]
    fn an_entry_names_an_algorithm_perhaps_a_key_and_a_file() {
        for (entry, expected) in [
            ("ES256:a.pem", key(Algorithm::Es256, None, "a.pem")),
            ("EdDSA:k-1:/etc/a.pem", key(Algorithm::EdDsa, Some("k-1"), "/etc/a.pem")),
            ("HS512::a:b", key(Algorithm::Hs512, None, "a:b")),
            ("keys.json", Ok(KeyFile::Jwk("keys.json".into()))),
            ("c:keys.json", Ok(KeyFile::Jwk("c:keys.json".into()))),
        ] {
            assert_eq!(KeyFile::parse(entry), expected, "{entry}");
            assert_eq!(expected.unwrap().to_string(), entry, "as it is written, it is read");
        }
    }

    #[test]
    fn s11_an_entry_without_an_algorithm_of_ours_is_refused() {
        for unknown in ["none:a.pem", "es256:a.pem", "RS512:a.pem", ":a.pem"] {
            assert!(matches!(KeyFile::parse(unknown), Err(KeyError::Algorithm(_))), "{unknown}");
        }
        for nothing in ["", "a.pem", "ES256", "ES256:", "ES256:k:", "ES256::"] {
            assert_eq!(KeyFile::parse(nothing), Err(KeyError::Entry), "{nothing}");
        }
        assert!(matches!(KeyFile::parse("ES256:k:a.json"), Err(KeyError::Jwk(_))));
    }

    #[test]
    fn s12_the_name_of_a_key_means_nothing_to_a_path_or_a_url() {
        for bad in ["ES256:a b:x.pem", "ES256:../k:x.pem", &format!("ES256:{}:x.pem", "k".repeat(129))] {
            assert_eq!(KeyFile::parse(bad), Err(KeyError::Kid), "{bad}");
        }
    }

    #[test]
    fn a_relative_path_begins_in_a_folder() {
        let within = |entry: &str| KeyFile::parse(entry).unwrap().within(Path::new("/etc")).to_string();
        assert_eq!(within("ES256:a.pem"), "ES256:/etc/a.pem");
        assert_eq!(within("/keys/a.json"), "/keys/a.json");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let read = KeyFile::parse("ES256:there/is/no.pem").unwrap().read(Strength::Required);
        let Err(KeyError::File { path, .. }) = read else { panic!() };
        assert_eq!(&*path, "there/is/no.pem");
    }

    #[test]
    fn only_the_last_line_break_does_not_belong_to_a_secret() {
        assert_eq!(line(b"a b\r\n"), b"a b");
        assert_eq!(line(b"a\n\n"), b"a\n");
        assert_eq!(line(b" a "), b" a ");
    }
}
