//! What one applies to a cluster: it can be rendered, grants no more than it says,
//! takes the overlay of `az aks kollect` as that writes it, and leaves nothing that
//! its clean-up does not remove.
//!
//! Needs `kustomize`, or a kubectl that is new enough to have it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use periscope_tests::programs;
use serde_json::Value;

fn deployment() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deployment")
}

/// A kustomization, rendered.
fn render(folder: &Path) -> String {
    let has_own = Command::new("kustomize").arg("version").output().is_ok();
    let mut command = if has_own { Command::new("kustomize") } else { Command::new("kubectl") };
    command.arg(if has_own { "build" } else { "kustomize" }).arg(folder);
    programs::stdout_of(&mut command).expect("a rendered kustomization")
}

fn objects(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).expect("YAML")
}

/// The object of a kind; its name too, if there are several.
fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is_it = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects.iter().find(is_it).unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn kinds_and_names(objects: &[Value]) -> BTreeSet<(String, String)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    objects
        .iter()
        .map(|object| (text(&object["kind"]), text(&object["metadata"]["name"])))
        .collect()
}

/// Every folder below `deployment/` that is to be applied.
fn applicable() -> Vec<PathBuf> {
    let overlays = deployment().join("overlays");
    let mut folders: Vec<PathBuf> = fs::read_dir(&overlays)
        .expect("overlays")
        .map(|entry| entry.expect("a name").path())
        .collect();
    folders.extend(["base", "collect-once"].map(|name| deployment().join(name)));
    folders.sort();
    folders
}

/// An overlay with some more text in a folder next to ours: kustomize takes no
/// absolute paths.
fn overlay(text: &str) -> tempfile::TempDir {
    let folder =
        tempfile::Builder::new().prefix(".test-").tempdir_in(deployment()).expect("a folder");
    fs::write(folder.path().join("kustomization.yaml"), text).expect("written");
    folder
}

/// The overlay that `az aks kollect` writes (`acs`'s extension aks-preview), with our
/// folders in the place of its URLs. Its values are those of the extension's own test.
const KOLLECT: &str = "
resources:
- ../base

components:
- ../components/win-hpc

namespace: aks-periscope

images:
- name: periscope-linux
  newName: example.invalid/aks/periscope
  newTag: 0.0.10
- name: periscope-windows
  newName: example.invalid/aks/periscope-win
  newTag: 0.0.10

configMapGenerator:
- name: diagnostic-config
  behavior: merge
  literals:
  - DIAGNOSTIC_RUN_ID=2022-06-23T07-31-00Z
  - DIAGNOSTIC_CONTAINERLOGS_LIST=kube-system my-namespace
  - DIAGNOSTIC_KUBEOBJECTS_LIST=kube-system/service my-namespace/pod
  - DIAGNOSTIC_NODELOGS_LIST_LINUX=/var/log/messages
  - DIAGNOSTIC_NODELOGS_LIST_WINDOWS=C:\\AzureData\\CustomDataSetupScript.log

secretGenerator:
- name: azureblob-secret
  behavior: replace
  literals:
  - AZURE_BLOB_ACCOUNT_NAME=myaccount
  - AZURE_BLOB_SAS_KEY=?sv=2020-08-04&ss=b&sig=abc%3D
  - AZURE_BLOB_CONTAINER_NAME=my-container

generatorOptions:
  disableNameSuffixHash: true
";

/// What the clean-up of `az aks kollect` removes, beside all of some kinds in the
/// namespace. The namespace itself stays, as with the original.
fn is_cleaned_up(kind: &str, name: &str) -> bool {
    match kind {
        "ServiceAccount" | "ConfigMap" | "DaemonSet" | "Secret" => true,
        "ClusterRoleBinding" => {
            ["aks-periscope-role-binding", "aks-periscope-role-binding-view"].contains(&name)
        }
        "ClusterRole" => name == "aks-periscope-role",
        "CustomResourceDefinition" => name == "diagnostics.aks-periscope.azure.github.com",
        "Namespace" => name == "aks-periscope",
        _ => false,
    }
}

