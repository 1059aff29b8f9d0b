//! The command line.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use xchg_client::{Address, Token, Wait};

macro_rules! exit_codes {
    () => {
        "\
Exit codes:
    0  done: all was received, and said to be
    1  failed
    2  the command line cannot be understood
    3  no counterpart came in time, or the server is full, shutting down or lost meanwhile: try again later
    4  the two secrets differ, or one side gave none, or left while they were compared: all guesses (--guesses) are spent
    5  the offer was declined
    6  cut short: the same command on both sides sends only the rest
  130  interrupted"
    };
}

/// The contract with scripts: see `exit.rs`.
const EXIT_CODES: &str = exit_codes!();

/// The contract with programs: see `Event` in `progress.rs`.
pub(crate) const EXIT_CODES_AND_EVENTS: &str = concat!(
    exit_codes!(),
    r#"

Events with --json, one object a line on stderr; fields and events may be added:
  {"event":"code","code":TEXT,"command":TEXT}   with --code
  {"event":"connecting","server":"HOST:PORT"}
  {"event":"waiting","side":"upload"|"download","key":TEXT,"elsewhere":REALM|null}
  {"event":"matched","counterpart":"native"|"classic"|"http"|"other","length":BYTES|null}
  {"event":"manifest","kind":KIND,"entries":NUMBER,"files":NUMBER,"bytes":BYTES,"names":[TEXT]}   what is offered; at most 100 names
  {"event":"decision","accepted":true,"resumed":BYTES}   so much is there already; a declined offer has failed
  {"event":"progress","bytes":BYTES,"length":BYTES|null,"confirmed":BYTES|null}   see --progress-interval
  {"event":"entry-done","index":NUMBER,"path":TEXT}   moved, and not yet safe on the disk
  {"event":"retrying","cause":CAUSE,"error":TEXT,"seconds":SECONDS}
  {"event":"kept","files":NUMBER,"bytes":BYTES,"partial":PATH|null}   what an unfinished download leaves to go on from
  {"event":"done","bytes":BYTES,"moved":BYTES,"seconds":SECONDS,"receipt":true|false,"path":PATH|null}
  {"event":"failed","exit_code":NUMBER,"cause":CAUSE,"error":TEXT}
KIND is "text", "file", "stream", "folder", or "several" of the last two and files. The "key" of a code is its number.
Confirmed is what the downloader says it has, of sealed uploads. CAUSE is one of usage, no-terminal, unknown-host, unreachable, no-answer,
not-a-server, server-lost, refused, busy, draining, nobody-came, wrong-secret, declined, would-merge, exists, unsafe-name,
no-space, unreadable, changed, unwritable, cut-short, other-side, interrupted, internal. There may be more later.
Names and texts in them are the other person's words: escape them to show them. From manifest to entry-done,
and retrying, they come without --plain only."#
);

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
    /// The server: HOST, HOST:PORT, [IPV6]:PORT, http://HOST:PORT/ or unix:PATH
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "XCHG_SERVER",
        default_value = crate::DEFAULT_SERVER,
        global = true,
        help_heading = COMMON
    )]
    pub(crate) server: Address,
    /// The access token, if the server wants one; better in the environment than in the list of processes
    #[arg(long, env = "XCHG_TOKEN", hide_env_values = true, value_parser = token(), global = true, help_heading = COMMON)]
    pub(crate) token: Option<Token>,
    /// How long looking up the server, trying all its addresses and hearing its first answer may take
    #[arg(long, value_name = "TIME", default_value = "10", value_parser = seconds, global = true, help_heading = COMMON)]
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
    /// Send a file to whoever downloads the key
    #[command(after_help = EXIT_CODES_AND_EVENTS)]
    Upload(Upload),
    /// Take the file of whoever uploads the key
    #[command(after_help = EXIT_CODES_AND_EVENTS)]
    Download(Download),
    /// Have the server refuse newcomers, finish what runs, and exit
    #[command(after_help = EXIT_CODES)]
    Terminate,
    /// Ask the server how it is
    #[command(after_help = EXIT_CODES)]
    Status,
    /// Print the script that completes this command line in a shell
    ///
    /// For bash: xchg-client completions bash > ~/.local/share/bash-completion/completions/xchg-client
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

