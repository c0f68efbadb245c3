//! Real Redis servers for tests: each in a process and folder of its own, on loopback, gone with the test.

use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::iter;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, Value};
use tokio::sync::mpsc;

/// How long a server may take to do what a test waits for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running `redis-server`.
pub(crate) struct Server {
    child: Option<Child>,
    port: u16,
    folder: PathBuf,
    options: Vec<String>,
}

impl Server {
    /// Starts one that keeps nothing on disk, with `options` as on its command line, and waits until it answers.
    pub(crate) async fn start(options: &[&str]) -> Server {
        let mut server = Server::new(options);
        server.launch();
        server.answers().await;
        server
    }

    /// As [`Server::start`], with TLS alone. Nothing is asked of it but what a test dials itself.
    pub(crate) async fn start_tls(cert: &str, key: &str) -> Server {
        let mut server = Server::new(&[]);
        let (cert_file, key_file) = (server.folder.join("cert.pem"), server.folder.join("key.pem"));
        std::fs::write(&cert_file, cert).unwrap();
        std::fs::write(&key_file, key).unwrap();
        let (port, files) = (server.port(), [cert_file, key_file].map(|file| file.display().to_string()));
        let tls = ["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"];
        let tls = [&tls[..], &["--tls-cert-file", &files[0], "--tls-key-file", &files[1]]].concat();
        server.options = tls.iter().map(ToString::to_string).collect();
        server.launch();
        let since = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.is_err() {
            assert!(since.elapsed() < PATIENCE, "redis-server does not answer");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        server
    }

    /// Where it is, for [`tidewire_broker::redis::Address::parse`].
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The same, with a user and a password.
    pub(crate) fn url_as(&self, user: &str, password: &str) -> String {
        format!("redis://{user}:{password}@127.0.0.1:{}", self.port)
    }

    /// Its port, as a word of a command.
    pub(crate) fn port(&self) -> String {
        self.port.to_string()
    }

    /// What it answers to a command, which it must not refuse.
    pub(crate) async fn ask(&self, words: &[&str]) -> Value {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        self.command(command).await
    }

    /// As [`Server::ask`], for words that are no text.
    pub(crate) async fn command(&self, command: redis::Cmd) -> Value {
        let mut connection = self.control().await;
        let answer = connection.send_packed_command(&command).await.unwrap();
        assert!(!matches!(answer, Value::ServerError(_)), "{command:?}: {answer:?}");
        answer
    }

    /// As [`Server::ask`], for commands that answer with text or a number.
    pub(crate) async fn text(&self, words: &[&str]) -> String {
        redis::from_redis_value(self.ask(words).await).unwrap()
    }

    /// Subscribes to `names`; pushes arrive from now on.
    pub(crate) async fn subscribe(&self, names: &[&str]) -> Subscription {
        let (sender, pushes) = mpsc::unbounded_channel();
        let mut connection =
            self.connect(AsyncConnectionConfig::new().set_push_sender(sender)).await.unwrap();
        connection.subscribe(names).await.unwrap();
        Subscription { _connection: connection, pushes }
    }

    /// Makes it a replica of `master`, and waits until it has everything. The first replica that a server gets changes
    /// its replication id.
    pub(crate) async fn follow(&self, master: &Server) {
        self.ask(&["REPLICAOF", "127.0.0.1", &master.port()]).await;
        self.until(&["INFO", "replication"], "master_link_status:up").await;
        master.replicated().await;
    }

    /// Makes a replica a master, as a sentinel does, with what it has.
    pub(crate) async fn promote(&self) {
        self.ask(&["REPLICAOF", "NO", "ONE"]).await;
    }

    /// Waits until its replicas have everything.
    pub(crate) async fn replicated(&self) {
        let since = Instant::now();
        // `slave0:ip=…,port=…,state=online,offset=42,lag=0`
        let caught_up = |info: &str| {
            let offset = info.lines().find_map(|line| line.strip_prefix("master_repl_offset:"));
            let wanted = format!("state=online,offset={},", offset.unwrap_or_default());
            let mut replicas = info.lines().filter(|line| line.contains(",offset=")).peekable();
            replicas.peek().is_some() && replicas.all(|replica| replica.contains(&wanted))
        };
        while !caught_up(&self.text(&["INFO", "replication"]).await) {
            assert!(since.elapsed() < PATIENCE, "replicas do not catch up");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Gives `other` exactly what this one keeps, as a replica that catches up at once.
    pub(crate) async fn copy_to(&self, other: &Server) {
        let (mut from, mut to) = (self.control().await, other.control().await);
        let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query_async(&mut from).await.unwrap();
        let mut fill = redis::pipe();
        fill.cmd("FLUSHALL").ignore();
        for key in keys {
            let (dump, left): (Vec<u8>, i64) = redis::pipe()
                .cmd("DUMP")
                .arg(&key)
                .cmd("PTTL")
                .arg(&key)
                .query_async(&mut from)
                .await
                .unwrap();
            fill.cmd("RESTORE").arg(&key).arg(left.max(0)).arg(dump).ignore();
        }
        fill.exec_async(&mut to).await.unwrap();
    }

    /// Waits until it answers `words` with something that holds `wanted`.
    pub(crate) async fn until(&self, words: &[&str], wanted: &str) {
        let since = Instant::now();
        loop {
            let answer = self.text(words).await;
            if answer.contains(wanted) {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "{words:?} does not come to {wanted}: {answer}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops it dead (`STOP`), or lets it go on (`CONT`).
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(self.child.as_ref().unwrap().id().to_string())
            .status();
        assert!(status.unwrap().success());
    }

    /// Kills it without warning, and starts it again with what it has on disk.
    pub(crate) async fn crash_and_restart(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        self.launch();
        self.answers().await;
    }

    /// One that is not running yet.
    fn new(options: &[&str]) -> Server {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let name =
            format!("tidewire-redis-{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        Server { child: None, port: free_port(), folder, options }
    }

    fn launch(&mut self) {
        self.child = Some(launch(self.port, &self.folder, &self.options));
    }

    async fn control(&self) -> MultiplexedConnection {
        self.connect(AsyncConnectionConfig::new()).await.unwrap()
    }

    async fn connect(&self, config: AsyncConnectionConfig) -> redis::RedisResult<MultiplexedConnection> {
        let client = redis::Client::open(format!("{}?protocol=resp3", self.url()))?;
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    async fn answers(&self) {
        let since = Instant::now();
        loop {
            match self.connect(AsyncConnectionConfig::new()).await {
                Ok(mut connection) => {
                    let answer = connection.send_packed_command(&redis::cmd("PING")).await;
                    if matches!(answer, Ok(Value::SimpleString(_))) {
                        return;
                    }
                }
                // It answers, if only to say that it wants a password.
                Err(error) if !error.is_io_error() => return,
                Err(_) => {}
            }
            let log = || std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(since.elapsed() < PATIENCE, "redis-server does not answer:\n{}", log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A master and its replica.
pub(crate) async fn pair() -> (Server, Server) {
    let (master, replica) = (Server::start(&[]).await, Server::start(&[]).await);
    replica.follow(&master).await;
    (master, replica)
}

/// What a subscribed connection is sent.
pub(crate) struct Subscription {
    _connection: MultiplexedConnection,
    pushes: mpsc::UnboundedReceiver<PushInfo>,
}

impl Subscription {
    /// The next message: its Pub/Sub name and what it holds.
    pub(crate) async fn next(&mut self) -> (String, Vec<u8>) {
        loop {
            let push = tokio::time::timeout(PATIENCE, self.pushes.recv()).await.unwrap().unwrap();
            if let (redis::PushKind::Message, [Value::BulkString(name), Value::BulkString(bytes)]) =
                (&push.kind, &push.data[..])
            {
                return (String::from_utf8(name.clone()).unwrap(), bytes.clone());
            }
        }
    }
}

/// A port that nobody listens on, and that no client is given while its server is down: those are above 32 767.
pub(crate) fn free_port() -> u16 {
    let random = || 10_240 + (RandomState::new().hash_one(()) % 22_528) as u16;
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    iter::repeat_with(random).take(100).find(is_free).expect("one of a hundred ports is free")
}

fn launch(port: u16, folder: &std::path::Path, options: &[String]) -> Child {
    let log = File::create(folder.join("log")).unwrap();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--dir"]).arg(folder);
    // Replicas come at once, and without a file between.
    command.args(["--repl-diskless-sync-delay", "0", "--repl-diskless-load", "swapdb"]).args(options);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap_or_else(|error| {
        panic!("redis-server 7.0 or newer is needed for these tests (Debian: apt-get install redis-server): {error}")
    })
}
