//! The command `upload`.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use xchg_client::files::{self, Stream, WalkOptions};
use xchg_client::{
    Address, Client, Code, Content, Error, Retry, Security, Side, UploadOptions, file_name,
};

use crate::cli::{OutsideLinks, SpecialFiles, Upload, usage_error};
use crate::failure::Failure;
use crate::name::{self, Name, Named};
use crate::progress::{self, Reporter};
use crate::say::Verbosity;
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
    verbosity: Verbosity,
) -> Result<Prepared, Failure> {
    let takes_one = upload.paths.len() > 1 && upload.paths.iter().any(|path| is_dash(path));
    if takes_one || (upload.transfer.plain && upload.paths.len() != 1) {
        usage_error("name one file; several go together without --plain, and without `-`");
    }
    if upload.code || upload.qr || makes_code(&upload, verbosity) {
        let local = |source| Error::Local { what: "a code", source };
        let code = Code::random().map_err(local)?;
        progress::code(verbosity, &code.to_string(), &download_command(&code, server));
        if upload.qr {
            progress::qr(verbosity, &code);
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
        progress::anybody(verbosity, &name.shown, upload.transfer.plain);
    }
    Ok(Prepared { upload, name })
}

/// Whether who names no key gets a code: a person who sees it, and who has not chosen a secret.
fn makes_code(upload: &Upload, verbosity: Verbosity) -> bool {
    upload.key.is_none()
        && !upload.transfer.plain
        && !name::has_secret(&upload.transfer)
        && verbosity != Verbosity::Json
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

pub(crate) fn run(
    mut client: Client,
    prepared: Prepared,
    verbosity: Verbosity,
) -> Result<(), Failure> {
    let Prepared { upload, name } = prepared;
    let transfer = upload.transfer;
    if let Some(bytes) = transfer.buffer_size {
        client = client.buffer_bytes(bytes);
    }
    let mut reporter = Reporter::new(verbosity, Side::Upload, &name.shown, transfer.wait())
        .every(transfer.progress_interval);
    if !transfer.plain {
        reporter = reporter.sealed(!name.secret.is_none());
    }
    let walk = WalkOptions::default()
        .outside_links(match upload.outside_links {
            OutsideLinks::Refuse => files::OutsideLinks::Refuse,
            OutsideLinks::Follow => files::OutsideLinks::Follow,
            OutsideLinks::LeaveOut => files::OutsideLinks::LeaveOut,
        })
        .special_files(match upload.special_files {
            SpecialFiles::Refuse => files::SpecialFiles::Refuse,
            SpecialFiles::LeaveOut => files::SpecialFiles::LeaveOut,
        });
    let stream_name = if name.is_code {
        NAMELESS.into()
    } else {
        file_name(&name.key).unwrap_or(NAMELESS.into())
    };
    let content = match upload.text {
        Some(text) => Content::Text { name: stream_name, text },
        None => content_of(upload.paths, walk, stream_name)?,
    };
    let security = if transfer.plain { Security::Plain } else { name.secret.into() };
    let options = UploadOptions::new(name.key, security, content)
        .wait(transfer.wait())
        .retry(transfer.retries().then(Retry::default))
        .guesses(transfer.guesses)
        .pace(upload.pace)
        .rate_limit(transfer.limit_rate);
    let sent = client.upload(options, &mut reporter).map_err(|error| reporter.explain(error))?;
    reporter.sent(&sent);
    Ok(())
}

fn content_of(paths: Vec<PathBuf>, walk: WalkOptions, name: String) -> Result<Content, Failure> {
    let stream = match &paths[..] {
        [path] if is_dash(path) => Stream::stdin()
            .map(Some)
            .map_err(|source| Failure::Read { path: "the standard input".into(), source })?,
        [path] => {
            Stream::open(path).map_err(|source| Failure::Read { path: path.clone(), source })?
        }
        _ => None,
    };
    Ok(match stream {
        Some(stream) => Content::Stream { name, stream },
        None => Content::Paths { paths, walk },
    })
}
