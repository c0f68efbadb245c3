//! Tiers: what there is to run, and what each needs first.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use crate::machine;
use crate::previous;
use crate::run;
use crate::tally::Tally;

/// Seeds that one run of the simulation tries.
pub const SEEDS: &str = "1500";

/// The oldest Rust: `rust-version` in `Cargo.toml`, to which `tests/tidy` holds this.
const MSRV: &str = "1.90";

/// Lines of a failed tier that are shown; the rest stands in its log.
const SHOWN_LINES_MAX: usize = 150;

/// One row of the report: something to prepare, and a program whose outcome is counted.
pub struct Tier {
    name: &'static str,
    command: Box<dyn FnOnce() -> Result<Ready, String> + Send>,
}

/// What preparing a tier comes to.
enum Ready {
    /// The program to run.
    Run(Command),
    /// There is nothing to run, and why.
    Skip(&'static str),
}

/// Where what has a feature is built that the binary has not by itself: `acme` or `otlp`.
fn feature_target(feature: &str) -> PathBuf {
    run::target().join(feature)
}

impl Tier {
    /// The code is as rustfmt has it.
    pub fn fmt() -> Tier {
        Tier::cargo("fmt", &["fmt", "--all", "--check"])
    }

    /// No warning from rustc or clippy, tests and benches included.
    pub fn clippy() -> Tier {
        Tier::cargo("clippy", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
    }

    /// The same for a binary without what can be left out.
    pub fn clippy_bare() -> Tier {
        Tier::cargo(
            "clippy bare",
            &[
                "clippy",
                "--package=tidewire-cli",
                "--package=tidewire",
                "--no-default-features",
                "--",
                "-D",
                "warnings",
            ],
        )
    }

    /// The same for the code behind the feature `acme`.
    pub fn clippy_acme() -> Tier {
        let clippy = &[
            "clippy",
            "--package=tidewire-cli",
            "--package=tidewire-server",
            "--features=tidewire-cli/acme",
        ];
        Tier::cargo_feature("acme", "clippy acme", clippy).with(&["--all-targets", "--", "-D", "warnings"])
    }

    /// The server's own tests with it.
    pub fn unit_acme() -> Tier {
        Tier::cargo_feature("acme", "unit acme", &["test", "--package=tidewire-server", "--features=acme"])
    }

    /// The binary with it.
    pub fn release_acme() -> Tier {
        Tier::cargo_feature(
            "acme",
            "release acme",
            &["build", "--release", "--package=tidewire-cli", "--features=acme"],
        )
    }

    /// Certificates from an ACME server that runs here.
    pub fn acme() -> Tier {
        Tier::new("acme", || {
            machine::acme()?;
            let Ready::Run(mut pytest) = (Tier::pytest("acme", "tests/acme").command)()? else {
                return Ok(Ready::Skip("there is no tests/acme"));
            };
            pytest.env("TIDEWIRE_BIN", feature_target("acme").join("release/tidewire"));
            Ok(Ready::Run(pytest))
        })
    }

    /// No warning from the code behind the feature `otlp`.
    pub fn clippy_otlp() -> Tier {
        let clippy = &["clippy", "--package=tidewire-cli", "--features=otlp"];
        Tier::cargo_feature("otlp", "clippy otlp", clippy).with(&["--all-targets", "--", "-D", "warnings"])
    }

    /// Its own tests.
    pub fn unit_otlp() -> Tier {
        let unit = &["test", "--package=tidewire-cli", "--features=otlp", "--bins", "traces"];
        Tier::cargo_feature("otlp", "unit otlp", unit)
    }

    /// The binary with it.
    pub fn release_otlp() -> Tier {
        let release = &["build", "--release", "--package=tidewire-cli", "--features=otlp"];
        Tier::cargo_feature("otlp", "release otlp", release)
    }

    /// Traces, exported to a collector of the tests.
    pub fn otlp() -> Tier {
        Tier::new("otlp", || {
            let Ready::Run(mut pytest) = (Tier::pytest("otlp", "tests/otlp").command)()? else {
                return Ok(Ready::Skip("there is no tests/otlp"));
            };
            pytest.env("TIDEWIRE_BIN", feature_target("otlp").join("release/tidewire"));
            Ok(Ready::Run(pytest))
        })
    }

    /// The documentation builds, and its links lead somewhere.
    pub fn doc() -> Tier {
        Tier::new("doc", || {
            let mut doc = run::command("cargo", &["doc", "--workspace", "--no-deps"]);
            doc.env("RUSTDOCFLAGS", "-Dwarnings");
            Ok(Ready::Run(doc))
        })
    }

    /// Licences, bans and sources, as `deny.toml` has them.
    pub fn deny() -> Tier {
        Tier::new("deny", || {
            let tool = machine::cargo_tool("cargo-deny")?;
            // Advisories are left out here: they come from a database on the network. `cargo deny check` has them.
            Ok(Ready::Run(run::command(tool, &["--workspace", "check", "licenses", "bans", "sources"])))
        })
    }

    /// The tests beside the code, some of which start a real Redis.
    pub fn unit() -> Tier {
        Tier::new("unit", || {
            machine::debian()?;
            Ok(Ready::Run(run::command("cargo", &["test", "--workspace", "--no-fail-fast"])))
        })
    }

    /// Every interleaving of the inbox's sleep and wake.
    pub fn loom() -> Tier {
        Tier::new("loom", || {
            let mut loom = run::command("cargo", &["test", "--package", "tidewire-engine", "--lib", "r31"]);
            // A folder of its own: other flags would have everything built anew each time.
            loom.env("RUSTFLAGS", "--cfg tidewire_loom").env("CARGO_TARGET_DIR", run::target().join("loom"));
            Ok(Ready::Run(loom))
        })
    }

    /// Bugs put in on purpose, each of which the simulation's ledger must catch.
    pub fn mutants() -> Tier {
        Tier::cargo("mutants", &["run", "--release", "--package", "tidewire-sim", "--", "--mutants"])
    }

    /// The same for several nodes over a model of Redis.
    pub fn mutants_redis() -> Tier {
        const RUN: &[&str] = &["run", "--release", "--package", "tidewire-sim", "--", "--redis", "--mutants"];
        Tier::cargo("mutants redis", RUN)
    }

    /// The binary that everything below looks at.
    pub fn release() -> Tier {
        // The campaign of faults too, which is built and run elsewhere: nobody should wait for that beside a clock.
        const BUILD: &[&str] =
            &["build", "--release", "--package", "tidewire-cli", "--package", "tidewire-faults"];
        Tier::cargo("release", BUILD)
    }

    /// The simulation, which is seeded: a failure prints the seed that repeats it.
    pub fn sim(seeds: &str) -> Tier {
        let seeds = seeds.to_owned();
        Tier::new("sim", move || {
            if !run::repository().join("tests/sim/Cargo.toml").exists() {
                return Ok(Ready::Skip("there is no tests/sim"));
            }
            let sim = ["run", "--release", "--package", "tidewire-sim", "--", "--seeds", &seeds];
            Ok(Ready::Run(run::command("cargo", &sim)))
        })
    }

    /// Several nodes over a model of Redis. A seed takes about ten times as long as one of a single node.
    pub fn sim_redis(seeds: &str) -> Tier {
        let seeds = (seeds.parse::<u64>().unwrap_or(1_000) / 40).max(1).to_string();
        Tier::new("sim redis", move || {
            let sim = ["run", "--release", "--package", "tidewire-sim", "--", "--redis", "--seeds", &seeds];
            Ok(Ready::Run(run::command("cargo", &sim)))
        })
    }

    /// Every command and snippet of the README and of the book, the box of dev mode, and the guides for who moves here.
    pub fn book() -> Tier {
        Tier::new("book", || {
            machine::debian()?;
            // Its pages are tabs of the tests next door.
            machine::npm("tests/browser")?;
            for folder in
                ["tests/book", "examples/migrate-ws", "examples/migrate-sse", "examples/migrate-socket-io"]
            {
                machine::npm(folder)?;
            }
            node_tests("tests/book")
        })
    }

    /// npm's clients, and curl.
    pub fn e2e() -> Tier {
        Tier::node("e2e", "tests/e2e")
    }

    /// Python's clients, and bytes that no client would send.
    pub fn python() -> Tier {
        Tier::pytest("python", "tests/e2e/python")
    }

    /// Every program of `examples`, against a server that lets nobody in without a key.
    pub fn examples() -> Tier {
        let pytest = Tier::pytest("examples", "tests/examples");
        Tier::new(pytest.name, move || {
            machine::npm("examples/ioredis")?;
            let mut ready = (pytest.command)()?;
            if let Ready::Run(command) = &mut ready {
                machine::put_node_first(command)?;
            }
            Ok(ready)
        })
    }

    /// TLS and HTTP/2: frames that no client would send, floods, WebSockets on streams, and what others make of it.
    pub fn http2() -> Tier {
        Tier::pytest("http2", "tests/http2")
    }

    /// Every check of testssl.sh, and waits of the default length.
    pub fn scan() -> Tier {
        Tier::pytest("scan", "tests/http2").with(&["--full", "-rP", "test_scanners.py", "test_connection.py"])
    }

    /// A real nginx, HAProxy and Caddy in front.
    pub fn proxies() -> Tier {
        Tier::pytest("proxies", "tests/proxies")
    }

    /// The same, told wrong things on purpose: `tidewire doctor` names each, and the line that it says mends it.
    pub fn doctor() -> Tier {
        Tier::pytest("doctor", "tests/doctor")
    }

    /// Clients that mean harm: sieges of seconds, and what brought other servers down.
    pub fn hostile() -> Tier {
        Tier::pytest("hostile", "tests/hostile")
    }

    /// Who may come in and what they may do: tickets, rights that end, keys that change, secrets that stay one.
    pub fn auth() -> Tier {
        Tier::pytest("auth", "tests/auth")
    }

    /// The same with its races at their full size.
    pub fn races() -> Tier {
        Tier::pytest("races", "tests/auth").with(&["--full", "-rP", "test_tickets.py"])
    }

    /// The sieges at their full size, against the default deadlines.
    pub fn siege() -> Tier {
        Tier::pytest("siege", "tests/hostile").with(&["--full", "-rP", "test_slowloris.py"])
    }

    /// Every fault that nodes and Redis can be made to suffer here, in two minutes: one seed, so that CI repeats itself.
    pub fn faults() -> Tier {
        Tier::new("faults", || {
            machine::debian()?;
            let faults = ["run", "--release", "--package", "tidewire-faults", "--", "--seed", "1"];
            let mut faults = run::command("cargo", &faults);
            faults.args(["--seconds", "96", "--round-seconds", "32"]);
            Ok(Ready::Run(faults))
        })
    }

    /// Nodes that share a Redis: replaced under load, deaf, failed over, refused, and emptied.
    pub fn cluster() -> Tier {
        Tier::pytest("cluster", "tests/cluster")
    }

    /// The deploys of that, twenty each way.
    pub fn rolling() -> Tier {
        Tier::pytest("rolling", "tests/cluster").with(&["--full", "-rP", "test_rolling.py"])
    }

    /// Nodes of `revision` upgraded to what is here under load, and back: twenty deploys each way.
    pub fn upgrade(revision: String) -> Tier {
        let pytest = Tier::pytest("upgrade", "tests/cluster").with(&["--full", "-rP", "test_versions.py"]);
        Tier::new(pytest.name, move || {
            let binary = previous::binary(&revision)?;
            let mut ready = (pytest.command)()?;
            if let Ready::Run(command) = &mut ready {
                command.env("TIDEWIRE_PREVIOUS", binary);
            }
            Ok(ready)
        })
    }

    /// One fuzz target, for `seconds`.
    pub fn fuzz(target: String, seconds: &str) -> Tier {
        let limit = format!("-max_total_time={seconds}");
        let name: &'static str = String::leak(format!("fuzz {target}"));
        Tier::new(name, move || {
            let tool = machine::cargo_tool("cargo-fuzz")?;
            // libFuzzer's instrumentation is a compiler flag that only nightly admits to; the stable compiler has it.
            let mut fuzz = run::command(tool, &["run", "--sanitizer=none", &target, "--", &limit]);
            fuzz.env("RUSTC_BOOTSTRAP", "1");
            Ok(Ready::Run(fuzz))
        })
    }

    /// What a node tells of itself: metrics, alerts and the dashboard, before a real Prometheus.
    pub fn metrics() -> Tier {
        Tier::pytest("metrics", "tests/metrics")
    }

    /// What a delivery costs, in what can be counted: system calls, by strace, and instructions, by callgrind.
    pub fn costs() -> Tier {
        Tier::pytest("costs", "tests/costs")
    }

    /// The HTTP surface against `docs/openapi.yaml`, by schemathesis.
    pub fn api() -> Tier {
        Tier::pytest("api", "tests/api")
    }

    /// The Autobahn cases.
    pub fn conformance() -> Tier {
        Tier::new("conformance", || {
            machine::debian()?;
            Ok(Ready::Run(run::command(machine::python()?, &["tests/conformance/websocket_cases.py"])))
        })
    }

    /// The same over HTTP/2 and TLS, through a shim that speaks for clients which know neither.
    pub fn conformance_http2() -> Tier {
        Tier::conformance().named("conformance http2").with(&["--over=h2"])
    }

    /// Chromium and Firefox, with nothing installed.
    pub fn browser() -> Tier {
        Tier::node("browser", "tests/browser")
    }

    /// A picture of every page, for whoever changes one.
    pub fn screenshots() -> Tier {
        Tier::new("screenshots", || {
            machine::debian()?;
            machine::npm("tests/browser")?;
            let mut node = machine::node("node", &["screenshots.mjs"])?;
            node.arg(run::target().join("screenshots")).current_dir(run::repository().join("tests/browser"));
            Ok(Ready::Run(node))
        })
    }

    /// The browser client: in a world of the tests' own, and in browsers against servers and networks that fail.
    pub fn client() -> Tier {
        Tier::new("client", || {
            machine::debian()?;
            machine::npm_locked("clients/js")?;
            // Its pages are tabs of the tests next door.
            machine::npm("tests/browser")?;
            machine::npm("examples/react")?;
            node_tests("clients/js")
        })
    }

    /// What the server embeds of the console: the bytes that its sources give. What it does is among the tests of `browser`.
    pub fn console() -> Tier {
        Tier::new("console", || {
            machine::debian()?;
            machine::npm_locked("admin")?;
            node_tests("admin")
        })
    }

    /// What is shipped around the binary.
    pub fn packaging() -> Tier {
        Tier::pytest("packaging", "tests/packaging")
    }

    /// Whether it compiles with the oldest Rust that `Cargo.toml` states. Clippy holds the code itself to that
    /// (`incompatible_msrv`), and `tests/tidy` the dependencies; only that Rust knows.
    pub fn msrv() -> Tier {
        Tier::new("msrv", || {
            let listed = run::logged("rustup", &mut run::command("rustup", &["toolchain", "list"])).output;
            let Some(toolchain) = oldest(&listed) else {
                return Ok(Ready::Skip(
                    "not tried: there is no such toolchain; `rustup toolchain install 1.90`",
                ));
            };
            let toolchain = format!("+{toolchain}");
            let mut check = run::command("cargo", &[&toolchain, "check", "--workspace", "--locked"]);
            check.env("CARGO_TARGET_DIR", run::target().join("msrv"));
            Ok(Ready::Run(check))
        })
    }

    /// The files of a release, as somebody who downloads them meets them.
    pub fn released(folder: PathBuf) -> Tier {
        Tier::new("released", move || {
            let mut ready = (Tier::pytest("released", "tests/release").command)()?;
            if let Ready::Run(command) = &mut ready {
                command.env("TIDEWIRE_RELEASE", folder);
            }
            Ok(ready)
        })
    }

    /// The same tests against a server whose sockets are hyper's, as they are wherever there is no epoll.
    pub fn on_tokio(self, name: &'static str) -> Tier {
        self.flagged(name, "--set engine.io=tokio")
    }

    /// The same tests against a server without io_uring, as it is wherever the kernel forbids that.
    pub fn on_epoll(self, name: &'static str) -> Tier {
        self.flagged(name, "--set engine.io=epoll")
    }

    fn flagged(self, name: &'static str, flags: &'static str) -> Tier {
        Tier::new(name, move || {
            let mut ready = (self.command)()?;
            if let Ready::Run(command) = &mut ready {
                command.env("TIDEWIRE_FLAGS", flags);
            }
            Ok(ready)
        })
    }

    /// The same program at a lower priority: it takes what time of the cores others leave.
    pub fn patient(self) -> Tier {
        Tier::new(self.name, move || {
            let ready = (self.command)()?;
            Ok(match ready {
                Ready::Run(command) => Ready::Run(run::nice(&command)),
                skip @ Ready::Skip(_) => skip,
            })
        })
    }

    fn cargo(name: &'static str, arguments: &'static [&'static str]) -> Tier {
        Tier::new(name, move || Ok(Ready::Run(run::command("cargo", arguments))))
    }

    /// In a folder of its own: other features would have everything built anew each time.
    fn cargo_feature(feature: &'static str, name: &'static str, arguments: &'static [&'static str]) -> Tier {
        Tier::new(name, move || {
            let mut cargo = run::command("cargo", arguments);
            cargo.env("CARGO_TARGET_DIR", feature_target(feature));
            Ok(Ready::Run(cargo))
        })
    }

    fn node(name: &'static str, folder: &'static str) -> Tier {
        Tier::new(name, move || {
            machine::debian()?;
            machine::npm(folder)?;
            node_tests(folder)
        })
    }

    fn pytest(name: &'static str, folder: &'static str) -> Tier {
        Tier::new(name, move || {
            machine::debian()?;
            let mut pytest = run::command(machine::python()?, &["-m", "pytest"]);
            pytest.current_dir(run::repository().join(folder)).env("PYTHONDONTWRITEBYTECODE", "1");
            Ok(Ready::Run(pytest))
        })
    }

    /// The same program in a row of its own.
    fn named(self, name: &'static str) -> Tier {
        Tier { name, ..self }
    }

    /// The same program with more arguments.
    fn with(self, arguments: &'static [&'static str]) -> Tier {
        Tier::new(self.name, move || {
            let mut ready = (self.command)()?;
            if let Ready::Run(command) = &mut ready {
                command.args(arguments);
            }
            Ok(ready)
        })
    }

