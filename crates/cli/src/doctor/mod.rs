//! `tidewire doctor URL`: what is wrong on the way to a server, in which box, and the line to change.
//!
//! ```text
//!  examine.rs     checks/*.rs            finding.rs         remedy.rs           report.rs
//!  in which  ──▶  measure, then judge ──▶ Verdict, Finding ──▶ lines to change ──▶ text or JSON
//!  order          (route.rs, stream.rs)   (a closed list)     (fronts.rs: whose)
//! ```
//!
//! Each check measures with sockets and a clock, and then judges: a pure function over what was measured, which its unit
//! tests feed. What can be found is one closed list, [`finding::Code`]; what to write into which file is one table,
//! [`remedy`].

mod args;
mod checks;
mod examine;
mod finding;
mod fronts;
mod remedy;
mod report;
mod route;
mod stream;

pub(crate) use args::Doctor;
pub(crate) use examine::run;
