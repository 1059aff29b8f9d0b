//! What an operator may get wrong: it is told at the start and by `--check-config`, with the
//! option, the value and what would be right.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Authority, Exit, Process};

/// The options of files that the server looks at again, and what they need beside them; `@` is the
/// file's folder.
const WATCHED: [(&str, &[&str]); 4] = [
    ("token-file", &["--access=token"]),
    ("tls-cert", &[]),
    ("tls-key", &["--tls-cert=@cert.pem"]),
    ("client-ca", &["--tls-cert=@cert.pem", "--tls-key=@key.pem"]),
];

fn with(command: &mut Command, option: &str, file: &Path, others: &[&str], folder: &Path) {
    let folder = format!("{}/", folder.display());
    command.arg("--listen=127.0.0.1:0").arg(format!("--{option}={}", file.display()));
    command.args(others.iter().map(|other| other.replace('@', &folder)));
}

fn assert_told(exit: &Exit, parts: &[&str]) {
    assert_eq!(exit.status.code(), Some(2), "{exit:?}");
    assert!(parts.iter().all(|part| exit.stderr.contains(part)), "{parts:?}: {}", exit.stderr);
}

#[test]
fn a_file_that_cannot_be_looked_at_again_stops_the_start_at_once() {
    let authority = Authority::new();
    let folder = authority.path("");
    let pipe = authority.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let long = authority.path("long");
    std::fs::write(&long, vec![b'#'; 5 << 20]).unwrap();
    const IRREGULAR: &str = "it is no regular file, which could be read again when it has changed";
    for (option, others) in WATCHED {
        for (file, why) in [
            (&pipe, IRREGULAR),
            (&folder, IRREGULAR),
            (&PathBuf::from("/dev/zero"), IRREGULAR),
            (&authority.path("none"), "there is no such file"),
            (&long, "it is longer than 4 MiB"),
        ] {
            for check in [&["--check-config"][..], &[]] {
                let mut command = Process::command();
                with(&mut command, option, file, others, &folder);
                let exit = Process::run({
                    command.args(check);
                    command
                });
                assert_told(&exit, &[&format!("{option}: {}: {why}", file.display())]);
            }
        }
    }
}

#[test]
fn a_file_of_somebody_elses_is_told_with_what_to_do() {
    let authority = Authority::new();
    let folder = authority.path("");
    let secret = authority.path("secret");
    std::fs::copy(authority.path("cert.pem"), &secret).unwrap();
    let mode = |path: &Path, mode: u32| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(path, mode).unwrap();
    };
    mode(&folder, 0o755);
    mode(&secret, 0o000);
    for (option, others) in WATCHED {
        // Root may read everything, so it is nobody who starts the server. It is named by a
        // descriptor, for its folder may be closed to others.
        let binary = std::fs::File::open(env!("CARGO_BIN_EXE_xchg-server")).unwrap();
        let mut command = Command::new("env");
        command.args(["-i", "/proc/self/fd/0"]).stdin(binary);
        with(&mut command, option, &secret, others, &folder);
        if rustix::process::getuid().is_root() {
            command.uid(54_321);
        }
        let told =
            format!("{option}: {}: it cannot be read: let the server's user", secret.display());
        assert_told(&Process::run(command), &[&told, "chown, chmod 600"]);
    }
}

/// An authority's folder with a file or two for each mistake.
fn folder() -> Authority {
    let authority = Authority::new();
    let write = |name: &str, text: &str| std::fs::write(authority.path(name), text).unwrap();
    write("tokens", "secret name=anna\n");
    write("bad-tokens", "secret oops\nfine\nfine\nother name=a,b\n");
    write("no-tokens", "# none\n");
    write("other-key.pem", &rcgen::KeyPair::generate().unwrap().serialize_pem());
    let encrypted = "ENCRYPTED PRIVATE KEY-----\n";
    write("encrypted.pem", &format!("-----BEGIN {encrypted}AAAA\n-----END {encrypted}"));
    // A certificate and a key in DER, as PKCS#12 begins, too.
    std::fs::write(authority.path("binary"), b"\x30\x82\x03\x01\x30\x82").unwrap();
    authority
}

