//! `tidewire pub`: one message from an argument, a file or standard input.

use std::io::Write as _;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use tokio::io::AsyncReadExt as _;

use crate::args::Publish;
use crate::exit::Failure;
use crate::http;
use crate::target::Target;

pub(crate) async fn run(args: Publish) -> Result<(), Failure> {
    let target = Target::of(&args.server)?;
    let payload = payload(&args).await?;
    let kind = if args.binary { "application/octet-stream" } else { "text/plain; charset=utf-8" };
    let path = target.path(&Target::channels(&args.channel), &[]);
    let mut request = http::request(&target, "POST", &path).header("content-type", kind);
    for (name, value) in [("tidewire-event", &args.event), ("idempotency-key", &args.key)] {
        if let Some(value) = value {
            request = request.header(name, value.as_bytes());
        }
    }
    let request = request.body(Full::new(payload));
    let request = request.map_err(|error| Failure::Usage(format!("this cannot be sent: {error}")))?;
    let response = http::send(&target, request).await?;
    if args.json {
        let receipt = response.into_body().collect().await;
        let receipt = receipt
            .map_err(|error| Failure::TryAgain(format!("published, but the receipt broke: {error}")))?;
        let mut out = std::io::stdout().lock();
        let written = out.write_all(&receipt.to_bytes()).and_then(|()| out.write_all(b"\n"));
        return written.map_err(|_| Failure::OutputClosed);
    }
    Ok(())
}

async fn payload(args: &Publish) -> Result<Bytes, Failure> {
    if let Some(path) = &args.file {
        let read = tokio::fs::read(path).await;
        return read
            .map(Bytes::from)
            .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())));
    }
    match args.data.as_deref() {
        Some(data) if data != "-" => Ok(Bytes::copy_from_slice(data.as_bytes())),
        _ => {
            let mut bytes = Vec::new();
            let read = tokio::io::stdin().read_to_end(&mut bytes).await;
            read.map_err(|error| Failure::Runtime(format!("cannot read standard input: {error}")))?;
            Ok(bytes.into())
        }
    }
}
