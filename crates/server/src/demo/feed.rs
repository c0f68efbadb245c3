//! The social feed: posts that stay, and how many like them. Everybody sees both at once.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tidewire_hub::reason::Reason;
use tidewire_transport::refusal::Refusal;

use super::answers::{Answer, Asked, brief};
use super::document::Document;
use super::{Demo, store::Store};

/// Where posts and likes are told.
const CHANNEL: &str = "demo-feed";

/// Posts that are kept; the oldest make room.
const POSTS_MAX: usize = 200;

const AUTHOR_CHARS_MAX: usize = 32;
const TEXT_CHARS_MAX: usize = 500;

/// Every post there is, the newest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Posts {
    /// One more with every change: a page that misses one knows it.
    version: u64,
    posts: VecDeque<Post>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Post {
    /// The version that it came with.
    id: u64,
    author: String,
    text: String,
    /// Milliseconds since 1970.
    time: u64,
    likes: u64,
}

/// What is told to everybody, beside the version that it makes.
#[derive(Debug, Serialize)]
struct Told<T> {
    version: u64,
    #[serde(flatten)]
    what: T,
}

#[derive(Debug, Serialize)]
struct Liked {
    id: u64,
    likes: u64,
}

/// What a visitor writes.
#[derive(Deserialize)]
struct Draft {
    author: String,
    text: String,
}

/// Which post a visitor likes.
#[derive(Deserialize)]
struct Like {
    id: u64,
}

/// The posts of the store.
pub(super) fn open(store: &Store) -> Document<Posts> {
    Document::open(store, "feed", Posts::default)
}

/// Below `/demo/api/`.
pub(super) fn routes() -> Router<Arc<Demo>> {
    Router::new()
        .route("/demo/api/feed", get(posts))
        .route("/demo/api/feed/post", post(write))
        .route("/demo/api/feed/like", post(like))
}

async fn posts(State(demo): State<Arc<Demo>>) -> Json<Posts> {
    Json(demo.feed.look().await.clone())
}

async fn write(State(demo): State<Arc<Demo>>, asked: Asked<Draft>) -> Answer<Post> {
    let Draft { author, text } = asked.read()?;
    let (author, text) = (brief(&author, "name", AUTHOR_CHARS_MAX)?, brief(&text, "post", TEXT_CHARS_MAX)?);
    let time = demo.now_ms();
    let (post, posts) = demo.feed.change(|posts| Ok(posts.add(author, text, time))).await?;
    demo.tell(CHANNEL, "post", &Told { version: posts.version, what: &post }).await;
    Ok(Json(post))
}

async fn like(State(demo): State<Arc<Demo>>, asked: Asked<Like>) -> Answer<Liked> {
    let Like { id } = asked.read()?;
    let (liked, posts) = demo.feed.change(|posts| posts.like(id)).await?;
    demo.tell(CHANNEL, "like", &Told { version: posts.version, what: &liked }).await;
    Ok(Json(liked))
}

impl Posts {
    fn add(&mut self, author: String, text: String, time: u64) -> Post {
        self.version += 1;
        let post = Post { id: self.version, author, text, time, likes: 0 };
        self.posts.push_front(post.clone());
        self.posts.truncate(POSTS_MAX);
        post
    }

    fn like(&mut self, id: u64) -> Result<Liked, Refusal> {
        let gone = || Refusal::new(Reason::NotFound, "there is no such post any more");
        let post = self.posts.iter_mut().find(|post| post.id == id).ok_or_else(gone)?;
        post.likes = post.likes.saturating_add(1);
        self.version += 1;
        Ok(Liked { id, likes: post.likes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_post_comes_first_and_the_oldest_makes_room() {
        let mut posts = Posts::default();
        for n in 0..=POSTS_MAX {
            posts.add("Ada".into(), format!("{n}"), 0);
        }
        assert_eq!(posts.posts.len(), POSTS_MAX);
        assert_eq!(posts.posts[0].text, format!("{POSTS_MAX}"));
        assert_eq!(posts.like(1).unwrap_err().reason, Reason::NotFound);
    }

    #[test]
    fn every_change_makes_a_version() {
        let mut posts = Posts::default();
        let id = posts.add("Ada".into(), "tides".into(), 0).id;
        assert_eq!((posts.like(id).unwrap().likes, posts.like(id).unwrap().likes), (1, 2));
        assert_eq!(posts.version, 3);
    }
}
