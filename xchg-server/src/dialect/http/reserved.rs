//! The paths that are no keys: the web page and a few texts, as piping-server has them.

use xchg_core::Key;

use super::head::Request;
use super::respond::{self, ReplyTo, ResponseHead};
use super::status::Status;
use super::target::{encode_path, query_value};
use crate::web;

/// Whether `key` names a page of the server's own, so that nothing can be exchanged under it.
pub(super) fn is_reserved(key: &[u8]) -> bool {
    Page::of(key).is_some()
}

#[derive(Clone, Copy)]
enum Page {
    Index,
    NoScript,
    Version,
    Help,
    Favicon,
    Robots,
    Health,
}

impl Page {
    fn of(key: &[u8]) -> Option<Self> {
        Some(match key {
            b"" => Self::Index,
            b"noscript" => Self::NoScript,
            b"version" => Self::Version,
            b"help" => Self::Help,
            b"favicon.ico" => Self::Favicon,
            b"robots.txt" => Self::Robots,
            b"healthz" => Self::Health,
            _ => return None,
        })
    }
}

/// Whether `key` names the page that says how the server is, which only the engine knows.
pub(super) fn is_health(key: &[u8]) -> bool {
    matches!(Page::of(key), Some(Page::Health))
}

/// The page for whoever watches over the server: whether newcomers are served.
pub(crate) fn health(to: ReplyTo, is_draining: bool) -> Vec<u8> {
    let (head, word) = if is_draining {
        let head = ResponseHead::text(to.version, Status::Unavailable).retry_when_drained();
        (head, "draining\n")
    } else {
        (ResponseHead::text(to.version, Status::Ok), "ok\n")
    };
    head.body(to, word.as_bytes())
}

/// The response to a GET or HEAD of any other reserved path.
pub(super) fn reply(request: &Request) -> Vec<u8> {
    let to = request.reply_to;
    match Page::of(&request.key) {
        Some(Page::Index) => web::index(to),
        Some(Page::NoScript) => web::noscript(to, &noscript_key(request)),
        Some(Page::Version) => respond::text(to, concat!(env!("CARGO_PKG_VERSION"), "\n")),
        Some(Page::Help) => respond::text(to, &help(request)),
        // A 204 has neither a body nor a length (RFC 9110 section 8.6).
        Some(Page::Favicon) => {
            ResponseHead::new(to.version, Status::NoContent).connection(to.keep_alive).end()
        }
        Some(Page::Robots | Page::Health) | None => {
            ResponseHead::text(to.version, Status::NotFound).body(to, b"")
        }
    }
}

/// The key that the form without scripts was asked to send to; empty if none that can be.
fn noscript_key(request: &Request) -> Vec<u8> {
    let path = query_value(&request.query, b"path").unwrap_or_default();
    let key = path.strip_prefix(b"/").unwrap_or(&path);
    if key.len() > Key::MAX_LEN || is_reserved(key) {
        return Vec::new();
    }
    key.to_vec()
}

/// Says that the server is to be spoken to in TLS here, and how (RFC 9110 section 15.5.22).
pub(super) fn insecure(request: &Request) -> Vec<u8> {
    let to = request.reply_to.closing();
    let host = safe_host(&request.host).unwrap_or("HOST");
    let text = format!("[ERROR] This address is for https alone: https://{host}/\n");
    ResponseHead::text(to.version, Status::UpgradeRequired)
        .field("Upgrade", "TLS/1.2, HTTP/1.1")
        .body(to, text.as_bytes())
}

/// How to use the server from a shell. The lines can be copied and run, so nothing that a shell
/// could act upon may come from the request.
fn help(request: &Request) -> String {
    let is_https = request.is_secured || request.is_forwarded_https;
    let scheme = if is_https { "https" } else { "http" };
    let url = format!("{scheme}://{}", safe_host(&request.host).unwrap_or("hostname"));
    let path = encode_path(b"mypath");
    let text = format!(
        "\
Help for xchg {version}

Two sides name the same path; whoever comes first waits for the other. Nothing is stored.

======= Get  =======
curl {url}{path} > myfile

======= Send =======
# Send a file
curl -T myfile {url}{path}

# Send a text
echo 'hello!' | curl -T - {url}{path}

# Send a directory (tar.gz)
tar zcf - ./mydir | curl -T - {url}{path}

# Receive a directory (tar.gz)
curl {url}{path} | tar zxf -

======= Encryption =======
# Send
openssl aes-256-cbc -pbkdf2 < myfile | curl -T - {url}{path}

# Get
curl {url}{path} | openssl aes-256-cbc -pbkdf2 -d > myfile

======= Browser =======
{url}/
{url}/noscript
",
        version = env!("CARGO_PKG_VERSION"),
    );
    if request.asks_token { text.replace("curl ", "curl -u :TOKEN ") } else { text }
}

/// `host` if it is no more than a name or address and a port.
fn safe_host(host: &[u8]) -> Option<&str> {
    let safe = |byte: &u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(byte);
    let fits = (1..=255).contains(&host.len()) && host.iter().all(safe) && !host.starts_with(b"-");
    fits.then(|| std::str::from_utf8(host).ok())?
}
