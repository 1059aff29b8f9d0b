//! Groups of sinks that take what a script says, under a pump.

use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{Pump, Resources, Socket, Turned, Why};
use super::*;

const SCRATCH: usize = 4096;
const PIPE: usize = 65_536;

/// What a sink does when it is called.
#[derive(Debug, Clone, Copy)]
enum Does {
    /// Takes so many bytes, if there are as many.
    Take(usize),
    Block,
    Fail,
    /// Takes nothing out of a pipe; is as `Block` to what is written.
    Refuse,
}

/// Takes what its script says, and all there is once that is over.
#[derive(Debug, Default)]
struct Scripted {
    script: VecDeque<Does>,
    copies: bool,
    got: Vec<u8>,
    spliced: usize,
    has_ended: bool,
    says: VecDeque<io::Result<usize>>,
}

impl Scripted {
    fn new(script: &[Does]) -> Self {
        Self { script: script.iter().copied().collect(), ..Self::default() }
    }

    fn takes(&mut self, most: usize) -> io::Result<usize> {
        assert!(!self.has_ended, "nothing follows the end");
        match self.script.pop_front().unwrap_or(Does::Take(usize::MAX)) {
            Does::Take(n) => Ok(n.min(most)),
            Does::Block | Does::Refuse => Err(ErrorKind::WouldBlock.into()),
            Does::Fail => Err(ErrorKind::ConnectionReset.into()),
        }
    }
}

impl Sink for Scripted {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.takes(buf.len())?;
        self.got.extend_from_slice(&buf[..n]);
        Ok(n)
    }

    fn half_close(&mut self) -> io::Result<()> {
        self.takes(0)?;
        self.has_ended = true;
        Ok(())
    }

    fn splices(&self) -> bool {
        !self.copies
    }

    fn splice_from(&mut self, pipe: &Pipe, len: usize) -> io::Result<usize> {
        if let Some(Does::Refuse) = self.script.front() {
            return Err(ErrorKind::Unsupported.into());
        }
        let n = self.takes(len)?;
        self.got.extend(pipe.take(n)?);
        self.spliced += n;
        Ok(n)
    }
}

impl Source for Scripted {
    fn read(&mut self, _buf: &mut [u8]) -> io::Result<usize> {
        self.says.pop_front().unwrap_or(Err(ErrorKind::WouldBlock.into()))
    }
}

fn noise(len: usize) -> Vec<u8> {
    (0..251).cycle().step_by(31).take(len).collect()
}

/// What came of a payload that was pumped to a group.
struct Pumped {
    /// Who received it, and who was lost.
    here: Vec<Scripted>,
    lost: Vec<Scripted>,
    moved: usize,
}

impl Pumped {
    fn spliced(&self) -> Vec<usize> {
        self.here.iter().map(|sink| sink.spliced).collect()
    }
}

/// Pumps `bytes` to sinks until they have ended or nobody is left, with `budget` bytes a turn.
fn pump(bytes: &[u8], mut sinks: Vec<Scripted>, resources: &mut Resources, budget: u64) -> Pumped {
    let (mut uploader, source) = UnixStream::pair().unwrap();
    uploader.set_nonblocking(true).unwrap();
    source.set_nonblocking(true).unwrap();
    let (mut source, mut unsaid, mut uploader) = (Socket(source), bytes, Some(&mut uploader));
    let mut pump = Pump::new(Vec::new(), &[]);
    let mut group = Group::new(sinks.len());
    let (mut lost, mut moved) = (Vec::new(), 0);
    loop {
        if let Some(stream) = &mut uploader {
            unsaid = &unsaid[stream.write(unsaid).unwrap_or(0)..];
            if unsaid.is_empty() {
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                uploader = None;
            }
        }
        let Turned { moved: more, why } =
            pump.turn(&mut source, &mut group.of(&mut sinks), resources, budget);
        moved += usize::try_from(more).unwrap();
        while let Some((at, error)) = group.take_lost() {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            lost.push(sinks.remove(at));
        }
        match why {
            Why::Ended => break,
            Why::SinkFailed(_) => {
                assert!(sinks.is_empty(), "a group fails when nobody is left");
                break;
            }
            Why::SourceFailed(error) => panic!("{error}"),
            Why::SinkBlocked => {
                assert!((0..sinks.len()).any(|at| group.is_blocked(at)));
            }
            Why::SourceBlocked | Why::Spent => {}
        }
    }
    Pumped { here: sinks, lost, moved }
}

