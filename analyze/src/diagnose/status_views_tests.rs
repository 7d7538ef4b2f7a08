//! Tests of the views that carry rules of Kubernetes, systemd and the kernel.

use super::views_tests::{bundle, check};

/// A pod with a specification and a status, as JSON.
fn pod(name: &str, meta: &str, spec: &str, status: &str) -> String {
    format!(
        r#"{{"kind": "Pod", "metadata": {{"namespace": "s", "name": "{name}"{meta}}},
            "spec": {{{spec}}}, "status": {{{status}}}}}"#
    )
}

fn status_of(spec: &str, status: &str, meta: &str) -> String {
    let json = pod("p", meta, spec, status).replace('\n', " ");
    let connection = bundle(&format!("object = [{{ json = '''{json}''' }}]"));
    super::views_tests::rows(
        &connection,
        "SELECT status || ' ' || ready_containers || '/' || containers || ' ' || restarts
            || iif(is_done, ' done', '') FROM pod_status",
    )
    .join(", ")
}

const ONE: &str = r#""containers": [{"name": "a"}]"#;
const TWO: &str = r#""containers": [{"name": "a"}, {"name": "b"}]"#;
const WITH_INIT: &str =
    r#""containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "j"}]"#;
const WITH_SIDECAR: &str = r#""containers": [{"name": "a"}],
    "initContainers": [{"name": "i", "restartPolicy": "Always"}]"#;
const RUNNING: &str =
    r#"{"name": "a", "ready": true, "restartCount": 2, "state": {"running": {}}}"#;

