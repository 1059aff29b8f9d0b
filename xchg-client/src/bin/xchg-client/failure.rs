//! Why the program ends without having done what it should, and what the person can do about it.

use std::borrow::Cow;
use std::error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use xchg_client::terminal::escape;
use xchg_client::{
    Distrust, Error, Fingerprint, Side, TlsProblem, duration_in_words, files, session,
};

/// Why the program ends without having done what it should.
///
/// `Display` says what happened, [`advice`](Failure::advice) what to do about it; `source` has the
/// rest.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A call of the library failed.
    Client(Error),
    /// The wait is over.
    NobodyCame {
        /// For whom it was.
        counterpart: Side,
        /// What the person calls the exchange.
        key: String,
        /// How long it was.
        wait: Duration,
    },
    /// What is offered would be added to a folder that exists, and nobody was asked.
    WouldMerge {
        /// Within the destination; the first, if there are several.
        folder: String,
        /// How many new names there would be in folders that exist.
        names: usize,
    },
    /// A person would have to be asked, and there is none.
    NoTerminal {
        /// What to do instead.
        otherwise: &'static str,
    },
    /// What is to be uploaded cannot be read.
    Read {
        /// The path that was given.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Something cannot be written.
    Write {
        /// The file; `None` for the standard output.
        path: Option<PathBuf>,
        /// What the system says.
        source: io::Error,
    },
}

impl Failure {
    /// Whether the reader of the standard output, or of another pipe that was written to, has left.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        match self {
            Self::Client(error) => error.is_broken_pipe(),
            Self::Write { source, .. } => source.kind() == io::ErrorKind::BrokenPipe,
            _ => false,
        }
    }

    /// What happened, why, and what to do about it, in one line.
    pub(crate) fn in_full(&self) -> String {
        match &*self.advice() {
            "" => chain(self),
            advice => format!("{}; {advice}", chain(self)),
        }
    }

    /// What to do about it; nothing, if `Display` says so, or the other side knows better.
    fn advice(&self) -> Cow<'static, str> {
        match self {
            Self::Client(Error::Certificate { why, fingerprint, .. }) => {
                return advice_on_trust(why, fingerprint).into();
            }
            Self::Client(error) => advice(error),
            Self::NobodyCame { wait: Duration::ZERO, .. } => "start it first, or use --wait",
            Self::NobodyCame { .. } => "start both, or --wait longer",
            Self::WouldMerge { .. } => "use --merge, or another folder with -o",
            Self::NoTerminal { otherwise } => otherwise,
            Self::Read { .. } => CHECK_PATH,
            Self::Write { .. } => "",
        }
        .into()
    }
}

/// An error and its causes, in one line.
pub(crate) fn chain(error: &dyn error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}

impl From<files::Error> for Failure {
    fn from(error: files::Error) -> Self {
        Self::Client(error.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => error.fmt(f),
            Self::NobodyCame { counterpart, key, wait } => {
                let (role, key) = (role(*counterpart), escape(key));
                match *wait {
                    Duration::ZERO => write!(f, "no {role} of {key} is waiting"),
                    wait => {
                        write!(f, "no {role} of {key} came within {}", duration_in_words(wait))
                    }
                }
            }
            Self::WouldMerge { folder, names } => {
                let names = match names {
                    1 => "1 new name would be".into(),
                    names => format!("{names} new names would be"),
                };
                write!(f, "`{}` exists, and {names} there", escape(folder))
            }
            Self::NoTerminal { .. } => f.write_str("there is no terminal to ask at"),
            Self::Read { path, .. } => write!(f, "cannot read `{}`", path.display()),
            Self::Write { path, .. } => write!(f, "cannot write {}", in_words(path.as_deref())),
        }
    }
}

impl error::Error for Failure {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Client(error) => error.source(),
            Self::Read { source, .. } | Self::Write { source, .. } => Some(source),
            Self::NobodyCame { .. } | Self::WouldMerge { .. } | Self::NoTerminal { .. } => None,
        }
    }
}

