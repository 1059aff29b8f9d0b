//! The command `download`.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use xchg_client::files::{self, Destination, Existing, NamePolicy, PlaceOptions};
use xchg_client::terminal::escape;
use xchg_client::{Address, Client, DownloadOptions, Downloaded, Retry, Security, Side};

use crate::cli::{Download, usage_error};
use crate::failure::Failure;
use crate::is_dash;
use crate::name::{self, Name, Named};
use crate::progress::Reporter;
use crate::say::Verbosity;
use crate::screen::Screen;

/// What to download, with all that had to be asked for.
pub(crate) struct Prepared {
    download: Download,
    name: Name,
}

/// Finds key and secret, and the server if a link names it.
pub(crate) fn prepare(mut download: Download, server: &mut Address) -> Result<Prepared, Failure> {
    let named = name::of_download(download.key.take(), &download.transfer)?;
    if matches!(named, Named::Link(_)) && download.is_sealed() {
        usage_error("a link is for a plain transfer; leave out what --plain cannot have");
    }
    let (name, address) = named.resolve(&mut download.transfer)?;
    if let Some(address) = address {
        *server = address;
    }
    Ok(Prepared { download, name })
}

pub(crate) fn run(
    mut client: Client,
    prepared: Prepared,
    verbosity: Verbosity,
) -> Result<(), Failure> {
    let Prepared { download, name } = prepared;
    let names = if download.fix_names { NamePolicy::Replace } else { NamePolicy::Refuse };
    let place = PlaceOptions::default()
        .existing(existing(&download))
        .names(names)
        .resume(!download.no_resume);
    let transfer = download.transfer;
    if let Some(bytes) = transfer.buffer_size {
        client = client.buffer_bytes(bytes);
    }
    let mut reporter = Reporter::new(verbosity, Side::Download, &name.shown, transfer.wait())
        .every(transfer.progress_interval)
        .asking(!download.yes && verbosity != Verbosity::Json);
    if !transfer.plain {
        reporter = reporter.sealed(!name.secret.is_none()).merging(download.merge);
    }
    let output = download.output.unwrap_or(PathBuf::from("."));
    let _made = Made::folder(&output)?;
    let mut writer = writer_for(&output)?;
    let destination = match &mut writer {
        Some(writer) => Destination::Writer(writer),
        None if is_folder(&output) => Destination::Directory(output),
        None => Destination::File(output),
    };
    let security = if transfer.plain { Security::Plain } else { name.secret.into() };
    let options = DownloadOptions::new(name.key, security, destination)
        .place(place)
        .wait(transfer.wait())
        .retry(transfer.retries().then(Retry::default))
        .guesses(transfer.guesses)
        .rate_limit(transfer.limit_rate);
    let received =
        client.download(options, &mut reporter).map_err(|error| reporter.explain(error))?;
    reporter.received(&received);
    show_text(&received)
}

/// What to do with names that are taken, as far as the command line says it.
fn existing(download: &Download) -> Existing {
    match (download.overwrite, download.rename) {
        (true, _) => Existing::Overwrite,
        (_, true) => Existing::Rename,
        _ => Existing::Refuse,
    }
}

/// Folders that were made for what arrives. Those into which nothing came go again.
struct Made(Vec<PathBuf>);

impl Made {
    /// Makes the folder that `output` is, if it is called one and is not there.
    fn folder(output: &Path) -> Result<Self, Failure> {
        let mut made = Self(Vec::new());
        if !is_folder(output) || output.is_dir() {
            return Ok(made);
        }
        let missing = output.ancestors().take_while(|path| !path.exists());
        made.0 = missing.map(Path::to_owned).filter(|path| !path.as_os_str().is_empty()).collect();
        let failed = |source| Failure::Write { path: Some(output.into()), source };
        fs::create_dir_all(output).map_err(failed)?;
        Ok(made)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // Only an empty folder can be removed like this.
        self.0.iter().for_each(|folder| drop(fs::remove_dir(folder)));
    }
}

/// Shows a text that was sent as such. On a terminal, nothing in it can do harm.
fn show_text(received: &Downloaded) -> Result<(), Failure> {
    let Some(text) = &received.text else {
        return Ok(());
    };
    let mut stdout = io::stdout().lock();
    let shown = if stdout.is_terminal() {
        text.split('\n').map(escape).collect::<Vec<_>>().join("\n") + "\n"
    } else {
        text.clone()
    };
    let written = stdout.write_all(shown.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|source| Failure::Write { path: None, source })
}

/// The standard output, a device or a named pipe: what is written to as it is.
fn writer_for(output: &Path) -> Result<Option<Box<dyn Write + Send>>, Failure> {
    let opened =
        if is_dash(output) { files::stdout().map(Some) } else { files::open_output(output) };
    match opened {
        Ok(Some(file)) if file.is_terminal() => Ok(Some(Box::new(Screen::new(file)))),
        Ok(Some(file)) => Ok(Some(Box::new(file))),
        Ok(None) => Ok(None),
        Err(source) => Err(Failure::Write { path: Some(output.into()), source }),
    }
}

/// Whether files go into it: it is a folder, or called one.
fn is_folder(output: &Path) -> bool {
    let last = output.as_os_str().as_encoded_bytes().last();
    output.is_dir() || last.is_some_and(|&byte| std::path::is_separator(byte.into()))
}
