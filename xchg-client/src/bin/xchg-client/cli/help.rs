//! The contracts with scripts and programs, as the help shows them.

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
pub(crate) const EXIT_CODES: &str = exit_codes!();

/// The contract with programs: see `Event` in `progress/event.rs`.
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
  {"event":"failed","exit_code":NUMBER,"cause":CAUSE,"error":TEXT}"#,
    "\n\
KIND is \"text\", \"file\", \"stream\", \"folder\", or \"several\" of the last two and files. \
The \"key\" of a code is its number.
Confirmed is what the downloader says it has, of sealed uploads.
CAUSE is one of usage, no-terminal, unknown-host, unreachable, no-answer, not-a-server, \
server-lost, refused, busy, draining, nobody-came, wrong-secret, declined, would-merge, \
exists, unsafe-name, no-space, unreadable, changed, unwritable, cut-short, other-side, \
interrupted, internal. There may be more later.
Names and texts in them are the other person's words: escape them to show them.
From manifest to entry-done, and retrying, they come without --plain only."
);
