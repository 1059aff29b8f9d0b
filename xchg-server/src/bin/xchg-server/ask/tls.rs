//! TLS, as those speak it who look at a server: whom they take for it, and what is wrong with who
//! is not.
//!
//! **What a file of certificates names is trusted whatever it is for.** A server is often asked
//! from its own machine, by a name that its certificate does not have; the file that it reads
//! itself then says what is to be seen, also after a renewal. There is no way to trust just
//! anybody: an answer would say nothing.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct,
    RootCertStore, SignatureScheme, StreamOwned,
};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls_platform_verifier::Verifier as SystemVerifier;

/// Whom a command takes for its server, and what it shows of itself, where TLS is spoken.
#[derive(Debug, Default, Args)]
pub(crate) struct Credentials {
    /// With https://, the PEM file with the authorities one of which has signed the server's
    /// certificate, or with that certificate itself, whatever name it is for [default: whom this
    /// system trusts]
    #[arg(long, value_name = "FILE", env = "XCHG_CA")]
    ca: Option<PathBuf>,

    /// With https://, the SHA-256 fingerprint of the server's certificate, instead of --ca
    #[arg(long, value_name = "SHA256", env = "XCHG_PIN")]
    pin: Option<Fingerprint>,

    /// With https://, the PEM file with a certificate and its key, for servers with --client-ca
    #[arg(long, value_name = "FILE", env = "XCHG_CERT")]
    cert: Option<PathBuf>,
}

/// SHA-256 of a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(certificate: &[u8]) -> Self {
        let hash = digest(&SHA256, certificate);
        Self(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl FromStr for Fingerprint {
    type Err = &'static str;

    /// 64 hexadecimal digits, with or without colons, as the server and `openssl` show them.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        const WRONG: &str = "write the SHA-256 fingerprint of a certificate: 64 hexadecimal digits";
        let text = text.rsplit_once('=').map_or(text, |(_, digits)| digits);
        let digits: String = text.trim().chars().filter(|&letter| letter != ':').collect();
        let bytes = digits.as_bytes().chunks(2).map(|two| {
            let two = std::str::from_utf8(two).ok().filter(|two| !two.starts_with('+'))?;
            u8::from_str_radix(two, 16).ok()
        });
        let bytes: Vec<u8> = bytes.collect::<Option<_>>().ok_or(WRONG)?;
        match digits.len() {
            64 => Ok(Self(bytes.try_into().map_err(|_| WRONG)?)),
            _ => Err(WRONG),
        }
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Credentials {
    /// What connections are made with.
    ///
    /// # Errors
    /// What is wrong with a file, in words.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let provider = Arc::new(provider::default_provider());
        let judge = self.judge(&provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(judge));
        let config = match &self.cert {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let wrong = |why: String| format!("--cert {}: {why}", path.display());
                let chain = certificates(path).map_err(wrong)?;
                let key = PrivateKeyDer::from_pem_file(path).map_err(in_words).map_err(wrong)?;
                let config = builder.with_client_auth_cert(chain, key);
                config.map_err(|error| wrong(error.to_string()))?
            }
        };
        Ok(Arc::new(config))
    }

    fn judge(&self, provider: &Arc<CryptoProvider>) -> Result<Judge, String> {
        let (mut known, mut others) = (Vec::new(), None);
        if let Some(pin) = self.pin {
            known.push(pin);
        } else if let Some(path) = &self.ca {
            let wrong = |why: String| format!("--ca {}: {why}", path.display());
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path).map_err(wrong)? {
                known.push(Fingerprint::of(&certificate));
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
            let builder =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
            others = Some(builder.build().map_err(|error| wrong(error.to_string()))? as Arc<_>);
        } else {
            let system = SystemVerifier::new(provider.clone()).map_err(|error| {
                format!("this system trusts nobody ({error}): name whom to trust by --ca or --pin")
            })?;
            others = Some(Arc::new(system) as Arc<_>);
        }
        Ok(Judge { known, others, provider: provider.clone() })
    }
}

/// The certificates in a PEM file; at least one.
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

/// Speaks TLS over `stream` with who has to be `host`.
///
/// # Errors
/// If that is no name that a certificate may be for.
pub(super) fn speak<S: Read + Write>(
    stream: S,
    host: &str,
    config: &Arc<ClientConfig>,
) -> io::Result<StreamOwned<ClientConnection, S>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, stream))
}

/// What has gone wrong with who should be `host`, and what to do about it.
pub(super) fn explain(error: io::Error, host: &str) -> io::Error {
    use CertificateError as Wrong;
    let Some(said) = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) else {
        return error;
    };
    let why = match said {
        rustls::Error::InvalidMessage(_) => "no TLS is spoken there: ask by http://".to_owned(),
        rustls::Error::InvalidCertificate(wrong) => match wrong {
            Wrong::Expired | Wrong::ExpiredContext { .. } => {
                "its certificate has expired: renew it".to_owned()
            }
            Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => {
                "its certificate is not valid yet, or the clock here is wrong".to_owned()
            }
            Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => format!(
                "its certificate is not for {host}: ask by a name that it is for, or name the file with the \
                 certificate itself by --ca"
            ),
            Wrong::ApplicationVerificationFailure => {
                "its certificate is not the one of --pin".to_owned()
            }
            // Others are an authority's own, as many programs make them that are asked for a
            // self-signed one.
            Wrong::UnknownIssuer | Wrong::Other(_) => {
                "nobody who is trusted here has signed its certificate: name the file with the authority, or with \
                 the certificate itself, by --ca, or its fingerprint by --pin"
                    .to_owned()
            }
            wrong => format!("its certificate is wrong: {wrong}"),
        },
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it wants to see a certificate: name the file with one and its key by --cert".to_owned()
        }
        rustls::Error::AlertReceived(alert) => {
            format!("it refuses TLS, or the certificate of --cert ({alert:?})")
        }
        said => said.to_string(),
    };
    io::Error::other(why)
}

/// Judges who claims to be the server.
#[derive(Debug)]
struct Judge {
    /// These are it whatever they say.
    known: Vec<Fingerprint>,
    /// Judges others, if they may be it, too.
    others: Option<Arc<dyn ServerCertVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.others {
            _ if self.known.contains(&Fingerprint::of(end_entity)) => {
                Ok(ServerCertVerified::assertion())
            }
            Some(judge) => judge.verify_server_cert(end_entity, intermediates, name, ocsp, now),
            None => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
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
