//! Secrets that must go, texts that must stay, and properties over both.

use periscope_store::batch::Mask;
use proptest::prelude::*;

use super::{RedactionConfig, Redactor, random_salt};

fn redactor() -> Redactor {
    Redactor::new(*b"salt of the test")
}

fn masked(text: &str) -> (String, Vec<&'static str>) {
    let mut rules = Vec::new();
    let masked = redactor().mask(text.as_bytes(), &mut |rule| rules.push(rule)).into_owned();
    (String::from_utf8(masked).expect("text stays text"), rules)
}

/// `expected` with `§` where a mask is expected.
#[track_caller]
fn check(text: &str, rule: &str, expected: &str) {
    let (masked, rules) = masked(text);
    let start = format!("‹{rule}:");
    let mut shown = masked.clone();
    while let Some(at) = shown.find(&start) {
        let end = at + start.len() + 6;
        assert!(shown[at + start.len()..end].bytes().all(|b| b.is_ascii_hexdigit()), "{shown}");
        assert!(shown[end..].starts_with('›'), "{shown}");
        shown.replace_range(at..end + '›'.len_utf8(), "§");
    }
    assert_eq!(shown, expected);
    assert_eq!(rules, vec![rule; expected.matches('§').count()], "{masked}");
}

#[track_caller]
fn stays(text: &str) {
    assert_eq!(masked(text), (text.to_owned(), Vec::new()));
}

