//! The floor: the least that a server can do for one `write` a delivery, and nothing else.
//!
//! It has no router, no history, no limits and no slow readers: a subscriber that cannot take a message loses it,
//! and the ledger tells. Every GET subscribes; every POST reaches every subscriber. It trusts the generator to send
//! a request in one write, so that one read holds it.

use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use memchr::memmem;

use crate::sys::{self, Epoll, Interest};

const LISTENER: u64 = u64::MAX;
const SSE_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\r\n";
// The generator is the only client and does not check the accept key, so there is none to compute.
const WEBSOCKET_HEAD: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
const PUBLISHED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

/// Serves until the process is killed.
pub fn serve(listen: SocketAddrV4) -> io::Result<()> {
    run(&TcpListener::bind(listen)?)
}

/// Serves on a socket that is already bound.
pub fn run(listener: &TcpListener) -> io::Result<()> {
    sys::raise_open_files()?;
    sys::prepare_listener(listener, 4_096)?;
    listener.set_nonblocking(true)?;
    let mut epoll = Epoll::new(1_024)?;
    epoll.add(listener, LISTENER, Interest::Readable)?;
    // Clients stand at the index of their descriptor, which is also their token.
    let mut clients: Vec<Option<Client>> = Vec::new();
    let (mut tokens, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        epoll.wait(&mut tokens, None)?;
        for &token in &tokens {
            if token == LISTENER {
                while let Ok(socket) = sys::accept(listener) {
                    let index = usize::try_from(socket.as_raw_fd()).unwrap_or(0);
                    epoll.add(&socket, index as u64, Interest::Readable)?;
                    clients.resize_with(clients.len().max(index + 1), || None);
                    clients[index] = Some(Client { socket, role: Role::Asking });
                }
                continue;
            }
            let index = token as usize;
            let Some(client) = &mut clients[index] else { continue };
            match client.socket.read(&mut buffer) {
                Ok(count) if count > 0 => answer(&mut clients, index, &buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => clients[index] = None,
            }
        }
    }
}

struct Client {
    socket: TcpStream,
    role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Asking,
    Sse,
    WebSocket,
}

fn answer(clients: &mut [Option<Client>], index: usize, request: &[u8]) {
    if request.starts_with(b"POST ") {
        let Some(head) = memmem::find(request, b"\r\n\r\n") else { return };
        publish(clients, &request[head + 4..]);
        reply(clients, index, Role::Asking, PUBLISHED);
    } else if request.starts_with(b"GET ") {
        match memmem::find(request, b"Upgrade: websocket") {
            Some(_) => reply(clients, index, Role::WebSocket, WEBSOCKET_HEAD),
            None => reply(clients, index, Role::Sse, SSE_HEAD),
        }
    }
}

fn publish(clients: &mut [Option<Client>], payload: &[u8]) {
    let block = [b"data: ", payload, b"\n\n"].concat();
    // FIN and text; 126 announces a length of two bytes.
    let frame = match payload.len() {
        short @ 0..126 => [&[0x81, short as u8], payload].concat(),
        long => [&[0x81, 126, (long >> 8) as u8, long as u8], payload].concat(),
    };
    for client in clients.iter_mut().flatten() {
        let bytes = match client.role {
            Role::Asking => continue,
            Role::Sse => &block,
            Role::WebSocket => &frame,
        };
        let _ = client.socket.write(bytes);
    }
}

fn reply(clients: &mut [Option<Client>], index: usize, role: Role, bytes: &[u8]) {
    let Some(client) = &mut clients[index] else { return };
    client.role = role;
    let _ = client.socket.write(bytes);
}
