//! Secrets planted in all that a node is read from appear nowhere in its database:
//! neither in its bytes nor in what is decoded from them.

use std::fs;
use std::path::Path;

use periscope_tests::programs;
use periscope_tests::secrets::{PIECES, SECRETS};
use serde_json::Value;

const CONFIG: &str = "
[redaction]
[[redaction.rule]]
name = \"employee\"
pattern = 'EMP-\\d{6}'
[[redaction.rule]]
name = \"code-word\"
literal = \"planted xyzzy\"
";

/// A node that has every secret in every place.
fn plant(root: &Path) {
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    };
    let lines = |start: &str| -> String {
        SECRETS.iter().map(|(_, text, _)| [start, text, "\n"].concat()).collect()
    };
    write("etc/hostname", "node-a\n");
    write(
        "var/log/pods/kube-system_web-1_5f3a/web/0.log",
        &lines("2026-11-22T12:28:03.000000001Z stdout F "),
    );
    write("var/log/azure/cluster-provision.log", &lines("2026-11-22T12:28:03Z "));
    write("var/log/azure-vnet.log", &lines(""));
    let json = |texts: Vec<&str>| Value::from(texts).to_string();
    let texts: Vec<&str> = SECRETS.iter().map(|(_, text, _)| *text).collect();
    write(
        "var/log/azure/aks/provision.json",
        &format!("{{\"ExitCode\": \"50\", \"Output\": {}}}", Value::from(lines(""))),
    );
    write(
        "etc/kubernetes/azure.json",
        r#"{"cloud": "AzurePublicCloud", "aadClientSecret": "PLANTEDaad01", "aadClientId": "PLANTEDid01"}"#,
    );
    let arguments: Vec<String> = texts.iter().map(|text| format!("--label={text}")).collect();
    write("proc/7/cmdline", &format!("kubelet\0{}\0--token=PLANTEDflag01\0", arguments.join("\0")));
    write("proc/cmdline", &format!("BOOT_IMAGE=/vmlinuz password=PLANTEDboot01 {}", texts[0]));
    write(
        "etc/containerd/config.toml",
        "version = 2\n[plugins.\"cri\".registry.mirrors.\"x\"]\n\
         endpoint = [\"https://me:PLANTEDmirror01@mirror.example\"]\n\
         [plugins.\"cri\".registry.configs.\"x\".auth]\npassword = \"PLANTEDauth01\"\n",
    );
    write("etc/resolv.conf", &format!("# {}\nnameserver 10.1.2.3\n", json(texts)));
}

#[test]
fn planted_secrets_appear_nowhere() {
    let root = tempfile::tempdir().expect("a folder");
    let output = tempfile::tempdir().expect("a folder");
    plant(root.path());
    let config = output.path().join("agent.toml");
    fs::write(&config, CONFIG).expect("written");
    let mut agent = programs::agent().expect("built");
    agent.args(["collect", "--run-id", "run-1", "--skip", "probe,iptables", "--host-root"]);
    agent.arg(root.path()).arg("--output").arg(output.path()).arg("--config").arg(config);
    let finished = programs::finish(&mut agent).expect("ran");
    assert!(matches!(finished.status, Some(0 | 1)), "{finished:?}");
    let path = output.path().join("run-1/node-a/node-a.db");

    let bytes = fs::read(&path).expect("a database");
    let mut texts = String::new();
    for sql in [
        "SELECT * FROM log",
        "SELECT * FROM setting",
        "SELECT * FROM object",
        "SELECT * FROM issue",
        "SELECT * FROM collection",
        "SELECT * FROM raw_session",
        "SELECT * FROM raw_stream",
    ] {
        let path = path.display().to_string();
        let mut query = programs::analyze().expect("built");
        query.args(["query", &path, sql, "--format", "json"]);
        texts.push_str(&programs::stdout_of(&mut query).expect(sql));
    }
    for masked in ["var/log/azure-vnet.log", "--label", "web-1", "mirror.example", "BOOT_IMAGE"] {
        assert!(texts.contains(masked), "{masked} was not read");
    }
    for secret in SECRETS.iter().map(|(_, _, secret)| *secret).chain(PIECES) {
        let is_there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!is_there, "{secret} is in the bytes of the database");
        let line = texts.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }

    let mut query = programs::analyze().expect("built");
    query.args(["query", &path.display().to_string(), "SELECT DISTINCT rule FROM redaction"]);
    let rules = programs::stdout_of(query.args(["--format", "csv"])).expect("rules");
    for (rule, text, _) in SECRETS {
        assert!(rules.lines().any(|line| line == rule), "{rule} did not find {text:?}: {rules}");
    }
}
