//! The command line, as it is typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Real-time delivery to browsers over SSE, WebSocket and polling.
#[derive(Debug, Parser)]
#[command(name = "tidewire", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub serve: Serve,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a server. The default.
    Serve(Serve),
    /// Publish a message.
    Pub(Publish),
    /// Follow channels, across cuts.
    Sub(Subscribe),
    /// Show what a channel keeps.
    History(History),
    /// Show who is connected to a channel.
    Presence(Presence),
    /// Make a key: a secret, a pair of keys, or an API key.
    Keygen(crate::keygen::Keygen),
    /// Make, read and check tokens.
    #[command(subcommand)]
    Token(crate::token::Token),
    /// Buy a ticket: a credential for an address, good for one subscription.
    Ticket(crate::ticket::Ticket),
    /// Watch a server: rates, connections, channels, slow readers and refusals, live.
    Top(crate::top::Top),
    /// Write a configuration to start from.
    Init(Init),
    /// Say everything that is wrong with the configuration.
    Check(Check),
    /// Show the configuration.
    Config(Config),
    /// Put a load on a server and say what came of it: latency, cost, and everything that went wrong.
    #[cfg(target_os = "linux")]
    Bench(crate::bench::Bench),
    /// Measure short polling, long polling, SSE and WebSocket side by side.
    #[cfg(target_os = "linux")]
    Compare(crate::compare::Compare),
    /// Say what is wrong on the way to a server, in which box, and the line to change.
    Doctor(crate::doctor::Doctor),
    /// Print what a proxy in front has to be told.
    ProxyConfig(crate::proxy_config::ProxyConfig),
    /// Ask a server on this machine whether it is well; exit code 0 or 1, as HEALTHCHECK of a container wants it.
    Healthcheck(crate::healthcheck::Healthcheck),
    /// Print a script that completes commands in a shell.
    Completions(crate::completions::Completions),
    /// Write the manual pages into a folder, for packages.
    #[command(hide = true)]
    Man(crate::man::Man),
}

/// Flags beat the environment (`TIDEWIRE_LIMITS__HEARTBEAT=5s`), which beats the file, which beats the defaults.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Serve {
    /// Where clients connect [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Where /livez, /readyz and /metrics answer; `same` is where clients connect [default: 127.0.0.1:9090; `same` in
    /// dev mode]
    #[arg(long, value_name = "ADDRESS")]
    pub admin_listen: Option<String>,
    /// Dev mode: this machine only, no credentials, everything in memory [default: on while nothing under `auth` is
    /// set]
    #[arg(long)]
    pub dev: bool,
    /// Let other machines reach dev mode
    #[arg(long)]
    pub dev_public: bool,
    /// Serve and feed the demo page at /
    #[arg(long)]
    pub demo: bool,
    /// Where the Redis is that nodes share, as redis://host:6379 [default: none; messages are kept in this process]
    #[arg(long, value_name = "URL")]
    pub broker: Option<String>,
    /// Speak TLS with a certificate made up at start, for development
    #[arg(long)]
    pub tls_self_signed: bool,
    /// How long connections may take to leave [default: 2s in dev mode, else 10s]
    #[arg(long, value_name = "DURATION")]
    pub drain_within: Option<String>,
    /// Log lines to standard error, as `level` or `target=level,…` [default: warn]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// A configuration file [default: tidewire.toml, if there is one]
    #[arg(long, value_name = "FILE", env = "TIDEWIRE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Any configuration key, as often as needed
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// End when standard input does: for a server that belongs to the process that started it
    #[arg(long, hide = true)]
    pub until_stdin_ends: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Init {
    /// What to write; a secret goes beside it
    #[arg(long, value_name = "FILE", default_value = "tidewire.toml")]
    pub path: PathBuf,
    /// Replace the file if there is one; a secret is kept
    #[arg(long)]
    pub force: bool,
}

/// Takes the flags of `serve`, and looks at what it would run with.
#[derive(Clone, Debug, Args)]
pub(crate) struct Check {
    /// Also refuse what is not fit for the internet
    #[arg(long)]
    pub prod: bool,
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub serve: Serve,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    pub command: ConfigCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show every value; secrets are masked.
    Show(ShowConfig),
    /// Print the JSON Schema of the configuration file.
    Schema,
}

/// Takes the flags of `serve`, and shows what it would run with.
#[derive(Clone, Debug, Args)]
pub(crate) struct ShowConfig {
    /// Say where each value came from
    #[arg(long)]
    pub origin: bool,
    /// Print the values as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub serve: Serve,
}

/// The server to talk to.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Server {
    /// The server's address
    #[arg(long, env = "TIDEWIRE_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// A token or API key
    #[arg(long, env = "TIDEWIRE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Trust the certificates in this file, in place of those that this machine trusts
    #[arg(long, value_name = "FILE", env = "TIDEWIRE_CA")]
    pub ca: Option<PathBuf>,
    /// Trust any certificate: for a server with --tls-self-signed, and nothing else
    #[arg(long, conflicts_with = "ca")]
    pub insecure: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Publish {
    /// Where to
    pub channel: String,
    /// What; `-` or nothing reads standard input
    #[arg(conflicts_with = "file")]
    pub data: Option<String>,
    /// What the event is called
    #[arg(long)]
    pub event: Option<String>,
    /// Makes a repetition harmless
    #[arg(long)]
    pub key: Option<String>,
    /// Publish bytes instead of text
    #[arg(long)]
    pub binary: bool,
    /// Publish what a file holds
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// Print the receipt as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub server: Server,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Subscribe {
    /// One channel, or several joined by commas
    pub channels: String,
    /// How to receive
    #[arg(long, value_enum, default_value_t = Transport::Sse)]
    pub transport: Transport,
    /// One JSON object a line, gaps included
    #[arg(long)]
    pub json: bool,
    /// Begin after this id, or `earliest`
    #[arg(long, conflicts_with = "tail")]
    pub cursor: Option<String>,
    /// Begin with the newest so many messages
    #[arg(long)]
    pub tail: Option<u32>,
    /// End after so many messages
    #[arg(long, short = 'n')]
    pub count: Option<u64>,
    #[command(flatten)]
    pub server: Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    Sse,
    Ws,
    Poll,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct History {
    /// Whose
    pub channel: String,
    /// One JSON object a line, gaps included
    #[arg(long)]
    pub json: bool,
    /// The newest so many messages
    #[arg(long)]
    pub limit: Option<u32>,
    /// Begin after this id
    #[arg(long)]
    pub cursor: Option<String>,
    #[command(flatten)]
    pub server: Server,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Presence {
    /// Whose; presence is kept where its namespace has `presence = true`
    pub channel: String,
    /// One JSON object a line, with how many connections each has
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub server: Server,
}