#[test]
fn all_is_rendered_into_the_namespace() {
    for folder in applicable() {
        let objects = objects(&render(&folder));
        for object in &objects {
            let kind = object["kind"].as_str().expect("a kind");
            let is_global = kind.starts_with("Cluster")
                || ["Namespace", "CustomResourceDefinition"].contains(&kind);
            let expected = if is_global { None } else { Some("aks-periscope") };
            assert_eq!(object["metadata"]["namespace"].as_str(), expected, "{object}");
        }
    }
}

#[test]
fn the_single_file_is_current() {
    let folder = tempfile::tempdir().expect("a folder");
    let fresh = folder.path().join("fresh.yaml");
    programs::stdout_of(
        Command::new("bash").arg(deployment().join("render")).arg("-o").arg(&fresh),
    )
    .expect("rendered");
    let fresh = fs::read_to_string(fresh).expect("text");
    let kept = fs::read_to_string(deployment().join("aks-periscope.yaml")).expect("text");
    // Two versions of kustomize may order alike objects otherwise, and mean the same.
    assert_eq!(objects(&kept), objects(&fresh), "run deployment/render");
}

#[test]
fn the_overlay_of_kollect_applies_as_it_is() {
    let folder = overlay(KOLLECT);
    let objects = objects(&render(folder.path()));
    let config = &object(&objects, "ConfigMap", "diagnostic-config")["data"];
    assert_eq!(config["DIAGNOSTIC_RUN_ID"], "2022-06-23T07-31-00Z");
    assert_eq!(config["DIAGNOSTIC_CONTAINERLOGS_LIST"], "kube-system my-namespace");
    assert_eq!(config["COLLECTOR_LIST"], "", "what it does not name stays");
    let secret = object(&objects, "Secret", "azureblob-secret");
    let names: Vec<&String> = secret["data"].as_object().expect("data").keys().collect();
    assert_eq!(
        names,
        ["AZURE_BLOB_ACCOUNT_NAME", "AZURE_BLOB_CONTAINER_NAME", "AZURE_BLOB_SAS_KEY"]
    );
    let set = object(&objects, "DaemonSet", "aks-periscope");
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], "example.invalid/aks/periscope:0.0.10");
    assert_eq!(set["metadata"]["labels"]["app"], "aks-periscope");
    assert_eq!(pod["serviceAccountName"], "aks-periscope-service-account");
}

#[test]
fn its_clean_up_leaves_nothing() {
    for folder in applicable() {
        // A pod that ends by itself is not of the original.
        let once = folder.ends_with("collect-once");
        for (kind, name) in kinds_and_names(&objects(&render(&folder))) {
            let is_once = once && kind == "Pod";
            assert!(is_cleaned_up(&kind, &name) || is_once, "{kind} {name} would stay");
        }
    }
}

#[test]
fn rights_are_few() {
    let objects = objects(&render(&deployment().join("base")));
    let role = object(&objects, "ClusterRole", "aks-periscope-role");
    for rule in role["rules"].as_array().expect("rules") {
        let list = |key: &str| -> Vec<&str> {
            rule[key].as_array().expect(key).iter().filter_map(Value::as_str).collect()
        };
        let (resources, verbs) = (list("resources"), list("verbs"));
        assert!(!resources.contains(&"secrets") && !resources.contains(&"*"), "{rule}");
        let reads = verbs.iter().all(|verb| ["get", "list"].contains(verb));
        let own = resources == ["leases"] || resources == ["diagnostics"];
        let writes = verbs.iter().all(|verb| ["get", "create", "update"].contains(verb));
        assert!(reads || own && writes, "{rule}");
        if resources == ["configmaps"] {
            assert!(!rule["resourceNames"].as_array().expect("names").is_empty(), "{rule}");
        }
    }
    let bound = &object(&objects, "ClusterRoleBinding", "aks-periscope-role-binding")["subjects"];
    assert_eq!(bound.as_array().expect("subjects").len(), 1);
}

