//! The comparison: the same messages over short polling, long polling, SSE and WebSocket, side by side on one page.
//!
//! ```text
//!            ┌─▶ proxy ─▶ node   short polling      proxy: bytes counted, connections cut when asked
//!  browser ──┼─▶ proxy ─▶ node   long polling       node:  this binary, a process of its own, so that its CPU and
//!            ├─▶ proxy ─▶ node   SSE                       memory are the transport's
//!            └─▶ proxy ─▶ node   WebSocket          crowd: clients beside the browser's, to charge them to
//!                          ▲ ▲
//!                  publisher crowd
//! ```
//!
//! There is one comparison at a time: who starts another ends the one before. It ends when nobody has looked for a minute,
//! when the node drains, and with the process.

mod crowd;
mod judge;
mod lane;
mod message;
mod proxy;
mod run;

use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tidewire_compare::Transport;
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;
use tokio::sync::{Mutex, MutexGuard};

use super::Demo;
use super::answers::{Answer, Asked};
use run::{Run, Settings};

/// Where figures are told.
const CHANNEL: &str = "demo:compare";

/// The comparison that runs, if one does.
#[derive(Default)]
pub(super) struct Stage(Mutex<Option<Run>>);

/// What a page is told when it starts one.
#[derive(Serialize)]
struct Started {
    run: u64,
    channel: &'static str,
    now_us: u64,
    heartbeat_s: u32,
    clients_max: u32,
    /// Whether the nodes were built to be debugged, and cost more than they would.
    debug: bool,
    settings: Settings,
    lanes: Vec<Front>,
}

#[derive(Serialize)]
struct Front {
    transport: Transport,
    /// Where the browser asks for this lane's messages.
    url: String,
    process: u32,
}

/// What is asked of the run of this number, and of no other.
#[derive(Deserialize)]
struct Of<T> {
    run: u64,
    #[serde(flatten)]
    what: T,
}

#[derive(Deserialize)]
struct Drop {
    seconds: f64,
}

#[derive(Deserialize)]
struct Idle {
    /// How long nothing is published.
    seconds: f64,
    /// How long the proxies bear that.
    patience_s: f64,
}

#[derive(Deserialize)]
struct Nothing {}

#[derive(Serialize)]
struct Now {
    now_us: u64,
}

/// An experiment lasts no longer: whoever waits for it is a person.
const EXPERIMENT_S_MAX: f64 = 120.0;

/// Below `/demo/api/`.
pub(super) fn routes() -> Router<Arc<Demo>> {
    Router::new()
        .route("/demo/api/compare/now", get(now))
        .route("/demo/api/compare/start", post(start))
        .route("/demo/api/compare/set", post(set))
        .route("/demo/api/compare/drop", post(drop_network))
        .route("/demo/api/compare/idle", post(idle))
        .route("/demo/api/compare/stop", post(stop))
        .route("/demo/api/compare/judge", post(judge_scene))
}

async fn now() -> Json<Now> {
    Json(Now { now_us: message::now_us() })
}

async fn start(State(demo): State<Arc<Demo>>, asked: Asked<Settings>) -> Answer<Started> {
    let settings = asked.read()?.checked()?;
    if !demo.is_local {
        let detail = "the comparison starts processes, which other machines may not have this one do; \
                      start the server without --dev-public";
        return Err(Refusal::new(Reason::Forbidden, detail).into());
    }
    let mut stage = demo.compare.claim()?;
    // Before the next one begins: there is room for one.
    *stage = None;
    let run = Run::start(demo.clone(), settings).await.map_err(|error| {
        Refusal::new(Reason::Overloaded, format!("the lanes' nodes cannot be started: {error}"))
    })?;
    let started = Started {
        run: run.number,
        channel: CHANNEL,
        now_us: message::now_us(),
        heartbeat_s: lane::HEARTBEAT_S,
        clients_max: run::CLIENTS_MAX,
        debug: cfg!(debug_assertions),
        settings: run.settings(),
        lanes: run.fronts(),
    };
    *stage = Some(run);
    Ok(Json(started))
}

async fn set(State(demo): State<Arc<Demo>>, asked: Asked<Of<Settings>>) -> Answer<Settings> {
    let Of { run, what } = asked.read()?;
    let settings = what.checked()?;
    let mut stage = demo.compare.of(run).await?;
    Ok(Json(stage.run()?.set(settings)))
}

async fn drop_network(State(demo): State<Arc<Demo>>, asked: Asked<Of<Drop>>) -> Answer<Now> {
    let Of { run, what: Drop { seconds } } = asked.read()?;
    let seconds = brief(seconds)?;
    demo.compare.of(run).await?.run()?.drop_network(seconds);
    Ok(now().await)
}

async fn idle(State(demo): State<Arc<Demo>>, asked: Asked<Of<Idle>>) -> Answer<Now> {
    let Of { run, what: Idle { seconds, patience_s } } = asked.read()?;
    let (seconds, patience) = (brief(seconds)?, brief(patience_s)?);
    demo.compare.of(run).await?.run()?.fall_silent(seconds, patience);
    Ok(now().await)
}

async fn stop(State(demo): State<Arc<Demo>>, asked: Asked<Of<Nothing>>) -> Answer<Now> {
    let Of { run, what: Nothing {} } = asked.read()?;
    *demo.compare.of(run).await?.0 = None;
    Ok(now().await)
}

async fn judge_scene(asked: Asked<judge::Scene>) -> Answer<judge::Judged> {
    Ok(Json(judge::judge(asked.read()?)?))
}

fn brief(seconds: f64) -> Result<std::time::Duration, Refusal> {
    if (0.1..=EXPERIMENT_S_MAX).contains(&seconds) {
        return Ok(std::time::Duration::from_secs_f64(seconds));
    }
    let detail = format!("an experiment takes from 0.1 to {EXPERIMENT_S_MAX} seconds");
    Err(Refusal::new(Reason::BadRequest, detail))
}

/// The stage, while the run that was asked for is on it.
struct OnStage<'s>(MutexGuard<'s, Option<Run>>);

impl OnStage<'_> {
    fn run(&mut self) -> Result<&mut Run, Refusal> {
        self.0.as_mut().ok_or_else(over)
    }
}

impl Stage {
    /// Takes the stage for another run. Nobody waits for whoever is starting one: that takes as long as processes take.
    ///
    /// # Errors
    /// `overloaded` while another one is being started.
    fn claim(&self) -> Result<MutexGuard<'_, Option<Run>>, Refusal> {
        let detail = "another comparison is being started; try again in a moment";
        self.0.try_lock().map_err(|_| Refusal::new(Reason::Overloaded, detail))
    }

    /// Waits for the stage, with the run of this number on it.
    ///
    /// # Errors
    /// `not_found` where it is over.
    async fn of(&self, number: u64) -> Result<OnStage<'_>, Refusal> {
        let stage = self.0.lock().await;
        match &*stage {
            Some(run) if run.number == number => Ok(OnStage(stage)),
            _ => Err(over()),
        }
    }

    /// Ends the run of this number, if it is still the one.
    async fn end(&self, number: u64) {
        if let Ok(mut stage) = self.of(number).await {
            *stage.0 = None;
        }
    }
}

fn over() -> Refusal {
    Refusal::new(Reason::NotFound, "this comparison is over; start another")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_a_comparison_that_somebody_else_starts() {
        let stage = Stage::default();
        let first = stage.claim().unwrap();
        assert_eq!(stage.claim().err().map(|refusal| refusal.reason), Some(Reason::Overloaded));
        drop(first);
        assert!(stage.claim().is_ok());
    }
}
