//! The command line.

use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::str::FromStr;

use crate::server::Kind;
use tidewire_load::plan::Transport;

/// What `--help` prints.
pub const USAGE: &str = "\
Tidewire beside the floor, measured in one run.

usage: tidewire-benches COMMAND [OPTIONS]

commands
  fan         one publisher's schedule to many subscribers: CPU per delivery, latency
  saturate    as many deliveries a second as the server makes, four and sixteen messages outstanding
  idle        memory and open files: fresh, connected, after all have left
  connect     CPU per accepted connection
  all         the four above

  slow        latency of those who read while a tenth has stopped reading
  stall       latency of small channels beside one with very many subscribers
  publish     publishes a second to a thousand channels of one subscriber each

  multiplex   event streams over HTTP/2, many on each connection: CPU per delivery, latency, memory per stream
  streams     how many of them a node holds, and how soon a message reaches all
  handshakes  TLS handshakes a second, whole and resumed, beside nginx

  nodes       latency at another node of one Redis, beside the same node, and beside memory mode
  cost        CPU of Redis and of each node per million publishes, with and without history
  storm       everybody cut at once: time until all have resumed, and what it takes Redis
  channels    the cost of a publish over 1 to 100 000 channels
  interest    the cost of a publish by nodes that hear it, and by nodes that do not
  cluster     the five above
  peers       Tidewire beside its peers, with options of its own: peers --help
  floor       serve as the floor, on --listen ADDRESS

options
  --server floor|tidewire|both   both
  --transport sse|ws|both        both
  --rounds N                     3: each round measures every server once, in turn
  --binary PATH                  tidewire beside this binary
  --subscribers N                1000, for fan and saturate
  --rate N                       messages a second: 50 for fan; 10 to 50 for multiplex; 10000, 5000 and 2000 for nodes; 1000,
                                 5000 and 10000 for cost; 1000 for channels, 500 for interest, 100 for storm
  --seconds N                    10 for fan, 5 for the others, after a second of warm-up
  --outstanding N                4 and 16, for saturate
  --connections N                15000 for idle, storm and stall, 10000 for connect, 16 and 64 that publish for
                                 publish, 100 for multiplex, 1000 for streams
  --streams N                    on each connection: 100 for multiplex, and 1 on each of 1000; 56 for streams
  --tls on|off|both              both, for multiplex and streams
  --memory MIB                   where streams ends, if it comes so far
  --cycles N                     3: how often idle opens and closes all
  --show-server                  let the servers write to this terminal

Exits with 1 when anything was lost, duplicated, out of order, corrupt, cut or refused; never for a slow figure.
";

/// What was asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// Print the usage.
    Help,
    /// Be the floor.
    Floor {
        /// Where to listen.
        listen: SocketAddrV4,
    },
    /// Measure.
    Measure(Box<Plan>),
}

/// What to measure. Options not given are `None` where each figure has its own default.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub figures: Vec<Figure>,
    /// In this order within a round.
    pub servers: Vec<Kind>,
    /// In this order.
    pub transports: Vec<Transport>,
    /// How often each figure is taken.
    pub rounds: usize,
    /// The server under test.
    pub tidewire: PathBuf,
    /// Of fan and saturate.
    pub subscribers: usize,
    /// Messages a second.
    pub rate: Option<usize>,
    /// How long those measure that publish on a schedule.
    pub seconds: Option<usize>,
    /// Messages outstanding in saturate.
    pub outstanding: Vec<usize>,
    /// Connections of idle, connect, storm, publish, multiplex and streams.
    pub connections: Option<usize>,
    /// Streams of each connection.
    pub streams: Option<usize>,
    /// Whether HTTP/2 goes over TLS, in this order.
    pub tls: Vec<bool>,
    /// MiB of user memory at which streams come to an end.
    pub memory_mib: Option<usize>,
    /// How often idle opens and closes all.
    pub cycles: usize,
    /// Whether servers may write to the terminal.
    pub show_server: bool,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// CPU per delivery and latency on a fixed schedule.
    Fan,
    /// Deliveries a second.
    Saturate,
    /// Memory and open files.
    Idle,
    /// CPU per connection.
    Connect,
    /// Publishes a second over many channels.
    Publish,
    /// Latency across nodes.
    Nodes,
    /// CPU per publish.
    Cost,
    /// Everybody cut at once.
    Storm,
    /// CPU per publish by channels.
    Channels,
    /// CPU per publish by nodes.
    Interest,
    /// What readers notice of those who have stopped reading.
    Slow,
    /// What small channels notice of a very large one.
    Stall,
    /// Event streams over HTTP/2: what each costs.
    Multiplex,
    /// As many of them as a node holds.
    Streams,
    /// CPU per TLS handshake.
    Handshakes,
}

