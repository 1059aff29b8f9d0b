//! A thread that is held up.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{Process, eventually};

/// strace, which holds up a thread in each `epoll_wait` until it is dropped.
pub(crate) struct Brake(Child);

impl Brake {
    pub(crate) fn on(server: &Process, thread: &str) -> Self {
        let mut task = None;
        // It gives itself its name.
        eventually("the thread is there", || {
            let tasks = std::fs::read_dir(server.proc("task")).unwrap();
            let mut paths = tasks.map(|task| task.unwrap().path());
            let name = |path: &Path| std::fs::read_to_string(path.join("comm")).unwrap();
            task = paths.find(|path| name(path).trim_end() == thread);
            task.is_some()
        });
        let strace = Command::new("strace")
            .args(["-qq", "-e", "trace=epoll_wait", "-e", "inject=epoll_wait:delay_enter=60s"])
            .arg("-p")
            .arg(task.unwrap().file_name().unwrap())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(strace)
    }
}

impl Drop for Brake {
    fn drop(&mut self) {
        kill_process(Pid::from_child(&self.0), Signal::KILL).ok();
        self.0.wait().ok();
    }
}
