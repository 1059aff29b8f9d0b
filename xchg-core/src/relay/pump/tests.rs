//! Pumps between real sockets, step by step on one thread, and between scripted connections.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::sockopt::set_socket_linger;

use super::super::Socket;
use super::*;
use crate::{Side, Sides};

type End = Socket<OwnedFd>;

const SCRATCH: usize = 4096;
const PIPE: usize = 65_536;

/// Both ends of a connection: the peer's, and the one that is relayed.
type Connection = fn() -> (End, End);

const CONNECTIONS: [Connection; 2] = [unix, tcp];

fn unix() -> (End, End) {
    let (peer, end) = UnixStream::pair().unwrap();
    peer.set_nonblocking(true).unwrap();
    end.set_nonblocking(true).unwrap();
    (Socket(peer.into()), Socket(end.into()))
}

#[expect(clippy::disallowed_types, reason = "tests bring the sockets along")]
fn tcp() -> (End, End) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (end, _) = listener.accept().unwrap();
    peer.set_nonblocking(true).unwrap();
    end.set_nonblocking(true).unwrap();
    (Socket(peer.into()), Socket(end.into()))
}

fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2) | 1;
    let mut next = || {
        state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

/// What one peer still has to say, and has heard.
struct Peer {
    conn: End,
    unsaid: VecDeque<u8>,
    has_half_closed: bool,
    heard: Vec<u8>,
    has_heard_all: bool,
}

impl Peer {
    fn new(conn: End, says: &[u8]) -> Self {
        let unsaid = says.iter().copied().collect();
        Self { conn, unsaid, has_half_closed: false, heard: Vec::new(), has_heard_all: false }
    }

    fn say(&mut self, most: usize) {
        let bytes = self.unsaid.make_contiguous();
        if bytes.is_empty() {
            if !self.has_half_closed {
                Sink::half_close(&mut self.conn).unwrap();
                self.has_half_closed = true;
            }
            return;
        }
        let most = most.min(bytes.len());
        let said = unless_blocked(Sink::write(&mut self.conn, &bytes[..most])).unwrap_or(0);
        self.unsaid.drain(..said);
    }

    fn hear(&mut self, most: usize) {
        let mut buf = vec![0; most];
        match unless_blocked(Source::read(&mut self.conn, &mut buf)) {
            Some(0) => self.has_heard_all = true,
            Some(n) => self.heard.extend_from_slice(&buf[..n]),
            None => {}
        }
    }
}

fn unless_blocked(result: io::Result<usize>) -> Option<usize> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        result => Some(result.unwrap()),
    }
}

/// Two peers, and the two pumps between them.
struct Exchange {
    peers: Sides<Peer>,
    ends: Sides<End>,
    /// By the side that they read from.
    pumps: Sides<Pump>,
    moved: Sides<u64>,
    resources: Resources,
}

impl Exchange {
    fn new(connections: Sides<Connection>, says: Sides<&[u8]>, pumps: Sides<Pump>) -> Self {
        let (uploader, upload) = (connections.upload)();
        let (downloader, download) = (connections.download)();
        Self {
            peers: Sides {
                upload: Peer::new(uploader, says.upload),
                download: Peer::new(downloader, says.download),
            },
            ends: Sides { upload, download },
            pumps,
            moved: Sides::default(),
            resources: Resources::new(SCRATCH, PIPE),
        }
    }

    fn step(&mut self, actor: u8, side: Side, size: usize) {
        match actor {
            0 => self.peers[side].say(size),
            1 => self.peers[side].hear(size),
            _ => {
                let (mut source, mut sink) =
                    (Socket(&self.ends[side].0), Socket(&self.ends[!side].0));
                let pump = &mut self.pumps[side];
                let turned = pump.turn(&mut source, &mut sink, &mut self.resources, size as u64);
                self.moved[side] += turned.moved;
                let failed = matches!(turned.why, Why::SourceFailed(_) | Why::SinkFailed(_));
                assert!(!failed, "{turned:?}");
            }
        }
    }

