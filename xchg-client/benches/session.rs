//! How fast sessions are: one big file, and many small ones, over loopback TCP, both peers in this
//! process.
//!
//! `cargo bench -p xchg-client --bench session [-- DIRECTORY]`; the directory is `/dev/shm` by
//! default, so that no disk is measured. Both peers share this machine's cores; on two machines
//! either has its own. Run without `--bench`, as `cargo test --benches` does, little is sent once,
//! to show that it works.

#![expect(clippy::print_stdout, reason = "reporting is this program's job")]
#![expect(clippy::cast_precision_loss, reason = "three digits are shown")]

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use xchg_client::files::{Destination, Outgoing, PlaceOptions, WalkOptions};
use xchg_client::sealed::{SealedStream, download, upload};
use xchg_client::session::Secret;
use xchg_client::{Cancel, Side};

const SMALL_BYTES: usize = 4096;
const MIB: usize = 1 << 20;

/// How much is sent, and how often.
struct Load {
    runs: usize,
    big_mib: usize,
    small_files: usize,
}

fn main() -> io::Result<()> {
    let (options, directories): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with('-'));
    let load = if options.iter().any(|option| option == "--bench") {
        Load { runs: 5, big_mib: 2048, small_files: 10_000 }
    } else {
        Load { runs: 1, big_mib: 4, small_files: 100 }
    };
    let directory = directories.first().map_or("/dev/shm", String::as_str);
    let temp = tempfile::tempdir_in(directory)?;

    let big = temp.path().join("big");
    write_big(&big, load.big_mib)?;
    load.report("one file, GiB/s", &big, load.big_mib as f64 / 1024.0)?;
    fs::remove_file(&big)?;

    let small = temp.path().join("small");
    write_small(&small, load.small_files)?;
    load.report("files of 4 KiB a second", &small, load.small_files as f64)
}

impl Load {
    /// Prints how fast `path`, which counts for `amount`, is transferred, once for each run.
    fn report(&self, what: &str, path: &Path, amount: f64) -> io::Result<()> {
        let arrived = path.with_extension("arrived");
        let mut rates = String::new();
        for _ in 0..self.runs {
            fs::create_dir(&arrived)?;
            let time = transfer(path, &arrived)?;
            fs::remove_dir_all(&arrived)?;
            rates += &format!(" {:.2}", amount / time.as_secs_f64());
        }
        println!("{what}:{rates}");
        Ok(())
    }
}

fn write_big(path: &Path, mib: usize) -> io::Result<()> {
    let mut piece = vec![0; MIB];
    blake3::Hasher::new().finalize_xof().fill(&mut piece);
    let mut file = File::create(path)?;
    (0..mib).try_for_each(|_| file.write_all(&piece))
}

fn write_small(directory: &Path, files: usize) -> io::Result<()> {
    fs::create_dir(directory)?;
    for number in 0..files {
        let content = [number.to_string().into_bytes(), vec![7; SMALL_BYTES]].concat();
        fs::write(directory.join(number.to_string()), &content[..SMALL_BYTES])?;
    }
    Ok(())
}

fn transfer(what: &Path, to: &Path) -> io::Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let (theirs, _) = listener.accept()?;
    let start = Instant::now();
    thread::scope(|scope| {
        let uploader = scope.spawn(|| {
            let session = establish(&ours, Side::Upload);
            let outgoing = Outgoing::collect(&[what], WalkOptions::default());
            let mut outgoing = outgoing.expect("it was just written");
            upload(session, &mut outgoing, &mut (), &Cancel::new().expect("descriptors are left"))
                .expect("the downloader takes it")
        });
        let session = establish(&theirs, Side::Download);
        download(
            session,
            Destination::Directory(to.into()),
            PlaceOptions::default(),
            &mut (),
            &Cancel::new().expect("descriptors are left"),
        )
        .expect("the uploader sends it");
        uploader.join().expect("it does not panic");
    });
    Ok(start.elapsed())
}

fn establish(stream: &TcpStream, side: Side) -> SealedStream<&TcpStream, &TcpStream> {
    stream.set_nodelay(true).expect("the socket is open");
    let ends = stream.try_clone().expect("descriptors are left");
    // It may have been shut down already.
    let abort = move || drop(ends.shutdown(Shutdown::Both));
    SealedStream::establish(stream, stream, abort, side, b"bench", &Secret::new("bench"))
        .expect("both know the secret")
}
