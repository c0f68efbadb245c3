//! The moderator: hears the room as everybody does, inside the process, and has a word with who shouts.

use std::time::Duration;

use tidewire::{Cursor, Delivery, Error, Tidewire};

/// How long it waits before it comes back.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Listens until Tidewire shuts down.
pub async fn watch(live: Tidewire) {
    let mut heard = None;
    while let Err(error) = listen(&live, &mut heard).await {
        eprintln!("the room is not moderated: {error}");
        if error.code() == "draining" || !error.is_temporary() {
            return;
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// Listens from where it has `heard` everything. Catching up ends where Redis is away for long, and goes on from there.
async fn listen(live: &Tidewire, heard: &mut Option<Cursor>) -> Result<(), Error> {
    let room = live.subscribe(["room:lobby"]);
    let room = match *heard {
        Some(cursor) => room.cursor(cursor),
        None => room,
    };
    let mut room = room.await?;
    while let Some(delivery) = room.next().await {
        moderate(live, delivery).await;
        *heard = room.cursor();
    }
    room.error().cloned().map_or(Ok(()), Err)
}

async fn moderate(live: &Tidewire, delivery: Delivery) {
    match delivery {
        Delivery::Message(message) => {
            let Some((name, text)) = message.text().and_then(|said| said.split_once(": ")) else {
                return;
            };
            println!("{} {name}: {text}", message.channel());
            if is_shouted(text) {
                // A key: of several nodes that hear it, one says so.
                let key = message.id().map_or_else(String::new, |id| format!("shouted-{id}"));
                let word =
                    live.publish(format!("user:{name}"), "Please do not shout.").event("note").key(key);
                if let Err(error) = word.await {
                    eprintln!("{name} was not told: {error}");
                }
            }
        }
        // What was said meanwhile nobody has looked at, and that is worth a line.
        Delivery::Gap(gap) => eprintln!("not everything was heard: {:?}", gap.reason()),
        _ => {}
    }
}

fn is_shouted(text: &str) -> bool {
    text.len() > 3 && text.chars().any(char::is_alphabetic) && !text.chars().any(char::is_lowercase)
}
