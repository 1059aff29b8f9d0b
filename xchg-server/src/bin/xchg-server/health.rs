//! `xchg-server health`: whether a server is well, as an exit status.

use std::process::ExitCode;

use clap::Args;

use crate::ask::{How, Place};
use crate::log;

/// Say whether a server is well: exit status 0 or 1, and a line that says why
///
/// For the health checks of containers, which need no other program for it, and for scripts. It
/// asks for /healthz unless the URL has another path, such as /readyz; at the port of peers, where
/// /healthz says whether newcomers are served, or at an admin listener, where it says whether all
/// workers turn.
#[derive(Debug, Args)]
pub(crate) struct Health {
    /// http://HOST[:PORT][/PATH], the same with https://, ADDR:PORT or unix:PATH
    #[arg(value_name = "URL")]
    place: Place,

    #[command(flatten)]
    how: How,
}

impl Health {
    /// Asks, and tells.
    pub(crate) fn run(&self) -> ExitCode {
        let answer = self.how.at(&self.place).and_then(|asker| asker.ask("/healthz"));
        let (is_well, line) = match answer {
            Ok(answer) => {
                let (place, status) = (self.place.as_str(), answer.status);
                let said = answer.body.lines().next().unwrap_or_default().escape_debug();
                (status == 200, format!("{place} answers {status}: {said}"))
            }
            Err(why) => (false, why),
        };
        if is_well {
            drop(crate::say(&[line]))
        } else {
            log::say(&format!("xchg-server: {line}"))
        }
        if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
