//! Callers: every field of a request that says who asks and from where. One reading for the engine's heads and hyper's.

use std::fmt;
use std::net::IpAddr;

use tidewire_hub::grant::{Action, Asked};
use tidewire_hub::reason::Reason;

use crate::http1::percent_decode;
use crate::refusal::Refusal;

/// Who asks, as far as the request says. Nothing here is trusted yet.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// The `Host` field, or the authority of an HTTP/2 request.
    pub host: Option<Box<str>>,
    /// The `Origin` field.
    pub origin: Option<Box<str>>,
    /// The `Sec-Fetch-Site` field.
    pub fetch_site: Option<Box<str>>,
    /// The `Referer` field.
    pub referer: Option<Box<str>>,
    /// The `Authorization` field, or `Bearer …` made of a WebSocket's `bearer.…` subprotocol.
    pub authorization: Option<Box<str>>,
    /// The `Cookie` fields as one.
    pub cookie: Option<Box<str>>,
    /// The parameter `ticket`.
    pub ticket: Option<Box<str>>,
    /// The parameter `access_token`.
    pub query_token: Option<Box<str>>,
    /// The path as it was written.
    pub path: Box<str>,
    /// The `Forwarded` fields, in order (RFC 7239).
    pub forwarded: Vec<Box<[u8]>>,
    /// The `X-Forwarded-For` fields, in order.
    pub forwarded_for: Vec<Box<[u8]>>,
    /// The `X-Forwarded-Proto` fields, in order.
    pub forwarded_proto: Vec<Box<[u8]>>,
}

impl Caller {
    /// Reads the fields of one request. `values` gives every value of the field of a name.
    ///
    /// # Errors
    /// A field that must come once came twice, or is not ASCII: which of two answers counts would be a guess.
    pub fn read<'b, I>(values: impl Fn(&'static str) -> I, path: &str, query: &str) -> Result<Caller, Refusal>
    where
        I: Iterator<Item = &'b [u8]>,
    {
        let text = |name, reason| only(values(name), name, reason);
        // Clients may have put anything there: what it is worth is for the reader of proxies to say.
        let all = |name| values(name).map(Box::from).collect();
        let mut caller = Caller {
            host: text("host", Reason::HostRefused)?,
            origin: text("origin", Reason::OriginRefused)?,
            fetch_site: text("sec-fetch-site", Reason::BadRequest)?,
            referer: values("referer")
                .next()
                .and_then(|value| ascii(value, "referer", Reason::BadRequest).ok()),
            authorization: text("authorization", Reason::BadRequest)?,
            cookie: cookie(values("cookie")),
            path: path.into(),
            forwarded: all("forwarded"),
            forwarded_for: all("x-forwarded-for"),
            forwarded_proto: all("x-forwarded-proto"),
            ..Caller::default()
        };
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let slot = match key {
                "ticket" => &mut caller.ticket,
                "access_token" => &mut caller.query_token,
                _ => continue,
            };
            let value = percent_decode(value).and_then(|value| String::from_utf8(value.into_owned()).ok());
            let value =
                value.ok_or_else(|| Refusal::new(Reason::BadRequest, format!("`{key}` is not text")))?;
            if slot.replace(value.into()).is_some() {
                return Err(Refusal::new(Reason::BadRequest, format!("`{key}` came more than once")));
            }
        }
        Ok(caller)
    }

    /// Takes the token of a `bearer.…` subprotocol for an `Authorization` field.
    ///
    /// # Errors
    /// There is such a field already: two credentials could belong to two people.
    pub fn authorize(&mut self, bearer: &str) -> Result<(), Refusal> {
        if self.authorization.is_some() {
            let detail = "credentials stand both in Authorization and in the subprotocol";
            return Err(Refusal::new(Reason::BadRequest, detail));
        }
        self.authorization = Some(format!("Bearer {bearer}").into());
        Ok(())
    }

    /// Whether the address of the request holds a credential (security rule S18).
    #[must_use]
    pub fn has_credential_in_address(&self) -> bool {
        self.ticket.is_some() || self.query_token.is_some()
    }

    /// The facts that the gate decides on. `client` and `secure` are what is believed of the way here.
    #[must_use]
    pub fn to_asked(&self, action: Action, client: IpAddr, secure: bool) -> Asked<'_> {
        Asked {
            action,
            host: self.host.as_deref(),
            origin: self.origin.as_deref(),
            fetch_site: self.fetch_site.as_deref(),
            referer: self.referer.as_deref(),
            authorization: self.authorization.as_deref(),
            cookie: self.cookie.as_deref(),
            ticket: self.ticket.as_deref(),
            query_token: self.query_token.as_deref(),
            path: &self.path,
            secure,
            client,
        }
    }
}

