//! Listeners where whoever exchanges something needs a token.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::common::{InProcess, Peer, Process, config, eventually, offer};
use crate::web::{Client, get, put};
use tempfile::TempDir;
use xchg_core::wire::{Answer, Command, Greeting, RefusalCode, Token};
use xchg_core::{Key, Realm, Side};
use xchg_server::{Access, Config, Server};

const TRANSIT: &[u8] =
    b"please relay 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";

/// A file of tokens.
struct Tokens {
    folder: TempDir,
}

impl Tokens {
    fn new(text: &str) -> Self {
        let tokens = Self { folder: tempfile::tempdir().unwrap() };
        tokens.write(text);
        tokens
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tokens")
    }

    fn write(&self, text: &str) {
        // As whoever means it well does: a reader sees the old or the new.
        let new = self.folder.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path()).unwrap();
    }

    /// Settings by which tokens are asked for at two listeners of three.
    fn config(&self) -> Config {
        let listen = ["127.0.0.1:0", "127.0.0.1:0,access=open", "127.0.0.1:0,access=token,proxy"];
        Config {
            listen: listen.map(|text| text.parse().unwrap()).to_vec(),
            access: Access::Token,
            token_file: Some(self.path()),
            token: Some(token("own")),
            ..config()
        }
    }

    fn server(&self) -> InProcess {
        InProcess::start(self.config())
    }
}

fn token(text: &str) -> Token {
    Token::parse(text.as_bytes()).unwrap()
}

/// A native peer that shows a token.
fn bearing(address: SocketAddr, shown: &str, offer: xchg_core::wire::Offer) -> Peer {
    let mut greeting = Greeting::new(Command::Offer(offer));
    greeting.token = Some(token(shown));
    Peer::saying(address, &greeting.encode())
}

/// Why a native peer is refused.
fn refusal(mut peer: Peer) -> (RefusalCode, String) {
    match peer.verdict() {
        Answer::Refused { code, text } => (code, text),
        answer => panic!("{answer:?} instead of Refused"),
    }
}

/// A request with other fields.
fn with(request: &[u8], fields: &str) -> Vec<u8> {
    let request = String::from_utf8(request.to_vec()).unwrap();
    request.replacen("\r\n", &format!("\r\n{fields}"), 1).into_bytes()
}

/// `Basic` with that name and token, as `curl -u` says it.
fn basic(pair: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = pair.as_bytes().chunks(3).map(|group| {
        let bits = group.iter().fold(0_usize, |bits, &byte| bits << 8 | usize::from(byte));
        let bits = bits << (8 * (3 - group.len()));
        let digit = |at: usize| {
            if at <= group.len() { char::from(DIGITS[bits >> (18 - 6 * at) & 63]) } else { '=' }
        };
        (0..4).map(digit).collect::<String>()
    });
    format!("Authorization: Basic {}\r\n", digits.collect::<String>())
}

fn answer(address: SocketAddr, request: &[u8]) -> String {
    String::from_utf8(Client::saying(address, request).rest().unwrap()).unwrap()
}

#[test]
fn bearers_of_a_token_exchange_in_every_way_to_show_one() {
    let tokens = Tokens::new("anna name=anna\nben");
    let server = tokens.server();
    let address = server.address();
    for (number, fields) in [
        "Authorization: Bearer anna\r\n".to_owned(),
        "authorization: bearer ben\r\n".to_owned(),
        "Authorization: Bearer own\r\n".to_owned(),
        basic(":anna"),
        basic("whoever:ben"),
    ]
    .iter()
    .enumerate()
    {
        let key = format!("key{number}");
        let mut downloader = bearing(address, "ben", offer(Side::Download, &key)).waits();
        let mut uploader = Client::saying(address, &with(&put(&key, b"by token"), fields));
        downloader.matched();
        assert_eq!(downloader.rest().unwrap(), b"by token");
        uploader.uploaded();
        let mut uploader = bearing(address, "own", offer(Side::Upload, &key)).waits();
        let mut downloader = Client::saying(address, &with(&get(&key), fields));
        uploader.matched();
        drop(uploader.send_all(b"and back"));
        assert_eq!(downloader.download(), b"and back");
    }
}

