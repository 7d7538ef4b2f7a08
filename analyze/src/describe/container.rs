//! A container of a pod, as kubectl describes it.

use serde_json::Value;

use super::pod::{list, text};
use super::sections::{Page, scalar, title};

/// Writes what a container is told to be, and what became of it.
pub(super) fn describe(page: &mut Page, container: &Value, status: &Value) {
    page.line(1, &format!("{}:", text(&container["name"])));
    if status.is_object() {
        page.maybe_blank(2, "Container ID", text(&status["containerID"]));
    }
    page.field_at(2, "Image", text(&container["image"]));
    if status.is_object() {
        page.maybe_blank(2, "Image ID", text(&status["imageID"]));
    }
    let ports: Vec<_> = list(&container["ports"])
        .map(|p| format!("{}/{}", p["containerPort"], p["protocol"].as_str().unwrap_or("TCP")))
        .collect();
    page.field_at(2, if ports.len() > 1 { "Ports" } else { "Port" }, &ports.join(", "));
    let on_host: Vec<_> = list(&container["ports"])
        .map(|p| {
            let protocol = p["protocol"].as_str().unwrap_or("TCP");
            format!("{}/{protocol}", p["hostPort"].as_i64().unwrap_or(0))
        })
        .collect();
    page.field_at(2, if ports.len() > 1 { "Host Ports" } else { "Host Port" }, &on_host.join(", "));
    for (name, key) in [("Command", "command"), ("Args", "args")] {
        if list(&container[key]).next().is_some() {
            page.line(2, &format!("{name}:"));
            list(&container[key]).for_each(|word| page.line(3, text(word)));
        }
    }
    if status.is_object() {
        describe_status(page, status);
    }
    for (name, key) in [("Limits", "limits"), ("Requests", "requests")] {
        if let Some(map) = container["resources"][key].as_object() {
            page.line(2, &format!("{name}:"));
            map.iter().for_each(|(key, value)| page.field_at(3, key, &scalar(value)));
        }
    }
    for (name, key) in [
        ("Liveness", "livenessProbe"),
        ("Readiness", "readinessProbe"),
        ("Startup", "startupProbe"),
    ] {
        if !container[key].is_null() {
            page.field_at(2, name, &probe(&container[key]));
        }
    }
    if list(&container["env"]).next().is_none() {
        page.field_at(2, "Environment", "");
    } else {
        page.line(2, "Environment:");
        for variable in list(&container["env"]) {
            let from = &variable["valueFrom"];
            let value =
                if from.is_null() { text(&variable["value"]).to_owned() } else { from.to_string() };
            page.line(3, &format!("{}:  {value}", text(&variable["name"])));
        }
    }
    if list(&container["volumeMounts"]).next().is_some() {
        page.line(2, "Mounts:");
        for mount in list(&container["volumeMounts"]) {
            let mode = if mount["readOnly"] == true { "ro" } else { "rw" };
            let (path, name) = (text(&mount["mountPath"]), text(&mount["name"]));
            page.line(3, &format!("{path} from {name} ({mode})"));
        }
    }
}

fn describe_status(page: &mut Page, status: &Value) {
    describe_state(page, "State", &status["state"]);
    if status["lastState"].as_object().is_some_and(|state| !state.is_empty()) {
        describe_state(page, "Last State", &status["lastState"]);
    }
    page.field_at(2, "Ready", if status["ready"] == true { "True" } else { "False" });
    page.field_at(2, "Restart Count", &status["restartCount"].as_i64().unwrap_or(0).to_string());
}

fn describe_state(page: &mut Page, name: &str, state: &Value) {
    let first = state.as_object().and_then(|state| state.iter().next());
    let Some((kind, state)) = first else {
        page.field_at(2, name, "Waiting");
        return;
    };
    page.field_at(2, name, &title(kind));
    for (name, key) in [
        ("Reason", "reason"),
        ("Message", "message"),
        ("Exit Code", "exitCode"),
        ("Signal", "signal"),
        ("Started", "startedAt"),
        ("Finished", "finishedAt"),
    ] {
        if !state[key].is_null() {
            page.field_at(3, name, &scalar(&state[key]));
        }
    }
}

/// A probe as kubectl writes it.
fn probe(probe: &Value) -> String {
    let number = |key: &str, default: i64| probe[key].as_i64().unwrap_or(default);
    let http = &probe["httpGet"];
    let what = if http.is_object() {
        let scheme = http["scheme"].as_str().unwrap_or("HTTP").to_lowercase();
        let (host, path) = (text(&http["host"]), text(&http["path"]));
        format!("http-get {scheme}://{host}:{}{path}", scalar(&http["port"]))
    } else if probe["tcpSocket"].is_object() {
        format!("tcp-socket :{}", scalar(&probe["tcpSocket"]["port"]))
    } else if probe["grpc"].is_object() {
        format!("grpc :{}", scalar(&probe["grpc"]["port"]))
    } else {
        let words: Vec<_> = list(&probe["exec"]["command"]).map(text).collect();
        format!("exec [{}]", words.join(" "))
    };
    format!(
        "{what} delay={}s timeout={}s period={}s #success={} #failure={}",
        number("initialDelaySeconds", 0),
        number("timeoutSeconds", 1),
        number("periodSeconds", 10),
        number("successThreshold", 1),
        number("failureThreshold", 3)
    )
}