    fn run_to_the_end(&mut self) {
        while !Side::BOTH.iter().all(|&side| self.peers[side].has_heard_all) {
            for side in Side::BOTH {
                (0..3).for_each(|actor| self.step(actor, side, 50_000));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn bytes_of_both_ways_arrive_whatever_the_order_of_steps(
        connections in (prop::sample::select(&CONNECTIONS), prop::sample::select(&CONNECTIONS)),
        lens in (0..400_000usize, prop_oneof![0..10usize, 0..400_000usize]),
        words in (vec(any::<u8>(), 0..30), vec(any::<u8>(), 0..30)),
        early in vec(any::<u8>(), 0..10_000),
        steps in vec((0..3u8, prop::sample::select(&Side::BOTH), 1..100_000usize), 0..200),
    ) {
        let (up, down) = (noise(lens.0, 1), noise(lens.1, 2));
        let pumps = Sides { upload: Pump::new(words.0.clone(), &early), download: Pump::new(words.1.clone(), &[]) };
        let connections = Sides { upload: connections.0, download: connections.1 };
        let mut exchange = Exchange::new(connections, Sides { upload: &up, download: &down }, pumps);
        for (actor, side, size) in steps {
            exchange.step(actor, side, size);
        }
        exchange.run_to_the_end();
        prop_assert!(exchange.peers.download.heard == [words.0, early.clone(), up].concat());
        prop_assert!(exchange.peers.upload.heard == [words.1, down].concat());
        prop_assert_eq!(exchange.moved.upload, (early.len() + lens.0) as u64);
        prop_assert_eq!(exchange.moved.download, lens.1 as u64);
        for side in Side::BOTH {
            prop_assert!(exchange.pumps[side].has_ended() && !exchange.pumps[side].is_holding());
        }
    }
}

/// A socket that counts what passes through user space.
struct Counted {
    socket: End,
    copied: usize,
    splices: Splices,
}

enum Splices {
    Well,
    Never,
    /// By a descriptor of which the kernel splices nothing.
    Badly(OwnedFd),
    /// So many bytes more.
    Some(usize),
}

impl Counted {
    fn new(socket: End) -> Self {
        Self { socket, copied: 0, splices: Splices::Well }
    }
}

impl Source for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Source::read(&mut self.socket, buf).inspect(|n| self.copied += n)
    }

    fn splice_to(&mut self, pipe: &Pipe, most: usize) -> io::Result<usize> {
        match &mut self.splices {
            Splices::Well => self.socket.splice_to(pipe, most),
            Splices::Never => Err(ErrorKind::Unsupported.into()),
            Splices::Badly(fd) => Socket(fd).splice_to(pipe, most),
            Splices::Some(0) => Ok(0),
            Splices::Some(left) => {
                self.socket.splice_to(pipe, most.min(*left)).inspect(|n| *left -= n)
            }
        }
    }
}

impl Sink for Counted {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Sink::write(&mut self.socket, buf).inspect(|n| self.copied += n)
    }

    fn half_close(&mut self) -> io::Result<()> {
        Sink::half_close(&mut self.socket)
    }

    fn splices(&self) -> bool {
        !matches!(self.splices, Splices::Never)
    }

    fn splice_from(&mut self, pipe: &Pipe, len: usize) -> io::Result<usize> {
        match &mut self.splices {
            Splices::Badly(fd) => Socket(fd).splice_from(pipe, len),
            _ => self.socket.splice_from(pipe, len),
        }
    }
}

/// Pumps `bytes` from one peer to another, through what `odd` makes of the source and the sink;
/// gives the bytes that passed through user space.
fn copied_of(
    bytes: &[u8],
    connection: Connection,
    resources: &mut Resources,
    odd: impl FnOnce(&mut Counted, &mut Counted),
) -> usize {
    let ((uploader, upload), (downloader, download)) = (connection(), connection());
    let (mut uploader, mut downloader) = (Peer::new(uploader, bytes), Peer::new(downloader, &[]));
    let (mut source, mut sink) = (Counted::new(upload), Counted::new(download));
    odd(&mut source, &mut sink);
    let (mut pump, mut moved) = (Pump::new(Vec::new(), &[]), 0);
    while !downloader.has_heard_all {
        uploader.say(200_000);
        let turned = pump.turn(&mut source, &mut sink, resources, u64::MAX);
        moved += turned.moved;
        let goes_on = matches!(turned.why, Why::SourceBlocked | Why::SinkBlocked | Why::Ended);
        assert!(goes_on, "{turned:?}");
        downloader.hear(150_000);
    }
    assert!(downloader.heard == bytes);
    assert_eq!(moved, bytes.len() as u64);
    // A block may have been spliced out of the source, and be refused by the sink.
    assert!(source.copied <= sink.copied);
    sink.copied
}

