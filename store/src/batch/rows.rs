//! What a batch holds: rows of every kind, and what is missing among them.

/// How one poll of a collector went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All there was has been read.
    Complete,
    /// Some of it: issues say what is missing and why.
    Partial,
    /// The node has no such thing.
    Absent,
    /// It could not be read; the message says why.
    Failed,
}

impl Outcome {
    /// Text in column `outcome`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Absent => "absent",
            Self::Failed => "failed",
        }
    }
}

/// What became of data that a batch does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssueKind {
    /// One of several sources does not exist on this node. Not a loss.
    Absent,
    /// It exists, and reading it failed.
    Unreadable,
    /// The configuration leaves it out. Not a loss.
    Excluded,
    /// A limit cut it.
    Truncated,
    /// It was read and thrown away, because there was no room for it.
    Dropped,
    /// Its bytes make no sense.
    Damaged,
}

impl IssueKind {
    /// Whether the node has something that the batch should hold and does not.
    #[must_use]
    pub fn is_loss(self) -> bool {
        !matches!(self, Self::Absent | Self::Excluded)
    }

    /// Text in column `kind`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Excluded => "excluded",
            Self::Unreadable => "unreadable",
            Self::Truncated => "truncated",
            Self::Dropped => "dropped",
            Self::Damaged => "damaged",
        }
    }
}

/// Something that a batch does not hold, and why.
#[derive(Clone, Debug)]
pub struct Issue {
    /// File, unit, chain or request that it is about.
    pub source: String,
    /// What became of the data.
    pub kind: IssueKind,
    /// How much was lost, in `unit`; `None` if nobody can know.
    pub amount: Option<u64>,
    /// What `amount` counts: `bytes`, `lines`, `rules`, `entries`, ….
    pub unit: Option<&'static str>,
    /// One sentence for a person.
    pub message: String,
}

/// Level of a log line; `None` where the line does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The line names no level.
    #[default]
    None,
    /// `trace`, `debug`, klog verbosity is not told apart from info.
    Debug,
    /// `info`, `notice`.
    Info,
    /// `warning`.
    Warning,
    /// `error`.
    Error,
    /// `fatal`, `critical`, `alert`, `emergency`, `panic`.
    Fatal,
}

impl Level {
    const ALL: [Self; 6] =
        [Self::None, Self::Debug, Self::Info, Self::Warning, Self::Error, Self::Fatal];

    /// Text in column `level`, `None` for [`Level::None`].
    #[must_use]
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Debug => Some("debug"),
            Self::Info => Some("info"),
            Self::Warning => Some("warning"),
            Self::Error => Some("error"),
            Self::Fatal => Some("fatal"),
        }
    }
}

/// Facts of a log line beside its time and text, in one byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineFlags {
    /// Written to standard error.
    pub stderr: bool,
    /// Cut by a limit, or still without its end when it was read.
    pub partial: bool,
    /// The line has no time of its own; the time is that of the line before it
    /// or of the file.
    pub inferred_time: bool,
    /// Level that the line itself or its source states.
    pub level: Level,
}

impl LineFlags {
    /// The byte that chunks hold: bit 0 stderr, bit 1 partial, bit 2 inferred
    /// time, bits 3 to 5 the level.
    #[must_use]
    pub fn to_byte(self) -> u8 {
        u8::from(self.stderr)
            | u8::from(self.partial) << 1
            | u8::from(self.inferred_time) << 2
            | (self.level as u8) << 3
    }

    /// Facts of a byte; a level that does not exist reads as none.
    #[must_use]
    pub fn from_byte(byte: u8) -> Self {
        Self {
            stderr: byte & 1 != 0,
            partial: byte & 2 != 0,
            inferred_time: byte & 4 != 0,
            level: Level::ALL.get(usize::from(byte >> 3 & 7)).copied().unwrap_or_default(),
        }
    }
}

/// How a probe sample ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The target answered as it should.
    #[default]
    Ok,
    /// It did not; phase and error class say where and how.
    Fail,
    /// Not tried, which says nothing about the target.
    Skipped,
}

impl ProbeOutcome {
    /// Text in column `outcome`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Fail => "fail",
            Self::Skipped => "skipped",
        }
    }

    /// Outcome with a number in a chunk; any but 0 and 1 is the last.
    pub(crate) fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Ok,
            1 => Self::Fail,
            _ => Self::Skipped,
        }
    }
}

