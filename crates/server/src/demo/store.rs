//! The store: documents by name, in one file of an embedded database, so that a demonstration outlives its server.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;

use redb::backends::{FileBackend, InMemoryBackend};
use redb::{Database, ReadableDatabase as _, TableDefinition};

const DOCUMENTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("documents");

/// What went wrong with it. There are many ways, and nothing that a visitor could do about any.
pub(super) type Failed = redb::Error;

/// Documents by name. Every change is on the disk when it is answered.
#[derive(Clone)]
pub(super) struct Store(Arc<Database>);

impl Store {
    /// Opens the file at `path`, which is made where there is none. Where it cannot be used, or there is no path, the store is
    /// in memory and ends with the process: a demonstration that forgets is better than none, and the log says so.
    pub(super) fn open(path: Option<&Path>) -> Store {
        let kept = path.and_then(|path| match at(path) {
            Ok(database) => Some(database),
            Err(why) => {
                let path = path.display();
                tracing::warn!("the demonstrations' state is kept in memory; {path} cannot be used: {why}");
                None
            }
        });
        Store(Arc::new(kept.unwrap_or_else(in_memory)))
    }

    /// The document `name`. It reads a file: not to be called where others wait.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Failed> {
        let reading = self.0.begin_read()?;
        match reading.open_table(DOCUMENTS) {
            Ok(documents) => Ok(documents.get(name)?.map(|document| document.value().to_vec())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the document `name`, and waits for the disk: not to be called where others wait.
    pub(super) fn write(&self, name: &str, document: &[u8]) -> Result<(), Failed> {
        let writing = self.0.begin_write()?;
        writing.open_table(DOCUMENTS)?.insert(name, document)?;
        Ok(writing.commit()?)
    }
}

fn at(path: &Path) -> Result<Database, Box<dyn std::error::Error>> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    // The key of the demonstrations' tokens is in it.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    Ok(Database::builder().create_with_backend(FileBackend::new(options.open(path)?)?)?)
}

fn in_memory() -> Database {
    let made = Database::builder().create_with_backend(InMemoryBackend::new());
    made.expect("a database in memory needs memory alone")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("tidewire-demo-{name}-{}", std::process::id()))
    }

    #[test]
    fn what_was_written_is_there_after_a_restart() {
        let folder = folder("restart");
        let path = folder.join("state/demo.redb");
        let store = Store::open(Some(&path));
        assert_eq!(store.read("board").unwrap(), None);
        store.write("board", b"1").unwrap();
        store.write("board", b"2").unwrap();
        drop(store);
        assert_eq!(Store::open(Some(&path)).read("board").unwrap().as_deref(), Some(&b"2"[..]));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "nobody else may read the key in it");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_is_in_use_or_no_database_is_left_alone() {
        let folder = folder("taken");
        let path = folder.join("demo.redb");
        let first = Store::open(Some(&path));
        first.write("board", b"1").unwrap();
        Store::open(Some(&path)).write("board", b"2").unwrap();
        assert_eq!(first.read("board").unwrap().as_deref(), Some(&b"1"[..]));

        let other = folder.join("notes.txt");
        std::fs::write(&other, "mine").unwrap();
        Store::open(Some(&other)).write("board", b"2").unwrap();
        assert_eq!(std::fs::read(&other).unwrap(), b"mine");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
