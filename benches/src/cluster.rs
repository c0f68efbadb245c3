//! A Redis and its nodes, and what each of them costs.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::meter::{core_cpu_ns, threads_cpu_ns, tree_cpu_ns};
use crate::redis::Redis;
use crate::server::{GENERATOR_CORE, Kind, SERVER_CORE, Server, free_address};

/// Nodes of one Redis, or one node without any.
pub struct Cluster {
    /// First, so that nodes go before what they depend on.
    pub nodes: Vec<Server>,
    /// `None` in memory mode.
    pub redis: Option<Redis>,
    options: Vec<String>,
}

/// How many messages a channel keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// As many as by default.
    Kept,
    /// None.
    None,
}

/// Long enough for a node to come into its log.
const LIVE_MAX: Duration = Duration::from_secs(5);

impl Cluster {
    /// One node that keeps everything itself.
    pub fn in_memory(tidewire: &Path, show: bool) -> io::Result<Cluster> {
        let options = options(None, History::Kept);
        let node = Server::start_with(Kind::Tidewire, tidewire, &options, free_address()?, show)?;
        Ok(Cluster { nodes: vec![node], redis: None, options })
    }

    /// A fresh Redis and so many nodes, each of which is live.
    pub fn start(count: usize, history: History, tidewire: &Path, show: bool) -> io::Result<Cluster> {
        let redis = Redis::start()?;
        let options = options(Some(&redis), history);
        let mut cluster = Cluster { nodes: Vec::new(), redis: Some(redis), options };
        for _ in 0..count {
            let node = Server::start_with(Kind::Tidewire, tidewire, &cluster.options, free_address()?, show)?;
            cluster.nodes.push(node);
        }
        let begun = Instant::now();
        while !cluster.nodes.iter().all(|node| node.counter("tidewire_broker_up") == Some(1.0)) {
            if begun.elapsed() > LIVE_MAX {
                return Err(io::Error::other("a node does not come into its log"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(cluster)
    }

    /// Kills a node at once, as `kill -9` does, and starts it again where it was.
    pub fn restart(&mut self, node: usize, tidewire: &Path, show: bool) -> io::Result<()> {
        let address = self.kill(node);
        let again = Server::start_with(Kind::Tidewire, tidewire, &self.options, address, show)?;
        self.nodes.insert(node, again);
        Ok(())
    }

    /// Kills a node at once. Those behind it move up.
    pub fn kill(&mut self, node: usize) -> std::net::SocketAddrV4 {
        self.nodes.remove(node).address
    }
}

fn options(redis: Option<&Redis>, history: History) -> Vec<String> {
    // All of it comes from one place and goes to few channels.
    let mut sets =
        vec!["limits.channel_publishes_per_second_max=0", "limits.subject_publishes_per_second_max=0"];
    if history == History::None {
        sets.push("history.messages_max=0");
    }
    let mut options: Vec<String> = sets.iter().flat_map(|set| ["--set", set]).map(str::to_owned).collect();
    options.extend(redis.into_iter().flat_map(|redis| ["--broker".to_owned(), redis.url()]));
    options
}

/// CPU time of everybody, and the wall clock, at one instant.
#[derive(Clone, Debug)]
pub struct Meters {
    redis_ns: u64,
    nodes_ns: Vec<u64>,
    generator_ns: u64,
    server_core_ns: u64,
    generator_core_ns: u64,
    at: Instant,
}

/// What passed between two instants, in seconds.
#[derive(Clone, Debug)]
pub struct Costs {
    /// CPU of Redis, its threads included.
    pub redis_s: f64,
    /// CPU of each node.
    pub nodes_s: Vec<f64>,
    /// CPU of the generator.
    pub generator_s: f64,
    /// What others took of either core.
    pub others_s: f64,
    /// On the wall.
    pub wall_s: f64,
}

impl Meters {
    /// Reads them now.
    pub fn read(cluster: &Cluster) -> io::Result<Meters> {
        let redis = cluster.redis.as_ref();
        Ok(Meters {
            redis_ns: redis.map_or(Ok(0), |redis| tree_cpu_ns(redis.process()))?,
            nodes_ns: cluster
                .nodes
                .iter()
                .map(|node| tree_cpu_ns(node.process()))
                .collect::<Result<_, _>>()?,
            generator_ns: threads_cpu_ns(std::process::id())?,
            server_core_ns: core_cpu_ns(SERVER_CORE)?,
            generator_core_ns: core_cpu_ns(GENERATOR_CORE)?,
            at: Instant::now(),
        })
    }

    /// What passed since then. The nodes are the same.
    pub fn spent_until(&self, later: &Meters) -> Costs {
        let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e9;
        let redis_s = seconds(self.redis_ns, later.redis_ns);
        let nodes = self.nodes_ns.iter().zip(&later.nodes_ns);
        let nodes_s: Vec<f64> = nodes.map(|(from, to)| seconds(*from, *to)).collect();
        let generator_s = seconds(self.generator_ns, later.generator_ns);
        let all_nodes_s: f64 = nodes_s.iter().sum();
        let server_core_s = seconds(self.server_core_ns, later.server_core_ns);
        let generator_core_s = seconds(self.generator_core_ns, later.generator_core_ns);
        let others_s = (server_core_s - all_nodes_s).max(generator_core_s - generator_s - redis_s).max(0.0);
        let wall_s = later.at.duration_since(self.at).as_secs_f64();
        Costs { redis_s, nodes_s, generator_s, others_s, wall_s }
    }
}

impl Costs {
    /// How busy the core was that all nodes share.
    pub fn nodes_percent(&self) -> f64 {
        100.0 * self.nodes_s.iter().sum::<f64>() / self.wall_s
    }

    /// How busy the core was that Redis shares with the generator.
    pub fn others_core_percent(&self) -> f64 {
        100.0 * (self.generator_s + self.redis_s) / self.wall_s
    }

    /// How much of a core others took.
    pub fn others_percent(&self) -> f64 {
        100.0 * self.others_s / self.wall_s
    }
}
