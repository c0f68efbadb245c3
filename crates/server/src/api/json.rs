//! Bodies that are JSON, and what is said of those that are not as described.

use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tidewire_hub::reason::Reason;

use super::problem::Problem;

/// Reads a body. `what` is what it should be, with its article: `the batch`.
///
/// # Errors
/// `bad_request`, which says where the body differs. It never repeats what stands there: that may be a secret, and the
/// parser would also name types that are nobody's business (security rules S49 and S52).
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let said = error.to_string();
        let differs = match error.classify() {
            // The field is one of ours.
            Category::Data if said.starts_with("missing field") => {
                said.split(" at line ").next().unwrap_or("a field is missing").to_owned()
            }
            Category::Data if said.starts_with("unknown field") => "there is no such field".to_owned(),
            Category::Data => "a value is of another kind than it should be".to_owned(),
            Category::Eof => "it ends too early".to_owned(),
            Category::Syntax | Category::Io => "this is not JSON".to_owned(),
        };
        let detail = format!("{what} is not as described: {differs}, at line {line} column {column}");
        Problem::new(Reason::BadRequest, detail)
    })
}
