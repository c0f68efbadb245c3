//! `tidewire init`: a configuration to start from, and a secret beside it.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use tidewire_auth::secret::Secret;
use tidewire_server::config::manual;
use tidewire_server::config::show::literal;

use crate::args::Init;
use crate::exit::Failure;
use crate::show::print;

pub(crate) fn run(args: &Init) -> Result<(), Failure> {
    let path = &args.path;
    if !args.force && path.exists() {
        return Err(Failure::Runtime(format!(
            "{} exists; --force replaces it, --path writes another one",
            path.display()
        )));
    }
    let secret = path.with_extension("secret");
    if secret == *path {
        return Err(Failure::Usage(format!("{} is where the secret goes", path.display())));
    }
    let name = secret.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let made = write_secret(&secret)?;
    let line = format!("hs256_secret_file = {}", literal(&name.into()));
    let text = manual::with("auth", "hs256_secret", &line);
    std::fs::write(path, text).map_err(|error| cannot_write(path, &error))?;
    print(said(path, &secret, made).as_bytes())
}

/// Whether there is a new secret. An old one is kept: tokens that were signed with it would end at once.
fn write_secret(path: &Path) -> Result<bool, Failure> {
    let secret = Secret::generate("").map_err(|error| Failure::Runtime(error.to_string()))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(cannot_write(path, &error)),
    };
    let written = file.write_all(secret.reveal().as_bytes()).and_then(|()| file.write_all(b"\n"));
    written.map_err(|error| cannot_write(path, &error))?;
    Ok(true)
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Runtime(format!("cannot write {}: {error}", path.display()))
}

fn said(path: &Path, secret: &Path, made: bool) -> String {
    let (file, secret) = (path.display(), secret.display());
    let of_secret = if made {
        format!("{secret}: a new HS256 secret of 256 random bits, for you alone to read")
    } else {
        format!("{secret}: kept as it was, so that its tokens stay good")
    };
    let named = if path == Path::new("tidewire.toml") { String::new() } else { format!(" --config {file}") };
    format!(
        "{file}: every key with its default and what it means
{of_secret}

With it, the server is no longer in dev mode: whoever comes needs a token signed with the secret, and pages need
their origin in `auth.origins`. Keep the secret out of version control, and give it to the backend that signs.

next   tidewire check{named}
       tidewire serve{named}
"
    )
}
