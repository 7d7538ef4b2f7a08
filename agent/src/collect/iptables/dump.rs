//! The text that `iptables-save` prints, read into chains and rules.

use std::collections::HashMap;

use periscope_store::batch::{IptablesChain, IptablesRule};

/// What a dump says.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// Chains in the order of the dump.
    pub(crate) chains: Vec<IptablesChain>,
    /// Rules in the order of the dump.
    pub(crate) rules: Vec<IptablesRule>,
    /// Lines that are neither comment, table, chain, rule nor `COMMIT`.
    pub(crate) unread_lines: u64,
}

/// Reads what `iptables-save -c` prints.
///
/// ```text
/// *nat
/// :PREROUTING ACCEPT [12:720]
/// [5:300] -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
/// COMMIT
/// ```
pub(crate) fn parse(text: &str, family: &'static str, backend: &'static str) -> Tables {
    let mut tables = Tables::default();
    let mut table = "";
    let mut positions: HashMap<&str, u32> = HashMap::new();
    for line in text.lines() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('*') {
            table = name;
            positions.clear();
        } else if line == "COMMIT" {
            table = "";
        } else if let Some(chain) = (!table.is_empty()).then(|| parse_chain(line)).flatten() {
            tables.chains.push(IptablesChain { family, backend, table: table.to_owned(), ..chain });
        } else if let Some((chain, rule)) = (!table.is_empty()).then(|| parse_rule(line)).flatten()
        {
            let position = positions.entry(chain).or_default();
            *position += 1;
            let (table, position) = (table.to_owned(), *position);
            tables.rules.push(IptablesRule { family, backend, table, position, ..rule });
        } else {
            tables.unread_lines += 1;
        }
    }
    tables
}

/// Reads `:PREROUTING ACCEPT [12:720]`. Chains that users make have the policy
/// `-` and no counters of their own.
fn parse_chain(line: &str) -> Option<IptablesChain> {
    let mut words = line.strip_prefix(':')?.split_ascii_whitespace();
    let chain = words.next()?.to_owned();
    let policy = words.next().filter(|policy| *policy != "-").map(str::to_owned);
    let counters = words.next().and_then(parse_counters).filter(|_| policy.is_some());
    let (packets, bytes) = counters.unzip();
    Some(IptablesChain { chain, policy, packets, bytes, ..IptablesChain::default() })
}

/// Reads `[packets:bytes]`.
fn parse_counters(word: &str) -> Option<(u64, u64)> {
    let (packets, bytes) = word.strip_prefix('[')?.strip_suffix(']')?.split_once(':')?;
    Some((packets.parse().ok()?, bytes.parse().ok()?))
}

/// Reads `[5:300] -A CHAIN …`, with or without the counters. The first of each
/// part counts: what follows `-j` belongs to the target.
fn parse_rule(line: &str) -> Option<(&str, IptablesRule)> {
    let (counters, text) = match line.split_once(' ') {
        Some((word, rest)) if word.starts_with('[') => (Some(parse_counters(word)?), rest),
        _ => (None, line),
    };
    let chain = text.strip_prefix("-A ")?.split(' ').next().filter(|name| !name.is_empty())?;
    let (packets, bytes) = counters.unzip();
    let mut rule = IptablesRule {
        chain: chain.to_owned(),
        packets,
        bytes,
        rule: text.to_owned(),
        ..IptablesRule::default()
    };
    let mut words = split_words(text).into_iter();
    let mut negated = false;
    while let Some(word) = words.next() {
        if word == "!" {
            negated = true;
            continue;
        }
        let part = match word.as_str() {
            "-s" | "--source" => &mut rule.source,
            "-d" | "--destination" => &mut rule.destination,
            "-p" | "--protocol" => &mut rule.protocol,
            "-i" | "--in-interface" => &mut rule.in_interface,
            "-o" | "--out-interface" => &mut rule.out_interface,
            "--dport" | "--dports" | "--destination-port" | "--destination-ports" => {
                &mut rule.destination_port
            }
            "-j" | "--jump" | "-g" | "--goto" => &mut rule.target,
            "--comment" => &mut rule.comment,
            // Texts that may look like an option.
            "-m" | "--log-prefix" | "--nflog-prefix" | "--string" | "--hex-string" => {
                words.next();
                negated = false;
                continue;
            }
            _ => {
                negated = false;
                continue;
            }
        };
        let value = words.next()?;
        if part.is_none() {
            *part = Some(if negated { format!("! {value}") } else { value });
        }
        negated = false;
    }
    Some((chain, rule))
}

