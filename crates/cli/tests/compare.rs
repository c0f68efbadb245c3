//! `tidewire compare` as it is typed: a table, a report, JSON, and nothing left running.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its report")]

use std::process::{Command, Output, Stdio};

/// A command of the binary with none of the caller's settings.
fn compare(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidewire"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEWIRE_") {
            command.env_remove(name);
        }
    }
    command.arg("compare").args(args).current_dir(env!("CARGO_TARGET_TMPDIR")).stdin(Stdio::null());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn four_transports_are_compared_on_a_server_of_its_own_and_a_report_is_written() {
    let report = concat!(env!("CARGO_TARGET_TMPDIR"), "/compare.html");
    let _ = std::fs::remove_file(report);
    let short = ["--seconds", "1", "--clients", "20", "--rate", "20", "--poll-interval", "200ms"];
    let output = compare(&[&short[..], &["--out", report]].concat());
    let (table, said) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{table}{said}");
    for part in [
        "Measured: 20 clients, 20 messages a second",
        "Worked out: 10 000 clients, 20 messages a second, a poll every 200 ms",
        "Short polling",
        "WebSocket",
        "server CPU, a message",
        "Verdict",
    ] {
        assert!(table.contains(part), "{part}:\n{table}{said}");
    }
    let lost = table.lines().find(|line| line.starts_with("lost ")).unwrap();
    assert_eq!(lost.split_whitespace().collect::<Vec<_>>(), ["lost", "0", "0", "0", "0"]);
    // A server on this machine is asked what it costs.
    let cpu = table.lines().find(|line| line.starts_with("server CPU, a message")).unwrap();
    assert!(cpu.contains("µs") || cpu.contains(" ms"), "{cpu}");
    let html = std::fs::read_to_string(report).unwrap();
    assert!(html.starts_with("<!doctype html>") && html.contains("How this was measured"));
    assert!(!html.contains("<script") && !html.contains("http://"));
    assert!(said.contains("4 of 4: WebSocket, 20 clients, 20 messages a second"), "{said}");
    assert!(said.contains(report), "{said}");
}

#[test]
fn json_has_what_was_measured_apart_from_what_was_worked_out() {
    let short = ["--seconds", "1", "--clients", "5", "--rate", "20", "--transport", "sse,ws", "--json"];
    let output = compare(&short);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["measured"][0]["transport"], "sse");
    assert_eq!(json["measured"][1]["clients"], 5);
    assert_eq!(json["measured"][1]["faults"]["lost"], 0);
    assert_eq!(json["worked_out"][0]["clients"], 10_000);
    assert_eq!(json["worked_out"][0]["rows"][0]["measured_clients"], 5);
    assert!(json["verdicts"][0]["headline"].is_string());
}

#[test]
fn what_was_lost_is_shown_is_not_judged_and_ends_with_1() {
    // Between two polls come more messages than a channel keeps.
    let output = compare(&[
        "--seconds",
        "1",
        "--clients",
        "2",
        "--rate",
        "1500",
        "--poll-interval",
        "1s",
        "--transport",
        "poll",
    ]);
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{table}{}", text(&output.stderr));
    for part in ["No verdict", "Short polling is not judged: ", "lost", "gaps"] {
        assert!(table.contains(part), "{part}:\n{table}");
    }
    assert!(!table.contains("Worked out"), "{table}");
}

#[test]
fn what_cannot_be_measured_ends_before_minutes_have_passed() {
    let nowhere = compare(&["--out", "no-such-folder/report.html"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(text(&nowhere.stderr).contains("no-such-folder/report.html"));
    let nobody = compare(&["http://127.0.0.1:1", "--clients", "1"]);
    assert_eq!(nobody.status.code(), Some(75), "{}", text(&nobody.stderr));
    for args in [&["https://127.0.0.1"][..], &["--clients", "0"], &["--size", "1"]] {
        assert_eq!(compare(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn a_server_that_belongs_to_somebody_ends_when_they_do() {
    let mut server = Command::new(env!("CARGO_BIN_EXE_tidewire"));
    server.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--config", "/dev/null", "--until-stdin-ends"]);
    let mut server = server.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    // What a parent holds is closed with it, however it ends.
    drop(server.stdin.take());
    assert!(server.wait().unwrap().success());
}
