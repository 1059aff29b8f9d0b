//! `status`, `terminate`, the command line and the environment.

use std::path::Path;
use std::process::Stdio;

use tempfile::tempdir;
use xchg_core::wire::{Answer, Command, RefusalCode, StatusReport};

use crate::server::{Server, nowhere};
use crate::support::{Client, command};

const REPORT: StatusReport = StatusReport {
    waiting: 3,
    exchanging: 12,
    completed: 1000,
    failed: 0,
    uptime_millis: 90_061_000,
    draining: false,
};

/// Runs `args` against a server that has `answer` for the command.
fn asked(args: &[&str], expected: Command, answer: Answer) -> crate::support::Finished {
    let server = Server::run(move |mut peer| {
        assert_eq!(peer.greeting.command, expected);
        peer.answer(&answer);
    });
    let args = [args, &["--server", &server.address]].concat();
    let finished = Client::start(Path::new("."), &args).finish();
    server.finish();
    finished
}

#[test]
fn status_is_a_table() {
    let finished = asked(&["status"], Command::Status, Answer::Status(REPORT)).expect(0, "");
    let expected = "\
waiting peers                  3
running exchanges             12
completed exchanges         1000
failed exchanges               0
uptime               1d 01:01:01
draining                      no
";
    assert_eq!(String::from_utf8(finished.stdout).unwrap(), expected);
    assert_eq!(finished.stderr, [""; 0]);
}

#[test]
fn status_as_json_is_one_object() {
    let finished = asked(&["status", "--json"], Command::Status, Answer::Status(REPORT));
    let report: serde_json::Value = serde_json::from_slice(&finished.stdout).unwrap();
    let expected = serde_json::json!({
        "waiting": 3, "exchanging": 12, "completed": 1000, "failed": 0,
        "uptime_millis": 90_061_000, "draining": false,
    });
    assert_eq!(report, expected);
}

#[test]
fn terminate_says_what_was_released_and_what_still_runs() {
    let finished = asked(&["terminate"], Command::Terminate, Answer::Status(REPORT)).expect(0, "");
    let text = String::from_utf8(finished.stdout).unwrap();
    assert_eq!(text, "released waiting peers: 3\nrunning exchanges: 12\n");

    let finished = asked(&["terminate", "--json"], Command::Terminate, Answer::Status(REPORT));
    let report: serde_json::Value = serde_json::from_slice(&finished.stdout).unwrap();
    assert_eq!(report, serde_json::json!({ "released": 3, "exchanging": 12 }));
}

#[test]
fn a_forbidden_terminate_fails_and_is_not_worth_a_retry() {
    let answer = Answer::Refused { code: RefusalCode::Forbidden, text: "give its token".into() };
    asked(&["terminate"], Command::Terminate, answer).expect(1, "give its token");
}

#[test]
fn an_answer_that_fits_no_question_is_malformed() {
    asked(&["status"], Command::Status, Answer::Heartbeat).expect(1, "is not an xchg server");
}

#[test]
fn a_gone_reader_of_stdout_is_no_panic() {
    let server = Server::run(|mut peer| peer.answer(&Answer::Status(REPORT)));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = command(Path::new("."), &["status", "--server", &server.address]);
    let output = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let output = output.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stderr, b"", "quietly");
    server.finish();
}

#[test]
fn a_gone_reader_of_stderr_changes_nothing() {
    let server = Server::run(|mut peer| peer.refuse(RefusalCode::Busy, "full"));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = command(Path::new("."), &["status", "--server", &server.address]);
    assert_eq!(command.stderr(writer).status().unwrap().code(), Some(3));
    server.finish();
}

#[test]
fn the_environment_names_server_and_token() {
    let server = Server::run(|mut peer| {
        assert_eq!(peer.greeting.token.as_ref().unwrap().as_bytes(), b"sesame");
        peer.answer(&Answer::Status(REPORT));
    });
    let mut command = command(Path::new("."), &["status"]);
    command.env("XCHG_SERVER", &server.address).env("XCHG_TOKEN", "sesame");
    Client::spawn(command).finish().expect(0, "");
    server.finish();
}

