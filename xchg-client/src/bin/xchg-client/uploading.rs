//! The command `upload`.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use indicatif::HumanBytes;
use xchg_client::files::{self, WalkOptions};
use xchg_client::terminal::escape;
use xchg_client::{
    Address, Client, Code, Content, Error, PlainUploadOptions, Retry, Side, Source, UploadOptions,
    file_name,
};

use crate::cli::{OutsideLinks, SpecialFiles, Upload, usage_error};
use crate::name::{self, Name, Named};
use crate::progress::{self, Reporter, Tone};
use crate::{DEFAULT_SERVER, is_dash};

/// What text and streams are called if their key is no file's name.
const NAMELESS: &str = "stdin";

/// What to upload, with all that had to be asked for.
pub(crate) struct Prepared {
    upload: Upload,
    name: Name,
}

/// Finds key and secret, and the server if a link names it; tells the code if one was made up.
pub(crate) fn prepare(
    mut upload: Upload,
    server: &mut Address,
    tone: Tone,
) -> Result<Prepared, Error> {
    let takes_one = upload.paths.len() > 1 && upload.paths.iter().any(|path| is_dash(path));
    if takes_one || (upload.transfer.plain && upload.paths.len() != 1) {
        usage_error("name one file; several go together without --plain, and without `-`");
    }
    if upload.code || upload.qr || makes_code(&upload, tone) {
        let code = Code::random()?;
        progress::code(tone, &code.to_string(), &download_command(&code, server));
        if upload.qr {
            progress::qr(tone, &code);
        }
        return Ok(Prepared { upload, name: Name::of_code(&code) });
    }
    let named = match (&upload.key, &upload.paths[..]) {
        (Some(key), _) => name::given(key, &upload.transfer),
        (None, [path]) if !is_dash(path) => name::of_path(path, &upload.transfer)?,
        _ => usage_error("name what the downloader names too: --key KEY, or --code to make one up"),
    };
    if matches!(named, Named::Link(_)) && (upload.is_sealed() || upload.paths.len() != 1) {
        usage_error(
            "a link is for a plain transfer of one file; leave out what --plain cannot have",
        );
    }
    let (name, address) = named.resolve(&mut upload.transfer)?;
    if let Some(address) = address {
        *server = address;
    }
    if upload.key.is_none() && name.secret.is_none() {
        progress::anybody(tone, &name.shown, upload.transfer.plain);
    }
    Ok(Prepared { upload, name })
}

/// Whether who names no key gets a code: a person who sees it, and who has not chosen a secret.
fn makes_code(upload: &Upload, tone: Tone) -> bool {
    upload.key.is_none()
        && !upload.transfer.plain
        && !name::has_secret(&upload.transfer)
        && tone != Tone::Json
        && io::stderr().is_terminal()
}

/// What to type on the other machine.
fn download_command(code: &Code, server: &Address) -> String {
    let server = server.to_string();
    let option = match server.as_str() {
        DEFAULT_SERVER => String::new(),
        server => format!(" --server {server}"),
    };
    format!("xchg-client download {code}{option}")
}

pub(crate) fn run(mut client: Client, prepared: Prepared, tone: Tone) -> Result<(), Error> {
    let Prepared { upload, name } = prepared;
    if let Some(bytes) = upload.transfer.buffer_size {
        client = client.buffer_bytes(bytes);
    }
    let reporter = Reporter::new(tone, Side::Upload, &name, upload.transfer.wait());
    let reporter = reporter.every(upload.transfer.progress_interval);
    match upload.transfer.plain {
        true => plain(&client, upload, name, reporter),
        false => sealed(&client, upload, name, reporter),
    }
}

fn plain(client: &Client, upload: Upload, name: Name, mut reporter: Reporter) -> Result<(), Error> {
    let source = match upload.paths.into_iter().next() {
        Some(path) if !is_dash(&path) => Source::File(path),
        _ => Source::Stdin,
    };
    reporter.offering(&described(&source));
    let mut options = PlainUploadOptions::new(name.key, source);
    options.wait = upload.transfer.wait();
    options.pace = upload.pace;
    options.rate_limit = upload.transfer.limit_rate;
    options.retry = upload.transfer.retries().then(Retry::default);
    let uploaded = client.upload_plain(options, &mut reporter);
    let summary = uploaded.map_err(|error| reporter.explain(error))?;
    reporter.done(&summary);
    Ok(())
}

