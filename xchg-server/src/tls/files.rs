//! What rustls needs, made of PEM files, or what is wrong with these in words.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::digest::{Context, Digest, SHA256, digest};
use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{CertificateError, CipherSuite, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use crate::{Config, Error, Tls, watch};

/// The files that a certificate is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// What the files hold. Not to be kept: there is a private key in it.
pub(crate) struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// What connections are made with, and what to say of it.
#[derive(Debug)]
pub(crate) struct Material {
    pub(crate) config: Arc<ServerConfig>,
    /// Until when the certificate holds.
    pub(crate) not_after: SystemTime,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub(crate) fingerprint: String,
}

/// Why there is none: the setting that is to be changed, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    setting: &'static str,
    why: String,
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Config { setting: problem.setting, why: problem.why }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.setting, self.why)
    }
}

impl Contents {
    /// Tells these contents from others.
    pub(super) fn digest(&self) -> Digest {
        let mut all = Context::new(&SHA256);
        for part in [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()] {
            let part = part.map_or(&[][..], |part| part);
            all.update(digest(&SHA256, part).as_ref());
        }
        all.finish()
    }
}

const CERTIFICATE: &str = "tls-cert";
const KEY: &str = "tls-key";
const CLIENT_CA: &str = "client-ca";

/// What is wrong with what `config` says of TLS.
pub(crate) fn problems(config: &Config) -> Vec<Error> {
    let mut problems = Vec::new();
    let mut wrong = |setting, why: String| problems.push(Error::Config { setting, why });
    let Some(files) = Files::of(config) else {
        const NEEDS: &str = "needs a certificate: name its PEM file with --tls-cert";
        for listen in &config.listen {
            if let Some(tls @ (Tls::Offered | Tls::Required)) = listen.tls {
                wrong("listen", format!("`{listen}`: tls={} {NEEDS}", tls.as_str()));
            }
        }
        if config.tls_key.is_some() {
            wrong(KEY, format!("it {NEEDS}"));
        }
        if config.client_ca.is_some() {
            wrong(CLIENT_CA, format!("it {NEEDS}"));
        }
        return problems;
    };
    if !(0..config.listen.len()).any(|listener| config.takes_tls(listener)) {
        let why = "no address takes TLS: leave out tls=off for one, or the certificate";
        wrong(CERTIFICATE, why.to_owned());
    }
    problems.extend(files.read().and_then(|it| files.parse(&it)).err().map(Error::from));
    problems
}

/// What is wrong with the authorities in the file at `path`.
pub(crate) fn client_ca_problem(path: &Path) -> Option<Error> {
    let files = Files {
        certificate: PathBuf::new(),
        key: PathBuf::new(),
        client_ca: Some(path.to_owned()),
    };
    let pem = read(CLIENT_CA, path);
    let verifier = pem.and_then(|pem| files.client_verifier(&pem, Arc::new(preferring_aes_128())));
    verifier.err().map(Error::from)
}

