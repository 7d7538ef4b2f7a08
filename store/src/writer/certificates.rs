//! Certificates of a batch as rows.

use rusqlite::params;

use super::Write;
use crate::batch::Batch;

impl Write<'_> {
    pub(super) fn certificates(&self, batch: &Batch, batch_id: i64) -> rusqlite::Result<()> {
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
