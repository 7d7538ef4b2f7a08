//! All of an object in kubectl's sections.

use std::fmt::Write as _;

use periscope_store::time::parse_rfc3339;
use serde_json::Value;

use super::columns::{aligned, or_none, pairs, roles};
use super::pod::{self, list, text};
use super::{Event, Object, age, container, volume};
use crate::manners;
use crate::output;

/// Columns before the values of the first level.
const VALUES: usize = 18;

/// Everything about an object; of a node also its pods.
pub(super) fn describe(object: &Object, pods: &[Object], events: &[Event]) -> String {
    let mut page = Page::default();
    let json = &object.json;
    page.field("Name", &object.name);
    if let Some(namespace) = &object.namespace {
        page.field("Namespace", namespace);
    }
    match object.kind.as_str() {
        "Pod" => describe_pod(&mut page, json),
        "Service" => describe_service(&mut page, json),
        "Node" => describe_node(&mut page, json, object, pods),
        "Deployment" | "DaemonSet" | "ReplicaSet" | "StatefulSet" => {
            describe_workload(&mut page, json);
        }
        "ConfigMap" => describe_config_map(&mut page, json),
        _ => {
            page.metadata(json);
            for (key, value) in json.as_object().into_iter().flatten() {
                if !["metadata", "kind", "apiVersion"].contains(&key.as_str()) {
                    page.tree(0, &title(key), value);
                }
            }
        }
    }
    page.events(events, object.read_ns);
    page.text
}

/// Text that grows.
#[derive(Default)]
pub(super) struct Page {
    text: String,
}

impl Page {
    pub(super) fn line(&mut self, depth: usize, text: &str) {
        let _ = writeln!(
            self.text,
            "{:depth$}{}",
            "",
            manners::zoned(&output::one_line(text)),
            depth = depth * 2
        );
    }

    pub(super) fn field(&mut self, name: &str, value: &str) {
        self.field_at(0, name, value);
    }

    pub(super) fn field_at(&mut self, depth: usize, name: &str, value: &str) {
        let width = VALUES.saturating_sub(depth * 2);
        self.line(depth, &format!("{:width$} {}", format!("{name}:"), or_none(value)));
    }

    /// A field that kubectl leaves blank where there is nothing.
    pub(super) fn maybe_blank(&mut self, depth: usize, name: &str, value: &str) {
        if value.is_empty() {
            self.line(depth, &format!("{name}:"));
        } else {
            self.field_at(depth, name, value);
        }
    }

    /// A field that has a line for each value.
    fn fields(&mut self, name: &str, values: &[String]) {
        self.field(name, values.first().map_or("", String::as_str));
        for value in values.iter().skip(1) {
            self.line(0, &format!("{:VALUES$} {value}", ""));
        }
    }

    fn metadata(&mut self, json: &Value) {
        let metadata = &json["metadata"];
        let lines =
            |value: &Value| pairs(value, "\n").lines().map(str::to_owned).collect::<Vec<_>>();
        self.fields("Labels", &lines(&metadata["labels"]));
        let annotations: Vec<_> = metadata["annotations"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| format!("{name}: {}", text(value)))
            .collect();
        self.fields("Annotations", &annotations);
        if metadata["deletionTimestamp"].is_string() {
            self.field("Deleted", text(&metadata["deletionTimestamp"]));
        }
    }

    fn conditions(&mut self, conditions: &Value, names: &[(&str, &str)]) {
        let rows: Vec<Vec<String>> = list(conditions)
            .map(|condition| {
                names.iter().map(|(_, key)| output::one_line(text(&condition[*key]))).collect()
            })
            .collect();
        self.line(0, "Conditions:");
        let header: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        self.block(1, &aligned(&header, &rows));
    }

    fn block(&mut self, depth: usize, block: &str) {
        block.lines().for_each(|line| self.line(depth, line));
    }

