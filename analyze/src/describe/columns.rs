//! Objects a line each, in kubectl's columns.

use std::fmt::Write as _;

use periscope_store::time::parse_rfc3339;
use serde_json::Value;

use super::kind::Kind;
use super::pod::{self, list, text};
use super::{Event, Object, age};
use crate::output;

/// Columns, and how many of them `-o wide` alone shows.
type Layout = (&'static [&'static str], usize);

/// Lines with their columns aligned, three blanks between, as kubectl has them.
pub(super) fn aligned(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|name| name.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, width) in cells.zip(&widths) {
            let _ = write!(line, "{cell:width$}   ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(&mut header.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    text
}

/// A line for each object.
pub(super) fn table(kind: &Kind, objects: &[Object], wide: bool, namespaces: bool) -> String {
    let (names, wide_only) = layout(kind);
    let shown = if wide { names.len() } else { names.len() - wide_only };
    let namespaces = namespaces && objects.iter().any(|object| object.namespace.is_some());
    let mut header: Vec<&str> = if namespaces { vec!["NAMESPACE"] } else { Vec::new() };
    header.extend(&names[..shown]);
    let rows: Vec<Vec<String>> = objects
        .iter()
        .map(|object| {
            let namespace = object.namespace.clone().unwrap_or_default();
            let first = namespaces.then_some(namespace).into_iter();
            let cells = cells(kind, object).into_iter().take(shown);
            first.chain(cells).map(|cell| or_none(&output::one_line(&cell))).collect()
        })
        .collect();
    aligned(&header, &rows)
}

fn layout(kind: &Kind) -> Layout {
    match kind.name() {
        "Pod" => (
            &[
                "NAME",
                "READY",
                "STATUS",
                "RESTARTS",
                "AGE",
                "IP",
                "NODE",
                "NOMINATED NODE",
                "READINESS GATES",
            ],
            4,
        ),
        "Service" => {
            (&["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR"], 1)
        }
        "Node" => (
            &[
                "NAME",
                "STATUS",
                "ROLES",
                "AGE",
                "VERSION",
                "INTERNAL-IP",
                "EXTERNAL-IP",
                "OS-IMAGE",
                "KERNEL-VERSION",
                "CONTAINER-RUNTIME",
            ],
            5,
        ),
        "Deployment" => (
            &[
                "NAME",
                "READY",
                "UP-TO-DATE",
                "AVAILABLE",
                "AGE",
                "CONTAINERS",
                "IMAGES",
                "SELECTOR",
            ],
            3,
        ),
        "DaemonSet" => (
            &[
                "NAME",
                "DESIRED",
                "CURRENT",
                "READY",
                "UP-TO-DATE",
                "AVAILABLE",
                "NODE SELECTOR",
                "AGE",
                "CONTAINERS",
                "IMAGES",
                "SELECTOR",
            ],
            3,
        ),
        "EndpointSlice" => (&["NAME", "ADDRESSTYPE", "PORTS", "ENDPOINTS", "AGE"], 0),
        "ConfigMap" => (&["NAME", "DATA", "AGE"], 0),
        "PodDisruptionBudget" => {
            (&["NAME", "MIN AVAILABLE", "MAX UNAVAILABLE", "ALLOWED DISRUPTIONS", "AGE"], 0)
        }
        _ => (&["NAME", "AGE"], 0),
    }
}

fn cells(kind: &Kind, object: &Object) -> Vec<String> {
    let Object { json, read_ns, name, .. } = object;
    let (spec, status) = (&json["spec"], &json["status"]);
    let age = age::since(&json["metadata"]["creationTimestamp"], *read_ns);
    let number = |value: &Value| value.as_i64().unwrap_or(0).to_string();
    let containers = |key: &str| {
        let all = list(&spec["template"]["spec"]["containers"]).map(|c| text(&c[key]));
        all.collect::<Vec<_>>().join(",")
    };
    let name = name.clone();
    match kind.name() {
        "Pod" => {
            let state = pod::status(json, *read_ns);
            let (ip, node) = (text(&status["podIP"]), text(&spec["nodeName"]));
            let nominated = text(&status["nominatedNodeName"]).to_owned();
            let mut row = vec![name, state.ready, state.reason, state.restarts, age];
            row.extend([ip.to_owned(), node.to_owned(), nominated, readiness_gates(json)]);
            row
        }
        "Service" => vec![
            name,
            text(&spec["type"]).to_owned(),
            text(&spec["clusterIP"]).to_owned(),
            external_ip(json),
            list(&spec["ports"]).map(port).collect::<Vec<_>>().join(","),
            age,
            pairs(&spec["selector"], ","),
        ],
        "Node" => node(json, name, age),
        "Deployment" => vec![
            name,
            format!("{}/{}", number(&status["readyReplicas"]), number(&spec["replicas"])),
            number(&status["updatedReplicas"]),
            number(&status["availableReplicas"]),
            age,
            containers("name"),
            containers("image"),
            pairs(&spec["selector"]["matchLabels"], ","),
        ],
        "DaemonSet" => vec![
            name,
            number(&status["desiredNumberScheduled"]),
            number(&status["currentNumberScheduled"]),
            number(&status["numberReady"]),
            number(&status["updatedNumberScheduled"]),
            number(&status["numberAvailable"]),
            pairs(&spec["template"]["spec"]["nodeSelector"], ","),
            age,
            containers("name"),
            containers("image"),
            pairs(&spec["selector"]["matchLabels"], ","),
        ],
        "EndpointSlice" => {
            let ports: Vec<_> = list(&json["ports"]).map(|p| number(&p["port"])).collect();
            let addresses = list(&json["endpoints"]).flat_map(|e| list(&e["addresses"])).map(text);
            let all: Vec<_> = addresses.collect();
            let mut shown = all.iter().take(3).copied().collect::<Vec<_>>().join(",");
            if all.len() > 3 {
                let _ = write!(shown, " + {} more...", all.len() - 3);
            }
            vec![name, text(&json["addressType"]).to_owned(), ports.join(","), shown, age]
        }
        "ConfigMap" => {
            let count = |key: &str| json[key].as_object().map_or(0, serde_json::Map::len);
            vec![name, (count("data") + count("binaryData")).to_string(), age]
        }
        "PodDisruptionBudget" => {
            let bound = |value: &Value| match value {
                Value::Null => "N/A".to_owned(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let allowed = number(&status["disruptionsAllowed"]);
            vec![name, bound(&spec["minAvailable"]), bound(&spec["maxUnavailable"]), allowed, age]
        }
        _ => vec![name, age],
    }
}

/// How many readiness gates of a pod are met, of how many.
fn readiness_gates(json: &Value) -> String {
    let gates: Vec<&str> =
        list(&json["spec"]["readinessGates"]).map(|gate| text(&gate["conditionType"])).collect();
    if gates.is_empty() {
        return String::new();
    }
    let is_met = |gate: &&&str| {
        list(&json["status"]["conditions"])
            .any(|condition| condition["type"] == **gate && condition["status"] == "True")
    };
    format!("{}/{}", gates.iter().filter(is_met).count(), gates.len())
}

fn node(json: &Value, name: String, age: String) -> Vec<String> {
    let info = &json["status"]["nodeInfo"];
    let address = |kind: &str| {
        list(&json["status"]["addresses"])
            .find(|address| address["type"] == kind)
            .map_or("", |address| text(&address["address"]))
            .to_owned()
    };
    let mut row = vec![name, node_status(json), roles(json), age];
    row.push(text(&info["kubeletVersion"]).to_owned());
    row.extend(["InternalIP", "ExternalIP"].map(address));
    row.extend(
        ["osImage", "kernelVersion", "containerRuntimeVersion"]
            .map(|key| text(&info[key]).to_owned()),
    );
    row
}

fn node_status(json: &Value) -> String {
    let ready = list(&json["status"]["conditions"]).find(|condition| condition["type"] == "Ready");
    let mut state = match ready.map(|ready| text(&ready["status"])) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if json["spec"]["unschedulable"] == true {
        state.push_str(",SchedulingDisabled");
    }
    state
}

/// Roles of a node, by its labels.
pub(super) fn roles(json: &Value) -> String {
    let labels = json["metadata"]["labels"].as_object();
    let mut roles: Vec<String> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role.to_owned()),
            None if key == "kubernetes.io/role" => value.as_str().map(str::to_owned),
            None => None,
        })
        .collect();
    roles.sort();
    roles.join(",")
}

