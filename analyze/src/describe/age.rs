//! Lengths of time as kubectl writes them.

use periscope_store::time::parse_rfc3339;
use serde_json::Value;

/// Time from a time in an object to `now_ns`; `<unknown>` if it is none.
pub(super) fn since(time: &Value, now_ns: i64) -> String {
    let then = time.as_str().and_then(parse_rfc3339);
    then.map_or_else(|| "<unknown>".to_owned(), |then| human(now_ns.saturating_sub(then)))
}

/// A length as a person would round it, the rules being those of `HumanDuration` in
/// k8s.io/apimachinery.
pub(crate) fn human(ns: i64) -> String {
    let seconds = ns / 1_000_000_000;
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let days = hours / 24;
    let two = |large: i64, unit: &str, small: i64, name: &str| {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{name}") }
    };
    if seconds < 120 {
        format!("{}s", seconds.max(0))
    } else if minutes < 10 {
        two(minutes, "m", seconds % 60, "s")
    } else if minutes < 180 {
        format!("{minutes}m")
    } else if hours < 8 {
        two(hours, "h", minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else if days < 8 {
        two(days, "d", hours % 24, "h")
    } else if days < 730 {
        format!("{days}d")
    } else if days < 8 * 365 {
        two(days / 365, "y", days % 365, "d")
    } else {
        format!("{}y", days / 365)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_rounded_as_kubectl_rounds_them() {
        for (seconds, text) in [
            (-5, "<invalid>"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (25_260, "7h1m"),
            (172_799, "47h"),
            (172_800, "2d"),
            (176_400, "2d1h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
            (252_288_000, "8y"),
        ] {
            assert_eq!(human(seconds * 1_000_000_000), text, "{seconds}");
        }
    }
}
