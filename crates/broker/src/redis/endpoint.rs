//! One server to dial.

use std::fmt;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, Pipeline,
    ProtocolVersion, RedisConnectionInfo, Value,
};

use super::error::Error;
use super::link::Timeouts;

/// Calls that wait for a connection to take them. Beyond: callers wait.
const WAITING_CALLS_MAX: usize = 1_024;

/// Bytes that gather before they are written out, whoever else waits.
const WRITE_BYTES_MAX: usize = 256 << 10;

/// A server, a database in it, and who we are there. What is shown of it holds no user and no password (security rule S49).
/// Two are equal where server and database are.
#[derive(Clone)]
pub struct Endpoint {
    info: ConnectionInfo,
}

impl Endpoint {
    pub(super) fn new(addr: ConnectionAddr, settings: RedisConnectionInfo) -> Endpoint {
        // One command less that the user has to be allowed (security rule S53).
        let settings = settings.set_skip_set_lib_name();
        let info = addr.into_connection_info().expect("an address with its settings is all that there is");
        Endpoint { info: info.set_redis_settings(settings) }
    }

    /// The number of the database.
    pub(super) fn database(&self) -> u32 {
        u32::try_from(self.info.redis_settings().db()).expect("a database was read from a u16")
    }

    /// Dials, with RESP3.
    pub(super) async fn dial(
        &self,
        timeouts: Timeouts,
        config: AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, Error> {
        self.dial_speaking(ProtocolVersion::RESP3, timeouts, config).await
    }

    /// Dials, and asks a single question in RESP2, which needs no greeting.
    pub(super) async fn ask_once(&self, timeouts: Timeouts, question: Cmd) -> Result<Value, Error> {
        let config = AsyncConnectionConfig::new();
        let connection = self.dial_speaking(ProtocolVersion::RESP2, timeouts, config).await?;
        match send(&connection, &[question]).await?.pop() {
            Some(Value::ServerError(error)) => Err(Error::of_reply(&error)),
            Some(answer) => Ok(answer),
            None => Err(Error::malformed("no answer")),
        }
    }

    async fn dial_speaking(
        &self,
        protocol: ProtocolVersion,
        timeouts: Timeouts,
        config: AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, Error> {
        let settings = self.info.redis_settings().clone().set_protocol(protocol);
        let info = self.info.clone().set_redis_settings(settings);
        let client = Client::open(info).map_err(|_| Error::malformed("address"))?;
        let config = config
            .set_connection_timeout(Some(timeouts.dial))
            .set_response_timeout(Some(timeouts.answer))
            .set_pipeline_buffer_size(WAITING_CALLS_MAX)
            .set_write_backpressure_boundary(WRITE_BYTES_MAX);
        Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
    }
}

/// Sends calls in one write and gives as many answers, in their order; an error reply is one of them.
pub(super) async fn send(connection: &MultiplexedConnection, calls: &[Cmd]) -> Result<Vec<Value>, Error> {
    let mut pipeline = Pipeline::with_capacity(calls.len());
    for call in calls {
        pipeline.add_command(call.clone());
    }
    let answers = connection.clone().send_packed_commands(&pipeline, 0, calls.len()).await?;
    if answers.len() == calls.len() { Ok(answers) } else { Err(Error::malformed("count")) }
}

/// A host and its port as a URL has them.
pub(super) fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Endpoint) -> bool {
        self.info.addr() == other.info.addr() && self.database() == other.database()
    }
}

impl Eq for Endpoint {}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self.info.addr() {
            ConnectionAddr::Tcp(host, port) => ("redis", host, port),
            ConnectionAddr::TcpTls { host, port, .. } => ("rediss", host, port),
            _ => return f.write_str("elsewhere"),
        };
        write!(f, "{scheme}://{}/{}", host_and_port(host, *port), self.database())
    }
}
