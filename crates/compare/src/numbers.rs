//! Numbers as people read them: three digits, a unit, and thousands apart.

/// Three digits, or all of those before the point: `0.123`, `1.5`, `12.3`, `12 345`.
pub fn count(value: f64) -> String {
    if !value.is_finite() {
        return "never".into();
    }
    let size = value.abs();
    if size >= 99.95 {
        return grouped(value.round());
    }
    let digits = match size {
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        size if size >= 0.0005 || size == 0.0 => 3,
        // Smaller than what is shown, and yet not nothing.
        _ => return "<0.001".into(),
    };
    let text = format!("{value:.digits$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A share from 0 to 1: `0 %`, `<1 %`, `37 %`, and `100 %` only for all.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        hundredths if hundredths > 0.0 && hundredths < 1.0 => "<1 %".into(),
        hundredths if hundredths > 99.0 && hundredths < 100.0 => ">99 %".into(),
        hundredths => format!("{} %", grouped(hundredths.round())),
    }
}

/// Bytes in memory and on the wire: `128 B`, `1.5 KiB`.
pub fn bytes(value: f64) -> String {
    unit(value, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// Bandwidth, from bytes a second: `800 bit/s`, `1.28 Mbit/s`.
pub fn bandwidth(bytes_per_s: f64) -> String {
    unit(bytes_per_s * 8.0, 1000.0, &["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"])
}

/// A length of time, from microseconds: `4.2 µs`, `1.5 ms`, `2.5 s`.
pub fn time_us(value: f64) -> String {
    unit(value, 1000.0, &["µs", "ms", "s"])
}

/// A length of time, from milliseconds.
pub fn time_ms(value: f64) -> String {
    time_us(value * 1000.0)
}

/// `1 gap`, `2 gaps`.
pub fn plural(number: u64, what: &str) -> String {
    format!("{} {what}{}", count(number as f64), if number == 1 { "" } else { "s" })
}

/// How many times as much one is as another: `1.5 ×`, `12 ×`.
pub fn times(more: f64, less: f64) -> String {
    let ratio = more / less;
    if ratio >= 9.5 { format!("{} ×", count(ratio.round())) } else { format!("{ratio:.1} ×") }
}

/// `a`, `a and b`, `a, b and c`.
pub fn list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// `a second`, `10 seconds`: what follows "every" or "within".
pub fn per_second(rate: f64) -> String {
    if rate == 1.0 {
        "a message a second".into()
    } else if rate > 1.0 {
        format!("{} messages a second", count(rate))
    } else {
        format!("a message every {} s", count(1.0 / rate))
    }
}

fn unit(value: f64, step: f64, units: &[&str]) -> String {
    if !value.is_finite() {
        return "never".into();
    }
    let (mut value, mut at) = (value, 0);
    // What would be written as 1 000 of a unit is one of the next.
    while value.abs() >= step.min(999.5) && at + 1 < units.len() {
        value /= step;
        at += 1;
    }
    format!("{} {}", count(value), units[at])
}

fn grouped(whole: f64) -> String {
    let digits = format!("{whole:.0}");
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |digits| ("-", digits));
    let mut text = sign.to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_three_digits_or_all_before_the_point() {
        for (value, text) in [
            (0.0, "0"),
            (0.0001, "<0.001"),
            (0.1234, "0.123"),
            (0.9999, "1"),
            (1.0, "1"),
            (1.5, "1.5"),
            (9.999, "10"),
            (12.34, "12.3"),
            (99.96, "100"),
            (999.6, "1 000"),
            (1_234_567.0, "1 234 567"),
            (-12_345.0, "-12 345"),
            (f64::INFINITY, "never"),
        ] {
            assert_eq!(count(value), text, "{value}");
        }
    }

    #[test]
    fn a_unit_is_the_largest_that_leaves_a_whole_part() {
        assert_eq!(bytes(128.0), "128 B");
        assert_eq!(bytes(1536.0), "1.5 KiB");
        assert_eq!(bytes(1000.0), "0.977 KiB");
        assert_eq!(bytes(600.0 * 1024.0 * 1024.0), "600 MiB");
        assert_eq!(bandwidth(160_000.0), "1.28 Mbit/s");
        assert_eq!(time_us(4.2), "4.2 µs");
        assert_eq!(time_ms(0.35), "350 µs");
        assert_eq!(time_ms(2_500.0), "2.5 s");
        assert_eq!(time_ms(999.9), "1 s");
        assert_eq!(time_ms(f64::INFINITY), "never");
    }

    #[test]
    fn a_share_is_nothing_or_all_only_when_it_is() {
        for (share, text) in
            [(0.0, "0 %"), (0.001, "<1 %"), (0.37, "37 %"), (0.999, ">99 %"), (1.0, "100 %"), (1.86, "186 %")]
        {
            assert_eq!(percent(share), text);
        }
    }

    #[test]
    fn words_follow_their_numbers() {
        assert_eq!((plural(1, "gap"), plural(2_000, "gap")), ("1 gap".into(), "2 000 gaps".into()));
        assert_eq!(per_second(1.0), "a message a second");
        assert_eq!(per_second(0.1), "a message every 10 s");
        assert_eq!(per_second(50.0), "50 messages a second");
        assert_eq!(list(&["a".into(), "b".into(), "c".into()]), "a, b and c");
        assert_eq!((times(3.0, 2.0), times(100.0, 8.0)), ("1.5 ×".into(), "13 ×".into()));
    }
}
