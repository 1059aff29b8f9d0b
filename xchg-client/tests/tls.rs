//! Servers that are spoken to in TLS: whole transfers, and whom the client refuses to speak to.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "whatever fails here is a failed test")]

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use ring::digest::{SHA256, digest};
use tempfile::TempDir;
use xchg_server::{Config, ListenAddress, Server, ServerHandle};

/// A server with a certificate for `localhost`, and the authority that has signed it in `root.pem`.
struct World {
    folder: TempDir,
    server: ServerHandle,
    fingerprint: String,
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.cut();
    }
}

impl World {
    fn new(change: impl FnOnce(&mut CertificateParams)) -> Self {
        Self::make(change, false)
    }

    /// One where those of clients must be signed by the same authority.
    fn wanting_certificates() -> Self {
        Self::make(|_| {}, true)
    }

    fn make(change: impl FnOnce(&mut CertificateParams), wants: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let root_key = KeyPair::generate().unwrap();
        let mut root = CertificateParams::new([]).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_pem = write("root.pem", root.self_signed(&root_key).unwrap().pem());
        let issuer = Issuer::new(root, root_key);
        let signed = |params: CertificateParams| {
            let key = KeyPair::generate().unwrap();
            (params.signed_by(&key, &issuer).unwrap(), key)
        };
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        change(&mut params);
        let (certificate, key) = signed(params);
        let (client, client_key) = signed(CertificateParams::new(["me".to_owned()]).unwrap());
        write("client.pem", client.pem() + &client_key.serialize_pem());
        let hash = digest(&SHA256, certificate.der());
        let fingerprint = hash.as_ref().iter().map(|byte| format!("{byte:02X}"));
        let fingerprint = fingerprint.collect::<Vec<_>>().join(":");
        let config = Config {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            tls_cert: Some(write("cert.pem", certificate.pem())),
            tls_key: Some(write("key.pem", key.serialize_pem())),
            client_ca: wants.then_some(root_pem),
            ..Config::default()
        };
        let server = Server::bind(config).unwrap().start().unwrap();
        Self { server, fingerprint, folder }
    }

    fn port(&self) -> u16 {
        let ListenAddress::Tcp(address) = self.server.addresses()[0] else {
            panic!("TCP was asked for")
        };
        address.port()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn url(&self, host: &str) -> String {
        format!("https://{host}:{}", self.port())
    }

    /// The program, and what it says, at that server.
    fn run(&self, server: &str, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xchg-client"));
        command.env_clear().env("HOME", self.folder.path()).current_dir(self.folder.path());
        command.args(["--server", server]).args(args).stdin(Stdio::null());
        command.output().unwrap()
    }

    /// What the program complains of when it asks that server how it is, trusting as `args` say.
    fn complaint(&self, server: &str, args: &[&str]) -> String {
        let output = self.run(server, &[args, &["status"]].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(self.server.counts().completed + self.server.stats().tls_handshakes, 0);
        String::from_utf8(output.stderr).unwrap()
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

fn succeed(output: Output) {
    let Output { status, stderr, .. } = output;
    assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
}

#[test]
fn transfers_in_tls_are_whole_whoever_else_uses_it() {
    let world = World::default();
    let sent: Vec<u8> = (0..5_000_000_usize).map(|at| (at ^ (at >> 9)).to_le_bytes()[0]).collect();
    std::fs::write(world.path("file"), &sent).unwrap();
    let secured = (world.url("localhost"), ["--ca", "root.pem"]);
    let pinned = (world.url("127.0.0.1"), ["--pin", &world.fingerprint]);
    let bare = (format!("127.0.0.1:{}", world.port()), ["--connect-timeout", "10"]);
    for (number, (up, down)) in
        [(&secured, &pinned), (&secured, &bare), (&bare, &pinned)].into_iter().enumerate()
    {
        for plain in [&["--plain"][..], &[]] {
            let key = format!("{number}{}", plain.len());
            let (world, key, sent) = (&world, &*key, &sent);
            thread::scope(|scope| {
                scope.spawn(move || {
                    let args = [&up.1[..], &["upload", "file", "--key", key], plain].concat();
                    succeed(world.run(&up.0, &args));
                });
                let there = format!("there-{key}");
                let args = [&down.1[..], &["download", key, "-o", &there], plain].concat();
                succeed(world.run(&down.0, &args));
                assert!(std::fs::read(world.path(&there)).unwrap() == *sent);
            });
        }
    }
    // A stream whose length nobody knows; what waits meanwhile is no news of the other side.
    thread::scope(|scope| {
        let world = &world;
        scope.spawn(move || {
            let mut command = Command::new("sh");
            let script = format!(
                "cat file | {} --server {} --ca root.pem upload --plain - --key stream",
                env!("CARGO_BIN_EXE_xchg-client"),
                world.url("localhost")
            );
            command.args(["-c", &script]).env("HOME", world.folder.path());
            succeed(command.current_dir(world.folder.path()).output().unwrap());
        });
        let args = ["--ca", "root.pem", "download", "--plain", "stream", "-o", "streamed"];
        succeed(world.run(&world.url("localhost"), &args));
        assert!(std::fs::read(world.path("streamed")).unwrap() == sent);
    });
}

#[test]
fn a_server_that_is_not_trusted_gets_nothing() {
    let world = World::default();
    let localhost = world.url("localhost");
    let digits = world.fingerprint.replace(':', "").to_lowercase();
    let other = "0".repeat(64);
    for (server, args, parts) in [
        (
            &localhost,
            &["--pin", &other][..],
            &["not the one", &digits, "somebody may stand between"][..],
        ),
        (&world.url("127.0.0.1"), &["--ca", "root.pem"], &["only for", "localhost", "--pin"]),
        (&localhost, &[], &["nobody who is trusted", &digits, "--ca FILE"]),
        (&localhost, &["--ca", "none.pem"], &["none.pem: No such file", "--ca"]),
        (&localhost, &["--ca", "key.pem"], &["key.pem: there is no certificate in it"]),
    ] {
        let complaint = world.complaint(server, args);
        assert!(parts.iter().all(|part| complaint.contains(part)), "{args:?}: {complaint}");
    }
    let old = World::new(|params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let complaint = old.complaint(&old.url("localhost"), &["--ca", "root.pem"]);
    assert!(complaint.contains("it has expired; ") && complaint.contains("renew"), "{complaint}");
    // Who knows it by its fingerprint does not look at its dates.
    succeed(old.run(&old.url("localhost"), &["--pin", &old.fingerprint, "status"]));
}

#[test]
fn what_cannot_work_is_said() {
    let world = World::default();
    let plain =
        Server::bind(Config { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Config::default() });
    let plain = plain.unwrap().start().unwrap();
    let url = format!("https://{}", plain.addresses()[0]);
    let output = world.run(&url, &["--ca", "root.pem", "status"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("cannot speak TLS") && said.contains("leave out https://"), "{said}");
    plain.cut();

    let bare = format!("127.0.0.1:{}", world.port());
    let output = world.run(&bare, &["--pin", &world.fingerprint, "status"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("https://HOST"), "{said}");
    let output = world.run(&bare, &["--pin", "12345", "status"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("64 hexadecimal digits"));
}

#[test]
fn a_certificate_of_ones_own_is_shown() {
    let world = World::wanting_certificates();
    let url = world.url("localhost");
    let complaint = world.complaint(&url, &["--ca", "root.pem"]);
    assert!(complaint.contains("--cert"), "{complaint}");
    succeed(world.run(&url, &["--ca", "root.pem", "--cert", "client.pem", "status"]));
}
