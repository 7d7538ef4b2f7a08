//! The clock of the host: how far the kernel believes it is off, and whether
//! somebody keeps it right.

use periscope_store::batch::{Issue, IssueKind};

use super::{Values, issue};
use crate::host::Host;

/// Set by systemd-timesyncd when it has set the clock for the first time.
const TIMESYNCD: &str = "/run/systemd/timesync/synchronized";

/// What the kernel says of its clock, as `chronyd` and `timesyncd` leave it there.
pub(super) fn sample(host: &Host) -> (Values, Vec<Issue>) {
    match host.kernel_clock() {
        Ok(Some(clock)) => {
            let mut values = vec![
                ("clock_synchronized".to_owned(), f64::from(u8::from(clock.is_synchronized))),
                ("clock_offset_seconds".to_owned(), clock.offset_ns as f64 / 1e9),
                ("clock_max_error_seconds".to_owned(), clock.max_error_us as f64 / 1e6),
                ("clock_estimated_error_seconds".to_owned(), clock.estimated_error_us as f64 / 1e6),
                ("clock_frequency_ppm".to_owned(), clock.frequency_ppm),
            ];
            if let Ok(file) = host.open_file(TIMESYNCD) {
                let age_ns = host.now_ns().saturating_sub(file.modified_ns);
                values.push(("clock_timesyncd_age_seconds".to_owned(), age_ns as f64 / 1e9));
            }
            (values, Vec::new())
        }
        Ok(None) => {
            let text = "the node is not running, and has no clock".to_owned();
            (Values::new(), vec![issue("clock", IssueKind::Absent, text)])
        }
        Err(error) => {
            let text = format!("the kernel does not tell of its clock: {error}");
            (Values::new(), vec![issue("clock", IssueKind::Unreadable, text)])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_machine_has_a_clock_and_a_captured_one_has_none() {
        let host = Host::open(std::path::Path::new("/")).expect("a root");
        let (values, issues) = sample(&host);
        assert!(issues.is_empty() && values.len() >= 5, "{values:?} {issues:?}");
        assert_eq!(values[0].0, "clock_synchronized");
        assert!(values.iter().all(|(_, value)| value.is_finite()), "{values:?}");
        let folder = tempfile::tempdir().expect("a folder");
        let (values, issues) = sample(&Host::open(folder.path()).expect("a root"));
        assert!(values.is_empty() && issues[0].kind == IssueKind::Absent, "{issues:?}");
    }
}
