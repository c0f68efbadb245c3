//! A wire between nodes and Redis that can be cut, and can come to lead elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// No server is reached: whoever dials is hung up on.
const NOWHERE: u16 = 0;

pub(crate) struct Relay {
    port: u16,
    target: Arc<AtomicU16>,
    /// Changes when all wires are cut.
    cuts: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn to(port: &str) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let target = Arc::new(AtomicU16::new(port.parse().unwrap()));
        let cuts = watch::Sender::new(0);
        let (leads_to, cut) = (target.clone(), cuts.subscribe());
        let task = tokio::spawn(async move {
            loop {
                let Ok((mut near, _)) = listener.accept().await else { return };
                let mut cut = cut.clone();
                cut.mark_unchanged();
                let port = leads_to.load(Ordering::SeqCst);
                if port == NOWHERE {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Relay { port: own, target, cuts, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Hangs up on everybody, and on whoever dials from now on.
    pub(crate) fn cut(&self) {
        self.target.store(NOWHERE, Ordering::SeqCst);
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Leads to this server from now on. Wires that stand stay where they are.
    pub(crate) fn lead_to(&self, port: &str) {
        self.target.store(port.parse().unwrap(), Ordering::SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}