    /// A value with everything below it.
    fn tree(&mut self, depth: usize, name: &str, value: &Value) {
        match value {
            Value::Object(map) => {
                self.line(depth, &format!("{name}:"));
                for (key, value) in map {
                    self.tree(depth + 1, &title(key), value);
                }
            }
            Value::Array(values) => {
                self.line(depth, &format!("{name}:"));
                for value in values {
                    match value {
                        Value::Object(map) => {
                            for (key, value) in map {
                                self.tree(depth + 1, &title(key), value);
                            }
                            self.line(depth + 1, "");
                        }
                        other => self.line(depth + 1, &scalar(other)),
                    }
                }
            }
            Value::String(text) if text.contains('\n') => {
                self.line(depth, &format!("{name}:"));
                self.block(depth + 1, text);
            }
            other => self.line(depth, &format!("{name}:  {}", scalar(other))),
        }
    }

    fn events(&mut self, events: &[Event], now_ns: i64) {
        if events.is_empty() {
            self.field("Events", "");
            return;
        }
        let rows: Vec<Vec<String>> = events
            .iter()
            .map(|event| {
                let ago = |time: &str| {
                    let then = parse_rfc3339(time).unwrap_or(now_ns);
                    age::human(now_ns.saturating_sub(then).max(0))
                };
                let when = if event.count > 1 {
                    format!("{} (x{} over {})", ago(&event.last), event.count, ago(&event.first))
                } else {
                    ago(&event.last)
                };
                [&event.kind, &event.reason, &when, &event.component, &event.message]
                    .map(|cell| output::one_line(cell))
                    .to_vec()
            })
            .collect();
        self.line(0, "Events:");
        self.block(1, &aligned(&["Type", "Reason", "Age", "From", "Message"], &rows));
    }
}

pub(super) fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A key as words, as kubectl shows those of kinds it does not know.
pub(super) fn title(key: &str) -> String {
    let mut words = String::new();
    for (at, c) in key.chars().enumerate() {
        if at == 0 {
            words.extend(c.to_uppercase());
            continue;
        }
        if c.is_uppercase() && !words.ends_with(|before: char| before.is_uppercase()) {
            words.push(' ');
        }
        words.push(c);
    }
    words
}

fn owner(json: &Value) -> Option<String> {
    let owner = list(&json["metadata"]["ownerReferences"]).find(|o| o["controller"] == true)?;
    Some(format!("{}/{}", text(&owner["kind"]), text(&owner["name"])))
}

fn describe_pod(page: &mut Page, json: &Value) {
    let (spec, status) = (&json["spec"], &json["status"]);
    if let Some(priority) = spec["priority"].as_i64() {
        page.field("Priority", &priority.to_string());
    }
    if spec["priorityClassName"].is_string() {
        page.field("Priority Class Name", text(&spec["priorityClassName"]));
    }
    page.field("Service Account", text(&spec["serviceAccountName"]));
    if spec["nodeName"].is_string() {
        page.field("Node", &format!("{}/{}", text(&spec["nodeName"]), text(&status["hostIP"])));
    } else {
        page.field("Node", "");
    }
    if status["startTime"].is_string() {
        page.field("Start Time", text(&status["startTime"]));
    }
    page.metadata(json);
    page.field("Status", text(&status["phase"]));
    for key in ["reason", "message"] {
        if status[key].is_string() {
            page.field(&title(key), text(&status[key]));
        }
    }
    page.maybe_blank(0, "IP", text(&status["podIP"]));
    if list(&status["podIPs"]).next().is_none() {
        page.field("IPs", "");
    } else {
        page.line(0, "IPs:");
        list(&status["podIPs"]).for_each(|ip| page.line(1, &format!("IP:  {}", text(&ip["ip"]))));
    }
    if let Some(owner) = owner(json) {
        page.field("Controlled By", &owner);
    }
    for (name, containers, statuses) in [
        ("Init Containers", "initContainers", "initContainerStatuses"),
        ("Containers", "containers", "containerStatuses"),
    ] {
        if list(&spec[containers]).next().is_some() {
            page.line(0, &format!("{name}:"));
        }
        for container in list(&spec[containers]) {
            let found = list(&status[statuses]).find(|status| status["name"] == container["name"]);
            container::describe(page, container, found.unwrap_or(&Value::Null));
        }
    }
    page.conditions(&status["conditions"], &[("Type", "type"), ("Status", "status")]);
    page.line(0, "Volumes:");
    for volume in list(&spec["volumes"]) {
        page.line(1, &format!("{}:", text(&volume["name"])));
        if let Some(lines) = volume::describe(volume) {
            lines.iter().for_each(|(name, value)| page.maybe_blank(2, name, value));
            continue;
        }
        for (kind, value) in volume.as_object().into_iter().flatten() {
            if kind != "name" {
                page.tree(2, &title(kind), value);
            }
        }
    }
    page.field("QoS Class", text(&status["qosClass"]));
    page.field("Node-Selectors", &pairs(&spec["nodeSelector"], ", "));
    page.fields("Tolerations", &list(&spec["tolerations"]).map(toleration).collect::<Vec<_>>());
}