#[test]
fn without_a_token_nobody_is_served_in_any_dialect() {
    let tokens = Tokens::new("anna name=anna");
    let server = tokens.server();
    let address = server.address();
    let (code, text) = refusal(Peer::native(address, Side::Upload, "key"));
    assert_eq!(code, RefusalCode::Forbidden);
    assert!(text.contains("--token") && text.contains("XCHG_TOKEN"), "{text}");
    let (code, text) = refusal(bearing(address, "annb", offer(Side::Upload, "key")));
    assert_eq!(code, RefusalCode::Forbidden);
    assert!(text.contains("not valid"), "{text}");
    for request in [
        get("key"),
        put("key", b"payload"),
        with(&get("key"), "Authorization: Bearer ann\r\n"),
        with(&get("key"), &basic("anna:")),
        with(&get("key"), "Authorization: Digest username=\"anna\"\r\n"),
        b"HEAD /key HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"FOO /key HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
    ] {
        let text = answer(address, &request);
        assert!(text.starts_with("HTTP/1.1 401 "), "{text}");
        assert!(text.contains("\r\nWWW-Authenticate: Basic realm="), "{text}");
        assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
        assert!(request.starts_with(b"HEAD") || text.contains("curl -u :TOKEN"), "{text}");
    }
    Peer::classic(address, b'P', "key").let_go();
    Peer::classic(address, b'G', "key").let_go();
    Peer::saying(address, TRANSIT).let_go();
    assert_eq!((server.counts().waiting, server.stats().refused), (0, 12));
    // Behind a proxy it is the same.
    let behind = crate::common::tcp(&server.addresses()[2]);
    let text = answer(behind, &[b"PROXY UNKNOWN\r\n".as_slice(), &get("key")].concat());
    assert!(text.starts_with("HTTP/1.1 401 "), "{text}");
}

#[test]
fn the_servers_own_pages_need_no_token_and_say_how_to_show_one() {
    let tokens = Tokens::new("anna");
    let server = tokens.server();
    for path in ["/", "/noscript", "/version", "/healthz"] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let text = answer(server.address(), request.as_bytes());
        assert!(text.starts_with("HTTP/1.1 200 "), "{path}: {text}");
    }
    let help = b"GET /help HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(answer(server.address(), help).contains("curl -u :TOKEN -T"));
    let asks = b"OPTIONS /key HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let text = answer(server.address(), asks);
    assert!(
        text.starts_with("HTTP/1.1 200 ") && text.contains("X-Piping, Authorization"),
        "{text}"
    );
}

#[test]
fn a_listener_may_be_open_beside_others_that_are_not() {
    let tokens = Tokens::new("anna");
    let server = tokens.server();
    let open = crate::common::tcp(&server.addresses()[1]);
    let mut downloader = bearing(server.address(), "anna", offer(Side::Download, "key")).waits();
    drop(Peer::classic(open, b'P', "key").send_all(b"payload"));
    downloader.matched();
    assert_eq!(downloader.rest().unwrap(), b"payload");
    // A token that nobody asks for is not looked at.
    drop(bearing(open, "nobodys", offer(Side::Download, "key")).waits());
}

