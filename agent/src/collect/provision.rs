//! How the node was provisioned: the outcome of AKS's own set-up, the operating
//! system it was done on, and the place in Azure it was done for.

use std::time::Duration;

use periscope_store::batch::{Batch, Issue, IssueKind};
use serde_json::Value;

use super::facts::Facts;
use super::{Collector, Progress};
use crate::host::Host;

/// Written by the provisioning script when it ends.
const PROVISION_FILE: &str = "/var/log/azure/aks/provision.json";

/// Configuration of the cloud provider, which also holds credentials.
const AZURE_FILE: &str = "/etc/kubernetes/azure.json";

/// Keys of [`AZURE_FILE`] that are kept. An allow-list, because the file holds
/// the cluster's service principal and a new version may hold more.
const AZURE_KEYS: [&str; 8] = [
    "cloud",
    "location",
    "vmType",
    "subnetName",
    "vnetName",
    "vnetResourceGroup",
    "loadBalancerSku",
    "useManagedIdentityExtension",
];

const OS_RELEASE_FILE: &str = "/etc/os-release";

/// Files under `/proc/sys` or `/proc` whose only line is a setting, by name.
const KERNEL_FILES: [(&str, &str); 2] =
    [("kernel.osrelease", "/proc/sys/kernel/osrelease"), ("kernel.version", "/proc/version")];

/// Largest file that is read.
const MAX_FILE_BYTES: usize = 4 << 20;

/// Longest value that is kept; `Output` of a failed provisioning is far longer.
const MAX_VALUE_BYTES: usize = 4096;

/// Reads `provision.json`, `os-release`, the kernel's version and, by an
/// allow-list, `azure.json`.
///
/// Scopes: `provision`, `os` and `azure`, names as in the files. A value of
/// `provision.json` longer than 4 KiB keeps its end, where a script says what
/// failed.
#[derive(Debug, Default)]
pub(crate) struct Provision;

impl Collector for Provision {
    fn name(&self) -> &'static str {
        "provision"
    }

    fn interval(&self) -> Duration {
        Duration::from_mins(5)
    }

    fn collect(&mut self, host: &Host, batch: &mut Batch) -> anyhow::Result<Progress> {
        facts(host).push(batch);
        Ok(Progress::Done)
    }
}

fn facts(host: &Host) -> Facts {
    let mut facts = Facts::default();
    if let Some(tree) = read_json(&mut facts, host, PROVISION_FILE) {
        facts.set_tree(&tree, PROVISION_FILE, add_provision);
    }
    if let Some(bytes) = facts.read(host, OS_RELEASE_FILE, MAX_FILE_BYTES) {
        for (name, value) in parse_os_release(&String::from_utf8_lossy(&bytes)) {
            facts.set("os", &name, &value, OS_RELEASE_FILE);
        }
    }
    for (name, path) in KERNEL_FILES {
        if let Some(bytes) = facts.read(host, path, MAX_FILE_BYTES) {
            facts.set("os", name, String::from_utf8_lossy(&bytes).trim(), path);
        }
    }
    if let Some(tree) = read_json(&mut facts, host, AZURE_FILE) {
        for key in AZURE_KEYS {
            match tree.get(key) {
                Some(Value::String(text)) => facts.set("azure", key, text, AZURE_FILE),
                Some(value @ (Value::Bool(_) | Value::Number(_))) => {
                    facts.set("azure", key, &value.to_string(), AZURE_FILE);
                }
                _ => {}
            }
        }
    }
    facts
}

fn add_provision(facts: &mut Facts, name: &str, value: &str) {
    let kept = end_of(value, MAX_VALUE_BYTES);
    facts.set("provision", name, kept, PROVISION_FILE);
    if kept.len() < value.len() {
        facts.issues.push(Issue {
            source: PROVISION_FILE.to_owned(),
            kind: IssueKind::Truncated,
            amount: Some((value.len() - kept.len()) as u64),
            unit: Some("bytes"),
            message: format!("only the last {MAX_VALUE_BYTES} bytes of {name} were kept"),
        });
    }
}

/// The last `limit` bytes of a text at most, from the start of a character.
fn end_of(text: &str, limit: usize) -> &str {
    let from = (text.len().saturating_sub(limit)..=text.len())
        .find(|&from| text.is_char_boundary(from))
        .unwrap_or(text.len());
    &text[from..]
}

/// Reads a JSON object. What is none becomes an issue that quotes nothing.
fn read_json(facts: &mut Facts, host: &Host, path: &str) -> Option<Value> {
    let bytes = facts.read(host, path, MAX_FILE_BYTES)?;
    match serde_json::from_slice(&bytes) {
        Ok(tree @ Value::Object(_)) => Some(tree),
        Ok(_) => {
            facts.note(path, IssueKind::Damaged, format!("{path} holds no JSON object"));
            None
        }
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            let message = format!("{path} is no JSON at line {line}, column {column}");
            facts.note(path, IssueKind::Damaged, message);
            None
        }
    }
}

/// Names and values of an os-release file; see os-release(5). Values are quoted
/// as a shell does.
fn parse_os_release(text: &str) -> Vec<(String, String)> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), unquote(value)))
        .collect()
}

