//! The command `download`.

use std::fs::{self, File, Metadata};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use xchg_client::files::{Destination, Existing, NamePolicy, PlaceOptions};
use xchg_client::sealed::Downloaded;
use xchg_client::session;
use xchg_client::terminal::escape;
use xchg_client::{
    Address, Client, DownloadOptions, Error, PlainDownloadOptions, Retry, Side, Target,
};

use crate::cli::{Download, usage_error};
use crate::is_dash;
use crate::name::{self, Name, Named};
use crate::progress::{Reporter, Tone};
use crate::questions;
use crate::screen::Screen;

/// What to download, with all that had to be asked for.
pub(crate) struct Prepared {
    download: Download,
    name: Name,
}

/// Finds key and secret, and the server if a link names it.
pub(crate) fn prepare(mut download: Download, server: &mut Address) -> Result<Prepared, Error> {
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

pub(crate) fn run(mut client: Client, prepared: Prepared, tone: Tone) -> Result<(), Error> {
    let Prepared { download, name } = prepared;
    if let Some(bytes) = download.transfer.buffer_size {
        client = client.buffer_bytes(bytes);
    }
    let reporter = Reporter::new(tone, Side::Download, &name, download.transfer.wait());
    let reporter = reporter.every(download.transfer.progress_interval);
    match download.transfer.plain {
        true => plain(&client, download, name, reporter),
        false => {
            let asks = !download.yes && tone != Tone::Json;
            let reporter = reporter.sealed(!name.secret.is_none(), asks).merging(download.merge);
            sealed(&client, download, name, reporter)
        }
    }
}

fn plain(
    client: &Client,
    download: Download,
    name: Name,
    mut reporter: Reporter,
) -> Result<(), Error> {
    let mut existing = existing(&download);
    let asks = !download.yes && reporter.tone() != Tone::Json && questions::can_ask();
    let Download { output, transfer, .. } = download;
    let output = output.unwrap_or(PathBuf::from("."));
    let _made = Made::folder(&output)?;
    let summary = loop {
        let target = match terminal(&output) {
            Some(terminal) => Target::Writer(Box::new(Screen::new(terminal))),
            None if is_dash(&output) => Target::Stdout,
            None => Target::Path { path: output.clone(), existing },
        };
        let mut options = PlainDownloadOptions::new(name.key.clone(), target);
        options.wait = transfer.wait();
        options.rate_limit = transfer.limit_rate;
        options.retry = transfer.retries().then(Retry::default);
        match client.download_plain(options, &mut reporter) {
            // Before the server was asked there is time to ask the person.
            Err(Error::TargetExists { path }) if asks && !reporter.has_connected() => {
                let answer = questions::existing_file(&path)?;
                existing = answer.ok_or(session::Error::DeclinedHere)?;
            }
            downloaded => break downloaded.map_err(|error| reporter.explain(error))?,
        }
    };
    reporter.done(&summary);
    Ok(())
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
    fn folder(output: &Path) -> Result<Made, Error> {
        let mut made = Made(Vec::new());
        if !is_folder(output) || output.is_dir() {
            return Ok(made);
        }
        let missing = output.ancestors().take_while(|path| !path.exists());
        made.0 = missing.map(Path::to_owned).filter(|path| !path.as_os_str().is_empty()).collect();
        let failed = |source| Error::Target { path: Some(output.into()), source };
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

fn sealed(
    client: &Client,
    download: Download,
    name: Name,
    mut reporter: Reporter,
) -> Result<(), Error> {
    let place = PlaceOptions {
        existing: existing(&download),
        names: if download.fix_names { NamePolicy::Replace } else { NamePolicy::Refuse },
        resume: !download.no_resume,
    };
    let output = download.output.unwrap_or(PathBuf::from("."));
    let _made = Made::folder(&output)?;
    let mut writer = writer_for(&output)?;
    let destination = match &mut writer {
        Some(writer) => Destination::Writer(writer),
        None if is_folder(&output) => Destination::Directory(output.clone()),
        None => Destination::File(output.clone()),
    };
    let mut options = DownloadOptions::new(name.key, name.secret, destination);
    options.place = place;
    options.wait = download.transfer.wait();
    options.retry = download.transfer.retries().then(Retry::default);
    options.guesses = download.transfer.guesses;
    options.rate_limit = download.transfer.limit_rate;
    let received =
        client.download(options, &mut reporter).map_err(|error| reporter.explain(error))?;
    let path = writer.is_none().then_some(output.as_path());
    reporter.received(&received, path);
    show_text(&received)
}

/// Shows a text that was sent as such. On a terminal, nothing in it can do harm.
fn show_text(received: &Downloaded) -> Result<(), Error> {
    let Some(text) = &received.text else {
        return Ok(());
    };
    let mut stdout = io::stdout().lock();
    let shown = match stdout.is_terminal() {
        true => text.split('\n').map(escape).collect::<Vec<_>>().join("\n") + "\n",
        false => text.clone(),
    };
    let written = stdout.write_all(shown.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|source| Error::Target { path: None, source })
}

/// The standard output, a device or a named pipe: what is written to as it is.
fn writer_for(output: &Path) -> Result<Option<Box<dyn Write>>, Error> {
    if let Some(terminal) = terminal(output) {
        return Ok(Some(Box::new(Screen::new(terminal))));
    }
    let opened = if is_dash(output) {
        stdout()
    } else if fs::metadata(output).is_ok_and(|metadata| is_stream(&metadata)) {
        File::options().write(true).open(output)
    } else {
        return Ok(None);
    };
    match opened {
        Ok(file) => Ok(Some(Box::new(file))),
        Err(source) => Err(Error::Target { path: Some(output.into()), source }),
    }
}

/// The terminal that `output` is, if it is one.
fn terminal(output: &Path) -> Option<File> {
    let file = match is_dash(output) {
        true => stdout().ok()?,
        false if is_device(output) => File::options().write(true).open(output).ok()?,
        false => return None,
    };
    file.is_terminal().then_some(file)
}

/// Whether files go into it: it is a folder, or called one.
fn is_folder(output: &Path) -> bool {
    let last = output.as_os_str().as_encoded_bytes().last();
    output.is_dir() || last.is_some_and(|&byte| std::path::is_separator(byte.into()))
}

#[cfg(unix)]
fn is_device(output: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    fs::metadata(output).is_ok_and(|metadata| metadata.file_type().is_char_device())
}

#[cfg(not(unix))]
fn is_device(_: &Path) -> bool {
    false
}

#[cfg(unix)]
fn is_stream(metadata: &Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    metadata.file_type().is_char_device() || metadata.file_type().is_fifo()
}

#[cfg(not(unix))]
fn is_stream(_: &Metadata) -> bool {
    false
}

/// The standard output without the buffer that `io::stdout` has for lines.
#[cfg(unix)]
fn stdout() -> io::Result<File> {
    use std::os::fd::AsFd;
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

#[cfg(windows)]
fn stdout() -> io::Result<File> {
    use std::os::windows::io::AsHandle;
    io::stdout().as_handle().try_clone_to_owned().map(File::from)
}