    fn new(name: &'static str, command: impl FnOnce() -> Result<Ready, String> + Send + 'static) -> Tier {
        Tier { name, command: Box::new(command) }
    }

    /// Runs the tier and prints its line, and what it printed itself if it failed.
    pub fn run(self) -> Tally {
        let began = Instant::now();
        let outcome = match (self.command)() {
            Ok(Ready::Run(mut command)) => run::logged(self.name, &mut command),
            Ok(Ready::Skip(reason)) => {
                println!("{:<12} skipped: {reason}", self.name);
                return Tally::default();
            }
            Err(error) => run::Outcome { succeeded: false, output: error },
        };
        let tally = Tally::read(&outcome.output, outcome.succeeded);
        if !outcome.succeeded {
            let lines: Vec<&str> = outcome.output.lines().collect();
            println!("{}", lines[lines.len().saturating_sub(SHOWN_LINES_MAX)..].join("\n"));
        }
        println!("{:<12} {tally} in {:.1} s", self.name, began.elapsed().as_secs_f32());
        tally
    }
}

/// Node's own runner, over the test files of `folder`.
fn node_tests(folder: &str) -> Result<Ready, String> {
    // One file at a time: these tests have deadlines, and two machines' worth of processes would share two cores.
    // Node 20 may spin for ever while it frees its handles at the end of a file whose tests have all passed, hence
    // the forced exit.
    let test = ["--test", "--test-force-exit", "--test-reporter=spec", "--test-concurrency=1"];
    let mut node = machine::node("node", &test)?;
    node.current_dir(run::repository().join(folder));
    Ok(Ready::Run(node))
}

/// The toolchain of the oldest Rust among those that rustup lists, by the name that it has there: who installed `1.90.0` has none
/// that is called `1.90`.
fn oldest(listed: &str) -> Option<&str> {
    let is_it = |name: &&str| {
        name.strip_prefix(MSRV).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
    };
    listed.lines().filter_map(|line| line.split_whitespace().next()).find(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_rust_is_found_by_whatever_name_it_was_installed() {
        let listed = |name: &str| {
            format!("stable-x86_64-unknown-linux-gnu (active, default)\n{name}-x86_64-unknown-linux-gnu\n")
        };
        for name in [MSRV.to_owned(), format!("{MSRV}.0")] {
            let wanted = format!("{name}-x86_64-unknown-linux-gnu");
            assert_eq!(oldest(&listed(&name)), Some(wanted.as_str()));
        }
        assert_eq!(oldest(&listed(&format!("{MSRV}0.0"))), None);
        assert_eq!(oldest("rustup: No such file or directory (os error 2)"), None);
    }
}