/// What to do about a path that cannot be read.
const CHECK_PATH: &str = "check its name, and whether you may read it";

fn role(side: Side) -> &'static str {
    match side {
        Side::Upload => "uploader",
        Side::Download => "downloader",
    }
}

fn in_words(path: Option<&Path>) -> String {
    path.map_or("the output".into(), |path| format!("`{}`", path.display()))
}

/// What to do about an error of the library: the one place that knows both it and the options.
/// Nothing, if the error says so itself.
fn advice(error: &Error) -> &'static str {
    match error {
        Error::UnknownHost { .. } => "check its spelling and your network",
        Error::Connect { source, .. } => match source.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                "is the server running? start one with xchg-server"
            }
            io::ErrorKind::TimedOut => {
                "check the address, or allow more time with --connect-timeout"
            }
            _ => "check the address and your network",
        },
        Error::NoAnswer { .. } => {
            "check that it is an xchg server, or allow more time with --connect-timeout"
        }
        Error::NotAServer { .. } => "check the address and port",
        Error::Tls { problem, .. } => advice_on_tls(*problem),
        Error::ServerLost { had_place: true, .. } => "try again",
        Error::ServerLost { .. } => "check that it is an xchg server, and try again",
        Error::CounterpartLost { .. } | Error::WrongLength { .. } => "both sides have to try again",
        Error::NotReceived { .. } => "its own message says why",
        Error::Folder { .. } => {
            "name a file, or pack the folder: tar c FOLDER | xchg-client upload - --key NAME.tar"
        }
        Error::UnsafeName { .. } => "name the file yourself: -o FILE",
        Error::Files(error) => advice_on_files(error),
        Error::Session(session::Error::Peer { .. } | session::Error::Unable { .. }) => {
            "start both sides again once that is mended"
        }
        Error::Session(session::Error::Unconfirmed { .. }) => {
            "start both again, or allow more guesses with --guesses N"
        }
        _ => "",
    }
}

fn advice_on_tls(problem: TlsProblem) -> &'static str {
    match problem {
        TlsProblem::NotSpoken => "if it is a server without TLS, leave out https://",
        TlsProblem::NoAnswer => "check that it is a server that has a certificate",
        TlsProblem::WantsCertificate => "the server wants a certificate of yours: --cert FILE",
        TlsProblem::NothingInCommon => "upgrade the older of the two",
        TlsProblem::Local => "check --ca and --cert, and this system's authorities",
        _ => "check the address and port",
    }
}

fn advice_on_trust(why: &Distrust, fingerprint: &Fingerprint) -> String {
    match why {
        Distrust::Expired => {
            "have the server's operator renew it, or set the clock here if that is wrong".into()
        }
        Distrust::NotValidYet => "is the clock here right?".into(),
        Distrust::OtherName { .. } => {
            format!("use the name that it is for; or trust it by --pin {fingerprint}")
        }
        Distrust::UnknownIssuer => format!(
            "if the server made it itself, and its operator tells you the same fingerprint, say \
             --pin {fingerprint}; if an authority of your own has signed it: --ca FILE"
        ),
        Distrust::NotPinned => format!(
            "its fingerprint is {fingerprint}: somebody may stand between you and the server, or it \
             has a new certificate; ask its operator"
        ),
        _ => "ask the server's operator".into(),
    }
}

