//! The views of `sql/views`: what analysts and diagnostics read.

use rusqlite::Connection;

/// Every view by name, with the statement that makes it; each reads only what
/// stands before it.
pub(crate) const VIEWS: &[(&str, &str)] = &[
    ("session_collector", include_str!("../../../sql/views/session_collector.sql")),
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
    ("pod_status", include_str!("../../../sql/views/pod_status.sql")),
    ("container", include_str!("../../../sql/views/container.sql")),
    ("container_termination", include_str!("../../../sql/views/container_termination.sql")),
    ("service", include_str!("../../../sql/views/service.sql")),
    ("node_condition", include_str!("../../../sql/views/node_condition.sql")),
    ("node_condition_change", include_str!("../../../sql/views/node_condition_change.sql")),
    ("workload", include_str!("../../../sql/views/workload.sql")),
    ("helm_release", include_str!("../../../sql/views/helm_release.sql")),
    ("disruption_budget", include_str!("../../../sql/views/disruption_budget.sql")),
    ("endpoint", include_str!("../../../sql/views/endpoint.sql")),
    ("event", include_str!("../../../sql/views/event.sql")),
    ("event_series", include_str!("../../../sql/views/event_series.sql")),
    ("maintenance", include_str!("../../../sql/views/maintenance.sql")),
    ("log_volume", include_str!("../../../sql/views/log_volume.sql")),
    ("filesystem", include_str!("../../../sql/views/filesystem.sql")),
    ("host_use", include_str!("../../../sql/views/host_use.sql")),
    ("oom_kill", include_str!("../../../sql/views/oom_kill.sql")),
    ("service_restart", include_str!("../../../sql/views/service_restart.sql")),
    ("connection", include_str!("../../../sql/views/connection.sql")),
    ("probe_target", include_str!("../../../sql/views/probe_target.sql")),
    ("probe_edge", include_str!("../../../sql/views/probe_edge.sql")),
    ("probe_incident", include_str!("../../../sql/views/probe_incident.sql")),
    ("probe_outage", include_str!("../../../sql/views/probe_outage.sql")),
    ("probe_gap", include_str!("../../../sql/views/probe_gap.sql")),
    ("probe_availability", include_str!("../../../sql/views/probe_availability.sql")),
];

/// Views whose rows are read once and kept: other views read them many times over, and
/// SQLite works out a view again for each place that names it.
const KEPT: &[&str] = &["session_collector", "latest_batch"];

/// Makes all views in the main schema of a connection that has the raw tables,
/// the virtual tables and the function `ts`.
///
/// # Errors
///
/// If SQLite refuses one, as where a view of that name is there already.
pub(crate) fn create(connection: &Connection) -> rusqlite::Result<()> {
    VIEWS.iter().try_for_each(|(name, sql)| create_one(connection, name, sql))
}

/// Makes one view; those that it reads are there.
///
/// # Errors
///
/// As [`create`].
pub(crate) fn create_one(connection: &Connection, name: &str, sql: &str) -> rusqlite::Result<()> {
    connection.execute_batch(sql)?;
    if KEPT.contains(&name) {
        connection.execute_batch(&format!(
            "CREATE TABLE kept AS SELECT * FROM {name};
             DROP VIEW {name};
             ALTER TABLE kept RENAME TO {name}"
        ))?;
    }
    Ok(())
}
