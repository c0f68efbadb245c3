//! Keys and tokens as they are typed: what is made works, what is secret stays so, and what is refused says why.

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its report")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const SECRET: &str = "TIDEWIRE_AUTH__HS256_SECRET";

/// A folder of a test's own, empty.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("keys-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn tidewire(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidewire"));
    command.args(args).current_dir(folder).stdin(Stdio::null());
    command.env_remove(SECRET);
    command
}

fn run(folder: &Path, args: &[&str]) -> Output {
    tidewire(folder, args).output().unwrap()
}

fn piped(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", err(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_key_of_every_kind_signs_tokens_that_verify() {
    let folder = folder("every");
    for (kind, private, public) in [
        ("hs256", "hs256.secret", "hs256.secret"),
        ("hs512", "HS512:hs512.secret", "HS512:hs512.secret"),
        ("eddsa", "eddsa.private.pem", "eddsa.public.pem"),
        ("es256", "ES256:es256.private.pem", "es256.jwk.json"),
    ] {
        let made = run(&folder, &["keygen", kind, "--out", "."]);
        assert!(err(&made).contains("random bits"), "its entropy is stated: {}", err(&made));
        let new = [
            "token",
            "new",
            "--key",
            private,
            "--sub",
            "alice",
            "--subscribe",
            "orders:*",
            "--publish",
            "a,b",
        ];
        let token = out(&run(&folder, &new));
        let verify = ["token", "verify", token.trim(), "--key", public];
        let verified = run(&folder, &verify);
        let shown = out(&verified);
        assert!(
            shown.contains("alice") && shown.contains("orders:*") && shown.contains("a b"),
            "{kind}: {shown}"
        );
        let piped = piped(tidewire(&folder, &["token", "verify", "-", "--key", public, "--json"]), &token);
        assert!(out(&piped).contains("\"verified\":true"), "{kind}");
    }
}

#[test]
fn a_secret_is_printed_alone_and_works_from_the_environment() {
    let folder = folder("environment");
    let secret = out(&run(&folder, &["keygen"]));
    assert_eq!(secret.trim_end().len(), 43, "256 bits in base64url");
    let new = ["token", "new", "--sub", "bob", "--jti", "--iss", "me", "--aud", "you", "--ttl", "15m"];
    let signed = tidewire(&folder, &new).env(SECRET, secret.trim_end()).output().unwrap();
    let token = out(&signed);
    assert!(!err(&signed).contains(secret.trim_end()));
    let ask = |args: &[&str]| {
        let args = [&["token", "verify", token.trim(), "--secret-env", "MINE"], args].concat();
        tidewire(&folder, &args).env("MINE", secret.trim_end()).output().unwrap()
    };
    assert!(out(&ask(&["--iss", "me", "--aud", "you"])).contains("bob"));
    for (args, words) in [(["--iss", "them"], "`iss`"), (["--aud", "them"], "`aud`")] {
        let refused = ask(&args);
        assert_eq!(refused.status.code(), Some(1));
        assert!(err(&refused).contains(words), "{}", err(&refused));
    }
}