#[test]
fn pods_have_the_status_that_kubectl_shows() {
    let status = |spec: &str, phase: &str, rest: &str| {
        status_of(spec, &format!(r#""phase": "{phase}"{rest}"#), "")
    };
    let containers = |list: &str| format!(r#", "containerStatuses": [{list}]"#);
    assert_eq!(status(ONE, "Pending", ""), "Pending 0/1 0");
    assert_eq!(status(ONE, "Failed", r#", "reason": "Evicted""#), "Evicted 0/1 0");
    assert_eq!(
        status(
            ONE,
            "Pending",
            r#", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]"#
        ),
        "SchedulingGated 0/1 0"
    );
    assert_eq!(status(ONE, "Running", &containers(RUNNING)), "Running 1/1 2");
    assert_eq!(
        status(
            TWO,
            "Running",
            &containers(&format!(
                r#"{RUNNING}, {{"name": "b", "restartCount": 3, "state": {{"waiting": {{"reason": "CrashLoopBackOff"}}}}}}"#
            ))
        ),
        "CrashLoopBackOff 1/2 5"
    );
    assert_eq!(
        status(
            TWO,
            "Running",
            &containers(
                r#"{"name": "a", "state": {"terminated": {"reason": "Error"}}}, {"name": "b", "state": {"waiting": {"reason": "ErrImagePull"}}}"#
            )
        ),
        "Error 0/2 0",
        "the first speaks"
    );
    assert_eq!(
        status(
            ONE,
            "Running",
            &containers(r#"{"name": "a", "state": {"terminated": {"exitCode": 3}}}"#)
        ),
        "ExitCode:3 0/1 0"
    );
    assert_eq!(
        status(
            ONE,
            "Running",
            &containers(r#"{"name": "a", "state": {"terminated": {"exitCode": 3, "signal": 9}}}"#)
        ),
        "Signal:9 0/1 0"
    );
}

#[test]
fn completed_containers_are_no_failure() {
    let completed =
        r#"{"name": "b", "state": {"terminated": {"reason": "Completed", "exitCode": 0}}}"#;
    let list = |ready: &str| {
        format!(
            r#""phase": "Running", "conditions": [{{"type": "Ready", "status": "{ready}"}}],
                "containerStatuses": [{RUNNING}, {completed}]"#
        )
    };
    assert_eq!(status_of(TWO, &list("True"), ""), "Running 1/2 2");
    assert_eq!(status_of(TWO, &list("False"), ""), "NotReady 1/2 2");
    let done = format!(r#""phase": "Succeeded", "containerStatuses": [{completed}]"#);
    assert_eq!(status_of(ONE, &done, ""), "Completed 0/1 0 done");
}

#[test]
fn init_containers_speak_first_and_sidecars_that_started_do_not() {
    let waiting = r#", "containerStatuses": [{"name": "a", "state": {"waiting": {"reason": "PodInitializing"}}}]"#;
    let init =
        |list: &str| format!(r#""phase": "Pending", "initContainerStatuses": [{list}]{waiting}"#);
    let done = r#"{"name": "i", "restartCount": 1, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}"#;
    assert_eq!(
        status_of(WITH_INIT, &init(r#"{"name": "i", "state": {"running": {}}}"#), ""),
        "Init:0/2 0/1 0"
    );
    assert_eq!(
        status_of(
            WITH_INIT,
            &init(&format!(
                r#"{done}, {{"name": "j", "state": {{"waiting": {{"reason": "PodInitializing"}}}}}}"#
            )),
            ""
        ),
        "Init:1/2 0/1 1"
    );
    assert_eq!(
        status_of(
            WITH_INIT,
            &init(
                r#"{"name": "i", "restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}"#
            ),
            ""
        ),
        "Init:CrashLoopBackOff 0/1 4"
    );
    assert_eq!(
        status_of(
            WITH_INIT,
            &init(r#"{"name": "i", "state": {"terminated": {"exitCode": 1}}}"#),
            ""
        ),
        "Init:ExitCode:1 0/1 0"
    );
    let sidecar = |state: &str| {
        format!(
            r#""phase": "Running", "initContainerStatuses": [{{"name": "i", "restartCount": 5, {state}}}],
                "containerStatuses": [{RUNNING}]"#
        )
    };
    assert_eq!(
        status_of(
            WITH_SIDECAR,
            &sidecar(r#""started": true, "ready": true, "state": {"running": {}}"#),
            ""
        ),
        "Running 2/2 7"
    );
    assert_eq!(
        status_of(WITH_SIDECAR, &sidecar(r#""started": false, "state": {"running": {}}"#), ""),
        "Init:0/1 1/2 5"
    );
}

#[test]
fn pods_that_go_are_terminating_or_unknown() {
    let gone = r#", "deletionTimestamp": "2026-11-22T12:00:00Z""#;
    let running = format!(r#""phase": "Running", "containerStatuses": [{RUNNING}]"#);
    assert_eq!(status_of(ONE, &running, gone), "Terminating 1/1 2 done");
    let lost = r#""phase": "Running", "reason": "NodeLost""#;
    assert_eq!(status_of(ONE, lost, gone), "Unknown 0/1 0 done");
    let failed = r#""phase": "Failed", "reason": "Evicted""#;
    assert_eq!(status_of(ONE, failed, gone), "Evicted 0/1 0 done");
}

#[test]
fn restarts_are_told_apart_by_what_systemd_said() {
    let line = |at: &str, message: &str| {
        format!(r#"{{ unit = "kubelet.service", at = "{at}", message = "{message}" }}"#)
    };
    let log = [
        line("12:00:00", "Started Kubelet."),
        line("12:01:00", "Stopping Kubelet..."),
        line("12:01:02", "Started Kubelet."),
        line("12:02:00", "kubelet.service: Main process exited, code=exited, status=1/FAILURE"),
        line("12:02:00.1", "kubelet.service: Failed with result 'exit-code'."),
        line("12:02:05", "kubelet.service: Scheduled restart job, restart counter is at 3."),
        line("12:02:06", "Started Kubelet."),
        line("12:03:00", "Started Kubelet."),
        r#"{ unit = "kernel", at = "12:04:00", message = "Linux version 5.15.0-1073-azure" }"#
            .to_owned(),
        line("12:04:30", "Started kubelet.service - Kubelet."),
        line("12:05:00", "kubelet.service: Failed with result 'oom-kill'."),
    ];
    check(
        &bundle(&format!("log = [{}]", log.join(", "))),
        "SELECT substr(ts, 12, 8), unit, cause, started IS NOT NULL, down_s, result, counter
         FROM service_restart ORDER BY ts",
        &[
            "12:00:00|kubelet.service|first|1|-|-|-",
            "12:01:02|kubelet.service|planned|1|2.000|-|-",
            "12:02:06|kubelet.service|crash|1|6.000|code=exited, status=1/FAILURE|3",
            "12:03:00|kubelet.service|unknown|1|-|-|-",
            "12:04:30|kubelet.service|boot|1|-|-|-",
            "12:05:00|kubelet.service|crash|0|-|'oom-kill'.|-",
        ],
    );
}

#[test]
fn kills_are_told_with_their_cgroups_as_far_as_the_kernel_says_them() {
    let line = |at: &str, message: &str| {
        format!(r#"{{ unit = "kernel", at = "{at}", message = "{message}" }}"#)
    };
    let log = [
        line(
            "12:00:00",
            "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a.slice,task_memcg=/a.slice/b.service,task=x,pid=5,uid=0",
        ),
        line(
            "12:00:00.1",
            "Memory cgroup out of memory: Killed process 5 (x) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB, UID:7 pgtables:1kB oom_score_adj:0",
        ),
        line(
            "12:00:09",
            "Memory cgroup out of memory: Killed process 6 (y) total-vm:8kB, anon-rss:4kB, file-rss:0kB",
        ),
        line("12:00:10", "Killed process 7 (z) total-vm:8kB, anon-rss:4kB, file-rss:0kB"),
    ];
    check(
        &bundle(&format!("log = [{}]", log.join(", "))),
        "SELECT scope, process, pid, anonymous_bytes, total_bytes, uid, limited_cgroup, cgroup
         FROM oom_kill ORDER BY ts",
        &[
            "cgroup|x|5|4096|8192|7|/a.slice|/a.slice/b.service",
            "cgroup|y|6|4096|8192|-|-|-",
            "-|z|7|4096|8192|-|-|-",
        ],
    );
}

#[test]
fn events_of_one_thing_are_one_series() {
    let event = |name: &str, times: &str, message: &str| {
        format!(
            r#"{{ json = '''{{"kind": "Event", "metadata": {{"namespace": "s", "name": "{name}"}},
                "type": "Warning", "reason": "Unhealthy", "reportingComponent": "kubelet",
                "involvedObject": {{"kind": "Pod", "namespace": "s", "name": "p"}},
                {times}, "message": "{message}"}}''' }}"#
        )
        .replace('\n', " ")
    };
    let list = [
        event(
            "a",
            r#""count": 3, "firstTimestamp": "2026-11-22T12:00:00Z", "lastTimestamp": "2026-11-22T12:05:00Z""#,
            "500",
        ),
        event(
            "b",
            r#""count": 2, "firstTimestamp": "2026-11-22T12:01:00Z", "lastTimestamp": "2026-11-22T12:09:00Z""#,
            "503",
        ),
        event(
            "c",
            r#""count": 0, "eventTime": "2026-11-22T12:02:00.5Z", "series": {"count": 4, "lastObservedTime": "2026-11-22T12:08:00.25Z"}"#,
            "504",
        ),
        event("d", r#""count": 0, "eventTime": "2026-11-22T12:03:00.5Z""#, "505"),
    ];
    let connection = bundle(&format!("object = [{}]", list.join(", ")));
    check(
        &connection,
        "SELECT message, count, substr(first, 12, 10), substr(ts, 12, 11) FROM event ORDER BY message",
        &[
            "500|3|12:00:00.0|12:05:00.00",
            "503|2|12:01:00.0|12:09:00.00",
            "504|4|12:02:00.5|12:08:00.25",
            "505|1|12:03:00.5|12:03:00.50",
        ],
    );
    check(
        &connection,
        "SELECT name, count, events, substr(first, 12, 8), substr(ts, 12, 8), message FROM event_series",
        &["p|10|4|12:00:00|12:09:00|503"],
    );
}

#[test]
fn conditions_have_a_row_for_each_time() {
    let seen = |by: &str, at: &str, status: &str, since: &str| {
        format!(
            r#"{{ node = "{by}", at = "{at}", json = '''{{"kind": "Node", "metadata": {{"name": "node-9"}},
                "status": {{"conditions": [{{"type": "Ready", "status": "{status}",
                "reason": "r", "lastTransitionTime": "{since}"}}]}}}}''' }}"#
        )
        .replace('\n', " ")
    };
    let list = [
        seen("node-1", "12:00:00", "True", "2026-11-22T10:00:00Z"),
        seen("node-2", "12:05:00", "Unknown", "2026-11-22T12:04:00Z"),
        seen("node-3", "12:06:00", "Unknown", "2026-11-22T12:04:00Z"),
        seen("node-4", "12:10:00", "True", "2026-11-22T12:07:00Z"),
    ];
    check(
        &bundle(&format!(
            "nodes = ['node-1', 'node-2', 'node-3', 'node-4']\nobject = [{}]",
            list.join(", ")
        )),
        "SELECT node, status, substr(ts, 12, 8), substr(until, 12, 8), seconds, polls
         FROM node_condition_change ORDER BY ts",
        &[
            "node-9|True|10:00:00|12:04:00|7440.000|1",
            "node-9|Unknown|12:04:00|12:07:00|180.000|2",
            "node-9|True|12:07:00|-|180.000|1",
        ],
    );
}

#[test]
fn ends_of_containers_are_told_once_however_often_they_were_seen() {
    let seen = |by: &str, at: &str, state: &str| {
        let status = format!(
            r#""phase": "Running", "containerStatuses": [{{"name": "a", "restartCount": 2, {state}}}]"#
        );
        let json = pod("p", "", r#""nodeName": "node-1", "containers": [{"name": "a"}]"#, &status);
        format!(r#"{{ node = "{by}", at = "{at}", json = '''{json}''' }}"#).replace('\n', " ")
    };
    let end = |id: &str, code: i32, reason: &str, at: &str| {
        format!(
            r#"{{"terminated": {{"containerID": "{id}", "exitCode": {code}, "reason": "{reason}",
                "startedAt": "2026-11-22T12:00:00Z", "finishedAt": "2026-11-22T{at}Z"}}}}"#
        )
    };
    let list = [
        seen(
            "node-1",
            "12:05:00",
            &format!(r#""state": {}"#, end("x://1", 137, "OOMKilled", "12:01:00")),
        ),
        seen(
            "node-2",
            "12:10:00",
            &format!(
                r#""state": {}, "lastState": {}"#,
                end("x://2", 1, "Error", "12:06:30"),
                end("x://1", 137, "OOMKilled", "12:01:00")
            ),
        ),
    ];
    check(
        &bundle(&format!("nodes = ['node-1', 'node-2']\nobject = [{}]", list.join(", "))),
        "SELECT node, substr(ts, 12, 8), container, type, reason, exit_code, seconds, container_id
         FROM container_termination ORDER BY ts",
        &[
            "node-1|12:01:00|a|container|OOMKilled|137|60.000|x://1",
            "node-1|12:06:30|a|container|Error|1|390.000|x://2",
        ],
    );
}
