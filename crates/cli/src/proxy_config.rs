//! `tidewire proxy-config`: what a proxy in front has to be told so that streams last and pass at once.
//!
//! The tests run what is printed here, where Debian packages the proxy.

use clap::{Args, ValueEnum};

use crate::exit::Failure;
use crate::show::print;

#[derive(Clone, Debug, Args)]
pub(crate) struct ProxyConfig {
    /// Which proxy
    pub proxy: Proxy,
    /// Where a Tidewire listens; as often as there are nodes
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub upstream: Vec<String>,
    /// Where the proxy listens: PORT or ADDRESS:PORT
    #[arg(long, default_value = "80")]
    pub listen: String,
    /// The name that browsers call it by [default: any]
    #[arg(long)]
    pub name: Option<String>,
    /// How long a connection may be silent; heartbeats come every 15 s
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub timeout: String,
}

/// A proxy whose configuration we can speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Proxy {
    Nginx,
    Haproxy,
    Caddy,
    Envoy,
    Traefik,
}

pub(crate) fn run(asked: &ProxyConfig) -> Result<(), Failure> {
    let words = asked.upstream.iter().chain([&asked.listen, &asked.timeout]).chain(&asked.name);
    if let Some(odd) = words.into_iter().find(|word| !is_plain(word)) {
        return Err(Failure::Usage(format!("`{odd}` is neither an address nor a name nor a duration")));
    }
    if let Some(odd) = asked.upstream.iter().find(|upstream| !upstream.contains(':')) {
        return Err(Failure::Usage(format!("--upstream {odd}: write ADDRESS:PORT")));
    }
    print(filled(asked).as_bytes())
}

/// Whether a word can stand in any of the files without being more than a word there.
fn is_plain(word: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_[]".contains(&byte);
    !word.is_empty() && word.bytes().all(plain)
}

fn filled(asked: &ProxyConfig) -> String {
    let template = match asked.proxy {
        Proxy::Nginx => include_str!("proxies/nginx.conf"),
        Proxy::Haproxy => include_str!("proxies/haproxy.cfg"),
        Proxy::Caddy => include_str!("proxies/Caddyfile"),
        Proxy::Envoy => include_str!("proxies/envoy.yaml"),
        Proxy::Traefik => include_str!("proxies/traefik.yaml"),
    };
    let (host, port) = asked.listen.rsplit_once(':').unwrap_or(("", &asked.listen));
    let site = match &asked.name {
        // With a name Caddy gets itself a certificate.
        Some(name) => name.clone(),
        None if host.is_empty() => format!(":{port}"),
        None => format!("http://{}", asked.listen),
    };
    let common = [
        ("{listen}", asked.listen.clone()),
        ("{bind}", format!("{host}:{port}")),
        ("{host}", if host.is_empty() { "0.0.0.0".into() } else { host.into() }),
        ("{port}", port.into()),
        ("{name}", asked.name.clone().unwrap_or_else(|| "_".into())),
        ("{site}", site),
        ("{timeout}", asked.timeout.clone()),
        ("{upstreams}", asked.upstream.join(" ")),
    ];
    let mut text = String::new();
    for line in template.lines() {
        let line = common.iter().fold(line.to_owned(), |line, (mark, value)| line.replace(mark, value));
        if !line.contains("{upstream") && !line.contains("{number}") {
            text.push_str(&line);
            text.push('\n');
            continue;
        }
        // One such line for each node.
        for (index, upstream) in asked.upstream.iter().enumerate() {
            let (host, port) = upstream.rsplit_once(':').unwrap_or((upstream, "80"));
            let line = line.replace("{upstream}", upstream).replace("{number}", &(index + 1).to_string());
            text.push_str(&line.replace("{upstream_host}", host).replace("{upstream_port}", port));
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(proxy: Proxy) -> ProxyConfig {
        ProxyConfig {
            proxy,
            upstream: vec!["10.0.0.1:8080".into(), "10.0.0.2:8080".into()],
            listen: "127.0.0.1:8081".into(),
            name: None,
            timeout: "90s".into(),
        }
    }

    #[test]
    fn every_mark_is_filled_and_every_node_named() {
        for proxy in Proxy::value_variants() {
            let text = filled(&asked(*proxy));
            for mark in [
                "{upstream",
                "{listen}",
                "{bind}",
                "{host}",
                "{port}",
                "{name}",
                "{site}",
                "{timeout}",
                "{number}",
            ] {
                assert!(!text.contains(mark), "{proxy:?}: {mark}");
            }
            for part in ["10.0.0.1", "10.0.0.2", "90s"] {
                assert!(text.contains(part), "{proxy:?}: {part}");
            }
        }
    }

    #[test]
    fn a_word_that_would_be_more_than_one_is_refused() {
        for bad in ["", "a b", "a;", "x\n", "{x}", "\"", "a/b"] {
            assert!(!is_plain(bad), "{bad:?}");
        }
        for good in ["127.0.0.1:80", "[::1]:80", "rt-1.example", "60s"] {
            assert!(is_plain(good), "{good}");
        }
    }
}
