//! A bar chart as text: SVG that is readable on light and on dark pages, since it brings its own card.

use std::fmt::Write;

use crate::peers::results::digits;
use crate::report::median;

/// One bar: the median, and a whisker from the least to the most.
pub struct Bar {
    /// Beside the bar.
    pub label: String,
    /// One for each round; at least one.
    pub values: Vec<f64>,
    /// Its colour.
    pub tone: Tone,
}

/// Whose bar it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Tidewire's.
    Ours,
    /// The floor's.
    Floor,
    /// Anybody else's.
    Peer,
}

const WIDTH: f64 = 860.0;
const ROW: f64 = 26.0;
const BAR: f64 = 16.0;
const TOP: f64 = 70.0;
const LEFT: f64 = 250.0;
/// Of the longest bar. What is left is for its figure.
const LENGTH: f64 = 490.0;

/// The colours of a light page, and of a dark one.
const STYLE: &str = "\
  .card { fill: #ffffff; stroke: #d0d7de } .text { fill: #1f2328 } .mute { fill: #59636e }
  .ours { fill: #0969da } .floor { fill: #8c959f } .peer { fill: #b6c2cf } .whisker { stroke: #1f2328 } .gap { stroke: #ffffff }
  text { font: 13px system-ui, sans-serif } .title { font-size: 16px; font-weight: 600 } .bold { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .card { fill: #0d1117; stroke: #30363d } .text { fill: #e6edf3 } .mute { fill: #9198a1 }
    .ours { fill: #4493f8 } .floor { fill: #6e7681 } .peer { fill: #3d4f66 } .whisker { stroke: #e6edf3 } .gap { stroke: #0d1117 }
  }
";

/// Draws the bars in their order.
pub fn draw(title: &str, note: &str, bars: &[Bar]) -> String {
    let height = TOP + ROW * bars.len() as f64 + 14.0;
    let end = end_of_axis(bars);
    let (title, note) = (escape(title), escape(note));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
         <rect class=\"card\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\"/>\n\
         <text class=\"title text\" x=\"20\" y=\"30\">{title}</text>\n\
         <text class=\"mute\" x=\"20\" y=\"51\">{note}</text>\n",
        WIDTH - 1.0,
        height - 1.0
    );
    for (index, bar) in bars.iter().enumerate() {
        draw_bar(&mut svg, bar, TOP + ROW * index as f64, end);
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_bar(svg: &mut String, bar: &Bar, top: f64, end: f64) {
    let Some(middle) = median(&bar.values) else { return };
    let at = |value: f64| LENGTH * (value / end).clamp(0.0, 1.0);
    let (tone, weight) = match bar.tone {
        Tone::Ours => ("ours", "bold "),
        Tone::Floor => ("floor", ""),
        Tone::Peer => ("peer", ""),
    };
    let (line, below) = (top + BAR / 2.0, top + BAR);
    let length = at(middle).max(1.5);
    let label = escape(&bar.label);
    let _ = writeln!(
        svg,
        "<text class=\"{weight}text\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{label}</text>\n\
         <rect class=\"{tone}\" x=\"{LEFT}\" y=\"{top}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"2\"/>",
        LEFT - 10.0,
        line + 4.5
    );
    let (least, most) = range(&bar.values);
    let (from, to) = (LEFT + at(least), LEFT + at(most));
    let mut after = LEFT + length;
    if middle > end {
        // The bar is longer than the card has room for: a gap says so.
        let cut = LEFT + LENGTH - 30.0;
        let _ = writeln!(
            svg,
            "<path class=\"gap\" stroke-width=\"4\" fill=\"none\" d=\"M{} {below} L{} {top} M{} {below} L{} {top}\"/>",
            cut - 4.0,
            cut + 4.0,
            cut + 6.0,
            cut + 14.0
        );
    } else if to - from >= 2.0 {
        let _ = writeln!(
            svg,
            "<path class=\"whisker\" fill=\"none\" d=\"M{from:.1} {line} H{to:.1} M{from:.1} {} v8 M{to:.1} {} v8\"/>",
            line - 4.0,
            line - 4.0
        );
        after = after.max(to);
    }
    let _ = writeln!(
        svg,
        "<text class=\"{weight}text\" x=\"{:.1}\" y=\"{}\">{}</text>",
        after + 8.0,
        line + 4.5,
        digits(middle)
    );
}

/// Where the axis ends: at the longest bar, unless a few are so much longer than the rest that these could not be told
/// apart.
fn end_of_axis(bars: &[Bar]) -> f64 {
    let mut medians: Vec<f64> =
        bars.iter().filter_map(|bar| median(&bar.values)).filter(|middle| middle.is_finite()).collect();
    medians.sort_by(f64::total_cmp);
    let (Some(longest), Some(usual)) = (medians.last(), medians.get(medians.len() * 3 / 4)) else {
        return 1.0;
    };
    let room = 2.0 * usual;
    let end = if *longest > 1.25 * room { room } else { *longest };
    if end > 0.0 { end } else { 1.0 }
}

fn range(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    (least, values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars(values: &[&[f64]]) -> Vec<Bar> {
        let bar =
            |values: &&[f64]| Bar { label: "a <b>".to_owned(), values: values.to_vec(), tone: Tone::Peer };
        values.iter().map(bar).collect()
    }

    #[test]
    fn the_longest_bar_ends_the_axis() {
        assert_eq!(end_of_axis(&bars(&[&[1.0], &[2.0], &[4.0]])), 4.0);
    }

    #[test]
    fn a_bar_far_beyond_the_rest_is_cut_and_says_so() {
        let bars = bars(&[&[5.0], &[6.0], &[7.0], &[8.0], &[76.0]]);
        assert_eq!(end_of_axis(&bars), 16.0);
        let svg = draw("CPU", "less is better", &bars);
        assert_eq!(svg.matches("class=\"gap\"").count(), 1);
        assert!(svg.contains(">76.0</text>"));
    }

    #[test]
    fn a_value_that_never_came_is_cut_too() {
        let bars = bars(&[&[5.0], &[f64::INFINITY]]);
        let svg = draw("p99", "less is better", &bars);
        assert!(svg.contains(">never</text>") && !svg.contains("inf") && !svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn labels_cannot_end_an_element_and_rounds_have_a_whisker() {
        let svg = draw("a & b", "", &bars(&[&[1.0, 2.0, 3.0]]));
        assert!(svg.contains("a &lt;b&gt;") && svg.contains("<title>a &amp; b</title>"));
        assert_eq!(svg.matches("class=\"whisker\"").count(), 1);
    }

    #[test]
    fn nothing_to_draw_is_an_empty_card() {
        assert!(draw("empty", "", &[]).ends_with("</svg>\n"));
    }
}
