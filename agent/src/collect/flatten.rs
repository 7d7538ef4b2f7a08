//! A JSON tree as settings: one dotted name and one text for each leaf.

use serde_json::Value;

/// Most settings that one tree comes to; a file with more is no configuration.
pub(crate) const MAX_LEAVES: usize = 4096;

/// Leaves of a tree in its order: `{"a": {"b": 1}}` is `a.b` = `1`.
///
/// Lists are one leaf each, as JSON, because their order and length mean
/// something; so are empty objects. `null` is a name set to nothing. At most
/// [`MAX_LEAVES`] are given.
pub(crate) fn flatten(tree: &Value) -> Vec<(String, Option<String>)> {
    let mut leaves = Vec::new();
    descend(String::new(), tree, &mut leaves);
    leaves
}

fn descend(name: String, value: &Value, leaves: &mut Vec<(String, Option<String>)>) {
    if leaves.len() >= MAX_LEAVES {
        return;
    }
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (key, member) in members {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                descend(name, member, leaves);
            }
        }
        Value::Null => leaves.push((name, None)),
        Value::String(text) => leaves.push((name, Some(text.clone()))),
        other => leaves.push((name, Some(other.to_string()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: &[(&str, Option<&str>)]) {
        let leaves = flatten(&serde_json::from_str(json).expect("JSON"));
        let leaves: Vec<_> =
            leaves.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        assert_eq!(leaves, expected);
    }

    #[test]
    fn leaves_have_dotted_names() {
        check(
            r#"{"authentication":{"webhook":{"enabled":true,"cacheTTL":"2m0s"}},"maxPods":110}"#,
            &[
                ("authentication.webhook.enabled", Some("true")),
                ("authentication.webhook.cacheTTL", Some("2m0s")),
                ("maxPods", Some("110")),
            ],
        );
    }

    #[test]
    fn lists_are_json_and_null_is_nothing() {
        check(
            r#"{"clusterDNS":["10.0.0.10"],"featureGates":{},"podCIDR":null,"x":""}"#,
            &[
                ("clusterDNS", Some(r#"["10.0.0.10"]"#)),
                ("featureGates", Some("{}")),
                ("podCIDR", None),
                ("x", Some("")),
            ],
        );
    }

    #[test]
    fn a_tree_without_end_is_cut() {
        let wide: serde_json::Map<_, _> =
            (0..MAX_LEAVES + 5).map(|n| (n.to_string(), Value::from(n))).collect();
        assert_eq!(flatten(&Value::Object(wide)).len(), MAX_LEAVES);
    }
}