impl Files {
    /// Those that `config` names, if it names a certificate.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        let certificate = config.tls_cert.clone()?;
        let key = config.tls_key.clone().unwrap_or_else(|| certificate.clone());
        Some(Self { certificate, key, client_ca: config.client_ca.clone() })
    }

    /// # Errors
    /// If one cannot be read.
    pub(crate) fn read(&self) -> Result<Contents, Problem> {
        let client_ca = self.client_ca.as_deref().map(|path| read(CLIENT_CA, path));
        Ok(Contents {
            certificate: read(CERTIFICATE, &self.certificate)?,
            key: read(KEY, &self.key)?,
            client_ca: client_ca.transpose()?,
        })
    }

    /// # Errors
    /// If `contents` are not what they have to be.
    pub(super) fn parse(&self, contents: &Contents) -> Result<Material, Problem> {
        let chain = certificates(CERTIFICATE, &self.certificate, &contents.certificate)?;
        let key = self.key(&contents.key)?;
        let not_after = self.not_after(&chain[0])?;
        let fingerprint = fingerprint(&chain[0]);
        let provider = Arc::new(preferring_aes_128());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| self.wrong_certificate(error))?;
        let builder = match &contents.client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => builder.with_client_cert_verifier(self.client_verifier(pem, provider)?),
        };
        let mut config =
            builder.with_single_cert(chain, key).map_err(|error| self.rejected(&error))?;
        config.ignore_client_order = true;
        // Tickets resume sessions without memory here. New material takes new tickets: nobody
        // resumes what an authority that is no longer trusted has let in.
        config.ticketer =
            provider::Ticketer::new().map_err(|error| self.wrong_certificate(error))?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // Who resumes a session is given another; each takes random numbers and a seal of its own.
        config.send_tls13_tickets = 1;
        // Who offers protocols and means none of these takes this for another's server: it was
        // led here (RFC 7301 section 3.2, ALPACA).
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
        Ok(Material { config: Arc::new(config), not_after, fingerprint })
    }

    fn key(&self, pem: &[u8]) -> Result<PrivateKeyDer<'static>, Problem> {
        let path = self.key.display();
        let wrong = |why: String| Problem { setting: KEY, why };
        PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
            let is_encrypted = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"]
                .iter()
                .any(|mark| memchr::memmem::find(pem, mark.as_bytes()).is_some());
            if is_encrypted {
                return wrong(format!(
                    "the private key in {path} is encrypted; decrypt it into a file that only the \
                     server may read: openssl pkey -in {path} -out KEY"
                ));
            }
            match error {
                rustls_pki_types::pem::Error::NoItemsFound if is_binary(pem) => wrong(format!(
                    "{path} is no PEM file; make one of it: openssl pkey -in {path} -out KEY"
                )),
                rustls_pki_types::pem::Error::NoItemsFound => wrong(format!(
                    "there is no private key in {path}; name the PEM file with the certificate's"
                )),
                error => wrong(format!("the private key in {path} cannot be read: {error}")),
            }
        })
    }

    /// Until when `certificate` holds. The library tells it to who would use it later.
    fn not_after(&self, certificate: &CertificateDer<'_>) -> Result<SystemTime, Problem> {
        const NEVER: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
        let parsed = webpki::EndEntityCert::try_from(certificate).map_err(|error| match error {
            webpki::Error::UnsupportedCertVersion => self.wrong_certificate(
                "it is of X.509 version 1, which nobody accepts; have one of version 3 made",
            ),
            error => self.wrong_certificate(error),
        })?;
        let usage = webpki::KeyUsage::server_auth();
        match parsed.verify_for_usage(&[], &[], &[], NEVER, usage, None, None) {
            Err(webpki::Error::CertExpired { not_after, .. }) => {
                Ok(UNIX_EPOCH + Duration::from_secs(not_after.as_secs()))
            }
            Err(error) => Err(self.wrong_certificate(error)),
            Ok(_) => unreachable!("nobody's signature is trusted, and the time is past any other"),
        }
    }

    fn client_verifier(
        &self,
        pem: &[u8],
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, Problem> {
        let path = self.client_ca.as_deref().unwrap_or(Path::new(""));
        let wrong = |error: &dyn std::fmt::Display| Problem {
            setting: CLIENT_CA,
            why: format!("a certificate in {} cannot be used: {error}", path.display()),
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(CLIENT_CA, path, pem)? {
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        verifier.build().map_err(|error| wrong(&error))
    }

    /// Why rustls takes certificate and key not together.
    fn rejected(&self, error: &rustls::Error) -> Problem {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        match error {
            rustls::Error::InconsistentKeys(_) => Problem {
                setting: KEY,
                why: format!(
                    "the key in {key} is not that of the first certificate in {certificate}; the \
                     server's own certificate must come first, and those of its issuers behind it"
                ),
            },
            rustls::Error::InvalidCertificate(CertificateError::BadEncoding) => {
                self.wrong_certificate("it is damaged")
            }
            rustls::Error::InvalidCertificate(_) => self.wrong_certificate(error),
            _ => Problem {
                setting: KEY,
                why: format!(
                    "the private key in {key} cannot be used; take an ECDSA key on P-256 or P-384, \
                     an Ed25519 key, or an RSA key of 2048 to 8192 bits"
                ),
            },
        }
    }

    fn wrong_certificate(&self, error: impl std::fmt::Display) -> Problem {
        let path = self.certificate.display();
        Problem {
            setting: CERTIFICATE,
            why: format!("the first certificate in {path} cannot be used: {error}"),
        }
    }
}

/// The certificates in the `pem` of the file at `path`; at least one.
fn certificates(
    setting: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let path = path.display();
    match all {
        Ok(all) if all.is_empty() && is_binary(pem) => Err(Problem {
            setting,
            why: format!(
                "{path} is no PEM file; make one of it: openssl x509 -in {path}, or of PKCS#12 \
                 openssl pkcs12 -nodes -in {path}, with -out FILE"
            ),
        }),
        Ok(all) if all.is_empty() => Err(Problem {
            setting,
            why: format!("there is no certificate in {path}; name a PEM file that has one"),
        }),
        Ok(all) => Ok(all),
        Err(error) => {
            Err(Problem { setting, why: format!("{path} cannot be read as PEM: {error}") })
        }
    }
}

/// Whether a file begins as ASN.1 does: DER or PKCS#12, which programs take elsewhere.
fn is_binary(contents: &[u8]) -> bool {
    const SEQUENCE: u8 = 0x30;
    matches!(contents, [SEQUENCE, length, ..] if *length > 0x7f)
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, Problem> {
    watch::read(path).map_err(|why| Problem { setting, why: format!("{}: {why}", path.display()) })
}

/// The usual algorithms, AES with 128 bits first: it is quicker, and goes with SHA-256, for which
/// processors have instructions, while SHA-384 takes a tenth of a handshake's time. Clients made
/// with OpenSSL and rustls ask for 256 bits and SHA-384 first, unless somebody sets that.
fn preferring_aes_128() -> CryptoProvider {
    let mut provider = provider::default_provider();
    provider.cipher_suites.sort_by_key(|suite| match suite.suite() {
        CipherSuite::TLS13_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 0,
        _ => 1,
    });
    provider
}

/// SHA-256 of `certificate` as clients take it to know this server.
pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let hash = digest(&SHA256, certificate);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
