//! What `tidewire doctor` takes.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tidewire_hub::Channel;

use crate::args::Server;
use crate::exit::Failure;
use crate::token;

#[derive(Clone, Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Doctor {
    /// The address that pages use, with every proxy before it
    #[arg(env = "TIDEWIRE_URL")]
    pub url: String,
    /// A channel to listen and publish to [default: one with a random name, doctor:…]
    #[arg(long)]
    pub channel: Option<String>,
    /// Leave out what takes waiting: done within 10 s
    #[arg(long, conflicts_with = "idle")]
    pub quick: bool,
    /// How long to stay quiet, to see who cuts a quiet connection; heartbeats come every 15 s
    #[arg(long, value_name = "DURATION", default_value = "32s", value_parser = duration)]
    pub idle: Duration,
    /// Say whether pages of this origin, such as https://app.example, are let in
    #[arg(long)]
    pub origin: Option<String>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// A token or API key
    #[arg(long, visible_alias = "api-key", env = "TIDEWIRE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Trust the certificates in this file, in place of those that this machine trusts
    #[arg(long, value_name = "FILE", env = "TIDEWIRE_CA")]
    pub ca: Option<PathBuf>,
    /// Trust any certificate: for a server with --tls-self-signed, and nothing else
    #[arg(long, conflicts_with = "ca")]
    pub insecure: bool,
}

const AFTER_HELP: &str = "\
Dev mode needs no more than the address. Elsewhere give a token or API key that may subscribe and publish to --channel; without
the right to publish, what needs it is left out. Done within 45 s unless --idle says more.
Exits with 0 when nothing is wrong, with 1 when anything is, warnings included, and with 75 when nobody answers.";

/// The longest wait that --idle asks for: a day.
const IDLE_MAX_S: u64 = 86_400;

fn duration(text: &str) -> Result<Duration, String> {
    let seconds = token::seconds(text).ok().filter(|seconds| *seconds <= IDLE_MAX_S);
    seconds.map(Duration::from_secs).ok_or_else(|| "write 32s, 2m or 1h, at most 24h".into())
}

impl Doctor {
    /// The server, as other commands have it.
    pub(super) fn server(&self) -> Server {
        Server {
            url: self.url.clone(),
            token: self.token.clone(),
            ca: self.ca.clone(),
            insecure: self.insecure,
        }
    }

    /// How long to stay quiet; nothing for not at all.
    pub(super) fn idle(&self) -> Option<Duration> {
        (!self.quick).then_some(self.idle)
    }

    /// What can be said before anything is asked.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if let Some(name) = &self.channel {
            Channel::parse(name)
                .map_err(|error| Failure::Usage(format!("--channel {}: {error}", name.escape_default())))?;
        }
        let Some(origin) = &self.origin else { return Ok(()) };
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        let plain = host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', ' ', ',']));
        if plain && origin.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(());
        }
        let shown = origin.escape_default();
        Err(Failure::Usage(format!(
            "--origin {shown}: write https://app.example, with nothing behind the host"
        )))
    }
}
