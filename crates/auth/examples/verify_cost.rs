//! What one verification costs: `cargo run --release -p tidewire-auth --example verify_cost`.
//!
//! Prints the CPU time of one thread for each algorithm, from the text of a token to its claims, and beside it that of
//! a token whose signature is wrong. The aim is less than 10 µs for HS256 and less than 100 µs for ES256.

use std::error::Error;
use std::time::{Duration, Instant};

use tidewire_auth::jwt::generate::{self, KeyPair};
use tidewire_auth::jwt::{Algorithm, Draft, Key, KeySet, Options, SigningKey, Strength, Verifier};
use tidewire_hub::{Now, Pattern};

const NOW: Now = Now { monotonic_ms: 0, wall_ms: 1_795_000_000_000 };

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
    Ok(())
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
