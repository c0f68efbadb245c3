//! One run, from the first connection to the verdict.

use crate::error::Error;
use crate::measured::Measured;
use crate::plan::Plan;
use crate::progress::Progress;

/// Measures. `look` is called a few times a second meanwhile, on the calling thread, which blocks until all is measured.
pub fn run(plan: &Plan, look: &mut dyn FnMut(&Progress)) -> Result<Measured, Error> {
    plan.check()?;
    let _ = look;
    Err(Error::Plan("not measured yet".to_owned()))
}