fn toleration(toleration: &Value) -> String {
    let mut line = text(&toleration["key"]).to_owned();
    if toleration["value"].is_string() {
        let _ = write!(line, "={}", text(&toleration["value"]));
    }
    if toleration["effect"].is_string() {
        let _ = write!(line, ":{}", text(&toleration["effect"]));
    }
    if toleration["operator"] == "Exists" && toleration["value"].is_null() {
        line.push_str(" op=Exists");
    }
    if let Some(seconds) = toleration["tolerationSeconds"].as_i64() {
        let _ = write!(line, " for {seconds}s");
    }
    line.trim_start().to_owned()
}

/// Keys are as they were written: they are names of files.
fn describe_config_map(page: &mut Page, json: &Value) {
    page.metadata(json);
    page.block(0, "\nData\n====");
    for (key, value) in json["data"].as_object().into_iter().flatten() {
        page.line(0, &format!("{key}:"));
        page.block(0, &format!("----\n{}\n\n", text(value)));
    }
    page.block(0, "BinaryData\n====");
    for (key, value) in json["binaryData"].as_object().into_iter().flatten() {
        // As long as base64 says, whose last letters may stand for less.
        let encoded = text(value).trim_end_matches('=').len();
        page.line(0, &format!("{key}: {} bytes", encoded * 3 / 4));
    }
    page.line(0, "");
}

fn describe_service(page: &mut Page, json: &Value) {
    let spec = &json["spec"];
    page.metadata(json);
    page.field("Selector", &pairs(&spec["selector"], ","));
    page.field("Type", text(&spec["type"]));
    page.field("IP", text(&spec["clusterIP"]));
    if spec["type"] == "ExternalName" {
        page.field("External Name", text(&spec["externalName"]));
    }
    let ingress: Vec<_> = list(&json["status"]["loadBalancer"]["ingress"])
        .map(|i| i["ip"].as_str().unwrap_or_else(|| text(&i["hostname"])))
        .collect();
    if !ingress.is_empty() {
        page.field("LoadBalancer Ingress", &ingress.join(", "));
    }
    for port in list(&spec["ports"]) {
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        let name = port["name"].as_str().unwrap_or("<unset>");
        page.field("Port", &format!("{name}  {}/{protocol}", port["port"]));
        page.field("TargetPort", &format!("{}/{protocol}", scalar(&port["targetPort"])));
        if let Some(node) = port["nodePort"].as_i64() {
            page.field("NodePort", &format!("{name}  {node}/{protocol}"));
        }
    }
    page.field("Session Affinity", text(&spec["sessionAffinity"]));
    if spec["externalTrafficPolicy"].is_string() {
        page.field("External Traffic Policy", text(&spec["externalTrafficPolicy"]));
    }
}

