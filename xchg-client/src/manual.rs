//! Completion scripts and manual pages, made of the same definition as the command line.

use std::fs;
use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap::builder::Resettable;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use xchg_client::Error;

use crate::cli::Cli;
use crate::report::print;

/// Prints the script that completes the command line in `shell`.
pub(crate) fn completions(shell: Shell) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "xchg-client", &mut script);
    // In bash, clap_complete 4.6.11 spells the commands of a program with a dash in its name in two ways, and then finds
    // none of them (https://github.com/clap-rs/clap/issues/6421).
    let script = String::from_utf8_lossy(&script).replace("xchg__subcmd__client", "xchg__client");
    print(script.as_bytes())
}

/// Writes the manual pages into `folder`, which is made if need be: one of the program, and one of each command.
pub(crate) fn pages(folder: &Path) -> Result<(), Error> {
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
    // The lines of tables have to remain lines, which clap_mangen does not know.
    let tables = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    command = command.after_help(Resettable::Reset);
    let mut page = Vec::new();
    let source = concat!("xchg-client ", env!("CARGO_PKG_VERSION"));
    Man::new(command).source(source).render(&mut page)?;
    let mut notes = Roff::new();
    notes.control("SH", ["NOTES"]).control("nf", []);
    for line in tables.lines() {
        notes.text([roman(line)]);
    }
    notes.control("fi", []);
    page.extend_from_slice(notes.to_roff().as_bytes());
    Ok(page)
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::Target { path: Some(path.to_owned()), source }
}
