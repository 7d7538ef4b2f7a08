//! Names of kinds, as people type them.

/// A kind of object.
pub(super) enum Kind {
    /// One that has short names.
    Known(&'static str),
    /// Any other, as it was typed.
    Other(String),
}

/// Every kind with its plural and its short names.
const KINDS: &[(&str, &[&str])] = &[
    ("Pod", &["pods", "po"]),
    ("Service", &["services", "svc"]),
    ("Node", &["nodes", "no"]),
    ("Deployment", &["deployments", "deploy"]),
    ("DaemonSet", &["daemonsets", "ds"]),
    ("Event", &["events", "ev"]),
    ("EndpointSlice", &["endpointslices"]),
    ("ConfigMap", &["configmaps", "cm"]),
    ("PodDisruptionBudget", &["poddisruptionbudgets", "pdb"]),
    ("Namespace", &["namespaces", "ns"]),
    ("ReplicaSet", &["replicasets", "rs"]),
    ("StatefulSet", &["statefulsets", "sts"]),
    ("PodMetrics", &[]),
    ("NodeMetrics", &[]),
];

impl Kind {
    /// Reads what a person typed, also with a group as in `deployments.apps`.
    pub(super) fn parse(text: &str) -> Self {
        let bare = text.split('.').next().unwrap_or(text).to_lowercase();
        KINDS
            .iter()
            .find(|(kind, names)| kind.to_lowercase() == bare || names.contains(&bare.as_str()))
            .map_or_else(|| Self::Other(text.to_owned()), |(kind, _)| Self::Known(kind))
    }

    /// The kind as objects spell it.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Known(name) => name,
            Self::Other(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_go_by_many_names() {
        for (text, name) in [
            ("po", "Pod"),
            ("Pods", "Pod"),
            ("deployments.apps", "Deployment"),
            ("svc", "Service"),
            ("widgets", "widgets"),
        ] {
            assert_eq!(Kind::parse(text).name(), name);
        }
    }
}
