//! HTTP/1.1 as far as this client needs it: one request at a time, bodies with a length, in chunks, or to the end.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A connection to a node.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    bytes: Vec<u8>,
    /// No byte for so long ends the connection.
    patience: Duration,
}

/// The head of an answer.
#[derive(Debug)]
pub struct Head {
    /// The status.
    pub status: u16,
    fields: Vec<(String, String)>,
}

/// How a body ends.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    /// After so many bytes.
    Length(usize),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

impl Head {
    /// A field's value.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| &**value)
    }

    /// How the body ends.
    #[must_use]
    pub fn body(&self) -> Body {
        if self.field("transfer-encoding") == Some("chunked") {
            return Body::Chunked;
        }
        let length = self.field("content-length").and_then(|length| length.parse().ok());
        match length {
            Some(length) => Body::Length(length),
            None if matches!(self.status, 101 | 204 | 304) => Body::Length(0),
            None => Body::UntilClose,
        }
    }
}

impl Connection {
    /// Connects to a port of this machine.
    ///
    /// # Errors
    /// Nobody listens, or nobody accepts within `patience`.
    pub async fn open(port: u16, patience: Duration) -> io::Result<Connection> {
        let stream = timeout(patience, TcpStream::connect(("127.0.0.1", port))).await??;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, bytes: Vec::new(), patience })
    }

    /// Leaves nothing behind in the kernel once it is dropped.
    pub fn forget(&self) {
        crate::redis::forget(&self.stream);
    }

    /// Waits for so long from now on.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection broke, or does not take them.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(self.patience, self.stream.write_all(bytes)).await?
    }

    /// Sends a request and reads the head of its answer.
    ///
    /// # Errors
    /// The connection broke, was silent, or answered something else.
    pub async fn ask(&mut self, line: &str, fields: &[(&str, &str)], body: Option<&str>) -> io::Result<Head> {
        let mut request = format!("{line} HTTP/1.1\r\nHost: 127.0.0.1\r\n");
        for (name, value) in fields {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = body {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body.unwrap_or_default());
        self.send(request.as_bytes()).await?;
        let end = loop {
            if let Some(end) = self.bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end;
            }
            self.fill().await?;
        };
        let head: Vec<u8> = self.bytes.drain(..end + 4).collect();
        head_of(&String::from_utf8_lossy(&head)).ok_or_else(|| wrong("no head of HTTP"))
    }

    /// The whole body of an answer.
    ///
    /// # Errors
    /// As [`Connection::ask`].
    pub async fn body(&mut self, head: &Head) -> io::Result<Vec<u8>> {
        match head.body() {
            Body::Length(length) => {
                while self.bytes.len() < length {
                    self.fill().await?;
                }
                Ok(self.bytes.drain(..length).collect())
            }
            Body::Chunked => {
                let mut whole = Vec::new();
                while let Some(chunk) = self.chunk().await? {
                    whole.extend(chunk);
                }
                Ok(whole)
            }
            Body::UntilClose => loop {
                match self.fill().await {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        return Ok(std::mem::take(&mut self.bytes));
                    }
                    Err(error) => return Err(error),
                }
            },
        }
    }

    /// The next bytes of an endless body; nothing at its orderly end.
    ///
    /// # Errors
    /// As [`Connection::ask`].
    pub async fn next(&mut self, body: &Body) -> io::Result<Option<Vec<u8>>> {
        if *body == Body::Chunked {
            return self.chunk().await;
        }
        if self.bytes.is_empty() {
            match self.fill().await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                other => other?,
            }
        }
        Ok(Some(std::mem::take(&mut self.bytes)))
    }

    async fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.bytes.windows(2).position(|bytes| bytes == b"\r\n") {
                let length = std::str::from_utf8(&self.bytes[..end]).ok();
                let length = length.and_then(|digits| usize::from_str_radix(digits, 16).ok());
                let length = length.ok_or_else(|| wrong("a chunk without a length"))?;
                if self.bytes.len() >= end + 2 + length + 2 {
                    let chunk = self.bytes[end + 2..end + 2 + length].to_vec();
                    self.bytes.drain(..end + 4 + length);
                    return Ok((length > 0).then_some(chunk));
                }
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        match timeout(self.patience, self.stream.read_buf(&mut self.bytes)).await?? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn head_of(head: &str) -> Option<Head> {
    let mut lines = head.trim_end().split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let field =
        |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    Some(Head { status, fields: lines.map(field).collect::<Option<_>>()? })
}

/// An answer that is not what was asked for.
pub fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_how_its_body_ends() {
        let body = |head: &str| head_of(head).map(|head| head.body());
        assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"), Some(Body::Length(7)));
        assert_eq!(body("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), Some(Body::Chunked));
        assert_eq!(body("HTTP/1.1 200 OK\r\nX: y\r\n\r\n"), Some(Body::UntilClose));
        assert_eq!(body("HTTP/1.1 304 Not Modified\r\n\r\n"), Some(Body::Length(0)));
        assert_eq!(body("SSH-2.0\r\n\r\n"), None);
    }
}
