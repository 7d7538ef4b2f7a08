//! What kubectl computes of a pod.

use periscope_store::time::parse_rfc3339;
use serde_json::Value;

use super::age;

/// Elements of a list; none if it is not there.
pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A text; empty if it is none.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Columns READY, STATUS and RESTARTS: the rules are those of `printPod` in
/// kubernetes/pkg/printers/internalversion/printers.go.
pub(super) struct Status {
    pub(super) ready: String,
    pub(super) reason: String,
    pub(super) restarts: String,
}

pub(super) fn status(pod: &Value, now_ns: i64) -> Status {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let mut reason = text(&status["reason"]).to_owned();
    if reason.is_empty() {
        text(&status["phase"]).clone_into(&mut reason);
    }
    let sidecars: Vec<&str> = list(&spec["initContainers"])
        .filter(|container| container["restartPolicy"] == "Always")
        .map(|container| text(&container["name"]))
        .collect();
    let is_sidecar = |state: &Value| sidecars.contains(&text(&state["name"]));
    let count = |states: &Value| list(states).filter_map(|s| s["restartCount"].as_i64()).sum();
    let mut total = list(&spec["containers"]).count();
    total += sidecars.len();
    let mut ready = 0;
    let mut restarts: i64 = count(&status["initContainerStatuses"]);
    let mut last = latest_end(&status["initContainerStatuses"]);
    let (mut initializing, mut sidecar_restarts) = (false, 0);
    for (at, state) in list(&status["initContainerStatuses"]).enumerate() {
        if is_sidecar(state) {
            sidecar_restarts += state["restartCount"].as_i64().unwrap_or(0);
        }
        let ended = &state["state"]["terminated"];
        if ended["exitCode"] == 0 {
            continue;
        }
        if is_sidecar(state) && state["started"] == true {
            ready += usize::from(state["ready"] == true);
            continue;
        }
        let waiting = text(&state["state"]["waiting"]["reason"]);
        reason = if !ended.is_null() {
            format!("Init:{}", end_of(ended))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{at}/{}", list(&spec["initContainers"]).count())
        };
        initializing = true;
        break;
    }
    if !initializing {
        restarts = count(&status["containerStatuses"]) + sidecar_restarts;
        last = latest_end(&status["containerStatuses"]).max(last.filter(|_| !sidecars.is_empty()));
        let mut running = false;
        let newest: Vec<_> = list(&status["containerStatuses"]).collect();
        for state in newest.into_iter().rev() {
            let waiting = text(&state["state"]["waiting"]["reason"]);
            let ended = &state["state"]["terminated"];
            if !waiting.is_empty() {
                waiting.clone_into(&mut reason);
            } else if !ended.is_null() {
                reason = end_of(ended);
            } else if state["ready"] == true && !state["state"]["running"].is_null() {
                running = true;
                ready += 1;
            }
        }
        if reason == "Completed" && running {
            let is_ready = list(&status["conditions"])
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
            (if is_ready { "Running" } else { "NotReady" }).clone_into(&mut reason);
        }
    }
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        let is_gone = status["reason"] == "NodeLost";
        (if is_gone { "Unknown" } else { "Terminating" }).clone_into(&mut reason);
    }
    let ago = last.filter(|_| restarts > 0).map_or_else(String::new, |last| {
        format!(" ({} ago)", age::human(now_ns.saturating_sub(last)))
    });
    Status { ready: format!("{ready}/{total}"), reason, restarts: format!("{restarts}{ago}") }
}

/// How a container ended, in a word.
fn end_of(ended: &Value) -> String {
    let reason = text(&ended["reason"]);
    if !reason.is_empty() {
        return reason.to_owned();
    }
    match ended["signal"].as_i64() {
        Some(signal) if signal != 0 => format!("Signal:{signal}"),
        _ => format!("ExitCode:{}", ended["exitCode"]),
    }
}

/// When a container last ended.
fn latest_end(states: &Value) -> Option<i64> {
    let end =
        |state: &Value| parse_rfc3339(state["lastState"]["terminated"]["finishedAt"].as_str()?);
    list(states).filter_map(end).max()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(pod: &Value, expected: &str) {
        let now = parse_rfc3339("2026-11-22T12:30:00Z").expect("a time");
        let Status { ready, reason, restarts } = status(pod, now);
        assert_eq!(format!("{ready} {reason} {restarts}"), expected);
    }

    #[test]
    fn a_pod_is_as_kubectl_says() {
        let one = json!([{"name": "a"}]);
        let running = json!({"name": "a", "ready": true, "restartCount": 0,
            "state": {"running": {}}});
        check(
            &json!({"spec": {"containers": one}, "status": {"phase": "Running",
                "containerStatuses": [running]}}),
            "1/1 Running 0",
        );
        let looping = json!({"name": "a", "ready": false, "restartCount": 4,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"finishedAt": "2026-11-22T12:29:00Z"}}});
        check(
            &json!({"spec": {"containers": one}, "status": {"phase": "Running",
                "containerStatuses": [looping]}}),
            "0/1 CrashLoopBackOff 4 (60s ago)",
        );
        check(
            &json!({"spec": {"containers": one, "initContainers": [{"name": "i"}]},
                "status": {"phase": "Pending", "initContainerStatuses":
                    [{"name": "i", "state": {"running": {}}, "restartCount": 0}]}}),
            "0/1 Init:0/1 0",
        );
        check(
            &json!({"metadata": {"deletionTimestamp": "2026-11-22T12:29:00Z"},
                "spec": {"containers": one}, "status": {"phase": "Running"}}),
            "0/1 Terminating 0",
        );
        check(
            &json!({"spec": {"containers": one}, "status": {"phase": "Failed",
                "reason": "Evicted"}}),
            "0/1 Evicted 0",
        );
        check(
            &json!({"spec": {"containers": one}, "status": {"phase": "Failed",
                "containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]}}),
            "0/1 ExitCode:3 0",
        );
    }
}