#[test]
fn megabytes_bypass_user_space_and_leave_one_empty_pipe() {
    for connection in CONNECTIONS {
        let mut resources = Resources::new(SCRATCH, PIPE);
        let bytes = noise(8_000_000, 3);
        for _ in 0..2 {
            let copied = copied_of(&bytes, connection, &mut resources, |_, _| {});
            assert_eq!(copied, SCRATCH, "one read that filled the buffer");
            assert_eq!(resources.pipes.idle(), 1, "the second flow used the first one's pipe");
        }
    }
}

#[test]
fn a_small_stream_takes_no_pipe() {
    let mut resources = Resources::new(SCRATCH, PIPE);
    let bytes = noise(SCRATCH - 1, 4);
    assert_eq!(copied_of(&bytes, tcp, &mut resources, |_, _| {}), bytes.len());
    assert_eq!(resources.pipes.idle(), 0);
}

#[test]
fn what_cannot_be_spliced_is_copied() {
    let bytes = noise(1_000_000, 5);
    for connection in CONNECTIONS {
        let copied = |pipe_bytes, odd: fn(&mut Counted, &mut Counted)| {
            copied_of(&bytes, connection, &mut Resources::new(SCRATCH, pipe_bytes), odd)
        };
        assert_eq!(copied(PIPE, |source, _| source.splices = Splices::Never), bytes.len());
        assert_eq!(copied(PIPE, |_, sink| sink.splices = Splices::Never), bytes.len());
        assert_eq!(copied(0, |_, _| {}), bytes.len(), "pipes are switched off");
        let mut resources = Resources::new(SCRATCH, PIPE);
        let refused = copied_of(&bytes, connection, &mut resources, |source, _| {
            source.splices = Splices::Badly(eventfd(0, EventfdFlags::NONBLOCK).unwrap());
        });
        assert_eq!(refused, bytes.len(), "the kernel refused");
        assert_eq!(resources.pipes.idle(), 1, "and was asked once");
        let refused = copied_of(&bytes, connection, &mut resources, |_, sink| {
            sink.splices = Splices::Badly(std::fs::File::open("/dev/null").unwrap().into());
        });
        assert_eq!(refused, bytes.len(), "the kernel refused what was in the pipe");
        assert_eq!(resources.pipes.idle(), 1, "and the pipe is empty");
    }
}

#[test]
fn no_more_is_spliced_than_the_source_allows() {
    let bytes = noise(1_000_000, 5);
    let mut resources = Resources::new(SCRATCH, PIPE);
    let copied = copied_of(&bytes, tcp, &mut resources, |source, _| {
        source.splices = Splices::Some(700_001);
    });
    assert_eq!(copied, 1_000_000 - 700_001);
}

#[test]
fn a_socket_that_ends_before_its_connection_is_a_failure_of_the_source() {
    /// Expects more than its socket gives, as one with a length from its peer does.
    struct Cut(Counted);

    impl Source for Cut {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buf)? {
                0 => Err(ErrorKind::UnexpectedEof.into()),
                n => Ok(n),
            }
        }

        fn splice_to(&mut self, pipe: &Pipe, most: usize) -> io::Result<usize> {
            self.0.splice_to(pipe, most)
        }
    }

    let ((uploader, upload), (_downloader, mut download)) = (unix(), unix());
    let mut uploader = Peer::new(uploader, &noise(2 * SCRATCH, 9));
    uploader.say(2 * SCRATCH);
    uploader.say(0);
    let (mut source, mut resources) = (Cut(Counted::new(upload)), Resources::new(SCRATCH, PIPE));
    let mut pump = Pump::new(Vec::new(), &[]);
    let Turned { moved, why } = pump.turn(&mut source, &mut download, &mut resources, u64::MAX);
    assert!(matches!(why, Why::SourceFailed(_)), "{why:?}");
    assert_eq!((moved, source.0.copied), (2 * SCRATCH as u64, SCRATCH), "it did splice");
}

