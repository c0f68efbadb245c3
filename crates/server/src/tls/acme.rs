//! A certificate that an ACME server signs (RFC 8555): ordered, shown, kept, and renewed before it ends.
//!
//! ```text
//! Cache ──kept before──▶ Acme::keep ──due──▶ order ──▶ Issued ──▶ shown by Identities
//!   ▲                        ▲                 │ poses           └─▶ Cache
//!   │                        └── a pause ◀─────┤ failed
//!   └── account's key                          ▼
//!                                          Challenges ──▶ who asks by `acme-tls/1` (RFC 8737)
//! ```
//!
//! What is shown goes on being shown whatever becomes of an order.

mod account;
mod cache;
mod challenge;
mod issued;
mod order;
mod trust;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;
use tokio::time::{sleep, timeout};

use self::cache::Cache;
use self::challenge::Challenges;
use self::issued::Issued;
use self::order::{Failure, Orders};
use super::identity::Unreadable;
use crate::config::TlsSettings;

/// How long a certificate is left alone at a time. The clock may be put right meanwhile, and a machine may sleep.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);

/// How long an order may take. Servers ask for names from several places, and some check by hand what they sign.
const ORDER_MAX: Duration = Duration::from_secs(300);

/// Pauses after the first, second and later failures in a row. Let's Encrypt lets a name fail five times an hour, and
/// another time every twelve minutes.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(900),
    Duration::from_secs(3_600),
];

/// All that is needed to have a certificate.
#[derive(Debug)]
pub(super) struct Acme {
    orders: Orders,
    cache: Cache,
    challenges: Challenges,
    kept: Option<Issued>,
}

impl Acme {
    /// ACME as `settings` have it, with the certificate of last time. Changes nothing, and asks nobody.
    ///
    /// # Errors
    /// What is missing, or cannot be read.
    pub(super) fn open(settings: &TlsSettings) -> Result<Option<Acme>, Unreadable> {
        if settings.acme.is_empty() {
            return Ok(None);
        }
        let Some(folder) = &settings.acme_cache else {
            let why = "it is not set, and without a folder that keeps them every start would order a new account \
                       and a new certificate; name one that this server may write to";
            return Err(Unreadable::of("tls.acme_cache", &why));
        };
        let cache = Cache::new(folder, &settings.acme_directory);
        let kept = cache.certificate().unwrap_or_else(|why| {
            tracing::warn!("`tls.acme`: the certificate of last time is of no use: {why}");
            None
        });
        let orders = Orders {
            names: settings.acme.iter().map(ToString::to_string).collect(),
            contact: settings.acme_contact.iter().map(|address| format!("mailto:{address}")).collect(),
            directory: settings.acme_directory.to_string(),
            client: trust::client(settings.acme_ca.as_deref())?,
        };
        Ok(Some(Acme { orders, cache, challenges: Challenges::default(), kept }))
    }

    /// Makes the folder of the cache, if it is not there, and the account's key.
    ///
    /// # Errors
    /// It cannot be written to, or others can, or the key is none.
    pub(super) fn prepare(&self) -> Result<(), Unreadable> {
        let unusable = |why: String| Unreadable::of("tls.acme_cache", &why);
        self.cache.prepare().map_err(unusable)?;
        account::key(&self.cache).map(|_| ()).map_err(unusable)
    }

    /// The certificate of last time.
    pub(super) fn kept(&self) -> Option<Arc<CertifiedKey>> {
        self.kept.as_ref().map(|issued| issued.identity.clone())
    }

    /// What proves that this server has the name which is asked for, while an order wants that proven.
    pub(super) fn answer(&self, hello: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.challenges.answer(hello.server_name()?)
    }

    /// Orders a certificate whenever one is due, for as long as somebody polls this, and has each shown.
    pub(super) async fn keep(&self, show: impl Fn(Arc<CertifiedKey>)) {
        let names = &self.orders.names;
        let (mut held, mut is_kept) = (self.kept.clone(), true);
        let mut failures = 0;
        loop {
            is_kept = is_kept || held.as_ref().is_none_or(|held| self.save(held));
            let due_in = |held: &Issued| held.due_in(names, SystemTime::now());
            let wait = held.as_ref().map_or(Duration::ZERO, due_in);
            if !wait.is_zero() {
                failures = 0;
                sleep(wait.min(LOOK_EVERY)).await;
                continue;
            }
            let again_in = pause(failures);
            match self.order().await {
                Ok(issued) => {
                    let days_left = issued.days_left(SystemTime::now());
                    tracing::info!(names = %names.join(", "), days_left, "a new certificate is in use");
                    show(issued.identity.clone());
                    let is_due = due_in(&issued).is_zero();
                    (held, is_kept) = (Some(issued), false);
                    if !is_due {
                        continue;
                    }
                    // Another at once would be due as well, and the one after that.
                    tracing::warn!(
                        ?again_in,
                        "`tls.acme`: the new certificate is due already: is the clock right?"
                    );
                }
                Err(failure) => {
                    let shown = if held.is_some() { "; the one before stays in use" } else { "" };
                    tracing::warn!(?again_in, "`tls.acme`: no certificate: {failure}{shown}");
                }
            }
            sleep(again_in).await;
            failures += 1;
        }
    }

    async fn order(&self) -> Result<Issued, Failure> {
        let key = account::key(&self.cache).map_err(Failure::Here)?;
        let ordered = timeout(ORDER_MAX, self.orders.run(&key, &self.challenges)).await;
        ordered.unwrap_or(Err(Failure::Late))
    }

    /// Whether it could be kept.
    fn save(&self, issued: &Issued) -> bool {
        let saved = self.cache.keep_certificate(&issued.pem);
        match &saved {
            Ok(()) => tracing::info!("the certificate is kept"),
            Err(why) => {
                tracing::warn!("`tls.acme_cache`: the certificate is in use and not kept: {why}");
            }
        }
        saved.is_ok()
    }
}

/// How long to wait after a failure that others came before.
fn pause(before: usize) -> Duration {
    PAUSES[before.min(PAUSES.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_cannot_be_proven_is_tried_no_more_often_than_lets_encrypt_allows() {
        let mut at = Duration::ZERO;
        let tries = (0..).map(|before| {
            at += pause(before);
            at
        });
        let in_the_first_hour = 1 + tries.take_while(|at| *at < Duration::from_secs(3_600)).count();
        assert_eq!(in_the_first_hour, 5);
        assert_eq!(pause(1_000), Duration::from_secs(3_600));
    }

    #[test]
    fn without_a_folder_to_keep_things_in_there_is_no_order() {
        let settings = TlsSettings { acme: vec!["live.example".into()], ..TlsSettings::default() };
        let wrong = Acme::open(&settings).unwrap_err();
        assert_eq!(wrong.key, "tls.acme_cache");
    }
}
