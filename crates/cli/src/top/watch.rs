//! Watching: the stream of figures across cuts, and the list that somebody looks at.

use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::backoff::Backoff;
use crate::exit::Failure;
use crate::http::Refused;
use crate::sse::{Event, Events};

use super::console::Console;
use super::said::Figures;
use super::state::{News, Order, View, Wanted};

/// News that wait to be taken. Whoever takes them draws a screen at a time, and takes all that there are.
pub(super) const NEWS_MAX: usize = 64;

/// The most that a node says in one second, many times what it does say.
const FIGURES_BYTES_MAX: usize = 32 << 10;

/// A stream that has been silent for so long is helped out: while Redis is away nothing crosses it.
const SILENCE_MAX: Duration = Duration::from_millis(2_500);

/// The longest wait between two attempts: whoever is on call wants to know at once that it is back.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// From one look at a list to the next.
const LOOK: Duration = Duration::from_secs(2);

/// A look at a crowd costs the node. It gets so many times as long to itself as the look took.
const REST_FACTOR: u32 = 10;

/// Tells figures for as long as the server lets us, across cuts.
///
/// # Errors
/// It does not let us in, or does not any more.
pub(super) async fn figures(console: &Console, news: &mpsc::Sender<News>) -> Result<(), Failure> {
    let mut backoff = Backoff::default();
    loop {
        let cut = match follow(console, news, &mut backoff).await {
            Ok(()) => "the stream ended".to_owned(),
            // The session is over: it is as old as may be, or its server was started again.
            Err(Refused::Refused { status, .. }) if status == 401 => "the session ended".to_owned(),
            Err(refused) if refused.may_pass() => refused.to_string(),
            Err(refused) => return Err(refused.into()),
        };
        let wait = backoff.next().min(WAIT_MAX);
        let again_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        tell(news, News::Cut { why: cut, again_in_ms }).await;
        sleep(wait).await;
        match console.open().await {
            Ok(about) => tell(news, News::Opened(about)).await,
            Err(refused) if refused.may_pass() => {}
            Err(refused) => return Err(refused.into()),
        }
    }
}

async fn follow(console: &Console, news: &mpsc::Sender<News>, backoff: &mut Backoff) -> Result<(), Refused> {
    let mut body = console.feed().await?.into_body();
    let mut events = Events::default();
    let mut silent_since = Instant::now();
    loop {
        let patience = SILENCE_MAX.saturating_sub(silent_since.elapsed()).max(Duration::from_millis(1));
        let frame = timeout(patience, body.frame()).await;
        let Ok(frame) = frame else {
            let figures = console.get::<Figures>("/admin/figures", &[]).await?;
            tell(news, News::Figures { figures: Box::new(figures), asked: true }).await;
            // Again in a second, unless the stream speaks.
            silent_since = Instant::now() - SILENCE_MAX + Duration::from_secs(1);
            continue;
        };
        let Some(frame) = frame else { return Ok(()) };
        let frame = frame.map_err(|error| Refused::Unreachable(format!("the stream broke: {error}")))?;
        let Some(data) = frame.data_ref() else { continue };
        let dispatched = events.push(data);
        let dispatched =
            dispatched.map_err(|endless| Refused::Unreachable(format!("the stream broke: {endless}")))?;
        for figures in dispatched.iter().filter_map(read) {
            silent_since = Instant::now();
            backoff.reset();
            tell(news, News::Figures { figures, asked: false }).await;
        }
    }
}

/// What a node said, unless it is more than one has to say: a thousand nodes are remembered.
fn read(event: &Event) -> Option<Box<Figures>> {
    let is_one = event.kind == "figures" && event.data.len() <= FIGURES_BYTES_MAX;
    is_one.then(|| serde_json::from_str(&event.data).ok()).flatten()
}

/// Asks for the list that is wanted, for ever.
pub(super) async fn lists(
    console: &Console,
    wanted: &mut watch::Receiver<Wanted>,
    news: &mpsc::Sender<News>,
) {
    loop {
        let asked = wanted.borrow_and_update().clone();
        let began = Instant::now();
        let found = list(console, &asked).await;
        let rest = LOOK.max(began.elapsed() * REST_FACTOR);
        if let Some(found) = found {
            tell(news, found).await;
        }
        tokio::select! {
            () = sleep(rest) => {}
            changed = wanted.changed() => if changed.is_err() { return },
        }
    }
}

/// One look at a list.
pub(super) async fn list(console: &Console, Wanted { view, order, filter }: &Wanted) -> Option<News> {
    let words = |refused: Refused| refused.to_string();
    Some(match view {
        View::Nodes => return None,
        View::Channels => {
            let order = match order {
                Order::Subscribers => "subscribers",
                Order::Name => "name",
                _ => "placed",
            };
            News::Channels(
                console.get("/admin/channels", &[("search", filter), ("order", order)]).await.map_err(words),
            )
        }
        View::Connections => {
            let query = [("find", filter.as_str()), ("order", "backlog")];
            News::Connections(console.get("/admin/connections", &query).await.map_err(words))
        }
        View::Refusals => News::Refusals(console.get("/admin/refusals", &[]).await.map_err(words)),
    })
}

/// Ticks for clocks that show how time passes.
pub(super) fn ticks() -> tokio::time::Interval {
    let mut ticks = interval(Duration::from_millis(250));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

async fn tell(news: &mpsc::Sender<News>, what: News) {
    // Whoever listens has left, and we are about to.
    let _ = news.send(what).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_node_would_say_is_not_remembered() {
        let said = |kind: &str, names: usize| {
            let gaps: Vec<String> = (0..names).map(|name| format!(r#""{name}":1"#)).collect();
            let data = format!(r#"{{"node":"a:1-1","gaps":{{{}}}}}"#, gaps.join(","));
            read(&Event { kind: kind.into(), data })
        };
        assert_eq!(said("figures", 20).map(|figures| figures.gaps.len()), Some(20));
        assert_eq!(said("figures", 100_000), None);
        assert_eq!(said("other", 1), None);
        assert_eq!(read(&Event { kind: "figures".into(), data: "[]x".into() }), None);
    }
}
