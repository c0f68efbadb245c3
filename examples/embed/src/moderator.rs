//! The moderator: hears the room as everybody does, inside the process, and has a word with who shouts.

use tidewire::{Delivery, Tidewire};

/// Listens until Tidewire shuts down.
pub async fn watch(live: Tidewire) {
    let mut room = match live.subscribe(["room:lobby"]).await {
        Ok(room) => room,
        Err(error) => return eprintln!("the room is not moderated: {error}"),
    };
    while let Some(delivery) = room.next().await {
        match delivery {
            Delivery::Message(message) => {
                let Some((name, text)) = message.text().and_then(|said| said.split_once(": ")) else {
                    continue;
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
}

fn is_shouted(text: &str) -> bool {
    text.len() > 3 && text.chars().any(char::is_alphabetic) && !text.chars().any(char::is_lowercase)
}