/// Reads the arguments after the program's name. The error is a sentence for the user.
pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut arguments = arguments;
    let command = arguments.next().ok_or("a command is missing")?;
    let figures = match command.as_str() {
        "-h" | "--help" | "help" => return Ok(Asked::Help),
        "floor" => Vec::new(),
        "fan" => vec![Figure::Fan],
        "saturate" => vec![Figure::Saturate],
        "idle" => vec![Figure::Idle],
        "connect" => vec![Figure::Connect],
        "all" => vec![Figure::Fan, Figure::Saturate, Figure::Idle, Figure::Connect],
        "publish" => vec![Figure::Publish],
        "nodes" => vec![Figure::Nodes],
        "cost" => vec![Figure::Cost],
        "storm" => vec![Figure::Storm],
        "channels" => vec![Figure::Channels],
        "interest" => vec![Figure::Interest],
        "slow" => vec![Figure::Slow],
        "stall" => vec![Figure::Stall],
        "multiplex" => vec![Figure::Multiplex],
        "streams" => vec![Figure::Streams],
        "handshakes" => vec![Figure::Handshakes],
        "cluster" => {
            vec![Figure::Nodes, Figure::Cost, Figure::Storm, Figure::Channels, Figure::Interest]
        }
        other => return Err(format!("there is no command {other:?}")),
    };
    let mut plan = Plan { figures, ..Plan::default() };
    let mut listen = None;
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "-h" | "--help" => return Ok(Asked::Help),
            "--show-server" => {
                plan.show_server = true;
                continue;
            }
            _ => {}
        }
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--listen" => listen = Some(read::<SocketAddrV4>(&name, &value)?),
            "--server" => plan.servers = choose(&name, &value, &SERVERS)?,
            "--transport" => plan.transports = choose(&name, &value, &TRANSPORTS)?,
            "--rounds" => plan.rounds = count(&name, &value)?,
            "--binary" => plan.tidewire = PathBuf::from(value),
            "--subscribers" => plan.subscribers = count(&name, &value)?,
            "--rate" => plan.rate = Some(count(&name, &value)?),
            "--seconds" => plan.seconds = Some(count(&name, &value)?),
            "--outstanding" => plan.outstanding = vec![count(&name, &value)?],
            "--connections" => plan.connections = Some(count(&name, &value)?),
            "--streams" => plan.streams = Some(count(&name, &value)?),
            "--tls" => plan.tls = choose(&name, &value, &TLS)?,
            "--memory" => plan.memory_mib = Some(count(&name, &value)?),
            "--cycles" => plan.cycles = count(&name, &value)?,
            _ => return Err(format!("there is no option {name}")),
        }
    }
    match (command.as_str(), listen) {
        ("floor", Some(listen)) => Ok(Asked::Floor { listen }),
        ("floor", None) => Err("floor needs --listen ADDRESS".to_owned()),
        _ => Ok(Asked::Measure(Box::new(plan))),
    }
}

impl Default for Plan {
    fn default() -> Plan {
        // Cargo puts both binaries into one directory.
        let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.join("tidewire")));
        Plan {
            figures: Vec::new(),
            servers: SERVERS.map(|(_, kind)| kind).to_vec(),
            transports: TRANSPORTS.map(|(_, transport)| transport).to_vec(),
            rounds: 3,
            tidewire: beside.unwrap_or_else(|| PathBuf::from("tidewire")),
            subscribers: 1_000,
            rate: None,
            seconds: None,
            outstanding: vec![4, 16],
            connections: None,
            streams: None,
            tls: TLS.map(|(_, tls)| tls).to_vec(),
            memory_mib: None,
            cycles: 3,
            show_server: false,
        }
    }
}

const SERVERS: [(&str, Kind); 2] = [("floor", Kind::Floor), ("tidewire", Kind::Tidewire)];
const TRANSPORTS: [(&str, Transport); 2] = [("sse", Transport::Sse), ("ws", Transport::WebSocket)];
const TLS: [(&str, bool); 2] = [("on", true), ("off", false)];

fn choose<T: Copy>(name: &str, value: &str, among: &[(&str, T)]) -> Result<Vec<T>, String> {
    let chosen: Vec<T> =
        among.iter().filter(|(word, _)| value == "both" || value == *word).map(|(_, one)| *one).collect();
    if chosen.is_empty() { Err(format!("{name} does not know {value:?}")) } else { Ok(chosen) }
}

fn read<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name} cannot be {value:?}"))
}

fn count(name: &str, value: &str) -> Result<usize, String> {
    match read(name, value)? {
        0 => Err(format!("{name} cannot be 0")),
        count => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(line: &str) -> Result<Asked, String> {
        parse(line.split_ascii_whitespace().map(str::to_owned))
    }

    #[test]
    fn all_means_four_figures_of_both_servers_over_both_transports() {
        let Ok(Asked::Measure(plan)) = ask("all") else { panic!("a plan") };
        assert_eq!(
            (plan.figures.len(), plan.servers.len(), plan.transports.len(), plan.rounds),
            (4, 2, 2, 3)
        );
    }

    #[test]
    fn cluster_means_the_five_figures_that_need_a_redis() {
        let Ok(Asked::Measure(plan)) = ask("cluster --rate 500") else { panic!("a plan") };
        assert_eq!((plan.figures.len(), plan.rate), (5, Some(500)));
    }

    #[test]
    fn options_narrow_the_plan() {
        let Ok(Asked::Measure(plan)) = ask("fan --server floor --transport ws --rounds 1 --show-server")
        else {
            panic!("a plan")
        };
        assert_eq!(plan.servers, [Kind::Floor]);
        assert_eq!(plan.transports, [Transport::WebSocket]);
        assert_eq!((plan.rounds, plan.show_server), (1, true));
    }

    #[test]
    fn http_2_goes_over_tls_and_without_unless_one_is_chosen() {
        let Ok(Asked::Measure(plan)) = ask("multiplex") else { panic!("a plan") };
        assert_eq!(
            (plan.figures, plan.tls, plan.streams),
            (vec![Figure::Multiplex], vec![true, false], None)
        );
        let Ok(Asked::Measure(plan)) = ask("streams --tls on --streams 100 --memory 512") else {
            panic!("a plan")
        };
        assert_eq!((plan.tls, plan.streams, plan.memory_mib), (vec![true], Some(100), Some(512)));
    }

    #[test]
    fn what_is_unknown_missing_or_zero_is_refused_with_its_name() {
        for line in [
            "",
            "fly",
            "fan --fast 1",
            "fan --rounds",
            "fan --rounds 0",
            "fan --server nginx",
            "floor",
            "streams --tls maybe",
        ] {
            assert!(ask(line).is_err(), "{line}");
        }
    }
}
