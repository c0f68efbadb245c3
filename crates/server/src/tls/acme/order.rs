//! An order: what is asked of an ACME server, in which order, and what came of it (RFC 8555 section 7.1).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::ClientConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls_acme::acme::{Account, AcmeError, Auth, AuthStatus, Directory, Identifier, OrderStatus, Problem};
use tokio::time::{sleep, timeout};

use super::challenge::Challenges;
use super::issued::Issued;

/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// How often one request is repeated because its nonce was not taken, which RFC 8555 section 6.5 asks of clients.
const NONCES_MAX: usize = 10;

/// How long to wait before asking how it stands, at first; it doubles, to at most [`ASK_AFTER_MAX`].
const ASK_AFTER: Duration = Duration::from_millis(250);
const ASK_AFTER_MAX: Duration = Duration::from_secs(5);

/// What every order is made of.
#[derive(Debug)]
pub(super) struct Orders {
    /// What the certificate is for.
    pub(super) names: Vec<String>,
    /// URLs that the account's owner can be written to at.
    pub(super) contact: Vec<String>,
    /// Where the server is.
    pub(super) directory: String,
    /// Who is believed to be the server.
    pub(super) client: Arc<ClientConfig>,
}

/// Why there is no certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server did not answer, or not as it should have, or refused: what it was asked for, and what came of it.
    Asked(&'static str, String),
    /// The server does not believe that we have a name: which, and why.
    Unproven(String, String),
    /// The order did not come to a certificate.
    Ended(String),
    /// The certificate is of no use.
    Useless(String),
    /// Something on this machine is in the way.
    Here(String),
    /// It took too long.
    Late,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Asked(what, why) => write!(f, "asked for {what}, the ACME server {why}"),
            Failure::Unproven(name, why) => {
                write!(f, "the ACME server did not find this server at `{name}`, on port 443: {why}")
            }
            Failure::Ended(why) => write!(f, "the ACME server gave up the order: {why}"),
            Failure::Useless(why) => write!(f, "the ACME server's certificate is of no use: {why}"),
            Failure::Here(why) => f.write_str(why),
            Failure::Late => {
                write!(f, "the ACME server was not done within {} s", super::ORDER_MAX.as_secs())
            }
        }
    }
}

impl Orders {
    /// Has a certificate issued to the account that has `key`, which is made if the server does not know it.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn run(
        &self,
        key: &PrivatePkcs8KeyDer<'_>,
        challenges: &Challenges,
    ) -> Result<Issued, Failure> {
        let client = &self.client;
        let directory = ask("its directory", || Directory::discover(client, &self.directory)).await?;
        let key = key.secret_pkcs8_der();
        let account =
            ask("an account", || Account::create_with_keypair(client, directory.clone(), &self.contact, key))
                .await?;
        let (url, mut order) = ask("a certificate", || account.new_order(client, self.names.clone())).await?;
        for url in &order.authorizations {
            self.prove(&account, url, challenges).await?;
        }
        let (own, request) = self.request()?;
        let mut waits = waits();
        loop {
            let again = "how the order stands";
            match &order.status {
                OrderStatus::Ready => {
                    let finalize = order.finalize.clone();
                    order = ask("a signature", || account.finalize(client, &finalize, &request)).await?;
                }
                OrderStatus::Pending | OrderStatus::Processing => {
                    sleep(waits.next().unwrap_or(ASK_AFTER_MAX)).await;
                    order = ask(again, || account.order(client, &url)).await?;
                }
                OrderStatus::Valid { certificate } => {
                    let chain = ask("the certificate", || account.certificate(client, certificate)).await?;
                    return Issued::read(format!("{own}{chain}")).map_err(Failure::Useless);
                }
                OrderStatus::Invalid => return Err(Failure::Ended(why(order.error.as_ref()))),
            }
        }
    }

    /// Shows the server that we have a name.
    async fn prove(&self, account: &Account, url: &str, challenges: &Challenges) -> Result<(), Failure> {
        let client = &self.client;
        let authorization = ask("what to prove", || account.auth(client, url)).await?;
        let Identifier::Dns(name) = authorization.identifier.clone();
        if let Some(outcome) = outcome(&name, &authorization) {
            return outcome;
        }
        let posed = account.tls_alpn_01(&authorization.challenges, name.clone());
        let (challenge, proof) = posed.map_err(|error| Failure::Unproven(name.clone(), error.to_string()))?;
        let _answered = challenges.pose(&name, proof);
        ask("a look at our proof", || account.challenge(client, &challenge.url)).await?;
        for wait in waits() {
            sleep(wait).await;
            let authorization = ask("what it saw", || account.auth(client, url)).await?;
            if let Some(outcome) = outcome(&name, &authorization) {
                return outcome;
            }
        }
        Err(Failure::Late)
    }

    /// A new key, in PEM, and what asks for it to be signed.
    fn request(&self) -> Result<(String, Vec<u8>), Failure> {
        let make = || {
            let mut params = CertificateParams::new(self.names.clone())?;
            params.distinguished_name = DistinguishedName::new();
            let key = KeyPair::generate()?;
            let request = params.serialize_request(&key)?;
            Ok((key.serialize_pem(), request.der().to_vec()))
        };
        make().map_err(|error: rcgen::Error| Failure::Here(format!("cannot ask for a certificate: {error}")))
    }
}