/// What is uploaded, in words.
fn described(source: &Source) -> String {
    match source {
        Source::File(path) => {
            let name = escape(&path.to_string_lossy());
            match std::fs::metadata(path) {
                Ok(metadata) if metadata.is_file() && metadata.len() > 0 => {
                    format!("{name}, {}", HumanBytes(metadata.len()))
                }
                _ => name,
            }
        }
        _ => "a stream of unknown length".into(),
    }
}

fn sealed(client: &Client, upload: Upload, name: Name, reporter: Reporter) -> Result<(), Error> {
    let mut reporter = reporter.sealed(!name.secret.is_none(), false);
    let walk = WalkOptions {
        outside_links: match upload.outside_links {
            OutsideLinks::Refuse => files::OutsideLinks::Refuse,
            OutsideLinks::Follow => files::OutsideLinks::Follow,
            OutsideLinks::LeaveOut => files::OutsideLinks::LeaveOut,
        },
        special_files: match upload.special_files {
            SpecialFiles::Refuse => files::SpecialFiles::Refuse,
            SpecialFiles::LeaveOut => files::SpecialFiles::LeaveOut,
        },
    };
    let stream_name = || match name.is_code {
        true => NAMELESS.into(),
        false => file_name(&name.key).unwrap_or(NAMELESS.into()),
    };
    let content = match upload.text {
        Some(text) => Content::Text { name: stream_name(), text },
        None => content_of(upload.paths, walk, stream_name)?,
    };
    let mut options = UploadOptions::new(name.key.clone(), name.secret, content);
    options.wait = upload.transfer.wait();
    options.retry = upload.transfer.retries().then(Retry::default);
    options.guesses = upload.transfer.guesses;
    options.pace = upload.pace;
    options.rate_limit = upload.transfer.limit_rate;
    let sent = client.upload(options, &mut reporter);
    let sent = sent.map_err(|error| reporter.explain(error))?;
    reporter.sent(&sent);
    Ok(())
}

fn content_of(
    paths: Vec<PathBuf>,
    walk: WalkOptions,
    stream_name: impl Fn() -> String,
) -> Result<Content, Error> {
    match &paths[..] {
        [path] if is_dash(path) => {
            let reader = stdin().map_err(|source| unreadable("the standard input", source))?;
            Ok(Content::Stream { name: stream_name(), reader })
        }
        [path] if is_stream(path) => {
            let file = File::open(path).map_err(|source| unreadable(path, source))?;
            Ok(Content::Stream { name: stream_name(), reader: Box::new(file) })
        }
        _ => Ok(Content::Paths { paths, walk }),
    }
}

fn unreadable(path: impl Into<PathBuf>, source: io::Error) -> Error {
    Error::Source { path: path.into(), source }
}

/// Whether it is read to its end rather than up to its length: a named pipe, the output of another program, or a file that
/// the kernel makes up as it is read, as in `/proc`, and whose length it says is 0.
#[cfg(unix)]
fn is_stream(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let Ok(metadata) = std::fs::metadata(path) else {
        return false;
    };
    let kind = metadata.file_type();
    let has_content =
        || File::open(path).is_ok_and(|mut file| matches!(file.read(&mut [0]), Ok(1)));
    kind.is_fifo()
        || kind.is_char_device()
        || (kind.is_file() && metadata.len() == 0 && has_content())
}

#[cfg(not(unix))]
fn is_stream(_: &Path) -> bool {
    false
}

/// The standard input without the small buffer that `io::stdin` has.
fn stdin() -> io::Result<Box<dyn Read + Send>> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        Ok(Box::new(File::from(io::stdin().as_fd().try_clone_to_owned()?)))
    }
    #[cfg(not(unix))]
    Ok(Box::new(io::stdin()))
}
