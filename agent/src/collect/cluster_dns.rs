//! DNS of the cluster as its objects state it: CoreDNS's configuration, the
//! address of its service, and whether a DNS cache runs on every node.

use std::time::Duration;

use anyhow::Result;
use periscope_store::batch::{Batch, Issue, IssueKind, Setting};
use serde_json::{Map, Value};

use super::objects::{Record, push_object};
use super::{Collector, Progress};
use crate::host::Host;
use crate::kube_client::{Api, ApiError, Connection, KubeAccess, Limits, Resource};

const CONFIG_MAPS: Resource =
    Resource { api_version: "v1", kind: "ConfigMap", plural: "configmaps" };
const SERVICES: Resource = Resource { api_version: "v1", kind: "Service", plural: "services" };
const DAEMON_SETS: Resource =
    Resource { api_version: "apps/v1", kind: "DaemonSet", plural: "daemonsets" };

/// Namespace of all that is read here.
const NAMESPACE: &str = "kube-system";

/// Scope of the settings.
const SCOPE: &str = "dns.cluster";

/// Reads what configures DNS for the pods of the cluster.
///
/// A custom configuration is one with keys in `coredns-custom`: AKS creates that
/// ConfigMap empty, and reverts changes of the `Corefile` itself.
pub(crate) struct ClusterDns {
    access: KubeAccess,
    limits: Limits,
}

impl ClusterDns {
    /// DNS of the cluster that `access` leads to.
    pub(crate) fn new(access: KubeAccess) -> Self {
        Self { access, limits: Limits::default() }
    }
}

impl Collector for ClusterDns {
    fn name(&self) -> &'static str {
        "dns-cluster"
    }

    fn interval(&self) -> Duration {
        Duration::from_mins(5)
    }

    fn spread(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn collect(&mut self, host: &Host, batch: &mut Batch) -> Result<Progress> {
        let api = match Api::connect(&self.access, host, self.limits)? {
            Connection::Api(api) => api,
            Connection::Absent(reason) => return Ok(Progress::Absent(reason)),
        };
        let (settings, record) = read(api, batch);
        for setting in settings {
            batch.setting(setting);
        }
        record.finish()
    }
}

/// The settings, and how reading them went. Objects and issues are in the batch.
fn read(api: Box<Api>, batch: &mut Batch) -> (Vec<Setting>, Record) {
    let (settings, record) = (Vec::new(), Record::default());
    let mut reader = Reader { api, settings, record, over: false, batch };
    reader.read_corefile();
    reader.read_custom();
    reader.read_service();
    reader.read_node_cache();
    (reader.settings, reader.record)
}

/// What a request for one object came to.
enum Answer {
    Object(Map<String, Value>),
    Missing,
    /// Why is an issue already.
    Unknown,
}

/// One poll.
struct Reader<'a> {
    api: Box<Api>,
    settings: Vec<Setting>,
    record: Record,
    over: bool,
    batch: &'a mut Batch,
}

