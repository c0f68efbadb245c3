//! Trace context: which trace a publish is part of, kept with its message (W3C Trace Context, section 3.2).

use std::fmt;

/// A valid `traceparent`, in version `00`: `00-<trace id>-<parent id>-<flags>`.
#[derive(Clone, PartialEq, Eq)]
pub struct TraceParent(Box<[u8; LENGTH]>);

/// Bytes of a `traceparent`.
const LENGTH: usize = 55;

impl TraceParent {
    /// Reads the value of a `traceparent` field. Nothing where it is none: the standard has it ignored then, and the publish
    /// goes on without (section 4.3).
    ///
    /// Of a later version the part that this one knows is read, and kept as this version with the one flag that it knows.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<TraceParent> {
        let (known, rest) = value.split_first_chunk::<LENGTH>()?;
        let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        let digits = known.iter().enumerate().filter(|(at, _)| ![2, 35, 52].contains(at));
        let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_zero = |field: &[u8]| field.iter().all(|byte| *byte == b'0');
        if !dashes
            || !digits.map(|(_, byte)| byte).all(is_hex)
            || &known[..2] == b"ff"
            || is_zero(&known[3..35])
            || is_zero(&known[36..52])
        {
            return None;
        }
        let mut kept = Box::new(*known);
        if &known[..2] == b"00" {
            return rest.is_empty().then_some(TraceParent(kept));
        }
        if rest.first().is_some_and(|byte| *byte != b'-') {
            return None;
        }
        let sampled = matches!(known[54], b'1' | b'3' | b'5' | b'7' | b'9' | b'b' | b'd' | b'f');
        kept[..2].copy_from_slice(b"00");
        kept[53..].copy_from_slice(if sampled { b"01" } else { b"00" });
        Some(TraceParent(kept))
    }

    /// The value as it is written into a field.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0[..]).expect("digits and dashes are ASCII")
    }

    /// The trace id: 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        &self.as_str()[3..35]
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn read(value: &str) -> Option<String> {
        TraceParent::parse(value.as_bytes()).map(|trace| trace.as_str().to_owned())
    }

    #[test]
    fn a_traceparent_is_kept_as_it_came() {
        assert_eq!(read(GOOD).as_deref(), Some(GOOD));
        assert_eq!(
            TraceParent::parse(GOOD.as_bytes()).unwrap().trace_id(),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        for bad in [
            "".to_owned(),
            GOOD[1..].to_owned(),
            format!("{GOOD}-"),
            GOOD.replace("4bf9", "4BF9"),
            GOOD.replace("4bf9", "4bg9"),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            GOOD.replacen("00-", "ff-", 1),
            GOOD.replacen("00-", "cc-", 1) + ".x",
            GOOD.replace('-', "_"),
        ] {
            assert_eq!(read(&bad), None, "{bad}");
        }
    }

    #[test]
    fn of_a_later_version_what_is_known_is_kept() {
        assert_eq!(read(&GOOD.replacen("00-", "cc-", 1)).as_deref(), Some(GOOD));
        let later = GOOD.replacen("00-", "cc-", 1).replace("-01", "-fe") + "-what-comes-later";
        assert_eq!(read(&later), Some(GOOD.replace("-01", "-00")));
    }
}