#[test]
fn decoding_says_loudly_that_nothing_was_verified() {
    let folder = folder("decode");
    // {"alg":"none"} . {"sub":"mallory\u001b[2J","exp":1} . nothing
    let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtYWxsb3J5XHUwMDFiWzJKIiwiZXhwIjoxfQ.";
    let decoded = run(&folder, &["token", "decode", token]);
    assert!(out(&decoded).contains("mallory\\u001b[2J"), "{}", out(&decoded));
    assert!(err(&decoded).contains("NOTHING WAS VERIFIED") && err(&decoded).contains("expired"));
    let json = piped(tidewire(&folder, &["token", "decode", "-", "--json"]), token);
    assert!(out(&json).contains("\"verified\":false"));
    for (broken, words) in [("a.b", "three parts"), ("*.e30.x", "base64url"), ("e30.AAAA.x", "JSON")] {
        let refused = run(&folder, &["token", "decode", broken]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(err(&refused).contains(words), "{}", err(&refused));
    }
}

#[test]
fn a_token_that_is_not_accepted_says_why_and_ends_with_1() {
    let folder = folder("refused");
    out(&run(&folder, &["keygen", "es256", "--out", "."]));
    out(&run(&folder, &["keygen", "eddsa", "--out", "."]));
    let new = |more: &[&str]| {
        let args = [&["token", "new", "--key", "es256.private.pem", "--sub", "a"], more].concat();
        out(&run(&folder, &args)).trim().to_owned()
    };
    let good = new(&[]);
    let (rest, _) = good.rsplit_once('.').unwrap();
    for (token, key, words) in [
        (good.clone(), "eddsa.public.pem", "no key"),
        (format!("{rest}.AAAA"), "es256.public.pem", "signature does not fit"),
        (format!("{rest}."), "es256.public.pem", "not signed"),
        (new(&["--ttl", "7d"]), "es256.public.pem", "would last"),
        (new(&["--kid", "other"]), "ES256:mine:es256.public.pem", "no key"),
        ("x".into(), "es256.public.pem", "three parts"),
    ] {
        let refused = run(&folder, &["token", "verify", &token, "--key", key]);
        assert_eq!(refused.status.code(), Some(1), "{words}");
        assert!(err(&refused).contains(words), "{words}: {}", err(&refused));
    }
}

#[test]
fn s12_a_token_whose_key_has_a_name_that_is_none_is_told_so() {
    let folder = folder("kid");
    out(&run(&folder, &["keygen", "es256", "--out", "."]));
    // {"alg":"ES256","kid":"https://id.example/1"}: it is refused for its name, before any key is tried.
    let token = "eyJhbGciOiJFUzI1NiIsImtpZCI6Imh0dHBzOi8vaWQuZXhhbXBsZS8xIn0.e30.AAAA";
    for json in [&[][..], &["--json"]] {
        let args = [&["token", "verify", token, "--key", "es256.public.pem"], json].concat();
        let refused = run(&folder, &args);
        assert_eq!(refused.status.code(), Some(1));
        let words = "`kid` is not 1 to 128 characters of A-Z a-z 0-9 . _ -";
        assert!(err(&refused).contains(words), "{}", err(&refused));
    }
}

#[cfg(unix)]
#[test]
fn what_is_secret_is_readable_by_its_owner_alone_and_never_overwritten() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder("files");
    let made = run(&folder, &["keygen", "eddsa", "--out", "new/keys"]);
    assert!(!out(&made).contains("BEGIN") && !err(&made).contains("BEGIN"), "written, not shown");
    let mode =
        |name: &str| fs::metadata(folder.join("new/keys").join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("eddsa.private.pem"), mode(".")), (0o600, 0o700));
    let before = fs::read(folder.join("new/keys/eddsa.private.pem")).unwrap();
    fs::remove_file(folder.join("new/keys/eddsa.public.pem")).unwrap();
    let again = run(&folder, &["keygen", "eddsa", "--out", "new/keys"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(err(&again).contains("not overwritten"), "{}", err(&again));
    assert_eq!(fs::read(folder.join("new/keys/eddsa.private.pem")).unwrap(), before);
    assert!(!folder.join("new/keys/eddsa.public.pem").exists(), "all or nothing");
}

#[test]
fn an_api_key_is_shown_once_with_its_line() {
    let folder = folder("api");
    let made = out(&run(&folder, &["keygen", "api-key", "--name", "billing", "--scopes", "publish"]));
    let [key, line] = made.lines().collect::<Vec<_>>().try_into().unwrap();
    assert!(key.starts_with("tw_") && key.len() == 46, "{key}");
    assert!(line.starts_with("billing:publish:") && line.len() == "billing:publish:".len() + 64, "{line}");
    let json = out(&run(&folder, &["keygen", "api-key", "--json"]));
    assert!(json.contains("\"line\":\"backend:publish+subscribe:"), "{json}");
}

#[test]
fn what_cannot_be_meant_is_2_and_a_key_that_cannot_be_used_is_78() {
    let folder = folder("codes");
    fs::write(folder.join("weak.secret"), "secret\n").unwrap();
    out(&run(&folder, &["keygen", "es256", "--out", "."]));
    out(&run(&folder, &["keygen", "--out", "."]));
    for (args, code, words) in [
        (&["token", "new", "--sub", "a"][..], 2, "--key"),
        (&["token", "new", "--sub", "a", "--secret-env", "NOT_SET"], 2, "NOT_SET"),
        (&["token", "new", "--sub", "", "--key", "hs256.secret"], 2, "--sub"),
        (&["token", "new", "--sub", "a", "--key", "hs256.secret", "--ttl", "1y"], 2, "--ttl"),
        (&["token", "new", "--sub", "a", "--key", "hs256.secret", "--subscribe", "a*"], 2, "segments"),
        (&["token", "new", "--sub", "a", "--key", "hs256.secret", "--kid", "../x"], 2, "--kid"),
        (&["keygen", "rs256"], 2, "rs256"),
        (&["keygen", "api-key", "--scopes", "root"], 2, "root"),
        (&["token", "new", "--sub", "a", "--key", "weak.secret"], 78, "sample"),
        (&["token", "new", "--sub", "a", "--key", "missing"], 78, "missing"),
        (&["token", "new", "--sub", "a", "--key", "es256.public.pem"], 78, "ALGORITHM"),
        (&["token", "new", "--sub", "a", "--key", "EdDSA:es256.private.pem"], 78, "EdDSA"),
        (&["token", "verify", "x", "--key", "es256.private.pem"], 78, "private key"),
        (&["token", "verify", "x", "--key", "none:es256.public.pem"], 78, "no algorithm"),
    ] {
        let output = run(&folder, args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", err(&output));
        assert!(err(&output).contains(words), "{args:?}: {}", err(&output));
    }
}
