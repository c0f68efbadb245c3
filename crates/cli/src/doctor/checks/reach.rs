//! Whether anybody is there: the name, and a connection to an address of each family.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::target::Target;

use super::super::finding::{Code, Verdict};
use super::super::route::{STEP_MAX, seconds};

const CHECK: &str = "reached";

/// An address, and how long it took to connect, or why it did not come to that.
#[derive(Clone, Debug)]
pub(crate) struct Tried {
    address: SocketAddr,
    outcome: Result<Duration, String>,
}

/// Resolves the name and connects, to the first address of either family.
pub(crate) async fn measure(target: &Target) -> Result<Vec<Tried>, String> {
    let found = timeout(STEP_MAX, tokio::net::lookup_host((target.host.as_str(), target.port))).await;
    let found = found.map_err(|_| format!("no name server answered within {}", seconds(STEP_MAX)))?;
    let found: Vec<SocketAddr> = found.map_err(|error| error.to_string())?.collect();
    let first = |is_v6: bool| found.iter().find(|address| address.is_ipv6() == is_v6).copied();
    let (v6, v4) = tokio::join!(try_one(first(true)), try_one(first(false)));
    Ok([v6, v4].into_iter().flatten().collect())
}

async fn try_one(address: Option<SocketAddr>) -> Option<Tried> {
    let address = address?;
    let began = Instant::now();
    let outcome = match timeout(STEP_MAX, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(began.elapsed()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {}", seconds(STEP_MAX))),
    };
    Some(Tried { address, outcome })
}

/// Whether it makes sense to go on.
pub(crate) fn is_reached(measured: &Result<Vec<Tried>, String>) -> bool {
    measured.as_ref().is_ok_and(|tried| tried.iter().any(|one| one.outcome.is_ok()))
}

/// What that says of the way.
pub(crate) fn judge(host: &str, measured: &Result<Vec<Tried>, String>) -> Verdict {
    let tried = match measured {
        Err(why) => {
            return Verdict::wrong(CHECK, Code::NameUnknown, format!("`{host}` cannot be resolved: {why}"));
        }
        Ok(tried) if tried.is_empty() => {
            return Verdict::wrong(CHECK, Code::NameUnknown, format!("`{host}` has no address"));
        }
        Ok(tried) => tried,
    };
    let words: Vec<String> = tried
        .iter()
        .map(|Tried { address, outcome }| match outcome {
            Ok(took) => format!("{address} in {}", seconds(*took)),
            Err(why) => format!("{address}: {why}"),
        })
        .collect();
    let dead = tried.iter().filter(|one| one.outcome.is_err()).count();
    match dead {
        0 => Verdict::passed(CHECK, words.join(", ")),
        _ if dead == tried.len() => Verdict::wrong(CHECK, Code::Unreachable, words.join("; ")),
        // `localhost` is two addresses nearly everywhere, and servers listen on one of them.
        _ if tried.iter().all(|one| one.address.ip().is_loopback()) => {
            Verdict::passed(CHECK, words.join(", "))
        }
        _ => Verdict::wrong(CHECK, Code::AddressDead, words.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(address: &str, outcome: Result<u64, &str>) -> Tried {
        let outcome = outcome.map(Duration::from_millis).map_err(str::to_owned);
        Tried { address: address.parse().unwrap(), outcome }
    }

    fn code(measured: &Result<Vec<Tried>, String>) -> Option<Code> {
        judge("rt.example", measured).findings().first().map(|finding| finding.code)
    }

    #[test]
    fn an_address_that_is_dead_beside_one_that_answers_is_a_warning_and_nobody_is_a_problem() {
        let (v4, v6) = ("203.0.113.1:443", "[2001:db8::1]:443");
        assert_eq!(code(&Ok(vec![tried(v6, Ok(3)), tried(v4, Ok(2))])), None);
        assert_eq!(code(&Ok(vec![tried(v6, Err("no route")), tried(v4, Ok(2))])), Some(Code::AddressDead));
        assert_eq!(code(&Ok(vec![tried(v4, Err("refused"))])), Some(Code::Unreachable));
        assert_eq!(code(&Ok(vec![])), Some(Code::NameUnknown));
        assert_eq!(code(&Err("no such name".into())), Some(Code::NameUnknown));
        assert_eq!(code(&Ok(vec![tried("[::1]:80", Err("refused")), tried("127.0.0.1:80", Ok(1))])), None);
    }
}
