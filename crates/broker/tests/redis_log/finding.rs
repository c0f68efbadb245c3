//! Finding the master: by sentinels, good and bad, and by TLS.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidewire_broker::redis::{Address, AddressError, Ear, Error, Log, Timeouts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::node::{PATIENT, PREFIX, endpoint};
use crate::server::{Server, free_port, pair};

const QUICK: Timeouts = Timeouts { dial: Duration::from_secs(5), answer: Duration::from_secs(1) };

/// Somebody at a port who answers every question with `answer`, or not at all.
pub(crate) struct Somebody {
    pub(crate) port: u16,
    calls: Arc<AtomicUsize>,
}

impl Somebody {
    /// How many have called.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

pub(crate) async fn answers(answer: Option<String>) -> Somebody {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let somebody = Somebody { port: listener.local_addr().unwrap().port(), calls: Arc::default() };
    let calls = somebody.calls.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            calls.fetch_add(1, Ordering::Relaxed);
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut question = [0; 1_024];
                while socket.read(&mut question).await.is_ok_and(|count| count > 0) {
                    if let Some(answer) = &answer {
                        socket.write_all(answer.as_bytes()).await.unwrap();
                    }
                }
            });
        }
    });
    somebody
}

/// A sentinel that names `port`.
pub(crate) async fn names(port: &str) -> Somebody {
    answers(Some(format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len()))).await
}

fn address(sentinels: &[u16]) -> Address {
    let places: Vec<_> = sentinels.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    Address::parse(&format!("redis+sentinel://{}/main", places.join(",")), None).unwrap()
}

#[tokio::test]
async fn a_plain_address_is_its_own_master_and_asks_nobody() {
    let found = endpoint("redis://localhost:1/7").await;
    assert_eq!(found.to_string(), "redis://localhost:1/7");
}

#[tokio::test]
async fn f10_sentinels_that_are_dead_silent_or_wrong_are_passed_over() {
    let (master, replica) = pair().await;
    let nobody = free_port();
    let silent = answers(None).await;
    let knows_nothing = answers(Some("*-1\r\n".into())).await;
    let no_sentinel = answers(Some("-ERR unknown command 'SENTINEL'\r\n".into())).await;
    let junk = answers(Some("*2\r\n$1\r\n\n\r\n$2\r\n-1\r\n".into())).await;
    // Cut off since before the last failover, and believing it still.
    let stale = names(&replica.port()).await;
    let right = names(&master.port()).await;
    let bad = [&silent, &knows_nothing, &no_sentinel, &junk, &stale].map(|somebody| somebody.port);
    let bad = [&[nobody][..], &bad].concat();
    let all = [&bad[..], &[right.port]].concat();
    let found = address(&all).master(QUICK).await.unwrap();
    assert_eq!(found, endpoint(&master.url()).await);
    assert_eq!(address(&bad).master(QUICK).await, Err(Error::NoMaster { asked: 6 }));
}

#[tokio::test]
async fn f10_the_sentinel_that_was_believed_last_is_asked_first() {
    let master = Server::start(&[]).await;
    let silent = answers(None).await;
    let address = address(&[silent.port, names(&master.port()).await.port]);
    for found in [address.master(QUICK).await, address.clone().master(QUICK).await] {
        assert_eq!(found.unwrap(), endpoint(&master.url()).await);
    }
    assert_eq!(silent.calls(), 1);
}

#[tokio::test]
async fn f7_a_sentinel_leads_to_the_master_of_the_moment_and_asks_for_its_own_password() {
    let (old, new) = pair().await;
    for server in [&old, &new] {
        server.ask(&["CONFIG", "SET", "masterauth", "right"]).await;
        server.ask(&["ACL", "SETUSER", "tidewire", "on", ">right", "~*", "&*", "+@all"]).await;
    }
    let sentinel = Sentinel::start(&old).await;
    let url = |user: &str| format!("redis+sentinel://{user}127.0.0.1:{}/main/2", sentinel.port);
    let address = Address::parse(&url("tidewire:right@"), None).unwrap();
    let found = address.master(PATIENT).await.unwrap();
    assert_eq!(found.to_string(), format!("{}/2", old.url()));
    // Both links of a node go to the same server.
    Log::dial(&found, PREFIX, 0, PATIENT).await.unwrap();
    Ear::dial(&found, PREFIX, 0, PATIENT, Arc::new(drop)).await.unwrap();

    let wrong = Address::parse(&url("tidewire:wrong@"), None).unwrap();
    assert_eq!(wrong.master(PATIENT).await, Err(Error::Auth));

    let mut closing = redis::Client::open(sentinel.url()).unwrap().get_connection().unwrap();
    let acl = ["SETUSER", "tidewire", "on", ">right", "+@all"];
    redis::cmd("ACL").arg(&acl).exec(&mut closing).unwrap();
    redis::cmd("ACL").arg(&["SETUSER", "default", "off"]).exec(&mut closing).unwrap();
    drop(closing);
    assert_eq!(address.master(PATIENT).await, Ok(found));
}

#[tokio::test]
async fn s53_tls_trusts_the_authorities_that_were_given_and_nobody_else() {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let ours = rcgen::generate_simple_self_signed(names.clone()).unwrap();
    let other = rcgen::generate_simple_self_signed(names).unwrap();
    let server = Server::start_tls(&ours.cert.pem(), &ours.signing_key.serialize_pem()).await;
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("rediss://{host}:{}", server.port());
        let dial = async |ca: Option<&str>| {
            let address = Address::parse(&url, ca.map(str::as_bytes)).unwrap();
            Log::dial(&address.master(PATIENT).await.unwrap(), PREFIX, 0, PATIENT).await
        };
        assert!(dial(Some(&ours.cert.pem())).await.unwrap().probe().await.unwrap().is_master);
        assert_eq!(dial(Some(&other.cert.pem())).await.unwrap_err(), Error::Broken);
        assert_eq!(dial(None).await.unwrap_err(), Error::Broken);
    }
    // A word from a file in which nothing is a certificate.
    let key = ours.signing_key.serialize_pem();
    assert_eq!(Address::parse("rediss://a", Some(key.as_bytes())).unwrap_err(), AddressError::Ca);
}

/// A real sentinel that watches one master by the name of `main`.
struct Sentinel {
    child: Child,
    port: u16,
    folder: std::path::PathBuf,
}

impl Sentinel {
    async fn start(master: &Server) -> Sentinel {
        let port = free_port();
        let folder = std::env::temp_dir().join(format!("tidewire-sentinel-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("sentinel.conf");
        let watched = format!("sentinel monitor main 127.0.0.1 {} 1\n", master.port());
        std::fs::write(&file, format!("bind 127.0.0.1\nport {port}\n{watched}")).unwrap();
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel").stdin(Stdio::null()).stdout(Stdio::null());
        let sentinel = Sentinel { child: command.spawn().unwrap(), port, folder };
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        sentinel
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
