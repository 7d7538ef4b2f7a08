//! Tries against real servers on 127.0.0.1.

use std::time::Duration;

use hickory_proto::op::ResponseCode;

use super::super::surroundings::Keeper;
use super::super::target::TargetConfig;
use super::super::testing::{Act, Authority, Dns, Reply, Server, closed_port};
use super::super::witness::{Shows, watch};
use super::*;
use crate::host::Host;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A node with a certificate authority, and a name server that leads every
/// `*.example` but `missing.example` to 127.0.0.1.
struct World {
    folder: tempfile::TempDir,
    authority: Authority,
    dns: Dns,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new();
        std::fs::create_dir_all(folder.path().join("etc/ssl/certs")).expect("a folder");
        let write = |path: &str, text: String| {
            std::fs::write(folder.path().join(path), text).expect("a file");
        };
        write("etc/resolv.conf", "nameserver 127.0.0.1\n".into());
        write("etc/ca.crt", authority.pem());
        write("etc/ssl/certs/ca-certificates.crt", Authority::new().pem());
        let dns = Dns::start(|name, _| match name {
            "silent.example." => Reply::Nothing,
            "missing.example." => Reply::Code(ResponseCode::NXDomain),
            _ => Reply::Address([127, 0, 0, 1]),
        })
        .await;
        Self { folder, authority, dns }
    }

    async fn check(&self, config: TargetConfig) -> ProbeSample {
        self.check_through(config, &Proxies::none()).await
    }

    /// Checks a target with a timeout that a test does not wait for unless it must.
    async fn check_through(&self, config: TargetConfig, proxies: &Proxies) -> ProbeSample {
        let target = Target::new(&config).expect("a target");
        let host = Arc::new(Host::open(self.folder.path()).expect("a root"));
        let (keeper, issues) =
            Keeper::new(host, None, std::slice::from_ref(&target)).expect("a keeper");
        assert!(issues.is_empty() || config.ca_file == Some("/nowhere".into()), "{issues:?}");
        let around = keeper.current();
        drop(keeper);
        let mut around = Arc::into_inner(around).expect("the only one");
        around.node.servers = vec![self.dns.address];
        check(&target, &around, proxies).await
    }
}

fn config(url: String) -> TargetConfig {
    TargetConfig {
        name: "it".into(),
        url,
        interval: Some(Duration::from_mins(1)),
        timeout: Some(Duration::from_secs(20)),
        ..TargetConfig::default()
    }
}

/// A target that is not answered, and not waited for.
fn short(url: String) -> TargetConfig {
    TargetConfig { timeout: Some(Duration::from_millis(250)), ..config(url) }
}

fn trusted(url: String) -> TargetConfig {
    TargetConfig { ca_file: Some("/etc/ca.crt".into()), ..config(url) }
}

/// Outcome, phase and class of a sample.
fn verdict(sample: &ProbeSample) -> (&str, &str, &str) {
    (sample.outcome.as_str(), &sample.phase, &sample.error_class)
}

/// Which phases have a time.
fn timed(sample: &ProbeSample) -> [bool; 4] {
    [sample.dns_us, sample.tcp_us, sample.tls_us, sample.http_us].map(|time| time.is_some())
}

#[tokio::test]
async fn a_page_over_tls_has_all_phases() {
    let world = World::new().await;
    let server = Server::start(Act::Tls(world.authority.acceptor("good.example", false), OK)).await;
    let port = server.address.port();
    let sample = world.check(trusted(format!("https://good.example:{port}/v2/?a=b"))).await;
    assert_eq!(verdict(&sample), ("ok", "", ""), "{sample:?}");
    assert_eq!(timed(&sample), [true; 4]);
    assert_eq!(sample.status, Some(200));
    assert_eq!(sample.address, server.address.to_string());
    assert_eq!(sample.error, "");
    let phases = [sample.dns_us, sample.tcp_us, sample.tls_us, sample.http_us];
    assert!(phases.into_iter().flatten().sum::<u64>() <= sample.duration_us, "{sample:?}");
    assert_eq!(
        server.heads(),
        [format!(
            "GET /v2/?a=b HTTP/1.1\r\nhost: good.example:{port}\r\nuser-agent: {USER_AGENT}\r\n\
             accept: */*\r\nconnection: close\r\n\r\n"
        )]
    );
}

