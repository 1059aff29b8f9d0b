//! Buffers and pipes that all flows of a thread use in turn.

#[cfg(target_os = "linux")]
use super::pipe::Pipes;

/// Idle pipes kept by a thread: with more flows than that blocked at once, making pipes is not what
/// costs.
#[cfg(target_os = "linux")]
const IDLE_PIPES: usize = 64;

/// What the pumps of one thread share: they hold bytes of their own only while a sink is blocked.
#[derive(Debug)]
pub struct Resources {
    pub(super) scratch: Box<[u8]>,
    #[cfg(target_os = "linux")]
    pub(super) pipes: Pipes,
}

impl Resources {
    /// A buffer of `scratch_bytes` for reads, and pipes of up to `pipe_bytes` each for zero copy
    /// (none if 0).
    pub fn new(scratch_bytes: usize, pipe_bytes: usize) -> Self {
        #[cfg(not(target_os = "linux"))]
        let _ = pipe_bytes;
        Self {
            scratch: vec![0; scratch_bytes].into(),
            #[cfg(target_os = "linux")]
            pipes: Pipes::new(pipe_bytes, IDLE_PIPES),
        }
    }

    /// Has no more than `most` pipes made at a time, each of which is two descriptors. What finds
    /// none is copied.
    pub fn limit_pipes(&mut self, most: usize) {
        #[cfg(target_os = "linux")]
        self.pipes.limit(most);
        #[cfg(not(target_os = "linux"))]
        let _ = most;
    }

    /// How many pipes there are, with those in use. None where there is no zero copy.
    pub fn pipes(&self) -> usize {
        #[cfg(target_os = "linux")]
        return self.pipes.open_now();
        #[cfg(not(target_os = "linux"))]
        0
    }

    /// The buffer that reads go through, for callers' own reads between turns.
    pub fn scratch(&mut self) -> &mut [u8] {
        &mut self.scratch
    }
}