/// Fills everything between a peer that says a lot and one that does not listen; gives what the
/// pump holds in the end.
fn held_against_a_deaf_peer(pipe_bytes: usize) -> (u64, Resources) {
    let ((uploader, mut upload), (_deaf, mut download)) = (unix(), unix());
    let mut uploader = Peer::new(uploader, &noise(4_000_000, 6));
    let mut resources = Resources::new(SCRATCH, pipe_bytes);
    let mut pump = Pump::new(Vec::new(), &[]);
    let mut turn = |pump: &mut Pump| {
        uploader.say(1_000_000);
        pump.turn(&mut upload, &mut download, &mut resources, u64::MAX).why
    };
    while !matches!(turn(&mut pump), Why::SinkBlocked) {}
    assert!(pump.is_holding());
    let held = pump.flow.held();
    for _ in 0..3 {
        assert!(matches!(turn(&mut pump), Why::SinkBlocked));
        assert_eq!(pump.flow.held(), held, "nothing is read while the sink is blocked");
    }
    (held, resources)
}

#[test]
fn a_blocked_sink_costs_one_read_at_most() {
    let (held, _) = held_against_a_deaf_peer(0);
    assert!(held <= SCRATCH as u64, "{held} bytes");
    let (held, resources) = held_against_a_deaf_peer(PIPE);
    assert!(held <= PIPE as u64, "{held} bytes");
    assert_eq!(resources.pipes.idle(), 0, "a pipe with bytes in it is closed, not kept");
}

#[test]
fn a_budget_ends_a_turn() {
    let ((uploader, mut upload), (_downloader, mut download)) = (unix(), unix());
    Peer::new(uploader, &noise(100_000, 7)).say(100_000);
    let mut resources = Resources::new(SCRATCH, 0);
    let (mut pump, mut moved) = (Pump::new(Vec::new(), b"early"), 0);
    let mut turn = |budget| {
        let turned = pump.turn(&mut upload, &mut download, &mut resources, budget);
        assert!(matches!(turned.why, Why::Spent), "{turned:?}");
        moved += turned.moved;
        moved
    };
    assert_eq!(turn(0), 5, "what is held goes out; nothing is read");
    assert_eq!(turn(0), 5);
    assert_eq!(turn(1), 5 + 1);
    assert_eq!(turn(2 * SCRATCH as u64), 5 + 1 + 2 * SCRATCH as u64);
}