#[test]
fn shared_access_signatures_lose_their_signature_only() {
    let url = "https://a.blob.core.windows.net/c?sv=2024-11-04&se=2026-11-23T00%3A00Z&sr=c&sp=cw&";
    check(
        &format!("PUT {url}sig=Zm9v%2BYmFyMTIz%3D failed"),
        "sas-signature",
        &format!("PUT {url}sig=§ failed"),
    );
    check("sig=Ab1%2F%3D&comp=list", "sas-signature", "sig=§&comp=list");
    check(
        r#"{"u":"x?se=1\u0026sig=Ab12\u0026sp=r"}"#,
        "sas-signature",
        r#"{"u":"x?se=1\u0026sig=§\u0026sp=r"}"#,
    );
    check(
        "u=https%3A%2F%2Fx%3Fse%3D1%26sig%3DAb12%252B%26sp%3Dr",
        "sas-signature",
        "u=https%3A%2F%2Fx%3Fse%3D1%26sig%3D§%26sp%3Dr",
    );
    check(r#"{"sig": "Ab12+/="}"#, "sas-signature", r#"{"sig": "§"}"#);
    check(
        "SharedAccessSignature=sv=1&sig=Ab12;X=1",
        "sas-signature",
        "SharedAccessSignature=sv=1&sig=§;X=1",
    );
    check(
        "SharedAccessSignature=opaque-17;X=1",
        "shared-access-signature",
        "SharedAccessSignature=§;X=1",
    );
}

#[test]
fn keys_of_connection_strings_go() {
    check(
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;EndpointSuffix=core.windows.net",
        "account-key",
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=§;EndpointSuffix=core.windows.net",
    );
    check(
        "Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=abc/def+gh=",
        "shared-access-key",
        "Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=§",
    );
    check(
        "Server=tcp:x,1433;User Id=sa;Password=a,b;c&d;Encrypt=True",
        "password",
        "Server=tcp:x,1433;User Id=sa;Password=§;Encrypt=True",
    );
    check("x-api-key: 0a1b2c3d4e5f", "api-key", "x-api-key: §");
    check("?api_key=k123&x=1", "api-key", "?api_key=§&x=1");
}

#[test]
fn tokens_of_headers_go() {
    let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2lnbmF0dXJl-_x";
    check(&format!("got {jwt}."), "json-web-token", "got §.");
    check(&format!(r#"{{"m":"a\n{jwt}\n"}}"#), "json-web-token", r#"{"m":"a\n§\n"}"#);
    check(&format!("Authorization: Bearer {jwt}"), "authorization", "Authorization: Bearer §");
    check("Authorization: Basic dXNlcjpwYXNz\r", "authorization", "Authorization: Basic §\r");
    check(r#""Authorization":["Bearer abcd"]"#, "authorization", r#""Authorization":["Bearer §"]"#);
    check(
        "map[Accept:[*/*] Authorization:[Bearer abcd]]",
        "authorization",
        "map[Accept:[*/*] Authorization:[Bearer §]]",
    );
    check("authorization=SharedKey acct:c2ln", "authorization", "authorization=SharedKey §");
    check(
        "curl -H 'Authorization: Bearer abcd' x",
        "authorization",
        "curl -H 'Authorization: Bearer §' x",
    );
    check("using bearer a1b2c3d4, retry", "bearer-token", "using bearer §, retry");
    check(
        r#"{"auths":{"x.azurecr.io":{"auth":"dXNlcjpwYXNzd29yZA=="}}}"#,
        "registry-auth",
        r#"{"auths":{"x.azurecr.io":{"auth":"§"}}}"#,
    );
}

#[test]
fn named_values_go_in_every_notation() {
    check("user=bob password=hunter2 ok", "password", "user=bob password=§ ok");
    check(r#"user=bob password="hunter \"2\"" ok"#, "password", r#"user=bob password="§" ok"#);
    check(r#"{"dbPassword": "hun\\ter\"2", "x": 1}"#, "password", r#"{"dbPassword": "§", "x": 1}"#);
    check(
        r#"{"m":"{\"password\":\"a\\\\\\\"b\",\"x\":1}"}"#,
        "password",
        r#"{"m":"{\"password\":\"§\",\"x\":1}"}"#,
    );
    check(r#"{"m":"password='abc1","n":"it's"}"#, "password", r#"{"m":"password='§","n":"it's"}"#);
    check("kind: x\n  password: hunter2\nuser: y", "password", "kind: x\n  password: §\nuser: y");
    check(r"a: b\n- password: hunter2\nc: d", "password", r"a: b\n- password: §\nc: d");
    check("{User:bob Password:hunter2 Retries:3}", "password", "{User:bob Password:§ Retries:3}");
    check(
        "<user>bob</user><Password>hunter2</Password>",
        "password",
        "<user>bob</user><Password>§</Password>",
    );
    check("mysqldump --password hunter2 db", "password", "mysqldump --password § db");
    check(
        "POST grant_type=x&client_secret=a~b.c-d&scope=y",
        "client-secret",
        "POST grant_type=x&client_secret=§&scope=y",
    );
    check(r#""aadClientSecret": "abc~123","#, "client-secret", r#""aadClientSecret": "§","#);
    check(r#"{"clientSecret":"abc~123"}"#, "client-secret", r#"{"clientSecret":"§"}"#);
    check("auth_token=Bearer abcd-1 x", "token", "auth_token=Bearer § x");
    check("refresh_token=0.AXoA-b&x=1", "token", "refresh_token=§&x=1");
    check("passwd=abcd pwd=efgh", "password", "passwd=§ pwd=§");
    check("secret = mnop", "secret", "secret = §");
}

#[test]
fn passwords_in_urls_go() {
    check("amqp://user:p@ss@rabbit:5672/v", "url-password", "amqp://user:§@rabbit:5672/v");
    check("http://u:pa/ss#1@proxy:3128", "url-password", "http://u:§@proxy:3128");
    check("redis://:hunter2@10.0.0.4:6379", "url-password", "redis://:§@10.0.0.4:6379");
    check(r"https:\/\/u:hunter2@h\/x", "url-password", r"https:\/\/u:§@h\/x");
}

#[test]
fn private_keys_go() {
    let body = "MIIEowIBAAKCAQEA0b5\n7sOeP+/x9aQ==";
    check(
        &format!("x\n-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----\ny"),
        "private-key",
        "x\n-----BEGIN RSA PRIVATE KEY-----\n§\n-----END RSA PRIVATE KEY-----\ny",
    );
    let escaped = body.replace('\n', "\\n");
    check(
        &format!(
            r#"{{"k":"-----BEGIN PRIVATE KEY-----\n{escaped}\n","x":"-----END PRIVATE KEY-----"}}"#
        ),
        "private-key",
        r#"{"k":"-----BEGIN PRIVATE KEY-----\n§\n","x":"-----END PRIVATE KEY-----"}"#,
    );
    check(
        "-----BEGIN EC PRIVATE KEY----- MHcCAQEEIBx9aMHcCAQEE",
        "private-key",
        "-----BEGIN EC PRIVATE KEY----- §",
    );
    check(
        "client-key-data: LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQpNSUlF",
        "private-key",
        "client-key-data: §",
    );
    check(
        "PRIVATE_KEY=\"-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA0b5\n-----END RSA PRIVATE KEY-----\"",
        "private-key",
        "PRIVATE_KEY=\"-----BEGIN RSA PRIVATE KEY-----\n§\n-----END RSA PRIVATE KEY-----\"",
    );
    stays("no -----BEGIN RSA PRIVATE KEY----- in /etc/ssl");
    stays(
        "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkq\n-----END CERTIFICATE-----",
    );
}

#[test]
fn bootstrap_tokens_go() {
    check("join with 07401b.f395accd246ae52d now", "bootstrap-token", "join with § now");
    check("using the token abcdef.abcdefghijklmnop.", "bootstrap-token", "using the token §.");
    check(r"x\n07401b.f395accd246ae52d\n", "bootstrap-token", r"x\n§\n");
}

#[test]
fn the_same_secret_has_the_same_mask_in_one_run_only() {
    let (text, _) = masked("password=hunter2 password=hunter2 password=hunter3");
    let masks: Vec<_> = text.split(' ').collect();
    assert_eq!(masks[0], masks[1]);
    assert_ne!(masks[0], masks[2]);
    let other = Redactor::of_run(&RedactionConfig::default(), "r", random_salt).expect("a salt");
    assert_ne!(other.mask(b"password=hunter2", &mut |_| {}).as_ref(), masks[0].as_bytes());
}

#[test]
fn what_is_no_secret_stays() {
    for text in [
        r#"I1122 12:28:03.123456    1234 reconciler.go:224] "operationExecutor.VerifyControllerAttachedVolume started for volume \"kube-api-access-x7k2p\" (UniqueName: \"kubernetes.io/projected/550e8400-e29b-41d4-a716-446655440000-kube-api-access-x7k2p\")""#,
        r#"E1122 12:28:03.1 1 secret.go:195] Couldn't get secret kube-system/konnectivity-certs: secret "konnectivity-certs" not found"#,
        r#"W1122 12:28:03.1 1 x.go:1] "Unable to retrieve pull secret" pod="a/b" secret="kube-system/acr-1" err="not found""#,
        "mcr.microsoft.com/oss/kubernetes/coredns@sha256:73ca82b4ce829766d4f1f10947c3a338888f876fbed0540dc849c89ff256e90c",
        r#"uid: 550e8400-e29b-41d4-a716-446655440000 resourceVersion: "123456789""#,
        "kubelet v1.29.4-hotfix.20240612 linux/amd64",
        "received signal=SIGTERM sig=SIGTERM sig=15",
        r#"{"secretName": "foo", "secret":{"secretName":"foo"}, "tokenExpirationSeconds": 3607}"#,
        r#"token="system:serviceaccount:kube-system:default""#,
        r#"{"serviceAccountToken":{"path":"token"}, "automountServiceAccountToken":true}"#,
        r#"{"name":"DB","valueFrom":{"secretKeyRef":{"key":"password","name":"db"}}}"#,
        r#"key="kube-system/coredns" queue=1"#,
        "connecting to 10.0.0.4:443, 168.63.129.16 and [2001:db8::1]:443",
        "token=10.0.0.10 secret=fe80::1 password=10.1.2.3:80",
        "https://aks-dns-1a2b3c4d.hcp.westeurope.azmk8s.io:443/api/v1?a=x@y.z",
        "git clone ssh://git@host:22/x http://[::1]:80/@",
        r#"Www-Authenticate: Bearer realm="https://x.azurecr.io/oauth2/token",service="x.azurecr.io""#,
        "bearer authentication is on; Authorization: failed; --authorization-mode=Node,RBAC",
        "PWD=/home/app OLDPWD=/ --tls-private-key=/etc/kubernetes/certs/apiserver.key",
        r#"KubeletConfiguration{Authorization:config.KubeletAuthorization{Mode:"Webhook", Cache1:1}}"#,
        "flag --token has been deprecated, --password is required",
        "error: invalid password: must not be empty",
        "password=*** token=<redacted> secret=${SECRET} api_key=$(KEY) pwd=x password=null",
        "Created pod default/worker.17a9f0c2b3d4e5f6",
        r#"{"metadata":{"name":"worker.17a9f0c2b3d4e5f6","namespace":"default"}}"#,
        r#"{"annotations":{"checksum/secret":"8d7f6e5c4b3a29180716253443526170"}}"#,
        "prompt_tokens=1024 total_tokens=4096 next-token-ttl=300s token.ttl=15m0s",
        "volumes:[{Name:x VolumeSource:{Secret:&SecretVolumeSource{SecretName:y,Optional:nil}}}]",
        "image docker.io/vault/secret:v1.2.34 Secret:0xc000123456",
        "audit: type=1701 auid=4294967295 uid=0 sig=11 res=1",
        "if password == \"\" { return }",
        "hash abc123.z1x2c3v4b5n6m7q8.blob.core.windows.net",
    ] {
        stays(text);
    }
}

#[test]
fn bytes_that_are_no_text_are_kept() {
    let mut rules = Vec::new();
    let text = b"\xff\xfe password=hunter2\xff \x80";
    let masked = redactor().mask(text, &mut |rule| rules.push(rule)).into_owned();
    assert!(masked.starts_with(b"\xff\xfe password=\xe2\x80\xb9password:"));
    assert!(masked.ends_with(b"\xe2\x80\xba \x80"), "{masked:x?}");
    assert_eq!(rules, ["password"]);
}

/// A text that holds `SECRET` where a secret stands.
const PLANTS: &[&str] = &[
    "?sv=1&sig=SECRET&se=2",
    "AccountKey=SECRET;EndpointSuffix=x",
    "SharedAccessKey=SECRET",
    "SharedAccessSignature=SECRET",
    "eyJSECRET.eyJSECRET.SECRET",
    "Authorization: Bearer SECRET",
    "Authorization: Basic SECRET",
    "bearer SECRET",
    "https://user:SECRET@host/",
    "client_secret=SECRET&x=1",
    "\"clientSecret\":\"SECRET\"",
    "\"aadClientSecret\": \"SECRET\"",
    "-----BEGIN RSA PRIVATE KEY-----\nSECRETSECRETSECRET\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\\nSECRETSECRETSECRET\\n-----END PRIVATE KEY-----",
    "password=SECRET",
    "passwd=\"SECRET\"",
    "pwd='SECRET'",
    "\"secret\": \"SECRET\"",
    "\\\"token\\\":\\\"SECRET\\\"",
    "api_key=SECRET",
    "api-key=SECRET,x=1",
    "apikey=SECRET",
];

/// Pieces that rules look at, in an order that nobody thought of.
fn rubble() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "password",
        "secret",
        "token",
        "key",
        "sig=",
        "Bearer ",
        "Authorization: ",
        "://",
        "@",
        ":",
        "=",
        "\"",
        "'",
        "\\",
        "\\\"",
        "\\\\\\\"",
        "\\n",
        "\\u0026",
        "%3D",
        "%26",
        "&",
        ";",
        ",",
        " ",
        "\n",
        "[",
        "]",
        "{",
        "}",
        "<",
        ">",
        "/",
        ".",
        "eyJ",
        "abc123",
        "x",
        "abcdef.0123456789abcdef",
        "-----BEGIN RSA PRIVATE KEY-----",
        "-----END RSA PRIVATE KEY-----",
        "MIIEowIBAAKCAQEA0b5",
        "‹",
        "›",
        "‹token:abc123›",
        "‹secret-env›",
        "10.0.0.4",
        "auth",
        "--password ",
        "client_",
        "SharedAccessSignature=",
        "LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0t",
        "null",
        "xxxx",
    ];
    let piece = prop_oneof![
        20 => proptest::sample::select(pieces.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => any::<Vec<u8>>(),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn masking_twice_changes_nothing(text in rubble()) {
        let redactor = redactor();
        let once = redactor.mask(&text, &mut |_| {}).into_owned();
        let mut again = 0;
        let twice = redactor.mask(&once, &mut |_| again += 1).into_owned();
        prop_assert_eq!(
            String::from_utf8_lossy(&twice), String::from_utf8_lossy(&once),
            "of {:?}", String::from_utf8_lossy(&text)
        );
        prop_assert_eq!(again, 0);
    }

    #[test]
    fn no_planted_secret_survives(
        before in rubble(),
        after in rubble(),
        plant in proptest::sample::select(PLANTS.to_vec()),
        secret in "[A-Za-z0-9]{7,30}[0-9][A-Za-z]",
        between in proptest::sample::select(vec![" ", "\n", "\t", "\"", " {"]),
    ) {
        let planted = plant.replace("SECRET", &secret);
        let text =
            [&before, between.as_bytes(), planted.as_bytes(), between.as_bytes(), &after].concat();
        let masked = redactor().mask(&text, &mut |_| {}).into_owned();
        prop_assert!(
            !contains(&masked, secret.as_bytes()),
            "{:?} of {:?}", String::from_utf8_lossy(&masked), String::from_utf8_lossy(&text)
        );
    }

    #[test]
    fn no_planted_bootstrap_token_survives(
        before in rubble(),
        after in rubble(),
        id in "[a-z0-9]{6}",
        secret in "[a-z0-9]{14}[0-9][a-z]",
    ) {
        let token = format!("{id}.{secret}");
        let text = [&before, &b" token "[..], token.as_bytes(), b" ", &after].concat();
        let masked = redactor().mask(&text, &mut |_| {}).into_owned();
        prop_assert!(!contains(&masked, token.as_bytes()), "{:?}", String::from_utf8_lossy(&masked));
    }

    #[test]
    fn json_stays_json(strings in proptest::collection::vec(rubble(), 1..6)) {
        let strings: Vec<_> =
            strings.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
        let inner = serde_json::to_string(&strings).expect("JSON");
        let fields: serde_json::Map<_, _> = strings
            .into_iter()
            .chain([inner])
            .enumerate()
            .map(|(at, text)| (["a", "password", "token", "sig", "b", "Authorization", "c"][at % 7].to_owned(), text.into()))
            .collect();
        let text = serde_json::to_string(&fields).expect("JSON");
        let masked = redactor().mask(text.as_bytes(), &mut |_| {}).into_owned();
        let parsed = serde_json::from_slice::<serde_json::Value>(&masked);
        prop_assert!(parsed.is_ok(), "{} of {}", String::from_utf8_lossy(&masked), text);
    }
}