/// Words of a rule. Quotes hold one together, and in them a backslash takes the
/// next character as it is (`xtables_save_string` of iptables).
fn split_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut is_quoted = false;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' if !is_quoted => words.extend(word.take()),
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            '\\' if is_quoted => word.get_or_insert_default().extend(characters.next()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// From an AKS node: kube-proxy, the IMDS restriction, the wireserver block.
    pub(crate) const DUMP: &str = r#"# Generated by iptables-save v1.8.7 on Sun Nov 22 12:28:03 2026
*raw
:PREROUTING ACCEPT [184467:9988776655]
:OUTPUT ACCEPT [1:60]
[42:2940] -A PREROUTING -d 169.254.10.11/32 -p udp -m comment --comment "localdns: skip conntrack" -m udp --dport 53 -j NOTRACK
COMMIT
# Completed on Sun Nov 22 12:28:03 2026
*mangle
:FORWARD ACCEPT [0:0]
[3:180] -A FORWARD ! -s 10.224.0.4/32 -d 169.254.169.254/32 -p tcp -m tcp --dport 80 -m comment --comment "AKS managed: added by AgentBaker ensureIMDSRestriction for IMDS restriction feature" -j DROP
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [7:420]
:KUBE-FORWARD - [0:0]
[0:0] -A FORWARD -d 168.63.129.16/32 -p tcp -m tcp --dport 80 -j DROP
[0:0] -A FORWARD -d 168.63.129.16/32 -p tcp -m multiport --dports 80,32526 -j DROP
[11:660] -A FORWARD -i azure0 ! -o eth+ -m comment --comment "kubernetes forwarding rules" -g KUBE-FORWARD
COMMIT
*nat
:PREROUTING ACCEPT [12:720]
:KUBE-SERVICES - [0:0]
:KUBE-SEP-IT2ZTR26TO4XFPTO - [0:0]
:KUBE-SVC-TCOU7JCQXEZGVUNU - [0:0]
:KUBE-POSTROUTING - [0:0]
[5:300] -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
[9:703] -A KUBE-SERVICES -d 10.0.0.10/32 -p udp -m comment --comment "kube-system/kube-dns:dns cluster IP" -m udp --dport 53 -j KUBE-SVC-TCOU7JCQXEZGVUNU
[0:0] -A KUBE-SERVICES ! -s 10.244.0.0/16 -d 10.0.0.1/32 -p tcp -m tcp ! --dport 443 -j RETURN
[4:321] -A KUBE-SVC-TCOU7JCQXEZGVUNU -m comment --comment "kube-system/kube-dns:dns -> 10.244.0.5:53" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-IT2ZTR26TO4XFPTO
[0:0] -A KUBE-SEP-IT2ZTR26TO4XFPTO -p udp -m comment --comment "kube-system/kube-dns:dns" -m udp -j DNAT --to-destination 10.244.0.5:53
[8:480] -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
COMMIT
"#;

    fn rule_of(line: &str) -> IptablesRule {
        parse_rule(line).expect("a rule").1
    }

    #[test]
    fn the_tables_of_a_node() {
        let tables = parse(DUMP, "ipv4", "nf_tables");
        assert_eq!(tables.unread_lines, 0);
        assert_eq!((tables.chains.len(), tables.rules.len()), (11, 11));
        assert_eq!(
            tables.chains[4],
            IptablesChain {
                family: "ipv4",
                backend: "nf_tables",
                table: "filter".to_owned(),
                chain: "FORWARD".to_owned(),
                policy: Some("DROP".to_owned()),
                packets: Some(7),
                bytes: Some(420),
            }
        );
        assert_eq!(
            tables.chains[5],
            IptablesChain {
                family: "ipv4",
                backend: "nf_tables",
                table: "filter".to_owned(),
                chain: "KUBE-FORWARD".to_owned(),
                ..IptablesChain::default()
            }
        );
        assert_eq!(
            tables.rules[6],
            IptablesRule {
                family: "ipv4",
                backend: "nf_tables",
                table: "nat".to_owned(),
                chain: "KUBE-SERVICES".to_owned(),
                position: 1,
                packets: Some(9),
                bytes: Some(703),
                destination: Some("10.0.0.10/32".to_owned()),
                protocol: Some("udp".to_owned()),
                destination_port: Some("53".to_owned()),
                target: Some("KUBE-SVC-TCOU7JCQXEZGVUNU".to_owned()),
                comment: Some("kube-system/kube-dns:dns cluster IP".to_owned()),
                rule: r#"-A KUBE-SERVICES -d 10.0.0.10/32 -p udp -m comment --comment "kube-system/kube-dns:dns cluster IP" -m udp --dport 53 -j KUBE-SVC-TCOU7JCQXEZGVUNU"#.to_owned(),
                ..IptablesRule::default()
            }
        );
        let places: Vec<_> = tables
            .rules
            .iter()
            .map(|r| format!("{}/{}/{}", r.table, r.chain, r.position))
            .collect();
        assert_eq!(places[2..5], ["filter/FORWARD/1", "filter/FORWARD/2", "filter/FORWARD/3"]);
        assert_eq!(places[6..8], ["nat/KUBE-SERVICES/1", "nat/KUBE-SERVICES/2"]);
    }

    #[test]
    fn negations_ports_and_gotos() {
        let tables = parse(DUMP, "ipv4", "legacy");
        assert_eq!(tables.rules[1].source.as_deref(), Some("! 10.224.0.4/32"));
        assert_eq!(tables.rules[1].destination.as_deref(), Some("169.254.169.254/32"));
        assert_eq!(tables.rules[3].destination_port.as_deref(), Some("80,32526"));
        assert_eq!(tables.rules[4].in_interface.as_deref(), Some("azure0"));
        assert_eq!(tables.rules[4].out_interface.as_deref(), Some("! eth+"));
        assert_eq!(tables.rules[4].target.as_deref(), Some("KUBE-FORWARD"));
        assert_eq!(tables.rules[7].destination_port.as_deref(), Some("! 443"));
        assert_eq!(tables.rules[7].destination.as_deref(), Some("10.0.0.1/32"));
        assert_eq!(tables.rules[8].target.as_deref(), Some("KUBE-SEP-IT2ZTR26TO4XFPTO"));
        assert_eq!(tables.rules[10].target.as_deref(), Some("RETURN"));
    }

    #[test]
    fn comments_are_unquoted_and_never_options() {
        let rule =
            rule_of(r#"[0:0] -A A -m comment --comment "say \"-j DROP\" \\ it\'s" -j ACCEPT"#);
        assert_eq!(rule.comment.as_deref(), Some(r#"say "-j DROP" \ it's"#));
        assert_eq!(rule.target.as_deref(), Some("ACCEPT"));
        let rule = rule_of(
            r#"-A A -m comment --comment -j -m comment --comment "" -j LOG --log-prefix -p"#,
        );
        assert_eq!(rule.comment.as_deref(), Some("-j"));
        assert_eq!(rule.target.as_deref(), Some("LOG"));
        assert_eq!((rule.protocol, rule.packets), (None, None));
        assert_eq!(rule_of("-A A").rule, "-A A");
    }

    #[test]
    fn rules_are_kept_whole_whatever_is_in_them() {
        let lines: Vec<_> = DUMP.lines().filter(|line| line.starts_with('[')).collect();
        let rules: Vec<_> = parse(DUMP, "ipv4", "unknown")
            .rules
            .iter()
            .map(|r| {
                let (packets, bytes) = (r.packets.expect("packets"), r.bytes.expect("bytes"));
                format!("[{packets}:{bytes}] {}", r.rule)
            })
            .collect();
        assert_eq!(rules, lines);
    }

    #[test]
    fn what_makes_no_sense_is_counted() {
        let text = "[0:0] -A OUTSIDE -j DROP\n*nat\n:\n[x:0] -A A\n[0:0] -D A\n-A \n-A A -j\n:OK - [0:0]\nCOMMIT\n";
        let tables = parse(text, "ipv6", "unknown");
        assert_eq!((tables.unread_lines, tables.chains.len(), tables.rules.len()), (6, 1, 0));
    }
}
