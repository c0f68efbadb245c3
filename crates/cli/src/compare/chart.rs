//! Charts as inline SVG: no script, no colour by its value. Classes name what a mark means, and the style sheet of the
//! report gives it a colour in light, in dark and on paper.

use tidewire_compare::numbers::time_ms;

/// What a mark stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// What the verdict takes.
    Pick,
    Plain,
    /// Measured and not judged.
    Doubtful,
}

/// One row of a bar chart.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub name: &'static str,
    pub value: f64,
    /// The value as people read it.
    pub text: String,
    pub mark: Mark,
}

/// One row of a chart of ranges.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    pub name: &'static str,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub mark: Mark,
}

// In units of the view box: the page stretches it to the width that there is.
const WIDTH: f64 = 300.0;
/// Names stand before it.
const LEFT: f64 = 84.0;
/// Values stand after the longest bar.
const BAR_MAX: f64 = 138.0;
const ROW: f64 = 27.0;

/// Bars from zero on one scale.
pub(crate) fn bars(title: &str, bars: &[Bar]) -> String {
    let most = bars.iter().map(|bar| bar.value).filter(|value| value.is_finite()).fold(0.0, f64::max);
    let mut marks = String::new();
    for (at, bar) in bars.iter().enumerate() {
        let y = ROW * at as f64;
        let share = if most > 0.0 && bar.value.is_finite() { bar.value.max(0.0) / most } else { 0.0 };
        let width = share * BAR_MAX;
        marks.push_str(&format!(
            r#"<text x="0" y="{text_y:.1}">{name}</text><rect class="{class}" x="{LEFT}" y="{bar_y:.1}" width="{width:.1}" height="15"/><text class="value" x="{value_x:.1}" y="{text_y:.1}">{value}</text>"#,
            text_y = y + 17.5,
            bar_y = y + 6.0,
            name = bar.name,
            class = class(bar.mark),
            value_x = LEFT + width + 6.0,
            value = escape(&bar.text),
        ));
    }
    let height = ROW * bars.len() as f64;
    let axis = format!(r#"<path class="axis" d="M{LEFT} 2V{:.1}"/>"#, height - 1.0);
    let words: Vec<String> = bars.iter().map(|bar| format!("{} {}", bar.name, bar.text)).collect();
    figure(title, &words.join(", "), height, &format!("{marks}{axis}"))
}

/// Ranges from p50 (the dot) to p99 (the end) on a scale of powers of ten.
pub(crate) fn ranges(title: &str, ranges: &[Range]) -> String {
    let all = || {
        ranges.iter().flat_map(|range| [range.p50_ms, range.p99_ms]).filter(|ms| ms.is_finite() && *ms > 0.0)
    };
    let (least, most) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    if most == 0.0 {
        return String::new();
    }
    let (from, mut to) = (least.log10().floor(), most.log10().ceil());
    if to <= from {
        to = from + 1.0;
    }
    const RIGHT: f64 = WIDTH - 14.0;
    const RANGE_ROW: f64 = 36.0;
    // Behind the two values below a name.
    const RANGE_LEFT: f64 = 106.0;
    let x = |ms: f64| {
        // What never came stands at the end.
        let place =
            if ms.is_finite() { (ms.max(f64::MIN_POSITIVE).log10() - from) / (to - from) } else { 1.0 };
        RANGE_LEFT + place.clamp(0.0, 1.0) * (RIGHT - RANGE_LEFT)
    };
    let bottom = RANGE_ROW * ranges.len() as f64;
    let mut marks = String::new();
    for power in from as i32..=to as i32 {
        let ms = 10f64.powi(power);
        marks.push_str(&format!(
            r#"<path class="grid" d="M{at:.1} 2V{bottom:.1}"/><text class="tick" x="{at:.1}" y="{y:.1}" text-anchor="middle">{label}</text>"#,
            at = x(ms),
            y = bottom + 14.0,
            label = time_ms(ms),
        ));
    }
    for (at, range) in ranges.iter().enumerate() {
        let y = RANGE_ROW * at as f64 + 18.0;
        let (p50, p99) = (x(range.p50_ms), x(range.p99_ms));
        marks.push_str(&format!(
            r#"<text x="0" y="{name_y:.1}">{name}</text><text class="tick" x="0" y="{value_y:.1}">{low} – {high}</text><path class="range {class}" d="M{p50:.1} {y:.1}H{p99:.1}m0 -5v10"/><circle class="{class}" cx="{p50:.1}" cy="{y:.1}" r="5"/>"#,
            name_y = y - 2.0,
            value_y = y + 11.5,
            name = range.name,
            low = time_ms(range.p50_ms),
            high = time_ms(range.p99_ms),
            class = class(range.mark),
        ));
    }
    let words: Vec<String> = ranges
        .iter()
        .map(|range| format!("{} {} to {}", range.name, time_ms(range.p50_ms), time_ms(range.p99_ms)))
        .collect();
    figure(title, &words.join(", "), bottom + 20.0, &marks)
}

/// Text inside HTML and SVG. Nothing that was typed or read from a machine is markup.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            char => escaped.push(char),
        }
    }
    escaped
}

fn figure(title: &str, words: &str, height: f64, marks: &str) -> String {
    let title = escape(title);
    let words = escape(words);
    format!(
        r#"<figure><figcaption>{title}</figcaption><svg viewBox="0 0 {WIDTH} {height:.0}" role="img" aria-label="{title}: {words}">{marks}</svg></figure>
"#
    )
}

fn class(mark: Mark) -> &'static str {
    match mark {
        Mark::Pick => "pick",
        Mark::Plain => "plain",
        Mark::Doubtful => "doubtful",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(value: f64) -> Bar {
        Bar { name: "SSE", value, text: tidewire_compare::numbers::count(value), mark: Mark::Plain }
    }

    #[test]
    fn the_longest_bar_is_as_long_as_there_is_room_and_the_others_in_proportion() {
        let svg = bars("CPU", &[bar(10.0), bar(5.0), bar(0.0), bar(f64::INFINITY)]);
        for width in [r#"width="138.0""#, r#"width="69.0""#, r#"width="0.0""#] {
            assert!(svg.contains(width), "{width}: {svg}");
        }
        assert!(svg.contains("SSE never") && !svg.contains("inf") && !svg.contains("NaN"), "{svg}");
        assert!(bars("nothing", &[bar(0.0)]).contains(r#"width="0.0""#));
    }

    #[test]
    fn ranges_stand_between_powers_of_ten_and_what_never_came_at_the_end() {
        let range = |p50_ms, p99_ms| Range { name: "SSE", p50_ms, p99_ms, mark: Mark::Pick };
        let svg = ranges("Age", &[range(1.0, 10.0), range(2_500.0, f64::INFINITY)]);
        for part in [">1 ms<", ">10 s<", "2.5 s – never", r#"cx="106.0""#, "H286.0"] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        assert_eq!(ranges("Age", &[]), "");
    }

    #[test]
    fn nothing_in_a_text_is_markup() {
        assert_eq!(escape("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
    }
}
