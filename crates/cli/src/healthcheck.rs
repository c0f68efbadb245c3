//! `tidewire healthcheck`: asks the server that this configuration describes how it is, for a container's HEALTHCHECK.
//!
//! An image that holds one binary has no curl. It reads what `serve` reads, so that it asks where that answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http_body_util::Full;
use tidewire_server::Settings;
use tokio::time::timeout;

use crate::args::{Serve, Server};
use crate::exit::{self, Failure};
use crate::http::{self, Refused};
use crate::serve;
use crate::show::print;
use crate::target::Target;

/// Takes the flags of `serve`, and asks the server that runs with them.
#[derive(Clone, Debug, Args)]
pub(crate) struct Healthcheck {
    /// Ask /livez, whether the process answers, instead of /readyz, whether clients should come
    #[arg(long)]
    pub live: bool,
    #[command(flatten)]
    pub serve: Serve,
}

/// How long an answer may take; Docker's own patience, in our image, is a second more.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Says whether the server is well. Whatever keeps it from being asked is 1, too: a container's HEALTHCHECK knows no other code.
pub(crate) fn run(asked: &Healthcheck) -> Result<(), Failure> {
    check(asked).map_err(|failure| match failure {
        Failure::OutputClosed => failure,
        why => Failure::Runtime(why.to_string()),
    })
}

fn check(asked: &Healthcheck) -> Result<(), Failure> {
    // A container's HEALTHCHECK has the environment of its server, and not the flag that lets dev mode listen there. Whoever asks
    // lets nobody in, and needs no leave.
    let serve = Serve { dev_public: true, ..asked.serve.clone() };
    let settings = serve::resolve(&serve)?.settings;
    let server = address(&settings)?;
    let (path, well) = if asked.live { ("/livez", "alive") } else { ("/readyz", "ready") };
    exit::block_on(ask(&server, path))?;
    print(format!("{well}\n").as_bytes())
}

async fn ask(server: &Server, path: &str) -> Result<(), Failure> {
    let target = Target::of(server)?;
    let request = http::request(&target, "GET", path).body(Full::new(Bytes::new()));
    let request = request.map_err(|error| Failure::Runtime(format!("this cannot be asked: {error}")))?;
    match timeout(ANSWER_MAX, http::send(&target, request)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(Refused::Unreachable(why))) => Err(Failure::Runtime(why)),
        Ok(Err(Refused::Refused { words, .. })) => Err(Failure::Runtime(format!("{path}: {words}"))),
        Err(_) => {
            let seconds = ANSWER_MAX.as_secs();
            Err(Failure::Runtime(format!("{} gave no answer within {seconds} s", server.url)))
        }
    }
}

/// Where `/readyz` is, as this machine reaches it.
fn address(settings: &Settings) -> Result<Server, Failure> {
    let own = settings.admin_listen;
    let listens = own.unwrap_or(settings.listen);
    if listens.port() == 0 {
        return Err(Failure::Usage(format!("{listens} is whatever port is free: nobody can ask there")));
    }
    if own.is_none() && settings.proxy_protocol {
        return Err(Failure::Configuration(
            "with `proxy_protocol`, only proxies are answered on `listen`: give `admin_listen` an address of its own"
                .into(),
        ));
    }
    let scheme = if own.is_none() && settings.tls.is_on() { "https" } else { "http" };
    let ip = match listens.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let url = format!("{scheme}://{}", SocketAddr::new(ip, listens.port()));
    // The certificate is for the name that clients use, and nobody asks this machine for its own.
    Ok(Server { url, insecure: true, ..Server::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(change: impl FnOnce(&mut Settings)) -> Result<String, Failure> {
        let mut settings = Settings::for_this_machine();
        change(&mut settings);
        address(&settings).map(|server| server.url)
    }

    #[test]
    fn it_asks_where_the_server_answers_machines_that_watch_it() {
        let at = |address: &str| Some(address.parse().unwrap());
        let listen = "0.0.0.0:8080".parse().unwrap();
        let own = asked(|settings| settings.admin_listen = at("127.0.0.1:9090"));
        assert_eq!(own.unwrap(), "http://127.0.0.1:9090");
        let every = asked(|settings| settings.admin_listen = at("[::]:9090"));
        assert_eq!(every.unwrap(), "http://[::1]:9090");
        let same = asked(|settings| (settings.admin_listen, settings.listen) = (None, listen));
        assert_eq!(same.unwrap(), "http://127.0.0.1:8080");
        let secure = asked(|settings| {
            (settings.admin_listen, settings.listen) = (None, listen);
            settings.tls.self_signed = true;
        });
        assert_eq!(secure.unwrap(), "https://127.0.0.1:8080");
    }

    #[test]
    fn where_nobody_can_ask_it_says_so() {
        let any = asked(|settings| settings.admin_listen = Some("127.0.0.1:0".parse().unwrap()));
        assert!(matches!(any, Err(Failure::Usage(what)) if what.contains("127.0.0.1:0")));
        let behind = asked(|settings| {
            settings.admin_listen = None;
            settings.proxy_protocol = true;
        });
        assert!(matches!(behind, Err(Failure::Configuration(what)) if what.contains("admin_listen")));
    }
}
