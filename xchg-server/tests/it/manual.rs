//! What the program says of itself: completion scripts and the manual page.

use std::process::Command;

use crate::common::{Exit, Process};

fn run(args: &[&str]) -> Exit {
    let mut command = Process::command();
    command.args(args);
    Process::run(command)
}

#[test]
fn a_shell_completes_options() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let exit = run(&["--completions", shell]);
        assert!(exit.status.success(), "{exit:?}");
        let script = exit.stdout.concat();
        for part in ["xchg-server", "max-waiting-per-key", "check-config", "log-format"] {
            assert!(script.contains(part), "no {part} in the script of {shell}");
        }
    }
}

#[test]
fn bash_understands_its_completions() {
    let script = run(&["--completions", "bash"]).stdout.join("\n");
    // What it would offer for the begin of an option, as bash asks for it.
    let question = "COMP_WORDS=(xchg-server --drain); COMP_CWORD=1; \
                    _xchg__server xchg-server --drain xchg-server; echo \"${COMPREPLY[@]}\"";
    match Command::new("bash").args(["-c", &format!("{script}\n{question}")]).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        output => {
            let output = output.unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stderr), "");
            assert_eq!(output.stdout, b"--drain-timeout\n");
        }
    }
}

#[test]
fn the_manual_pages_have_every_option() {
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("new");
    let exit = run(&["--man", new.to_str().unwrap()]);
    assert!(exit.status.success(), "{exit:?}");
    let page = std::fs::read_to_string(new.join("xchg-server.1")).unwrap();
    for part in ["\\-\\-listen", "\\-\\-drain\\-timeout", "XCHG_TOKEN", "SIGTERM"] {
        assert!(page.contains(part), "no {part} in {page}");
    }

    let mut pages: Vec<_> =
        std::fs::read_dir(&new).unwrap().map(|page| page.unwrap().file_name()).collect();
    pages.sort();
    assert_eq!(pages, ["xchg-server-health.1", "xchg-server-top.1", "xchg-server.1"]);
    let top = std::fs::read_to_string(new.join("xchg-server-top.1")).unwrap();
    assert!(top.contains("\\-\\-once") && top.contains("XCHG_TOKEN"), "{top}");

    let file = new.join("xchg-server.1");
    let exit = run(&["--man", file.to_str().unwrap()]);
    assert_eq!(exit.status.code(), Some(2));
    assert!(exit.stderr.contains("cannot write the manual pages into"), "{exit:?}");
}
