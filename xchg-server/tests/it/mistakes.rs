//! What an operator may get wrong: it is told at the start and by `--check-config`, with the option,
//! the value and what would be right.

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
