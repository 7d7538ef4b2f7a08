//! Volumes of a pod, in kubectl's words.

use serde_json::Value;

use super::columns::or_none;
use super::pod::{list, text};

/// What a volume is and where it comes from, a name and a value each; `None` of a kind
/// that has no words here.
pub(super) fn describe(volume: &Value) -> Option<Vec<(&'static str, String)>> {
    let (kind, value) = volume.as_object()?.iter().find(|(key, _)| *key != "name")?;
    let own = |key: &str| text(&value[key]).to_owned();
    let flag = |value: &Value| value.as_bool().unwrap_or(false).to_string();
    let mut all = vec![("Type", kind_in_words(kind)?.to_owned())];
    match kind.as_str() {
        "secret" => {
            all.extend([("SecretName", own("secretName")), ("Optional", flag(&value["optional"]))]);
        }
        "configMap" => all.extend([("Name", own("name")), ("Optional", flag(&value["optional"]))]),
        "emptyDir" => {
            let limit = value["sizeLimit"].as_str().unwrap_or("<unset>").to_owned();
            all.extend([("Medium", own("medium")), ("SizeLimit", limit)]);
        }
        "hostPath" => all.extend([("Path", own("path")), ("HostPathType", own("type"))]),
        "persistentVolumeClaim" => {
            all.extend([("ClaimName", own("claimName")), ("ReadOnly", flag(&value["readOnly"]))]);
        }
        _ => list(&value["sources"]).for_each(|source| all.extend(projected(source))),
    }
    Some(all)
}

fn kind_in_words(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "secret" => "Secret (a volume populated by a Secret)",
        "configMap" => "ConfigMap (a volume populated by a ConfigMap)",
        "emptyDir" => "EmptyDir (a temporary directory that shares a pod's lifetime)",
        "hostPath" => "HostPath (bare host directory volume)",
        "persistentVolumeClaim" => {
            "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)"
        }
        "projected" => "Projected (a volume that contains injected data from multiple sources)",
        _ => return None,
    })
}

/// One of the sources of a projected volume.
fn projected(source: &Value) -> Vec<(&'static str, String)> {
    let (secret, map) = (&source["secret"], &source["configMap"]);
    let optional = |value: &Value| {
        or_none(&value["optional"].as_bool().map_or(String::new(), |b| b.to_string()))
    };
    if secret.is_object() {
        return vec![
            ("SecretName", text(&secret["name"]).to_owned()),
            ("SecretOptionalName", optional(secret)),
        ];
    }
    if map.is_object() {
        return vec![
            ("ConfigMapName", text(&map["name"]).to_owned()),
            ("ConfigMapOptional", optional(map)),
        ];
    }
    if source["downwardAPI"].is_object() {
        return vec![("DownwardAPI", "true".to_owned())];
    }
    let seconds = source["serviceAccountToken"]["expirationSeconds"].as_i64();
    seconds.map(|seconds| ("TokenExpirationSeconds", seconds.to_string())).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn volumes_are_told_as_kubectl_does() {
        let lines = |volume: &Value| {
            let all = describe(volume).unwrap_or_default();
            all.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        let volume = json!({"name": "a", "secret": {"secretName": "s", "defaultMode": 420}});
        let secret = "Type=Secret (a volume populated by a Secret)";
        assert_eq!(lines(&volume), [secret, "SecretName=s", "Optional=false"]);
        let volume = json!({"projected": {"sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt"}}, {"downwardAPI": {"items": []}}]}});
        assert_eq!(
            lines(&volume)[1..],
            [
                "TokenExpirationSeconds=3607",
                "ConfigMapName=kube-root-ca.crt",
                "ConfigMapOptional=<none>",
                "DownwardAPI=true",
            ]
        );
        assert_eq!(lines(&json!({"name": "a", "csi": {"driver": "d"}})), [""; 0]);
        assert_eq!(lines(&json!({"name": "a"})), [""; 0]);
    }
}
