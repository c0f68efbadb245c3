//! The sequencer, driven by hand: no sockets, no tasks, and every report is a line of the test.

mod coming_in;
mod hearing;
mod publishing;
mod reading;
mod rig;
