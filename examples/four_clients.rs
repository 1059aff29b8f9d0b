//! Four clients meet at a server inside this program: A uploads stocks.txt, B wants weather.txt, C
//! wants traffic.txt and D wants stocks.txt. A and D exchange; B and C wait until the server is
//! terminated, which tells them why.
//!
//! `cargo run --release --example four_clients`

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use xchg_client::files::Destination;
use xchg_client::{
    Client, Content, DownloadOptions, Key, Matched, Observer, Security, UploadOptions, Waiting,
};
use xchg_server::{Config, Listen, Server};

fn main() -> Result<(), Box<dyn Error>> {
    let listen = vec!["127.0.0.1:0".parse::<Listen>()?];
    let server = Server::bind(Config { listen, ..Config::default() })?.start()?;
    let address = server.addresses()[0].to_string();
    println!("the server listens on {address}");
    let client = Client::new(address.parse()?);

    let folder = tempfile::tempdir()?;
    let stocks = folder.path().join("stocks.txt");
    let prices: String = (1..=100_000).map(|day| format!("day {day}: 42.17\n")).collect();
    fs::write(&stocks, &prices)?;

    let (tell, news) = channel();
    upload("A", &client, &stocks, &tell)?;
    show(&news, 1)?;
    let b = download("B", "weather.txt", &client, folder.path(), &tell)?;
    show(&news, 1)?;
    let c = download("C", "traffic.txt", &client, folder.path(), &tell)?;
    show(&news, 1)?;
    let d = download("D", "stocks.txt", &client, folder.path(), &tell)?;
    // Both are matched, and both are done.
    show(&news, 4)?;
    assert_eq!(fs::read_to_string(d)?, prices);
    println!("D has all that A has: {} bytes", prices.len());

    let report = client.terminate()?;
    println!("the server is told to terminate while {} wait", report.waiting);
    show(&news, 2)?;
    assert!(!b.exists() && !c.exists(), "who gets nothing is left no file");
    server.join();
    println!("the server has ended");
    Ok(())
}

/// What a client has to say.
struct News {
    from: &'static str,
    what: What,
}

enum What {
    Waits,
    Exchanges,
    /// With so many bytes, or not at all.
    Ends(Result<u64, xchg_client::Error>),
}

/// Prints the next `count` pieces of news as they come.
fn show(news: &Receiver<News>, count: usize) -> Result<(), Box<dyn Error>> {
    for News { from, what } in news.iter().take(count) {
        match what {
            What::Waits => println!("{from} waits"),
            What::Exchanges => println!("{from} exchanges"),
            What::Ends(Ok(bytes)) => println!("{from} is done: {bytes} bytes"),
            // The server refuses those who wait when it shuts down. Nothing else may go wrong here.
            What::Ends(Err(error)) if error.is_worth_a_retry() => {
                println!("{from} is told: {error}")
            }
            What::Ends(Err(error)) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Starts a client that uploads the file at `path` under its own name.
fn upload(
    name: &'static str,
    client: &Client,
    path: &Path,
    tell: &Sender<News>,
) -> Result<(), Box<dyn Error>> {
    let key = path.file_name().ok_or("it has no name")?.as_encoded_bytes();
    let options = UploadOptions::new(Key::parse(key)?, Security::Plain, Content::paths([path]));
    let client = client.clone();
    start(name, tell, move |observer| Ok(client.upload(options, observer)?.bytes));
    Ok(())
}

/// Starts a client that downloads `file`, and gives the path where it will be, if it will.
fn download(
    name: &'static str,
    file: &str,
    client: &Client,
    folder: &Path,
    tell: &Sender<News>,
) -> Result<PathBuf, Box<dyn Error>> {
    let path = folder.join(format!("{file} of {name}"));
    let destination = Destination::File(path.clone());
    let options = DownloadOptions::new(Key::parse(file.as_bytes())?, Security::Plain, destination);
    let client = client.clone();
    start(name, tell, move |observer| Ok(client.download(options, observer)?.bytes));
    Ok(path)
}

/// Runs `transfer`, which blocks, on a thread of its own.
fn start(
    from: &'static str,
    tell: &Sender<News>,
    transfer: impl FnOnce(&mut dyn Observer) -> Result<u64, xchg_client::Error> + Send + 'static,
) {
    let mut reporter = Reporter { from, tell: tell.clone() };
    thread::spawn(move || {
        let end = transfer(&mut reporter);
        reporter.tell(What::Ends(end));
    });
}

/// Passes on what the client library says while a transfer runs.
struct Reporter {
    from: &'static str,
    tell: Sender<News>,
}

impl Reporter {
    fn tell(&self, what: What) {
        // If nobody listens any more, the program is ending.
        self.tell.send(News { from: self.from, what }).ok();
    }
}

impl Observer for Reporter {
    fn waiting(&mut self, _waiting: &Waiting) {
        self.tell(What::Waits);
    }

    fn matched(&mut self, _matched: &Matched) {
        self.tell(What::Exchanges);
    }
}
