//! Which processes of this machine listen at an address, as `/proc` tells (proc_pid_net(5)).

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Processes that listen at `address`, least number first; those whose parent does too are counted with it and left out.
/// None where the address is not of this machine, or the processes are of a user that this one may not look at.
pub fn processes(address: SocketAddr) -> Vec<u32> {
    // Only an address of this machine can be bound.
    if UdpSocket::bind((address.ip(), 0)).is_err() {
        return Vec::new();
    }
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let sockets: BTreeSet<String> = tables
        .iter()
        .flat_map(|table| listeners(table, address))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let holders: BTreeSet<u32> = all().filter(|process| holds(*process, &sockets)).collect();
    holders
        .iter()
        .copied()
        .filter(|process| parent(*process).is_none_or(|one| !holders.contains(&one)))
        .collect()
}

/// What a process is called.
pub fn name(process: u32) -> String {
    fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default().trim_end().to_owned()
}

fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn holds(process: u32, sockets: &BTreeSet<String>) -> bool {
    let mut files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    files.any(|file| {
        fs::read_link(file.path()).is_ok_and(|link| link.to_str().is_some_and(|link| sockets.contains(link)))
    })
}

fn parent(process: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name may hold spaces and brackets; after its last bracket come state and parent.
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The inodes of sockets that listen at `address`, or at all addresses.
fn listeners(table: &str, address: SocketAddr) -> impl Iterator<Item = &str> {
    table.lines().filter_map(move |line| {
        let mut fields = line.split_ascii_whitespace();
        let (ip, port) = fields.nth(1)?.split_once(':')?;
        let (is_listening, inode) = (fields.nth(1)? == "0A", fields.nth(5)?);
        let ip = read_ip(ip)?;
        let is_it = u16::from_str_radix(port, 16).ok()? == address.port()
            && (ip.is_unspecified() || ip == address.ip());
        (is_listening && is_it).then_some(inode)
    })
}

/// Words of 32 bits in hexadecimal, each in the byte order of the machine.
fn read_ip(text: &str) -> Option<IpAddr> {
    let words = (0..text.len()).step_by(8).map(|at| u32::from_str_radix(text.get(at..at + 8)?, 16).ok());
    let bytes: Vec<u8> =
        words.collect::<Option<Vec<u32>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn this_process_is_found_by_the_port_it_listens_at() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(processes(address), [std::process::id()]);
        drop(listener);
        assert!(processes(address).is_empty());
    }

    #[test]
    fn who_listens_at_all_addresses_listens_at_each() {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(processes(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)), [std::process::id()]);
    }

    #[test]
    fn another_machine_has_no_process_here() {
        assert!(processes("192.0.2.1:80".parse().unwrap()).is_empty());
    }
}