#[derive(Debug, Args)]
pub(crate) struct Upload {
    /// Files, folders with all that is in them, or `-` for the standard input
    #[arg(value_name = "PATH", required_unless_present = "text")]
    pub(crate) paths: Vec<PathBuf>,
    /// Send these words instead; they are shown there
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["paths", "plain"])]
    pub(crate) text: Option<String>,
    /// What the downloader names too, or a code [default: a new code on a terminal, else the name of the single file or folder]
    #[arg(long, value_name = KEY, long_help = KEY_HELP, conflicts_with = "code")]
    pub(crate) key: Option<OsString>,
    /// Make up a code to tell the downloader: a number and three words, which are the secret (a guess is right once in 2^30)
    #[arg(long, conflicts_with_all = ["plain", "ask_secret"])]
    pub(crate) code: bool,
    /// Make up a code, and show it as a QR code too
    #[arg(long, conflicts_with_all = ["key", "plain"])]
    pub(crate) qr: bool,
    /// What to do with symbolic links that lead out of a folder that is sent; others are sent as links
    #[arg(long, value_name = "WHAT", default_value = "refuse", conflicts_with = "plain")]
    pub(crate) outside_links: OutsideLinks,
    /// What to do with devices, sockets and pipes in a folder that is sent
    #[arg(long, value_name = "WHAT", default_value = "refuse", conflicts_with = "plain")]
    pub(crate) special_files: SpecialFiles,
    /// Pause so long between two sends
    #[arg(long, value_name = "MS", default_value = "0", value_parser = milliseconds)]
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
pub(crate) struct Download {
    /// What the uploader names too, or its code or link [default: what you answer when asked for it, on a terminal]
    #[arg(value_name = "KEY[:SECRET]|CODE|LINK", long_help = KEY_HELP)]
    pub(crate) key: Option<OsString>,
    /// A folder, a file, or `-` for the standard output, which takes text only if it is a terminal [default: this folder, under the uploader's names]
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,
    /// Replace files that exist
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Give what arrives another name if a file exists, such as `a (1).txt`
    #[arg(long, conflicts_with_all = ["overwrite", "plain"])]
    pub(crate) rename: bool,
    /// Add to folders that exist also where nobody is asked: what an earlier attempt left needs no leave
    #[arg(long, conflicts_with = "plain")]
    pub(crate) merge: bool,
    /// Begin anew, rather than go on from what an earlier attempt left
    #[arg(long, conflicts_with = "plain")]
    pub(crate) no_resume: bool,
    /// Replace what this system cannot hold in a name by `_`, and number names that it does not tell apart, rather than refuse them
    #[arg(long, conflicts_with = "plain")]
    pub(crate) fix_names: bool,
    /// Accept what is offered without asking; without a terminal to ask at, and with --json, every offer is accepted that adds nothing to folders that exist
    #[arg(short, long, conflicts_with = "plain")]
    pub(crate) yes: bool,
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
    /// Offer again when the counterpart or the server is lost; what arrived is not sent again, and with --plain nothing may have moved [default on a terminal]
    #[arg(long, overrides_with = "no_retry")]
    retry: bool,
    /// Give up when the counterpart or the server is lost; the same command later sends the rest [default elsewhere]
    #[arg(long)]
    no_retry: bool,
    /// Allow so many guesses at the secret: attempts in which the other side had a wrong one, or left while the two were compared
    #[arg(long, value_name = "N", default_value = "1", conflicts_with = "plain")]
    pub(crate) guesses: NonZeroU32,
    /// The least time between two progress events with --json
    #[arg(long, value_name = "TIME", default_value = "1", value_parser = interval)]
    pub(crate) progress_interval: Duration,
    /// How long to wait for the counterpart; -1 for ever, 0 only if it waits already
    #[arg(
        long,
        value_name = "TIME",
        default_value = "-1",
        value_parser = wait,
        allow_hyphen_values = true
    )]
    pub(crate) wait: Wait,
    /// Size of the buffers here and at the server, from 1K to 64M [default: as the systems see fit]
    #[arg(long, value_name = "BYTES[K|M]", value_parser = buffer_size)]
    pub(crate) buffer_size: Option<u32>,
    /// Move at most so much a second
    #[arg(long, value_name = "BYTES[K|M]", value_parser = rate)]
    pub(crate) limit_rate: Option<NonZeroU64>,
}

impl Upload {
    /// Whether it asks for what only a sealed transfer has.
    pub(crate) fn is_sealed(&self) -> bool {
        self.transfer.ask_secret || self.text.is_some() || self.transfer.guesses.get() > 1
    }
}

impl Download {
    /// Whether it asks for what only a sealed transfer has.
    pub(crate) fn is_sealed(&self) -> bool {
        let Download { rename, merge, no_resume, fix_names, transfer, .. } = self;
        *rename || *merge || *no_resume || *fix_names || transfer.ask_secret
    }
}

impl Transfer {
    /// Whether to offer again. By default, if somebody is there to see it and to stop it.
    pub(crate) fn retries(&self) -> bool {
        self.retry || (!self.no_retry && std::io::stderr().is_terminal())
    }
}

/// Ends the program as clap does when the command line cannot be understood.
pub(crate) fn usage_error(text: &str) -> ! {
    use clap::CommandFactory;
    Cli::command().error(clap::error::ErrorKind::ValueValidation, text).exit()
}

fn token() -> impl TypedValueParser<Value = Token> {
    OsStringValueParser::new().try_map(|text: OsString| {
        Token::parse(text.as_encoded_bytes()).map_err(|_| "a token has 1 to 255 bytes".to_owned())
    })
}