/// Makes the peer's kernel send a reset.
fn reset(peer: End) {
    set_socket_linger(&peer.0, Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_failure_names_the_connection_that_failed() {
    for splices in [false, true] {
        for lost in Side::BOTH {
            let ((uploader, mut upload), (downloader, mut download)) = (tcp(), tcp());
            let mut resources = Resources::new(SCRATCH, if splices { PIPE } else { 0 });
            let mut pump = Pump::new(Vec::new(), &[]);
            let mut turn = || pump.turn(&mut upload, &mut download, &mut resources, u64::MAX).why;
            // One read that fills the buffer, and one by splice if at all.
            let mut talker = Peer::new(uploader, &noise(1_000_000, 8));
            talker.say(2 * SCRATCH);
            let mut listener = Peer::new(downloader, &[]);
            while listener.heard.len() < 2 * SCRATCH {
                assert!(matches!(turn(), Why::SourceBlocked));
                listener.hear(PIPE);
            }
            if lost == Side::Upload {
                reset(talker.conn);
                let failure =
                    std::iter::repeat_with(turn).find(|t| !matches!(t, Why::SourceBlocked));
                assert!(matches!(failure, Some(Why::SourceFailed(_))), "{failure:?}");
            } else {
                reset(listener.conn);
                let turns = std::iter::repeat_with(|| {
                    talker.say(100);
                    turn()
                });
                let failure = turns.into_iter().find(|t| !matches!(t, Why::SourceBlocked));
                assert!(matches!(failure, Some(Why::SinkFailed(_))), "{failure:?}");
            }
            assert_eq!(resources.pipes.idle() == 1, splices && lost == Side::Upload);
        }
    }
}

/// Reads what it is told to, and takes as much of each write as it is told to, then blocks.
#[derive(Default)]
struct Scripted {
    reads: VecDeque<io::Result<Vec<u8>>>,
    takes: VecDeque<io::Result<usize>>,
    taken: Vec<u8>,
    half_closes: VecDeque<io::Result<()>>,
}

impl Scripted {
    fn source(reads: impl IntoIterator<Item = io::Result<Vec<u8>>>) -> Self {
        Self { reads: reads.into_iter().collect(), ..Self::default() }
    }

    fn sink(takes: impl IntoIterator<Item = io::Result<usize>>) -> Self {
        Self { takes: takes.into_iter().collect(), ..Self::default() }
    }
}

impl Source for Scripted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let bytes = self.reads.pop_front().unwrap_or(Err(blocked()))?;
        buf[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

impl Sink for Scripted {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let taken = self.takes.pop_front().unwrap_or(Err(blocked()))?.min(buf.len());
        self.taken.extend_from_slice(&buf[..taken]);
        Ok(taken)
    }

    fn half_close(&mut self) -> io::Result<()> {
        self.half_closes.pop_front().expect("no half-close is due")
    }
}

fn blocked() -> io::Error {
    ErrorKind::WouldBlock.into()
}

fn turn(pump: &mut Pump, source: &mut Scripted, sink: &mut Scripted) -> (Why, u64) {
    let turned = pump.turn(source, sink, &mut Resources::new(SCRATCH, PIPE), u64::MAX);
    (turned.why, turned.moved)
}

#[test]
fn words_go_first_and_count_for_nothing_however_they_are_cut() {
    let mut source = Scripted::source([Ok(b"payload".to_vec())]);
    let mut sink = Scripted::default();
    let mut pump = Pump::new(b"words".to_vec(), b"early");
    let mut sums = 0;
    // Each number of bytes that the sink takes, and how many of them are payload.
    for (takes, counts) in [(3, 0), (4, 2), (1, 1), (2, 2), (3, 3), (4, 4)] {
        sink.takes.push_back(Ok(takes));
        let (turn, moved) = turn(&mut pump, &mut source, &mut sink);
        assert_eq!(moved, counts, "{turn:?}");
        sums += moved;
    }
    assert_eq!(sink.taken, b"wordsearlypayload");
    assert_eq!(sums, 12);
}

#[test]
fn a_discarding_pump_says_more_words_when_told_to() {
    let (mut source, mut sink) = (Scripted::default(), Scripted::sink([Ok(2)]));
    let mut pump = Pump::discarding(b"first ".to_vec());
    assert!(matches!(turn(&mut pump, &mut source, &mut sink), (Why::SinkBlocked, 0)));
    pump.say(b"second ");
    pump.say(b"");
    sink.takes.extend([Ok(100), Ok(100)]);
    assert!(matches!(turn(&mut pump, &mut source, &mut sink), (Why::SourceBlocked, 0)));
    pump.say(b"third");
    assert!(matches!(turn(&mut pump, &mut source, &mut sink), (Why::SourceBlocked, 0)));
    assert_eq!(sink.taken, b"first second third");
    source.reads.extend([Ok(vec![7; 3]), Ok(Vec::new())]);
    assert!(matches!(turn(&mut pump, &mut source, &mut sink), (Why::Ended, 0)));
}

#[test]
fn words_that_were_not_written_can_be_taken_back() {
    let (mut source, mut sink) = (Scripted::default(), Scripted::sink([Ok(2)]));
    let mut pump = Pump::discarding(b"first ".to_vec());
    assert!(matches!(turn(&mut pump, &mut source, &mut sink), (Why::SinkBlocked, 0)));
    pump.say(b"second");
    assert_eq!(pump.unwritten(), b"rst second");
    assert_eq!(pump.unwritten(), b"");
    assert!(matches!(turn(&mut pump, &mut source, &mut sink), (Why::SourceBlocked, 0)));
}

#[test]
fn a_source_may_let_others_go_first() {
    let mut source = Scripted::source([
        Ok(b"one".to_vec()),
        Err(ErrorKind::Interrupted.into()),
        Ok(b"two".to_vec()),
    ]);
    let mut sink = Scripted::sink([Ok(3), Ok(3)]);
    let mut pump = Pump::new(Vec::new(), &[]);
    assert!(matches!(turn(&mut pump, &mut source, &mut sink), (Why::Spent, 3)));
    assert!(matches!(turn(&mut pump, &mut source, &mut sink), (Why::SourceBlocked, 3)));
}

#[test]
fn small_reads_spend_the_budget_too() {
    let mut source = Scripted::source((0..9).map(|_| Ok(vec![7])));
    let mut sink = Scripted::sink((0..9).map(|_| Ok(9)));
    let mut pump = Pump::new(Vec::new(), &[]);
    let mut resources = Resources::new(SCRATCH, PIPE);
    let turned = pump.turn(&mut source, &mut sink, &mut resources, 3 * READ_COST);
    assert!(matches!(turned, Turned { moved: 3, why: Why::Spent }), "{turned:?}");
}

#[test]
fn what_is_there_at_once_leaves_in_one_write() {
    let mut source = Scripted::source([Ok(b"two".to_vec()), Ok(b"three".to_vec())]);
    let mut sink = Scripted::sink([Ok(99)]);
    let mut pump = Pump::new(b"word ".to_vec(), b"one ");
    assert!(matches!(turn(&mut pump, &mut source, &mut sink), (Why::SourceBlocked, 12)));
    assert_eq!(sink.taken, b"word one twothree");
}

#[test]
fn what_is_discarded_is_read_to_its_end_and_the_sink_left_open() {
    let mut source = Scripted::source([Ok(vec![7; SCRATCH]), Ok(vec![7; 9])]);
    let mut sink = Scripted::sink([Ok(2), Ok(100)]);
    let mut pump = Pump::discarding(b"words".to_vec());
    assert!(matches!(turn(&mut pump, &mut source, &mut sink), (Why::SourceBlocked, 0)));
    assert_eq!(sink.taken, b"words");
    source.reads.extend([Ok(vec![7; 1]), Ok(Vec::new())]);
    assert!(matches!(turn(&mut pump, &mut source, &mut sink), (Why::Ended, 0)));
    assert!(pump.has_ended() && !pump.is_holding());
    assert_eq!(sink.taken, b"words");
}

#[test]
fn each_call_that_fails_ends_the_turn_with_its_error() {
    let broken = || io::Error::from(ErrorKind::BrokenPipe);
    let some = || Ok(b"some".to_vec());
    let end = || Ok(Vec::new());
    let cases = [
        (vec![Err(broken())], vec![], None, "SourceFailed", 0),
        (vec![some(), Err(broken())], vec![Ok(4)], None, "SourceFailed", 4),
        (vec![some()], vec![Err(broken())], None, "SinkFailed", 0),
        (vec![some()], vec![Ok(1), Err(broken())], None, "SinkFailed", 1),
        (vec![some()], vec![Ok(1), Ok(0)], None, "SinkFailed", 1),
        (vec![some()], vec![Ok(0), Ok(0)], None, "SinkFailed", 0),
        (vec![some(), end()], vec![Ok(4)], Some(Err(broken())), "SinkFailed", 4),
        (vec![some(), end()], vec![Ok(4)], Some(Err(blocked())), "SinkBlocked", 4),
        (vec![some(), end()], vec![Ok(3), Ok(1)], Some(Ok(())), "Ended", 4),
        (vec![some(), end()], vec![Ok(3)], None, "SinkBlocked", 3),
        (vec![some()], vec![Ok(3), Ok(1)], None, "SourceBlocked", 4),
    ];
    for (n, (reads, takes, half_close, expected, expected_moved)) in cases.into_iter().enumerate() {
        let (mut source, mut sink) = (Scripted::source(reads), Scripted::sink(takes));
        sink.half_closes.extend(half_close);
        let (turn, moved) = turn(&mut Pump::new(Vec::new(), &[]), &mut source, &mut sink);
        assert!(format!("{turn:?}").starts_with(expected), "case {n}: {turn:?}");
        assert_eq!(moved, expected_moved, "case {n}");
    }
}