#[tokio::test]
async fn certificates_are_seen_whether_they_are_trusted_or_not() {
    let world = World::new().await;
    let acceptor = world.authority.acceptor("good.example", false);
    let server = Server::start(Act::Tls(acceptor, OK)).await;
    let url = format!("https://good.example:{}/", server.address.port());
    for (config, trusted) in [(trusted(url.clone()), true), (config(url), false)] {
        let (sample, shown) = Box::pin(watch(world.check(config.clone()))).await;
        assert_eq!(sample.outcome == ProbeOutcome::Ok, trusted, "{sample:?}");
        let book = Shows::default();
        book.remember(&Target::new(&config).expect("a target"), shown.clone());
        let seen = book.certificates();
        assert_eq!(seen[0].source, "it");
        assert_eq!((seen[0].position, seen[0].verified), (1, Some(trusted)));
        assert_eq!(seen[0].alternative_names, ["good.example"]);
        assert_eq!(seen[0].untrusted.is_none(), trusted);
        assert!(trusted || seen[0].untrusted.as_deref().is_some_and(|why| why.contains("nknown")));
        // Shown by somebody else, such as a proxy on the way.
        let other = TargetConfig { url: "https://other.example/".into(), ..config };
        let book = Shows::default();
        book.remember(&Target::new(&other).expect("a target"), shown);
        assert_eq!(book.certificates(), []);
    }
}

#[tokio::test]
async fn fewer_phases_are_tried_where_fewer_are_asked_for() {
    let world = World::new().await;
    let acceptor = world.authority.acceptor("127.0.0.1", false);
    let tls = Server::start(Act::Tls(acceptor, OK)).await.address;
    let sample = world.check(trusted(format!("tls://{tls}"))).await;
    assert_eq!(verdict(&sample), ("ok", "", ""), "{sample:?}");
    assert_eq!(timed(&sample), [false, true, true, false]);
    let silent = Server::start(Act::Silence).await.address;
    let sample = world.check(config(format!("tcp://{silent}"))).await;
    assert_eq!(verdict(&sample), ("ok", "", ""), "{sample:?}");
    assert_eq!(timed(&sample), [false, true, false, false]);
    assert_eq!((sample.status, world.dns.asked().len()), (None, 0));
}

#[tokio::test]
async fn names_that_lead_nowhere_fail_in_dns() {
    let world = World::new().await;
    let sample = world.check(config("https://missing.example/".into())).await;
    assert_eq!(verdict(&sample), ("fail", "dns", "nxdomain"), "{sample:?}");
    assert_eq!(timed(&sample), [true, false, false, false]);
    assert_eq!(sample.address, "");
    let sample = world.check(short("https://silent.example/".into())).await;
    assert_eq!(verdict(&sample), ("fail", "dns", "timeout"), "{sample:?}");
}