#[test]
fn the_file_says_what_need_not_be_said_each_time() {
    let folder = tempdir().unwrap();
    std::fs::create_dir(folder.path().join("xchg")).unwrap();
    let path = folder.path().join("xchg/client.toml");
    let run = |text: &str, args: &[&str], variables: &[(&str, &str)]| {
        std::fs::write(&path, text).unwrap();
        let mut command = command(Path::new("."), args);
        command.env("XDG_CONFIG_HOME", folder.path()).envs(variables.iter().copied());
        Client::spawn(command).finish()
    };
    // The file beats the default, the environment that, and a flag that.
    for (args, variables, token) in [
        (&["status"][..], &[][..], "file"),
        (&["status"], &[("XCHG_TOKEN", "variable")], "variable"),
        (&["status", "--token", "flag"], &[("XCHG_TOKEN", "variable")], "flag"),
    ] {
        let server = Server::run(move |mut peer| {
            assert_eq!(peer.greeting.token.as_ref().unwrap().as_bytes(), token.as_bytes());
            peer.answer(&Answer::Status(REPORT));
        });
        let text = format!("server = \"{}\"\ntoken = \"file\"\n", server.address);
        run(&text, args, variables).expect(0, "other users can read it; chmod 600");
        server.finish();
    }
    let server = Server::run(|mut peer| {
        use xchg_core::wire::Wait;
        assert_eq!(peer.offer().wait, Wait::AtMost(std::time::Duration::from_secs(300)));
        peer.refuse(RefusalCode::Busy, "full");
    });
    let text = format!("server = \"{}\"\nwait = \"5m\"\n", server.address);
    run(&text, &["download", "--plain", "k", "-o", "-"], &[]).expect(3, "full");
    server.finish();
    let finished = run("serwer = 1\nyes = 2\n", &["status"], &[]);
    finished.expect(2, "client.toml cannot be used:").expect(2, "yes is true or false");
}

#[test]
fn upload_and_download_are_also_called_send_and_receive() {
    for (alias, side) in [("send", xchg_core::Side::Upload), ("receive", xchg_core::Side::Download)]
    {
        let server = Server::run(move |mut peer| {
            assert_eq!(peer.offer().side, side);
            peer.refuse(RefusalCode::Busy, "full");
        });
        let rest = match side {
            xchg_core::Side::Upload => ["--text", "x", "--key", "k"],
            xchg_core::Side::Download => ["k", "-o", "arrived", "--yes"],
        };
        let args = [&[alias, "--server", &server.address], &rest[..]].concat();
        Client::start(Path::new("."), &args).finish().expect(3, "full");
        server.finish();
    }
}

#[test]
fn an_error_begins_the_same_whoever_finds_it() {
    for args in [
        &["download", "--nonsense"][..],
        &["download", "k", "--wait", "x"],
        &["upload", "f", "--key", ""],
    ] {
        let finished = Client::start(Path::new("."), args).finish();
        assert!(finished.stderr[0].starts_with("xchg-client: "), "{finished:?}");
        assert!(!finished.stderr[0].contains("error:"), "{finished:?}");
    }
}

