//! Publishes a message and prints its id: `cargo run -- CHANNEL EVENT DATA KEY`.

use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, thread};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

const ATTEMPT: Duration = Duration::from_secs(5);
const TOTAL: Duration = Duration::from_secs(30);
const BACKOFF_MAX: Duration = Duration::from_secs(4);

/// Where messages go, and as whom.
struct Publisher {
    agent: ureq::Agent,
    url: String,
    authorization: String,
}

/// Why a message was not published.
struct Failure {
    reason: String,
    /// How long to wait at least before it is tried again; `None` where that would change nothing.
    retry_after: Option<Duration>,
}

#[derive(Deserialize)]
struct Receipt {
    id: String,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
}

impl Publisher {
    /// One for `TIDEWIRE_URL`, with the key in `TIDEWIRE_API_KEY`.
    fn from_env() -> Result<Self, env::VarError> {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(ATTEMPT))
            .http_status_as_error(false)
            .max_redirects(0);
        Ok(Self {
            agent: config.build().into(),
            url: env::var("TIDEWIRE_URL")?,
            authorization: format!("Bearer {}", env::var("TIDEWIRE_API_KEY")?),
        })
    }

    /// Publishes `data`, and returns the id of the message.
    ///
    /// `key` names what has happened, such as an order and its new state. Under one key there is one message, however
    /// often it is published; that makes every repetition harmless.
    fn publish(&self, channel: &str, event: &str, data: &str, key: &str) -> Result<String, String> {
        let deadline = Instant::now() + TOTAL;
        let mut backoff = Duration::from_millis(250);
        loop {
            let Failure { reason, retry_after } = match self.post(channel, event, data, key) {
                Ok(id) => return Ok(id),
                Err(failure) => failure,
            };
            let wait = retry_after.map(|wait| wait + backoff.mul_f64(fastrand::f64()));
            match wait {
                Some(wait) if Instant::now() + wait < deadline => thread::sleep(wait),
                _ => return Err(reason),
            }
            backoff = BACKOFF_MAX.min(2 * backoff);
        }
    }

    fn post(&self, channel: &str, event: &str, data: &str, key: &str) -> Result<String, Failure> {
        // Whether it was published is unknown then, and need not be known.
        let no_answer = |error| {
            let may_pass = !matches!(error, ureq::Error::BadUri(_) | ureq::Error::Http(_));
            Failure { reason: format!("no answer: {error}"), retry_after: may_pass.then_some(Duration::ZERO) }
        };
        let mut answer = self
            .agent
            .post(format!("{}/c/{}", self.url, utf8_percent_encode(channel, NON_ALPHANUMERIC)))
            .header("Authorization", &self.authorization)
            .header("Content-Type", "application/json")
            .header("Tidewire-Event", event)
            .header("Idempotency-Key", key)
            .send(data)
            .map_err(no_answer)?;
        let status = answer.status().as_u16();
        if status == 200 {
            return answer.body_mut().read_json::<Receipt>().map(|receipt| receipt.id).map_err(no_answer);
        }
        let seconds =
            answer.headers().get("Retry-After").and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
        // What the server says of a refusal, or the status if it was somebody else on the way.
        let reason = answer.body_mut().read_json::<Problem>().map_or_else(
            |_| format!("HTTP {status}"),
            |Problem { code, detail }| format!("{code}: {detail}"),
        );
        let may_pass = status == 408 || status == 429 || status >= 500;
        Err(Failure {
            reason,
            retry_after: may_pass.then(|| Duration::from_secs(seconds.unwrap_or(0).into())),
        })
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let ([channel, event, data, key], Ok(publisher)) = (arguments.as_slice(), Publisher::from_env()) else {
        eprintln!("usage: TIDEWIRE_URL=… TIDEWIRE_API_KEY=… publish CHANNEL EVENT DATA KEY");
        return ExitCode::from(2);
    };
    match publisher.publish(channel, event, data, key) {
        Ok(id) => {
            println!("{id}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}
