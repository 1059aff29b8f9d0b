//! Certificates for tests, and peers that speak TLS by the library that the server does not use for
//! that: rustls' buffered client.

use std::net::SocketAddr;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use xchg_server::Config;

use super::DEADLINE;

pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// An authority, and a folder with its certificate (`root.pem`) and one for `localhost` that it has
/// signed (`cert.pem`, `key.pem`).
pub(crate) struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        // Else it is called as what it signs is, and that looks self-signed.
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("root.pem"), root.pem()).unwrap();
        let authority = Self { folder, issuer: Issuer::new(params, key) };
        authority.renew();
        authority
    }

    /// Has the certificate replaced by another, with another key.
    pub(crate) fn renew(&self) {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        self.issue(CertificateParams::new(names).unwrap(), "cert.pem", "key.pem");
    }

    /// Signs a certificate, and puts it and its key into place.
    pub(crate) fn issue(&self, params: CertificateParams, certificate: &str, key: &str) {
        let pair = KeyPair::generate().unwrap();
        let signed = params.signed_by(&pair, &self.issuer).unwrap();
        let put = |name: &str, text: &str| {
            std::fs::write(self.path("new"), text).unwrap();
            std::fs::rename(self.path("new"), self.path(name)).unwrap();
        };
        put(key, &pair.serialize_pem());
        put(certificate, &signed.pem());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `config`, with this authority's certificate.
    pub(crate) fn certify(&self, config: Config) -> Config {
        let (certificate, key) = (self.path("cert.pem"), self.path("key.pem"));
        Config { tls_cert: Some(certificate), tls_key: Some(key), ..config }
    }

    fn certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path(name)).unwrap()
    }

    /// What a client needs that trusts this authority. Connections that share it resume each
    /// other's sessions.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        self.client_showing(None)
    }

    /// The same, that shows the certificate and key in a file each.
    pub(crate) fn client_showing(&self, identity: Option<(&str, &str)>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate("root.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::from_pem_file(self.path(key)).unwrap();
                builder.with_client_auth_cert(vec![self.certificate(certificate)], key).unwrap()
            }
        };
        config.resumption = Resumption::in_memory_sessions(8);
        Arc::new(config)
    }
}

/// A client's end in TLS, before its handshake.
pub(crate) fn tls(address: SocketAddr, config: &Arc<ClientConfig>) -> TlsStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(config.clone(), name).unwrap(), stream)
}
