//! Lines: what the bytes of a connection go over, which is TCP or TLS above it.
//!
//! A line has one reader and one writer, and those who only want to know whether its client is still there. Over TCP
//! these look without taking; over TLS that cannot be, since an end is only known from what was decrypted, so what they
//! find is kept for the reader.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// How soon an end is noticed that stands behind something unread.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What is kept of bytes that arrived before anybody wanted them. Beyond, an end is noticed when something is written.
const AHEAD_BYTES_MAX: usize = 4 << 10;

/// A connection's bytes.
#[derive(Debug)]
pub struct Line {
    socket: Arc<TcpStream>,
    tls: Option<Mutex<Secure>>,
}

/// The upper half of a line over TLS.
#[derive(Debug)]
struct Secure {
    stream: TlsStream<Fronted>,
    /// Decrypted, and not read yet.
    ahead: BytesMut,
}

impl Line {
    /// A line over TCP alone.
    #[must_use]
    pub fn plain(socket: Arc<TcpStream>) -> Line {
        Line { socket, tls: None }
    }

    /// A line over TLS. `socket` is the one below it.
    #[must_use]
    pub fn secure(socket: Arc<TcpStream>, stream: TlsStream<Fronted>) -> Line {
        Line { socket, tls: Some(Mutex::new(Secure { stream, ahead: BytesMut::new() })) }
    }

    /// Whether nobody on the way can read it.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads what has arrived; 0 is the end of the client's half.
    pub(crate) fn poll_read(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        match &self.tls {
            Some(tls) => lock(tls).poll_read(context, buffer),
            None => poll_read(&self.socket, context, buffer),
        }
    }

    /// Writes as much as there is room for.
    pub(crate) fn poll_write(
        &self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &self.tls {
            Some(tls) => Pin::new(&mut lock(tls).stream).poll_write_vectored(context, slices),
            None => poll_write(&self.socket, context, slices),
        }
    }

    /// Hands on to the kernel what waits in the line.
    pub(crate) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.tls {
            Some(tls) => Pin::new(&mut lock(tls).stream).poll_flush(context),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Ends our half. The client's may go on.
    pub(crate) fn poll_end(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.tls {
            Some(tls) => Pin::new(&mut lock(tls).stream).poll_shutdown(context),
            None => Poll::Ready(socket2::SockRef::from(&*self.socket).shutdown(Shutdown::Write)),
        }
    }

    /// Resolves once something arrives from a client that should be silent: true if it is the end.
    pub(crate) async fn gone(&self) -> bool {
        if let Some(tls) = &self.tls {
            return std::future::poll_fn(|context| lock(tls).poll_ahead(context)).await == 0;
        }
        loop {
            let Ok(_) = self.socket.ready(Interest::READABLE).await else { return true };
            match look(&self.socket) {
                Ok(count) => return count == 0,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return true,
            }
        }
    }

    /// Resolves when the client has ended its half, whatever it sent before.
    pub(crate) async fn finished(&self) {
        if let Some(tls) = &self.tls {
            while std::future::poll_fn(|context| lock(tls).poll_ahead(context)).await > 0 {
                // What it has sent stays there until this request is answered.
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            return;
        }
        loop {
            match self.socket.ready(Interest::READABLE).await {
                Ok(ready) if !ready.is_read_closed() => {}
                _ => return,
            }
            match look(&self.socket) {
                // An end behind it makes no noise.
                Ok(1..) => tokio::time::sleep(LOOK_AGAIN).await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return,
            }
        }
    }

    /// Resolves when the connection has broken. That the client has ended its half is no such thing.
    pub(crate) async fn reset(&self) {
        if self.socket.ready(Interest::ERROR).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Secure {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead.split_to(count));
            return Poll::Ready(Ok(count));
        }
        let before = buffer.filled().len();
        match ready!(Pin::new(&mut self.stream).poll_read(context, buffer)) {
            Ok(()) => Poll::Ready(Ok(buffer.filled().len() - before)),
            // Many clients close without a word. What they wanted to say has its length in it, or is answered as broken.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(0)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Reads before anybody wants it. 0 is the end, or a break.
    fn poll_ahead(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        if self.ahead.len() >= AHEAD_BYTES_MAX {
            return Poll::Ready(self.ahead.len());
        }
        let mut bytes = [0; 1024];
        let mut buffer = ReadBuf::new(&mut bytes);
        let kept = std::mem::take(&mut self.ahead);
        let outcome = self.poll_read(context, &mut buffer);
        self.ahead = kept;
        self.ahead.extend_from_slice(buffer.filled());
        Poll::Ready(ready!(outcome).unwrap_or(0))
    }
}

/// A socket of which something was read before its time.
#[derive(Debug)]
pub struct Fronted {
    before: Bytes,
    socket: Arc<TcpStream>,
}

impl Fronted {
    /// `socket` behind `before`.
    #[must_use]
    pub fn new(before: Bytes, socket: Arc<TcpStream>) -> Fronted {
        Fronted { before, socket }
    }
}

/// What a TCP socket lies below.
pub trait Socket {
    /// The socket.
    fn socket(&self) -> Arc<TcpStream>;
}

impl Socket for Fronted {
    fn socket(&self) -> Arc<TcpStream> {
        self.socket.clone()
    }
}

impl Socket for Box<TlsStream<Fronted>> {
    fn socket(&self) -> Arc<TcpStream> {
        self.get_ref().0.socket()
    }
}

impl AsyncRead for Fronted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.before.has_remaining() {
            let count = self.before.len().min(buffer.remaining());
            buffer.put_slice(&self.before.split_to(count));
            return Poll::Ready(Ok(()));
        }
        poll_read(&self.socket, context, buffer).map_ok(|_| ())
    }
}

impl AsyncWrite for Fronted {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        poll_write(&self.socket, context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll_write(&self.socket, context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket2::SockRef::from(&*self.socket).shutdown(Shutdown::Write))
    }
}

fn poll_read(
    socket: &TcpStream,
    context: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_read_ready(context))?;
        // Into room that is not zeroed first: hyper's buffer is far larger than most requests.
        match socket.try_read_buf(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return Poll::Ready(outcome),
        }
    }
}

fn poll_write(
    socket: &TcpStream,
    context: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_write_ready(context))?;
        match socket.try_write_vectored(slices) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return Poll::Ready(outcome),
        }
    }
}

/// Looks at what has arrived without taking it: 0 is the end. What tokio remembers as readable may have been read since;
/// where there is nothing to see, it forgets it.
fn look(socket: &TcpStream) -> io::Result<usize> {
    let peek = || socket2::SockRef::from(socket).peek(&mut [MaybeUninit::uninit()]);
    socket.try_io(Interest::READABLE, peek)
}

fn lock(tls: &Mutex<Secure>) -> MutexGuard<'_, Secure> {
    // A panic in between would have been rustls', and its connection is of no use then.
    tls.lock().unwrap_or_else(PoisonError::into_inner)
}
