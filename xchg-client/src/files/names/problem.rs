//! What can be wrong with a name.

use std::fmt;

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameProblem {
    /// The name is empty.
    Empty,
    /// The name is `.` or `..`.
    Dots,
    /// The name has a `/`.
    Separator,
    /// The name has a NUL character.
    Nul,
    /// The name is longer than 255 bytes.
    TooLong,
    /// The entry is a link whose target is absolute, leaves the directory that was sent, or steps
    /// back after going down.
    LinkLeaves,
    /// The name looks like a partial file of ours.
    Partial,
    /// The name has a character that the destination cannot hold.
    Letter(char),
    /// The name ends in a dot or a space, which the destination drops.
    End,
    /// The name is that of a device there, such as `CON` or `nul.txt` on Windows.
    Device,
    /// The name is not Unicode, and the destination holds nothing else.
    NotUnicode,
}

impl NameProblem {
    /// Whether [`NamePolicy::Replace`](crate::files::NamePolicy::Replace) helps.
    pub fn is_replaceable(self) -> bool {
        match self {
            Self::Empty
            | Self::Dots
            | Self::Separator
            | Self::Nul
            | Self::TooLong
            | Self::LinkLeaves => false,
            Self::Partial | Self::Letter(_) | Self::End | Self::Device | Self::NotUnicode => true,
        }
    }
}

impl fmt::Display for NameProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::Dots => "it is `.` or `..`",
            Self::Separator => "it has a `/` in it",
            Self::Nul => "it has a NUL character in it",
            Self::TooLong => "it is longer than 255 bytes",
            Self::LinkLeaves => "it is a link that leads out of the directory that was sent",
            Self::Partial => "it is the name of an unfinished transfer's file",
            Self::Letter(letter) => {
                return write!(f, "the destination cannot hold a `{}`", letter.escape_default());
            }
            Self::End => "the destination drops the dot or space at its end",
            Self::Device => "the destination takes it for a device",
            Self::NotUnicode => "it is not Unicode, and the destination holds nothing else",
        })
    }
}
