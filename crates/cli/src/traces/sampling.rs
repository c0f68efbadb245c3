//! Which traces are exported, as `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG` have it. The SDK reads both; what it would
//! pass over in silence is said here.

use super::set;

/// What the SDK knows, and whether it takes a ratio.
const SAMPLERS: [(&str, bool); 6] = [
    ("always_on", false),
    ("always_off", false),
    ("traceidratio", true),
    ("parentbased_always_on", false),
    ("parentbased_always_off", false),
    ("parentbased_traceidratio", true),
];

/// Says what is wrong with what is set, and what is done instead.
pub(super) fn check() {
    if let Some(sampler) = set("OTEL_TRACES_SAMPLER")
        && let Some(wrong) = wrong_with(&sampler, set("OTEL_TRACES_SAMPLER_ARG").as_deref())
    {
        tracing::warn!("{wrong}");
    }
}

fn wrong_with(sampler: &str, argument: Option<&str>) -> Option<String> {
    let Some((_, takes_ratio)) = SAMPLERS.iter().find(|(name, _)| *name == sampler) else {
        let known: Vec<&str> = SAMPLERS.iter().map(|(name, _)| *name).collect();
        let known = known.join(", ");
        return Some(format!(
            "OTEL_TRACES_SAMPLER is {sampler:?}, which is none of {known}: it is taken for parentbased_always_on"
        ));
    };
    let is_ratio = |argument: &str| argument.parse::<f64>().is_ok_and(|ratio| (0.0..=1.0).contains(&ratio));
    (*takes_ratio && !argument.is_some_and(is_ratio)).then(|| {
        let argument = argument.map_or("not set".to_owned(), |argument| format!("{argument:?}"));
        format!(
            "OTEL_TRACES_SAMPLER_ARG is {argument}, and {sampler} takes a number from 0 to 1, as in 0.01: with none, it is 1"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_sdk_would_pass_over_is_said() {
        for (sampler, argument) in
            [("always_on", None), ("parentbased_traceidratio", Some("0.01")), ("traceidratio", Some("1"))]
        {
            assert_eq!(wrong_with(sampler, argument), None);
        }
        for (sampler, argument, says) in [
            ("xray", None, r#"is "xray", which is none of always_on, "#),
            ("traceidratio", None, "is not set, and traceidratio takes"),
            ("parentbased_traceidratio", Some("10%"), r#"is "10%", and"#),
            ("traceidratio", Some("2"), r#"is "2", and"#),
        ] {
            let wrong = wrong_with(sampler, argument).unwrap();
            assert!(wrong.contains(says), "{wrong}");
        }
    }
}
