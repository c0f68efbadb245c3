//! Fields of an answer's head that depend on who asked, the same for every kind of answer.

use tidewire_hub::admit::HeadFields;

/// Appends what lets a page of `allow_origin` read the answer (Fetch, "CORS protocol"), and what the control plane adds.
///
/// `allow_origin` is an origin that the gate has let in, never one merely asked for (security rule S7).
pub fn write_fields(allow_origin: Option<&str>, fields: &HeadFields, out: &mut Vec<u8>) {
    // An origin on the allow-list is visible ASCII; checking again closes header injection.
    if let Some(origin) = allow_origin.filter(|origin| origin.bytes().all(|byte| byte.is_ascii_graphic())) {
        for piece in ["Access-Control-Allow-Origin: ", origin, "\r\nVary: Origin\r\n"] {
            out.extend_from_slice(piece.as_bytes());
        }
        if fields.credentials {
            out.extend_from_slice(b"Access-Control-Allow-Credentials: true\r\n");
        }
    }
    if fields.no_referrer {
        out.extend_from_slice(b"Referrer-Policy: no-referrer\r\n");
    }
    if let Some(cookie) = &fields.set_cookie
        && cookie.0.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
    {
        for piece in ["Set-Cookie: ", &cookie.0, "\r\n"] {
            out.extend_from_slice(piece.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_hub::admit::SetCookie;

    fn written(allow_origin: Option<&str>, fields: &HeadFields) -> String {
        let mut out = Vec::new();
        write_fields(allow_origin, fields, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn s7_credentials_are_allowed_only_beside_an_origin() {
        let fields = HeadFields { credentials: true, ..HeadFields::default() };
        assert_eq!(written(None, &fields), "");
        let named = written(Some("https://a.example"), &fields);
        assert!(named.contains("Access-Control-Allow-Origin: https://a.example\r\nVary: Origin\r\n"));
        assert!(named.contains("Access-Control-Allow-Credentials: true\r\n"));
        assert!(!written(Some("https://a.example"), &HeadFields::default()).contains("Credentials"));
    }

    #[test]
    fn a_value_that_would_break_the_head_is_left_out() {
        assert_eq!(written(Some("https://a\r\nSet-Cookie: x=y"), &HeadFields::default()), "");
        let cookie =
            |text: &str| HeadFields { set_cookie: Some(SetCookie(text.into())), ..HeadFields::default() };
        assert_eq!(written(None, &cookie("a=b; Path=/")), "Set-Cookie: a=b; Path=/\r\n");
        assert_eq!(written(None, &cookie("a=b\r\nX: y")), "");
    }

    #[test]
    fn s18_an_address_that_held_a_credential_does_not_travel_on() {
        let fields = HeadFields { no_referrer: true, ..HeadFields::default() };
        assert_eq!(written(None, &fields), "Referrer-Policy: no-referrer\r\n");
    }
}
