//! Subscribers that never read: what comes stays in their receive buffers until those are full.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use tidewire_load::plan::{Target, Transport};

use crate::request;
use crate::sys;

/// Loopback addresses that connections come from: one has ports for a few ten thousand.
const SOURCES: usize = 20;
/// For the head of an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens `count` SSE subscribers of `channel` that have been let in and read no more. With `receive_bytes` their receive
/// buffers are as small as that, or as the kernel lets them be.
pub fn subscribe(
    server: SocketAddrV4,
    channel: &str,
    count: usize,
    receive_bytes: Option<usize>,
) -> io::Result<Vec<TcpStream>> {
    let request = request::subscribe(&Target::at(server.into()), Transport::Sse, channel);
    (0..count)
        .map(|index| {
            let source = Ipv4Addr::new(127, 0, 1, 1 + (index % SOURCES) as u8);
            let mut socket = sys::connect_from(Some(IpAddr::V4(source)), server.into())?;
            if let Some(bytes) = receive_bytes {
                sys::receive_at_most(&socket, bytes)?;
            }
            socket.set_nonblocking(false)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.write_all(&request)?;
            let mut head = [0; 12];
            socket.read_exact(&mut head)?;
            if &head == b"HTTP/1.1 200" {
                Ok(socket)
            } else {
                Err(io::Error::other("a subscriber that was to be mute was turned away"))
            }
        })
        .collect()
}
