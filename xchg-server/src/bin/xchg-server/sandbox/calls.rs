//! System calls, by seccomp(2): those that a running server makes, and no others. What is forbidden
//! fails with `EPERM`, as if the user were not allowed to: a call that was forgotten here, or that
//! a library takes up, costs what it is for and not the server.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

/// What is allowed, by why it is needed. No socket can be made, bound or listened at, no program
/// run, no other process touched.
const CALLS: [&[libc::c_long]; 6] = [PEERS, POLLING, MEMORY, THREADS, FILES, OLD];

const PEERS: &[libc::c_long] = &[
    libc::SYS_accept4,
    libc::SYS_close,
    // Disconnects a unix socket; without `socket` there is nothing else to connect.
    libc::SYS_connect,
    libc::SYS_fcntl,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_ioctl,
    libc::SYS_pipe2,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_splice,
    libc::SYS_tee,
    libc::SYS_write,
    libc::SYS_writev,
];

const POLLING: &[libc::c_long] = &[
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_ppoll,
    libc::SYS_restart_syscall,
];

const MEMORY: &[libc::c_long] = &[
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
];

const THREADS: &[libc::c_long] = &[
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_membarrier,
    libc::SYS_prctl,
    libc::SYS_prlimit64,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    // How one thread stops another's poll; nobody else is reached by it.
    libc::SYS_socketpair,
    // How it aborts.
    libc::SYS_tgkill,
    libc::SYS_tkill,
];

/// For those that landlock leaves.
const FILES: &[libc::c_long] = &[
    libc::SYS_fstat,
    libc::SYS_fsync,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_pread64,
    libc::SYS_readlinkat,
    libc::SYS_renameat2,
    libc::SYS_statx,
    libc::SYS_unlinkat,
];

/// Calls that only older architectures have, by which C libraries do the same things there.
#[cfg(target_arch = "x86_64")]
const OLD: &[libc::c_long] = &[
    libc::SYS_epoll_wait,
    libc::SYS_lstat,
    libc::SYS_open,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(target_arch = "aarch64")]
const OLD: &[libc::c_long] = &[libc::SYS_renameat];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const OLD: &[libc::c_long] = &[];

/// # Errors
/// In words, if the kernel does not confine it.
pub(super) fn confine() -> Result<&'static str, String> {
    let failed = |error: &dyn std::error::Error| format!("not confined: seccomp fails: {error}");
    let architecture = TargetArch::try_from(std::env::consts::ARCH)
        .map_err(|_| format!("not confined: there is no filter for {}", std::env::consts::ARCH))?;
    let allowed = CALLS.iter().copied().flatten().map(|call| (*call, Vec::new()));
    let allowed: BTreeMap<_, _> = allowed.collect();
    let forbid = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(allowed, forbid, SeccompAction::Allow, architecture);
    let program: BpfProgram =
        filter.and_then(SeccompFilter::try_into).map_err(|error| failed(&error))?;
    apply_filter(&program).map_err(|error| failed(&error))?;
    Ok("confined")
}
