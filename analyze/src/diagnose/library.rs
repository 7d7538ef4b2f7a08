//! The diagnostics that come with the program, one line each.

use super::parse::{Diagnostic, ParseError, parse};

/// Every file of `sql/diagnostics` by its name without `.sql`.
pub(crate) const FILES: &[(&str, &str)] = &[
    ("azure-maintenance", include_str!("../../../sql/diagnostics/azure-maintenance.sql")),
    ("certificate-expiry", include_str!("../../../sql/diagnostics/certificate-expiry.sql")),
    ("conntrack-full", include_str!("../../../sql/diagnostics/conntrack-full.sql")),
    ("custom-dns", include_str!("../../../sql/diagnostics/custom-dns.sql")),
    ("iptables-drift", include_str!("../../../sql/diagnostics/iptables-drift.sql")),
    ("kubelet-drift", include_str!("../../../sql/diagnostics/kubelet-drift.sql")),
    ("outage-windows", include_str!("../../../sql/diagnostics/outage-windows.sql")),
    ("probe-gaps", include_str!("../../../sql/diagnostics/probe-gaps.sql")),
];

/// All built-in diagnostics, in the order of [`FILES`].
///
/// # Errors
///
/// If one breaks the grammar, which a test rules out for a released program.
pub(crate) fn built_in() -> Result<Vec<Diagnostic>, ParseError> {
    FILES.iter().map(|(id, text)| parse(id, &format!("sql/diagnostics/{id}.sql"), text)).collect()
}
