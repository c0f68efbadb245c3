//! `tidewire top`: what a server does, live, in a terminal, for whoever is on call and came by ssh (decision 29).
//!
//! ```text
//! console (login, feed, lists) -> watch (across cuts) -> News -> state -> draw -> screen
//!                                                              -> tables -> snapshot (--once, --json)
//! ```
//!
//! State and drawing are pure. All that a server says is [`plain::Plain`] before it gets there.

mod console;
mod draw;
mod numbers;
mod password;
mod plain;
mod said;
mod screen;
mod snapshot;
mod state;
mod tables;
mod watch;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use crate::args::Server;
use crate::exit::Failure;
use crate::http::Refused;
use crate::target::Target;

use console::Console;
use password::Unseen;
use state::{News, State};

#[derive(Clone, Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Top {
    /// Where the console is: the address of /metrics [default: http://127.0.0.1:8080, and http://127.0.0.1:9090 where
    /// there is none]
    #[arg(long, env = "TIDEWIRE_URL")]
    pub url: Option<String>,
    /// A file that holds the console's password; a viewer's is enough
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Print one look as text, and end
    #[arg(long)]
    pub once: bool,
    /// Print JSON: a line a second, or one line with --once
    #[arg(long)]
    pub json: bool,
    /// Trust the certificates in this file, in place of those that this machine trusts
    #[arg(long, value_name = "FILE", env = "TIDEWIRE_CA")]
    pub ca: Option<PathBuf>,
    /// Trust any certificate: for a server with --tls-self-signed, and nothing else
    #[arg(long, conflicts_with = "ca")]
    pub insecure: bool,
}

const AFTER_HELP: &str = "\
The password comes from --password-file, TIDEWIRE_ADMIN_PASSWORD, or is asked for. A server in dev mode that made its
password up asks nobody on its machine. Exits with 2 where a password is missing, with 75 when nobody answers.";

/// Where a console is unless somebody says otherwise: in dev mode, and elsewhere.
const USUAL: [&str; 2] = ["http://127.0.0.1:8080", "http://127.0.0.1:9090"];

/// How often a password may be typed: the console takes five wrong ones a minute.
const ATTEMPTS_MAX: usize = 3;

pub(crate) async fn run(args: Top) -> Result<(), Failure> {
    let is_printed = args.once || args.json;
    if !is_printed && !screen::is_there() {
        let what = "this is no terminal that can be drawn on: `tidewire top --once` prints one look, and `tidewire top --json` a line a second";
        return Err(Failure::Usage(what.into()));
    }
    let given = password::given(args.password_file.as_deref())?;
    let console = find(&args, given.is_some()).await?;
    let (console, about) = log_in(console, given).await?;
    let mut state = State::new(&console.target.authority);
    state.hear(News::Opened(about), 0);
    let outcome = if is_printed {
        snapshot::show(&console, state, args.json, args.once).await
    } else {
        screen::show(&console, state).await
    };
    console.close().await;
    outcome
}

/// The console that was named, or the first of the usual ones that there is.
async fn find(args: &Top, has_password: bool) -> Result<Console, Failure> {
    let named: Vec<&str> = match &args.url {
        Some(url) => vec![url],
        None => USUAL.to_vec(),
    };
    let mut asked = Vec::new();
    let mut unreachable = None;
    let mut is_off = false;
    for url in named {
        let (ca, insecure) = (args.ca.clone(), args.insecure);
        let console = Console::new(Target::of(&Server { url: url.to_owned(), token: None, ca, insecure })?);
        if has_password {
            keep_private(&console.target)?;
        }
        asked.push(console.target.authority.clone());
        match console.look().await {
            Ok(()) => return Ok(console),
            Err(refused) if refused.may_pass() => unreachable = unreachable.or(Some(refused)),
            Err(_) => is_off = true,
        }
    }
    match (unreachable, &asked[..]) {
        (Some(refused), [_, other]) if !is_off => Err(Failure::TryAgain(format!(
            "{refused}; nor is there a console at {other}. Name the address of yours with --url"
        ))),
        (Some(refused), _) if !is_off => Err(refused.into()),
        _ => Err(Failure::Runtime(no_console(&asked.join(" or ")))),
    }
}

fn no_console(asked: &str) -> String {
    format!(
        "there is no console at {asked}. It is where /metrics is, on `admin_listen` (127.0.0.1:9090 unless set otherwise): \
         name that address with --url. It is off until there is a password: set `admin.viewer_password` or \
         `admin.password`, of 12 characters or more, and have the server read it with `kill -HUP`"
    )
}

/// Logs in, with the password that was given or else is typed, or without one where none is asked for.
async fn log_in(
    console: Console,
    given: Option<tidewire_server::config::Secret>,
) -> Result<(Console, said::About), Failure> {
    let is_given = given.is_some();
    let console = console.with(given);
    match console.open().await {
        Ok(about) => return Ok((console, about)),
        Err(Refused::Refused { status, .. }) if status == 401 && !is_given => {}
        Err(refused) => return Err(refused.into()),
    }
    if !password::can_ask() {
        return Err(Failure::Usage(format!(
            "the console at {} asks for a password: set TIDEWIRE_ADMIN_PASSWORD, or name a file that holds it with \
             --password-file; a viewer's is enough",
            console.target.authority
        )));
    }
    keep_private(&console.target)?;
    let terminal = Unseen::begin()?;
    tokio::select! {
        biased;
        // The terminal is given back then, too.
        () = screen::ended() => Err(Failure::Runtime("no password was given".into())),
        outcome = log_in_typed(console, &terminal) => outcome,
    }
}

/// Asks for passwords until one is good.
async fn log_in_typed(mut console: Console, terminal: &Unseen) -> Result<(Console, said::About), Failure> {
    let authority = console.target.authority.clone();
    for _ in 0..ATTEMPTS_MAX {
        console = console.with(Some(terminal.ask(&authority).await?));
        match console.open().await {
            Ok(about) => return Ok((console, about)),
            Err(Refused::Refused { status, .. }) if status == 401 => terminal.refuse(),
            Err(refused) => return Err(refused.into()),
        }
    }
    Err(Failure::Runtime(format!("{ATTEMPTS_MAX} passwords were wrong; the console takes five a minute")))
}

/// A server refuses a password that came in the clear, but then it has come.
fn keep_private(target: &Target) -> Result<(), Failure> {
    let host = target.host.as_str();
    let is_loopback =
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if target.trust.is_some() || is_loopback {
        return Ok(());
    }
    let port = target.port;
    Err(Failure::Usage(format!(
        "a password is not sent over plain HTTP to another machine: open a tunnel with `ssh -L {port}:127.0.0.1:{port} {host}`, \
         and say --url http://127.0.0.1:{port}"
    )))
}