fn external_ip(json: &Value) -> String {
    let (spec, status) = (&json["spec"], &json["status"]);
    if spec["type"] == "ExternalName" {
        return text(&spec["externalName"]).to_owned();
    }
    let given = list(&status["loadBalancer"]["ingress"])
        .map(|ingress| ingress["ip"].as_str().unwrap_or_else(|| text(&ingress["hostname"])));
    let all: Vec<_> = given.chain(list(&spec["externalIPs"]).map(text)).collect();
    if all.is_empty() && spec["type"] == "LoadBalancer" {
        return "<pending>".to_owned();
    }
    all.join(",")
}

fn port(port: &Value) -> String {
    let protocol = port["protocol"].as_str().unwrap_or("TCP");
    match port["nodePort"].as_i64() {
        Some(node) if node > 0 => format!("{}:{node}/{protocol}", port["port"]),
        _ => format!("{}/{protocol}", port["port"]),
    }
}

/// Labels as `name=value`.
pub(super) fn pairs(labels: &Value, between: &str) -> String {
    let mut all: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", text(value)))
        .collect();
    all.sort();
    all.join(between)
}

/// What kubectl shows where there is nothing.
pub(super) fn or_none(text: &str) -> String {
    if text.is_empty() { "<none>".to_owned() } else { text.to_owned() }
}

/// A line for each event.
pub(super) fn events(events: &[&(Option<String>, Event)], now_ns: i64, namespaces: bool) -> String {
    let mut header = if namespaces { vec!["NAMESPACE"] } else { Vec::new() };
    header.extend(["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]);
    let rows: Vec<Vec<String>> = events
        .iter()
        .map(|(namespace, event)| {
            let namespace = namespace.clone().unwrap_or_default();
            let last = parse_rfc3339(&event.last)
                .map_or_else(|| "<unknown>".to_owned(), |ns| age::human(now_ns.saturating_sub(ns)));
            let cells = [last.as_str(), &event.kind, &event.reason, &event.about, &event.message];
            let first = namespaces.then_some(namespace).into_iter();
            first.chain(cells.map(output::one_line)).collect()
        })
        .collect();
    aligned(&header, &rows)
}
