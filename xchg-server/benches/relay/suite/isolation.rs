//! The conditions of the measurement: network namespace, congestion control, descriptors.
//!
//! With BBR, many distributions' default, loopback relays lose half their speed to its pacing. The
//! benchmark therefore starts itself anew in a network namespace of its own, where it may choose
//! Reno for every candidate alike. Where that is not allowed it says so, and sets Reno on its own
//! sockets.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::{env, fs};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::failure::{During, Failure, Result};

const CONGESTION_CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// Descriptors that the benchmark and each server may open: 10,000 waiting peers and 64 streams,
/// with room.
const DESCRIPTORS: u64 = 65_536;

/// Replaces this process by itself in a new network namespace, if it may make one; else returns.
pub(crate) fn enter() -> Result<()> {
    let may = |program: &str, arguments: &[&str]| {
        let status = Command::new(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    };
    if !rustix::process::geteuid().is_root()
        || !may("unshare", &["--net", "true"])
        || !may("ip", &["-V"])
    {
        return Ok(());
    }
    let itself = env::current_exe().during("cannot find this benchmark's own program")?;
    let error = Command::new("unshare")
        .arg("--net")
        .arg(itself)
        .args(env::args_os().skip(1))
        .arg("--isolated")
        .exec();
    Err(error).during("cannot start `unshare --net`")
}

/// Makes the new namespace usable: loopback up, Reno, and enough ports for tens of thousands of
/// connections a second.
pub(crate) fn furnish() -> Result<()> {
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    if !up.during("cannot start `ip`")?.success() {
        return Err(Failure::new(
            "`ip link set lo up` failed in the benchmark's network namespace",
        ));
    }
    let settings = [
        (CONGESTION_CONTROL, "reno"),
        ("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535"),
        // Each exchange leaves connections in TIME_WAIT. Beyond this count the kernel drops them
        // early, which would change the conditions between the first round and the last.
        ("/proc/sys/net/ipv4/tcp_max_tw_buckets", "4000000"),
    ];
    for (path, value) in settings {
        fs::write(path, value).during(format_args!("cannot set {path} to {value}"))?;
    }
    Ok(())
}

/// The congestion control that sockets get here by default.
pub(crate) fn congestion_control() -> String {
    fs::read_to_string(CONGESTION_CONTROL)
        .map_or_else(|_| "unknown".into(), |name| name.trim().to_owned())
}

/// Lets this process and the servers that it starts open many descriptors; gives the limit that now
/// holds.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: Some(DESCRIPTORS.max(now.current.unwrap_or(u64::MAX))),
        maximum: Some(DESCRIPTORS.max(now.maximum.unwrap_or(u64::MAX))),
    };
    let allowed = Rlimit { current: now.maximum, ..now };
    if setrlimit(Resource::Nofile, raised).is_err() && setrlimit(Resource::Nofile, allowed).is_err()
    {
        return now.current.unwrap_or(u64::MAX);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
