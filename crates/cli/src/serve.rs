//! `tidewire serve`: gathers the settings, and runs a node.

use std::io::IsTerminal as _;
use std::path::Path;

use tidewire_server::Fatal;
use tidewire_server::config::sources::Flag;
use tidewire_server::config::{ConfigError, Resolved, Settings, Sources};
use tidewire_server::drain::Ending;
use tracing_subscriber::EnvFilter;

use crate::args::Serve;
use crate::exit::Failure;

/// The file that is read when nobody names one.
const DEFAULT_FILE: &str = "tidewire.toml";

pub(crate) fn run(args: &Serve) -> Result<(), Failure> {
    let Resolved { settings, warnings, .. } = resolve(args)?;
    log_to_stderr(&settings)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    match tidewire_server::run(&settings) {
        Ok(Ending::Empty) => Ok(()),
        Ok(Ending::TimeOver) => {
            tracing::info!("the time to drain was over before everybody had left");
            Ok(())
        }
        Ok(Ending::CutShort) => Err(Failure::Runtime("told twice to end: not everybody had left".into())),
        Err(fatal @ Fatal::Entrance(_)) => Err(Failure::Configuration(fatal.to_string())),
        Err(fatal) => Err(Failure::Runtime(fatal.to_string())),
    }
}

/// What a server would run with.
pub(crate) fn resolve(args: &Serve) -> Result<Resolved, Failure> {
    sources(args)?.resolve(Settings::for_this_machine()).map_err(|problems| unusable(&problems))
}

/// Everything that `args` and their surroundings say, in layers.
pub(crate) fn sources(args: &Serve) -> Result<Sources, Failure> {
    Ok(Sources { file: file(args)?, environment: environment(), flags: flags(args)? })
}

fn unusable(problems: &[ConfigError]) -> Failure {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Failure::Configuration(match &lines[..] {
        [line] => line.clone(),
        lines => format!("{} settings cannot be used\n  {}", lines.len(), lines.join("\n  ")),
    })
}

fn file(args: &Serve) -> Result<Option<(String, String)>, Failure> {
    let path = match &args.config {
        Some(path) => path.as_path(),
        None if Path::new(DEFAULT_FILE).exists() => Path::new(DEFAULT_FILE),
        None => return Ok(None),
    };
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some((name, text))),
        Err(error) => Err(Failure::Configuration(format!("cannot read {name}: {error}"))),
    }
}

fn environment() -> Vec<(String, String)> {
    // What is not UTF-8 is no setting of ours.
    let text = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    text.collect()
}

fn flags(args: &Serve) -> Result<Vec<Flag>, Failure> {
    let mut flags = Vec::new();
    for set in &args.set {
        let Some((key, value)) = set.split_once('=') else {
            return Err(Failure::Usage("--set: write --set key=value".into()));
        };
        // Without the value: what is typed after a mistaken name may be a secret.
        flags.push(Flag { key: key.into(), value: value.into(), typed: format!("--set {key}") });
    }
    // Flags of their own beat `--set`: whoever types both means the more particular one.
    let named = [
        ("listen", "--listen", args.listen.clone()),
        ("admin_listen", "--admin-listen", args.admin_listen.clone()),
        ("dev", "--dev", args.dev.then(|| "true".into())),
        ("dev_public", "--dev-public", args.dev_public.then(|| "true".into())),
        ("demo", "--demo", args.demo.then(|| "true".into())),
        ("drain_within", "--drain-within", args.drain_within.clone()),
        ("log", "--log", args.log.clone()),
    ];
    let given = named.into_iter().filter_map(|(key, flag, value)| {
        let value = value?;
        Some(Flag { key: key.into(), typed: flag.into(), value })
    });
    flags.extend(given);
    Ok(flags)
}

/// Reads `log`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn log_filter(settings: &Settings) -> Result<EnvFilter, String> {
    settings.log.parse().map_err(|error| format!("`log`: {error}"))
}

fn log_to_stderr(settings: &Settings) -> Result<(), Failure> {
    let filter = log_filter(settings).map_err(Failure::Configuration)?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    Ok(())
}
