//! The lookout: whether somebody looks at a console, so that all nodes tell what they do and none does so for nobody.

use std::time::Duration;

use redis::Value;
use tidewire_broker::redis::Aside;

use super::names::Names;

/// How long a look is remembered. Who looks says so every second.
const REMEMBERED: Duration = Duration::from_secs(5);

/// One key in Redis, which is there while somebody looks.
#[derive(Clone, Debug)]
pub struct Lookout {
    aside: Aside,
    key: String,
}

impl Lookout {
    pub(super) fn new(aside: Aside, names: &Names) -> Lookout {
        Lookout { aside, key: names.lookout() }
    }

    /// Says that somebody looks here, or asks whether anybody looks anywhere. Nobody does while Redis is away: nothing
    /// that is told would reach another node.
    pub async fn look(&self, is_watched: bool) -> bool {
        let command = if is_watched {
            let remembered_ms = u64::try_from(REMEMBERED.as_millis()).unwrap_or(u64::MAX);
            redis::cmd("SET").arg(&self.key).arg(1).arg("PX").arg(remembered_ms).to_owned()
        } else {
            redis::cmd("GET").arg(&self.key).to_owned()
        };
        let answer = self.aside.ask(&[command]).await;
        let answer = answer.ok().and_then(|mut answers| answers.pop());
        is_watched || matches!(answer, Some(Value::BulkString(_)))
    }
}
