//! What the system says of this process.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// What the process takes of the system now. `None` where the system does not tell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    pub(crate) descriptors: Option<u64>,
    pub(crate) descriptors_max: Option<u64>,
    pub(crate) memory_bytes: Option<u64>,
    /// Processor time.
    pub(crate) cpu: Duration,
    /// When it began to serve, since 1970.
    pub(crate) started: Duration,
}

static STARTED: OnceLock<Duration> = OnceLock::new();

/// Notes that the process begins to serve, unless it has before. Gives when it did, since 1970.
pub(crate) fn note_start() -> Duration {
    *STARTED.get_or_init(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// How it is now.
pub(crate) fn here() -> Process {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    Process {
        descriptors: descriptors(),
        descriptors_max: getrlimit(Resource::Nofile).current,
        memory_bytes: memory(),
        cpu: cpu.try_into().unwrap_or_default(),
        started: note_start(),
    }
}

/// Linux 6.2 and later give the number as the folder's size; before, it is 0, and they are counted.
fn descriptors() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    match std::fs::metadata(FOLDER).ok()?.len() {
        0 => Some(std::fs::read_dir(FOLDER).ok()?.count() as u64),
        open => Some(open),
    }
}

/// Its second number is the pages in memory (`proc_pid_statm(5)`).
fn memory() -> Option<u64> {
    let sizes = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = sizes.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_measured() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let (before, mut held) = (here(), vec![file]);
        // Other tests open and close some at the same time.
        held.extend((0..1000).map(|_| std::fs::File::open("/dev/null").unwrap()));
        let after = here();
        assert!(after.descriptors.unwrap() > before.descriptors.unwrap() + 500);
        assert!(after.descriptors_max.unwrap() >= after.descriptors.unwrap());
        assert!((1 << 20..1 << 40).contains(&after.memory_bytes.unwrap()), "{after:?}");
        assert!(after.cpu >= before.cpu && after.started == before.started);
    }
}