impl fmt::Debug for Caller {
    // Credentials stay out of logs (security rule S49); that there are some is worth knowing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |field: &Option<Box<str>>| field.as_ref().map(|_| "***");
        f.debug_struct("Caller")
            .field("host", &self.host)
            .field("origin", &self.origin)
            .field("authorization", &hidden(&self.authorization))
            .field("cookie", &hidden(&self.cookie))
            .field("ticket", &hidden(&self.ticket))
            .field("query_token", &hidden(&self.query_token))
            .finish_non_exhaustive()
    }
}

/// The value of a field that may come once and is ASCII; `reason` where it does not or is not.
pub(crate) fn only<'b>(
    mut values: impl Iterator<Item = &'b [u8]>,
    name: &str,
    reason: Reason,
) -> Result<Option<Box<str>>, Refusal> {
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::new(reason, format!("`{name}` came more than once")));
    }
    ascii(value, name, reason).map(Some)
}

fn ascii(value: &[u8], name: &str, reason: Reason) -> Result<Box<str>, Refusal> {
    match std::str::from_utf8(value) {
        Ok(text) if text.is_ascii() => Ok(text.into()),
        _ => Err(Refusal::new(reason, format!("`{name}` is not ASCII"))),
    }
}

/// Other applications on the same site may have set cookies that are not UTF-8; ours are ASCII and survive.
fn cookie<'b>(values: impl Iterator<Item = &'b [u8]>) -> Option<Box<str>> {
    let values: Vec<_> = values.map(String::from_utf8_lossy).collect();
    (!values.is_empty()).then(|| values.join("; ").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(&str, &str)], query: &str) -> Result<Caller, Refusal> {
        let values = |name: &'static str| {
            let of_name = fields.iter().filter(move |(field, _)| *field == name);
            of_name.map(|(_, value)| value.as_bytes()).collect::<Vec<_>>().into_iter()
        };
        Caller::read(values, "/c/a", query)
    }

    #[test]
    fn s2_two_origins_are_two_answers_and_none_counts() {
        let refused = read(&[("origin", "https://a"), ("origin", "https://b")], "").unwrap_err();
        assert_eq!(refused.reason, Reason::OriginRefused);
        let refused = read(&[("host", "a"), ("host", "a")], "").unwrap_err();
        assert_eq!(refused.reason, Reason::HostRefused);
    }

    #[test]
    fn a_credential_may_stand_in_the_address_once() {
        let caller = read(&[], "cursor=1&ticket=a%2Db&x").unwrap();
        assert_eq!(caller.ticket.as_deref(), Some("a-b"));
        assert!(caller.has_credential_in_address());
        assert_eq!(read(&[], "ticket=a&ticket=b").unwrap_err().reason, Reason::BadRequest);
        assert_eq!(read(&[], "access_token=%ff").unwrap_err().reason, Reason::BadRequest);
    }

    #[test]
    fn fields_of_a_list_stay_in_order() {
        let caller = read(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2")], "").unwrap();
        let expected: [Box<[u8]>; 2] = [b"1.1.1.1".as_slice().into(), b"2.2.2.2".as_slice().into()];
        assert_eq!(caller.forwarded_for, expected);
        assert_eq!(
            read(&[("cookie", "a=1"), ("cookie", "b=2")], "").unwrap().cookie.as_deref(),
            Some("a=1; b=2")
        );
    }

    #[test]
    fn s49_debug_output_shows_no_credentials() {
        let fields =
            [("authorization", "Bearer canary"), ("cookie", "s=canary"), ("referer", "http://a/?canary")];
        let caller = read(&fields, "ticket=canary&access_token=canary").unwrap();
        assert!(!format!("{caller:?}").contains("canary"));
    }
}
