//! What a running server has given up, seen from outside.

use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::common::{Peer, Process, eventually};

/// What the kernel says of each thread, of a line such as `Seccomp:  2` in its status.
fn of_all_threads(process: &Process, field: &str) -> Vec<String> {
    let tasks = std::fs::read_dir(process.proc("task")).unwrap();
    let value = |task: std::io::Result<std::fs::DirEntry>| {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Some(line.unwrap().trim().to_owned())
    };
    let mut values: Vec<String> = tasks.filter_map(value).collect();
    values.dedup();
    values
}

#[test]
fn every_thread_is_confined_unless_the_operator_says_otherwise() {
    for (args, [seccomp, no_new_privileges], said) in [
        (&[][..], ["2", "1"], r#"sandboxed files="confined"#),
        (&["--sandbox", "required"], ["2", "1"], r#"system_calls="confined""#),
        (&["--sandbox", "off"], ["0", "0"], "not sandboxed"),
    ] {
        let (process, address) = Process::start(args);
        assert_eq!(of_all_threads(&process, "Seccomp"), [seccomp], "{args:?}");
        assert_eq!(of_all_threads(&process, "NoNewPrivs"), [no_new_privileges], "{args:?}");
        eventually("the log says so", || process.stderr().contains(said));
        let downloader = Peer::classic(address, b'G', "serves");
        drop(Peer::classic(address, b'P', "serves").send_all(b"all the same"));
        assert_eq!(downloader.whole(), b"all the same");
    }
}

/// The server removes its socket's file at the end, by a path that leads elsewhere by then.
#[test]
fn files_out_of_its_folders_are_out_of_reach() {
    for (sandbox, is_reached) in [("auto", false), ("off", true)] {
        let folder = tempfile::tempdir().unwrap();
        let [ours, others] = ["ours", "others"].map(|name| folder.path().join(name));
        [&ours, &others].into_iter().for_each(|path| std::fs::create_dir(path).unwrap());
        let mut command = Process::command();
        command.args(["--sandbox", sandbox, "--listen"]);
        command.arg(format!("unix:{}", ours.join("socket").display()));
        let mut process = Process::spawn(command);
        process.line();
        let precious = others.join("socket");
        std::fs::write(&precious, "precious").unwrap();
        std::fs::remove_dir_all(&ours).unwrap();
        std::os::unix::fs::symlink(&others, &ours).unwrap();
        process.signal(Signal::TERM);
        assert_eq!(process.wait().status.code(), Some(0));
        assert_eq!(!precious.exists(), is_reached, "--sandbox {sandbox}");
    }
}

#[test]
fn what_it_still_needs_is_within_reach() {
    let folder = tempfile::tempdir().unwrap();
    let [socket, port_file] = ["socket", "ports"].map(|name| folder.path().join(name));
    let mut command = Process::command();
    command.args(["--sandbox", "required", "--listen"]);
    command.arg(format!("unix:{}", socket.display())).arg("--port-file").arg(&port_file);
    // What a killed server left.
    std::fs::write(&port_file, "old").unwrap();
    drop(UnixListener::bind(&socket).unwrap());
    let process = Process::spawn(command);
    let told = || std::fs::read_to_string(&port_file).unwrap();
    eventually("the port file is replaced", || told() == format!("unix:{}\n", socket.display()));
    process.signal(Signal::TERM);
    assert_eq!(process.wait().status.code(), Some(0));
    assert!(!socket.exists(), "its file is removed");
}

/// Has a debugger call a function of the C library in the server, and gives what that returns.
fn calls(process: &Process, call: &str) -> String {
    let output = Command::new("gdb")
        .args(["-nx", "-batch", "-iex", "set auto-load off", "-p"])
        .arg(process.proc("").file_name().unwrap())
        .args(["-ex", &format!("print {call}")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let value = said.lines().find_map(|line| line.strip_prefix("$1 = "));
    value.unwrap_or_else(|| panic!("{output:?}")).to_owned()
}

#[test]
#[ignore = "needs gdb"]
fn a_server_that_somebody_has_taken_over_reaches_nothing() {
    for sandbox in ["off", "auto"] {
        let (process, address) = Process::start(&["--sandbox", sandbox]);
        for (what, call) in [
            ("open a file", r#"((int (*)(const char *, int))open)("/etc/passwd", 0)"#),
            ("list a folder", r#"((int (*)(const char *, int))open)("/", 65536)"#),
            ("make a socket", "((int (*)(int, int, int))socket)(2, 1, 0)"),
            ("trace another process", "((int (*)(int, int, int, int))ptrace)(16, 1, 0, 0)"),
        ] {
            let failed = calls(&process, call) == "-1";
            // Tracing the first process of all fails for other reasons, too.
            let expected = sandbox == "auto" || what.starts_with("trace");
            assert_eq!(failed, expected, "--sandbox {sandbox}: {what}");
        }
        // 2: there is no such program; 1: it may not even look.
        let run = r#"((int (*)(const char *, void *, void *))execve)("/nowhere", 0, 0)"#;
        let errno = "*((int *(*)(void))__errno_location)()";
        let said = calls(&process, &format!("{run}, {errno}"));
        assert_eq!(said, if sandbox == "auto" { "1" } else { "2" }, "--sandbox {sandbox}");
        let downloader = Peer::classic(address, b'G', "serves");
        drop(Peer::classic(address, b'P', "serves").send_all(b"on"));
        assert_eq!(downloader.whole(), b"on");
    }
}

/// strace plays a kernel that lacks what confines.
#[test]
#[ignore = "needs strace"]
fn a_kernel_without_the_means_is_named_and_served_on_unless_they_are_required() {
    let server = |call: &str, sandbox: &str| {
        let mut command = Command::new("strace");
        // Not the child itself, which gets the signals: its tracer is.
        command.args(["-D", "-f", "-o", "/dev/null"]).stdin(Stdio::null());
        command.args(["-e", &format!("trace={call}")]);
        command.args(["-e", &format!("inject={call}:error=ENOSYS")]);
        command.arg(env!("CARGO_BIN_EXE_xchg-server"));
        command.args(["--listen", "127.0.0.1:0", "--sandbox", sandbox]);
        command
    };
    for (call, said) in
        [("landlock_create_ruleset", "this kernel has no landlock"), ("seccomp", "seccomp fails")]
    {
        let exit = Process::run(server(call, "required"));
        assert_eq!(exit.status.code(), Some(2), "{}", exit.stderr);
        for part in ["--sandbox required", said, "--sandbox auto"] {
            assert!(exit.stderr.contains(part), "{part:?} is not in {}", exit.stderr);
        }
        let (process, address) = Process::serve(server(call, "auto"));
        let downloader = Peer::classic(address, b'G', "serves");
        drop(Peer::classic(address, b'P', "serves").send_all(b"on"));
        assert_eq!(downloader.whole(), b"on");
        eventually("the log says so", || process.stderr().contains(said));
        process.signal(Signal::TERM);
        assert_eq!(process.wait().status.code(), Some(0));
    }
}