#[test]
fn pods_are_confined() {
    for folder in applicable() {
        for object in objects(&render(&folder)) {
            let pod = match object["kind"].as_str() {
                Some("DaemonSet") => &object["spec"]["template"]["spec"],
                Some("Pod") => &object["spec"],
                _ => continue,
            };
            is_confined(pod, &folder);
        }
    }
}

fn is_confined(pod: &Value, folder: &Path) {
    let place = folder.display();
    assert_eq!(pod["tolerations"], serde_json::json!([{ "operator": "Exists" }]), "{place}");
    assert!(pod["hostPID"].is_null() && pod["hostIPC"].is_null(), "{place}");
    let container = &pod["containers"][0];
    let context = &container["securityContext"];
    assert_eq!(context["privileged"], false, "{place}");
    assert_eq!(context["allowPrivilegeEscalation"], false, "{place}");
    assert_eq!(context["readOnlyRootFilesystem"], true, "{place}");
    assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault", "{place}");
    assert_eq!(context["capabilities"]["drop"], serde_json::json!(["ALL"]), "{place}");
    for resource in ["requests", "limits"] {
        for unit in ["cpu", "memory"] {
            assert!(container["resources"][resource][unit].is_string(), "{place}: {unit}");
        }
    }
    for mount in container["volumeMounts"].as_array().expect("mounts") {
        let is_own = mount["mountPath"] == "/aks-periscope";
        assert_eq!(mount["readOnly"] == true, !is_own, "{place}: {mount}");
    }
    let volumes = pod["volumes"].as_array().expect("volumes");
    let output = volumes.iter().find(|volume| volume["name"] == "output").expect("output");
    assert_eq!(output["hostPath"]["path"], "/var/log/aks-periscope", "{place}");
}

#[test]
fn every_capability_has_its_reason() {
    for file in ["base/daemon-set.yaml", "collect-once/pod.yaml"] {
        let text = fs::read_to_string(deployment().join(file)).expect(file);
        let added = text.split_once("add:\n").expect("capabilities").1;
        let lines: Vec<&str> = added.lines().map(str::trim).collect();
        let mut found = 0;
        for pair in lines.windows(2).take_while(|pair| !pair[1].starts_with("volumeMounts")) {
            if let Some(name) = pair[1].strip_prefix("- ") {
                assert!(pair[0].starts_with("# "), "{file}: {name} without a reason");
                found += 1;
            }
        }
        assert_eq!(found, 4, "{file}: {added}");
    }
}

#[test]
fn components_do_what_they_say() {
    let folder = overlay(
        "resources: [../base]\n\
         components: [../components/workload-identity, ../components/restricted-egress, \
         ../components/cluster-name]\n\
         configMapGenerator:\n- name: diagnostic-config\n  namespace: aks-periscope\n  \
         behavior: merge\n  literals: [CLUSTER_NAME=shop-prod]\n\
         generatorOptions: {disableNameSuffixHash: true}\n",
    );
    let objects = objects(&render(folder.path()));
    let account = object(&objects, "ServiceAccount", "aks-periscope-service-account");
    let annotations = account["metadata"]["annotations"].as_object().expect("annotations");
    assert!(annotations.contains_key("azure.workload.identity/client-id"));
    let set = object(&objects, "DaemonSet", "aks-periscope");
    let template = &set["spec"]["template"];
    assert_eq!(template["metadata"]["labels"]["azure.workload.identity/use"], "true");
    assert_eq!(template["metadata"]["labels"]["app"], "aks-periscope");
    let container = &template["spec"]["containers"][0];
    let arguments = container["args"].as_array().expect("arguments");
    assert!(arguments.contains(&Value::from("--config=/config/agent.toml")), "{arguments:?}");
    let environment = container["env"].as_array().expect("variables");
    let variable = |name: &str| environment.iter().find(|variable| variable["name"] == name);
    assert!(variable("HOST_NODE_NAME").is_some(), "{environment:?}");
    let container_name = variable("AZURE_BLOB_CONTAINER_NAME").expect("set");
    assert_eq!(container_name["valueFrom"]["configMapKeyRef"]["key"], "CLUSTER_NAME");
    let config = &object(&objects, "ConfigMap", "diagnostic-config")["data"];
    assert_eq!(config["CLUSTER_NAME"], "shop-prod");

    // The file that it mounts is one that the agent takes.
    let file = folder.path().join("agent.toml");
    fs::write(&file, config["agent.toml"].as_str().expect("text")).expect("written");
    let mut command = programs::agent().expect("built");
    command.args(["run", "--print-config", "--config"]).arg(&file);
    let printed = programs::stdout_of(&mut command).expect("taken");
    assert!(printed.contains("api-server-in-cluster"), "{printed}");
}