fn describe_node(page: &mut Page, json: &Value, object: &Object, pods: &[Object]) {
    let (spec, status) = (&json["spec"], &json["status"]);
    page.field("Roles", &roles(json));
    page.metadata(json);
    page.field("CreationTimestamp", text(&json["metadata"]["creationTimestamp"]));
    let taints: Vec<_> = list(&spec["taints"]).map(toleration).collect();
    page.fields("Taints", &taints);
    page.field("Unschedulable", &(spec["unschedulable"] == true).to_string());
    page.conditions(
        &status["conditions"],
        &[
            ("Type", "type"),
            ("Status", "status"),
            ("LastHeartbeatTime", "lastHeartbeatTime"),
            ("LastTransitionTime", "lastTransitionTime"),
            ("Reason", "reason"),
            ("Message", "message"),
        ],
    );
    page.line(0, "Addresses:");
    for address in list(&status["addresses"]) {
        page.field_at(1, text(&address["type"]), text(&address["address"]));
    }
    for (name, key) in [("Capacity", "capacity"), ("Allocatable", "allocatable")] {
        page.line(0, &format!("{name}:"));
        for (name, value) in status[key].as_object().into_iter().flatten() {
            page.field_at(1, name, &scalar(value));
        }
    }
    page.line(0, "System Info:");
    for (name, value) in status["nodeInfo"].as_object().into_iter().flatten() {
        page.field_at(1, &title(name), &scalar(value));
    }
    let rows: Vec<Vec<String>> = pods
        .iter()
        .map(|pod| {
            let state = pod::status(&pod.json, pod.read_ns);
            let age = age::since(&pod.json["metadata"]["creationTimestamp"], object.read_ns);
            let namespace = pod.namespace.clone().unwrap_or_default();
            vec![namespace, pod.name.clone(), state.ready, state.reason, age]
        })
        .collect();
    page.line(0, &format!("Non-terminated Pods: ({} in total)", rows.len()));
    page.block(1, &aligned(&["Namespace", "Name", "Ready", "Status", "Age"], &rows));
}

fn describe_workload(page: &mut Page, json: &Value) {
    let (spec, status) = (&json["spec"], &json["status"]);
    page.field("CreationTimestamp", text(&json["metadata"]["creationTimestamp"]));
    page.metadata(json);
    page.field("Selector", &pairs(&spec["selector"]["matchLabels"], ","));
    for (name, value) in status.as_object().into_iter().flatten() {
        if value.is_number() {
            page.field(&title(name), &value.to_string());
        }
    }
    if let Some(replicas) = spec["replicas"].as_i64() {
        page.field("Replicas", &format!("{replicas} desired"));
    }
    let strategy = [&spec["strategy"], &spec["updateStrategy"]];
    for strategy in strategy.into_iter().filter(|strategy| strategy.is_object()) {
        page.field("StrategyType", text(&strategy["type"]));
    }
    page.line(0, "Pod Template:");
    page.field_at(1, "Labels", &pairs(&spec["template"]["metadata"]["labels"], ","));
    let template = &spec["template"]["spec"];
    for container in list(&template["initContainers"]).chain(list(&template["containers"])) {
        page.line(1, &format!("{}:", text(&container["name"])));
        page.field_at(2, "Image", text(&container["image"]));
        for (name, key) in [("Limits", "limits"), ("Requests", "requests")] {
            if let Some(map) = container["resources"][key].as_object() {
                page.line(2, &format!("{name}:"));
                map.iter().for_each(|(key, value)| page.field_at(3, key, &scalar(value)));
            }
        }
    }
    if !status["conditions"].is_null() {
        page.conditions(
            &status["conditions"],
            &[("Type", "type"), ("Status", "status"), ("Reason", "reason"), ("Message", "message")],
        );
    }
}
