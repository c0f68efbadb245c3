//! An nginx that only shakes hands, where Tidewire's handshakes are measured beside it.

use std::fs;
use std::io;
use std::net::SocketAddrV4;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::server::{GENERATOR_CORE, SERVER_CORE, free_address};
use crate::sys;
use crate::tls::Identity;
use crate::wire::{Way, Wire};

/// One that answers. Dropping it kills the process.
pub struct Nginx {
    child: Child,
    /// Where it listens.
    pub address: SocketAddrV4,
}

const CONFIGURATION: &str = include_str!("../peers/nginx-tls.conf");
const READY_MAX: Duration = Duration::from_secs(5);

impl Nginx {
    /// Starts Debian's with this key, and waits until it has shaken a hand. What it writes is kept beside the key.
    pub fn start(identity: &Identity, way: &Way, show: bool) -> io::Result<Nginx> {
        let address = free_address()?;
        let fields = [
            ("@ADDRESS@", address.to_string()),
            ("@CERTIFICATE@", identity.certificate().display().to_string()),
            ("@KEY@", identity.key().display().to_string()),
        ];
        let text =
            fields.iter().fold(CONFIGURATION.to_owned(), |text, (field, value)| text.replace(field, value));
        fs::write(identity.folder.join("nginx.conf"), text)?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&identity.folder).args(["-c", "nginx.conf", "-e", "stderr"]);
        // Debian keeps it where only root looks.
        command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        if !show {
            command.stderr(Stdio::null());
        }
        // A child inherits where its parent may run, and keeps it.
        sys::pin_to_core(SERVER_CORE)?;
        let child = command.spawn();
        sys::pin_to_core(GENERATOR_CORE)?;
        let child = child.map_err(|error| {
            let what = format!("cannot start nginx (Debian: apt-get install nginx-light): {error}");
            io::Error::new(error.kind(), what)
        })?;
        let mut nginx = Nginx { child, address };
        let begun = Instant::now();
        while let Err(error) = Wire::connect(address, way, b"http/1.1") {
            if let Some(status) = nginx.child.try_wait()? {
                let what = format!("nginx ended with {status}; --show-server shows what it says");
                return Err(io::Error::other(what));
            }
            if begun.elapsed() > READY_MAX {
                return Err(io::Error::other(format!("nginx does not shake hands: {error}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(nginx)
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
