//! `tidewire serve`: gathers the settings, and runs a node.

use std::io::IsTerminal as _;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};

use tidewire_hub::broker::Figure;
use tidewire_server::config::sources::Flag;
use tidewire_server::config::{ConfigError, Resolved, Settings, Sources};
use tidewire_server::drain::Ending;
use tidewire_server::reload::Figures;
use tidewire_server::spans::Spans;
use tidewire_server::{Fatal, Surroundings};
use tracing_appender::non_blocking::{ErrorCounter, WorkerGuard};
use tracing_subscriber::filter::Directive;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::args::Serve;
use crate::exit::Failure;
use crate::log::{self, Lines};
use crate::traces::{self, Export};

/// The file that is read when nobody names one.
const DEFAULT_FILE: &str = "tidewire.toml";

pub(crate) fn run(args: &Serve) -> Result<(), Failure> {
    let Resolved { settings, warnings, .. } = resolve(args)?;
    let Log { filter, dropped, writes } = log_to_stderr(&settings)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let traces = traces::open()?.map(Arc::new);
    let last_words = LastWords { traces: traces.clone(), log: Arc::new(Mutex::new(Some(writes))) };
    if args.until_stdin_ends {
        let last_words = last_words.clone();
        std::thread::spawn(move || end_with_stdin(&last_words));
    }
    let ending = tidewire_server::run(&settings, &Terminal { args: args.clone(), filter, dropped, traces });
    if let Ok(Ending::TimeOver) = ending {
        tracing::info!("the time to drain was over before everybody had left");
    }
    last_words.say();
    match ending {
        Ok(Ending::Empty | Ending::TimeOver) => Ok(()),
        Ok(Ending::CutShort) => Err(Failure::Runtime("told twice to end: not everybody had left".into())),
        // Units that hand over the wrong sockets do not get better by being started again.
        Err(fatal @ (Fatal::Entrance(_) | Fatal::Handed(_))) => {
            Err(Failure::Configuration(fatal.to_string()))
        }
        Err(fatal) => Err(Failure::Runtime(fatal.to_string())),
    }
}

/// Whoever holds the other end has ended, and nobody is left to drain for.
fn end_with_stdin(last_words: &LastWords) {
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    last_words.say();
    std::process::exit(0);
}

/// What is still to be told when the process ends, and may take a moment.
#[derive(Clone)]
struct LastWords {
    traces: Option<Arc<Export>>,
    log: Arc<Mutex<Option<WorkerGuard>>>,
}

impl LastWords {
    /// Tells it. Spans first: the log has how many of them were lost.
    fn say(&self) {
        if let Some(traces) = &self.traces {
            traces.close();
        }
        drop(self.log.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// The surroundings of a server that was started from a terminal, or from a unit file.
struct Terminal {
    args: Serve,
    filter: reload::Handle<EnvFilter, Registry>,
    dropped: ErrorCounter,
    traces: Option<Arc<Export>>,
}

impl Surroundings for Terminal {
    fn read(&self) -> Result<Resolved, Vec<ConfigError>> {
        let sources = sources(&self.args)
            .map_err(|failure| vec![ConfigError { place: None, problem: failure.to_string() }])?;
        sources.resolve(Settings::for_this_machine())
    }

    fn log(&self, settings: &Settings) -> Result<(), String> {
        let filter = log_filter(settings)?;
        self.filter.reload(filter).map_err(|error| error.to_string())
    }

    fn spans(&self) -> Option<Arc<dyn Spans>> {
        self.traces.as_ref().map(|traces| traces.spans())
    }

    fn figures(&self) -> Option<Figures> {
        let (dropped, traces) = (self.dropped.clone(), self.traces.as_ref().map(|traces| traces.figures()));
        Some(Box::new(move || {
            let mut figures = vec![Figure::count("log_lines_dropped", dropped.dropped_lines() as u64)];
            figures.extend(traces.iter().flat_map(|traces| traces()));
            figures
        }))
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
        ("broker.url", "--broker", args.broker.clone()),
        ("tls.self_signed", "--tls-self-signed", args.tls_self_signed.then(|| "true".into())),
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

/// Reads `log`. Whoever asks for a reload is told what came of it, whatever else is written; and a server that faces the world
/// says when it begins and ends.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn log_filter(settings: &Settings) -> Result<EnvFilter, String> {
    let filter: EnvFilter = settings.log.parse().map_err(|error| format!("`log`: {error}"))?;
    let mut always = vec!["tidewire_server::reload=info"];
    // In dev mode the box says it better.
    always.extend((!settings.dev).then_some("tidewire_server::life=info"));
    always.into_iter().try_fold(filter, |filter, directive| {
        let directive = Directive::from_str(directive).map_err(|error| error.to_string())?;
        Ok(filter.add_directive(directive))
    })
}

/// Where log lines go.
struct Log {
    /// Which are written.
    filter: reload::Handle<EnvFilter, Registry>,
    /// How many were not, for want of room.
    dropped: ErrorCounter,
    /// Writes them, until it is let go of.
    writes: WorkerGuard,
}

fn log_to_stderr(settings: &Settings) -> Result<Log, Failure> {
    let filter = log_filter(settings).map_err(Failure::Configuration)?;
    let (filter, handle) = reload::Layer::new(filter);
    let is_terminal = std::io::stderr().is_terminal();
    let lines = Lines::of(settings, is_terminal);
    let (writer, writes) = log::writer();
    let dropped = writer.error_counter();
    let lines = fmt::layer().event_format(lines).with_writer(writer).with_ansi(is_terminal);
    tracing_subscriber::registry().with(filter).with(lines).init();
    Ok(Log { filter: handle, dropped, writes })
}
