//! `tidewire bench` as it is typed, against a server of its own.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its report")]

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

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
        let first = lines.by_ref().map(Result::unwrap).find(|line| line.contains(" is ready on ")).unwrap();
        let url = first.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
        let url = url.trim_end_matches('.').to_owned();
        std::thread::spawn(move || lines.for_each(drop));
        Server { process, url }
    }

    fn bench(&self, args: &[&str]) -> Output {
        tidewire(&[&["bench"], args].concat()).env("TIDEWIRE_URL", &self.url).output().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn over_every_transport_everything_is_delivered_once_and_in_order() {
    let server = Server::start(&[]);
    for transport in ["sse", "ws", "longpoll", "poll"] {
        let output = server.bench(&[
            "--transport",
            transport,
            "--subscribers",
            "30",
            "--channels",
            "4",
            "--rate",
            "100",
            "--duration",
            "1s",
            "--warm-up",
            "200ms",
            "--poll-interval",
            "100ms",
            "--threads",
            "2",
            "--json",
        ]);
        assert!(output.status.success(), "{transport}: {}", stderr(&output));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        for (fault, count) in report["faults"].as_object().unwrap() {
            assert_eq!(count, 0, "{transport}: {fault}");
        }
        let deliveries = report["deliveries"].as_u64().unwrap();
        assert!(deliveries > 0, "{transport}: {report}");
        assert!(report["latency"]["max_ms"].is_f64(), "{transport}: {report}");
        assert_eq!(report["asked"]["transport"], transport);
        let process = &report["server"]["processes"][0];
        assert_eq!(process, server.process.id(), "{transport}: it is found by its port");
        assert!(report["server"]["cpu_s"].as_f64().unwrap() > 0.0, "{transport}: {report}");
        assert!(report["server"]["memory"]["end_kib"].as_f64().unwrap() > 0.0, "{transport}: {report}");
        let polls = matches!(transport, "poll" | "longpoll");
        assert_eq!(report["traffic"]["requests"].as_u64().unwrap() > 0, polls, "{transport}: {report}");
        assert!(
            report["traffic"]["bytes_down"].as_u64().unwrap() >= deliveries * 128,
            "{transport}: {report}"
        );
        assert!(stderr(&output).contains("measuring: "), "{transport}: {}", stderr(&output));
    }
}

#[test]
fn a_report_is_text_for_people_unless_asked_otherwise() {
    let server = Server::start(&[]);
    let output =
        server.bench(&["--duration", "300ms", "--warm-up", "0ms", "--rate", "10", "--subscribers", "3"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", stderr(&output));
    for part in
        ["over sse: 3 subscribers of 1 channel", "latency     p50 ", "tidewire (", "0 lost, 0 duplicated"]
    {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn whoever_is_refused_is_told_what_to_do() {
    let secret = String::from_utf8(tidewire(&["keygen"]).output().unwrap().stdout).unwrap();
    let set = format!("auth.hs256_secret={}", secret.trim_end());
    let closed = Server::start(&["--admin-listen", "127.0.0.1:0", "--set", &set]);
    for transport in ["sse", "ws", "longpoll", "poll"] {
        let refused = closed.bench(&["--transport", transport, "--duration", "1s"]);
        assert_eq!(refused.status.code(), Some(1), "{transport}: {}", stderr(&refused));
        let words = stderr(&refused);
        assert!(
            words.contains("a subscriber was refused") && words.contains("--token"),
            "{transport}: {words}"
        );
        assert!(refused.stdout.is_empty());
    }
    let mut new = tidewire(&["token", "new", "--sub", "alice", "--subscribe", "bench:*"]);
    let token = new.env("TIDEWIRE_AUTH__HS256_SECRET", secret.trim_end()).output().unwrap().stdout;
    let token = String::from_utf8(token).unwrap();
    let mute = closed.bench(&["--token", token.trim_end(), "--duration", "1s", "--subscribers", "2"]);
    let words = stderr(&mute);
    assert!(words.contains("a publisher was refused") && words.contains("publish and subscribe"), "{words}");
    assert_eq!(mute.status.code(), Some(1), "{words}");
}

#[test]
fn a_limit_that_refuses_publishes_is_named_beside_what_was_measured() {
    let server = Server::start(&["--set", "limits.channel_publishes_per_second_max=10"]);
    let output =
        server.bench(&["--duration", "1s", "--warm-up", "0ms", "--rate", "100", "--subscribers", "2"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}{}", stderr(&output));
    assert!(text.contains("0 lost") && text.contains("limits.channel_publishes_per_second_max"), "{text}");
    assert!(!text.contains(", 0 refused"), "{text}");
}

#[test]
fn nobody_there_is_75_and_what_cannot_be_meant_is_2() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    let nobody = tidewire(&["bench", "--url", &url]).output().unwrap();
    assert_eq!(nobody.status.code(), Some(75), "{}", stderr(&nobody));
    assert!(stderr(&nobody).contains("nobody listens there. Start a server"), "{}", stderr(&nobody));
    for (args, words) in [
        (&["--duration", "10"][..], "500ms, 10s"),
        (&["--channels", "200"], "1 to 100 channels"),
        (&["--size", "10"], "at least 48 bytes"),
        (&["--rate", "0"], "more than 0"),
        (&["--transport", "carrier-pigeon"], "possible values: sse, ws, longpoll, poll"),
        (&["--url", "https://localhost"], "TLS"),
    ] {
        let output = tidewire(&[&["bench"], args].concat()).env("TIDEWIRE_URL", &url).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn more_subscribers_than_open_files_are_refused_before_anything_is_opened() {
    let output = tidewire(&["bench", "--subscribers", "9000000"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("open files") && stderr(&output).contains("ulimit -n"),
        "{}",
        stderr(&output)
    );
}
