//! The binary as it is typed: a server, a publisher and subscribers, and the exit codes that scripts rely on.

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its report")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};

/// A command of the binary with none of the caller's settings.
fn tidewire(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidewire"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEWIRE_") {
            command.env_remove(name);
        }
    }
    command.args(args).current_dir(env!("CARGO_TARGET_TMPDIR")).stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    tidewire(args).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A server on a port of its own, ended with the test.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(args: &[&str]) -> Server {
        let args = [&["serve", "--listen", "127.0.0.1:0"], args].concat();
        let mut process = tidewire(&args).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        // The box says where it listens once it does.
        let first = lines.by_ref().map(Result::unwrap).find(|line| line.contains(" is ready on ")).unwrap();
        let url = first.split_whitespace().find(|word| word.starts_with("http")).unwrap();
        let url = url.trim_end_matches('.').to_owned();
        std::thread::spawn(move || lines.for_each(drop));
        Server { process, url }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = tidewire(args);
        command.env("TIDEWIRE_URL", &self.url);
        command
    }

    fn ask(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn follow(&self, args: &[&str]) -> (Child, impl Iterator<Item = String> + use<>) {
        let mut command = tidewire(args);
        let mut child = command.env("TIDEWIRE_URL", &self.url).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        (child, lines)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn what_is_published_is_followed_over_every_transport_and_kept() {
    let server = Server::start(&[]);
    assert!(server.ask(&["pub", "a", "first"]).status.success());
    for transport in ["sse", "ws", "poll"] {
        let args = ["sub", "a", "--transport", transport, "--cursor", "earliest", "-n", "2"];
        let (mut child, mut lines) = server.follow(&args);
        assert_eq!(lines.next().as_deref(), Some("first"), "{transport}");
        let published = server.ask(&["pub", "a", transport, "--json"]);
        assert!(String::from_utf8_lossy(&published.stdout).contains("\"channel\":\"a\""), "{transport}");
        // Over polls and later runs the second message may be an older one; there is one in any case.
        assert!(lines.next().is_some(), "{transport}");
        assert!(child.wait().unwrap().success(), "{transport}");
    }
    let history = server.ask(&["history", "a"]);
    assert_eq!(String::from_utf8_lossy(&history.stdout), "first\nsse\nws\npoll\n");
    let newest = server.ask(&["history", "a", "--limit", "1", "--json"]);
    assert!(String::from_utf8_lossy(&newest.stdout).starts_with("{\"channel\":\"a\",\"data\":\"poll\""));
}

#[test]
fn a_server_over_tls_is_talked_to_by_who_trusts_it() {
    let server = Server::start(&["--tls-self-signed"]);
    assert!(server.url.starts_with("https://"));
    let refused = server.ask(&["pub", "a", "first"]);
    assert_eq!(refused.status.code(), Some(75), "nobody has signed its certificate");
    assert!(stderr(&refused).contains("certificate"), "{refused:?}");
    assert!(server.ask(&["pub", "a", "first", "--insecure"]).status.success());
    for transport in ["sse", "ws", "poll"] {
        let args = ["sub", "a", "--insecure", "--transport", transport, "--cursor", "earliest", "-n", "1"];
        let (mut child, mut lines) = server.follow(&args);
        assert_eq!(lines.next().as_deref(), Some("first"), "{transport}");
        assert!(child.wait().unwrap().success(), "{transport}");
    }
}

#[test]
fn who_is_connected_is_shown_by_name() {
    let server = Server::start(&["--set", "namespace.chat.presence=true"]);
    assert!(server.ask(&["presence", "chat:1"]).stdout.is_empty(), "nobody");
    let (mut child, mut lines) = server.follow(&["sub", "chat:1", "--cursor", "earliest"]);
    server.ask(&["pub", "chat:1", "in"]);
    assert_eq!(lines.next().as_deref(), Some("in"));
    let plain = server.ask(&["presence", "chat:1"]);
    assert!(plain.stdout.starts_with(b"guest-") && plain.stdout.len() == 15, "{plain:?}");
    let json = server.ask(&["presence", "chat:1", "--json"]);
    assert!(String::from_utf8_lossy(&json.stdout).contains("\"sessions\":1"), "{json:?}");
    let none = server.ask(&["presence", "news"]);
    assert!(stderr(&none).contains("[namespace.news]"), "{none:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn standard_input_and_files_are_published_whole() {
    let server = Server::start(&[]);
    let mut publish = tidewire(&["pub", "a", "-", "--binary"])
        .env("TIDEWIRE_URL", &server.url)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    publish.stdin.take().unwrap().write_all(b"\xff\n\0").unwrap();
    assert!(publish.wait().unwrap().success());
    assert_eq!(server.ask(&["history", "a"]).stdout, b"\xff\n\0\n");
}

#[test]
fn a_gap_is_a_line_of_its_own_in_json_and_a_word_beside_the_payloads_otherwise() {
    let server = Server::start(&[]);
    server.ask(&["pub", "a", "x"]);
    let json = server.ask(&["sub", "a", "--cursor", "nonsense", "-n", "1", "--json"]);
    let lines = String::from_utf8_lossy(&json.stdout).into_owned();
    assert!(lines.lines().next().unwrap().contains("\"type\":\"gap\""), "{lines}");
    let plain = server.ask(&["sub", "a", "--cursor", "nonsense", "-n", "1"]);
    assert_eq!(plain.stdout, b"x\n");
    assert!(stderr(&plain).contains("epoch"));
}

#[test]
fn a_refusal_shows_the_servers_words_and_ends_with_1() {
    let server = Server::start(&[]);
    for args in
        [&["pub", "a b", "x"][..], &["sub", "a b"], &["sub", "a b", "--transport", "ws"], &["history", "a b"]]
    {
        let output = server.ask(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(stderr(&output).contains("channel_invalid"), "{}", stderr(&output));
    }
}

/// What a server answers to a `GET` of an address that somebody opens.
fn open(url: &str) -> String {
    let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut socket = TcpStream::connect(authority).unwrap();
    write!(socket, "GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn s19_a_ticket_is_bought_with_the_token_at_hand_and_opens_one_subscription() {
    let secret = String::from_utf8(run(&["keygen"]).stdout).unwrap();
    let set = format!("auth.hs256_secret={}", secret.trim_end());
    let server = Server::start(&["--admin-listen", "127.0.0.1:0", "--set", &set]);
    let mut new = tidewire(&["token", "new", "--sub", "alice", "--subscribe", "prices"]);
    let token = new.env("TIDEWIRE_AUTH__HS256_SECRET", secret.trim_end()).output().unwrap().stdout;
    let token = String::from_utf8(token).unwrap();
    let buy = |args: &[&str]| {
        server
            .command(&[&["ticket"], args].concat())
            .env("TIDEWIRE_TOKEN", token.trim_end())
            .output()
            .unwrap()
    };

    let bought = buy(&["prices", "--ttl", "1m", "--link"]);
    assert!(bought.status.success() && stderr(&bought).contains("60 s"), "{}", stderr(&bought));
    let link = String::from_utf8(bought.stdout).unwrap();
    assert!(link.starts_with(&format!("{}/c/prices?ticket=", server.url)), "{link}");
    assert!(open(link.trim_end()).starts_with("HTTP/1.1 200"));
    assert!(open(link.trim_end()).starts_with("HTTP/1.1 401"), "it is spent");

    let bare = String::from_utf8(buy(&[]).stdout).unwrap();
    assert!(open(&format!("{}/c/prices?ticket={}", server.url, bare.trim_end())).starts_with("HTTP/1.1 200"));
    let answer: serde_json::Value = serde_json::from_slice(&buy(&["prices", "--json"]).stdout).unwrap();
    assert!(answer["ticket"].is_string() && answer["expires_in"] == 30, "{}", answer["expires_in"]);

    for (args, words) in [
        (
            &["orders"][..],
            "the grant allows to subscribe to `prices`; asked was `orders` (forbidden). Ask for a grant",
        ),
        (&["prices", "--ttl", "5m"], "(bad_request)"),
        (&["prices", "--token", "x"], "(unauthorized). Send a valid token."),
    ] {
        let refused = buy(args);
        assert_eq!(refused.status.code(), Some(1), "{args:?}");
        assert!(stderr(&refused).contains(words), "{args:?}: {}", stderr(&refused));
        assert!(refused.stdout.is_empty());
    }
    for args in [&["--link"][..], &["prices", "--link", "--json"], &["prices", "--ttl", "soon"]] {
        assert_eq!(buy(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn nobody_there_is_75_and_what_cannot_be_meant_is_2() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let unreachable = run(&["pub", "a", "x", "--url", &format!("http://{free}")]);
    assert_eq!(unreachable.status.code(), Some(75));
    for args in [
        &["pub"][..],
        &["nonsense"],
        &["pub", "a", "x", "--url", "ftp://localhost"],
        &["serve", "--set", "listen"],
    ] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn a_configuration_that_cannot_be_used_is_78_and_says_where() {
    for (args, words) in [
        (&["serve", "--set", "limits.heart_beat=1s"][..], "did you mean `limits.heartbeat`?"),
        (&["serve", "--listen", "0.0.0.0:0"], "--dev-public"),
        (&["serve", "--log", "=="], "`log`"),
        (&["serve", "--config", "there-is-no-such-file.toml"], "there-is-no-such-file.toml"),
        (&["--set", "dev=false"], "credentials"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(78), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn a_taken_address_is_1_and_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for io in ["auto", "tokio"] {
        let output = run(&["serve", "--listen", &address, "--set", &format!("engine.io={io}")]);
        assert_eq!(output.status.code(), Some(1), "{io}");
        assert!(stderr(&output).contains(&format!("{address} is in use")), "{io}: {}", stderr(&output));
    }
}

#[test]
fn a_reader_that_has_seen_enough_ends_us_quietly() {
    let server = Server::start(&[]);
    server.ask(&["pub", "a", "x"]);
    let (mut child, mut lines) = server.follow(&["sub", "a", "--tail", "1"]);
    assert_eq!(lines.next().as_deref(), Some("x"));
    drop(lines);
    let mut said = String::new();
    server.ask(&["pub", "a", "y"]);
    assert!(child.wait().unwrap().success());
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut said).unwrap();
    }
    assert_eq!(said, "");
}

#[cfg(unix)]
#[test]
fn a_server_that_is_told_to_end_drains_and_ends_with_0() {
    for io in ["auto", "tokio"] {
        let mut server = Server::start(&["--set", &format!("engine.io={io}"), "--drain-within", "1s"]);
        let pid = server.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert_eq!(server.process.wait().unwrap().code(), Some(0), "{io}");
    }
}
