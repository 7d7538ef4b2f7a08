//! `resolv.conf`, as resolvers read it.

/// What a `resolv.conf` sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResolvConf {
    /// Addresses of `nameserver` lines, in their order, as they are spelled.
    pub(crate) nameservers: Vec<String>,
    /// Domains of the last `search` or `domain` line: each replaces those before.
    pub(crate) search: Vec<String>,
    /// Words of all `options` lines.
    pub(crate) options: Vec<String>,
}

/// Reads a `resolv.conf`.
///
/// Follows resolv.conf(5): `#` and `;` begin comments, the last `search` or
/// `domain` wins, `options` add up. What is no known line is skipped, as
/// resolvers do. A file without any nameserver is fine, and means 127.0.0.1 to
/// the C library.
pub(crate) fn parse_resolv_conf(bytes: &[u8]) -> ResolvConf {
    let mut conf = ResolvConf::default();
    for line in String::from_utf8_lossy(bytes).lines() {
        let mut words =
            line.split_ascii_whitespace().take_while(|word| !word.starts_with(['#', ';']));
        let Some(keyword) = words.next() else { continue };
        let values: Vec<String> = words.map(str::to_owned).collect();
        match keyword {
            "nameserver" => conf.nameservers.extend(values.into_iter().take(1)),
            "domain" if !values.is_empty() => conf.search = values[..1].to_vec(),
            "search" if !values.is_empty() => conf.search = values,
            "options" => conf.options.extend(values),
            _ => {}
        }
    }
    conf
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, nameservers: &[&str], search: &[&str], options: &[&str]) {
        let conf = parse_resolv_conf(text.as_bytes());
        assert_eq!(conf.nameservers, nameservers, "nameservers of {text:?}");
        assert_eq!(conf.search, search, "search of {text:?}");
        assert_eq!(conf.options, options, "options of {text:?}");
    }

    #[test]
    fn the_file_of_systemd_resolved() {
        check(
            "# This is /run/systemd/resolve/resolv.conf managed by man:systemd-resolved(8).\n\
             # Do not edit.\n\n\
             nameserver 168.63.129.16\n\
             search 3ayelhhlyxpu5bmsdqkdl4ylhf.bx.internal.cloudapp.net\n",
            &["168.63.129.16"],
            &["3ayelhhlyxpu5bmsdqkdl4ylhf.bx.internal.cloudapp.net"],
            &[],
        );
    }

    #[test]
    fn the_file_of_a_pod() {
        check(
            "search default.svc.cluster.local svc.cluster.local cluster.local\n\
             nameserver 10.0.0.10\noptions ndots:5\n",
            &["10.0.0.10"],
            &["default.svc.cluster.local", "svc.cluster.local", "cluster.local"],
            &["ndots:5"],
        );
    }

    #[test]
    fn the_last_search_or_domain_wins() {
        check("search a b\nsearch c\n", &[], &["c"], &[]);
        check("search a b\ndomain c d\n", &[], &["c"], &[]);
        check("domain c\nsearch a b\nsearch\n", &[], &["a", "b"], &[]);
    }

    #[test]
    fn comments_tabs_and_line_ends_of_any_kind() {
        check(
            ";c\r\nnameserver\t10.1.0.4  # first\r\nnameserver \t fe80::1%eth0\r\n  search\tx.y\t; z\r\noptions\ttimeout:1 rotate\r\noptions edns0\r\n",
            &["10.1.0.4", "fe80::1%eth0"],
            &["x.y"],
            &["timeout:1", "rotate", "edns0"],
        );
    }

    #[test]
    fn no_nameserver_is_no_error() {
        check("", &[], &[], &[]);
        check("nameserver\nnameservers 1.2.3.4\n\u{0}\u{ff}\n", &[], &[], &[]);
        check("search reddog.microsoft.com", &[], &["reddog.microsoft.com"], &[]);
    }
}
