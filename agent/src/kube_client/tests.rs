//! The client against a server that hangs, breaks, refuses and talks too much,
//! and the places where credentials are found.

use std::time::Duration;

use serde_json::json;

use super::fake::{Answer, FakeServer, kubeconfig, list, node, quick};
use super::{Api, ApiError, Connection, KubeAccess, Limits, Resource, Selection};

const PODS: Resource = Resource { api_version: "v1", kind: "Pod", plural: "pods" };

fn pods(namespace: &str) -> Selection {
    Selection { resource: PODS, namespace: Some(namespace.to_owned()), fields: Vec::new() }
}

/// Error of a list against a server with one answer for everything.
fn error(answer: impl Fn() -> Answer + Send + Sync + 'static, limits: Limits) -> ApiError {
    let server = FakeServer::start(move |_| answer());
    server.api(limits).list(&pods("a"), None).expect_err("an error")
}

fn connect(files: &[(&str, &str)], access: &KubeAccess) -> anyhow::Result<Connection> {
    let (_folder, host) = node(files);
    Api::connect(access, &host, quick())
}

fn failure(files: &[(&str, &str)], access: &KubeAccess) -> String {
    match connect(files, access) {
        Ok(Connection::Api(api)) => panic!("connected to {}", api.server()),
        Ok(Connection::Absent(reason)) => panic!("absent: {reason}"),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn a_page_tells_where_the_next_one_starts() {
    let server = FakeServer::start(|_| list("PodList", &[json!({ "a": 1 })], Some("c=/+1")));
    let mut api = server.api(quick());
    let selection = Selection { fields: vec![("spec.nodeName", "n-1".to_owned())], ..pods("a") };
    let page = api.list(&selection, None).expect("a page");
    assert_eq!(page.items[0].get(), r#"{"a":1}"#);
    assert_eq!((page.next.as_deref(), page.remaining), (Some("c=/+1"), Some(7)));
    api.list(&selection, page.next.as_deref()).expect("a page");
    let asked = server.asked();
    assert_eq!(asked[0].path, "/api/v1/namespaces/a/pods");
    assert_eq!(asked[0].parameter("limit"), "500");
    assert_eq!(asked[0].parameter("fieldSelector"), "spec.nodeName=n-1");
    assert_eq!((asked[0].parameter("continue"), asked[1].parameter("continue")), ("", "c=/+1"));
}

#[test]
fn refusals_say_what_the_server_says() {
    let refused = |code| ApiError::Refused { code, message: "no".to_owned() };
    assert_eq!(error(|| Answer::Status(403, "no"), quick()), refused(403));
    assert_eq!(error(|| Answer::Status(401, "no"), quick()), refused(401));
    assert_eq!(error(|| Answer::Status(404, "no"), quick()), ApiError::NotFound);
    assert_eq!(error(|| Answer::Status(410, "no"), quick()), ApiError::Gone);
    let failed = ApiError::Status { code: 500, message: "etcd is gone".to_owned() };
    assert_eq!(error(|| Answer::Status(500, "etcd is gone"), quick()), failed);
    let text = error(|| Answer::Text("<html>".to_owned()), quick()).to_string();
    assert!(text.starts_with("the answer makes no sense: "), "{text}");
}

#[test]
fn a_server_that_hangs_costs_the_time_of_one_request() {
    let silent = error(|| Answer::Hang, quick());
    assert_eq!(silent, ApiError::Timeout(Duration::from_millis(300)));
    let overall = Duration::from_millis(100);
    let over = error(|| Answer::Hang, Limits { overall, ..quick() });
    assert_eq!(over, ApiError::Deadline(overall));
}

#[test]
fn broken_connections_are_told_apart_from_broken_tls() {
    assert!(matches!(error(|| Answer::Close, quick()), ApiError::Unreachable(_)));
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let text = kubeconfig(&format!("http://{address}"));
    let Ok(Connection::Api(mut api)) =
        connect(&[("var/lib/kubelet/kubeconfig", &text)], &KubeAccess::default())
    else {
        panic!("no credentials")
    };
    let refused = api.list(&pods("a"), None).expect_err("refused").to_string();
    assert_eq!(refused, "cannot be reached: Connection refused (os error 111)");
    assert!(!api.has_answered());

    // Plain HTTP where TLS is expected.
    let server = FakeServer::start(|_| Answer::Close);
    let text = kubeconfig(&format!("https://{}", server.address));
    let Ok(Connection::Api(mut api)) =
        connect(&[("var/lib/kubelet/kubeconfig", &text)], &KubeAccess::default())
    else {
        panic!("no credentials")
    };
    let error = api.list(&pods("a"), None).expect_err("no TLS");
    assert!(matches!(error, ApiError::Tls(_)), "{error}");
}

#[test]
fn the_bytes_of_a_poll_are_bounded() {
    let server = FakeServer::start(|_| list("PodList", &[json!("x".repeat(600))], None));
    let mut api = server.api(Limits { bytes: 1000, ..quick() });
    api.list(&pods("a"), None).expect("the first page");
    let error = api.list(&pods("a"), None).expect_err("the second");
    assert_eq!(error, ApiError::TooLarge(1000));
    assert!(error.ends_poll() && !error.is_silence());
}

#[test]
fn what_is_no_name_is_not_asked_for() {
    let server = FakeServer::start(|_| list("PodList", &[], None));
    let mut api = server.api(quick());
    for name in ["a/../../secrets", "", "..", "a,b=c", "a b", "a?watch=1"] {
        assert!(matches!(api.list(&pods(name), None), Err(ApiError::Request(_))), "{name}");
        assert!(matches!(api.get(&PODS, Some("a"), name), Err(ApiError::Request(_))), "{name}");
        let selection = Selection { fields: vec![("f", name.to_owned())], ..pods("a") };
        assert!(matches!(api.list(&selection, None), Err(ApiError::Request(_))), "{name}");
    }
    assert_eq!(server.paths(), Vec::<String>::new());
}

#[test]
fn credentials_are_found_in_their_order() {
    let text = |port: u16| kubeconfig(&format!("https://10.0.0.1:{port}"));
    let (of_kubelet, of_flag, configured) = (text(1), text(2), text(3));
    let files = [
        ("var/lib/kubelet/kubeconfig", of_kubelet.as_str()),
        ("etc/kubernetes/kubelet.conf", of_flag.as_str()),
        ("etc/own.conf", configured.as_str()),
    ];
    let flag = Some("/etc/kubernetes/kubelet.conf".to_owned());
    let of_flag = KubeAccess { kubelet_kubeconfig: flag, ..KubeAccess::default() };
    let own = KubeAccess { kubeconfig: Some("/etc/own.conf".to_owned()), ..of_flag.clone() };
    let server = |files: &[(&str, &str)], access: &KubeAccess| match connect(files, access) {
        Ok(Connection::Api(api)) => api.server().to_owned(),
        Ok(Connection::Absent(reason)) => reason,
        Err(error) => format!("{error:#}"),
    };
    assert_eq!(server(&files, &own), "10.0.0.1:3");
    assert_eq!(server(&files, &of_flag), "10.0.0.1:1");
    assert_eq!(server(&files[1..], &of_flag), "10.0.0.1:2");
    assert_eq!(
        server(&[], &of_flag),
        "no API server in reach: no kubeconfig at /var/lib/kubelet/kubeconfig or \
         /etc/kubernetes/kubelet.conf"
    );
    assert_eq!(
        server(&[], &own),
        "no such file on the node: /etc/own.conf\nhint: it is configured as kubeconfig"
    );
}

#[test]
fn certificates_are_read_below_the_root_of_the_node() {
    let authority = rcgen::generate_simple_self_signed(vec!["10.0.0.1".to_owned()]).expect("one");
    let (certificate, key) = (authority.cert.pem(), authority.signing_key.serialize_pem());
    let both = format!("{certificate}{key}");
    let text = "apiVersion: v1\nkind: Config\n\
        clusters: [{name: c, cluster: {server: 'https://10.0.0.1', certificate-authority: pki/ca.crt}}]\n\
        users: [{name: u, user: {client-certificate: /var/lib/kubelet/pki/current.pem, \
        client-key: /var/lib/kubelet/pki/current.pem}}]\n\
        contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n";
    let files = [
        ("var/lib/kubelet/kubeconfig", text),
        ("var/lib/kubelet/pki/ca.crt", certificate.as_str()),
        ("var/lib/kubelet/pki/current.pem", both.as_str()),
    ];
    let access = KubeAccess::default();
    assert!(matches!(connect(&files, &access), Ok(Connection::Api(_))));
    assert!(
        failure(&files[..2], &access).starts_with(
            "cannot read /var/lib/kubelet/pki/current.pem, named in /var/lib/kubelet/kubeconfig: "
        ),
        "{}",
        failure(&files[..2], &access)
    );
}

#[test]
fn kubeconfigs_that_cannot_be_used_say_so_and_quote_nothing() {
    let access = KubeAccess::default();
    let path = "var/lib/kubelet/kubeconfig";
    let good = kubeconfig("https://10.0.0.1");
    let cases = [
        ("users: [{name: u, token: hunter2", "is not a kubeconfig"),
        (&good.replace("current-context: x", "")[..], "has no current context"),
        (&good.replace("token: abc", "exec: {command: az, apiVersion: v1}"), "from a program"),
        (
            &good.replace(
                "https://10.0.0.1\"",
                "https://10.0.0.1\", proxy-url: 'http://u:hunter2@p'",
            ),
            "asks for a proxy",
        ),
        (&good.replace("https://", "ht tp://"), "cannot use the kubeconfig"),
    ];
    for (text, expected) in cases {
        let failure = failure(&[(path, text)], &access);
        assert!(failure.contains(expected) && !failure.contains("hunter2"), "{failure}");
    }
}
