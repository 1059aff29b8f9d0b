//! Completion scripts and the manual page, made of the same definition as the command line.

use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::Cli;

/// Prints the script that completes the command line in `shell`.
pub(crate) fn completions(shell: Shell) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "xchg-server", &mut script);
    let mut stdout = io::stdout().lock();
    stdout.write_all(&script)?;
    stdout.flush()
}

/// Writes the manual page into `folder`, which is made if need be.
pub(crate) fn page(folder: &Path) -> Result<(), String> {
    let failed = |error| format!("cannot write the manual page into {}: {error}", folder.display());
    std::fs::create_dir_all(folder).map_err(failed)?;
    Man::new(Cli::command()).generate_to(folder).map(drop).map_err(failed)
}
