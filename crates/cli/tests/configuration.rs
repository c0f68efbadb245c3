//! What one types to write, check and look at a configuration.

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its report")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// An empty folder of one test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("configuration-{name}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidewire"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TIDEWIRE_") {
                command.env_remove(name);
            }
        }
        command.args(args).current_dir(&self.0).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_init_writes_can_be_served_at_once() {
    let folder = Folder::new("init");
    let said = folder.run(&["init"]);
    assert!(said.status.success(), "{}", stderr(&said));
    let secret = folder.read("tidewire.secret");
    assert!(secret.trim_end().len() >= 43 && !stdout(&said).contains(secret.trim_end()));
    assert!(folder.read("tidewire.toml").contains("\nhs256_secret_file = \"tidewire.secret\"\n"));
    let check = folder.run(&["check"]);
    assert!(
        check.status.success() && stdout(&check).starts_with("fine: tidewire.toml"),
        "{}",
        stdout(&check)
    );
    let shown = stdout(&folder.run(&["config", "show", "--origin"]));
    assert!(
        shown.contains("dev = false") && shown.contains("# because `auth.hs256_secret` is set"),
        "{shown}"
    );
}

#[cfg(unix)]
#[test]
fn s49_the_secret_that_init_makes_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new("init-mode");
    folder.run(&["init", "--path", "a.toml"]);
    let mode = fs::metadata(folder.0.join("a.secret")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn init_replaces_nothing_unless_told_to_and_never_a_secret() {
    let folder = Folder::new("init-twice");
    folder.run(&["init"]);
    let secret = folder.read("tidewire.secret");
    folder.write("tidewire.toml", "log = \"info\"\n");
    let again = folder.run(&["init"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("--force"), "{}", stderr(&again));
    assert_eq!(folder.read("tidewire.toml"), "log = \"info\"\n");
    assert!(stdout(&folder.run(&["init", "--force"])).contains("kept as it was"));
    assert_eq!(folder.read("tidewire.secret"), secret);
    assert!(folder.read("tidewire.toml").contains("#log = \"warn\""));
}

#[test]
fn check_says_every_problem_with_its_place() {
    let folder = Folder::new("check");
    folder.write("tidewire.toml", "listn = \"x\"\n[limits]\nretry = \"soon\"\n");
    let check = folder.run(&["check", "--set", "log=="]);
    assert_eq!(check.status.code(), Some(78));
    let said = stdout(&check);
    for line in [
        "error: tidewire.toml:1: there is no key `listn`; did you mean `listen`?",
        "error: tidewire.toml:3: `limits.retry`: `soon` is not a duration",
        "error: --set log: `log`: ",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    assert!(stderr(&check).contains("3 problems"), "{}", stderr(&check));
    let served = folder.run(&["serve"]);
    assert_eq!(served.status.code(), Some(78));
    assert!(stderr(&served).contains("tidewire.toml:1: ") && stderr(&served).contains("tidewire.toml:3: "));
}

#[test]
fn check_says_whatever_would_keep_the_server_from_starting() {
    let folder = Folder::new("check-gate");
    folder.write("a.pem", "no key");
    folder.write(
        "tidewire.toml",
        "[auth]\nkeys = [\"ES256:a.pem\", \"EdDSA:b.pem\"]\ncookie = \"tidewire_ticket\"\n",
    );
    let check = folder.run(&["check"]);
    assert_eq!(check.status.code(), Some(78));
    for line in [
        "error: tidewire.toml:2: `auth.keys`: ES256:a.pem: there is no `BEGIN PUBLIC KEY` in it",
        "error: tidewire.toml:2: `auth.keys`: EdDSA:b.pem: cannot read b.pem",
        "error: tidewire.toml:3: `auth.cookie`: `tidewire_ticket` is not the name of a cookie",
    ] {
        assert!(stdout(&check).contains(line), "{line}\n{}", stdout(&check));
    }
    let served = folder.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(served.status.code(), Some(78));
    assert!(stderr(&served).contains("a.pem") && stderr(&served).contains("b.pem"), "{}", stderr(&served));
}

#[test]
fn s54_check_prod_refuses_what_is_not_fit_for_the_internet() {
    let folder = Folder::new("check-prod");
    let dev = folder.run(&["check", "--prod", "--json"]);
    assert_eq!(dev.status.code(), Some(78));
    let report: Value = serde_json::from_slice(&dev.stdout).unwrap();
    assert_eq!(report["ok"], false);
    assert!(report["problems"][0]["problem"].as_str().unwrap().contains("dev mode is on"), "{report}");
    assert!(folder.run(&["check"]).status.success(), "on a desk it is fine");

    folder.run(&["init"]);
    let good = folder.run(&["check", "--prod", "--set", "trusted_proxies=127.0.0.1"]);
    assert!(good.status.success(), "{}", stdout(&good));
    let public = folder.run(&["check", "--prod", "--admin-listen", "0.0.0.0:9090"]);
    assert_eq!(public.status.code(), Some(78));
    assert!(stdout(&public).contains("error: --admin-listen: /metrics"), "{}", stdout(&public));
}

#[test]
fn config_show_says_what_holds_and_where_it_came_from() {
    let folder = Folder::new("show");
    folder.write(
        "tidewire.toml",
        "[limits]\nheartbeat = 5\n[auth]\nhs256_secret = \"canary-secret-canary-secret-!!#?\"\n",
    );
    let shown = folder
        .command(&["config", "show", "--origin", "--json"])
        .env("TIDEWIRE_LOG", "info")
        .output()
        .unwrap();
    let values: Value = serde_json::from_slice(&shown.stdout).unwrap();
    for (key, value, origin) in [
        ("limits.heartbeat", "5s".into(), "tidewire.toml:2"),
        ("log", "info".into(), "TIDEWIRE_LOG"),
        ("auth.hs256_secret", "***".into(), "tidewire.toml:4"),
        ("limits.headers_max", Value::from(100), "default"),
    ] {
        assert_eq!(values[key]["value"], value, "{key}");
        assert_eq!(values[key]["origin"], origin, "{key}");
    }
    for args in [&["config", "show"][..], &["config", "show", "--origin"], &["check", "--prod"]] {
        let output = folder.run(args);
        assert!(output.status.success() || args[0] == "check", "{}", stderr(&output));
        assert!(!stdout(&output).contains("canary") && !stderr(&output).contains("canary"), "{args:?}");
    }
}

#[test]
fn config_schema_is_json() {
    let schema: Value =
        serde_json::from_slice(&Folder::new("schema").run(&["config", "schema"]).stdout).unwrap();
    assert_eq!(schema["properties"]["limits"]["properties"]["heartbeat"]["default"], "15s");
}

#[test]
fn s49_a_mistyped_flag_does_not_repeat_its_value() {
    let folder = Folder::new("flags");
    for set in ["auth.hs256_secrt=canary", "auth.api_keys=canary", "canary"] {
        let output = folder.run(&["check", "--set", set]);
        assert!(!output.status.success());
        assert!(!stdout(&output).contains("canary") && !stderr(&output).contains("canary"), "{set}");
    }
}

#[test]
fn outside_dev_mode_health_has_a_listener_of_its_own() {
    let folder = Folder::new("admin");
    folder.run(&["init"]);
    let args = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let mut server = folder.command(&args).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
    let health = lines.find(|line| line.contains("/readyz"));
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(health.is_some(), "it did not start");
}
