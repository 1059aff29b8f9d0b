//! Why the benchmark cannot go on, in words for the person who runs it.

use std::error::Error;
use std::fmt::Display;
use std::iter;

/// What failed, with its cause; the benchmark then stops and no number of the failed case is
/// printed.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Failure {
    what: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), source: None }
    }

    /// What failed and its causes, on one line.
    pub(crate) fn chain(&self) -> String {
        let causes = iter::successors(Some(self as &dyn Error), |&error| error.source());
        causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }
}

/// Says what was being done when an error came.
pub(crate) trait During<T> {
    fn during(self, what: impl Display) -> Result<T>;
}

impl<T, E: Error + Send + Sync + 'static> During<T> for Result<T, E> {
    fn during(self, what: impl Display) -> Result<T> {
        self.map_err(|error| Failure { what: what.to_string(), source: Some(error.into()) })
    }
}
