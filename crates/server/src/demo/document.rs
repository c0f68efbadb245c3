//! A document: the state of one demonstration, in memory and in the store.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;
use tokio::sync::{Mutex, MutexGuard};

use super::store::{Failed, Store};

/// The state of one demonstration. Changes come one after another, and each is stored before anybody sees it.
pub(super) struct Document<T> {
    name: &'static str,
    store: Store,
    value: Mutex<T>,
}

impl<T: Clone + Serialize + DeserializeOwned + Send + 'static> Document<T> {
    /// Reads the document `name`, or begins with `first` where there is none, or one of another time that means nothing now.
    pub(super) fn open(store: &Store, name: &'static str, first: impl FnOnce() -> T) -> Document<T> {
        let kept = store.read(name).unwrap_or_else(|why| {
            tracing::warn!("the demonstrations' `{name}` begins anew: {why}");
            None
        });
        let value = kept.and_then(|json| serde_json::from_slice(&json).ok());
        Document { name, store: store.clone(), value: Mutex::new(value.unwrap_or_else(first)) }
    }

    /// The state as it was opened, for whoever has not begun to share it.
    pub(super) fn as_opened(&mut self) -> &T {
        self.value.get_mut()
    }

    /// The state as it is. It does not change while what is given here is held.
    pub(super) async fn look(&self) -> MutexGuard<'_, T> {
        self.value.lock().await
    }

    /// Changes the state and stores it; where `change` fails, or the store does, nothing has happened.
    ///
    /// Whoever tells others of the change does so while what is given here is held, so that they hear of changes in the
    /// order in which they were made.
    ///
    /// # Errors
    /// Those of `change`, and `overloaded` where it cannot be stored.
    pub(super) async fn change<R>(
        &self,
        change: impl FnOnce(&mut T) -> Result<R, Refusal>,
    ) -> Result<(R, MutexGuard<'_, T>), Refusal> {
        self.attempt(change).await
    }

    /// [`Document::change`], for changes that fail in more ways than a refusal has words for.
    ///
    /// # Errors
    /// Those of `change`, and `overloaded` where it cannot be stored.
    pub(super) async fn attempt<R, E: From<Refusal>>(
        &self,
        change: impl FnOnce(&mut T) -> Result<R, E>,
    ) -> Result<(R, MutexGuard<'_, T>), E> {
        let mut value = self.value.lock().await;
        let mut next = value.clone();
        let result = change(&mut next)?;
        self.write(&next).await?;
        *value = next;
        Ok((result, value))
    }

    async fn write(&self, value: &T) -> Result<(), Refusal> {
        let unstored = |why: String| {
            tracing::warn!("the demonstrations' `{}` was not stored: {why}", self.name);
            Refusal::new(Reason::Overloaded, "this could not be stored, and has not happened")
        };
        let json = serde_json::to_vec(value).map_err(|error| unstored(error.to_string()))?;
        let (store, name) = (self.store.clone(), self.name);
        // It waits for the disk.
        let written = tokio::task::spawn_blocking(move || store.write(name, &json)).await;
        let written = written.map_err(|error| unstored(error.to_string()))?;
        written.map_err(|error: Failed| unstored(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_that_fails_has_not_happened() {
        let store = Store::open(None);
        let document = Document::open(&store, "numbers", || vec![1]);
        let refused = document.change(|numbers| {
            numbers.push(2);
            Err::<(), _>(Refusal::new(Reason::BadRequest, "two is too many"))
        });
        assert!(refused.await.is_err());
        assert_eq!(*document.look().await, [1]);
        let pushed = |numbers: &mut Vec<u8>| {
            numbers.push(3);
            Ok(())
        };
        document.change(pushed).await.map(|_| ()).unwrap();
        assert_eq!(*Document::open(&store, "numbers", Vec::<u8>::new).look().await, [1, 3]);
    }

    #[tokio::test]
    async fn a_document_that_nobody_understands_any_more_begins_anew() {
        let store = Store::open(None);
        store.write("numbers", b"{\"of\": \"another version\"}").unwrap();
        assert_eq!(*Document::open(&store, "numbers", || vec![7]).look().await, [7]);
    }
}
