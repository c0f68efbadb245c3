//! Where the configuration says that keys are: `auth.keys` and `auth.hs256_secret`.

use std::fs::File;
use std::io::Read as _;

use zeroize::Zeroizing;

use super::algorithm::Algorithm;
use super::jwk;
use super::keys::{Key, KeyError};
use super::secret::Strength;

/// The largest file of keys, in bytes.
pub const FILE_BYTES_MAX: usize = 256 << 10;

/// Reads an entry of `auth.keys`:
///
/// | entry | names |
/// |---|---|
/// | `ES256:key.pem` | a public key in PEM, for tokens of that algorithm |
/// | `ES256:2026-11:key.pem` | the same, for tokens whose `kid` is `2026-11` |
/// | `HS512:live:secret.txt` | a file that holds a secret; a line break at its end does not belong to it |
/// | `keys.json` | a JWK or JWK Set (RFC 7517) whose keys name their `alg` |
///
/// A file whose own name has a colon is written with both: `ES256::a:b.pem`.
///
/// # Errors
/// What is wrong with the entry, the file or the key. No error holds key material.
pub fn read(entry: &str, strength: Strength) -> Result<Vec<Key>, KeyError> {
    let Some(Entry { algorithm, kid, path }) = Entry::parse(entry)? else {
        let text = file(entry)?;
        let text = std::str::from_utf8(&text).map_err(|_| KeyError::Jwk("the file is not UTF-8"))?;
        return jwk::read_file(text, strength);
    };
    let text = file(path)?;
    if algorithm.secret_bytes_min().is_some() {
        return Ok(vec![Key::secret(algorithm, kid, line(&text), strength)?]);
    }
    let pem = std::str::from_utf8(&text).map_err(|_| KeyError::NotPem)?;
    Ok(vec![Key::pem(algorithm, kid, pem)?])
}

/// The same for people who type: a file alone will do where its content tells the algorithm, as a public key of P-256 or
/// Ed25519 does; any other text is a secret for HS256. The configuration has to say more (security rule S11).
///
/// # Errors
/// As [`read`].
pub fn read_typed(entry: &str, strength: Strength) -> Result<Vec<Key>, KeyError> {
    match Entry::parse(entry) {
        Err(KeyError::Entry) => {}
        _ => return read(entry, strength),
    }
    let text = file(entry)?;
    let Some(pem) = std::str::from_utf8(&text).ok().filter(|text| text.contains("-----BEGIN ")) else {
        return Ok(vec![Key::secret(Algorithm::Hs256, None, line(&text), strength)?]);
    };
    match Key::pem(Algorithm::EdDsa, None, pem).or_else(|_| Key::pem(Algorithm::Es256, None, pem)) {
        Ok(key) => Ok(vec![key]),
        Err(KeyError::WrongKind { .. }) => Err(KeyError::Entry),
        Err(error) => Err(error),
    }
}

/// The key of `auth.hs256_secret`: the bytes of the text are the secret, whatever they may encode.
///
/// # Errors
/// [`KeyError::Weak`].
pub fn hs256_secret(text: &str, strength: Strength) -> Result<Key, KeyError> {
    Key::secret(Algorithm::Hs256, None, text.as_bytes(), strength)
}

/// An entry that names an algorithm and a file.
pub(crate) struct Entry<'a> {
    pub algorithm: Algorithm,
    pub kid: Option<&'a str>,
    pub path: &'a str,
}

impl<'a> Entry<'a> {
    /// Nothing if the entry is the name of a file of JWKs.
    pub(crate) fn parse(entry: &'a str) -> Result<Option<Entry<'a>>, KeyError> {
        let (name, rest) = match entry.split_once(':') {
            Some((name, rest)) if !rest.is_empty() => (name, rest),
            _ if entry.ends_with(".json") => return Ok(None),
            _ => return Err(KeyError::Entry),
        };
        let algorithm = match Algorithm::parse(name) {
            Some(algorithm) => algorithm,
            None if entry.ends_with(".json") => return Ok(None),
            None => return Err(KeyError::Algorithm(name.into())),
        };
        let (kid, path) = rest.split_once(':').map_or((None, rest), |(kid, path)| (Some(kid), path));
        Ok(Some(Entry { algorithm, kid: kid.filter(|kid| !kid.is_empty()), path }))
    }
}

/// The bytes of a file, which may be secret.
pub(crate) fn file(path: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let fails = |why: String| KeyError::File { path: path.into(), why: why.into() };
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

    type Named<'a> = (Algorithm, Option<&'a str>, &'a str);

    fn parse(entry: &str) -> Result<Option<Named<'_>>, KeyError> {
        Entry::parse(entry).map(|entry| entry.map(|entry| (entry.algorithm, entry.kid, entry.path)))
    }

    #[test]
    fn an_entry_names_an_algorithm_perhaps_a_key_and_a_file() {
        assert_eq!(parse("ES256:a.pem"), Ok(Some((Algorithm::Es256, None, "a.pem"))));
        assert_eq!(parse("EdDSA:k-1:/etc/a.pem"), Ok(Some((Algorithm::EdDsa, Some("k-1"), "/etc/a.pem"))));
        assert_eq!(parse("HS512::a:b"), Ok(Some((Algorithm::Hs512, None, "a:b"))));
        assert_eq!(parse("keys.json"), Ok(None));
        assert_eq!(parse("c:keys.json"), Ok(None));
    }

    #[test]
    fn s11_an_entry_without_an_algorithm_of_ours_is_refused() {
        for unknown in ["none:a.pem", "es256:a.pem", "RS512:a.pem", ":a.pem"] {
            assert!(matches!(parse(unknown), Err(KeyError::Algorithm(_))), "{unknown}");
        }
        for nothing in ["", "a.pem", "ES256", "ES256:"] {
            assert_eq!(parse(nothing), Err(KeyError::Entry), "{nothing}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let Err(KeyError::File { path, .. }) = read("ES256:there/is/no.pem", Strength::Required) else {
            panic!()
        };
        assert_eq!(&*path, "there/is/no.pem");
    }

    #[test]
    fn only_the_last_line_break_does_not_belong_to_a_secret() {
        assert_eq!(line(b"a b\r\n"), b"a b");
        assert_eq!(line(b"a\n\n"), b"a\n");
        assert_eq!(line(b" a "), b" a ");
    }
}
