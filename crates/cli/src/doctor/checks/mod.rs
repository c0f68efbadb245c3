//! The checks: each a measurement, and a judgement of it that needs neither socket nor clock.

pub(crate) mod answer;
pub(crate) mod certificate;
pub(crate) mod clock;
pub(crate) mod compression;
pub(crate) mod http2;
pub(crate) mod idle;
pub(crate) mod live;
pub(crate) mod nodes;
pub(crate) mod origin;
pub(crate) mod polls;
pub(crate) mod reach;
pub(crate) mod requests;
pub(crate) mod socket;
