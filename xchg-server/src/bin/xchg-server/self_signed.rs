//! A certificate of the server's own, for a private network: nobody has signed it, and clients know
//! it by its fingerprint.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use ring::digest::{SHA256, digest};
use rustix::fs::Access;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use xchg_server::{Config, ListenAddress, Tls};

use crate::log;
use crate::mistakes::Mistakes;

/// How long it holds. Clients that know it by its fingerprint do not look; it is as long as one may
/// stay with a key.
const VALID: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// So that clocks may differ.
const SLACK: Duration = Duration::from_secs(24 * 60 * 60);

const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";

/// Has `config` use the certificate in `folder`, and makes one if there is none; unless all is only
/// checked.
pub(crate) fn prepare(
    folder: &Path,
    is_only_checked: bool,
    config: &mut Config,
    mistakes: &mut Mistakes,
) {
    let shown = folder.display();
    if config.tls_cert.is_some() || config.tls_key.is_some() {
        mistakes.add("tls-self-signed: --tls-cert and --tls-key name another certificate; use the one or the other");
        return;
    }
    let is_there = folder.join(CERTIFICATE).exists() || folder.join(KEY).exists();
    if folder.exists() && !folder.is_dir() {
        mistakes.add(format_args!("tls-self-signed: {shown} is no folder: name one, or none yet"));
        return;
    }
    if config.listen.iter().all(|listen| listen.tls == Some(Tls::Off)) {
        mistakes.add("tls-self-signed: no address takes TLS: leave out tls=off for one, or this");
        return;
    }
    if !is_there && is_only_checked {
        log::say(&format!(
            "xchg-server: there is no certificate in {shown} yet; the first start makes it"
        ));
        if let Err(why) = may_be_made(folder) {
            mistakes.add(format_args!("tls-self-signed: {why}"));
        }
        config.client_ca_problem().iter().for_each(|problem| mistakes.add(problem));
        // What needs one shall not be a mistake.
        config.listen.iter_mut().for_each(|listen| listen.tls = None);
        config.client_ca = None;
        return;
    }
    if !is_there && let Err(error) = make(folder, config) {
        mistakes
            .add(format_args!("tls-self-signed: cannot make a certificate in {shown}: {error}"));
        return;
    }
    config.tls_cert = Some(folder.join(CERTIFICATE));
    config.tls_key = Some(folder.join(KEY));
}

/// Whether there may be a certificate in `folder` later, or why not.
fn may_be_made(folder: &Path) -> Result<(), String> {
    let mut above = folder
        .ancestors()
        .map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
    let there = above.find(|path| path.exists()).unwrap_or(Path::new("/"));
    let shown = there.display();
    if !there.is_dir() {
        return Err(format!("{shown} is no folder: name one, or none yet"));
    }
    rustix::fs::access(there, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| format!("nothing can be made in {shown}: {error}"))
}

/// Tells clients' users by what they know the certificate in `folder`, if it is there.
pub(crate) fn tell(folder: &Path) {
    if let Ok(fingerprint) = fingerprint(folder) {
        log::say(&format!("xchg-server: clients know this server by: --pin {fingerprint}"));
    }
}

/// Makes one in `folder`, which is made if need be, for the names of this machine and the addresses
/// of `config`.
fn make(folder: &Path, config: &Config) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let certificate = params(config).and_then(|params| params.self_signed(&key));
    let certificate = certificate.map_err(io::Error::other)?.pem();
    // The certificate comes last: where one is, its key is.
    write(&folder.join(KEY), &key.serialize_pem())?;
    write(&folder.join(CERTIFICATE), &certificate)
}

/// SHA-256 of the certificate in `folder`, as clients take it.
fn fingerprint(folder: &Path) -> io::Result<String> {
    let certificate = CertificateDer::from_pem_file(folder.join(CERTIFICATE));
    let hash = digest(&SHA256, &certificate.map_err(io::Error::other)?);
    Ok(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn params(config: &Config) -> Result<CertificateParams, rcgen::Error> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let is_name =
        |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    let mut names = vec!["localhost".to_owned()];
    names
        .extend(Some(host).filter(|host| !host.is_empty() && host != "localhost" && is_name(host)));
    let mut params = CertificateParams::new(names)?;
    let mut addresses: Vec<IpAddr> = vec![[127, 0, 0, 1].into(), [0, 0, 0, 0, 0, 0, 0, 1].into()];
    for listen in &config.listen {
        if let ListenAddress::Tcp(address) = listen.address
            && !address.ip().is_unspecified()
        {
            addresses.push(address.ip().to_canonical());
        }
    }
    addresses.sort();
    addresses.dedup();
    params.subject_alt_names.extend(addresses.into_iter().map(SanType::IpAddress));
    params.distinguished_name.push(DnType::CommonName, "xchg-server, self-signed");
    let now = SystemTime::now();
    params.not_before = (now - SLACK).into();
    params.not_after = (now + VALID).into();
    Ok(params)
}

/// Writes what only this user may read, whole or not at all.
fn write(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let partial: PathBuf = path.with_added_extension("part");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(partial, path)
}
