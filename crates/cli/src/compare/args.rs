//! `tidewire compare`, as it is typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use tidewire_server::config::units;

use tidewire_compare::measurement::Transport;

/// Measures each transport with each number of clients at each rate, one after the other, and says what follows.
/// Messages are published to a channel of its own.
#[derive(Clone, Debug, Args)]
pub(crate) struct Compare {
    /// A running server [default: one of its own, fresh for each run]
    pub url: Option<String>,
    /// A token or API key for it, good for publishing to `compare:*` and for subscribing
    #[arg(long, env = "TIDEWIRE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Which to measure
    #[arg(long, value_delimiter = ',', default_value = "poll,longpoll,sse,ws", value_parser = transports())]
    pub transport: Vec<Transport>,
    /// How many clients at the same time; several are measured in turn
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', default_value = "100,1000",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub clients: Vec<u32>,
    /// Messages a second, each for all clients; several are measured in turn
    #[arg(long, value_name = "RATES", value_delimiter = ',', default_value = "1", value_parser = rate)]
    pub rate: Vec<f64>,
    /// Bytes of each payload
    #[arg(long, value_name = "BYTES", default_value_t = 128,
          value_parser = clap::value_parser!(u32).range(48..=1 << 20))]
    pub size: u32,
    /// What a short poll waits before it asks again
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = interval)]
    pub poll_interval: Duration,
    /// How long each run measures, after a second of warm-up
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub seconds: u32,
    /// How often each is measured, in turn; figures are medians
    #[arg(long, value_name = "COUNT", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=99))]
    pub rounds: u32,
    /// Bytes that each request's head has on top of what it must; the default is what Chromium adds, without cookies
    #[arg(long, value_name = "BYTES", default_value_t = CHROMIUM_HEAD_BYTES,
          value_parser = clap::value_parser!(u32).range(0..=8_000))]
    pub head_bytes: u32,
    /// Clients of the worked case, which is told from what was measured
    #[arg(long, value_name = "COUNT", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub crowd: u32,
    /// Write a report: one HTML file that needs nothing else, and prints
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print what was measured as JSON
    #[arg(long)]
    pub json: bool,
}

/// A `fetch` of Chromium 156 to its own origin has a head of 516 bytes where ours has 96.
const CHROMIUM_HEAD_BYTES: u32 = 420;

/// A transport by its word, with the words in the help.
fn transports() -> impl TypedValueParser<Value = Transport> {
    let words = PossibleValuesParser::new(Transport::ALL.map(Transport::word));
    words.try_map(|word| Transport::ALL.into_iter().find(|one| one.word() == word).ok_or("no such transport"))
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 =
        text.parse().map_err(|_| "write a number of messages a second, as 10 or 0.2".to_owned())?;
    if rate > 0.0 && rate <= 100_000.0 { Ok(rate) } else { Err("from more than 0 to 100000".into()) }
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = units::duration(text)?;
    let bounds = Duration::from_millis(10)..=Duration::from_secs(3_600);
    if bounds.contains(&interval) { Ok(interval) } else { Err("from 10ms to 1h".into()) }
}

impl Compare {
    /// What to type to do it again. A token is nothing to be written down.
    pub(crate) fn command(&self) -> String {
        let list = |words: Vec<String>| words.join(",");
        let mut command = "tidewire compare".to_owned();
        if let Some(url) = &self.url {
            command.push_str(&format!(" {url}"));
        }
        let names = self.transport.iter().map(|transport| transport.word().to_owned()).collect();
        command.push_str(&format!(
            " --transport {} --clients {} --rate {} --size {} --poll-interval {} --seconds {} --rounds {} --head-bytes {} --crowd {}",
            list(names),
            list(self.clients.iter().map(ToString::to_string).collect()),
            list(self.rate.iter().map(ToString::to_string).collect()),
            self.size,
            units::show_duration(self.poll_interval),
            self.seconds,
            self.rounds,
            self.head_bytes,
            self.crowd,
        ));
        command
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Typed {
        #[command(flatten)]
        compare: Compare,
    }

    fn typed(line: &str) -> Result<Compare, clap::Error> {
        Typed::try_parse_from(line.split(' ')).map(|typed| typed.compare)
    }

    #[test]
    fn lists_are_joined_by_commas_and_what_was_typed_can_be_typed_again() {
        let compare = typed(
            "compare http://127.0.0.1:8080 --clients 10,20 --rate 0.2,5 --poll-interval 500ms --token secret",
        )
        .unwrap();
        assert_eq!((compare.clients.as_slice(), compare.rate.as_slice()), (&[10, 20][..], &[0.2, 5.0][..]));
        let command = compare.command();
        assert!(!command.contains("secret"), "{command}");
        let again = typed(command.strip_prefix("tidewire ").unwrap()).unwrap();
        assert_eq!(again.command(), command);
        assert_eq!(again.poll_interval, Duration::from_millis(500));
        assert_eq!(typed("compare").unwrap().transport.len(), 4);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for line in [
            "compare --clients 0",
            "compare --clients many",
            "compare --rate 0",
            "compare --rate -1",
            "compare --rate nan",
            "compare --size 12",
            "compare --poll-interval 1ms",
            "compare --poll-interval soon",
            "compare --seconds 0",
            "compare --transport carrier-pigeon",
        ] {
            assert!(typed(line).is_err(), "{line}");
        }
    }
}