impl Reader<'_> {
    fn read_corefile(&mut self) {
        match self.get(&CONFIG_MAPS, "coredns") {
            Answer::Object(map) => {
                self.push_data(&map, "configmap kube-system/coredns");
                push_object(&CONFIG_MAPS, map, self.batch);
            }
            Answer::Missing => self.absent("configmap kube-system/coredns"),
            Answer::Unknown => {}
        }
    }

    fn read_custom(&mut self) {
        let source = "configmap kube-system/coredns-custom";
        let (state, keys) = match self.get(&CONFIG_MAPS, "coredns-custom") {
            Answer::Object(map) => {
                let keys = self.push_data(&map, source);
                push_object(&CONFIG_MAPS, map, self.batch);
                ("present", keys)
            }
            Answer::Missing => ("absent", 0),
            Answer::Unknown => return,
        };
        self.push("coredns-custom", state.to_owned(), source);
        self.push("coredns-custom.keys", keys.to_string(), source);
    }

    fn read_service(&mut self) {
        let source = "service kube-system/kube-dns";
        match self.get(&SERVICES, "kube-dns") {
            Answer::Object(service) => {
                for address in cluster_addresses(&service) {
                    self.push("kube-dns.clusterIP", address, source);
                }
            }
            Answer::Missing => self.absent(source),
            Answer::Unknown => {}
        }
    }

    fn read_node_cache(&mut self) {
        let state = match self.get(&DAEMON_SETS, "node-local-dns") {
            Answer::Object(_) => "present",
            Answer::Missing => "absent",
            Answer::Unknown => return,
        };
        let source = "daemonset kube-system/node-local-dns";
        self.push("node-local-dns", state.to_owned(), source);
    }

    fn get(&mut self, resource: &Resource, name: &str) -> Answer {
        if self.over {
            return Answer::Unknown;
        }
        let error = match self.api.get(resource, Some(NAMESPACE), name) {
            Ok(Value::Object(object)) => {
                self.record.read();
                return Answer::Object(object);
            }
            Err(ApiError::NotFound) => {
                self.record.read();
                return Answer::Missing;
            }
            Ok(_) => ApiError::Damaged("no object".to_owned()),
            Err(error) => error,
        };
        let source = format!("{} {NAMESPACE}/{name}", resource.kind.to_ascii_lowercase());
        self.record.fail(&self.api, &error, &source, self.batch);
        self.over = error.ends_poll() || self.record.is_silent();
        Answer::Unknown
    }

    /// Pushes every text of a ConfigMap by its key, and counts them.
    fn push_data(&mut self, map: &Map<String, Value>, source: &str) -> usize {
        let data = map.get("data").and_then(Value::as_object);
        for (key, value) in data.into_iter().flatten() {
            self.push(key, value.as_str().unwrap_or_default().to_owned(), source);
        }
        data.map_or(0, Map::len)
    }

    fn push(&mut self, name: &str, value: String, source: &str) {
        self.settings.push(Setting {
            scope: SCOPE.to_owned(),
            name: name.to_owned(),
            value: Some(value),
            source: source.to_owned(),
        });
    }

    fn absent(&mut self, source: &str) {
        self.batch.issue(Issue {
            source: source.to_owned(),
            kind: IssueKind::Absent,
            amount: None,
            unit: None,
            message: "the cluster has no such object".to_owned(),
        });
    }
}

