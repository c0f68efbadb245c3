//! Exposition: numbers as text, in the format that was asked for.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use tidewire_hub::broker::Value;
use tidewire_hub::histogram::{BOUNDS_US, Observed};

use super::families::{Family, Kind};

/// A format of `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4.
    Text,
}

impl Format {
    /// The format that an `Accept` field asks for: OpenMetrics where that is named and not refused, the text format otherwise,
    /// which everything reads.
    #[must_use]
    pub fn asked_for(accept: &str) -> Format {
        let is_named = accept.split(',').any(|range| {
            let mut words = range.split(';').map(str::trim);
            let is_it =
                words.next().is_some_and(|word| word.eq_ignore_ascii_case("application/openmetrics-text"));
            is_it && !words.any(|word| matches!(word, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        });
        if is_named { Format::OpenMetrics } else { Format::Text }
    }

    /// Its `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// This OpenMetrics text in this format.
    ///
    /// The text format knows no unit and no end, and calls a counter by the name of its samples.
    pub(super) fn of(self, open_metrics: String) -> String {
        if self == Format::OpenMetrics {
            return open_metrics;
        }
        let mut text = String::with_capacity(open_metrics.len());
        let mut help = "";
        for line in open_metrics.lines() {
            if line.starts_with("# HELP ") {
                // Written once the type is known, which the name depends on.
                help = line;
            } else if let Some(described) = line.strip_prefix("# TYPE ") {
                let total = if described.ends_with(" counter") { "_total" } else { "" };
                let (name, kind) = described.rsplit_once(' ').unwrap_or((described, "untyped"));
                let words =
                    help.strip_prefix("# HELP ").and_then(|help| help.strip_prefix(name)).unwrap_or_default();
                text.push_str(&format!("# HELP {name}{total}{words}\n# TYPE {name}{total} {kind}\n"));
            } else if !line.starts_with('#') {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }
}

/// Writes families.
pub(super) struct Exposition<'a>(pub(super) DescriptorEncoder<'a>);

impl Exposition<'_> {
    /// One number.
    pub(super) fn one(&mut self, family: &Family, value: impl Into<Number>) -> fmt::Result {
        self.family(family, |mut encoder| write(&mut encoder, family, value.into()))
    }

    /// A number for each value of the family's label.
    pub(super) fn each<'l>(
        &mut self,
        family: &Family,
        values: impl IntoIterator<Item = (&'l str, u64)>,
    ) -> fmt::Result {
        let label = family.label.unwrap_or("kind");
        self.family(family, |mut encoder| {
            for (value, number) in values {
                write(&mut encoder.encode_family(&[(label, value)])?, family, Number::Whole(number))?;
            }
            Ok(())
        })
    }

    fn family(
        &mut self,
        family: &Family,
        write: impl FnOnce(MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let unit = family.unit().map(|unit| Unit::Other(unit.to_owned()));
        let kind = match family.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        };
        write(self.0.encode_descriptor(family.stem(), family.help, unit.as_ref(), kind)?)
    }
}

/// A number to be written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Whole(u64),
    Seconds(f64),
    Times(Observed),
}

impl From<u64> for Number {
    fn from(number: u64) -> Number {
        Number::Whole(number)
    }
}

impl From<usize> for Number {
    fn from(number: usize) -> Number {
        Number::Whole(number as u64)
    }
}

impl From<f64> for Number {
    fn from(seconds: f64) -> Number {
        Number::Seconds(seconds)
    }
}

impl From<Observed> for Number {
    fn from(observed: Observed) -> Number {
        Number::Times(observed)
    }
}

impl From<Value> for Number {
    fn from(value: Value) -> Number {
        match value {
            Value::Count(number) => Number::Whole(number),
            Value::Micros(micros) => Number::Seconds(seconds(micros)),
            Value::Times(observed) => Number::Times(observed),
        }
    }
}

fn write(encoder: &mut MetricEncoder<'_>, family: &Family, number: Number) -> fmt::Result {
    match (family.kind, number) {
        (Kind::Counter, Number::Whole(number)) => encoder.encode_counter::<NoLabelSet, _, f64>(&number, None),
        (Kind::Counter, Number::Seconds(number)) => {
            encoder.encode_counter::<NoLabelSet, _, f64>(&number, None)
        }
        (Kind::Gauge, Number::Whole(number)) => encoder.encode_gauge(&number),
        (Kind::Gauge, Number::Seconds(number)) => encoder.encode_gauge(&number),
        (_, Number::Times(observed)) => {
            let bounds = BOUNDS_US.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(observed.buckets).collect();
            encoder.encode_histogram::<NoLabelSet>(seconds(observed.sum_us), observed.count(), &buckets, None)
        }
        (Kind::Histogram, Number::Whole(_) | Number::Seconds(_)) => {
            debug_assert!(false, "{} is a histogram", family.name);
            Ok(())
        }
    }
}

/// Microseconds in the unit that metrics have.
pub(super) fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_names_open_metrics_gets_it_and_everybody_else_the_older_text() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::asked_for(prometheus), Format::OpenMetrics);
        for plain in ["", "*/*", "text/plain", "text/plain;version=0.0.4", "application/openmetrics-text;q=0"]
        {
            assert_eq!(Format::asked_for(plain), Format::Text, "{plain}");
        }
    }

    #[test]
    fn the_older_text_calls_a_counter_by_the_name_of_its_samples() {
        let open_metrics = "# HELP a Things.\n# TYPE a counter\na_total 1\n# HELP b_seconds Time.\n# TYPE b_seconds gauge\n\
                            # UNIT b_seconds seconds\nb_seconds 2.5\n# EOF\n";
        let text = "# HELP a_total Things.\n# TYPE a_total counter\na_total 1\n# HELP b_seconds Time.\n\
                    # TYPE b_seconds gauge\nb_seconds 2.5\n";
        assert_eq!(Format::Text.of(open_metrics.to_owned()), text);
        assert_eq!(Format::OpenMetrics.of(open_metrics.to_owned()), open_metrics);
    }
}
