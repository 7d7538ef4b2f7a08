//! Why a try failed: a stable class for SQL, and a text for a person.
//!
//! Classes name no address, port or host, so that samples of one outage share
//! one. Texts may, and never hold a credential.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use rustix::io::Errno;

/// Longest text of a failure, in bytes: a server's answer can be part of it.
const MAX_TEXT_BYTES: usize = 300;

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// No answer in time.
    Timeout,
    /// Something answered that nothing listens there, or a firewall rejects it.
    Refused,
    /// The connection was cut off.
    Reset,
    /// No way to the network or the host.
    Unreachable,
    /// The connection was closed in an orderly way, but too early.
    Closed,
    /// The node's own firewall or a policy forbids it.
    Permission,
    /// The node has no socket, port or memory left for it, or lacks a file.
    Local,
    /// The name does not exist.
    NxDomain,
    /// The name exists, and has no address.
    NoAddress,
    /// The name server failed.
    ServFail,
    /// The name server refuses to answer.
    DnsRefused,
    /// The certificate is not good: expired, of an unknown issuer, for another name.
    TlsCertificate,
    /// The TLS handshake failed for another reason.
    TlsHandshake,
    /// HTTP status 500 or above.
    Http5xx,
    /// Another HTTP status than expected.
    HttpStatus,
    /// The answer is no HTTP.
    HttpInvalid,
    /// The proxy did not connect.
    Proxy,
}

impl Class {
    /// Text in [`ProbeSample::error_class`](periscope_store::batch::ProbeSample).
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Unreachable => "unreachable",
            Self::Closed => "closed",
            Self::Permission => "permission",
            Self::Local => "local",
            Self::NxDomain => "nxdomain",
            Self::NoAddress => "no_address",
            Self::ServFail => "servfail",
            Self::DnsRefused => "dns_refused",
            Self::TlsCertificate => "tls_certificate",
            Self::TlsHandshake => "tls_handshake",
            Self::Http5xx => "http_5xx",
            Self::HttpStatus => "http_status",
            Self::HttpInvalid => "http_invalid",
            Self::Proxy => "proxy",
        }
    }
}

/// A failed try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What kind it was.
    pub(crate) class: Class,
    /// What the system or the other side said.
    pub(crate) text: String,
}

impl Failure {
    /// A failure; a text that is too long is cut.
    pub(crate) fn new(class: Class, text: impl Into<String>) -> Self {
        let mut text = text.into();
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
        Self { class, text }
    }

    /// Failure of an operation on a socket, which may be TLS's underneath.
    pub(crate) fn io(what: &str, error: &io::Error) -> Self {
        if let Some(tls) = find::<rustls::Error>(error) {
            return Self::tls(what, tls);
        }
        let class = match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::CONNREFUSED) => Class::Refused,
            Some(Errno::CONNRESET | Errno::CONNABORTED | Errno::PIPE) => Class::Reset,
            Some(Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::NETDOWN | Errno::HOSTDOWN) => {
                Class::Unreachable
            }
            Some(Errno::TIMEDOUT) => Class::Timeout,
            Some(Errno::PERM | Errno::ACCESS) => Class::Permission,
            Some(_) => Class::Local,
            None => match error.kind() {
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe => Class::Reset,
                io::ErrorKind::TimedOut => Class::Timeout,
                _ => Class::Closed,
            },
        };
        Self::new(class, format!("{what}: {error}"))
    }

    /// Failure of TLS itself.
    pub(crate) fn tls(what: &str, error: &rustls::Error) -> Self {
        let class = match error {
            rustls::Error::InvalidCertificate(_) => Class::TlsCertificate,
            _ => Class::TlsHandshake,
        };
        Self::new(class, format!("{what}: {error}"))
    }

    /// Failure of a request.
    pub(crate) fn http(what: &str, error: &hyper::Error) -> Self {
        if let Some(error) = find::<io::Error>(error) {
            return Self::io(what, error);
        }
        let class = if error.is_parse() { Class::HttpInvalid } else { Class::Closed };
        let detail = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        Self::new(class, format!("{what}: {error}{detail}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class.as_str(), self.text)
    }
}

/// First error of a type among an error and its causes.
fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An `io::Error` hides the error it wraps: its `source` is that error's source.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_have_their_class() {
        for (errno, expected) in [
            (Errno::CONNREFUSED, "refused"),
            (Errno::CONNRESET, "reset"),
            (Errno::PIPE, "reset"),
            (Errno::NETUNREACH, "unreachable"),
            (Errno::HOSTUNREACH, "unreachable"),
            (Errno::TIMEDOUT, "timeout"),
            (Errno::PERM, "permission"),
            (Errno::ACCESS, "permission"),
            (Errno::ADDRNOTAVAIL, "local"),
            (Errno::MFILE, "local"),
            (Errno::NOBUFS, "local"),
        ] {
            let failure = Failure::io("connecting", &errno.into());
            assert_eq!(failure.class.as_str(), expected, "{failure}");
            assert!(failure.text.starts_with("connecting: "), "{failure}");
        }
    }

    #[test]
    fn tls_inside_of_io_is_found() {
        let certificate = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let alert = rustls::Error::HandshakeNotComplete;
        for (error, expected) in
            [(certificate, Class::TlsCertificate), (alert, Class::TlsHandshake)]
        {
            let wrapped = io::Error::new(io::ErrorKind::InvalidData, error);
            assert_eq!(Failure::io("tls", &wrapped).class, expected);
            let twice = io::Error::other(wrapped);
            assert_eq!(Failure::io("tls", &twice).class, expected);
        }
        let end = io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof");
        assert_eq!(Failure::io("tls", &end).class, Class::Closed);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let failure = Failure::new(Class::Proxy, "é".repeat(200));
        assert_eq!(failure.text, "é".repeat(150));
    }
}