/// Each line: a command line, and then what is to be told of it. `@` is the folder, `T` a
/// certificate with its key.
const MISTAKES: &[(&str, &[&str])] = &[
    // TLS.
    ("--tls-key=@key.pem", &["tls-key: ", "name its PEM file with --tls-cert"]),
    ("--client-ca=@root.pem", &["client-ca: ", "name its PEM file with --tls-cert"]),
    ("--listen=127.0.0.1:0,tls=required", &["listen: ", "tls=required", "--tls-cert"]),
    ("--listen=127.0.0.1:0,tls=on T", &["--listen", "`tls=on`", "tls=offered"]),
    ("--listen=127.0.0.1:0,tls=off T", &["tls-cert: no address takes TLS", "tls=off"]),
    ("--tls-cert=@key.pem --tls-key=@cert.pem", &["tls-cert: ", "no certificate in @key.pem"]),
    ("--tls-cert=@cert.pem", &["tls-key: there is no private key in @cert.pem"]),
    ("--tls-cert=@cert.pem --tls-key=@other-key.pem", &["tls-key: ", "@other-key.pem is not that"]),
    ("--tls-cert=@cert.pem --tls-key=@encrypted.pem", &["@encrypted.pem is encrypted", "openssl"]),
    ("--tls-cert=", &["--tls-cert", "a value is required"]),
    ("T --client-ca=@key.pem", &["client-ca: there is no certificate in @key.pem"]),
    ("T --tls-self-signed=@made", &["tls-self-signed: --tls-cert and --tls-key", "the one or"]),
    ("--tls-self-signed=@tokens", &["tls-self-signed: @tokens is no folder"]),
    ("--tls-self-signed=@made --listen=127.0.0.1:0,tls=off", &["tls-self-signed: ", "tls=off"]),
    ("--tls-cert=@binary", &["tls-cert: @binary is no PEM file", "openssl x509", "pkcs12"]),
    (
        "--tls-cert=@cert.pem --tls-key=@binary",
        &["tls-key: @binary is no PEM file", "openssl pkey"],
    ),
    ("T --client-ca=@binary", &["client-ca: @binary is no PEM file", "openssl x509"]),
    ("--tls-self-signed=@made --client-ca=@none", &["client-ca: @none: there is no such file"]),
    ("--tls-self-signed=@made --client-ca=@key.pem", &["client-ca: there is no certificate in"]),
    ("--tls-self-signed=@tokens/made", &["tls-self-signed: @tokens is no folder"]),
    // Where it listens, and what it tells.
    ("--listen=localhost:4980", &["--listen", "`localhost:4980`", "127.0.0.1:4980"]),
    ("--listen=127.0.0.1:70000", &["--listen", "`127.0.0.1:70000`", "ADDR:PORT"]),
    ("--listen=[fe80::1%none]:4980", &["--listen", "no network interface `none`", "ip link"]),
    ("--listen=[fe80::1]:0", &["[fe80::1]:0", "needs its interface, as in [fe80::1%eth0]"]),
    ("--listen=unix:", &["--listen", "a path must follow"]),
    ("--port-file=@none/ports", &["port-file: there is no folder @none", "make it"]),
    ("--port-file=@", &["port-file: @ is a folder"]),
    // Who may exchange.
    ("--access=tokn", &["--access", "'tokn'", "open, token"]),
    ("--access=token", &["access: ", "token-file"]),
    ("--listen=127.0.0.1:0,access=tokens", &["--listen", "`tokens`", "`access=token`"]),
    ("--token-file=@tokens", &["token-file: nobody is asked", "`access` to `token`"]),
    ("--access=token --token-file=@no-tokens", &["@no-tokens: there is no token", "one a line"]),
    (
        "--access=token --token-file=@bad-tokens",
        &["line 1: behind a token stand name=", "line 3: the same token", "line 4: name = \"a,b\""],
    ),
    ("--access=token --token=", &["--token", "write a token of 1 to 255 bytes"]),
    ("--access=token --token=LONG", &["'…' for '--token", "write a token of 1 to 255 bytes"]),
    (
        "--listen=127.0.0.1:0,access=token,dialects=classic --token=secret",
        &["listen: `127.0.0.1:0,dialects=classic,access=token`", "native or http", "access=open"],
    ),
    ("--dialects=classic,transit --access=token --token=secret", &["listen: ", "native or http"]),
    ("--terminate=token", &["terminate: ", "XCHG_TOKEN"]),
    ("--terminate=nevr", &["--terminate", "'nevr'", "'never'"]),
    // The admin listener.
    ("--admin=0.0.0.0:0", &["admin: others reach 0.0.0.0:0", "XCHG_TOKEN", "127.0.0.1:PORT"]),
    ("--admin=localhost:4990", &["--admin", "`localhost:4990`", "127.0.0.1:4980"]),
    ("--admin=127.0.0.1:4990,public", &["--admin", "`127.0.0.1:4990,public`", "ADDR:PORT"]),
    ("--admin=unix:@none/admin", &["unix:@none/admin", "its folder does not exist", "--admin"]),
    ("--admin=unix:@tokens", &["unix:@tokens", "no socket", "remove what is there", "--admin"]),
    ("--admin=unix:@LONG", &["cannot be as long", "--admin"]),
    ("--admin=192.0.2.1:4990 --token=secret", &["192.0.2.1:4990", "no such address", "--admin"]),
    (
        "--listen=127.0.0.1:4 --admin=127.0.0.1:4",
        &["admin: 127.0.0.1:4 is named before, by listen"],
    ),
    ("--listen=127.0.0.1:4 --listen=127.0.0.1:4", &["listen: 127.0.0.1:4 is named before"]),
    // Limits.
    ("--max-connections=1", &["max-connections: ", "not 1", "at least 2"]),
    ("--max-connections=many", &["--max-connections", "'many'", "such as 65536"]),
    ("--max-connections-per-source=0", &["max-connections-per-source: with 0 ", "at least 1"]),
    ("--max-waiting=0", &["max-waiting: with 0 ", "at least 1"]),
    ("--max-waiting-per-key=0", &["max-waiting-per-key: with 0 ", "at least 1"]),
    ("--max-waiting-per-source=0", &["max-waiting-per-source: with 0 ", "at least 1"]),
    ("--max-offers-per-second=0", &["max-offers-per-second: with 0 ", "at least 1"]),
    ("--max-exchange-bytes=0", &["max-exchange-bytes: with 0 ", "at least 1"]),
    ("--max-exchange-bytes=4T", &["--max-exchange-bytes", "'4T'", "1M"]),
    ("--limit-rate-exchange=20MB", &["--limit-rate-exchange", "'20MB'", "500K or 20M"]),
    ("--limit-rate-source=0", &["--limit-rate-source", "'0'", "from 1K on"]),
    ("--limit-rate-total=-1M", &["--limit-rate-total", "'-1M'", "500K or 20M"]),
    ("--wait-timeout=5m", &["--wait-timeout", "'5m'", "seconds, such as 30"]),
    ("--idle-timeout=0", &["idle-timeout: with 0 ", "such as 0.5"]),
    ("--drain-timeout=inf", &["--drain-timeout", "'inf'", "seconds, such as 30"]),
    ("--workers=2000", &["workers: 2000 ", "1 to 1024"]),
    ("--recv-buffer=100G", &["recv-buffer: 107374182400 ", "1G"]),
    ("--send-buffer=0", &["send-buffer: 0 ", "1G"]),
    ("--pipe-size=100G", &["pipe-size: 107374182400 ", "up to 1G"]),
    ("--trusted-proxies=10.0.0.1/8", &["--trusted-proxies", "`10.0.0.1/8`", "10.0.0.0/8"]),
    ("--trusted-proxies=10.0.0.0/33", &["--trusted-proxies", "`10.0.0.0/33`", "0 to 32"]),
    ("--congestion=", &["congestion: it has no name; the kernel has: "]),
    ("--congestion=none", &["congestion: the kernel has no `none`; it has: ", "modprobe"]),
    ("--pipe-size=1e6", &["--pipe-size", "'1e6'", "65536, 64K or 1M"]),
    ("--pipe-size=-1", &["--pipe-size", "'-1'", "65536, 64K or 1M"]),
    ("--max-waiting=99999999999999999999", &["--max-waiting", "such as 100000"]),
    ("--max-conections=5", &["--max-conections", "'--max-connections'"]),
];

