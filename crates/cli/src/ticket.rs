//! `tidewire ticket`: buys a ticket, and prints it as it is, or in the address that it opens (`docs/protocol.md`,
//! "Control API").
//!
//! What is to be used goes to standard output, so that `$(tidewire ticket prices)` is the ticket and nothing else; how
//! long it is good goes to standard error.

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Full, Limited};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::args::Server;
use crate::exit::Failure;
use crate::http;
use crate::show::{print, print_line};
use crate::target::Target;
use crate::token;

/// A ticket is two short fields.
const ANSWER_BYTES_MAX: usize = 64 << 10;

#[derive(Clone, Debug, Args)]
pub(crate) struct Ticket {
    /// One channel, or several joined by commas [default: whatever the credentials are good for]
    #[arg(required_if_eq("link", "true"))]
    pub channels: Option<String>,
    /// How long it waits to be spent: 30s, 2m [default: as long as the server has it]
    #[arg(long, value_name = "DURATION")]
    pub ttl: Option<String>,
    /// Print the address that the ticket opens, ready for an `EventSource`
    #[arg(long, conflicts_with = "json")]
    pub link: bool,
    /// Print the server's answer as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub server: Server,
}

#[derive(Deserialize)]
struct Bought {
    ticket: String,
    expires_in: u64,
}

pub(crate) async fn run(args: Ticket) -> Result<(), Failure> {
    let target = Target::of(&args.server)?;
    let path = target.path("/v1/tickets", &[]);
    let request = http::request(&target, "POST", &path)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(order(&args)?)));
    let request = request.map_err(|error| Failure::Usage(format!("this cannot be sent: {error}")))?;
    let response = http::send(&target, request).await?;
    let answer = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let answer = answer.map_err(|error| Failure::TryAgain(format!("the answer broke: {error}")))?.to_bytes();
    if args.json {
        return print(&[&answer[..], b"\n"].concat());
    }
    // Its words are not repeated: they may hold a ticket.
    let bought: Bought = serde_json::from_slice(&answer)
        .map_err(|_| Failure::Runtime(format!("{} answered no ticket", target.authority)))?;
    let line = match args.channels.as_deref().filter(|_| args.link) {
        Some(channels) => target.url(&Target::channels(channels), &[("ticket", &bought.ticket)]),
        None => bought.ticket,
    };
    print_line(&line)?;
    eprintln!("It opens one subscription, within {} s.", bought.expires_in);
    Ok(())
}

/// What is asked for. The server says what is wrong with a channel.
fn order(args: &Ticket) -> Result<String, Failure> {
    let mut order = Map::new();
    if let Some(channels) = &args.channels {
        order.insert("channels".into(), channels.split(',').map(str::to_owned).collect());
    }
    if let Some(ttl) = &args.ttl {
        order.insert("ttl".into(), token::seconds(ttl)?.into());
    }
    Ok(Value::Object(order).to_string())
}
