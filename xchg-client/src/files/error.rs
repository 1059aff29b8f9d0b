//! What can be wrong with the files of either side.

use std::io;
use std::path::PathBuf;

use super::names::NameProblem;
use crate::terminal::escape;

/// What can be wrong with the files of either side.
///
/// `path` as a `String` is a path within the manifest, escaped when shown; as a `PathBuf` it is one
/// of this machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing to send.
    #[error("nothing to send")]
    Nothing,
    /// A path to send cannot be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// As the caller named it, or below.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A name to send is not Unicode, on a system whose names are something else then than bytes.
    #[error("`{}` has a name that is not Unicode", path.display())]
    NotUnicode {
        /// As the caller named it, or below.
        path: PathBuf,
    },
    /// A path to send has no name of its own, like `/`.
    #[error("`{}` has no name", path.display())]
    NoName {
        /// As the caller named it.
        path: PathBuf,
    },
    /// Two paths to send have the same last component.
    #[error("`{}` and `{}` would both arrive as `{}`", first.display(), second.display(), escape(name))]
    Duplicate {
        /// The name that both have.
        name: String,
        /// The one that came first.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A device, socket or pipe is among what is to be sent.
    #[error("`{}` is no file, directory or link", path.display())]
    Special {
        /// As the caller named it, or below.
        path: PathBuf,
    },
    /// A link leads out of the directory that is to be sent, and links are not to be followed.
    #[error("`{}` is a link to `{}`, which leads out of what is sent", path.display(), target.display())]
    LinkLeaves {
        /// As the caller named it, or below.
        path: PathBuf,
        /// Where the link leads, as it says itself.
        target: PathBuf,
    },
    /// Following links leads round in a circle.
    #[error("`{}` is a link to a directory that it is in", path.display())]
    LinkLoop {
        /// As the caller named it, or below.
        path: PathBuf,
    },
    /// A file's size or time of modification is not what the offer said.
    #[error("`{}` has changed since the upload began", escape(path))]
    Changed {
        /// Within the manifest.
        path: String,
    },
    /// Something in a directory cannot be part of an offer.
    #[error("`{}` cannot be sent: {why}", path.display())]
    NotOffered {
        /// As the caller named it, or below.
        path: PathBuf,
        /// Which rule of manifests it would break.
        why: &'static str,
    },
    /// A manifest breaks a rule that needs no file system.
    #[error("the offer is not acceptable: {0}")]
    Manifest(&'static str),
    /// A name is not safe, or none that the destination can hold.
    #[error("`{}` cannot have its name: {problem}", escape(path))]
    Name {
        /// As it was offered, within the manifest.
        path: String,
        /// What is wrong with the name.
        problem: NameProblem,
    },
    /// Two entries of one directory have the same name, or names that the destination's file system
    /// does not tell apart.
    #[error("`{}` and `{}` would be one file at the destination", escape(first), escape(second))]
    Collision {
        /// The path within the manifest of the one that came first.
        first: String,
        /// The path within the manifest of the other.
        second: String,
    },
    /// What is offered is not one file, text or stream, which is all that the destination, or a
    /// plain transfer, takes.
    #[error("more than one file was offered")]
    NotOneFile,
    /// The destination cannot be used.
    #[error("cannot use the destination `{}`", path.display())]
    Destination {
        /// As the caller named it.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something has the name already, and nothing may be overwritten.
    #[error("`{}` exists already{}", escape(path), and_more(*more))]
    Exists {
        /// Within the destination.
        path: String,
        /// How many others are known to be there too.
        more: usize,
    },
    /// Something that cannot be replaced is where a directory or file shall be.
    #[error("`{}` is in the way: a {} was offered", escape(path), offered)]
    InTheWay {
        /// Within the destination.
        path: String,
        /// What was offered under this name, in words.
        offered: &'static str,
    },
    /// The destination has too little space for what was offered.
    #[error("no space at the destination for {needed} bytes, {available} are free")]
    NoSpace {
        /// Bytes that would have to be written.
        needed: u64,
        /// Bytes that this user may write.
        available: u64,
    },
    /// The disk or quota became full in the midst of a file.
    #[error("the disk is full, `{}` is unfinished", escape(path))]
    DiskFull {
        /// Within the destination.
        path: String,
        /// The error of the write that did not fit.
        source: io::Error,
    },
    /// Another transfer is writing the same file.
    #[error("another transfer is writing `{}`", escape(path))]
    Busy {
        /// Within the destination.
        path: String,
    },
    /// A file arrived, but is not the one that the uploader read.
    #[error("`{}` did not arrive as it was sent", escape(path))]
    WrongHash {
        /// Within the destination.
        path: String,
    },
    /// A text is not UTF-8.
    #[error("the text is not UTF-8")]
    NotText,
    /// The caller asked to stop.
    #[error("stopped")]
    Stopped,
    /// A file failed while something was done with it.
    #[error("{doing} `{}` failed", escape(path))]
    Io {
        /// In words.
        doing: &'static str,
        /// Within the manifest or destination.
        path: String,
        /// What the system says.
        source: io::Error,
    },
}

fn and_more(number: usize) -> String {
    match number {
        0 => String::new(),
        1 => ", and 1 more".into(),
        number => format!(", and {number} more"),
    }
}

impl Error {
    /// Tells a full disk from other failures.
    pub(crate) fn io(doing: &'static str, path: String, source: io::Error) -> Self {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        match source.kind() {
            StorageFull | QuotaExceeded => Self::DiskFull { path, source },
            _ => Self::Io { doing, path, source },
        }
    }

    /// Whether the same offer may well be taken when something on the downloader's side, where this
    /// is the error, is mended.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Manifest(_) => false,
            Self::Name { problem, .. } => problem.is_replaceable(),
            _ => true,
        }
    }

    /// What the other peer is told: no path of this machine, nothing about its disks.
    pub(crate) fn for_peer(&self) -> String {
        match self {
            Self::Destination { .. } => "its destination cannot be used".into(),
            Self::NoSpace { .. } => "its disk has too little free space".into(),
            Self::Unreadable { .. } => "a file cannot be read".into(),
            Self::NotUnicode { .. }
            | Self::NoName { .. }
            | Self::Duplicate { .. }
            | Self::Special { .. }
            | Self::LinkLeaves { .. }
            | Self::LinkLoop { .. }
            | Self::NotOffered { .. } => "what it sends has changed, and cannot be sent now".into(),
            Self::Io { source, .. } => format!("{self}: {}", source.kind()),
            other => other.to_string(),
        }
    }
}
