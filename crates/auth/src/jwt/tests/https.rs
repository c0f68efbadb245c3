//! A real HTTPS server with a certificate of its own, which answers as a test wants.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::jwt::JwksOptions;

/// How a request is answered.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// With 200, these headers and this body.
    Ok(&'static str, String),
    /// With another status and these headers, and no body.
    Status(u16, String),
    /// With 200 and bytes without end.
    Endless,
    /// Not at all: the connection stays open.
    Silence,
    /// Not at all: the connection is closed.
    Hangup,
}

impl Reply {
    /// A JWK Set.
    pub(super) fn keys<'a>(jwks: impl IntoIterator<Item = &'a Value>) -> Reply {
        let keys: Vec<&Value> = jwks.into_iter().collect();
        Reply::Ok("Content-Type: application/jwk-set+json\r\n", json!({ "keys": keys }).to_string())
    }
}

/// The server, on a port of its own of this machine.
pub(super) struct Https {
    pub runtime: Runtime,
    pub port: u16,
    shared: Arc<Shared>,
    ca_file: PathBuf,
}

#[derive(Debug)]
struct Shared {
    reply: Mutex<Reply>,
    paths: Mutex<Vec<String>>,
}

impl Https {
    pub(super) fn start(reply: Reply) -> Https {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let ca_file = std::env::temp_dir().join(format!("tidewire-{}-{count}.pem", std::process::id()));
        std::fs::write(&ca_file, cert.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], signing_key.serialize_der().try_into().unwrap())
            .unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared { reply: Mutex::new(reply), paths: Mutex::default() });
        runtime.spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), shared.clone()));
        Https { runtime, port, shared, ca_file }
    }

    pub(super) fn url(&self) -> String {
        format!("https://127.0.0.1:{}/keys", self.port)
    }

    pub(super) fn options(&self) -> JwksOptions {
        JwksOptions { url: self.url().into(), allow_private: true, ca_file: Some(self.ca_file.clone()) }
    }

    /// Answers so from now on.
    pub(super) fn answer(&self, reply: Reply) {
        *self.shared.reply.lock().unwrap() = reply;
    }

    /// The paths that were asked for.
    pub(super) fn paths(&self) -> Vec<String> {
        self.shared.paths.lock().unwrap().clone()
    }

    pub(super) fn hits(&self) -> usize {
        self.paths().len()
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.ca_file));
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), shared.clone());
        tokio::spawn(async move {
            // A client that does not trust us goes away here.
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let Some(path) = path(&mut stream).await else { return };
            shared.paths.lock().unwrap().push(path.clone());
            let reply = shared.reply.lock().unwrap().clone();
            let head = match &reply {
                // What a redirect within this server leads to.
                _ if path == "/moved" => {
                    "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"keys\":[]}".to_owned()
                }
                Reply::Ok(headers, body) => {
                    format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
                }
                Reply::Status(status, headers) => {
                    format!("HTTP/1.1 {status} As Told\r\n{headers}Content-Length: 0\r\n\r\n")
                }
                Reply::Endless => "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned(),
                Reply::Silence => return std::future::pending().await,
                Reply::Hangup => return,
            };
            let mut open = stream.write_all(head.as_bytes()).await.is_ok();
            while open && matches!(reply, Reply::Endless) {
                open = stream.write_all(&[b' '; 4_096]).await.is_ok();
            }
            drop(stream.shutdown().await);
        });
    }
}

/// Reads a request and gives its path.
async fn path(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    head.split(' ').nth(1).map(str::to_owned)
}
