//! What TLS costs the server: long streams with it on either side, and small exchanges with
//! handshakes of their own.
//!
//! The other ends seal and open as much as the server does, on the same processors. So the server's
//! time is what can be compared; how fast it goes says what a machine with a processor or two more
//! would do at least.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

use super::bulk::{CHUNK_BYTES, GIB};
use super::candidate::Running;
use super::exchanges::PAYLOAD_BYTES;
use super::failure::{During, Failure, Result};
use super::meter::measure;
use super::report::{Column, Sample};
use super::route::{Route, Side};

static THROUGHPUT: Column = Column::new("gib_per_second", "GiB/s", 2);
static SERVER: Column = Column::new("server_seconds_per_gib", "server s/GiB", 3);
static RATE: Column = Column::new("exchanges_per_second", "exchanges/s", 0);
static EACH: Column = Column::new("server_us_per_exchange", "server us each", 0);

/// Who speaks TLS, where bulk is moved; and whether small exchanges resume sessions.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Case {
    Bulk { upload: bool, download: bool },
    Exchanges { resumes: bool },
}

impl Case {
    pub(crate) const ALL: [Self; 6] = [
        Self::Bulk { upload: false, download: false },
        Self::Bulk { upload: false, download: true },
        Self::Bulk { upload: true, download: false },
        Self::Bulk { upload: true, download: true },
        Self::Exchanges { resumes: false },
        Self::Exchanges { resumes: true },
    ];

    pub(crate) fn name(self) -> String {
        let way = |has_tls| if has_tls { "TLS" } else { "plain" };
        match self {
            Self::Bulk { upload, download } => format!("{} to {}", way(upload), way(download)),
            Self::Exchanges { resumes: false } => "1 KiB over https, full handshakes".into(),
            Self::Exchanges { resumes: true } => "1 KiB over https, resumed".into(),
        }
    }
}

/// The folder in which a server keeps the certificate that it makes itself.
pub(crate) fn certificate_folder(folder: &Path) -> PathBuf {
    folder.join("tls")
}

/// Does `case` once: `bytes` of bulk, or exchanges for as long as `window`.
pub(crate) fn round(
    running: &Running,
    folder: &Path,
    case: Case,
    bytes: u64,
    window: Duration,
) -> Result<Sample> {
    let client = client(&certificate_folder(folder).join("cert.pem"));
    let client = client.map_err(|error| Failure::new(error.to_string()))?;
    match case {
        Case::Bulk { upload, download } => {
            let ends = (upload.then_some(&client), download.then_some(&client));
            bulk(running, ends, bytes)
        }
        Case::Exchanges { resumes } => {
            if !resumes {
                let mut client = (*client).clone();
                client.resumption = Resumption::disabled();
                return exchanges(running, &Arc::new(client), window);
            }
            exchanges(running, &client, window)
        }
    }
}

fn client(
    certificate: &Path,
) -> std::result::Result<Arc<ClientConfig>, Box<dyn std::error::Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// One end of a stream.
enum End {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl End {
    fn open(route: &Route, client: Option<&Arc<ClientConfig>>) -> Result<Self> {
        let stream = route.connect().during("cannot connect")?;
        let Some(client) = client else { return Ok(Self::Plain(stream)) };
        let name = ServerName::try_from("localhost").expect("it is a name");
        let tls = ClientConnection::new(client.clone(), name);
        let tls = tls.map_err(|error| Failure::new(error.to_string()))?;
        Ok(Self::Tls(Box::new(StreamOwned::new(tls, stream))))
    }

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.shutdown(Shutdown::Write),
            Self::Tls(stream) => {
                stream.conn.send_close_notify();
                while stream.conn.wants_write() {
                    stream.conn.write_tls(&mut stream.sock)?;
                }
                stream.sock.shutdown(Shutdown::Write)
            }
        }
    }
}

impl Read for End {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buf),
            Self::Tls(stream) => stream.read(buf),
        }
    }
}

impl Write for End {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(buf),
            Self::Tls(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

type Client<'a> = Option<&'a Arc<ClientConfig>>;

fn bulk(running: &Running, (up, down): (Client<'_>, Client<'_>), bytes: u64) -> Result<Sample> {
    let serial = running.route.next_serial();
    let mut upload = End::open(&running.route, up)?;
    let mut download = End::open(&running.route, down)?;
    upload.write_all(&Route::greeting(Side::Upload, serial)).during("cannot greet")?;
    download.write_all(&Route::greeting(Side::Download, serial)).during("cannot greet")?;
    let chunk = vec![b'x'; CHUNK_BYTES];
    let send = move || -> io::Result<()> {
        let mut left = bytes;
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
            upload.write_all(&chunk[..part])?;
            left -= part as u64;
        }
        upload.finish()?;
        // A classic uploader hears nothing but the end.
        io::copy(&mut upload, &mut io::sink()).map(drop)
    };
    let (moved, cost) = measure(running.process.as_ref(), || -> Result<u64> {
        let sending = thread::spawn(send);
        let mut received = 0;
        let mut buf = vec![0; CHUNK_BYTES];
        loop {
            match download.read(&mut buf).during("cannot receive")? {
                0 => break,
                n => received += n as u64,
            }
        }
        sending.join().expect("it does not panic").during("cannot send")?;
        Ok(received)
    });
    if moved? != bytes {
        return Err(Failure::new("a stream has lost bytes".to_owned()));
    }
    let gib = bytes as f64 / GIB;
    let mut sample = vec![
        (&THROUGHPUT, gib / cost.elapsed.as_secs_f64()),
        (&SERVER, cost.server_time.as_secs_f64() / gib),
    ];
    sample.extend(cost.common());
    Ok(sample)
}

fn exchanges(running: &Running, client: &Arc<ClientConfig>, window: Duration) -> Result<Sample> {
    // What the first handshake costs beside the others is not asked.
    exchange(&running.route, client)?;
    let (count, cost) = measure(running.process.as_ref(), || -> Result<u64> {
        let begin = Instant::now();
        let mut count = 0;
        while begin.elapsed() < window {
            exchange(&running.route, client)?;
            count += 1;
        }
        Ok(count)
    });
    let count = count? as f64;
    let mut sample = vec![
        (&RATE, count / cost.elapsed.as_secs_f64()),
        (&EACH, cost.server_time.as_secs_f64() * 1e6 / count),
    ];
    sample.extend(cost.common());
    Ok(sample)
}

/// A payload from one https client to another, each of which connects for it.
fn exchange(route: &Route, client: &Arc<ClientConfig>) -> Result<()> {
    let serial = route.next_serial();
    let mut download = End::open(route, Some(client))?;
    let request = format!("GET /{serial} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    download.write_all(request.as_bytes()).during("cannot ask")?;
    let mut upload = End::open(route, Some(client))?;
    let mut request = format!(
        "PUT /{serial} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {PAYLOAD_BYTES}\r\n\r\n"
    )
    .into_bytes();
    request.resize(request.len() + PAYLOAD_BYTES, b'x');
    upload.write_all(&request).during("cannot send")?;
    let mut answer = Vec::new();
    download.read_to_end(&mut answer).during("cannot receive")?;
    // Closed, as most programs do then: the uploader is answered once all is acknowledged, and the
    // system of who stays connected takes milliseconds over that.
    drop(download);
    upload.read_to_end(&mut Vec::new()).during("cannot hear the answer")?;
    if answer.ends_with(&vec![b'x'; PAYLOAD_BYTES]) {
        Ok(())
    } else {
        Err(Failure::new("a payload is not what was sent".to_owned()))
    }
}
