//! The comparison as one HTML file that needs nothing else: style and charts are in it, there is no script, and it
//! prints.

use super::chart::{self, Bar, Mark, Range, escape};
use super::date::date;
use super::sheet::{self, Sheet};
use tidewire_compare::case::{Case, work_out};
use tidewire_compare::comparison::Comparison;
use tidewire_compare::measurement::{Measurement, Transport};
use tidewire_compare::numbers::{bandwidth, bytes, count, list, plural, time_ms, time_us};
use tidewire_compare::verdict::{Reason, Verdict, judge};

const STYLE: &str = include_str!("report.css");

/// The whole file.
pub(crate) fn page(comparison: &Comparison) -> String {
    let mut body = header(comparison);
    let rates = comparison.rates();
    for &rate in &rates {
        let verdict = judge(comparison, rate);
        body.push_str(&verdict_section(&verdict));
        body.push_str(&case_section(&work_out(comparison, rate), &verdict));
        body.push_str(&measured_section(comparison, rate, &verdict));
    }
    body.push_str(&method(comparison));
    let title = "Tidewire: short polling, long polling, SSE and WebSocket compared";
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
{STYLE}</style>
</head>
<body>
{body}</body>
</html>
"#
    )
}

fn header(comparison: &Comparison) -> String {
    let setting = &comparison.setting;
    let server = setting.url.as_deref().unwrap_or("one of its own, fresh for each run");
    let crowds: Vec<String> = {
        let mut crowds: Vec<u64> = comparison.runs.iter().map(|run| run.clients).collect();
        crowds.sort_unstable();
        crowds.dedup();
        crowds.iter().map(|clients| count(*clients as f64)).collect()
    };
    let rates: Vec<String> = comparison.rates().iter().map(|rate| count(*rate)).collect();
    let facts = [
        ("Server", server.to_owned()),
        ("Clients", list(&crowds)),
        ("Messages a second", list(&rates)),
        ("Payload", bytes(setting.size as f64)),
        ("Polls every", time_ms(setting.poll_interval_s * 1e3)),
        ("Each run", format!("{}, {}", plural(setting.seconds, "second"), plural(setting.rounds, "round"))),
        ("Machine", setting.machine.clone()),
        ("Measured", format!("{} by {}", date(setting.began_s), setting.version)),
    ];
    let facts: String = facts
        .iter()
        .map(|(name, fact)| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", text(fact)))
        .collect();
    format!(
        r#"<header>
<svg class="mark" viewBox="0 0 24 24" aria-hidden="true"><path d="M2 8.5c3.3-4 6.7-4 10 0s6.7 4 10 0M2 16c3.3-4 6.7-4 10 0s6.7 4 10 0"/></svg>
<h1>Four ways to reach a browser, measured side by side</h1>
<dl class="facts">
{facts}</dl>
</header>
"#
    )
}

fn verdict_section(verdict: &Verdict) -> String {
    let paragraphs = |reasons: &[Reason]| -> String {
        reasons
            .iter()
            .map(|reason| format!("<div><dt>{}</dt><dd>{}</dd></div>\n", reason.about, text(&reason.text)))
            .collect()
    };
    let mut section = format!(
        "<section class=\"verdict\">\n<h2>Verdict <small>{}</small></h2>\n<p class=\"headline\">{}</p>\n",
        text(&verdict.scene()),
        text(&verdict.headline)
    );
    if !verdict.reasons.is_empty() {
        section.push_str(&format!("<dl class=\"reasons\">\n{}</dl>\n", paragraphs(&verdict.reasons)));
    }
    if !verdict.otherwise.is_empty() {
        section.push_str(&format!(
            "<h3>When another choice is right</h3>\n<dl class=\"reasons\">\n{}</dl>\n",
            paragraphs(&verdict.otherwise)
        ));
    }
    if !verdict.unjudged.is_empty() {
        let items: String = verdict.unjudged.iter().map(|why| format!("<li>{}</li>\n", text(why))).collect();
        section.push_str(&format!("<h3>Not judged</h3>\n<ul class=\"doubts\">\n{items}</ul>\n"));
    }
    section.push_str("</section>\n");
    section
}

fn case_section(case: &Case, verdict: &Verdict) -> String {
    if case.rows.is_empty() {
        return String::new();
    }
    let all_measured = case.rows.iter().all(|row| row.is_measured(case));
    let kind = if all_measured { "measured" } else { "worked out" };
    let bar = |transport: Transport, value: f64, text: String| Bar {
        name: transport.title(),
        value,
        text,
        mark: mark(verdict, transport, false),
    };
    let mut charts = String::new();
    let rows = || case.rows.iter();
    let mut chart = |title: &str, bars: Vec<Bar>| {
        if !bars.is_empty() {
            charts.push_str(&chart::bars(title, &bars));
        }
    };
    chart(
        "Requests a second",
        rows().map(|row| bar(row.transport, row.requests_per_s, count(row.requests_per_s))).collect(),
    );
    chart(
        "Cores of the server",
        rows().filter_map(|row| Some(bar(row.transport, row.cores?, count(row.cores?)))).collect(),
    );
    chart(
        "Age of a message, on average",
        rows().map(|row| bar(row.transport, row.age_ms, time_ms(row.age_ms))).collect(),
    );
    chart(
        "Bandwidth up",
        rows().map(|row| bar(row.transport, row.up_bytes_per_s, bandwidth(row.up_bytes_per_s))).collect(),
    );
    chart(
        "Bandwidth down",
        rows().map(|row| bar(row.transport, row.down_bytes_per_s, bandwidth(row.down_bytes_per_s))).collect(),
    );
    chart(
        "Memory of the server",
        rows().filter_map(|row| Some(bar(row.transport, row.memory?, bytes(row.memory?)))).collect(),
    );
    format!(
        "<section>\n<h2>{} <small class=\"kind\">{kind}</small></h2>\n<div class=\"charts\">\n{charts}</div>\n{}</section>\n",
        text(&sheet::case_title(case)),
        table(&sheet::worked_out(case), false)
    )
}

fn measured_section(comparison: &Comparison, rate: f64, verdict: &Verdict) -> String {
    let scene = comparison.scene(rate, verdict.clients);
    let mut section = format!(
        "<section>\n<h2>{} <small class=\"kind\">measured</small></h2>\n<div class=\"charts\">\n{}</div>\n",
        text(&verdict.scene()),
        charts(&scene, verdict)
    );
    for clients in comparison.crowds(rate) {
        section.push_str(&table(&sheet::measured(&comparison.scene(rate, clients)), true));
    }
    section.push_str("</section>\n");
    section
}

fn charts(scene: &[&Measurement], verdict: &Verdict) -> String {
    let marked = |run: &Measurement| mark(verdict, run.transport, run.doubt().is_some());
    let bars = |title: &str, value: &dyn Fn(&Measurement) -> Option<f64>, text: &dyn Fn(f64) -> String| {
        let bars: Vec<Bar> = scene
            .iter()
            .filter_map(|run| {
                let value = value(run)?;
                Some(Bar { name: run.transport.title(), value, text: text(value), mark: marked(run) })
            })
            .collect();
        if bars.is_empty() { String::new() } else { chart::bars(title, &bars) }
    };
    let ranges: Vec<Range> = scene
        .iter()
        .filter_map(|run| {
            let latency = run.latency?;
            let (p50_ms, p99_ms) = (latency.p50_ms, latency.p99_ms);
            Some(Range { name: run.transport.title(), p50_ms, p99_ms, mark: marked(run) })
        })
        .collect();
    [
        chart::ranges("Latency, from p50 to p99", &ranges),
        bars("Server CPU, a message", &Measurement::cpu_us_per_message, &time_us),
        bars("Requests a second", &|run| Some(run.requests_per_s()), &count),
        bars("Bytes up, a message", &Measurement::up_per_message, &bytes),
        bars("Bytes down, a message", &Measurement::down_per_message, &bytes),
        bars("Memory of the server, a client", &Measurement::memory_per_client, &bytes),
    ]
    .concat()
}

fn mark(verdict: &Verdict, transport: Transport, doubtful: bool) -> Mark {
    match (doubtful, verdict.pick.contains(&transport)) {
        (true, _) => Mark::Doubtful,
        (false, true) => Mark::Pick,
        (false, false) => Mark::Plain,
    }
}

fn table(sheet: &Sheet, titled: bool) -> String {
    let caption = if titled { format!("<caption>{}</caption>", text(&sheet.title)) } else { String::new() };
    let heads: String = sheet
        .transports
        .iter()
        .map(|transport| format!("<th scope=\"col\">{}</th>", transport.title()))
        .collect();
    let lines: String = sheet
        .lines
        .iter()
        .map(|line| {
            let cells: String = line.cells.iter().map(|cell| format!("<td>{}</td>", text(cell))).collect();
            format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", line.name)
        })
        .collect();
    let notes: String =
        sheet.notes.iter().map(|note| format!("<p class=\"note\">{}</p>\n", text(note))).collect();
    format!(
        "<div class=\"table\"><table>{caption}<thead><tr><td></td>{heads}</tr></thead><tbody>\n{lines}</tbody></table></div>\n{notes}"
    )
}

fn method(comparison: &Comparison) -> String {
    let setting = &comparison.setting;
    let heads = if setting.head_bytes == 0 {
        "Requests have the shortest head that works; a browser's has some hundred bytes more, each time it asks.".to_owned()
    } else {
        format!(
            "Each request's head has {} more than it must, which is about what a browser adds.",
            bytes(setting.head_bytes as f64)
        )
    };
    let points = [
        "One process publishes to one channel on a schedule that waits for nobody, and is every client of it. Runs follow each other, so that no two share the machine.".to_owned(),
        "Latency runs from when a message should have left to when a client had it: a late publish counts, and a message that never came counts as never.".to_owned(),
        format!("Bytes are counted at the clients' sockets, heads of HTTP included, TCP's own left out. A stream is asked for before the clock starts. {heads}"),
        "CPU is that of all the server's threads, publishing included. Memory is the server's proportional set size with all clients there, less that without them; what the kernel holds for connections is not in it.".to_owned(),
        "Every message is numbered, and every client is held to having seen each one once and in order. A run in which one was missing, came twice, or was cut off is shown and not judged, and neither is one in which the generator used more than 85 % of a core or sent most messages late.".to_owned(),
        rounds(setting.rounds),
        "What is called worked out was not measured: it is what a smaller crowd took, multiplied.".to_owned(),
    ];
    let points: String = points.iter().map(|point| format!("<li>{}</li>\n", text(point))).collect();
    format!(
        "<section>\n<h2>How this was measured</h2>\n<ul>\n{points}</ul>\n<p>To do it again: <code>{}</code></p>\n</section>\n",
        escape(&setting.command)
    )
}

fn rounds(rounds: u64) -> String {
    if rounds == 1 {
        return "Each was measured once. Differences in cost of less than a third are taken for noise; --rounds 3 tells finer ones.".into();
    }
    format!(
        "Each was measured {} times in turn, and figures are medians. One costs less than another where its worst round is better than the other's best.",
        count(rounds as f64)
    )
}

/// Escaped, and with a number kept in one piece.
fn text(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    let mut rest = escape(words).chars().collect::<Vec<char>>().into_iter().peekable();
    let mut before = ' ';
    while let Some(char) = rest.next() {
        let joins =
            char == ' ' && before.is_ascii_digit() && rest.peek().is_some_and(|next| !next.is_whitespace());
        out.push(if joins { '\u{a0}' } else { char });
        before = char;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_compare::sample::compared;

    /// Every tag that is opened is closed, in order.
    fn check_nesting(html: &str) {
        let mut open: Vec<&str> = Vec::new();
        let mut rest = html;
        while let Some(start) = rest.find('<') {
            let end = start + rest[start..].find('>').unwrap();
            let tag = &rest[start + 1..end];
            rest = &rest[end + 1..];
            let name = tag.split(|char: char| char.is_whitespace()).next().unwrap().trim_end_matches('/');
            if let Some(name) = name.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "{tag}");
            } else if !tag.ends_with('/') && !["!doctype", "meta"].contains(&name) {
                open.push(name);
            }
            if name == "style" {
                rest = &rest[rest.find("</style>").unwrap()..];
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn the_file_needs_nothing_else_and_runs_nothing() {
        let mut comparison = compared(&[100, 1_000]);
        comparison.setting.url = Some("//127.0.0.1:8080/<script>alert(1)</script>".into());
        let html = page(&comparison);
        check_nesting(&html);
        for forbidden in
            ["http://", "https://", "<script", "<link", "<img", "@import", "url(", "javascript:", " on"]
        {
            let found = html.match_indices(forbidden).find(|(at, _)| {
                // A handler is an attribute: ` on…=` within a tag.
                forbidden != " on"
                    || html[*at..].split(['>', ' ']).nth(1).is_some_and(|word| word.contains("=\""))
            });
            assert!(found.is_none(), "{forbidden}");
        }
        assert!(html.contains("&lt;script&gt;alert(1)"));
        assert!(html.contains("prefers-color-scheme: dark") && html.contains("@media print"));
    }

    #[test]
    fn the_report_says_what_was_measured_what_was_worked_out_and_what_is_not_judged() {
        let mut comparison = compared(&[100, 1_000]);
        for run in comparison.runs.iter_mut().filter(|run| run.transport == Transport::Ws) {
            run.faults.lost = 4;
        }
        let html = page(&comparison);
        for part in [
            "<small class=\"kind\">measured</small>",
            "<small class=\"kind\">worked out</small>",
            "WebSocket with 1\u{a0}000\u{a0}clients: 4\u{a0}lost",
            "10\u{a0}000\u{a0}clients, a message a second, a poll every 5\u{a0}s",
            "class=\"doubtful\"",
            "class=\"pick\"",
            "How this was measured",
        ] {
            assert!(html.contains(part), "{part}");
        }
        assert_eq!(html.matches("<svg").count(), 1 + 6 + 6);
    }

    #[test]
    fn without_a_sound_run_there_is_a_report_all_the_same() {
        let mut comparison = compared(&[100]);
        comparison.runs.iter_mut().for_each(|run| {
            run.deliveries = 0;
            run.latency = None;
            run.server = None;
        });
        let html = page(&comparison);
        check_nesting(&html);
        assert!(html.contains("No verdict") && !html.contains("worked out</small>"));
    }
}
