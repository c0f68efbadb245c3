//! The stage: an application on `axum::serve`, and clients that write bytes.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tidewire::{Builder, Delivery, Grant, Subscriber, Tidewire};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// How long anything may take that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Where everybody may do everything that somebody who is nobody may.
pub(crate) fn open() -> Builder {
    let everything = Grant::to_anybody().subscribe(["*"]).unwrap().publish(["*"]).unwrap();
    let everything = everything.history(["*"]).unwrap().presence(["*"]).unwrap();
    Tidewire::builder().anybody(everything)
}

/// Serves `app` on a port of its own, with or without the addresses of those who connect.
pub(crate) async fn serve(app: Router, with_addresses: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        if with_addresses {
            let service = app.into_make_service_with_connect_info::<SocketAddr>();
            axum::serve(listener, service).await.unwrap();
        } else {
            axum::serve(listener, app).await.unwrap();
        }
    });
    address
}

/// The next delivery, as text: a message's payload, or why there is a gap.
pub(crate) async fn next(subscriber: &mut Subscriber) -> String {
    match timeout(PATIENCE, subscriber.next()).await.expect("something comes") {
        Some(Delivery::Message(message)) => message.text().unwrap_or("binary").to_owned(),
        Some(Delivery::Gap(gap)) => format!("gap {:?}", gap.reason()),
        Some(other) => format!("{other:?}"),
        None => "end".to_owned(),
    }
}

/// A connection over which requests are written by hand.
pub(crate) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(to: SocketAddr) -> Client {
        Client { stream: TcpStream::connect(to).await.unwrap(), read: Vec::new() }
    }

    /// Asks, with these lines behind the first.
    pub(crate) async fn ask(to: SocketAddr, first: &str, fields: &[&str], body: &str) -> Client {
        let mut client = Client::connect(to).await;
        let mut request = format!("{first} HTTP/1.1\r\nHost: {to}\r\n");
        for field in fields {
            request.push_str(&format!("{field}\r\n"));
        }
        if !body.is_empty() {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str(&format!("\r\n{body}"));
        client.stream.write_all(request.as_bytes()).await.unwrap();
        client
    }

    /// Reads until what came holds `wanted`, and gives all of it.
    pub(crate) async fn until(&mut self, wanted: &str) -> String {
        let read = async {
            loop {
                let so_far = String::from_utf8_lossy(&self.read);
                if so_far.contains(wanted) {
                    return so_far.into_owned();
                }
                let mut bytes = [0; 4_096];
                let count = self.stream.read(&mut bytes).await.unwrap();
                assert!(count > 0, "it ended, and {wanted:?} never came: {so_far}");
                self.read.extend_from_slice(&bytes[..count]);
            }
        };
        timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("{wanted:?} never came"))
    }

    /// Reads until the other side ends it.
    pub(crate) async fn rest(mut self) -> String {
        timeout(PATIENCE, self.stream.read_to_end(&mut self.read)).await.expect("it ends").unwrap();
        String::from_utf8_lossy(&self.read).into_owned()
    }
}

/// The status and everything else of an answer after which the connection closes.
pub(crate) async fn answer(to: SocketAddr, first: &str, fields: &[&str], body: &str) -> (u16, String) {
    let fields = [fields, &["Connection: close"]].concat();
    let text = Client::ask(to, first, &fields, body).await.rest().await;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no answer: {text:?}")), text)
}