/// Addresses of a service: of both families where it has two, from the older
/// field where the server knows no other.
fn cluster_addresses(service: &Map<String, Value>) -> Vec<String> {
    let Some(spec) = service.get("spec") else { return Vec::new() };
    let both = spec.get("clusterIPs").and_then(Value::as_array).filter(|both| !both.is_empty());
    let one = spec.get("clusterIP").into_iter();
    let addresses = both.into_iter().flatten().chain(one.filter(|_| both.is_none()));
    addresses.filter_map(|address| address.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kube_client::fake::{Answer, Asked, FakeServer, quick};

    const COREFILE: &str =
        ".:53 {\n    forward . /etc/resolv.conf\n    import custom/*.override\n}\n";

    fn cluster(asked: &Asked) -> Answer {
        let config_map = |data: Value| {
            Answer::Object(json!({
                "kind": "ConfigMap", "apiVersion": "v1",
                "metadata": { "name": "x", "namespace": "kube-system" }, "data": data,
            }))
        };
        match asked.path.as_str() {
            "/api/v1/namespaces/kube-system/configmaps/coredns" => {
                config_map(json!({ "Corefile": COREFILE }))
            }
            "/api/v1/namespaces/kube-system/configmaps/coredns-custom" => {
                config_map(json!({ "log.override": "log", "a.server": "a:53 {}" }))
            }
            "/api/v1/namespaces/kube-system/services/kube-dns" => Answer::Object(json!({
                "spec": { "clusterIP": "10.0.0.10", "clusterIPs": ["10.0.0.10", "fd00::a"] },
            })),
            "/apis/apps/v1/namespaces/kube-system/daemonsets/node-local-dns" => {
                Answer::Object(json!({ "kind": "DaemonSet" }))
            }
            _ => Answer::Status(404, "not found"),
        }
    }

    /// Name, value and source of every setting; the batch; the outcome.
    fn given(server: &FakeServer) -> (Vec<[String; 3]>, Batch, Result<Progress>) {
        let mut batch = Batch::new("t");
        let (settings, record) = read(server.api(quick()), &mut batch);
        assert!(settings.iter().all(|setting| setting.scope == "dns.cluster"));
        let settings = settings
            .into_iter()
            .map(|setting| [setting.name, setting.value.unwrap_or_default(), setting.source]);
        (settings.collect(), batch, record.finish())
    }

    #[test]
    fn configuration_addresses_and_caches_are_settings() {
        let (settings, batch, progress) = given(&FakeServer::start(cluster));
        let custom = "configmap kube-system/coredns-custom";
        let service = "service kube-system/kube-dns";
        assert_eq!(
            settings,
            [
                ["Corefile", COREFILE, "configmap kube-system/coredns"],
                ["log.override", "log", custom],
                ["a.server", "a:53 {}", custom],
                ["coredns-custom", "present", custom],
                ["coredns-custom.keys", "2", custom],
                ["kube-dns.clusterIP", "10.0.0.10", service],
                ["kube-dns.clusterIP", "fd00::a", service],
                ["node-local-dns", "present", "daemonset kube-system/node-local-dns"],
            ]
        );
        assert_eq!(batch.row_count(), 2);
        assert_eq!(progress.expect("a poll"), Progress::Done);
    }

    #[test]
    fn what_does_not_exist_is_told_apart_from_what_is_refused() {
        let server = FakeServer::start(|asked| match asked.path.as_str() {
            path if path.ends_with("/kube-dns") => {
                Answer::Object(json!({ "spec": { "clusterIP": "10.96.0.10" } }))
            }
            path if path.ends_with("/node-local-dns") => Answer::Status(403, "no"),
            _ => Answer::Status(404, "not found"),
        });
        let (settings, batch, progress) = given(&server);
        let settings: Vec<_> =
            settings.iter().map(|[name, value, _]| [&**name, &**value]).collect();
        assert_eq!(
            settings,
            [
                ["coredns-custom", "absent"],
                ["coredns-custom.keys", "0"],
                ["kube-dns.clusterIP", "10.96.0.10"],
            ]
        );
        let issues = format!("{batch:?}");
        let absent = r#"source: "configmap kube-system/coredns", kind: Absent"#;
        let refused = r#"source: "daemonset kube-system/node-local-dns", kind: Unreadable"#;
        assert!(issues.contains(absent) && issues.contains(refused), "{issues}");
        assert_eq!(progress.expect("a poll"), Progress::Done);
    }

    #[test]
    fn refusal_of_everything_is_a_failure_and_silence_is_absence() {
        let (settings, _, progress) = given(&FakeServer::start(|_| Answer::Status(403, "no")));
        assert_eq!(settings.len(), 0);
        assert!(
            progress.expect_err("a failure").to_string().starts_with("every request was refused")
        );
        let server = FakeServer::start(|_| Answer::Close);
        let (_, batch, progress) = given(&server);
        assert!(matches!(progress, Ok(Progress::Absent(_))));
        assert_eq!((server.paths().len(), batch.has_losses()), (1, false));
    }

    #[test]
    fn a_poll_puts_settings_and_objects_into_the_batch() {
        let server = FakeServer::start(cluster);
        let (_folder, host) = server.node();
        let mut collector =
            ClusterDns { limits: quick(), ..ClusterDns::new(KubeAccess::default()) };
        let mut batch = Batch::new("t");
        assert_eq!(collector.collect(&host, &mut batch).expect("a poll"), Progress::Done);
        assert_eq!(batch.row_count(), 10);
    }

    /// Against a real cluster, as the tests of the objects are.
    #[test]
    fn a_real_cluster_is_read() {
        let Some(path) = std::env::var_os("PERISCOPE_LAB_KUBECONFIG") else {
            println!("skipped: PERISCOPE_LAB_KUBECONFIG names no kubeconfig");
            return;
        };
        let host = Host::open(std::path::Path::new("/")).expect("a root");
        let kubeconfig = Some(path.into_string().expect("a path"));
        let access = KubeAccess { kubeconfig, ..KubeAccess::default() };
        let Ok(Connection::Api(api)) = Api::connect(&access, &host, Limits::default()) else {
            panic!("no credentials")
        };
        let mut batch = Batch::new("t");
        let (settings, record) = read(api, &mut batch);
        for setting in &settings {
            println!("{setting:?}");
        }
        println!("{batch:?}");
        assert_eq!(record.finish().expect("a poll"), Progress::Done);
        assert!(settings.iter().any(|setting| setting.name == "kube-dns.clusterIP"));
    }
}
