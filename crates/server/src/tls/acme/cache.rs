//! What outlives the process: the account's key and the certificate with its key, for each ACME server its own. Nobody
//! else may read them.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::issued::Issued;

/// A folder, and how the files of one ACME server begin there.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    stem: String,
}

/// Bytes of a directory's address that name its files. File systems have names of 255.
const STEM_BYTES_MAX: usize = 200;

impl Cache {
    /// The files of the server whose directory is at `directory`, in `folder`.
    pub(super) fn new(folder: &Path, directory: &str) -> Cache {
        let address = directory.trim_start_matches("https://");
        let plain = |char: char| if char.is_ascii_alphanumeric() || "-.".contains(char) { char } else { '_' };
        let stem = address.chars().take(STEM_BYTES_MAX).map(plain).collect();
        Cache { folder: folder.to_owned(), stem }
    }

    /// Makes the folder if it is not there, and tries to write to it.
    ///
    /// # Errors
    /// In words, why it is of no use.
    pub(super) fn prepare(&self) -> Result<(), String> {
        make(&self.folder).map_err(|error| told(&self.folder, &error))?;
        if others_may_write(&self.folder).map_err(|error| told(&self.folder, &error))? {
            return Err(format!(
                "{}: others may write to it, and so have this server show what they like; chmod go-w it",
                self.folder.display()
            ));
        }
        let tried = self.file("try");
        write(&tried, "").and_then(|()| fs::remove_file(&tried)).map_err(|error| told(&tried, &error))
    }

    /// Where the account's key is.
    pub(super) fn account_file(&self) -> PathBuf {
        self.file("account.key")
    }

    /// The account's key in PEM.
    ///
    /// # Errors
    /// In words, why it cannot be read. That there is none is no error.
    pub(super) fn account(&self) -> Result<Option<String>, String> {
        read(&self.account_file())
    }

    /// Keeps the account's key.
    ///
    /// # Errors
    /// In words, why it is not kept.
    pub(super) fn keep_account(&self, pem: &str) -> Result<(), String> {
        self.replace(&self.account_file(), pem)
    }

    /// The certificate of last time.
    ///
    /// # Errors
    /// In words, why it is of no use. That there is none is no error.
    pub(super) fn certificate(&self) -> Result<Option<Issued>, String> {
        let path = self.file("certificate.pem");
        let Some(pem) = read(&path)? else { return Ok(None) };
        Issued::read(pem).map(Some).map_err(|why| format!("{}: {why}", path.display()))
    }

    /// Keeps a certificate with its key.
    ///
    /// # Errors
    /// In words, why it is not kept.
    pub(super) fn keep_certificate(&self, pem: &str) -> Result<(), String> {
        self.replace(&self.file("certificate.pem"), pem)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{}.{name}", self.stem))
    }

    /// At one moment: a machine that stops in between has the file of before.
    fn replace(&self, path: &Path, content: &str) -> Result<(), String> {
        let new = self.file("new");
        write(&new, content).and_then(|()| fs::rename(&new, path)).map_err(|error| told(path, &error))
    }
}

fn told(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn read(path: &Path) -> Result<Option<String>, String> {
    match fs::read_to_string(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(told(path, &error)),
    }
}

/// Writes a file that only we may read, from its first byte on.
fn write(path: &Path, content: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        // What was left there may be anybody's to read.
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

/// Makes a folder that only we may enter. One that is there stays as it is.
fn make(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(unix)]
fn others_may_write(folder: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    Ok(fs::metadata(folder)?.mode() & 0o022 != 0)
}

#[cfg(not(unix))]
fn others_may_write(_: &Path) -> io::Result<bool> {
    Ok(false)
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const DIRECTORY: &str = "https://acme.example:14000/dir?x=../..";

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("tidewire-acme-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_kept_is_read_by_nobody_else_and_found_again() {
        let folder = Folder::new("kept");
        let cache = Cache::new(&folder.0.join("a/b"), DIRECTORY);
        assert_eq!(cache.account(), Ok(None));
        cache.prepare().unwrap();
        cache.keep_account("one").unwrap();
        cache.keep_account("two").unwrap();
        assert_eq!(cache.account(), Ok(Some("two".into())));
        assert_eq!(mode(&folder.0.join("a/b")), 0o700);
        assert_eq!(mode(&cache.account_file()), 0o600);
        let files: Vec<_> = fs::read_dir(folder.0.join("a/b")).unwrap().collect();
        assert_eq!(files.len(), 1, "{files:?}");
        let other = Cache::new(&folder.0.join("a/b"), "https://staging.example/dir");
        assert_eq!(other.account(), Ok(None), "each server has its own");
    }

    #[test]
    fn a_file_that_others_could_read_does_not_stay_so() {
        let folder = Folder::new("open");
        let cache = Cache::new(&folder.0, DIRECTORY);
        cache.prepare().unwrap();
        for path in [cache.account_file(), cache.file("new")] {
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        }
        cache.keep_account("secret").unwrap();
        assert_eq!(mode(&cache.account_file()), 0o600);
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let folder = Folder::new("shared");
        fs::create_dir(&folder.0).unwrap();
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(Cache::new(&folder.0, DIRECTORY).prepare().unwrap_err().contains("others may write"));
    }

    #[test]
    fn a_folder_that_is_none_is_refused_by_its_name() {
        let folder = Folder::new("file");
        fs::write(&folder.0, "").unwrap();
        let wrong = Cache::new(&folder.0, DIRECTORY).prepare().unwrap_err();
        assert!(wrong.starts_with(&*folder.0.to_string_lossy()), "{wrong}");
        fs::remove_file(&folder.0).unwrap();
    }

    #[test]
    fn a_directorys_address_names_files_and_leads_nowhere() {
        let cache = Cache::new(Path::new("/cache"), DIRECTORY);
        assert_eq!(cache.account_file(), Path::new("/cache/acme.example_14000_dir_x_.._...account.key"));
        let long = Cache::new(Path::new("/cache"), &format!("https://{}", "a".repeat(1_000)));
        assert!(long.account_file().file_name().unwrap().len() < 255);
    }
}