#[test]
fn a_tenants_keys_begin_as_its_line_says() {
    let tokens = Tokens::new("builds name=ci prefix=ci/");
    let server = tokens.server();
    let address = server.address();
    drop(bearing(address, "builds", offer(Side::Upload, "ci/x")).waits());
    server.await_waiting(0);
    let (code, text) = refusal(bearing(address, "builds", offer(Side::Upload, "other")));
    assert_eq!((code, text.contains("\"ci/\"")), (RefusalCode::Forbidden, true), "{text}");
    let fields = "Authorization: Bearer builds\r\n";
    let text = answer(address, &with(&get("other"), fields));
    assert!(text.starts_with("HTTP/1.1 403 ") && text.contains("\"ci/\""), "{text}");
    let _waits = Client::saying(address, &with(&get("ci/x"), fields));
    server.await_waiting(1);
    // A sealed offer without a secret says its key; with one, nobody knows it.
    let sealed = |key: &str, says: bool| {
        let plain = Key::parse(key.as_bytes()).unwrap();
        let mut offer = offer(Side::Upload, key);
        (offer.realm, offer.key) = (Realm::Sealed, plain.meeting_key());
        offer.twin = says.then_some(plain);
        bearing(address, "builds", offer)
    };
    assert_eq!(refusal(sealed("other", true)).0, RefusalCode::Forbidden);
    for (key, says) in [("ci/y", true), ("other", false)] {
        let mut peer = sealed(key, says);
        assert!(matches!(peer.answer(), Answer::Waiting(_)), "{key}");
    }
}

#[test]
fn wrong_tokens_are_refused_more_and_more_and_right_ones_of_others_are_not() {
    let tokens = Tokens::new("anna");
    let server = tokens.server();
    let guess = |peer: [u8; 4], shown: &str| {
        let mut greeting = Greeting::new(Command::Offer(offer(Side::Download, "key")));
        greeting.token = Some(token(shown));
        let mut connection = Peer::connect_from((peer, 0).into(), server.address());
        connection.send(&greeting.encode());
        connection
    };
    let wrong = |number: usize| refusal(guess([127, 0, 0, 1], &format!("guess {number}"))).0;
    let told: Vec<_> = (0..20).map(wrong).collect();
    assert!(told[..10].iter().all(|&code| code == RefusalCode::Forbidden), "{told:?}");
    assert_eq!(told[19], RefusalCode::Busy, "{told:?}");
    let (code, text) = refusal(guess([127, 0, 0, 1], "anna"));
    assert_eq!((code, text.contains("too many wrong tokens")), (RefusalCode::Busy, true), "{text}");
    let request = with(&get("key"), "Authorization: Bearer anna\r\n");
    let text = answer(server.address(), &request);
    assert!(text.starts_with("HTTP/1.1 429 ") && text.contains("\r\nRetry-After: "), "{text}");
    drop(guess([127, 0, 0, 2], "anna").waits());
}

#[test]
fn another_sites_page_does_not_upload_with_the_browsers_token() {
    let tokens = Tokens::new("anna");
    let listen = vec!["127.0.0.1:0,public".parse().unwrap()];
    let allow_origins = vec!["https://friend.example".parse().unwrap()];
    let server = InProcess::start(Config { listen, allow_origins, ..tokens.config() });
    let status = |fields: &str| {
        let upload = "PUT /key HTTP/1.1\r\nHost: files.example\r\nContent-Length: 100\r\n";
        let mut client =
            Client::saying(server.address(), format!("{upload}{fields}\r\n").as_bytes());
        client.any_head().status
    };
    let foreign = "Origin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\n";
    let friend = "Origin: https://friend.example\r\nSec-Fetch-Site: cross-site\r\n";
    let own = "Origin: https://files.example\r\nSec-Fetch-Site: same-origin\r\n";
    for (origin, credentials, expected) in [
        (foreign, basic(":anna"), 403),
        (foreign, "Authorization: Bearer anna\r\n".to_owned(), 200),
        (friend, basic(":anna"), 200),
        (own, basic(":anna"), 200),
        ("", basic(":anna"), 200),
    ] {
        assert_eq!(status(&format!("{origin}{credentials}")), expected, "{origin}{credentials}");
        server.await_waiting(0);
    }
}

