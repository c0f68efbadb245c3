//! TLS: whether browsers would believe the certificate, until when, and what is spoken inside.

use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, Error as TlsError};
use tokio::net::TcpStream;
use tokio::time::timeout;
use x509_parser::extensions::GeneralName;

use crate::target::Target;
use crate::tls::{self, Trust};

use super::super::finding::{Code, Verdict};
use super::super::route::{STEP_MAX, brief, seconds};

const CHECK: &str = "certificate";

/// Days before its end at which a certificate should have been renewed: Let's Encrypt's are, at thirty.
const DAYS_LEFT_MIN: i64 = 14;

/// Why it would not be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    Name,
    Date,
    Issuer,
    Other(String),
}

/// A handshake, and what the server showed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shaken {
    pub doubt: Option<Doubt>,
    /// Names that the certificate holds for.
    pub names: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub ends_s: Option<i64>,
    pub issuer: String,
    pub is_self_signed: bool,
    /// Certificates that were sent.
    pub chain: usize,
    /// As in `TLS 1.3`.
    pub version: String,
    /// What was chosen of HTTP/2 and HTTP/1.1, if anything.
    pub protocol: Option<Vec<u8>>,
}

/// Shakes hands as a browser does; where the certificate is not believed, once more without believing anybody, to see it.
/// Nothing is sent inside.
pub(crate) async fn measure(target: &Target, trust: &Trust) -> Result<Shaken, String> {
    match shake(target, trust).await? {
        Ok(shaken) => Ok(shaken),
        Err(doubt) => {
            let seen = shake(target, &Trust::Nobody).await?.unwrap_or_default();
            Ok(Shaken { doubt: Some(doubt), ..seen })
        }
    }
}

async fn shake(target: &Target, trust: &Trust) -> Result<Result<Shaken, Doubt>, String> {
    let shaking = async {
        let socket = TcpStream::connect((target.host.as_str(), target.port)).await?;
        tls::shake_for(socket, &target.host, trust, &[b"h2", b"http/1.1"]).await
    };
    let shaken = timeout(STEP_MAX, shaking).await;
    let shaken = shaken.map_err(|_| format!("the handshake took longer than {}", seconds(STEP_MAX)))?;
    match shaken {
        Ok(stream) => {
            let (_, connection) = stream.get_ref();
            let chain = connection.peer_certificates().unwrap_or_default();
            let version = connection.protocol_version().map(|version| format!("{version:?}"));
            let version = version.unwrap_or_default().replace("TLSv1_", "TLS 1.");
            let protocol = connection.alpn_protocol().map(<[u8]>::to_vec);
            Ok(Ok(Shaken { version, protocol, ..read(chain) }))
        }
        Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
            Some(TlsError::InvalidCertificate(wrong)) => Ok(Err(doubt(wrong))),
            _ => Err(error.to_string()),
        },
    }
}

fn doubt(wrong: &CertificateError) -> Doubt {
    match wrong {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Doubt::Name,
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => Doubt::Date,
        CertificateError::UnknownIssuer => Doubt::Issuer,
        other => Doubt::Other(brief(&other.to_string())),
    }
}

fn read(chain: &[CertificateDer<'_>]) -> Shaken {
    let mut shaken = Shaken { chain: chain.len(), ..Shaken::default() };
    let Some(Ok((_, leaf))) = chain.first().map(|leaf| x509_parser::parse_x509_certificate(leaf)) else {
        return shaken;
    };
    shaken.ends_s = Some(leaf.validity().not_after.timestamp());
    shaken.issuer = brief(&leaf.issuer().to_string());
    shaken.is_self_signed = leaf.issuer() == leaf.subject();
    let names = leaf.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|extension| &extension.value.general_names);
    shaken.names = names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(brief(name)),
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        })
        .collect();
    shaken
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| std::net::Ipv6Addr::from(v6).to_string())
}

