//! Completion scripts and manual pages, made of the same definition as the command line.

use std::fs;
use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap::builder::Resettable;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::cli::{Cli, EXIT_CODES_AND_EVENTS};
use crate::failure::Failure;
use crate::report::print;

const ENVIRONMENT: &str = "\
XCHG_SERVER      the server, if --server names none
XCHG_TOKEN       the access token, if --token gives none
XCHG_SECRET      the secret of a key that is named without one; other users do not see it there
XDG_CONFIG_HOME  where the configuration file is searched, instead of ~/.config
TERM             what the terminal can do; where it can do nothing, questions are asked in plain lines";

const FILES: &str = "\
~/.config/xchg/client.toml  what need not be said each time; flags and the environment come first. All of it is optional:
    server = \"example.org:4980\"
    token = \"a long random text\"   # then nobody else should be able to read the file
    wait = \"5m\"                     # how long to wait for the other side
    yes = true                      # accept what is offered without asking
.NAME.xchg-part, .xchg-part
    what an unfinished download leaves, so that the same command goes on from there";

const SEE_ALSO: &str = "xchg-server(1), curl(1), wormhole(1)";

/// Prints the script that completes the command line in `shell`.
pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "xchg-client", &mut script);
    // In bash, clap_complete 4.6.11 spells the commands of a program with a dash in its name in two
    // ways, and then finds none of them (https://github.com/clap-rs/clap/issues/6421).
    let script = String::from_utf8_lossy(&script).replace("xchg__subcmd__client", "xchg__client");
    print(script.as_bytes())
}

/// Writes the manual pages into `folder`, which is made if need be: one of the program, and one of
/// each command.
pub(crate) fn pages(folder: &Path) -> Result<(), Failure> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
    for command in program.get_subcommands().chain([&program]) {
        let path = folder.join(Man::new(command.clone()).get_filename());
        let written = page(command.clone()).and_then(|page| fs::write(&path, page));
        written.map_err(|source| failed(&path, source))?;
    }
    Ok(())
}

fn page(mut command: clap::Command) -> io::Result<Vec<u8>> {
    let name = command.get_name().to_owned();
    let has_events =
        command.get_after_help().is_some_and(|help| help.to_string().contains("Events"));
    // What follows has sections of its own here.
    command = command.after_help(Resettable::Reset);
    let mut page = Vec::new();
    let source = concat!("xchg-client ", env!("CARGO_PKG_VERSION"));
    Man::new(command).source(source).render(&mut page)?;
    let mut rest = Roff::new();
    section(&mut rest, "EXAMPLES", examples(&name));
    let (status, events) = EXIT_CODES_AND_EVENTS.split_once("\n\n").unwrap_or_default();
    section(&mut rest, "EXIT STATUS", status.split_once('\n').map_or("", |(_, codes)| codes));
    if has_events {
        section(&mut rest, "EVENTS", events);
    }
    section(&mut rest, "ENVIRONMENT", ENVIRONMENT);
    section(&mut rest, "FILES", FILES);
    section(&mut rest, "SEE ALSO", SEE_ALSO);
    page.extend_from_slice(rest.to_roff().as_bytes());
    Ok(page)
}

/// Adds a section whose lines remain lines.
fn section(page: &mut Roff, title: &str, text: &str) {
    page.control("SH", [title]).control("nf", []);
    for line in text.lines() {
        page.text([roman(line)]);
    }
    page.control("fi", []);
}

/// What the command is good for, line by line.
fn examples(command: &str) -> &'static str {
    match command {
        "upload" | "xchg-client-upload" => {
            "\
xchg-client upload photos/ report.pdf      # on a terminal, makes up a code to read to somebody
xchg-client upload f --key f:              # asks for a secret
tar c src | xchg-client upload - --key src.tar
xchg-client upload --plain f --key f       # for curl: curl http://SERVER/f"
        }
        "download" | "xchg-client-download" => {
            "\
xchg-client download 12342-fabric-lemon-orbit
xchg-client download f: -o /tmp/f          # asks for the secret
xchg-client download src.tar -o - | tar x
xchg-client download http://SERVER/f       # from a browser or curl"
        }
        "completions" | "xchg-client-completions" => {
            "xchg-client completions bash > ~/.local/share/bash-completion/completions/xchg-client"
        }
        "man" | "xchg-client-man" => "xchg-client man ~/.local/share/man/man1",
        "terminate" | "xchg-client-terminate" => {
            "xchg-client --server SERVER terminate      # running exchanges finish"
        }
        "status" | "xchg-client-status" => "xchg-client --server SERVER status --json",
        _ => {
            "\
xchg-client upload f                       # on one machine
xchg-client download CODE                  # on the other"
        }
    }
}

fn failed(path: &Path, source: io::Error) -> Failure {
    Failure::Write { path: Some(path.to_owned()), source }
}
