//! streams: how many live event streams one node holds over HTTP/2, what each takes, and how soon a message reaches all.

use std::io;
use std::time::{Duration, Instant};

use crate::figure::idle::{SETTLE, wait_until_closed};
use crate::figure::multiplex::way;
use crate::generator::{Faults, Generator};
use crate::meter::{Holding, threads_cpu_ns, tree_cpu_ns};
use crate::options::Plan;
use crate::report::{figure, median};
use crate::server::{GENERATOR_CORE, Kind, SERVER_CORE, Server, free_address};

const CONNECTIONS: usize = 1_000;
/// As many sources as a busy page has.
const STREAMS: usize = 56;
/// Rows of the table.
const STEPS: usize = 5;
/// Messages of every row.
const MESSAGES: usize = 5;
const GATHERING: usize = 64;
/// What has not reached all by then is lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// One table for each way. False if anything went wrong that must not.
pub fn measure(plan: &Plan) -> io::Result<bool> {
    let mut clean = true;
    for &tls in &plan.tls {
        clean &= take(plan, tls)?;
    }
    Ok(clean)
}

fn take(plan: &Plan, tls: bool) -> io::Result<bool> {
    let (connections, streams) = (plan.connections.unwrap_or(CONNECTIONS), plan.streams.unwrap_or(STREAMS));
    let memory_kib = plan.memory_mib.map_or(f64::INFINITY, |mib| mib as f64 * 1_024.0);
    let ((way, options), address) = (way(tls), free_address()?);
    let show = plan.show_server;
    let server = Server::start_over(way.clone(), Kind::Tidewire, &plan.tidewire, &options, address, show)?;
    println!(
        "\nstreams: SSE over HTTP/2 {} TLS, {streams} streams on each of up to {connections} connections; of {MESSAGES} \
         messages to all, the middle and the latest\n",
        if tls { "with" } else { "without" }
    );
    println!(
        "  {:>11} {:>9} {:>9} {:>10} {:>11} {:>10} {:>11} {:>11} {:>10} {:>10}",
        "connections",
        "streams",
        "user MiB",
        "KiB/stream",
        "slab, both",
        "accepted/s",
        "to all, ms",
        "latest, ms",
        "server, ms",
        "client, ms"
    );
    std::thread::sleep(SETTLE);
    let fresh = Holding::take(server.process())?;
    let mut generator = Generator::multiplexed(address, way, streams)?;
    let step = connections.div_ceil(STEPS);
    let mut open = 0;
    while open < connections {
        let more = step.min(connections - open);
        let begun = Instant::now();
        if let Err(error) = generator.subscribe((open + more) * streams, GATHERING) {
            println!("  no more: {error}");
            return Ok(false);
        }
        let accepted_s = (more * streams) as f64 / begun.elapsed().as_secs_f64();
        open += more;
        generator.run_for(SETTLE)?;
        let holding = Holding::take(server.process())?;
        generator.open_publishers(1)?;
        let reach = reach(&server, &mut generator)?;
        generator.close_publishers();
        let count = (open * streams) as f64;
        println!(
            "  {open:>11} {:>9} {:>9} {:>10} {:>11} {:>10} {:>11} {:>11} {:>10} {:>10}",
            open * streams,
            figure(holding.pss_kib / 1_024.0),
            figure((holding.pss_kib - fresh.pss_kib) / count),
            figure((holding.slab_kib - fresh.slab_kib) / count),
            figure(accepted_s),
            figure(reach.middle_ms),
            figure(reach.latest_ms),
            figure(reach.server_ms),
            figure(reach.generator_ms),
        );
        if holding.pss_kib >= memory_kib {
            println!("  the server has the memory that it was given");
            break;
        }
    }
    let faults = generator.tally().faults();
    generator.leave();
    wait_until_closed(&server, &mut generator, fresh.files)?;
    let left = Holding::take(server.process())?;
    println!(
        "  user MiB fresh {}, after all left {}; open files kept {}",
        figure(fresh.pss_kib / 1_024.0),
        figure(left.pss_kib / 1_024.0),
        left.files as i64 - fresh.files as i64
    );
    let Faults { wrong, cut, refused, gaps } = faults;
    println!(
        "  {} lost, {} duplicated, {} out of order, {} corrupt, {cut} cut, {refused} refused, {gaps} gaps",
        wrong.lost, wrong.duplicated, wrong.out_of_order, wrong.corrupt
    );
    println!(
        "  server, client: CPU a message, of the server on core {SERVER_CORE} and of the generator on core \
         {GENERATOR_CORE}, which has to read all of it"
    );
    Ok(faults == Faults::default())
}

struct Reach {
    middle_ms: f64,
    latest_ms: f64,
    server_ms: f64,
    generator_ms: f64,
}

/// Publishes a few messages, each once the one before has reached everybody.
fn reach(server: &Server, generator: &mut Generator) -> io::Result<Reach> {
    let cpu = || Ok::<_, io::Error>((tree_cpu_ns(server.process())?, threads_cpu_ns(std::process::id())?));
    let (server_ns, generator_ns) = cpu()?;
    let mut times_ms = Vec::new();
    for _ in 0..MESSAGES {
        let due_ns = generator.now_ns();
        generator.publish(due_ns)?;
        let limit_ns = due_ns + PATIENCE.as_nanos() as u64;
        generator.run_until(limit_ns, |generator| generator.outstanding() == 0)?;
        let is_whole = generator.outstanding() == 0;
        let took_ms = (generator.now_ns() - due_ns) as f64 / 1e6;
        times_ms.push(if is_whole { took_ms } else { f64::INFINITY });
        // The answer to the POST may come later than the message.
        generator.run_for(Duration::from_millis(50))?;
    }
    let (server_to_ns, generator_to_ns) = cpu()?;
    let each_ms = |from: u64, to: u64| (to - from) as f64 / 1e6 / MESSAGES as f64;
    Ok(Reach {
        middle_ms: median(&times_ms).unwrap_or(f64::INFINITY),
        latest_ms: times_ms.iter().copied().fold(0.0, f64::max),
        server_ms: each_ms(server_ns, server_to_ns),
        generator_ms: each_ms(generator_ns, generator_to_ns),
    })
}
