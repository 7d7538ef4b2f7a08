//! Sees the certificates that targets show, whether they are trusted or not.
//!
//! [`Witness`] stands in front of the verifier that judges, and changes nothing of
//! its verdict. Which try it judges for, only the try knows: [`watch`] runs one and
//! answers with what was shown in it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use periscope_store::batch::{Certificate, CertificateOrigin};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use super::target::{Place, Target};
use crate::certificate;

/// Certificates of one chain that are kept.
const MAX_CHAIN: usize = 8;

/// What a server showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// Whom the client asked for.
    name: ServerName<'static>,
    /// The chain, the server's own certificate first.
    chain: Vec<CertificateDer<'static>>,
    /// Why it was not trusted, `None` if it was.
    untrusted: Option<String>,
}

tokio::task_local! {
    /// What the try of this task was shown last.
    static SHOWN: RefCell<Option<Shown>>;
}

/// Runs a try; answers with its result and with what it was shown last.
pub(super) async fn watch<T>(attempt: impl Future<Output = T>) -> (T, Option<Shown>) {
    let attempt = async {
        let result = attempt.await;
        (result, SHOWN.with(RefCell::take))
    };
    SHOWN.scope(RefCell::new(None), attempt).await
}

/// A verifier that remembers what it was asked to judge.
#[derive(Debug)]
pub(super) struct Witness(Arc<dyn ServerCertVerifier>);

impl Witness {
    /// Stands in front of the verifier that judges.
    pub(super) fn new(judge: Arc<dyn ServerCertVerifier>) -> Self {
        Self(judge)
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict =
            self.0.verify_server_cert(end_entity, intermediates, name, ocsp_response, now);
        let chain = std::iter::once(end_entity).chain(intermediates).take(MAX_CHAIN);
        let shown = Shown {
            name: name.to_owned(),
            chain: chain.map(|certificate| certificate.clone().into_owned()).collect(),
            untrusted: verdict.as_ref().err().map(ToString::to_string),
        };
        // A handshake outside of a watched try is nobody's.
        SHOWN.try_with(|last| last.replace(Some(shown))).ok();
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// The last chain that each target showed.
#[derive(Default)]
pub(crate) struct Shows {
    by_target: Mutex<BTreeMap<String, Shown>>,
}

impl Shows {
    /// Remembers what a target showed, unless somebody else showed it: a proxy
    /// that speaks TLS has certificates of its own.
    pub(super) fn remember(&self, target: &Target, shown: Option<Shown>) {
        let Some(shown) = shown.filter(|shown| is_of(&shown.name, &target.place)) else { return };
        let mut known = self.by_target.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(&target.probe.name) != Some(&shown) {
            known.insert(target.probe.name.clone(), shown);
        }
    }

    /// Certificates that the targets showed when they were tried last.
    pub(crate) fn certificates(&self) -> Vec<Certificate> {
        let known = self.by_target.lock().unwrap_or_else(PoisonError::into_inner);
        let of_target = |(target, shown): (&String, &Shown)| {
            let certificates = shown.chain.iter().enumerate().filter_map(|(at, der)| {
                let certificate =
                    certificate::parse(der, CertificateOrigin::Server, target, at + 1)?;
                let untrusted = shown.untrusted.clone();
                Some(Certificate { verified: Some(untrusted.is_none()), untrusted, ..certificate })
            });
            certificates.collect::<Vec<_>>()
        };
        known.iter().flat_map(of_target).collect()
    }
}

impl fmt::Debug for Shows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shows").finish_non_exhaustive()
    }
}

fn is_of(name: &ServerName<'_>, place: &Place) -> bool {
    match place {
        Place::Name(known) => {
            matches!(name, ServerName::DnsName(name) if name.as_ref().eq_ignore_ascii_case(known.trim_end_matches('.')))
        }
        Place::Address(address) => *name == ServerName::from(*address),
    }
}
