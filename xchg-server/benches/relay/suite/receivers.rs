//! Throughput of one long stream to several receivers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use rustix::fs::sendfile;
use rustix::net::{RecvFlags, recv};

use super::bulk::{CHUNK_BYTES, GIB, payload};
use super::candidate::Running;
use super::failure::{During, Failure, Result};
use super::meter::measure;
use super::report::{Column, Sample};

static THROUGHPUT: Column = Column::new("gib_delivered_per_second", "GiB/s delivered", 2);
static SERVER: Column =
    Column::new("server_seconds_per_gib_delivered", "server s/GiB delivered", 3);

/// Uploads `bytes` to so many `receivers` at once; each one's bytes are counted where they arrive.
pub(crate) fn round(running: &Running, receivers: usize, bytes: u64) -> Result<Sample> {
    let route = &running.route;
    let path = format!("/{}?n={receivers}", route.next_serial());
    let ask = |start: &str, fields: &str| {
        let mut stream = route.connect().during("cannot connect")?;
        let head = format!(
            "{start} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n"
        );
        stream.write_all(head.as_bytes()).during("cannot send a request")?;
        Ok(stream)
    };
    let downloads: Vec<_> =
        (0..receivers).map(|_| ask("GET", "")).collect::<Result<Vec<TcpStream>>>()?;
    let (moved, cost) = measure(running.process.as_ref(), || {
        thread::scope(|scope| {
            let downloads: Vec<_> = downloads
                .into_iter()
                .map(|download| scope.spawn(move || receive(download, bytes)))
                .collect();
            let sent = ask("PUT", &format!("Content-Length: {bytes}\r\n"))
                .and_then(|upload| send(upload, bytes));
            downloads.into_iter().fold(sent, |so_far, download| {
                let received =
                    download.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                so_far.and(received)
            })
        })
    });
    moved?;
    let gib = bytes as f64 * receivers as f64 / GIB;
    let mut sample = vec![
        (&THROUGHPUT, gib / cost.elapsed.as_secs_f64()),
        (&SERVER, cost.server_time.as_secs_f64() / gib),
    ];
    sample.extend(cost.common());
    Ok(sample)
}

/// Sends the payload and hears that all have it.
fn send(mut upload: TcpStream, bytes: u64) -> Result<()> {
    let payload = payload().during("cannot make a memory file")?;
    let mut left = bytes;
    while left > 0 {
        let chunk = usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        left -= sendfile(&upload, &payload, Some(&mut 0), chunk)
            .during("the uploader cannot send")? as u64;
    }
    let mut answer = String::new();
    upload.read_to_string(&mut answer).during("the uploader hears nothing")?;
    if answer.contains("received successfully") {
        Ok(())
    } else {
        Err(Failure::new(format!("the uploader was told: {answer}")))
    }
}

/// Counts the payload behind a response's head.
fn receive(mut download: TcpStream, bytes: u64) -> Result<()> {
    let mut scratch = vec![0; CHUNK_BYTES];
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        download.read_exact(&mut scratch[..1]).during("no response comes")?;
        head.push(scratch[0]);
    }
    let mut received = 0;
    loop {
        match recv(&download, &mut scratch[..], RecvFlags::TRUNC) {
            Ok((_, 0)) if received == bytes => return Ok(()),
            Ok((_, 0)) => {
                return Err(Failure::new(format!("{received} bytes arrived of {bytes} sent")));
            }
            Ok((_, count)) => received += count as u64,
            Err(error) => return Err(error).during("a downloader cannot receive"),
        }
    }
}