#[tokio::test]
async fn connections_that_fail_say_how() {
    let world = World::new().await;
    let closed = closed_port().await;
    let sample = world.check(config(format!("http://{closed}/"))).await;
    assert_eq!(verdict(&sample), ("fail", "tcp", "refused"), "{sample:?}");
    assert_eq!(sample.address, closed.to_string());
    assert!(!sample.error_class.contains('.'), "{sample:?}");
    for (act, scheme, phase, class) in [
        (Act::Silence, "tls", "tls", "timeout"),
        (Act::Silence, "http", "http", "timeout"),
        (Act::Close, "http", "http", "closed"),
        (Act::Close, "tls", "tls", "closed"),
        (Act::Answer("SSH-2.0-OpenSSH_9.6\r\n\r\n"), "http", "http", "http_invalid"),
        (Act::Answer("HTTP/1.1 200"), "http", "http", "closed"),
    ] {
        let server = Server::start(act).await;
        let url = format!("{scheme}://{}", server.address);
        let waits = class == "timeout";
        let sample = world.check(if waits { short(url) } else { config(url) }).await;
        assert_eq!(verdict(&sample), ("fail", phase, class), "{sample:?}");
        assert_eq!(sample.status, None);
        assert!(!waits || sample.duration_us >= 250_000, "{sample:?}");
    }
    let server = Server::start(Act::Reset).await;
    let sample = world.check(config(format!("http://{}/", server.address))).await;
    assert_eq!(verdict(&sample), ("fail", "http", "reset"), "{sample:?}");
    let plain = Server::start(Act::Answer("HTTP/1.1 400 Bad Request\r\n\r\n")).await;
    let sample = world.check(short(format!("tls://{}", plain.address))).await;
    assert_eq!((sample.outcome.as_str(), sample.phase.as_str()), ("fail", "tls"), "{sample:?}");
}

#[tokio::test]
async fn certificates_are_judged() {
    let world = World::new().await;
    let good = world.authority.acceptor("good.example", false);
    let expired = world.authority.acceptor("good.example", true);
    let stranger = Authority::new().acceptor("good.example", false);
    for (acceptor, name, text) in [
        (good, "other.example", "not valid for name \"other.example\""),
        (expired, "good.example", "certificate expired"),
        (stranger, "good.example", "UnknownIssuer"),
    ] {
        let server = Server::start(Act::Tls(acceptor, OK)).await;
        let url = format!("https://{name}:{}/", server.address.port());
        let sample = world.check(trusted(url)).await;
        assert_eq!(verdict(&sample), ("fail", "tls", "tls_certificate"), "{sample:?}");
        assert_eq!(timed(&sample), [true, true, true, false]);
        assert!(sample.error.contains(text), "{sample:?}");
    }
}

#[tokio::test]
async fn the_nodes_own_certificates_are_not_the_targets() {
    let world = World::new().await;
    let acceptor = world.authority.acceptor("good.example", false);
    let server = Server::start(Act::Tls(acceptor, OK)).await;
    let url = format!("https://good.example:{}/", server.address.port());
    let sample = world.check(config(url.clone())).await;
    assert_eq!(verdict(&sample), ("fail", "tls", "tls_certificate"), "{sample:?}");
    let lost = TargetConfig { ca_file: Some("/nowhere".into()), ..config(url) };
    let sample = world.check(lost).await;
    assert_eq!(verdict(&sample), ("skipped", "", "local"), "{sample:?}");
    assert!(sample.error.starts_with("cannot read /nowhere"), "{sample:?}");
}

#[tokio::test]
async fn statuses_are_judged() {
    let world = World::new().await;
    for (answer, expect, expected, status) in [
        ("HTTP/1.1 401 Unauthorized\r\n\r\n", None, ("ok", "", ""), 401),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", None, ("ok", "", ""), 400),
        ("HTTP/1.1 500 Oh\r\n\r\n", None, ("fail", "http", "http_5xx"), 500),
        ("HTTP/1.1 500 Oh\r\n\r\n", Some(500), ("ok", "", ""), 500),
        ("HTTP/1.1 404 No\r\n\r\n", Some(200), ("fail", "http", "http_status"), 404),
    ] {
        let server = Server::start(Act::Answer(answer)).await;
        let target = TargetConfig {
            expect: expect.map(|status| vec![status]),
            ..config(format!("http://{}/", server.address))
        };
        let sample = world.check(target).await;
        assert_eq!(verdict(&sample), expected, "{sample:?}");
        assert_eq!(sample.status, Some(status));
        assert!(sample.http_us.is_some());
    }
}

