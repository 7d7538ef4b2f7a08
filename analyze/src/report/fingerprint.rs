//! What tells a finding from all others, from one report to the next.

use sha2::{Digest as _, Sha256};

use crate::diagnose::run::Finding;

/// Digits of a fingerprint that an id has: few to type, and enough for the findings
/// of one report.
const ID_DIGITS: usize = 8;

/// Tells a finding from all others: the same for the same data, whatever else the
/// bundle holds and however its sentence is worded. Half of a SHA-256, in
/// hexadecimal.
pub(super) fn fingerprint(finding: &Finding) -> String {
    let mut hash = Sha256::new();
    let mut add = |part: &str| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    add(&finding.diagnostic);
    add(finding.node.as_deref().unwrap_or_default());
    add(finding.ts.as_deref().unwrap_or_default());
    for (name, value) in &finding.evidence {
        add(name);
        add(&value.to_string());
    }
    let bytes: [u8; 32] = hash.finalize().into();
    format!("{:032x}", u128::from_be_bytes(std::array::from_fn(|at| bytes[at])))
}

/// What people call a finding: `outage-windows-1f8a03c2`.
pub(super) fn id(finding: &Finding) -> String {
    let digits = fingerprint(finding);
    format!("{}-{}", finding.diagnostic, &digits[..ID_DIGITS])
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::diagnose::parse::Severity;

    fn finding(target: &str, message: &str) -> Finding {
        Finding {
            diagnostic: "outage-windows".to_owned(),
            severity: Severity::Error,
            node: Some("node".to_owned()),
            ts: None,
            message: message.to_owned(),
            evidence: vec![("target".to_owned(), Value::from(target))],
        }
    }

    #[test]
    fn a_fingerprint_tells_findings_apart_but_not_their_wording() {
        let one = fingerprint(&finding("a", "it was down"));
        assert_eq!(one, fingerprint(&finding("a", "was down")));
        assert_ne!(one, fingerprint(&finding("b", "it was down")));
        assert_eq!(one.len(), 32);
        let id = id(&finding("a", "it was down"));
        assert_eq!(id, format!("outage-windows-{}", &one[..8]));
    }
}
