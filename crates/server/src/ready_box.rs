//! What a developer sees when a node has started: lines to paste, and how to get out of dev mode.

use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The box that dev mode prints.
#[derive(Clone)]
pub struct ReadyBox {
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where machines that watch us connect, if that is elsewhere.
    pub admin: Option<SocketAddr>,
    /// Whether this is dev mode.
    pub dev: bool,
    /// Whether other machines may connect.
    pub public: bool,
    /// Whether there is a demo page.
    pub demo: bool,
    /// Whether clients come over TLS, with a certificate that nobody has signed.
    pub secure: bool,
    /// Whether messages are kept in a Redis that nodes share.
    pub shared: bool,
    /// How the console is opened.
    pub console: Opened,
}

/// Where `tidewire top` looks unless it is told where.
const USUAL: &str = "http://127.0.0.1:8080";

/// How the console is opened.
#[derive(Clone)]
pub enum Opened {
    /// Not at all.
    Off,
    /// With a password that is configured, and not shown.
    AsConfigured,
    /// With one that was made up for this life of the node.
    With(String),
}

impl ReadyBox {
    /// Prints it. A closed standard output is no reason not to serve.
    pub fn print(&self) {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(self.to_string().as_bytes()).and_then(|()| out.flush());
    }

    /// What has to be typed for it to find this server.
    fn flags_of_top(&self, admin: &str) -> String {
        let insecure = if self.secure && self.admin.is_none() { " --insecure" } else { "" };
        if admin == USUAL { String::new() } else { format!(" --url {admin}{insecure}") }
    }

    fn lines(&self) -> Vec<String> {
        let (http, ws, curl) = match self.secure {
            true => ("https", "wss", "curl -k"),
            false => ("http", "ws", "curl"),
        };
        let at = reachable(self.address);
        let admin = match self.admin {
            Some(admin) => format!("http://{}", reachable(admin)),
            None => format!("{http}://{at}"),
        };
        let health = format!("health       {admin}/readyz  {admin}/metrics");
        let console = match &self.console {
            Opened::Off => None,
            Opened::AsConfigured => Some(format!("console      {admin}/admin")),
            Opened::With(password) => Some(format!("console      {admin}/admin  password {password}")),
        };
        if !self.dev {
            let ready = format!("Tidewire {} is ready on {http}://{at}.", env!("CARGO_PKG_VERSION"));
            return [Some(ready), Some(health), console].into_iter().flatten().collect();
        }
        let page = if self.demo { "" } else { "c/prices" };
        let reach = match (self.public, self.demo) {
            (true, _) => "Anybody who can reach this machine may publish and subscribe: --dev-public.",
            (false, false) => "Only this machine may connect, and everybody on it may do everything.",
            (false, true) => "Only this machine may connect, and everybody on it may do almost everything.",
        };
        // As `demo::KEPT` has it.
        let kept =
            "Channels of user: and demo-bell: want a token, which the demonstrations give to their visitors.";
        let keeps = if self.shared {
            "Messages live in Redis, and every node there has them."
        } else {
            "Messages live in memory and end with this process."
        };
        let ready = format!("Tidewire {} is ready on {http}://{at} in dev mode.", env!("CARGO_PKG_VERSION"));
        let mut lines = vec![ready, reach.to_owned()];
        lines.extend(self.demo.then(|| kept.to_owned()));
        lines.extend([
            keeps.to_owned(),
            String::new(),
            format!("page         {http}://{at}/{page}"),
            format!("publish      {curl} -d hello {http}://{at}/c/prices"),
            format!("subscribe    {curl} -N -H 'Accept: text/event-stream' {http}://{at}/c/prices"),
            format!(
                "EventSource  new EventSource(\"{http}://{at}/c/prices\").onmessage = e => console.log(e.data)"
            ),
            format!(
                "WebSocket    new WebSocket(\"{ws}://{at}/c/prices\").onmessage = e => console.log(e.data)"
            ),
            health,
            console.unwrap_or_default(),
            format!("terminal     tidewire top{}", self.flags_of_top(&admin)),
            String::new(),
            "To leave dev mode, say who may come in: `tidewire init` writes a file to begin with.".to_owned(),
        ]);
        lines
    }
}

impl fmt::Display for ReadyBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines();
        let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        let edge = "─".repeat(width + 2);
        writeln!(f, "┌{edge}┐")?;
        for line in &lines {
            writeln!(f, "│ {line:width$} │")?;
        }
        writeln!(f, "└{edge}┘")
    }
}

/// An address that a client on this machine can use: nobody connects to "every address".
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if ip.is_unspecified() => (IpAddr::V4(Ipv4Addr::LOCALHOST), address.port()).into(),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_box_holds_lines_that_can_be_pasted() {
        let shown = ReadyBox {
            address: "127.0.0.1:8080".parse().unwrap(),
            admin: None,
            dev: true,
            public: false,
            demo: true,
            secure: false,
            shared: false,
            console: Opened::With("c0ns0le".into()),
        };
        let shown = shown.to_string();
        assert!(shown.contains("curl -d hello http://127.0.0.1:8080/c/prices"));
        assert!(shown.contains("new EventSource(\"http://127.0.0.1:8080/c/prices\")"));
        assert!(shown.contains("page         http://127.0.0.1:8080/ "));
        assert!(!shown.contains("may do everything"), "the demonstrations keep channels for their tokens");
        assert!(shown.contains("console      http://127.0.0.1:8080/admin  password c0ns0le "));
        assert!(shown.contains("terminal     tidewire top  "), "it is found without an address");
        let widths: Vec<usize> = shown.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "the right edge is straight");
    }

    #[test]
    fn nobody_is_sent_to_every_address() {
        let shown = ReadyBox {
            address: "0.0.0.0:1".parse().unwrap(),
            admin: None,
            dev: true,
            public: true,
            demo: false,
            secure: true,
            shared: true,
            console: Opened::Off,
        };
        let shown = shown.to_string();
        assert!(!shown.contains("0.0.0.0") && shown.contains("--dev-public"));
        assert!(shown.contains("curl -k -d hello https://127.0.0.1:1/c/prices") && shown.contains("wss://"));
        assert!(shown.contains("terminal     tidewire top --url https://127.0.0.1:1 --insecure"));
    }
}
