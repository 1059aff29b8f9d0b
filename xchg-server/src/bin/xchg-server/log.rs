//! Logs to stderr, for people or for programs.

mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::borrow::Cow;
use std::cell::RefCell;
use std::io;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::time::Duration;

use clap::ValueEnum;
use rustix::event::{PollFd, PollFlags};
use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::vital;
use queue::{Queue, Writer};

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// Nothing.
    Off,
    /// What needs an operator.
    Error,
    /// What may need one.
    Warn,
    /// Start, drain and end, and how exchanges ended and who was refused, ten a second of each.
    Info,
    /// Every exchange and refusal, with its beginning and what was lost.
    Debug,
}

/// How long the program's end waits for what is still to be written: stderr may be a pipe that
/// nobody reads.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

static QUEUE: Queue = Queue::new();

/// Set once a thread writes what is queued.
static WRITER: OnceLock<()> = OnceLock::new();

thread_local! {
    /// What the thread logs, if it is the writer's: it goes past the queue.
    static NOTICE: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Has what `tracing` says, and panics, queued until [`write`] has it written.
pub(crate) fn start(level: Level, format: Format) {
    let level = match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    // Its complaints about lines that cannot be written would go to stderr, and panic where that
    // fails.
    let builder = tracing_subscriber::fmt().with_max_level(level).log_internal_errors(false);
    let builder = builder.with_writer(Lines { is_journal: is_journal() });
    match format {
        Format::Text => builder.with_target(false).with_ansi(colours()).init(),
        Format::Json => builder.json().flatten_event(true).with_target(false).init(),
    }
    // The default one writes to stderr and waits for it, holding what others then wait for.
    std::panic::set_hook(Box::new(on_panic));
}

/// Has what is queued written to stderr by a thread of its own, so that nothing else waits for it
/// or fails with it.
pub(crate) fn write() -> io::Result<()> {
    vital::spawn("xchg-log", || Writer::new(Stderr, notice).run(&QUEUE))?;
    WRITER.get_or_init(|| ());
    Ok(())
}

/// Writes a line that is no log line, in its turn.
pub(crate) fn say(line: &str) {
    let line = format!("{line}\n");
    match WRITER.get() {
        Some(()) => QUEUE.push(line.as_bytes()),
        // Without a stderr there is nobody to tell.
        None => drop(io::Write::write_all(&mut io::stderr(), line.as_bytes())),
    }
}

/// How many lines have been lost: there was no room for them on the way, or they could not be
/// written.
pub(crate) fn lost() -> u64 {
    QUEUE.lost_in_all()
}

/// Waits a moment for what is still to be written, at the program's end.
pub(crate) fn flush() {
    // A start that fails early may have said something before there was a writer.
    if WRITER.get().is_some() || (!QUEUE.is_empty() && write().is_ok()) {
        QUEUE.flush(FLUSH_TIMEOUT);
    }
}

/// Colours are for a terminal, unless `NO_COLOR` says otherwise (<https://no-color.org>).
fn colours() -> bool {
    use std::io::IsTerminal;
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The line that says how many were lost.
fn notice(lost: u64) -> Vec<u8> {
    NOTICE.set(Some(Vec::new()));
    tracing::error!("{lost} log lines were lost");
    NOTICE.take().unwrap_or_default()
}

fn on_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let backtrace = Backtrace::capture();
    tracing::error!(
        thread = thread.name(),
        location = panic.location().map(tracing::field::display),
        backtrace = (backtrace.status() == BacktraceStatus::Captured)
            .then(|| tracing::field::display(&backtrace)),
        "panicked: {}",
        panic.payload_as_str().unwrap_or("no message")
    );
}

/// Whether stderr is systemd's journal (`systemd.exec(5)`, `JOURNAL_STREAM`).
fn is_journal() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").ok();
    let stderr = rustix::fs::fstat(io::stderr()).ok();
    stream.zip(stderr).is_some_and(|(stream, is)| stream == format!("{}:{}", is.st_dev, is.st_ino))
}

/// Where lines go.
struct Lines {
    /// To the journal, which takes a line's priority from its beginning (`sd-daemon(3)`), and
    /// leaves that out.
    is_journal: bool,
}

impl MakeWriter<'_> for Lines {
    type Writer = Line;

    fn make_writer(&self) -> Line {
        Line { priority: None }
    }

    fn make_writer_for(&self, event: &Metadata<'_>) -> Line {
        let priority = match *event.level() {
            tracing::Level::ERROR => "<3>",
            tracing::Level::WARN => "<4>",
            tracing::Level::INFO => "<6>",
            _ => "<7>",
        };
        Line { priority: self.is_journal.then_some(priority) }
    }
}

/// Takes one event's line, and never fails.
struct Line {
    priority: Option<&'static str>,
}

impl io::Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let whole = match self.priority {
            Some(priority) => Cow::Owned([priority.as_bytes(), line].concat()),
            None => Cow::Borrowed(line),
        };
        NOTICE.with_borrow_mut(|notice| match notice {
            Some(notice) => notice.extend_from_slice(&whole),
            None => QUEUE.push(&whole),
        });
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard error without the standard library's lock: a write that blocks holds up nobody else.
struct Stderr;

impl io::Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stderr = io::stderr();
        loop {
            match rustix::io::write(&stderr, bytes) {
                // Who shares the terminal or pipe with us may have made it non-blocking.
                Err(rustix::io::Errno::AGAIN) => {
                    rustix::event::poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], None)?;
                }
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