#[test]
fn a_changed_file_of_tokens_is_taken_and_a_broken_one_is_not() {
    let tokens = Tokens::new("first");
    let (process, address) = {
        let mut command = Process::command();
        command.args(["--listen", "127.0.0.1:0", "--access", "token", "--token-file"]);
        command.arg(tokens.path());
        Process::serve(command)
    };
    let is_valid = |shown: &str| {
        let mut peer = bearing(address, shown, offer(Side::Download, "key"));
        matches!(peer.answer(), Answer::Waiting(_))
    };
    assert!(is_valid("first"));
    tokens.write("broken by two words\nsecond");
    eventually("the mistake is logged", || process.stderr().contains("the old tokens stay"));
    assert!(process.stderr().contains("line 1: "), "{}", process.stderr());
    assert!(is_valid("first"));
    tokens.write("second");
    eventually("the new tokens are logged", || process.stderr().contains("took the changed"));
    assert!(is_valid("second") && !is_valid("first"));
    // No token is in the log.
    for word in ["first", "second", "broken"] {
        assert!(!process.stderr().contains(word), "{}", process.stderr());
    }
}

#[test]
fn the_log_names_the_tenants_of_an_exchange() {
    let tokens = Tokens::new("t1 name=anna\nt2 name=ben\nt3");
    let mut command = Process::command();
    command.args(["--listen", "127.0.0.1:0", "--log-format", "json", "--access", "token"]);
    command.arg("--token-file").arg(tokens.path());
    let (process, address) = Process::serve(command);
    for (up, down, named) in [
        ("t1", "t2", &["\"upload_tenant\":\"anna\"", "\"download_tenant\":\"ben\""][..]),
        ("t3", "t1", &["\"download_tenant\":\"anna\""]),
    ] {
        let mut downloader = bearing(address, down, offer(Side::Download, "key")).waits();
        let mut uploader = bearing(address, up, offer(Side::Upload, "key"));
        uploader.matched();
        downloader.matched();
        drop(uploader.send_all(b"payload"));
        assert_eq!(downloader.whole(), b"payload");
        eventually("a line with the tenants", || {
            let log = process.stderr();
            log.lines().any(|line| named.iter().all(|part| line.contains(part)))
        });
    }
    let fields = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let of_three = |token: &str| Client::saying(address, &with(&get("many?n=2"), &fields(token)));
    let (mut one, mut other) = (of_three("t1"), of_three("t2"));
    let mut uploader = Client::saying(address, &with(&put("many?n=2", b"payload"), &fields("t3")));
    assert_eq!((one.download(), other.download()), (b"payload".to_vec(), b"payload".to_vec()));
    uploader.any_head();
    eventually("a line with all", || {
        let log = process.stderr();
        log.contains("\"download_tenant\":\"anna,ben\"")
            || log.contains("\"download_tenant\":\"ben,anna\"")
    });
}

#[test]
fn what_is_wrong_with_the_tokens_is_told_before_the_start() {
    let tokens = Tokens::new("secret oops\nfine\nfine");
    let problems = tokens.config().problems();
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|it| it.starts_with("token-file: ") && !it.contains("secret")));
    assert!(Server::bind(tokens.config()).is_err());
    for (config, part) in [
        (Config { access: Access::Token, ..config() }, "token-file"),
        (
            Config { listen: vec!["127.0.0.1:0,access=token".parse().unwrap()], ..config() },
            "token-file",
        ),
        (
            Config { token_file: Some("/nonexistent/tokens".into()), ..tokens.config() },
            "no such file",
        ),
        (Config { token_file: Some(tokens.path()), ..config() }, "`access`"),
    ] {
        let told: Vec<_> = config.problems().iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|it| it.contains(part)), "{told:?}");
    }
    // And by the program.
    let mut command = Process::command();
    command.args(["--check-config", "--access", "token", "--token-file"]).arg(tokens.path());
    let exit = Process::run(command);
    assert_eq!(exit.status.code(), Some(2));
    assert!(
        exit.stderr.contains("line 1: ") && exit.stderr.contains("line 3: "),
        "{}",
        exit.stderr
    );
}