/// What became of a proof, once that is known.
fn outcome(name: &str, authorization: &Auth) -> Option<Result<(), Failure>> {
    match authorization.status {
        AuthStatus::Pending => None,
        AuthStatus::Valid => Some(Ok(())),
        _ => {
            let error = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref());
            Some(Err(Failure::Unproven(name.to_owned(), why(error))))
        }
    }
}

/// Longer and longer, without an end: an order as a whole has one.
fn waits() -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(ASK_AFTER), |wait| Some((*wait * 2).min(ASK_AFTER_MAX)))
}

/// Asks the server for something, with a nonce of its own each time.
async fn ask<T, F>(what: &'static str, mut request: impl FnMut() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, AcmeError>>,
{
    let mut nonces = 0;
    loop {
        let Ok(answer) = timeout(ANSWER_MAX, request()).await else {
            return Err(Failure::Asked(what, format!("did not answer within {} s", ANSWER_MAX.as_secs())));
        };
        nonces += 1;
        match answer {
            Ok(answer) => return Ok(answer),
            Err(error) if error.to_string().contains(BAD_NONCE) && nonces < NONCES_MAX => {}
            Err(error) => return Err(Failure::Asked(what, words(&error.to_string()))),
        }
    }
}

const BAD_NONCE: &str = "urn:ietf:params:acme:error:badNonce";

/// What the library says of a failure, as a sentence that goes on after "the ACME server". Its errors are private and only
/// to be had as text, in which what they hold stands as Rust would write it.
fn words(said: &str) -> String {
    if let Some((status, body)) =
        said.split_once("non 2xx http status: ").and_then(|(_, rest)| rest.split_once(' '))
    {
        let problem =
            serde_json::from_str::<String>(body).and_then(|body| serde_json::from_str::<Problem>(&body));
        return match problem {
            Ok(problem) => format!("refused: {}", why(Some(&problem))),
            Err(_) => format!("answered with status {status}"),
        };
    }
    if said.contains("InvalidCertificate(") {
        let reason = said.split_once("InvalidCertificate(").map_or("", |(_, rest)| rest);
        let reason: String = reason.chars().take_while(|char| char.is_alphanumeric()).collect();
        return format!(
            "is not trusted ({reason}); `tls.acme_ca` names whom to trust in place of this machine's authorities"
        );
    }
    format!("could not be talked to: {said}")
}

/// What a problem document says (RFC 8555 section 6.7).
fn why(problem: Option<&Problem>) -> String {
    let Some(problem) = problem else { return "it does not say why".into() };
    let kind = problem.typ.as_deref().map(|kind| kind.rsplit(':').next().unwrap_or(kind));
    match (problem.detail.as_deref(), kind) {
        (Some(detail), Some(kind)) => format!("{detail} ({kind})"),
        (Some(said), None) | (None, Some(said)) => said.to_owned(),
        (None, None) => "it does not say why".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::io;
    use tokio::time::Instant;

    #[test]
    fn a_failure_is_told_as_a_sentence() {
        let refused = "http request error: non 2xx http status: 400 \
            \"{\\n  \\\"type\\\": \\\"urn:ietf:params:acme:error:malformed\\\",\\n  \\\"detail\\\": \\\"no dot\\\"\\n}\"";
        assert_eq!(words(refused), "refused: no dot (malformed)");
        assert_eq!(
            words("http request error: non 2xx http status: 502 \"<html>\""),
            "answered with status 502"
        );
        let untrusted = "http error: TlsConnect(Custom { error: InvalidCertificate(NotValidForNameContext { expected: .. }) })";
        assert!(words(untrusted).starts_with("is not trusted (NotValidForNameContext); `tls.acme_ca`"));
        assert_eq!(words("io error: reset"), "could not be talked to: io error: reset");
    }

    #[test]
    fn a_problem_is_told_by_what_it_has() {
        let problem = |typ: Option<&str>, detail: Option<&str>| {
            why(Some(&Problem { typ: typ.map(Into::into), detail: detail.map(Into::into) }))
        };
        assert_eq!(
            problem(Some("urn:ietf:params:acme:error:dns"), Some("no such name")),
            "no such name (dns)"
        );
        assert_eq!(problem(None, Some("no such name")), "no such name");
        assert_eq!(problem(Some("about:blank"), None), "blank");
        assert_eq!(problem(None, None), why(None));
    }

    #[tokio::test]
    async fn a_nonce_that_is_not_taken_is_no_failure_unless_none_ever_is() {
        let asked = Cell::new(0);
        let refuse_until = |taken: usize| {
            asked.set(0);
            let asked = &asked;
            move || async move {
                asked.set(asked.get() + 1);
                if asked.get() < taken { Err(AcmeError::Io(io::Error::other(BAD_NONCE))) } else { Ok(()) }
            }
        };
        assert_eq!(ask("x", refuse_until(3)).await, Ok(()));
        assert_eq!(asked.get(), 3);
        assert!(matches!(ask("x", refuse_until(usize::MAX)).await, Err(Failure::Asked("x", _))));
        assert_eq!(asked.get(), NONCES_MAX);
        let other = ask("x", || async { Err::<(), _>(AcmeError::Io(io::Error::other("reset"))) }).await;
        assert_eq!(other, Err(Failure::Asked("x", "could not be talked to: io error: reset".into())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_is_given_up() {
        let began = Instant::now();
        let silent = ask("its directory", std::future::pending::<Result<(), AcmeError>>).await;
        assert_eq!(silent, Err(Failure::Asked("its directory", "did not answer within 30 s".into())));
        assert_eq!(began.elapsed(), ANSWER_MAX);
    }
}
