//! How numbers are written: durations as `15s` or `500ms`, sizes as `64KiB`, both also as plain integers.

use std::time::Duration;

/// Reads `500ms`, `15s`, `5m`, `1h` or whole seconds.
///
/// # Errors
/// What is wrong with it.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration; write 500ms, 15s, 5m, 1h or whole seconds");
    let (number, unit) = split(text);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "ms" => return Ok(Duration::from_millis(number)),
        "s" | "" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

/// Reads `64KiB`, `1MiB`, `2GiB` or whole bytes.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let wrong = || format!("`{text}` is not a size; write 64KiB, 1MiB, 2GiB or whole bytes");
    let (number, unit) = split(text);
    let number: usize = number.parse().map_err(|_| wrong())?;
    let bytes: usize = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(bytes).ok_or_else(wrong)
}

/// Writes the shortest text that [`duration`] reads as this; parts of a millisecond are lost.
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    // From where on a unit is used: 24h reads better than 1d.
    let units = [(172_800_000, 86_400_000, "d"), (1, 3_600_000, "h"), (1, 60_000, "m"), (1, 1_000, "s")];
    let exact = |least: u128, unit: u128| millis >= least && millis.is_multiple_of(unit);
    match units.iter().find(|(least, unit, _)| exact(*least, *unit)) {
        Some((_, unit, name)) => format!("{}{name}", millis / unit),
        None if millis == 0 => "0s".into(),
        None => format!("{millis}ms"),
    }
}

/// Writes the shortest text that [`size`] reads as this.
pub(super) fn show_size(bytes: usize) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_with_their_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("15s"), Ok(Duration::from_secs(15)));
        assert_eq!(duration("15"), Ok(Duration::from_secs(15)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7_200)));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("16 MiB"), Ok(16 << 20));
        assert_eq!(size("12"), Ok(12));
    }

    #[test]
    fn durations_and_sizes_are_written_as_they_are_read() {
        for text in ["0s", "500ms", "1500ms", "15s", "90s", "1m", "60m", "24h", "2d"] {
            let shown = show_duration(duration(text).unwrap());
            assert_eq!(duration(&shown), duration(text), "{text} became {shown}");
        }
        assert_eq!(show_duration(Duration::from_secs(3_600)), "1h");
        assert_eq!(show_duration(Duration::from_secs(86_400)), "24h");
        for (text, bytes) in
            [("0", 0), ("1000", 1_000), ("64KiB", 65_536), ("1MiB", 1 << 20), ("3GiB", 3 << 30)]
        {
            assert_eq!(show_size(bytes), text);
            assert_eq!(size(text), Ok(bytes));
        }
    }

    #[test]
    fn what_has_no_unit_of_ours_is_refused_with_examples() {
        for bad in ["", "s", "-1", "1.5s", "1 fortnight", "99999999999999999999", "18446744073709551615h"] {
            assert!(duration(bad).unwrap_err().contains("15s"), "{bad:?}");
        }
        for bad in ["", "KiB", "-1", "64KB", "64k", "18446744073709551615GiB"] {
            assert!(size(bad).unwrap_err().contains("64KiB"), "{bad:?}");
        }
    }
}