/// One try to reach a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeSample {
    /// Number of the sample in its session and target, from 0, without holes.
    pub seq: u64,
    /// Wall clock at its start, nanoseconds since 1970.
    pub ts_ns: i64,
    /// `CLOCK_BOOTTIME` at its start, nanoseconds; never jumps, counts suspends.
    pub mono_ns: i64,
    /// How it ended.
    pub outcome: ProbeOutcome,
    /// Phase that failed: `dns`, `tcp`, `tls` or `http`; empty if none did.
    pub phase: String,
    /// Stable class of the failure, such as `timeout` or `refused`; empty if
    /// none. Free of addresses and ports.
    pub error_class: String,
    /// What the system said, for a person; may name addresses; empty if nothing.
    pub error: String,
    /// Address that was connected to, empty if it came to none.
    pub address: String,
    /// HTTP status, `None` if there was no answer.
    pub status: Option<u16>,
    /// Time of name resolution in microseconds, `None` if it was not reached or needed.
    pub dns_us: Option<u64>,
    /// Time of the TCP handshake in microseconds, `None` if not reached.
    pub tcp_us: Option<u64>,
    /// Time of the TLS handshake in microseconds, `None` if not reached or needed.
    pub tls_us: Option<u64>,
    /// Time from request to response head in microseconds, `None` if not reached or needed.
    pub http_us: Option<u64>,
    /// Time of the whole sample in microseconds.
    pub duration_us: u64,
}

/// One value of one counter or gauge of the host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostSample {
    /// Wall clock, nanoseconds since 1970.
    pub ts_ns: i64,
    /// Name with its unit, such as `memory_available_bytes`.
    pub name: String,
    /// Value in that unit.
    pub value: f64,
}

/// Where a certificate was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateOrigin {
    /// In a file of the node.
    File,
    /// In a handshake with a server.
    Server,
}

impl CertificateOrigin {
    /// Text in column `origin`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Server => "server",
        }
    }
}

/// A certificate, without any key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Where it was seen.
    pub origin: CertificateOrigin,
    /// Path of the file, or name of the probe target.
    pub source: String,
    /// Place in its file or chain, from 1.
    pub position: u32,
    /// Whom it names.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Serial number in hexadecimal.
    pub serial: String,
    /// When it begins to hold, nanoseconds since 1970.
    pub not_before_ns: i64,
    /// When it ends to hold; what lies beyond the year 2262 is that year.
    pub not_after_ns: i64,
    /// Names and addresses that it is for.
    pub alternative_names: Vec<String>,
    /// Whether it may sign others.
    pub is_authority: bool,
    /// Kind and size of its key, such as `RSA 2048`.
    pub public_key: String,
    /// SHA-256 of it all in hexadecimal.
    pub fingerprint: String,
    /// Whether the chain was trusted, `None` if nobody asked.
    pub verified: Option<bool>,
    /// Why it was not.
    pub untrusted: Option<String>,
}

/// A setting in force, with where it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Family: `dns.node`, `dns.pod`, `dns.cluster`, `kubelet`, `provision`, ….
    pub scope: String,
    /// Name as its source spells it.
    pub name: String,
    /// Value as text, `None` if set to nothing.
    pub value: Option<String>,
    /// File, command line or object that sets it.
    pub source: String,
}

/// A chain of iptables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IptablesChain {
    /// `ipv4` or `ipv6`.
    pub family: &'static str,
    /// `nf_tables`, `legacy` or `unknown`.
    pub backend: &'static str,
    /// `filter`, `nat`, `mangle`, `raw` or `security`.
    pub table: String,
    /// Name of the chain.
    pub chain: String,
    /// Policy of a built-in chain, `None` for any other.
    pub policy: Option<String>,
    /// Packets that met the policy.
    pub packets: Option<u64>,
    /// Bytes that met the policy.
    pub bytes: Option<u64>,
}

/// A rule of iptables: the parts that questions are about, and its whole text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IptablesRule {
    /// `ipv4` or `ipv6`.
    pub family: &'static str,
    /// `nf_tables`, `legacy` or `unknown`.
    pub backend: &'static str,
    /// `filter`, `nat`, `mangle`, `raw` or `security`.
    pub table: String,
    /// Chain that the rule is in.
    pub chain: String,
    /// Place in its chain, from 1 as iptables counts.
    pub position: u32,
    /// Packets that matched.
    pub packets: Option<u64>,
    /// Bytes that matched.
    pub bytes: Option<u64>,
    /// `-s`, with its `!` if negated.
    pub source: Option<String>,
    /// `-d`, with its `!` if negated.
    pub destination: Option<String>,
    /// `-p`, with its `!` if negated.
    pub protocol: Option<String>,
    /// `-i`, with its `!` if negated.
    pub in_interface: Option<String>,
    /// `-o`, with its `!` if negated.
    pub out_interface: Option<String>,
    /// `--dport` or `--dports`, with its `!` if negated.
    pub destination_port: Option<String>,
    /// `-j` or `-g`.
    pub target: Option<String>,
    /// `--comment`, unquoted.
    pub comment: Option<String>,
    /// The whole rule as iptables-save prints it, without counters.
    pub rule: String,
}

/// A Kubernetes object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// Group and version, as in the object.
    pub api_version: String,
    /// Kind, as in the object.
    pub kind: String,
    /// Namespace, `None` for cluster-wide objects.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Uid that the API server gave it.
    pub uid: Option<String>,
    /// The whole object as JSON, already redacted.
    pub json: String,
}

/// How many secrets a rule masked in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redaction {
    /// Name of the rule.
    pub rule: String,
    /// Stream, file or object.
    pub source: String,
    /// How many.
    pub amount: u64,
}