/// Seconds with a fraction, or -1. Rounded up to milliseconds, so that no wait becomes none.
fn wait(text: &str) -> Result<Wait, String> {
    const WRONG: &str =
        "write seconds, such as 90 or 0.5, or 90s, 5m or 2h; or -1 to wait for ever";
    match text.parse() {
        Ok(-1.0) => Ok(Wait::Forever),
        _ => {
            let exact = duration(text).ok_or(WRONG)?;
            let millis = exact.as_nanos().div_ceil(1_000_000);
            let millis = i64::try_from(millis).map_err(|_| WRONG)?;
            Ok(Wait::AtMost(Duration::from_millis(millis.unsigned_abs())))
        }
    }
}

/// Seconds with a fraction, or numbers with units such as `90s`, `5m` or `1h 30m`.
fn duration(text: &str) -> Option<Duration> {
    match text.parse() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match duration(text) {
        Some(seconds) if !seconds.is_zero() => Ok(seconds),
        _ => Err("write seconds, such as 10 or 0.5, or 90s, 5m or 2h".into()),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    duration(text).ok_or_else(|| "write seconds, such as 1, 0.1 or 5m, or 0 for every piece".into())
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let millis = match text.parse() {
        Ok(millis) => Some(Duration::from_millis(millis)),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    millis.ok_or_else(|| "write milliseconds, such as 250, or 2s".into())
}

fn buffer_size(text: &str) -> Result<u32, String> {
    const LEAST: u64 = 1 << 10;
    const MOST: u64 = 64 << 20;
    match byte_count(text)? {
        bytes @ LEAST..=MOST => u32::try_from(bytes).map_err(|error| error.to_string()),
        bytes => Err(format!("{bytes} bytes are out of range; choose from 1K to 64M")),
    }
}

fn rate(text: &str) -> Result<NonZeroU64, String> {
    NonZeroU64::new(byte_count(text)?).ok_or_else(|| "at 0 bytes a second nothing moves".into())
}

/// A number of bytes, or of 1024 (`K`) or 1024 * 1024 (`M`) of them.
fn byte_count(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1 << 10),
        None => match text.strip_suffix(['m', 'M']) {
            Some(digits) => (digits, 1 << 20),
            None => (text, 1),
        },
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("write a whole number of bytes, with K or M behind it for 1024 or 1024*1024 of them, as in 64K".into());
    }
    let count = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    count.ok_or_else(|| "that is more than any machine has".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wait_is_seconds_or_for_ever() {
        let millis = |n| Some(Wait::AtMost(Duration::from_millis(n)));
        for (text, expected) in [
            ("-1", Some(Wait::Forever)),
            ("-1.0", Some(Wait::Forever)),
            ("0", millis(0)),
            ("2", millis(2000)),
            ("0.25", millis(250)),
            ("0.0001", millis(1)),
            (".5", millis(500)),
            ("-2", None),
            ("-0.5", None),
            ("nan", None),
            ("inf", None),
            ("1e300", None),
            ("1e18", None),
            ("", None),
            ("5s", millis(5000)),
            ("90s", millis(90_000)),
            ("5m", millis(300_000)),
            ("2h", millis(7_200_000)),
            ("1h 30m", millis(5_400_000)),
            ("250ms", millis(250)),
            ("100us", millis(1)),
            ("5 parsecs", None),
            ("-5s", None),
        ] {
            assert_eq!(wait(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_size_is_a_number_with_or_without_a_unit() {
        for (text, expected) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("64K", Some(65_536)),
            ("64k", Some(65_536)),
            ("2M", Some(2_097_152)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("18446744073709551615K", None),
            ("", None),
            ("K", None),
            ("1.5M", None),
            ("-1", None),
            ("+1", None),
            ("64 K", None),
            ("64KB", None),
            ("0x10", None),
        ] {
            assert_eq!(byte_count(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_buffer_size_has_bounds_and_says_so() {
        for (text, expected) in [
            ("1023", None),
            ("1K", Some(1024)),
            ("64M", Some(64 << 20)),
            ("65M", None),
            ("99999999999", None),
        ] {
            assert_eq!(buffer_size(text).ok(), expected, "{text}");
        }
        assert!(buffer_size("65M").unwrap_err().contains("from 1K to 64M"));
        assert!(buffer_size("many").unwrap_err().contains("64K"));
    }

    #[test]
    fn timeouts_and_rates_are_not_zero() {
        assert_eq!(seconds("0.5").ok(), Some(Duration::from_millis(500)));
        for text in ["0", "-1", "nan", "soon"] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert_eq!(rate("10K").ok(), NonZeroU64::new(10_240));
        assert!(rate("0").unwrap_err().contains("nothing moves"));
        assert_eq!(milliseconds("250").ok(), Some(Duration::from_millis(250)));
        assert!(milliseconds("-1").is_err());
    }
}