fn does() -> impl Strategy<Value = Does> {
    prop_oneof![
        30 => (1..30_000usize).prop_map(Does::Take),
        30 => Just(Does::Block),
        1 => Just(Does::Fail),
        1 => Just(Does::Refuse),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whoever_is_not_lost_gets_every_byte_once_and_then_the_end(
        scripts in vec(vec(does(), 0..60), 1..6),
        len in prop_oneof![0..10usize, 0..400_000usize],
        pipe in prop::sample::select(vec![0, 4096, PIPE]),
        budget in 1..200_000u64,
        copies in any::<bool>(),
    ) {
        let bytes = noise(len);
        let mut sinks: Vec<_> = scripts.iter().map(|script| Scripted::new(script)).collect();
        sinks[0].copies = copies;
        let mut resources = Resources::new(SCRATCH, pipe);
        let pumped = pump(&bytes, sinks, &mut resources, budget);
        for sink in &pumped.here {
            prop_assert!(sink.got == bytes && sink.has_ended);
        }
        for sink in &pumped.lost {
            prop_assert!(bytes.starts_with(&sink.got));
        }
        prop_assert!(pumped.moved == len || pumped.here.is_empty());
        prop_assert!(resources.pipes() <= 1, "those of the members are gone");
    }
}

#[test]
fn much_is_copied_for_nobody() {
    let bytes = noise(1_000_000);
    for count in [1, 2, 5] {
        let sinks = (0..count).map(|_| Scripted::new(&[])).collect();
        let mut resources = Resources::new(SCRATCH, PIPE);
        let pumped = pump(&bytes, sinks, &mut resources, u64::MAX);
        assert!(pumped.here.iter().all(|sink| sink.got == bytes));
        assert_eq!(pumped.spliced(), vec![bytes.len() - SCRATCH; count]);
    }
}

#[test]
fn what_the_kernel_refuses_one_is_copied_for_all_from_the_next_block_on() {
    let bytes = noise(1_000_000);
    // Of the first block one takes a part, and then nothing more of a pipe.
    let odd = [Does::Take(SCRATCH), Does::Take(100), Does::Refuse, Does::Block, Does::Take(5)];
    let sinks = vec![Scripted::new(&[]), Scripted::new(&odd)];
    let pumped = pump(&bytes, sinks, &mut Resources::new(SCRATCH, PIPE), u64::MAX);
    assert!(pumped.here.iter().all(|sink| sink.got == bytes));
    let spliced = pumped.spliced();
    assert!(spliced[1] == 100 && (100..=PIPE).contains(&spliced[0]), "{spliced:?}");
}

#[test]
fn what_a_lost_member_leaves_in_the_pipe_of_a_block_reaches_nobody() {
    let bytes = noise(1_000_000);
    for at in 0..3 {
        let mut sinks: Vec<_> = (0..3).map(|_| Scripted::new(&[])).collect();
        sinks[at] = Scripted::new(&[Does::Take(SCRATCH), Does::Take(100), Does::Block, Does::Fail]);
        let mut resources = Resources::new(SCRATCH, PIPE);
        let pumped = pump(&bytes, sinks, &mut resources, u64::MAX);
        assert_eq!((pumped.here.len(), pumped.lost[0].got.len()), (2, SCRATCH + 100));
        assert!(pumped.here.iter().all(|sink| sink.got == bytes));
        assert_eq!(pumped.spliced(), [bytes.len() - SCRATCH; 2]);
    }
}

#[test]
fn without_enough_pipes_everything_is_copied() {
    let bytes = noise(1_000_000);
    for most in 0..4 {
        let sinks = (0..4).map(|_| Scripted::new(&[])).collect();
        let mut resources = Resources::new(SCRATCH, PIPE);
        resources.limit_pipes(most);
        let pumped = pump(&bytes, sinks, &mut resources, u64::MAX);
        assert!(pumped.here.iter().all(|sink| sink.got == bytes && sink.spliced == 0));
    }
}

#[test]
fn the_slowest_sets_the_pace_and_what_others_are_ahead_counts_once_it_is_lost() {
    let mut sinks = [
        Scripted::new(&[Does::Take(10), Does::Block, Does::Fail]),
        Scripted::new(&[Does::Take(30), Does::Block, Does::Block]),
        Scripted::new(&[]),
    ];
    let bytes = noise(100);
    let mut group = Group::new(3);
    assert_eq!(group.of(&mut sinks).write(&bytes).unwrap(), 10);
    assert_eq!([0, 1, 2].map(|at| group.is_blocked(at)), [true, true, false]);
    assert_eq!(group.of(&mut sinks).write(&bytes[10..]).unwrap(), 20, "of those who are left");
    assert_eq!(group.take_lost().map(|(at, _)| at), Some(0));
    assert!(group.take_lost().is_none());
    assert_eq!(group.of(&mut sinks[1..]).write(&bytes[30..]).unwrap(), 70);
    assert_eq!(sinks.map(|sink| sink.got.len()), [10, 100, 100]);
}

#[test]
fn the_end_reaches_each_at_once_and_the_group_when_all_have_it() {
    let mut sinks = [Scripted::new(&[Does::Block]), Scripted::new(&[])];
    let mut group = Group::new(2);
    let told = group.of(&mut sinks).half_close().unwrap_err();
    assert_eq!(told.kind(), ErrorKind::WouldBlock);
    assert_eq!(sinks.each_ref().map(|sink| sink.has_ended), [false, true]);
    group.of(&mut sinks).half_close().unwrap();
    assert!(sinks[0].has_ended);
}

#[test]
fn what_members_say_is_dropped_and_their_ends_end_nothing() {
    let mut sinks = [Scripted::new(&[]), Scripted::new(&[])];
    sinks[0].says = [Ok(7), Err(ErrorKind::Interrupted.into()), Ok(0)].into();
    sinks[1].says = [Ok(9), Ok(0), Err(ErrorKind::BrokenPipe.into())].into();
    let mut group = Group::new(2);
    let mut read =
        |group: &mut Group| group.of(&mut sinks).read(&mut [0; 16]).map_err(|error| error.kind());
    assert_eq!(read(&mut group), Ok(9));
    assert_eq!(read(&mut group), Err(ErrorKind::Interrupted));
    assert_eq!(read(&mut group), Err(ErrorKind::WouldBlock));
    assert_eq!(read(&mut group), Err(ErrorKind::WouldBlock), "nobody is asked behind the end");
    assert!(group.has_left(0) && group.has_left(1) && group.take_lost().is_none());
}

#[test]
fn a_group_whose_members_are_all_lost_fails() {
    let mut sinks = [Scripted::new(&[]), Scripted::new(&[Does::Fail])];
    let mut group = Group::new(2);
    group.fail(0, ErrorKind::TimedOut.into());
    for error in [
        group.of(&mut sinks).write(b"bytes").unwrap_err(),
        group.of(&mut sinks).half_close().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotConnected);
    }
    let lost = std::iter::from_fn(|| group.take_lost()).map(|(at, error)| (at, error.kind()));
    let lost: Vec<_> = lost.collect();
    assert_eq!(lost, [(0, ErrorKind::TimedOut), (0, ErrorKind::ConnectionReset)]);
    assert!(sinks.iter().all(|sink| sink.got.is_empty()));
}