#[test]
fn the_help_shows_the_contract_with_scripts() {
    for (args, parts) in [
        (&["--help"][..], &["Exit codes:", "130  interrupted", "127.0.0.1:4980"][..]),
        (&["upload", "--plain", "--help"], &["Exit codes:", r#"{"event":"waiting""#, "--pace"]),
        (&["download", "--plain", "--help"], &["Exit codes:", r#"{"event":"done""#, "--overwrite"]),
    ] {
        let finished = Client::start(Path::new("."), args).finish().expect(0, "");
        let help = String::from_utf8(finished.stdout).unwrap();
        for part in parts {
            assert!(help.contains(part), "no {part} in {help}");
        }
    }
}

#[test]
fn an_unreadable_command_line_exits_2_and_says_why() {
    for (args, why) in [
        (&[][..], "Usage"),
        (&["upload"], "PATH"),
        (&["upload", "--plain"], "PATH"),
        (&["upload", "--plain", "-"], "--key"),
        (&["upload", "--plain", "f", "--key", ""], "key is 0 bytes long; use 1 to 255"),
        (&["download"], "no terminal to ask at; name it: xchg-client download KEY"),
        (&["download", "--plain", &"k".repeat(256)], "key is 256 bytes long; use 1 to 255"),
        (&["download", "--plain", "k", "--wait", "-2"], "-1 to wait for ever"),
        (&["download", "--plain", "k", "--buffer-size", "1G"], "with K or M behind it"),
        (&["download", "--plain", "k", "--buffer-size", "65M"], "choose from 1K to 64M"),
        (&["download", "--plain", "k", "--limit-rate", "0"], "nothing moves"),
        (&["status", "--server", "https://host/x"], "without a user or a path"),
        (&["status", "--connect-timeout", "0"], "write seconds"),
        (&["status", "--token", ""], "a token has 1 to 255 bytes"),
        (&["status", "--json", "--quiet"], "cannot be used with"),
    ] {
        let finished = Client::start(Path::new("."), args).finish();
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(finished.stderr.concat().contains(why), "no {why} in {finished:?}");
    }
}

#[test]
fn a_mistyped_code_is_told_in_its_own_words_and_no_usage() {
    let args = ["download", "12343-fabric-lemon-orbit"];
    let finished =
        Client::start(Path::new("."), &args).finish().expect(2, "is the number of no code");
    assert_eq!(finished.stderr[1..], ["", "For more information, try '--help'."]);
}

#[test]
fn a_usage_names_as_needed_only_what_is() {
    for (args, usage) in [
        (&["upload"][..], "Usage: xchg-client upload [OPTIONS] [PATH]..."),
        (
            &["download", "--overwrite", "--rename"],
            "Usage: xchg-client download [OPTIONS] [KEY[:SECRET]|CODE|LINK]",
        ),
    ] {
        let mut command = command(Path::new("."), args);
        command.env("XCHG_SERVER", "localhost");
        let finished = Client::spawn(command).finish();
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(finished.stderr.contains(&usage.to_owned()), "{finished:?}");
    }
}

#[test]
fn a_server_that_is_not_there_is_named_with_a_way_out() {
    let address = nowhere();
    Client::start(Path::new("."), &["status", "--server", &address])
        .finish()
        .expect(1, &format!("cannot reach {address}: "));
}

#[test]
fn an_unknown_host_is_named() {
    // A label of more than 63 bytes is no name at all, so that no resolver has to be asked.
    let host = "x".repeat(64);
    let server = format!("{host}.invalid");
    let args = ["status", "--server", &server, "--connect-timeout", "5"];
    let part = format!("unknown host `{server}`: ");
    Client::start(Path::new("."), &args).finish().expect(1, &part);
}

#[test]
fn every_address_of_a_host_is_tried() {
    // Where `localhost` has an IPv6 address too, nothing listens there.
    let server = Server::run(|mut peer| peer.answer(&Answer::Status(REPORT)));
    let address = server.address.replace("127.0.0.1", "localhost");
    Client::start(Path::new("."), &["status", "--server", &address]).finish().expect(0, "");
    server.finish();
}

#[cfg(unix)]
#[test]
fn a_unix_socket_is_an_address_too() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("xchg.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let address = format!("unix:{}", path.display());
    let server = Server::on(listener.into(), address, |socket| {
        let mut peer = crate::server::Peer::greeted(socket);
        peer.wait();
        peer.match_native();
        peer.send_payload(b"over a unix socket");
        assert_eq!(peer.read(9), crate::server::receipt(0, 18));
    });
    let args = ["download", "--plain", "k", "--server", &server.address, "-o", "-"];
    let finished = Client::start(folder.path(), &args).finish().expect(0, "done: 18 B");
    assert_eq!(finished.stdout, b"over a unix socket");
    server.finish();

    let address = format!("unix:{}", folder.path().join("none").display());
    let args = ["status", "--server", &address];
    Client::start(folder.path(), &args).finish().expect(1, "start one with xchg-server");
}

#[test]
fn a_shell_completes_commands_and_options() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let finished = Client::start(Path::new("."), &["completions", shell]).finish();
        let script = String::from_utf8(finished.expect(0, "").stdout).unwrap();
        for part in ["download", "overwrite", "connect-timeout", "limit-rate", "xchg-client"] {
            assert!(script.contains(part), "no {part} in the script of {shell}");
        }
    }
    Client::start(Path::new("."), &["completions", "tcsh"]).finish().expect(2, "bash, elvish");
}

#[test]
fn bash_understands_its_completions() {
    let finished = Client::start(Path::new("."), &["completions", "bash"]).finish();
    // What it would offer for the begin of an option, as bash asks for it.
    let question = "COMP_WORDS=(xchg-client download --over); COMP_CWORD=2; \
                    _xchg__client xchg-client --over download; echo \"${COMPREPLY[@]}\"";
    let mut bash = std::process::Command::new("bash");
    bash.args(["-c", &format!("{}\n{question}", String::from_utf8(finished.stdout).unwrap())]);
    match bash.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        output => {
            let output = output.unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stderr), "");
            assert_eq!(output.stdout, b"--overwrite\n");
        }
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempdir().unwrap();
    Client::start(folder.path(), &["man", "new/pages"]).finish().expect(0, "");
    let pages = folder.path().join("new/pages");
    let names = crate::support::names(&pages);
    let commands = ["completions", "download", "man", "status", "terminate", "upload"];
    let expected = commands.map(|command| format!("xchg-client-{command}.1"));
    assert_eq!(names, [&expected[..], &["xchg-client.1".to_owned()]].concat());
    let read = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap();
    let download = read("xchg-client-download.1");
    for part in ["overwrite", "130  interrupted", "\"failed\"", "client.toml"] {
        assert!(download.contains(part), "no {part} in {download}");
    }
    for command in commands {
        let page = read(&format!("xchg-client-{command}.1"));
        for title in ["EXAMPLES", "\"EXIT STATUS\"", "ENVIRONMENT", "FILES", "\"SEE ALSO\""] {
            assert!(page.contains(&format!("\n.SH {title}\n.nf\n")), "no {title} in {page}");
        }
        assert_eq!(page.contains(".SH EVENTS"), ["upload", "download"].contains(&command));
    }
    assert!(read("xchg-client.1").contains("xchg\\-client\\-download(1)"));
}

#[test]
fn manual_pages_that_cannot_be_written_are_named() {
    let folder = tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    Client::start(folder.path(), &["man", "file"]).finish().expect(1, "cannot write `file`");
}
