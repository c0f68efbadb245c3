//! The terminal: taken, drawn on, listened to, and given back as it was however this ends.

use std::io::{self, IsTerminal as _};
use std::mem::ManuallyDrop;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::exit::Failure;

use super::console::Console;
use super::draw::draw;
use super::state::{News, Pressed, State, Wanted};
use super::watch::{NEWS_MAX, figures, lists, ticks};

/// Keys that wait to be taken.
const KEYS_MAX: usize = 64;

/// Whether there is a screen to draw on and somebody at the keys. A dumb terminal has lines and no screen.
pub(super) fn is_there() -> bool {
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stdout().is_terminal() && io::stdin().is_terminal() && !is_dumb
}

/// Shows a console until somebody has seen enough.
///
/// # Errors
/// The console does not let us in any more, or the terminal is gone.
pub(super) async fn show(console: &Console, mut state: State) -> Result<(), Failure> {
    // A panic gives it back, too: the hook that comes with it does so before the panic is told.
    let mut screen = Screen::take()?;
    let (told, mut news) = mpsc::channel(NEWS_MAX);
    let (wants, mut wanted) = watch::channel(state.wanted());
    // All in one task: what panics in it unwinds through the screen.
    tokio::select! {
        outcome = figures(console, &told) => outcome,
        () = lists(console, &mut wanted, &told) => Ok(()),
        outcome = screen.follow(&mut state, &mut news, &wants) => outcome,
    }
}

/// Never dropped as ratatui does it, which complains to standard error where the terminal is gone, and panics where that is the
/// same terminal.
struct Screen(ManuallyDrop<DefaultTerminal>);

impl Screen {
    fn take() -> Result<Screen, Failure> {
        ratatui::try_init()
            .map(|terminal| Screen(ManuallyDrop::new(terminal)))
            .map_err(|error| broken(&error))
    }

    async fn follow(
        &mut self,
        state: &mut State,
        news: &mut mpsc::Receiver<News>,
        wants: &watch::Sender<Wanted>,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let now_ms = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut keys = keys();
        let mut ticks = ticks();
        let mut ended = std::pin::pin!(ended());
        loop {
            state.tick(now_ms());
            self.draw(state)?;
            tokio::select! {
                () = &mut ended => return Ok(()),
                _ = ticks.tick() => {}
                some = news.recv() => {
                    let Some(some) = some else { return Ok(()) };
                    state.hear(some, now_ms());
                }
                event = keys.recv() => match event {
                    Some(Ok(event)) => if press(state, &event) == Pressed::Quit { return Ok(()) },
                    // The terminal is gone, and nobody is left to tell.
                    Some(Err(_)) | None => return Err(Failure::OutputClosed),
                }
            }
            // Everything that waits is one picture.
            while let Ok(some) = news.try_recv() {
                state.hear(some, now_ms());
            }
            wants.send_if_modified(|wanted| {
                let now = state.wanted();
                let is_new = !state.is_typing && *wanted != now;
                if is_new {
                    *wanted = now;
                }
                is_new
            });
        }
    }

    fn draw(&mut self, state: &mut State) -> Result<(), Failure> {
        let mut selected = state.selected;
        let drawn = self.0.draw(|frame| selected = draw(state, frame.area(), frame.buffer_mut()));
        state.selected = selected;
        drawn.map(|_| ()).map_err(|_| Failure::OutputClosed)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.0.show_cursor();
        let _ = ratatui::try_restore();
    }
}

fn press(state: &mut State, event: &Event) -> Pressed {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => {
            if key.modifiers.contains(KeyModifiers::CONTROL) {
                return if key.code == KeyCode::Char('c') { Pressed::Quit } else { Pressed::Nothing };
            }
            state.press(key.code)
        }
        // A terminal of another size is drawn anew with what follows.
        _ => Pressed::Nothing,
    }
}

/// Keys, read by a thread of their own: a terminal is not waited for like a socket everywhere.
fn keys() -> mpsc::Receiver<io::Result<Event>> {
    let (typed, keys) = mpsc::channel(KEYS_MAX);
    std::thread::spawn(move || {
        loop {
            // With a bound, so that the thread ends soon after whoever listens has left.
            let event = match event::poll(Duration::from_millis(500)) {
                Ok(false) if typed.is_closed() => return,
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            let is_over = event.is_err();
            if typed.blocking_send(event).is_err() || is_over {
                return;
            }
        }
    });
    keys
}

/// Resolves when somebody asks the process to end; from its first poll on nothing else ends it. Ctrl-C is a key on a screen.
#[cfg(unix)]
pub(super) async fn ended() {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit()];
    let mut signals: Vec<_> = kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect();
    if signals.is_empty() {
        return std::future::pending().await;
    }
    futures_util::future::select_all(signals.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
}

#[cfg(not(unix))]
pub(super) async fn ended() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

fn broken(error: &io::Error) -> Failure {
    Failure::Runtime(format!("the terminal cannot be had: {error}"))
}
