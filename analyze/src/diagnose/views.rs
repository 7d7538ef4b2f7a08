//! The views of `sql/views`: what analysts and diagnostics read.

use rusqlite::Connection;

/// Every view by name, with the statement that makes it; each reads only what
/// stands before it.
pub(crate) const VIEWS: &[(&str, &str)] = &[
    ("latest_batch", include_str!("../../../sql/views/latest_batch.sql")),
    ("collection", include_str!("../../../sql/views/collection.sql")),
    ("issue", include_str!("../../../sql/views/issue.sql")),
    ("redaction", include_str!("../../../sql/views/redaction.sql")),
    ("setting", include_str!("../../../sql/views/setting.sql")),
    ("kubelet_setting", include_str!("../../../sql/views/kubelet_setting.sql")),
    ("resolver", include_str!("../../../sql/views/resolver.sql")),
    ("iptables_chain", include_str!("../../../sql/views/iptables_chain.sql")),
    ("iptables_rule", include_str!("../../../sql/views/iptables_rule.sql")),
    ("certificate", include_str!("../../../sql/views/certificate.sql")),
    ("object", include_str!("../../../sql/views/object.sql")),
    ("node", include_str!("../../../sql/views/node.sql")),
    ("pod", include_str!("../../../sql/views/pod.sql")),
    ("container", include_str!("../../../sql/views/container.sql")),
    ("service", include_str!("../../../sql/views/service.sql")),
    ("node_condition", include_str!("../../../sql/views/node_condition.sql")),
    ("workload", include_str!("../../../sql/views/workload.sql")),
    ("helm_release", include_str!("../../../sql/views/helm_release.sql")),
    ("disruption_budget", include_str!("../../../sql/views/disruption_budget.sql")),
    ("endpoint", include_str!("../../../sql/views/endpoint.sql")),
    ("event", include_str!("../../../sql/views/event.sql")),
    ("maintenance", include_str!("../../../sql/views/maintenance.sql")),
    ("filesystem", include_str!("../../../sql/views/filesystem.sql")),
    ("connection", include_str!("../../../sql/views/connection.sql")),
    ("probe_target", include_str!("../../../sql/views/probe_target.sql")),
    ("probe_edge", include_str!("../../../sql/views/probe_edge.sql")),
    ("probe_incident", include_str!("../../../sql/views/probe_incident.sql")),
    ("probe_outage", include_str!("../../../sql/views/probe_outage.sql")),
    ("probe_gap", include_str!("../../../sql/views/probe_gap.sql")),
    ("probe_availability", include_str!("../../../sql/views/probe_availability.sql")),
];

/// Makes all views in the main schema of a connection that has the raw tables,
/// the virtual tables and the function `ts`.
///
/// # Errors
///
/// If SQLite refuses one, as where a view of that name is there already.
pub(crate) fn create(connection: &Connection) -> rusqlite::Result<()> {
    VIEWS.iter().try_for_each(|(_, sql)| connection.execute_batch(sql))
}
