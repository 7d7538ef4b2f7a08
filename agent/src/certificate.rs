//! What a certificate says, for the database: parsing only, and no key.

use std::net::IpAddr;

use data_encoding::HEXLOWER;
use periscope_store::batch::{Certificate, CertificateOrigin};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::public_key::PublicKey;

/// Largest certificate that is parsed; real ones have a few kilobytes.
const MAX_BYTES: usize = 64 << 10;

/// Names of one certificate that are kept; those of a CDN can have hundreds.
const MAX_NAMES: usize = 256;

/// Reads a certificate in DER that was seen at `source`; `None` if it is none.
pub(crate) fn parse(
    der: &[u8],
    origin: CertificateOrigin,
    source: &str,
    position: usize,
) -> Option<Certificate> {
    let (_, certificate) = X509Certificate::from_der(der.get(..der.len().min(MAX_BYTES))?).ok()?;
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let seconds = |time: i64| time.saturating_mul(1_000_000_000);
    Some(Certificate {
        origin,
        source: source.to_owned(),
        position: u32::try_from(position).unwrap_or(u32::MAX),
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        serial: HEXLOWER.encode(certificate.raw_serial()),
        not_before_ns: seconds(certificate.validity().not_before.timestamp()),
        not_after_ns: seconds(certificate.validity().not_after.timestamp()),
        alternative_names: names.filter_map(name).take(MAX_NAMES).collect(),
        is_authority: certificate.is_ca(),
        public_key: public_key(&certificate),
        fingerprint: HEXLOWER.encode(&Sha256::digest(certificate.as_raw())),
        verified: None,
        untrusted: None,
    })
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(text) | GeneralName::URI(text) | GeneralName::RFC822Name(text) => {
            Some((*text).to_owned())
        }
        GeneralName::IPAddress(bytes) => {
            let address = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = address.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

fn public_key(certificate: &X509Certificate<'_>) -> String {
    let algorithm = certificate.public_key().algorithm.algorithm.to_id_string();
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {}", key.key_size()),
        Ok(PublicKey::EC(point)) => format!("EC {}", point.key_size()),
        // RFC 8410
        _ if algorithm == "1.3.101.112" => "Ed25519".to_owned(),
        _ => algorithm,
    }
}

/// Certificates for the tests of those who read them.
#[cfg(test)]
pub(crate) mod testing {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, date_time_ymd};

    /// A certificate that signed itself and its key, both in PEM, that ends to hold
    /// at the end of 2026.
    pub(crate) fn self_signed(name: &str, is_authority: bool) -> (String, String) {
        let names = vec![format!("{name}.example"), "10.0.0.1".to_owned()];
        let mut parameters = CertificateParams::new(names).expect("names");
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.not_before = date_time_ymd(2026, 1, 1);
        parameters.not_after = date_time_ymd(2027, 1, 1);
        if is_authority {
            parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

#[cfg(test)]
mod tests {
    use periscope_store::time::format_ns;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn all_that_a_certificate_says_is_read() {
        let (pem, _) = testing::self_signed("node-1", true);
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("DER");
        let read = parse(&der, CertificateOrigin::File, "/a.crt", 1).expect("a certificate");
        assert_eq!((read.subject.as_str(), read.issuer.as_str()), ("CN=node-1", "CN=node-1"));
        assert_eq!(&format_ns(read.not_before_ns)[..10], "2026-01-01");
        assert_eq!(&format_ns(read.not_after_ns)[..10], "2027-01-01");
        assert_eq!(read.alternative_names, ["node-1.example", "10.0.0.1"]);
        assert!(read.is_authority && read.verified.is_none());
        assert_eq!(read.public_key, "EC 256");
        assert_eq!(read.fingerprint, HEXLOWER.encode(&Sha256::digest(&der)));
        assert!(read.serial.len() >= 2 && read.serial.bytes().all(|b| b.is_ascii_hexdigit()));
        for cut in 0..der.len() {
            assert_eq!(parse(&der[..cut], CertificateOrigin::File, "/a.crt", 1), None);
        }
    }
}
