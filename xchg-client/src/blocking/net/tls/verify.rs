//! What the library needs to judge a server, and what its judgement means.

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls_platform_verifier::Verifier as SystemVerifier;

use super::trust::{Credentials, Distrust, Fingerprint, TlsProblem, Trust};

/// How a connection is made, and the certificate that was refused, if one was.
pub(crate) struct Verified {
    pub(crate) config: Arc<ClientConfig>,
    verifier: Arc<Verifier>,
}

impl Trust {
    fn judge(&self, provider: Arc<CryptoProvider>) -> Result<Judge, String> {
        Ok(Judge::Library(match self {
            Self::Pin(pin) => return Ok(Judge::Pin(*pin)),
            Self::System => Arc::new(
                SystemVerifier::new(provider)
                    .map_err(|error| format!("this system trusts nobody: {error}"))?,
            ),
            Self::Authority(path) => {
                let wrong = |why: String| format!("{}: {why}", path.display());
                let roots = authorities(path).map_err(wrong)?;
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(|error| wrong(error.to_string()))?
            }
        }))
    }
}

impl Credentials {
    /// # Errors
    /// In words, if there is nobody to trust, or nothing to show.
    pub(crate) fn verified(&self) -> Result<Verified, String> {
        let provider = Arc::new(provider::default_provider());
        let judge = self.trust.judge(provider.clone())?;
        let refused = Mutex::new(None);
        let verifier = Arc::new(Verifier { judge, provider: provider.clone(), refused });
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone());
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let wrong = |why: String| format!("{}: {why}", path.display());
                let (chain, key) = identity(path).map_err(wrong)?;
                let config = builder.with_client_auth_cert(chain, key);
                config.map_err(|error| wrong(error.to_string()))?
            }
        };
        Ok(Verified { config: Arc::new(config), verifier })
    }
}

impl Verified {
    /// What is wrong with the server's certificate, and its fingerprint, if `error` came of that.
    pub(crate) fn distrust(&self, error: &io::Error) -> Option<(Distrust, Fingerprint)> {
        use CertificateError as Wrong;
        let rustls::Error::InvalidCertificate(wrong) = said(error)? else { return None };
        let distrust = match wrong {
            Wrong::Expired | Wrong::ExpiredContext { .. } => Distrust::Expired,
            Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => Distrust::NotValidYet,
            Wrong::NotValidForName => Distrust::OtherName { names: Vec::new() },
            Wrong::NotValidForNameContext { presented, .. } => {
                Distrust::OtherName { names: presented.clone() }
            }
            Wrong::ApplicationVerificationFailure => Distrust::NotPinned,
            // Others are an authority's own, which is what many programs make when they are asked
            // for a self-signed one.
            Wrong::UnknownIssuer | Wrong::Other(_) => Distrust::UnknownIssuer,
            wrong => Distrust::Other(wrong.to_string()),
        };
        Some((distrust, (*self.verifier.refused.lock())?))
    }
}

/// What the library says by an error of the stream.
fn said(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|error| error.downcast_ref())
}

/// Why TLS fails where the server's certificate is not at fault, if `error` is about that.
pub(in crate::blocking::net) fn problem(error: &io::Error) -> Option<(TlsProblem, String)> {
    let said = said(error)?;
    let problem = match said {
        rustls::Error::InvalidMessage(_) => TlsProblem::NotSpoken,
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            TlsProblem::WantsCertificate
        }
        rustls::Error::PeerIncompatible(_)
        | rustls::Error::AlertReceived(
            AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure,
        ) => TlsProblem::NothingInCommon,
        _ => TlsProblem::Other,
    };
    Some((problem, said.to_string()))
}

/// The certificates in a PEM file.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_file_iter(path).map_err(in_words)?;
    let all = all.collect::<Result<Vec<_>, _>>().map_err(in_words)?;
    if all.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(all) }
}

fn in_words(error: pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "there is no private key in it".to_owned(),
        error => error.to_string(),
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(path: &Path) -> Result<Identity, String> {
    let chain = certificates(path)?;
    Ok((chain, PrivateKeyDer::from_pem_file(path).map_err(in_words)?))
}

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(roots)
}

/// Judges the server's certificate, and remembers which one it refuses. That the server has its key
/// is proved by its signature, whoever judges.
#[derive(Debug)]
struct Verifier {
    judge: Judge,
    provider: Arc<CryptoProvider>,
    refused: Mutex<Option<Fingerprint>>,
}

#[derive(Debug)]
enum Judge {
    /// Takes one certificate only, whatever names and times it has.
    Pin(Fingerprint),
    /// Takes what an authority has signed.
    Library(Arc<dyn ServerCertVerifier>),
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let fingerprint = Fingerprint::of(end_entity);
        let judged = match &self.judge {
            Judge::Pin(pin) if *pin == fingerprint => Ok(ServerCertVerified::assertion()),
            Judge::Pin(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
            Judge::Library(judge) => {
                judge.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
        };
        judged.inspect_err(|_| *self.refused.lock() = Some(fingerprint))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
