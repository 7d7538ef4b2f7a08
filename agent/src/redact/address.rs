//! IP addresses, for users who ask for them to be masked.

use std::net::IpAddr;

use super::Secret;
use super::value::{follows_escape, mask_at};

/// Longest address: eight groups of IPv6, the last two as IPv4.
const MAX_BYTES: usize = 45;

/// Addresses that are the same everywhere: loopback, wildcards, Azure's own and
/// those of LocalDNS. They tell nothing of a network, and diagnoses know them.
const KNOWN: [&str; 9] = [
    "0.0.0.0",
    "::",
    "::1",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.10.10",
    "169.254.10.11",
    "169.254.20.10",
    "255.255.255.255",
];

/// The first address that is not the same everywhere.
pub(super) fn find(text: &[u8]) -> Option<Secret> {
    let is_part = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':');
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut at = 0;
    while at < text.len() {
        let starts =
            is_part(text[at]) && (at == 0 || !is_word(text[at - 1]) || follows_escape(text, at));
        if !starts {
            at += 1;
            continue;
        }
        let width = text[at..].iter().take_while(|byte| is_part(**byte)).count();
        let next = text.get(at + width).copied();
        let is_whole = !next.is_some_and(is_word) || text[at..at + width].contains(&b'.');
        let near = &text[at..at + width.min(MAX_BYTES + 8)];
        if let Some(end) = address(near).filter(|_| is_whole)
            && !mask_at(text, &(at..at + end))
        {
            return Some(Secret { rule: "address", range: at..at + end });
        }
        at += width;
    }
    None
}

/// Width of the address that a text starts with, a port behind it left out.
fn address(text: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(text).ok()?;
    let text = text.trim_end_matches(['.', ':']);
    let bare = match text.rsplit_once(':') {
        Some((host, _)) if !host.contains(':') && host.contains('.') => host,
        _ => text,
    };
    let address: IpAddr = bare.parse().ok()?;
    let is_known = match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => address.is_loopback(),
    };
    (!is_known && !KNOWN.contains(&bare)).then_some(bare.len())
}

#[cfg(test)]
mod tests {
    use periscope_store::batch::Mask;

    use super::super::custom::RedactionConfig;
    use super::super::{Redactor, random_salt};

    #[test]
    fn addresses_are_masked_if_asked_for_and_keep_identity() {
        let config = RedactionConfig { addresses: true, ..RedactionConfig::default() };
        let redactor = Redactor::of_run(&config, "run-1", random_salt).expect("a redactor");
        let masked = |text: &str| {
            String::from_utf8(redactor.mask(text.as_bytes(), &mut |_| {}).into_owned())
                .expect("text")
        };
        let token = |address: &str| masked(&format!(" {address} ")).trim().to_owned();
        let (a, b) = (token("10.244.1.96"), token("2001:db8::1"));
        assert!(a.starts_with("‹address:") && b.starts_with("‹address:") && a != b, "{a} {b}");
        for (text, expected) in [
            ("read udp 10.244.1.96:4->10.244.1.96:53.", format!("read udp {a}:4->{a}:53.")),
            ("[2001:db8::1]:443, 10.244.1.96", format!("[{b}]:443, {a}")),
            (
                r#"{"podIP":"10.244.1.96","x":"\n10.244.1.96"}"#,
                format!(r#"{{"podIP":"{a}","x":"\n{a}"}}"#),
            ),
            ("10.244.1.96/24", format!("{a}/24")),
        ] {
            assert_eq!(masked(text), expected);
            assert_eq!(masked(&expected), expected, "masking twice changes nothing");
        }
        for text in [
            "127.0.0.1:80 ::1 168.63.129.16 0.0.0.0",
            "12:28:03 v1.2.3 1.2.3 1.2.3.4.5 a:b dead:beef",
            "std::fmt::Write ffff",
            "2026-11-22T12:28:03.123Z",
        ] {
            assert_eq!(masked(text), text);
        }
    }

    #[test]
    fn addresses_are_kept_unless_asked_for() {
        let redactor = Redactor::of_run(&RedactionConfig::default(), "run-1", random_salt)
            .expect("a redactor");
        let text = b"dial tcp 10.244.1.96:53: i/o timeout";
        assert_eq!(redactor.mask(text, &mut |_| {}).as_ref(), text);
    }
}