#[test]
fn the_labs_targets_are_its_own() {
    let objects = objects(&render(&deployment().join("overlays/lab")));
    let config = &object(&objects, "ConfigMap", "diagnostic-config")["data"];
    let text = config["agent.toml"].as_str().expect("text");
    let urls: Vec<&str> = text.lines().filter(|line| line.starts_with("url")).collect();
    assert_eq!(urls.len(), 5);
    for url in urls {
        let is_own = [".lab.internal", "192.168.77.1", "kubernetes.default.svc:443"];
        assert!(is_own.iter().any(|part| url.contains(part)), "{url}");
    }
}

/// The keys of all generations of manifests, as a cluster gives them to the agent: keys as environment variables or as files.
#[test]
fn keys_of_every_generation_are_heeded() {
    let generations: [&[(&str, &str)]; 3] = [
        &[
            ("DIAGNOSTIC_CONTAINERLOGS_NAMESPACES", "shop"),
            ("DIAGNOSTIC_KUBEOBJECTS_NAMESPACES", "shop"),
            ("AZURE_BLOB_ACCOUNT_NAME", "account"),
        ],
        &[
            ("DIAGNOSTIC_CONTAINERLOGS_LIST", "shop"),
            ("DIAGNOSTIC_KUBEOBJECTS_LIST", "shop/pod shop/service"),
            ("DIAGNOSTIC_NODELOGS_LIST", "/var/log/shop.log"),
            ("AZURE_BLOB_ACCOUNT_NAME", "account"),
        ],
        &[
            ("DIAGNOSTIC_RUN_ID", "2022-06-23T07-31-00Z"),
            ("DIAGNOSTIC_CONTAINERLOGS_LIST", "shop"),
            ("DIAGNOSTIC_KUBEOBJECTS_LIST", "shop/pod"),
            ("DIAGNOSTIC_NODELOGS_LIST_LINUX", "\"/var/log/shop.log\""),
            ("AZURE_BLOB_ACCOUNT_NAME", "account"),
            ("AZURE_BLOB_CONTAINER_NAME", "container"),
        ],
    ];
    for keys in generations {
        let empty = tempfile::tempdir().expect("a folder");
        let mounted = tempfile::tempdir().expect("a folder");
        for (key, value) in keys {
            fs::write(mounted.path().join(key), value).expect("written");
        }
        let mut by_file = programs::agent().expect("built");
        by_file.args(["run", "--print-config", "--config-mount"]).arg(mounted.path());
        by_file.arg("--secret-mount").arg(mounted.path());
        let mut by_variable = programs::agent().expect("built");
        by_variable.args(["run", "--print-config", "--config-mount"]).arg(empty.path());
        by_variable.arg("--secret-mount").arg(empty.path()).envs(keys.iter().copied());
        for mut command in [by_file, by_variable] {
            let printed = programs::stdout_of(&mut command).expect("printed");
            for (key, value) in keys {
                assert!(printed.contains(key), "{key} is not heeded:\n{printed}");
                let value =
                    value.trim_matches('"').split(['/', ' ']).rfind(|part| !part.is_empty());
                let value = value.expect("a value");
                let heeded = ["pod", "service"].contains(&value) || printed.contains(value);
                assert!(heeded, "{key}={value} is not heeded:\n{printed}");
            }
        }
    }
}
