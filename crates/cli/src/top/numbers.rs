//! Numbers as people read them at a glance: few characters, and a unit wherever there is one.

/// A count: `1 204`, and from a hundred thousand on `120k`, `3.4M`.
pub(super) fn count(number: u64) -> String {
    match number {
        0..100_000 => {
            let (thousands, rest) = (number / 1_000, number % 1_000);
            if thousands == 0 { rest.to_string() } else { format!("{thousands} {rest:03}") }
        }
        100_000..999_500 => format!("{}k", (number + 500) / 1_000),
        _ => {
            let millions = number as f64 / 1e6;
            if millions < 999.5 {
                format!("{}M", digits(millions))
            } else {
                format!("{}G", digits(millions / 1e3))
            }
        }
    }
}

/// What happens in a second: `0.4`, `12`, `1 204`.
pub(super) fn rate(number: f64) -> String {
    let number = if number.is_finite() { number.max(0.0) } else { 0.0 };
    if number > 0.0 && number < 9.95 { format!("{number:.1}") } else { count(number.round() as u64) }
}

/// A share of one core: `34 %`.
pub(super) fn percent(number: f64) -> String {
    format!("{} %", count(if number.is_finite() { number.round() as u64 } else { 0 }))
}

/// `812 B`, `8.2 KiB`, `82 MiB`.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut size, mut unit) = (number as f64, 0);
    while size >= 999.5 && unit + 1 < UNITS.len() {
        (size, unit) = (size / 1_024.0, unit + 1);
    }
    if unit == 0 { format!("{number} B") } else { format!("{} {}", digits(size), UNITS[unit]) }
}

/// How long, by its largest unit or two: `12 s`, `3 min 5 s`, `3 h 12 min`, `5 d 4 h`.
pub(super) fn span(ms: u64) -> String {
    let s = ms / 1_000;
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} min {} s", s / 60, s % 60),
        3_600..86_400 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
    }
}

/// How long, by its largest unit alone, for a narrow column: `12 s`, `3 min`, `5 d`.
pub(super) fn age(ms: u64) -> String {
    let s = ms / 1_000;
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} min", s / 60),
        3_600..172_800 => format!("{} h", s / 3_600),
        _ => format!("{} d", s / 86_400),
    }
}

/// Microseconds: `90 µs`, `4.1 ms`, `1.2 s`.
pub(super) fn micros(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{} ms", digits(us as f64 / 1e3)),
        _ => format!("{} s", digits(us as f64 / 1e6)),
    }
}

/// How much more or less: `+12`, `-3`, and nothing where nothing has changed.
pub(super) fn change(by: i64) -> String {
    match by {
        0 => String::new(),
        1.. => format!("+{}", count(by.unsigned_abs())),
        _ => format!("-{}", count(by.unsigned_abs())),
    }
}

/// `3 nodes`, `1 node`.
pub(super) fn plural(number: u64, one: &str) -> String {
    format!("{} {one}{}", count(number), if number == 1 { "" } else { "s" })
}

fn digits(number: f64) -> String {
    if number < 9.95 { format!("{number:.1}") } else { format!("{number:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_never_longer_than_its_column() {
        for (number, shown) in [
            (0, "0"),
            (999, "999"),
            (1_004, "1 004"),
            (99_999, "99 999"),
            (100_000, "100k"),
            (999_499, "999k"),
            (999_500, "1.0M"),
            (12_345_678, "12M"),
            (4_000_000_000, "4.0G"),
        ] {
            assert_eq!(count(number), shown);
        }
        assert_eq!(
            [0.0, 0.04, 0.4, 9.94, 9.96, 1_204.4].map(rate),
            ["0", "0.0", "0.4", "9.9", "10", "1 204"]
        );
        assert_eq!(rate(f64::NAN), "0");
        assert_eq!([34.2, -1.0, 1e308, f64::INFINITY].map(percent), ["34 %", "0 %", "18446744074G %", "0 %"]);
        assert_eq!(
            [0, 999, 1_000, 8_400, 85_983_232].map(bytes),
            ["0 B", "999 B", "1.0 KiB", "8.2 KiB", "82 MiB"]
        );
        assert_eq!([90, 1_000, 41_000, 1_200_000].map(micros), ["90 µs", "1.0 ms", "41 ms", "1.2 s"]);
        assert_eq!([12, -3, 0].map(change), ["+12", "-3", ""]);
    }

    #[test]
    fn a_time_has_its_largest_units() {
        let (s, min, h, d) = (1_000, 60_000, 3_600_000, 86_400_000);
        assert_eq!(
            [59 * s, 61 * s, 3 * h + 12 * min, 5 * d + 4 * h].map(span),
            ["59 s", "1 min 1 s", "3 h 12 min", "5 d 4 h"]
        );
        assert_eq!([59 * s, 61 * s, 47 * h, 5 * d].map(age), ["59 s", "1 min", "47 h", "5 d"]);
    }
}
