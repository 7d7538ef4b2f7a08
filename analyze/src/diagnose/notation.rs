//! How a case writes down what a bundle holds: the tables of `sql/cases`.

use serde::Deserialize;

/// What a bundle holds, as a case writes it.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Bundle {
    /// Nodes that an agent ran on.
    pub(super) nodes: Vec<String>,
    /// Samples of targets.
    pub(super) probe: Vec<Probe>,
    /// Log lines.
    pub(super) log: Vec<Line>,
    /// Samples of host counters.
    pub(super) sample: Vec<Sample>,
    /// Settings.
    pub(super) setting: Vec<Setting>,
    /// Kubernetes objects.
    pub(super) object: Vec<Object>,
    /// Certificates of files and servers.
    pub(super) certificate: Vec<Certificate>,
    /// Rules of the packet filter.
    pub(super) iptables: Vec<Iptables>,
    /// What collectors could not read.
    pub(super) issue: Vec<Loss>,
    /// Rounds of collectors that left no rows, or ended in another way.
    pub(super) collection: Vec<Collection>,
}

impl Default for Bundle {
    fn default() -> Self {
        Self {
            nodes: vec!["node-1".to_owned()],
            probe: Vec::new(),
            log: Vec::new(),
            sample: Vec::new(),
            setting: Vec::new(),
            object: Vec::new(),
            certificate: Vec::new(),
            iptables: Vec::new(),
            issue: Vec::new(),
            collection: Vec::new(),
        }
    }
}

/// Samples of one target on one node, a sign each, one interval apart.
///
/// | sign | what |
/// |---|---|
/// | `o` | success |
/// | `f` | failure as in `fail` |
/// | `d` `t` `h` | failure of DNS, TLS or HTTP |
/// | `s` | skipped |
/// | `_` | no sample: an interval passes |
/// | `\|` | the agent restarts: a new session |
/// | `!` | the node reboots: a new session on a new boot |
/// | `~` | the wall clock steps by `step` |
///
/// Blanks part a pattern for the eye.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Probe {
    pub(super) node: String,
    pub(super) target: String,
    pub(super) kind: String,
    pub(super) url: Option<String>,
    pub(super) interval: String,
    pub(super) timeout: String,
    /// Phase and class of `f`.
    pub(super) fail: String,
    /// When the first slot is, after `fixture::START`.
    pub(super) offset: String,
    pub(super) step: String,
    pub(super) pattern: String,
}

impl Default for Probe {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            node: text("node-1"),
            target: text("mcr"),
            kind: text("internet"),
            url: None,
            interval: text("10s"),
            timeout: text("5s"),
            fail: text("tcp timeout"),
            offset: text("0s"),
            step: text("-3600s"),
            pattern: String::new(),
        }
    }
}

/// A line of the log of a unit, of a file, or of a container, which is written
/// as `namespace/pod/container`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    #[serde(default = "first_node")]
    pub(super) node: String,
    pub(super) unit: Option<String>,
    pub(super) path: Option<String>,
    pub(super) container: Option<String>,
    /// When it was written, on the day of `fixture::START`: `12:00:10`.
    pub(super) at: String,
    /// As in column `level`; none if it is left out.
    pub(super) level: Option<String>,
    pub(super) message: String,
    /// How often it was written, from `at` on, spread over the time of `over`.
    #[serde(default = "once")]
    pub(super) times: u32,
    pub(super) over: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sample {
    #[serde(default = "first_node")]
    pub(super) node: String,
    pub(super) family: String,
    pub(super) name: String,
    /// As in [`Line`].
    pub(super) at: String,
    pub(super) value: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Setting {
    #[serde(default = "first_node")]
    pub(super) node: String,
    pub(super) scope: String,
    pub(super) name: String,
    pub(super) value: String,
    pub(super) source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Object {
    #[serde(default = "first_node")]
    pub(super) node: String,
    /// When it was read, as in [`Line`].
    pub(super) at: Option<String>,
    pub(super) json: String,
}

/// A certificate of a file, or of a server if it says why it is not trusted or that
/// it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Certificate {
    #[serde(default = "first_node")]
    pub(super) node: String,
    /// Path of the file, or name of the probe target.
    pub(super) source: String,
    pub(super) subject: String,
    /// RFC 3339.
    pub(super) not_before: String,
    /// RFC 3339.
    pub(super) not_after: String,
    /// For a server only.
    pub(super) verified: Option<bool>,
    /// Why a server is not trusted.
    pub(super) verification: Option<String>,
}

/// A table of IPv4, with chains beside those that its rules are in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Iptables {
    #[serde(default = "first_node")]
    pub(super) node: String,
    pub(super) table: String,
    #[serde(default)]
    pub(super) chains: Vec<String>,
    /// As `iptables-save` prints them, without counters.
    #[serde(default)]
    pub(super) rules: Vec<String>,
}

/// Something that a collector could not read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Loss {
    #[serde(default = "first_node")]
    pub(super) node: String,
    pub(super) collector: String,
    pub(super) source: String,
    pub(super) kind: String,
    pub(super) amount: Option<u64>,
    pub(super) message: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Collection {
    #[serde(default = "first_node")]
    pub(super) node: String,
    pub(super) collector: String,
    pub(super) outcome: String,
    pub(super) message: Option<String>,
}

fn once() -> u32 {
    1
}

fn first_node() -> String {
    "node-1".to_owned()
}
