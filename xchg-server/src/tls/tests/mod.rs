//! TLS without a socket: certificates in folders, streams over pipes of any width.

mod files;
mod nested;
mod pipe;
mod session;
mod store;

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::Files;
use crate::Config;

/// An authority, and a folder with a certificate that it has signed.
struct Folder {
    dir: tempfile::TempDir,
    authority: Issuer<'static, KeyPair>,
    root: rcgen::Certificate,
}

impl Folder {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap();
        let authority = Issuer::new(params, key);
        let folder = Self { dir: tempfile::tempdir().unwrap(), authority, root };
        folder.write("root.pem", &folder.root.pem());
        folder.renew(params_for("localhost"));
        folder
    }

    /// Has another certificate made, with another key.
    fn renew(&self, params: CertificateParams) {
        let (certificate, key) = self.certificate(params);
        self.write("cert.pem", &certificate);
        self.write("key.pem", &key);
    }

    fn certificate(&self, params: CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn config(&self) -> Config {
        Config {
            tls_cert: Some(self.path("cert.pem")),
            tls_key: Some(self.path("key.pem")),
            ..Config::default()
        }
    }

    fn files(&self) -> Files {
        Files::of(&self.config()).unwrap()
    }
}

fn params_for(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

/// What an error says, without the folder that it names.
fn said(error: &dyn std::fmt::Display, folder: &Path) -> String {
    error.to_string().replace(&format!("{}/", folder.display()), "")
}
