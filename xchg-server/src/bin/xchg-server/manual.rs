//! Completion scripts and the manual pages, made of the same definition as the command line.

use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;

/// Prints the script that completes the command line in `shell`.
pub(crate) fn completions(shell: Shell) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "xchg-server", &mut script);
    let mut stdout = io::stdout().lock();
    stdout.write_all(&script)?;
    stdout.flush()
}

/// Writes the manual pages into `folder`, which is made if need be: one of the program, and one of
/// each command.
pub(crate) fn pages(folder: &Path) -> Result<(), String> {
    let failed =
        |error| format!("cannot write the manual pages into {}: {error}", folder.display());
    std::fs::create_dir_all(folder).map_err(failed)?;
    // Without one of `help`, which has nothing to tell.
    let command = Cli::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, folder).map_err(failed)
}
