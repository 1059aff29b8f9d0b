//! The command line.

mod help;
mod values;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use xchg_client::{Address, Fingerprint, Token, Trust, Wait};

use crate::exit::ExitCode;
use crate::say::say;
use help::EXIT_CODES;
pub(crate) use help::EXIT_CODES_AND_EVENTS;
pub(crate) use values::wait;

const KEY: &str = "KEY[:SECRET]";

const KEY_HELP: &str = "\
What both sides name. With a secret behind a colon, the server can neither read nor alter what is sent, and sees only a hash \
of the key; without one, only listeners on the way are shut out.

The secret may be in the environment instead (XCHG_SECRET), where other users do not see it, or is asked for: \
write `KEY:`, or use --ask-secret. With --plain the whole text is the key, colons and all, and there is no secret.";

const COMMON: &str = "Options of every command";

/// Sends files to whoever names the same key, through an xchg server that stores nothing.
#[derive(Debug, Parser)]
#[command(name = "xchg-client", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The server: HOST, HOST:PORT, [IPV6]:PORT, http://HOST:PORT/ or unix:PATH; in TLS
    /// https://HOST or xchgs://HOST, with ports 443 and 4980 where none is named [default:
    /// 127.0.0.1:4980]
    #[arg(long, value_name = "ADDRESS", env = "XCHG_SERVER", global = true, help_heading = COMMON)]
    pub(crate) server: Option<Address>,
    /// The access token, if the server wants one; better in the environment than in the list of
    /// processes
    #[arg(long, env = "XCHG_TOKEN", hide_env_values = true, value_parser = values::token(), global = true, help_heading = COMMON)]
    pub(crate) token: Option<Token>,
    /// Trust the authorities in FILE (PEM) alone to say who the server is, rather than those of
    /// this system
    #[arg(long, value_name = "FILE", env = "XCHG_CA", conflicts_with = "pin", global = true, help_heading = COMMON)]
    pub(crate) ca: Option<PathBuf>,
    /// Trust the server that has the certificate with this fingerprint alone, as `xchg-server
    /// --tls-self-signed` shows it
    #[arg(long, value_name = "SHA256", env = "XCHG_PIN", global = true, help_heading = COMMON)]
    pub(crate) pin: Option<Fingerprint>,
    /// Show the server the certificate in FILE (PEM, with its private key), if it wants one
    #[arg(long, value_name = "FILE", env = "XCHG_CERT", global = true, help_heading = COMMON)]
    pub(crate) cert: Option<PathBuf>,
    /// How long looking up the server, trying all its addresses and hearing its first answer may
    /// take
    #[arg(long, value_name = "TIME", default_value = "10", value_parser = values::seconds, global = true, help_heading = COMMON)]
    pub(crate) connect_timeout: Duration,
    /// Say what goes on as JSON (on stderr), and what the server reports as well (on stdout)
    #[arg(long, conflicts_with = "quiet", global = true, help_heading = COMMON)]
    pub(crate) json: bool,
    /// Say nothing but errors
    #[arg(short, long, global = true, help_heading = COMMON)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send files, folders, a text or a stream to whoever downloads the key
    #[command(visible_alias = "send", after_help = EXIT_CODES_AND_EVENTS)]
    Upload(Upload),
    /// Take what somebody uploads under the key
    #[command(visible_alias = "receive", after_help = EXIT_CODES_AND_EVENTS)]
    Download(Download),
    /// Have the server refuse newcomers, finish what runs, and exit
    #[command(after_help = EXIT_CODES)]
    Terminate,
    /// Ask the server how it is
    #[command(after_help = EXIT_CODES)]
    Status,
    /// Print the script that completes this command line in a shell
    ///
    /// For bash: xchg-client completions bash >
    /// ~/.local/share/bash-completion/completions/xchg-client
    #[command(after_help = EXIT_CODES)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages
    ///
    /// To read them: man -l DIR/xchg-client.1
    #[command(after_help = EXIT_CODES)]
    Man {
        /// The folder for them, made if need be
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

// What clap makes up for a mistake names options as needed that only the environment has given.
#[derive(Debug, Args)]
#[command(override_usage = "xchg-client upload [OPTIONS] [PATH]...")]
pub(crate) struct Upload {
    /// Files, folders with all that is in them, or `-` for the standard input
    #[arg(value_name = "PATH", required_unless_present = "text")]
    pub(crate) paths: Vec<PathBuf>,
    /// Send these words instead; they are shown there
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["paths", "plain"])]
    pub(crate) text: Option<String>,
    /// What the downloader names too, or a code [default: a new code on a terminal, else the name
    /// of the single file or folder]
    #[arg(long, value_name = KEY, long_help = KEY_HELP, conflicts_with = "code")]
    pub(crate) key: Option<OsString>,
    /// Make up a code to tell the downloader: a number and three words, which are the secret (a
    /// guess is right once in 2^30)
    #[arg(long, conflicts_with_all = ["plain", "ask_secret"])]
    pub(crate) code: bool,
    /// Make up a code, and show it as a QR code too
    #[arg(long, conflicts_with_all = ["key", "plain"])]
    pub(crate) qr: bool,
    /// What to do with symbolic links that lead out of a folder that is sent; others are sent as
    /// links
    #[arg(long, value_name = "WHAT", default_value = "refuse", conflicts_with = "plain")]
    pub(crate) outside_links: OutsideLinks,
    /// What to do with devices, sockets and pipes in a folder that is sent
    #[arg(long, value_name = "WHAT", default_value = "refuse", conflicts_with = "plain")]
    pub(crate) special_files: SpecialFiles,
    /// Pause so long between two sends
    #[arg(long, value_name = "MS", default_value = "0", value_parser = values::milliseconds)]
    pub(crate) pace: Duration,
    #[command(flatten)]
    pub(crate) transfer: Transfer,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum OutsideLinks {
    /// Send nothing, and say which link it is
    Refuse,
    /// Send what they lead to
    Follow,
    /// Send everything else
    LeaveOut,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum SpecialFiles {
    /// Send nothing, and say which file it is
    Refuse,
    /// Send everything else
    LeaveOut,
}

#[derive(Debug, Args)]
#[command(override_usage = "xchg-client download [OPTIONS] [KEY[:SECRET]|CODE|LINK]")]
pub(crate) struct Download {
    /// What the uploader names too, or its code or link [default: what you answer when asked for
    /// it, on a terminal]
    #[arg(value_name = "KEY[:SECRET]|CODE|LINK", long_help = KEY_HELP)]
    pub(crate) key: Option<OsString>,
    /// A folder, a file, or `-` for the standard output, which takes text only if it is a terminal
    /// [default: this folder, under the uploader's names]
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,
    /// Replace files that exist
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Give what arrives another name if a file exists, such as `a (1).txt`
    #[arg(long, conflicts_with = "overwrite")]
    pub(crate) rename: bool,
    /// Add to folders that exist also where nobody is asked: what an earlier attempt left needs no
    /// leave
    #[arg(long, conflicts_with = "plain")]
    pub(crate) merge: bool,
    /// Begin anew, rather than go on from what an earlier attempt left
    #[arg(long, conflicts_with = "plain")]
    pub(crate) no_resume: bool,
    /// Replace what this system cannot hold in a name by `_`, and number names that it does not
    /// tell apart, rather than refuse them
    #[arg(long, conflicts_with = "plain")]
    pub(crate) fix_names: bool,
    /// Accept what is offered without asking; without a terminal to ask at, and with --json, every
    /// offer is accepted that adds nothing to folders that exist
    #[arg(short, long, overrides_with = "no_yes", conflicts_with = "plain")]
    pub(crate) yes: bool,
    /// Ask, whatever the configuration file says
    #[arg(long)]
    pub(crate) no_yes: bool,
    #[command(flatten)]
    pub(crate) transfer: Transfer,
}

#[derive(Debug, Args)]
pub(crate) struct Transfer {
    /// Send or take bare bytes, unencrypted: for curl, browsers and classic clients
    #[arg(long)]
    pub(crate) plain: bool,
    /// Ask for the secret, on the terminal
    #[arg(long, conflicts_with = "plain")]
    pub(crate) ask_secret: bool,
    /// Offer again when the counterpart or the server is lost; what arrived is not sent again, and
    /// with --plain nothing may have moved [default on a terminal]
    #[arg(long, overrides_with = "no_retry")]
    retry: bool,
    /// Give up when the counterpart or the server is lost; the same command later sends the rest
    /// [default elsewhere]
    #[arg(long)]
    no_retry: bool,
    /// Allow so many guesses at the secret: attempts in which the other side had a wrong one, or
    /// left while the two were compared
    #[arg(long, value_name = "N", default_value = "1", conflicts_with = "plain")]
    pub(crate) guesses: NonZeroU32,
    /// The least time between two progress events with --json
    #[arg(long, value_name = "TIME", default_value = "1", value_parser = values::interval)]
    pub(crate) progress_interval: Duration,
    /// How long to wait for the other side; -1 for ever, 0 only if it waits already [default: -1]
    #[arg(long, value_name = "TIME", value_parser = values::wait, allow_hyphen_values = true)]
    pub(crate) wait: Option<Wait>,
    /// Size of the buffers here and at the server, from 1K to 64M [default: as the systems see fit]
    #[arg(long, value_name = "BYTES[K|M]", value_parser = values::buffer_size)]
    pub(crate) buffer_size: Option<u32>,
    /// Move at most so much a second
    #[arg(long, value_name = "BYTES[K|M]", value_parser = values::rate)]
    pub(crate) limit_rate: Option<NonZeroU64>,
}

impl Common {
    /// Whom to take for the server, if that is said.
    pub(crate) fn trust(&self) -> Option<Trust> {
        let pin = self.pin.map(Trust::Pin);
        pin.or_else(|| self.ca.clone().map(Trust::Authority))
    }
}

impl Upload {
    /// Whether the options ask for what only a sealed transfer has.
    pub(crate) fn is_sealed(&self) -> bool {
        self.transfer.ask_secret || self.text.is_some() || self.transfer.guesses.get() > 1
    }
}

impl Download {
    /// Whether the options ask for what only a sealed transfer has.
    pub(crate) fn is_sealed(&self) -> bool {
        let Self { merge, no_resume, fix_names, transfer, .. } = self;
        *merge || *no_resume || *fix_names || transfer.ask_secret
    }
}

impl Transfer {
    /// How long to wait for the other side.
    pub(crate) fn wait(&self) -> Wait {
        self.wait.unwrap_or(Wait::Forever)
    }

    /// Whether to offer again. By default, if somebody is there to see it and to stop it.
    pub(crate) fn retries(&self) -> bool {
        self.retry || (!self.no_retry && std::io::stderr().is_terminal())
    }
}

/// Ends the program as clap does when the command line cannot be understood; but for the usage, of
/// which clap would show that of no command in particular.
pub(crate) fn usage_error(text: &str) -> ! {
    say(&format!("xchg-client: {text}\n\nFor more information, try '--help'."));
    process::exit(ExitCode::Usage as i32);
}

/// Shows what clap has to say, and ends the program. Errors begin as all others of this program.
pub(crate) fn leave(error: &clap::Error) -> ! {
    if !error.use_stderr() {
        error.exit();
    }
    let text = error.render().to_string();
    say(&format!("xchg-client: {}", text.trim_start_matches("error: ").trim_end()));
    process::exit(error.exit_code());
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