#[tokio::test]
async fn a_tunnel_through_a_proxy_is_tried_to_its_end() {
    let world = World::new().await;
    let acceptor = world.authority.acceptor("hidden.invalid", false);
    let server = Server::start(Act::Tls(acceptor, OK)).await;
    let opened = "HTTP/1.1 200 Connection established\r\n\r\n";
    let proxy = Server::start(Act::Proxy(opened, server.address)).await;
    let port = proxy.address.port();
    let url = format!("http://me:secret@proxy.example:{port}");
    let proxies = Proxies::new("", &url, "").expect("proxies");
    let sample = world.check_through(trusted("https://hidden.invalid/v2/".into()), &proxies).await;
    assert_eq!(verdict(&sample), ("ok", "", ""), "{sample:?}");
    assert_eq!(timed(&sample), [true; 4]);
    assert_eq!(sample.address, proxy.address.to_string());
    assert_eq!(world.dns.asked(), ["proxy.example. A"]);
    assert_eq!(
        proxy.heads(),
        ["CONNECT hidden.invalid:443 HTTP/1.1\r\nHost: hidden.invalid:443\r\n\
          Proxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n"]
    );
    assert!(server.heads()[0].starts_with("GET /v2/ HTTP/1.1\r\n"), "{:?}", server.heads());
    assert!(!server.heads()[0].to_lowercase().contains("proxy-"), "{:?}", server.heads());
}

#[tokio::test]
async fn a_proxy_that_does_not_connect_is_the_failure() {
    let world = World::new().await;
    for (act, phase, class) in [
        (Act::Answer("HTTP/1.1 407 Who are you\r\n\r\n"), "tcp", "proxy"),
        (Act::Answer("SSH-2.0-OpenSSH_9.6\r\n\r\n"), "tcp", "proxy"),
        (Act::Close, "tcp", "closed"),
        (Act::Silence, "tcp", "timeout"),
    ] {
        let proxy = Server::start(act).await;
        let url = format!("http://me:secret@{}", proxy.address);
        let proxies = Proxies::new(&url, &url, "").expect("proxies");
        let target = if class == "timeout" { short } else { config };
        let sample = world.check_through(target("tls://x.invalid:443".into()), &proxies).await;
        assert_eq!(verdict(&sample), ("fail", phase, class), "{sample:?}");
        assert!(!format!("{sample:?}").contains("secret"), "{sample:?}");
        assert_eq!(sample.status, None);
    }
    let closed = closed_port().await;
    let proxies = Proxies::new("", &format!("http://{closed}"), "").expect("proxies");
    let sample = world.check_through(config("https://x.invalid/".into()), &proxies).await;
    assert_eq!(verdict(&sample), ("fail", "tcp", "refused"), "{sample:?}");
}

#[tokio::test]
async fn plain_requests_are_forwarded_and_a_proxy_may_speak_tls() {
    let world = World::new().await;
    let proxy = Server::start(Act::Answer(OK)).await;
    let url = format!("http://me:secret@{}", proxy.address);
    let proxies = Proxies::new(&url, "", "").expect("proxies");
    let sample = world.check_through(config("http://x.invalid/a".into()), &proxies).await;
    assert_eq!(verdict(&sample), ("ok", "", ""), "{sample:?}");
    let head = &proxy.heads()[0];
    assert!(head.starts_with("GET http://x.invalid/a HTTP/1.1\r\nhost: x.invalid\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: Basic bWU6c2VjcmV0\r\n"), "{head}");

    let refusing = Server::start(Act::Answer("HTTP/1.1 407 Who\r\n\r\n")).await;
    let proxies = Proxies::new(&format!("http://{}", refusing.address), "", "").expect("proxies");
    let sample = world.check_through(config("http://x.invalid/a".into()), &proxies).await;
    assert_eq!(verdict(&sample), ("fail", "http", "proxy"), "{sample:?}");

    let stranger = Authority::new().acceptor("127.0.0.1", false);
    let secure = Server::start(Act::Tls(stranger, OK)).await;
    let proxies = Proxies::new("", &format!("https://{}", secure.address), "").expect("proxies");
    let sample = world.check_through(config("https://x.invalid/".into()), &proxies).await;
    assert_eq!(verdict(&sample), ("fail", "tcp", "proxy"), "{sample:?}");
    assert!(sample.error.contains("UnknownIssuer"), "{sample:?}");
}