fn unquote(value: &str) -> String {
    let quoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(literal) = quoted('\'') {
        return literal.to_owned();
    }
    let mut plain = String::with_capacity(value.len());
    let mut characters = quoted('"').unwrap_or(value).chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::super::facts::testing::{issues, lines, node};
    use super::*;

    const OS_RELEASE: &str = "NAME=\"Ubuntu\"\nVERSION_ID=\"22.04\"\nPRETTY_NAME=\"Ubuntu 22.04.5 LTS\"\nID=ubuntu\n# comment\nHOME_URL='https://x/\"y\"'\nBUG=\"a \\\"b\\\" \\$c\"\nnonsense\n";

    #[test]
    fn os_release_is_unquoted_as_a_shell_does() {
        let facts = parse_os_release(OS_RELEASE);
        let facts: Vec<_> = facts.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(
            facts,
            [
                ("NAME", "Ubuntu"),
                ("VERSION_ID", "22.04"),
                ("PRETTY_NAME", "Ubuntu 22.04.5 LTS"),
                ("ID", "ubuntu"),
                ("HOME_URL", "https://x/\"y\""),
                ("BUG", "a \"b\" $c"),
            ]
        );
    }

    #[test]
    fn a_provisioned_node() {
        let (_folder, host) = node(&[
            (
                PROVISION_FILE,
                r#"{"ExitCode":"53","Output":"nslookup failed\n","Error":"","ExecDuration":"31","KernelStartTime":"Sun 2026-11-22 12:20:01 UTC","BootDatapoints":{"KernelStartTime":"x"},"SystemdSummary":null}"#,
            ),
            (OS_RELEASE_FILE, "ID=azurelinux\nVERSION_ID=\"3.0\"\n"),
            ("/proc/sys/kernel/osrelease", "6.6.51.1-5.azl3\n"),
            ("/proc/version", "Linux version 6.6.51.1-5.azl3 (root@build) #1 SMP\n"),
            (
                AZURE_FILE,
                r#"{"cloud":"AzurePublicCloud","tenantId":"t","subscriptionId":"s","aadClientId":"c","aadClientSecret":"very secret","location":"eastus","vmType":"vmss","subnetName":"aks-subnet","vnetName":"v","vnetResourceGroup":"","loadBalancerSku":"standard","useManagedIdentityExtension":true,"vnetName2":"no"}"#,
            ),
        ]);
        let facts = facts(&host);
        assert_eq!(
            lines(&facts),
            [
                "provision ExitCode=53 (/var/log/azure/aks/provision.json)",
                "provision Output=nslookup failed\n (/var/log/azure/aks/provision.json)",
                "provision Error=- (/var/log/azure/aks/provision.json)",
                "provision ExecDuration=31 (/var/log/azure/aks/provision.json)",
                "provision KernelStartTime=Sun 2026-11-22 12:20:01 UTC (/var/log/azure/aks/provision.json)",
                "provision BootDatapoints.KernelStartTime=x (/var/log/azure/aks/provision.json)",
                "provision SystemdSummary=- (/var/log/azure/aks/provision.json)",
                "os ID=azurelinux (/etc/os-release)",
                "os VERSION_ID=3.0 (/etc/os-release)",
                "os kernel.osrelease=6.6.51.1-5.azl3 (/proc/sys/kernel/osrelease)",
                "os kernel.version=Linux version 6.6.51.1-5.azl3 (root@build) #1 SMP (/proc/version)",
                "azure cloud=AzurePublicCloud (/etc/kubernetes/azure.json)",
                "azure location=eastus (/etc/kubernetes/azure.json)",
                "azure vmType=vmss (/etc/kubernetes/azure.json)",
                "azure subnetName=aks-subnet (/etc/kubernetes/azure.json)",
                "azure vnetName=v (/etc/kubernetes/azure.json)",
                "azure vnetResourceGroup=- (/etc/kubernetes/azure.json)",
                "azure loadBalancerSku=standard (/etc/kubernetes/azure.json)",
                "azure useManagedIdentityExtension=true (/etc/kubernetes/azure.json)",
            ]
        );
        assert_eq!(issues(&facts), [""; 0]);
    }

    #[test]
    fn long_output_keeps_its_end() {
        let json = format!(r#"{{"Output":"{}é{}"}}"#, "x".repeat(5000), "y".repeat(4095));
        let (_folder, host) = node(&[(PROVISION_FILE, &json)]);
        let facts = facts(&host);
        assert_eq!(facts.settings[0].value.as_deref(), Some("y".repeat(4095).as_str()));
        assert_eq!(
            (facts.issues[0].kind, facts.issues[0].amount),
            (IssueKind::Truncated, Some(5002))
        );
    }

    #[test]
    fn what_is_damaged_or_missing_costs_nothing_else() {
        let (_folder, host) = node(&[
            (PROVISION_FILE, "{\"ExitCode\": "),
            ("/proc/version", "Linux\n"),
            (AZURE_FILE, "[\"aadClientSecret\"]"),
        ]);
        let facts = facts(&host);
        assert_eq!(lines(&facts), ["os kernel.version=Linux (/proc/version)"]);
        assert_eq!(
            issues(&facts),
            [
                "damaged /var/log/azure/aks/provision.json",
                "absent /etc/os-release",
                "absent /proc/sys/kernel/osrelease",
                "damaged /etc/kubernetes/azure.json",
            ]
        );
        assert!(facts.issues.iter().all(|issue| !issue.message.contains("aadClientSecret")));
    }
}
