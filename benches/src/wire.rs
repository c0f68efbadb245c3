//! A connection to a server, plain or with TLS on top, driven by whoever waits for its socket.

use std::io::{self, BufRead as _, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::ClientConnection;
use rustls::{ClientConfig, HandshakeKind};
use tidewire_load::publisher::Socket;
use tidewire_load::subscriber::{source, write_whole};

use crate::sys;
use crate::tls::server_name;

/// What lies between a request and its socket.
#[derive(Clone)]
pub enum Way {
    /// Nothing.
    Plain,
    /// TLS.
    Tls(Arc<ClientConfig>),
}

/// One connection, closed when it is dropped.
pub struct Wire {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

/// What reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Bytes read from the socket.
    pub bytes: usize,
    /// Whether nothing follows.
    pub ended: bool,
}

/// For a connect that is waited for, and for every answer on it.
const PATIENCE: Duration = Duration::from_secs(1);

impl Way {
    /// As URLs have it.
    pub fn scheme(&self) -> &'static str {
        match self {
            Way::Plain => "http",
            Way::Tls(_) => "https",
        }
    }

    fn session(&self, protocol: &[u8]) -> io::Result<Option<Box<ClientConnection>>> {
        let Way::Tls(config) = self else { return Ok(None) };
        let protocols = vec![protocol.to_vec()];
        let session = ClientConnection::new_with_alpn(config.clone(), server_name(), protocols);
        Ok(Some(Box::new(session.map_err(io::Error::other)?)))
    }
}

impl Wire {
    /// Begins the `index`-th connection, for `protocol` as ALPN names it. The socket is non-blocking, and writable at the end.
    pub fn begin(index: usize, target: SocketAddrV4, way: &Way, protocol: &[u8]) -> io::Result<Wire> {
        let target = target.into();
        Ok(Wire { socket: sys::connect_from(source(index, target), target)?, tls: way.session(protocol)? })
    }

    /// Connects at once, and waits for it and for everything that follows, until it is told not to.
    pub fn connect(target: SocketAddrV4, way: &Way, protocol: &[u8]) -> io::Result<Wire> {
        let mut socket = TcpStream::connect_timeout(&target.into(), PATIENCE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut tls = way.session(protocol)?;
        if let Some(tls) = &mut tls {
            while tls.is_handshaking() {
                tls.complete_io(&mut socket)?;
            }
        }
        Ok(Wire { socket, tls })
    }

    /// Sends what fits into an empty socket's buffer, as soon as the handshake allows.
    pub fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            None => write_whole(&mut self.socket, bytes),
            Some(tls) => {
                tls.writer().write_all(bytes)?;
                self.flush()
            }
        }
    }

    /// Reads what there is, one `buffer` at a time; `hear` is given what was meant for us.
    pub fn read_on(
        &mut self,
        buffer: &mut [u8],
        hear: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<Taken> {
        let mut taken = Taken { bytes: 0, ended: false };
        loop {
            let count = match self.socket.read(buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(taken),
                Err(error) => return Err(error),
            };
            taken.bytes += count;
            taken.ended |= count == 0;
            match &mut self.tls {
                None => hear(&buffer[..count])?,
                Some(tls) => {
                    taken.ended |= decrypt(tls, &buffer[..count], hear)?;
                    self.flush()?;
                }
            }
            // A full buffer means that more arrived than it holds, and nobody will say so again.
            if taken.ended || count < buffer.len() {
                return Ok(taken);
            }
        }
    }

    /// Which handshake it was, once it is over: `None` before, and without TLS.
    pub fn handshake(&self) -> Option<HandshakeKind> {
        self.tls.as_ref().filter(|tls| !tls.is_handshaking())?.handshake_kind()
    }

    /// Says that nothing follows from us.
    pub fn bid_farewell(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        self.flush()
    }

    /// Resets the connection.
    pub fn reset(self) -> io::Result<()> {
        sys::reset_on_close(&self.socket)
    }

    /// What is not taken now is offered again when something was read.
    fn flush(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            match tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// True once the server has said that nothing follows.
fn decrypt(
    tls: &mut ClientConnection,
    mut bytes: &[u8],
    hear: &mut impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<bool> {
    while !bytes.is_empty() {
        tls.read_tls(&mut bytes)?;
        let state = tls.process_new_packets().map_err(io::Error::other)?;
        loop {
            let mut reader = tls.reader();
            let chunk = match reader.fill_buf() {
                Ok([]) => break,
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let count = chunk.len();
            hear(chunk)?;
            reader.consume(count);
        }
        if state.peer_has_closed() {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.read(buffer),
            Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.socket).read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.write(bytes),
            Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.socket).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Wire::flush(self)
    }
}

impl Socket for Wire {
    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.socket.set_nonblocking(nonblocking)
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::{SocketAddr, TcpListener};

    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ServerConfig, ServerConnection};

    use super::*;
    use crate::sys::{Epoll, Interest};
    use crate::tls::{self, Identity, Sessions};

    /// A server that reads four bytes and sends `answer`, as often as it is asked.
    fn serve(answer: Vec<u8>) -> SocketAddrV4 {
        let identity = Identity::create().unwrap();
        let certificate = CertificateDer::from_pem_slice(&fs::read(identity.certificate()).unwrap()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(&fs::read(identity.key()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("bound to IPv4") };
        std::thread::spawn(move || {
            while let Ok((mut socket, _)) = listener.accept() {
                let mut tls = ServerConnection::new(config.clone()).unwrap();
                let mut stream = rustls::Stream::new(&mut tls, &mut socket);
                stream.read_exact(&mut [0; 4]).unwrap();
                stream.write_all(&answer).unwrap();
                stream.conn.send_close_notify();
                stream.flush().unwrap();
            }
        });
        address
    }

    #[test]
    fn what_is_sent_over_tls_is_heard_whole_whatever_the_buffer() {
        let answer: Vec<u8> = (0..100_000_u32).map(|count| (count % 251) as u8).collect();
        let address = serve(answer.clone());
        let way = Way::Tls(tls::client(Sessions::None));
        for bytes in [100, 4_096, 1 << 20] {
            let mut epoll = Epoll::new(1).unwrap();
            let mut wire = Wire::begin(0, address, &way, b"h2").unwrap();
            epoll.add(&wire, 0, Interest::Writable).unwrap();
            let (mut tokens, mut buffer, mut heard) = (Vec::new(), vec![0; bytes], Vec::new());
            epoll.wait(&mut tokens, None).unwrap();
            wire.say(b"ask!").unwrap();
            epoll.change(&wire, 0, Interest::Readable).unwrap();
            loop {
                epoll.wait(&mut tokens, None).unwrap();
                let taken = wire.read_on(&mut buffer, &mut |bytes| {
                    heard.extend_from_slice(bytes);
                    Ok(())
                });
                if taken.unwrap().ended {
                    break;
                }
            }
            assert!(heard == answer, "with a buffer of {bytes}");
        }
    }

    #[test]
    fn a_session_that_is_kept_is_resumed() {
        let address = serve(b"done".to_vec());
        let kinds = |sessions| {
            let way = Way::Tls(tls::client(sessions));
            [(); 2].map(|()| {
                let mut wire = Wire::connect(address, &way, b"http/1.1").unwrap();
                wire.write_all(b"ask!").unwrap();
                let mut heard = Vec::new();
                wire.read_to_end(&mut heard).unwrap();
                wire.handshake()
            })
        };
        assert_eq!(kinds(Sessions::None), [Some(HandshakeKind::Full), Some(HandshakeKind::Full)]);
        assert_eq!(kinds(Sessions::Kept), [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]);
    }
}
