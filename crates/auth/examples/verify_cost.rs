//! What letting somebody in costs: `cargo run --release -p tidewire-auth --example verify_cost`.
//!
//! Prints the CPU time of one thread
//!
//! - for each algorithm, from the text of a token to its claims, and beside it that of a token whose signature is wrong.
//!   The aim is less than 10 µs for HS256 and less than 100 µs for ES256.
//! - for what every later request pays: the whole gate with a token that was verified before, and with an API key; the
//!   look at one channel; and both, which is what authorises a publish. The aim is less than 2 µs.

use std::error::Error;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidewire_auth::api_key::{self, ApiKeys, Entry, Powers};
use tidewire_auth::jwt::generate::{self, KeyPair};
use tidewire_auth::jwt::{Algorithm, Draft, Key, KeySet, Options, SigningKey, Strength, Verifier};
use tidewire_auth::{MemoryVault, Rules, Tickets, TokenGate};
use tidewire_hub::grant::{Action, Asked, Gate as _, Grant};
use tidewire_hub::{Channel, Now, Pattern};

const NOW: Now = Now { monotonic_ms: 0, wall_ms: 1_795_000_000_000, micros: 0 };

fn main() -> Result<(), Box<dyn Error>> {
    println!("{:<10} {:>12} {:>12} {:>8}", "algorithm", "accepted", "refused", "bytes");
    for algorithm in [Algorithm::Hs256, Algorithm::Hs512, Algorithm::Es256, Algorithm::EdDsa] {
        let (signing, key) = pair(algorithm)?;
        let token = signing.sign(&draft()?)?;
        let verifier = Verifier::new(Options { keys: KeySet::new([key])?, ..Options::default() });
        let (message, signature) = token.rsplit_once('.').ok_or("a token has dots")?;
        let first = if signature.starts_with('A') { "B" } else { "A" };
        let forged = format!("{message}.{first}{}", &signature[1..]);
        let accepted = cost(&|| verifier.verify_static(&token, NOW).is_ok())?;
        let refused = cost(&|| verifier.verify_static(&forged, NOW).is_err())?;
        println!("{:<10} {accepted:>9.2} µs {refused:>9.2} µs {:>8}", algorithm.name(), token.len());
    }
    println!();
    for (what, us) in of_the_gate()? {
        println!("{what:<46} {:>6.0} ns", us * 1_000.0);
    }
    Ok(())
}

/// What a publish pays once its credential is known.
fn of_the_gate() -> Result<[(&'static str, f64); 4], Box<dyn Error>> {
    let (signing, key) = pair(Algorithm::Es256)?;
    let bearer = format!("Bearer {}", signing.sign(&draft()?)?);
    let backend = api_key::generate().map_err(|error| error.to_string())?;
    let powers = Powers { publish: true, ..Powers::default() };
    let entry = Entry::of("backend", powers, &backend).map_err(|error| error.to_string())?;
    let backend = format!("Bearer {}", backend.reveal());
    let rules = Rules {
        api_keys: ApiKeys::new(&[entry]).map_err(|_| "one key repeats none")?,
        verifier: Some(Arc::new(Verifier::new(Options { keys: KeySet::new([key])?, ..Options::default() }))),
        ..Rules::default()
    };
    let tickets = Tickets::new(Arc::new(MemoryVault::default())).map_err(|error| error.to_string())?;
    let gate = TokenGate::new(rules, tickets, Arc::default())?;
    let channel = Channel::parse("chat:7").map_err(|error| error.to_string())?;
    let grant = admitted(&gate, &bearer).ok_or("the token is good")?;
    Ok([
        ("admit, token verified before", cost(&|| admitted(&gate, black_box(&bearer)).is_some())?),
        ("admit, API key", cost(&|| admitted(&gate, black_box(&backend)).is_some())?),
        ("may_publish", cost(&|| black_box(&grant).may_publish(black_box(&channel)))?),
        (
            "authorise a publish (the first and the third)",
            cost(&|| admitted(&gate, black_box(&bearer)).is_some_and(|grant| grant.may_publish(&channel)))?,
        ),
    ])
}

/// What the gate grants to a publish with this credential.
fn admitted(gate: &TokenGate, authorization: &str) -> Option<Arc<Grant>> {
    let asked = Asked {
        action: Action::Publish,
        host: Some("live.example"),
        origin: None,
        fetch_site: None,
        referer: None,
        authorization: Some(authorization),
        cookie: None,
        ticket: None,
        query_token: None,
        path: "/c/chat:7",
        secure: false,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let entered = Arc::new(Mutex::new(None));
    let told = entered.clone();
    gate.admit(&asked, NOW, Box::new(move |outcome| *told.lock().expect("one thread") = outcome.ok()));
    let entry = entered.lock().expect("one thread").take();
    entry.map(|entry| entry.grant)
}

fn pair(algorithm: Algorithm) -> Result<(SigningKey, Key), Box<dyn Error>> {
    if let Some(secret) = generate::secret(algorithm)? {
        let secret = secret.as_bytes();
        return Ok((
            SigningKey::secret(algorithm, None, secret, Strength::Required)?,
            Key::secret(algorithm, None, secret, Strength::Required)?,
        ));
    }
    let pair = KeyPair::generate(algorithm)?.ok_or("no pair for this algorithm")?;
    Ok((
        SigningKey::pem(algorithm, None, pair.private_pem.as_bytes())?,
        Key::pem(algorithm, None, &pair.public_pem)?,
    ))
}

/// A token as an application has it: a subject, a name, and a few channels.
fn draft() -> Result<Draft, Box<dyn Error>> {
    let patterns =
        |names: &[&str]| names.iter().map(|name| Pattern::parse(name)).collect::<Result<Vec<_>, _>>();
    Ok(Draft {
        subject: "auth0|5f7c8ec7c33c6c004bbafe82".into(),
        id: Some(generate::token_id()?),
        issuer: Some("https://id.example.com/".into()),
        audience: Some("tidewire".into()),
        issued_at_s: NOW.wall_ms / 1_000,
        expires_at_s: NOW.wall_ms / 1_000 + 3_600,
        subscribe: patterns(&["prices", "orders:*", "team:42:*"])?,
        publish: patterns(&["chat:*"])?,
        ..Draft::default()
    })
}

/// Microseconds of CPU for one call: the median of eleven runs of a tenth of a second.
fn cost(call: &dyn Fn() -> bool) -> Result<f64, Box<dyn Error>> {
    let mut runs = Vec::new();
    for _ in 0..11 {
        let (began, cpu_began, mut calls) = (Instant::now(), cpu_ns()?, 0_u32);
        while began.elapsed() < Duration::from_millis(100) {
            for _ in 0..50 {
                assert!(call());
            }
            calls += 50;
        }
        runs.push((cpu_ns()? - cpu_began) as f64 / f64::from(calls) / 1_000.0);
    }
    runs.sort_by(f64::total_cmp);
    Ok(runs[runs.len() / 2])
}

/// Nanoseconds that this thread has run, by the kernel's own account: a busy machine does not spoil them.
fn cpu_ns() -> Result<u64, Box<dyn Error>> {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(schedstat.split(' ').next().unwrap_or_default().parse()?)
}
