//! What the process gives up once its sockets are open: files that it does not need (landlock), and
//! system calls that it does not make (seccomp). Both hold for the calling thread and those that it
//! starts from then on, so nothing else may run yet.
//!
//! **What is given up is given up before there are threads.** Landlock and seccomp hold for a
//! thread and those that it starts. So the program binds, confines its one thread, and only then
//! starts the log's writer, the workers and the rest (`run` in `main.rs`); libraries confine
//! nobody, for the process is their host's. A call that is not on the list (`sandbox/calls.rs`)
//! fails with EPERM instead of killing: one that was forgotten, or that a C library takes up, costs
//! what it is for, and whoever has taken the server over has nothing of it either way. No socket
//! can be made any more: what opens one does so in `Server::bind`. Folders are named, not files:
//! certificates are replaced by others of their name.

#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
mod files;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use xchg_server::ListenAddress;

/// Whether the process gives up what it does not need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sandbox {
    /// As far as the kernel can see to it.
    #[default]
    Auto,
    /// Not at all.
    Off,
    /// In full, or the server does not start.
    Required,
}

/// Folders that are still needed, with all below them.
#[derive(Debug, Default)]
pub(crate) struct Folders {
    /// Files are read there.
    read: Vec<PathBuf>,
    /// Files are made and removed there.
    write: Vec<PathBuf>,
}

impl Folders {
    /// Files at `path` are read again: also what replaces it, or what the link leads to that it may
    /// be.
    pub(crate) fn read_at(&mut self, path: &Path) {
        self.read.push(folder(path));
        self.read.extend(std::fs::canonicalize(path).map(|path| folder(&path)));
    }

    /// The file at `path` is written and removed.
    pub(crate) fn write_at(&mut self, path: &Path) {
        self.write.push(folder(path));
    }

    /// The socket's file is removed at the end.
    pub(crate) fn listen_at(&mut self, address: &ListenAddress) {
        if let ListenAddress::Unix(path) = address {
            self.write_at(path);
        }
    }
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => ".".into(),
    }
}

#[cfg(target_os = "linux")]
fn shown(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(" ")
}

/// Why the process is not what it is required to be.
#[derive(Debug)]
pub(crate) struct Unconfined(String);

impl std::error::Error for Unconfined {}

impl std::fmt::Display for Unconfined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "--sandbox required: {}; use a newer kernel, or --sandbox auto", self.0)
    }
}

/// Confines this thread, and all that it starts, to `folders` and the calls of a server. Says in
/// the log how far that went.
///
/// # Errors
/// If it is required and does not go all the way.
#[cfg(target_os = "linux")]
pub(crate) fn enter(sandbox: Sandbox, folders: &Folders) -> Result<(), Unconfined> {
    if sandbox == Sandbox::Off {
        tracing::info!("not sandboxed");
        return Ok(());
    }
    // The first needs calls that the second forbids.
    let files = files::confine(folders);
    let calls = calls::confine();
    if sandbox == Sandbox::Required {
        let failure = [files.as_ref().err(), calls.as_ref().err()].into_iter().flatten().next();
        if let Some(why) = failure {
            return Err(Unconfined(why.clone()));
        }
    }
    let said = |result: Result<&str, String>| result.map_or_else(|why| why, str::to_owned);
    tracing::info!(
        files = said(files),
        system_calls = said(calls),
        reads = shown(&folders.read),
        writes = shown(&folders.write),
        "sandboxed"
    );
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn enter(sandbox: Sandbox, folders: &Folders) -> Result<(), Unconfined> {
    let _ = folders;
    match sandbox {
        Sandbox::Required => {
            Err(Unconfined("this system has neither landlock nor seccomp".to_owned()))
        }
        _ => Ok(()),
    }
}