fn advice_on_files(error: &files::Error) -> &'static str {
    use files::Error as Files;
    match error {
        Files::Nothing => "name at least one file or folder",
        Files::Unreadable { .. } => CHECK_PATH,
        Files::Destination { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            "make its folder first, or choose another place with -o"
        }
        Files::Destination { .. } => "choose another place with -o",
        Files::NotUnicode { .. } => "rename it",
        Files::NoName { .. } => "name what is in it",
        Files::Duplicate { .. } => "rename one, or send them one by one",
        Files::Special { .. } => "--special-files leave-out sends all else",
        Files::LinkLeaves { .. } => {
            "--outside-links follow sends what it leads to, leave-out all else"
        }
        Files::LinkLoop { .. } => "leave it out",
        Files::Changed { .. } => "upload it again",
        Files::Name { problem, .. } if problem.is_replaceable() => {
            "download with --fix-names to give it another"
        }
        Files::Collision { .. } => "download with --fix-names to rename one, or to elsewhere",
        Files::NotOneFile => "name a folder to put it in",
        Files::Exists { .. } => "use --overwrite or --rename, or another place with -o",
        Files::InTheWay { .. } => "move it away",
        Files::NoSpace { .. } => "make room, or choose another place with -o",
        Files::DiskFull { .. } => "make room and start again",
        Files::Busy { .. } => "wait for it",
        Files::WrongHash { .. } => "start again",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_comes_first_then_why_and_then_what_to_do() {
        let missing = files::Error::Exists { path: "a\u{1b}".into(), more: 2 };
        let source = io::Error::new(io::ErrorKind::NotFound, "no such file");
        for (failure, shown) in [
            (
                Failure::Read { path: "stocks.txt".into(), source },
                "cannot read `stocks.txt`: no such file; check its name, and whether you may read it",
            ),
            (
                Failure::from(missing),
                "`a\\u{1b}` exists already, and 2 more; use --overwrite or --rename, or another place with -o",
            ),
            (Error::Cancelled.into(), "interrupted"),
            (
                Failure::WouldMerge { folder: "a".into(), names: 1 },
                "`a` exists, and 1 new name would be there; use --merge, or another folder with -o",
            ),
            (
                Failure::NobodyCame {
                    counterpart: Side::Upload,
                    key: "k".into(),
                    wait: Duration::from_secs(90),
                },
                "no uploader of k came within 1m 30s; start both, or --wait longer",
            ),
        ] {
            assert_eq!(failure.in_full(), shown);
        }
    }

    #[test]
    fn what_the_person_can_mend_comes_with_advice() {
        use files::Error as Files;
        let (path, within) = (|| PathBuf::from("a"), || String::from("a"));
        let unusable =
            |kind: io::ErrorKind| Files::Destination { path: path(), source: kind.into() };
        let unreadable = io::ErrorKind::PermissionDenied;
        let address = || "host".parse().expect("it is one");
        let connect =
            |kind: io::ErrorKind| Error::Connect { address: address(), source: kind.into() };
        let peer = session::Error::Peer { text: "the disk is full".into() };
        let cases: [(Failure, &str); 17] = [
            (Error::from(peer).into(), "start both sides again"),
            (Files::Nothing.into(), "name at least one"),
            (
                Files::Unreadable { path: path(), source: unreadable.into() }.into(),
                "check its name",
            ),
            (Failure::Read { path: path(), source: unreadable.into() }, "check its name"),
            (Files::NoName { path: path() }.into(), "name what is in it"),
            (Files::Special { path: path() }.into(), "--special-files"),
            (unusable(io::ErrorKind::NotFound).into(), "make its folder first"),
            (unusable(io::ErrorKind::PermissionDenied).into(), "another place with -o"),
            (Files::Exists { path: within(), more: 0 }.into(), "--overwrite or --rename"),
            (Files::NotOneFile.into(), "name a folder"),
            (Files::NoSpace { needed: 2, available: 1 }.into(), "make room"),
            (Error::Folder { path: path() }.into(), "tar c FOLDER"),
            (connect(io::ErrorKind::ConnectionRefused).into(), "is the server running?"),
            (connect(io::ErrorKind::TimedOut).into(), "--connect-timeout"),
            (connect(io::ErrorKind::HostUnreachable).into(), "check the address"),
            (Error::from(session::Error::WrongSecret).into(), "agree on one"),
            (Error::from(session::Error::Tampered).into(), "start again"),
        ];
        for (failure, advice) in cases {
            let shown = failure.in_full();
            assert!(shown.contains(advice), "{shown}");
        }
    }
}
