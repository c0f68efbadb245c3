//! `docs/metrics.md`, made of the table of metrics.

use super::families::{Family, Kind, SECTIONS};

/// The page.
fn reference() -> String {
    let mut page = String::from(HEAD);
    for (title, introduction, families) in SECTIONS {
        page.push_str(&format!(
            "\n## {title}\n\n{introduction}\n\n| metric | type | label | what it says |\n|---|---|---|---|\n"
        ));
        families.iter().for_each(|family| page.push_str(&row(family)));
    }
    page
}

fn row(family: &Family) -> String {
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let label = family.label.map(|label| format!("`{label}`")).unwrap_or_default();
    format!("| `{}` | {kind} | {label} | {} |\n", family.name, family.help.replace('|', "\\|"))
}

const HEAD: &str = "# Metrics

`GET /metrics` on the admin listener (`127.0.0.1:9090` unless `admin_listen` says otherwise) shows what a node does and holds:
in OpenMetrics where the request's `Accept` names it, as Prometheus does, and in Prometheus' older text format otherwise.

```sh dev
curl -s http://127.0.0.1:8080/metrics                       # as in dev mode, which has one listener
```

- Units are seconds and bytes. What only rises ends in `_total` and begins anew with the process: use `rate()` or `increase()`.
- No label holds what somebody else chooses (a channel, a user, an address), so the number of series is fixed: some three
  hundred a node, however many clients there are. Who exactly is slow or refused stands in the console and in the log.
- A family about something that a node does not have (Redis, TLS, a key set, a bridge) is not there.
- Names may still change between minor versions; what changes stands in `CHANGELOG.md`.

`ops/prometheus/prometheus.yml` is a configuration to start from, `ops/prometheus/alerts.yml` has alerts, each with an entry in
the [runbook](operations.md#alerts), and `ops/grafana/tidewire.json` is a dashboard.

This page is generated from the table of metrics.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reference::assert_written;

    #[test]
    fn the_reference_of_metrics_says_what_the_table_says() {
        assert_written("docs/metrics.md", &reference());
    }
}
