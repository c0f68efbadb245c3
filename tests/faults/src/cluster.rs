//! The cluster under test: nodes, and what keeps their log.
//!
//! ```text
//!   Memory     one node
//!   Alone      nodes ──▶ address ──▶ redis
//!   Pair       nodes ──▶ address ──▶ master ◀── replica            an operator promotes, and moves the address
//!   Sentinels  nodes ──▶ sentinels; master ◀── replica             three sentinels promote
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::node::Node;
use crate::owner::Owners;
use crate::proxy::Proxy;
use crate::redis;
use crate::server::{Durability, MASTER, Sentinel, Server};

/// How a cluster is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One node in memory mode.
    Memory,
    /// One Redis.
    Alone(Durability),
    /// A master and a replica behind one address.
    Pair,
    /// A master and a replica that sentinels watch.
    Sentinels,
}

/// A running cluster. Everything that it started ends with it.
#[derive(Debug)]
pub struct Cluster {
    /// How it is built.
    pub shape: Shape,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The servers.
    pub servers: Vec<Server>,
    sentinels: Vec<Sentinel>,
    /// The one address that nodes know, where there is one.
    address: Option<Proxy>,
    /// Which server is the master, as far as is known.
    pub master: usize,
    folder: PathBuf,
}

/// What keys in Redis begin with.
pub const PREFIX: &str = "faults";

const PATIENCE: Duration = Duration::from_secs(20);

impl Cluster {
    /// Starts everything in `folder`, and waits until it works.
    ///
    /// # Errors
    /// Something does not start.
    pub async fn start(shape: Shape, nodes: usize, binary: &Path, folder: &Path) -> io::Result<Cluster> {
        std::fs::create_dir_all(folder)?;
        let owners = Owners::default();
        let (mut servers, mut sentinels, mut address) = (Vec::new(), Vec::new(), None);
        let durabilities: &[Durability] = match shape {
            Shape::Memory => &[],
            Shape::Alone(durability) => &[durability],
            Shape::Pair | Shape::Sentinels => &[Durability::EverySecond; 2],
        };
        for (number, durability) in durabilities.iter().enumerate() {
            servers.push(Server::start(number, *durability, folder, &owners).await?);
        }
        if let [master, replica] = &servers[..] {
            replica.text(&["REPLICAOF", "127.0.0.1", &master.proxy.port.to_string()]).await;
            replica.until(&["INFO", "replication"], "master_link_status:up", PATIENCE).await?;
        }
        let mut settings = Vec::new();
        if shape == Shape::Sentinels {
            for number in 0..3 {
                sentinels.push(Sentinel::start(number, servers[0].proxy.port, folder)?);
            }
            for sentinel in &sentinels {
                let known = ["SENTINEL", "MASTER", MASTER];
                while !knows_all(&redis::text(sentinel.port, &known).await) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            let places: Vec<String> = sentinels.iter().map(|one| format!("127.0.0.1:{}", one.port)).collect();
            settings.push(format!("broker.url=redis+sentinel://{}/{MASTER}", places.join(",")));
        } else if let Some(master) = servers.first() {
            let proxy = Proxy::start(master.port, Some(owners.clone())).await?;
            settings.push(format!("broker.url=redis://127.0.0.1:{}", proxy.port));
            address = Some(proxy);
        }
        if !servers.is_empty() {
            settings.push(format!("broker.prefix={PREFIX}"));
        }
        let mut cluster = Cluster {
            shape,
            nodes: Vec::new(),
            servers,
            sentinels,
            address,
            master: 0,
            folder: folder.to_owned(),
        };
        let nodes = if shape == Shape::Memory { 1 } else { nodes };
        for number in 0..nodes {
            cluster.nodes.push(Node::start(number, binary, folder, &settings, &owners).await?);
        }
        Ok(cluster)
    }

    /// The proxies between nodes and Redis.
    pub fn paths(&self) -> impl Iterator<Item = &Proxy> {
        self.address.iter().chain(self.servers.iter().map(|server| &server.proxy))
    }

    /// The master.
    #[must_use]
    pub fn master(&self) -> &Server {
        &self.servers[self.master]
    }

    /// Looks which server is the master, by the sentinels' word where there are any; says whether one was found.
    pub async fn find_master(&mut self) -> bool {
        if self.shape != Shape::Sentinels {
            return !self.servers.is_empty();
        }
        let asked = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER];
        let mut words = Vec::new();
        for sentinel in &self.sentinels {
            words.push(redis::text(sentinel.port, &asked).await);
        }
        let named = |server: &Server| {
            let port = server.proxy.port.to_string();
            words.iter().filter(|word| word.ends_with(&port)).count() >= 2
        };
        let Some(found) = self.servers.iter().position(named) else { return false };
        self.master = found;
        self.servers[found].is_master().await
    }

    /// Makes the address lead to `server` (a pair has one).
    pub fn lead_to(&mut self, server: usize) {
        self.master = server;
        if let Some(address) = &self.address {
            address.lead_to(self.servers[server].port);
        }
    }

    /// Fair weather everywhere.
    pub fn clear(&self) {
        self.paths().for_each(Proxy::clear);
        self.nodes.iter().for_each(|node| node.proxy.clear());
    }

    /// Where everything lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Whether a sentinel knows the replica and the other sentinels.
fn knows_all(described: &str) -> bool {
    let fields: Vec<&str> = described.lines().collect();
    let has = |name: &str, value: &str| fields.windows(2).any(|pair| pair[0] == name && pair[1] == value);
    has("num-slaves", "1") && has("num-other-sentinels", "2")
}
