//! Names as this system has them.

use std::ffi::OsStr;

use crate::files::Name;
use crate::sys;

impl Name {
    /// The name of a file of this system, if it can be sent: on Windows, names that are not Unicode
    /// cannot.
    pub(crate) fn of_os(name: &OsStr) -> Option<Self> {
        sys::name_bytes(name).map(Self::from)
    }
}

impl AsRef<OsStr> for Name {
    /// What this system calls it.
    fn as_ref(&self) -> &OsStr {
        sys::os_name(self.as_bytes())
    }
}