/// Seconds since 1970, by this machine's clock.
pub(crate) fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// What a browser would say of it at `now_s`.
pub(crate) fn judge(
    host: &str,
    measured: &Result<Shaken, String>,
    now_s: i64,
    is_anybody_trusted: bool,
) -> Verdict {
    let shaken = match measured {
        Ok(shaken) => shaken,
        Err(why) => return Verdict::wrong(CHECK, Code::TlsFailed, format!("`{host}`: {why}")),
    };
    let days = shaken.ends_s.map(|ends| (ends - now_s).div_euclid(86_400));
    let names = match &shaken.names[..] {
        [] => "no name".to_owned(),
        [one] => one.clone(),
        [one, rest @ ..] => format!("{one} and {} more", rest.len()),
    };
    let Shaken { issuer, version, .. } = shaken;
    let lasts = match days {
        Some(days) if days < 0 => format!("ended {} days ago", -days),
        Some(days) => format!("{days} days left"),
        None => "no end that can be read".into(),
    };
    if is_anybody_trusted {
        return Verdict::told(CHECK, format!("{version}, for {names}, {lasts}; not checked, by --insecure"));
    }
    match &shaken.doubt {
        Some(Doubt::Name) => Verdict::wrong(
            CHECK,
            Code::CertificateName,
            format!("asked for `{host}`; the certificate is for {names}"),
        ),
        Some(Doubt::Date) => {
            Verdict::wrong(CHECK, Code::CertificateExpired, format!("the certificate for {names}: {lasts}"))
        }
        Some(Doubt::Issuer) if !shaken.is_self_signed && shaken.chain == 1 => {
            let seen = format!(
                "the certificate for {names} came alone; its issuer, `{issuer}`, is not one that this machine trusts by itself"
            );
            Verdict::wrong(CHECK, Code::CertificateChain, seen)
        }
        Some(Doubt::Issuer) => {
            let by = if shaken.is_self_signed { "itself".into() } else { format!("`{issuer}`") };
            Verdict::wrong(
                CHECK,
                Code::CertificateUntrusted,
                format!("the certificate for {names} is signed by {by}"),
            )
        }
        Some(Doubt::Other(why)) => {
            let by = if shaken.is_self_signed { ", signed by itself" } else { "" };
            Verdict::wrong(
                CHECK,
                Code::CertificateUntrusted,
                format!("the certificate for {names}{by}: {why}"),
            )
        }
        None if days.is_some_and(|days| days < DAYS_LEFT_MIN) => {
            Verdict::wrong(CHECK, Code::CertificateExpiring, format!("the certificate for {names}: {lasts}"))
        }
        None => Verdict::passed(CHECK, format!("{version}, for {names}, {lasts}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn shaken(doubt: Option<Doubt>, days_left: i64, chain: usize, is_self_signed: bool) -> Shaken {
        Shaken {
            doubt,
            names: vec!["rt.example".into(), "www.example".into()],
            ends_s: Some(1_000 * DAY + days_left * DAY),
            issuer: "CN=R11".into(),
            is_self_signed,
            chain,
            version: "TLS 1.3".into(),
            protocol: None,
        }
    }

    fn code(shaken: Shaken) -> Option<Code> {
        judge("rt.example", &Ok(shaken), 1_000 * DAY, false).findings().first().map(|finding| finding.code)
    }

    #[test]
    fn each_doubt_has_its_code() {
        assert_eq!(code(shaken(None, 60, 2, false)), None);
        assert_eq!(code(shaken(None, 13, 2, false)), Some(Code::CertificateExpiring));
        assert_eq!(code(shaken(Some(Doubt::Name), 60, 2, false)), Some(Code::CertificateName));
        assert_eq!(code(shaken(Some(Doubt::Date), -1, 2, false)), Some(Code::CertificateExpired));
        assert_eq!(code(shaken(Some(Doubt::Issuer), 60, 1, false)), Some(Code::CertificateChain));
        assert_eq!(code(shaken(Some(Doubt::Issuer), 60, 2, false)), Some(Code::CertificateUntrusted));
        assert_eq!(code(shaken(Some(Doubt::Issuer), 60, 1, true)), Some(Code::CertificateUntrusted));
    }

    #[test]
    fn who_said_insecure_is_told_that_nothing_was_checked() {
        let verdict = judge("rt.example", &Ok(shaken(None, 1, 1, true)), 1_000 * DAY, true);
        assert!(verdict.findings().is_empty());
    }
}
