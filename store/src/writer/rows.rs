//! What a batch holds beside chunks, as rows.

use rusqlite::params;

use super::Write;
use crate::batch::Batch;

impl Write<'_> {
    /// Inserts all rows of a batch.
    pub(super) fn rows(&self, batch: &Batch, batch_id: i64) -> rusqlite::Result<()> {
        for (ord, x) in batch.issues.iter().enumerate() {
            self.run(
                "INSERT INTO raw_issue (batch_id, ord, source, kind, amount, unit, message)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
                params![
                    batch_id,
                    ord as i64,
                    x.source,
                    x.kind.as_str(),
                    x.amount.map(|n| n as i64),
                    x.unit,
                    x.message
                ],
            )?;
        }
        for (ord, x) in batch.settings.iter().enumerate() {
            self.run(
                "INSERT INTO raw_setting (batch_id, ord, scope, name, value, source)
                 VALUES (?, ?, ?, ?, ?, ?)",
                params![batch_id, ord as i64, x.scope, x.name, x.value, x.source],
            )?;
        }
        for (ord, x) in batch.iptables_chains.iter().enumerate() {
            self.run(
                "INSERT INTO raw_iptables_chain (batch_id, ord, family, backend, table_name,
                                                 chain, policy, packets, bytes)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                params![
                    batch_id,
                    ord as i64,
                    x.family,
                    x.backend,
                    x.table,
                    x.chain,
                    x.policy,
                    x.packets.map(|n| n as i64),
                    x.bytes.map(|n| n as i64)
                ],
            )?;
        }
        for (ord, x) in batch.iptables_rules.iter().enumerate() {
            self.run(
                "INSERT INTO raw_iptables_rule (batch_id, ord, family, backend, table_name, chain,
                                                position, packets, bytes, source, destination,
                                                protocol, in_interface, out_interface,
                                                destination_port, target, comment, rule)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                params![
                    batch_id,
                    ord as i64,
                    x.family,
                    x.backend,
                    x.table,
                    x.chain,
                    x.position,
                    x.packets.map(|n| n as i64),
                    x.bytes.map(|n| n as i64),
                    x.source,
                    x.destination,
                    x.protocol,
                    x.in_interface,
                    x.out_interface,
                    x.destination_port,
                    x.target,
                    x.comment,
                    x.rule
                ],
            )?;
        }
        for (ord, x) in batch.objects.iter().enumerate() {
            self.run(
                "INSERT INTO raw_object (batch_id, ord, api_version, kind, namespace, name, uid,
                                         json)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                params![
                    batch_id,
                    ord as i64,
                    x.api_version,
                    x.kind,
                    x.namespace,
                    x.name,
                    x.uid,
                    x.json
                ],
            )?;
        }
        self.certificates(batch, batch_id)?;
        for (ord, x) in batch.redactions.iter().enumerate() {
            self.run(
                "INSERT INTO raw_redaction (batch_id, ord, rule, source, amount)
                 VALUES (?, ?, ?, ?, ?)",
                params![batch_id, ord as i64, x.rule, x.source, x.amount as i64],
            )?;
        }
        Ok(())
    }

    fn certificates(&self, batch: &Batch, batch_id: i64) -> rusqlite::Result<()> {
        for (ord, x) in batch.certificates.iter().enumerate() {
            let names = serde_json::Value::from(x.alternative_names.clone()).to_string();
            self.run(
                "INSERT INTO raw_certificate (batch_id, ord, origin, source, position, subject,
                                              issuer, serial, not_before_ns, not_after_ns,
                                              alternative_names, is_authority, public_key,
                                              fingerprint, verified, verification)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                params![
                    batch_id,
                    ord as i64,
                    x.origin.as_str(),
                    x.source,
                    x.position,
                    x.subject,
                    x.issuer,
                    x.serial,
                    x.not_before_ns,
                    x.not_after_ns,
                    names,
                    x.is_authority,
                    x.public_key,
                    x.fingerprint,
                    x.verified,
                    x.untrusted
                ],
            )?;
        }
        Ok(())
    }
}
