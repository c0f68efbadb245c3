//! Nothing is left behind: threads and descriptors are what they were before, however it ends. A process of its own, since
//! threads of other tests would count.

#![allow(clippy::unwrap_used)] // The words of a test outside its functions; a panic is their report too.

use std::time::{Duration, Instant};

use axum::Router;
use tidewire::{Grant, Tidewire};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[cfg(target_os = "linux")]
#[test]
fn threads_and_descriptors_return_after_a_shutdown_and_after_a_drop() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // What is made once for the whole process is there afterwards.
    runtime.block_on(one_life(false));
    for shuts_down in [true, false, true, false] {
        let before = held();
        runtime.block_on(one_life(shuts_down));
        let since = Instant::now();
        while held() > before {
            assert!(since.elapsed() < Duration::from_secs(10), "{before:?} became {:?}", held());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Starts, serves a stream and a subscriber inside, and ends.
async fn one_life(shuts_down: bool) {
    let live = Tidewire::builder()
        .on_authorize(|_| async { Ok(Grant::to("alice").subscribe(["*"])?) })
        .start()
        .await
        .unwrap();
    let app: Router = Router::new().nest("/live", live.router());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
    let request = format!("GET /live/c/a HTTP/1.1\r\nHost: {at}\r\nAccept: text/event-stream\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains("$ready") {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0);
    }
    let mut subscriber = live.subscribe(["a"]).await.unwrap();
    live.publish("a", "x").await.unwrap();
    assert!(subscriber.next().await.is_some());
    if shuts_down {
        live.shutdown(Duration::from_secs(1)).await;
    }
    server.abort();
    let _ = server.await;
}

/// Threads and descriptors of this process.
#[cfg(target_os = "linux")]
fn held() -> (usize, usize) {
    let count = |of: &str| std::fs::read_dir(format!("/proc/self/{of}")).unwrap().count();
    (count("task"), count("fd"))
}
