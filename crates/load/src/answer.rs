//! One HTTP/1.1 answer with a length, cut anywhere.

use memchr::memmem;

/// An answer, whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'b> {
    /// Its status.
    pub status: u16,
    /// Its head, to the blank line.
    pub head: &'b [u8],
    /// What follows.
    pub body: &'b [u8],
}

/// The answer has no length, or is no HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl<'b> Answer<'b> {
    /// The answer at the beginning of `bytes`; nothing where some of it is missing. Whoever asks waits for the answer before
    /// asking again, so nothing follows it.
    pub fn read(bytes: &'b [u8]) -> Result<Option<Answer<'b>>, Unreadable> {
        let Some(end) = memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
        let (head, body) = bytes.split_at(end + 4);
        let mut answer = Answer { status: status(head).ok_or(Unreadable)?, head, body };
        let length = match answer.status {
            // These have no body, whatever they say (RFC 9112, section 6.3).
            100..200 | 204 | 304 => 0,
            _ => answer.length()?,
        };
        Ok(body.get(..length).map(|body| {
            answer.body = body;
            answer
        }))
    }

    /// Whether the connection ends here.
    pub fn closes(&self) -> bool {
        self.field(b"connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"))
    }

    /// A field of the head, by its name in lower case.
    pub fn field(&self, name: &[u8]) -> Option<&'b [u8]> {
        self.head.split(|byte| *byte == b'\n').find_map(|line| {
            let (found, value) = line.split_at_checked(name.len())?;
            let value = value.strip_prefix(b":").filter(|_| found.eq_ignore_ascii_case(name))?;
            Some(value.trim_ascii())
        })
    }

    fn length(&self) -> Result<usize, Unreadable> {
        let digits = self.field(b"content-length").ok_or(Unreadable)?;
        let digits = std::str::from_utf8(digits).map_err(|_| Unreadable)?;
        digits.parse().map_err(|_| Unreadable)
    }
}

/// The status of a head.
pub fn status(head: &[u8]) -> Option<u16> {
    let digits = head.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_once_its_body_is_complete() {
        let bytes = b"HTTP/1.1 200 OK\r\nEtag:  \"a\" \r\ncontent-length: 2\r\n\r\n{}";
        for end in 0..bytes.len() {
            assert_eq!(Answer::read(&bytes[..end]), Ok(None), "cut at {end}");
        }
        let answer = Answer::read(bytes).unwrap().unwrap();
        assert_eq!((answer.status, answer.body, answer.closes()), (200, &b"{}"[..], false));
        assert_eq!(answer.field(b"etag"), Some(&b"\"a\""[..]));
    }

    #[test]
    fn a_304_has_no_body_and_may_close() {
        let answer =
            Answer::read(b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n").unwrap().unwrap();
        assert_eq!((answer.status, answer.body, answer.closes()), (304, &b""[..], true));
    }

    #[test]
    fn what_has_no_length_or_is_no_http_is_unreadable() {
        for bytes in [
            &b"HTTP/1.1 200 OK\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            b"RTSP/1.0 200\r\n\r\n",
        ] {
            assert_eq!(Answer::read(bytes), Err(Unreadable));
        }
    }
}