#[test]
fn every_mistake_names_the_option_the_value_and_what_would_be_right() {
    let authority = folder();
    let folder = format!("{}/", authority.path("").display());
    let folder = folder.replace("//", "/");
    let filled = |text: &str| {
        let certificate = "--tls-cert=@cert.pem --tls-key=@key.pem";
        let text = if let Some(rest) = text.strip_prefix("T ") {
            format!("{certificate} {rest}")
        } else if let Some(rest) = text.strip_suffix(" T") {
            format!("{rest} {certificate}")
        } else {
            text.to_owned()
        };
        text.replace("LONG", &"secret".repeat(50)).replace('@', &folder)
    };
    for (line, parts) in MISTAKES {
        let mut command = Process::command();
        command.arg("--check-config").args(filled(line).split(' '));
        if !line.contains("--listen") {
            command.arg("--listen=127.0.0.1:0");
        }
        let exit = Process::run(command);
        let parts: Vec<String> = parts.iter().map(|part| part.replace('@', &folder)).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        assert_told(&exit, &parts);
        assert!(!exit.stderr.contains("panicked"), "{exit:?}");
        // A path may be as long as it is told; a token is not told at all.
        assert!(line.contains("unix:") || !exit.stderr.contains("secret"), "{exit:?}");
    }
}

