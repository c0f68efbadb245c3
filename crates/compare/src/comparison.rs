//! All runs of one comparison, and the setting they have in common.

use serde::Serialize;

use crate::measurement::{Measurement, Transport};

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Of all of them.
    pub setting: Setting,
    /// In the order in which they were taken.
    pub runs: Vec<Measurement>,
}

/// What all runs have in common.
#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    /// Where the server was; `None` for one of our own, a fresh one for each run.
    pub url: Option<String>,
    /// Bytes of each message's payload.
    pub size: usize,
    /// What a short poll waits before it asks again, in seconds.
    pub poll_interval_s: f64,
    /// How long each run was to measure, in seconds.
    pub seconds: u64,
    /// How often each was measured.
    pub rounds: u64,
    /// How many clients the worked case has.
    pub crowd: u64,
    /// Bytes that each request's head has on top of what it must have, as those of a browser do.
    pub head_bytes: usize,
    /// Processor, cores and kernel, as far as they are known.
    pub machine: String,
    /// Which Tidewire measured.
    pub version: String,
    /// When it began, in seconds since 1970.
    pub began_s: u64,
    /// What to type to do it again.
    pub command: String,
}

impl Comparison {
    /// The rates, each once, in the order of the runs.
    pub fn rates(&self) -> Vec<f64> {
        let mut rates: Vec<f64> = Vec::new();
        for run in &self.runs {
            if !rates.contains(&run.rate) {
                rates.push(run.rate);
            }
        }
        rates
    }

    /// How many clients there were at this rate, each number once, the smallest first.
    pub fn crowds(&self, rate: f64) -> Vec<u64> {
        let mut crowds: Vec<u64> = self.at(rate).map(|run| run.clients).collect();
        crowds.sort_unstable();
        crowds.dedup();
        crowds
    }

    /// The runs of one scene: the same clients at the same rate over every transport.
    pub fn scene(&self, rate: f64, clients: u64) -> Vec<&Measurement> {
        self.at(rate).filter(|run| run.clients == clients).collect()
    }

    /// All runs at one rate.
    pub fn at(&self, rate: f64) -> impl Iterator<Item = &Measurement> {
        self.runs.iter().filter(move |run| run.rate == rate)
    }

    /// The crowd to judge at this rate: of those of which most transports can be judged, the largest. None where it would be
    /// one transport beside nothing.
    pub fn judged_crowd(&self, rate: f64) -> Option<u64> {
        let sound = |clients: u64| {
            let scene = self.scene(rate, clients);
            scene.iter().filter(|run| run.doubt().is_none()).count()
        };
        let crowds = self.crowds(rate).into_iter().filter(|clients| sound(*clients) >= 2);
        crowds.max_by_key(|clients| (sound(*clients), *clients))
    }

    /// Whether nothing was lost, repeated, refused, cut or broken in any run.
    pub fn is_clean(&self) -> bool {
        self.runs.iter().all(|run| run.faults.is_clean())
    }
}

/// The run of one transport, if it can be judged.
pub fn sound<'a>(scene: &[&'a Measurement], transport: Transport) -> Option<&'a Measurement> {
    scene.iter().find(|run| run.transport == transport && run.doubt().is_none()).copied()
}
