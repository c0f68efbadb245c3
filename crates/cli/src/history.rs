//! `tidewire history`: what a channel keeps, oldest first.

use bytes::Bytes;
use http_body_util::Full;

use crate::args::History;
use crate::exit::Failure;
use crate::get::{self, Page};
use crate::http;
use crate::show::{Envelope, Show};
use crate::subscribe::Stop;
use crate::target::Target;

pub(crate) async fn run(args: History) -> Result<(), Failure> {
    let target = Target::of(&args.server)?;
    let show = Show::new(args.json);
    let path = Target::channels(&args.channel).replacen("/c/", "/v1/channels/", 1) + "/history";
    let limit = args.limit.map(|limit| limit.to_string());
    // The newest so many, unless it begins at a cursor: then the first so many behind it.
    let mut query: Vec<(&str, String)> = match (args.cursor, limit) {
        (None, Some(limit)) => vec![("tail", limit)],
        (cursor, limit) => {
            let cursor = cursor.unwrap_or_else(|| "earliest".into());
            [("cursor", cursor)].into_iter().chain(limit.map(|limit| ("limit", limit))).collect()
        }
    };
    let bounded = args.limit.is_some();
    loop {
        let pairs: Vec<(&str, &str)> = query.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let Page { messages, cursor, more, gap } = ask(&target, &target.path(&path, &pairs)).await?;
        if let Some(gap) = gap {
            show.gap(&gap)?;
        }
        for message in messages.into_iter().filter_map(Envelope::of) {
            show.message(&message)?;
        }
        if !more || bounded {
            return Ok(());
        }
        query = vec![("cursor", cursor)];
    }
}

async fn ask(target: &Target, path: &str) -> Result<Page, Failure> {
    let request = http::request(target, "GET", path).body(Full::new(Bytes::new()));
    let request = request.map_err(|error| Failure::Usage(format!("this cannot be asked: {error}")))?;
    let response = http::send(target, request).await?;
    get::page(response).await.map_err(|stop| match stop {
        Stop::Cut(why) => Failure::TryAgain(why),
        Stop::Over(outcome) => outcome.err().unwrap_or(Failure::OutputClosed),
    })
}
