//! stall: what small channels notice of one that has very many subscribers.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::crowd::Layer;
use crate::figure::open_loop::{OpenLoop, P99};
use crate::grid::Grid;
use crate::mute;
use crate::options::Plan;
use crate::report::Round;
use crate::request;
use tidewire_load::plan::Target;

const CASES: [&str; 2] = ["alone", "beside the crowd"];
/// Small channels, heard by one each, and messages a second over all of them.
const CHANNELS: usize = 100;
const RATE: usize = 1_000;
/// Between two messages to the crowd.
const INTERVAL: Duration = Duration::from_millis(250);
/// The channel of the crowd.
const CROWDED: &str = "crowded";

/// One table. False if anything went wrong that must not.
pub fn measure(plan: &Plan) -> io::Result<bool> {
    let crowd = plan.connections.unwrap_or(15_000);
    let (rate, seconds) = (plan.rate.unwrap_or(RATE), plan.seconds.unwrap_or(5));
    let mut grid = Grid::new(format!(
        "stall: {rate} messages a second over {CHANNELS} channels of one SSE subscriber each, for {seconds} s; \
         beside them {crowd} subscribers of one channel, which has a message every {} ms",
        INTERVAL.as_millis()
    ));
    for _ in 0..plan.rounds {
        for case in CASES {
            let crowd = if case == CASES[0] { 0 } else { crowd };
            grid.add(case, round(plan, crowd, rate, seconds)?);
        }
    }
    grid.print();
    if let [Some(alone), Some(beside)] = CASES.map(|case| grid.median(case, P99)) {
        println!("  p99 of the small channels: {alone:.2} ms alone, {beside:.2} ms beside the crowd");
    }
    Ok(grid.is_clean())
}

fn round(plan: &Plan, crowd: usize, rate: usize, seconds: usize) -> io::Result<Round> {
    let cluster = Cluster::in_memory(&plan.tidewire, plan.show_server)?;
    let node = cluster.nodes[0].address;
    // They never read: a few messages fit into what the kernel keeps for each, and reading them would take our core.
    let _mute = mute::subscribe(node, CROWDED, crowd, None)?;
    let open_loop = OpenLoop { rate: rate as u64, seconds: seconds as u64, channels: CHANNELS };
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let crier = (crowd > 0).then(|| scope.spawn(|| cry(node, &ended)));
        let measured = open_loop.run(&cluster, &[Layer { node, channels_each: 1 }]);
        ended.store(true, Ordering::Relaxed);
        let longest =
            crier.map(|crier| crier.join().unwrap_or_else(|_| Err(io::Error::other("the crier fell"))));
        let mut round = measured?.into_round();
        if let Some(longest) = longest {
            round.row("a message to the crowd, answered after ms at most", longest?.as_secs_f64() * 1e3);
        }
        Ok(round)
    })
}

/// Publishes to the crowd until it is told to end. Returns the longest time that an answer took.
fn cry(node: SocketAddrV4, ended: &AtomicBool) -> io::Result<Duration> {
    let payload = [b'x'; 128];
    let mut message = request::publish(&Target::at(node.into()), CROWDED, payload.len());
    message.extend_from_slice(&payload);
    let mut socket = TcpStream::connect(node)?;
    let (mut answer, mut longest) = ([0; 4096], Duration::ZERO);
    while !ended.load(Ordering::Relaxed) {
        let began = Instant::now();
        socket.write_all(&message)?;
        let count = socket.read(&mut answer)?;
        if !answer[..count].starts_with(b"HTTP/1.1 200") {
            return Err(io::Error::other("a message to the crowd was refused"));
        }
        longest = longest.max(began.elapsed());
        std::thread::sleep(INTERVAL.saturating_sub(began.elapsed()));
    }
    Ok(longest)
}