#[test]
fn a_config_file_is_read_as_editors_write_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("xchg.toml");
    let checked = || {
        let mut command = Process::command();
        command.args(["--check-config", "--listen=127.0.0.1:0", "--config"]).arg(&file);
        Process::run(command)
    };
    assert_told(&checked(), &["cannot read the config file", "No such file"]);
    for fine in [&b""[..], b"\xef\xbb\xbfworkers = 2\r\n", b"workers = 2\r\nlog_keys = true\r\n"] {
        std::fs::write(&file, fine).unwrap();
        assert_eq!(checked().status.code(), Some(0), "{fine:?}: {:?}", checked());
    }
    for (wrong, why) in [
        (&b"\xff\xfew\0o\0"[..], "UTF-8"),
        (b"workers = [1, 2]", "line 1: workers: it takes one value, not 2"),
        (b"[tls]\ncert = 'x'", "line 1: there is no setting `tls`"),
        (b"workers = 2\nworkers = 3", "line 2: "),
    ] {
        std::fs::write(&file, wrong).unwrap();
        assert_told(&checked(), &[why]);
    }
}

#[test]
fn what_is_right_and_likely_not_meant_is_told_as_well() {
    let authority = folder();
    let path = |name: &str| authority.path(name).display().to_string();
    let mut command = Process::command();
    command.args(["--check-config", "--listen=127.0.0.1:0", "--tls-cert", &path("cert.pem")]);
    command.args(["--tls-key", &path("key.pem"), "--client-ca", &path("root.pem")]);
    let exit = Process::run(command);
    assert_eq!(exit.status.code(), Some(0), "{exit:?}");
    let told =
        "client-ca: who comes to `127.0.0.1:0` without TLS needs no certificate: add tls=required";
    assert!(exit.stderr.contains(told), "{exit:?}");
    let mut command = Process::command();
    command.args(["--check-config", "--listen=127.0.0.1:0,proxy", "--trusted-proxies=::/0"]);
    let exit = Process::run(command);
    assert_eq!(exit.status.code(), Some(0), "{exit:?}");
    assert!(exit.stderr.contains("trusted-proxies: with ::/0 whoever comes"), "{exit:?}");
    // What is yet to be made is no mistake, nor what needs it.
    let mut command = Process::command();
    command.args(["--check-config", "--listen=127.0.0.1:0,tls=required"]);
    command.args(["--tls-self-signed", &path("made"), "--client-ca", &path("root.pem")]);
    let exit = Process::run(command);
    assert_eq!(exit.status.code(), Some(0), "{exit:?}");
    assert!(exit.stderr.contains("the first start makes it"), "{exit:?}");
    assert!(!authority.path("made").exists());
}
