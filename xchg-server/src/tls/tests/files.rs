//! What is wrong with files is said in words, and names the setting that is to be changed.

use rcgen::{KeyPair, date_time_ymd};

use super::super::store::Expiry;
use super::super::{Files, Store};
use super::{Folder, params_for, said};
use crate::Config;

fn problem(folder: &Folder, config: &Config) -> String {
    let files = Files::of(config).unwrap();
    said(&Store::open(files).unwrap_err(), folder.dir.path())
}

#[test]
fn every_mistake_in_files_is_told_in_words() {
    let folder = Folder::new();
    folder.write("empty.pem", "");
    folder.write(
        "nonsense.pem",
        "-----BEGIN CERTIFICATE-----\nnonsense!\n-----END CERTIFICATE-----\n",
    );
    folder.write("damaged.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    folder.write("other-key.pem", &KeyPair::generate().unwrap().serialize_pem());
    folder.write("huge.pem", &"#".repeat((4 << 20) + 1));
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    folder.write("encrypted.pem", encrypted);
    folder
        .write("strange-key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let path = |name: &str| Some(folder.path(name));
    let with = |certificate: &str, key: &str, client_ca: Option<&str>| Config {
        tls_cert: path(certificate),
        tls_key: path(key),
        client_ca: client_ca.map(|name| folder.path(name)),
        ..Config::default()
    };
    for (config, parts) in [
        (with("none.pem", "key.pem", None), &["tls-cert: none.pem: there is no such file"][..]),
        (with("", "key.pem", None), &["tls-cert: ", "it is no regular file"]),
        (with("huge.pem", "key.pem", None), &["tls-cert: huge.pem: it is longer than 4 MiB"]),
        (with("empty.pem", "key.pem", None), &["tls-cert: there is no certificate in empty.pem"]),
        (with("key.pem", "key.pem", None), &["tls-cert: there is no certificate in key.pem"]),
        (with("nonsense.pem", "key.pem", None), &["tls-cert: nonsense.pem cannot be read as PEM"]),
        (with("damaged.pem", "key.pem", None), &["tls-cert: the first certificate in damaged.pem"]),
        (with("cert.pem", "none.pem", None), &["tls-key: none.pem: there is no such file"]),
        (with("cert.pem", "cert.pem", None), &["tls-key: there is no private key in cert.pem"]),
        (with("cert.pem", "encrypted.pem", None), &["tls-key: ", "encrypted", "openssl pkey"]),
        (with("cert.pem", "strange-key.pem", None), &["tls-key: ", "strange-key.pem", "ECDSA"]),
        (
            with("cert.pem", "other-key.pem", None),
            &["tls-key: the key in other-key.pem is not that of the first certificate in cert.pem"],
        ),
        (
            with("cert.pem", "key.pem", Some("none.pem")),
            &["client-ca: none.pem: there is no such file"],
        ),
        (with("cert.pem", "key.pem", Some("key.pem")), &["client-ca: there is no certificate"]),
        (with("cert.pem", "key.pem", Some("damaged.pem")), &["client-ca: ", "damaged.pem"]),
    ] {
        let problem = problem(&folder, &config);
        assert!(parts.iter().all(|part| problem.contains(part)), "{problem}");
    }
}

#[test]
fn a_key_in_the_certificates_file_needs_no_name() {
    let folder = Folder::new();
    let (certificate, key) = folder.certificate(params_for("localhost"));
    folder.write("both.pem", &(certificate + &key));
    let config = Config { tls_cert: Some(folder.path("both.pem")), ..Config::default() };
    assert!(Store::open(Files::of(&config).unwrap()).is_ok());
}

#[test]
fn the_end_of_a_certificate_is_known() {
    let folder = Folder::new();
    let mut params = params_for("localhost");
    params.not_before = date_time_ymd(2001, 1, 1);
    params.not_after = date_time_ymd(2010, 2, 3);
    folder.renew(params);
    let end = Store::open(folder.files()).unwrap().not_after();
    assert_eq!(end, std::time::SystemTime::from(date_time_ymd(2010, 2, 3)));
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    assert_eq!(Expiry::of(end, end + day), Expiry::Over);
    assert_eq!(Expiry::of(end, end - day), Expiry::Soon);
    assert_eq!(Expiry::of(end, end - 8 * day), Expiry::Far);
}
