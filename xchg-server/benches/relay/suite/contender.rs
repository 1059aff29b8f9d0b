//! One candidate in the course of a case: its server, its samples, or why it is out.

use super::candidate::{Candidate, Conditions, Running};
use super::failure::{During, Failure, Result};
use super::report::Sample;

/// One measurement of one candidate.
pub(crate) type Round<'a> = dyn Fn(&Running) -> Result<Sample> + 'a;

/// A candidate in the course of a case.
pub(crate) struct Contender<'a> {
    pub(crate) candidate: &'a Candidate,
    running: Option<Running>,
    samples: Vec<Sample>,
    failure: Option<Failure>,
}

impl<'a> Contender<'a> {
    pub(crate) fn new(candidate: &'a Candidate) -> Self {
        Self { candidate, running: None, samples: Vec::new(), failure: None }
    }

    /// Adds a sample, unless the candidate has failed or does now.
    pub(crate) fn play(&mut self, conditions: &Conditions, warm_up: Option<&Round>, round: &Round) {
        if self.failure.is_none() {
            match self.sample(conditions, warm_up, round) {
                Ok(sample) => self.samples.push(sample),
                Err(failure) => {
                    self.failure = Some(failure);
                    // What is wrong with it shall not disturb the others.
                    self.running = None;
                }
            }
        }
    }

    fn sample(
        &mut self,
        conditions: &Conditions,
        warm_up: Option<&Round>,
        round: &Round,
    ) -> Result<Sample> {
        let Some(warm_up) = warm_up else {
            let running = self.candidate.start(conditions)?;
            let sample = round(&running)?;
            return running.stop().map(|()| sample);
        };
        if let Some(running) = &self.running {
            return round(running);
        }
        let running = self.candidate.start(conditions)?;
        warm_up(&running).during("warming up")?;
        round(self.running.insert(running))
    }

    /// All samples, once the server has ended well; or why there are not enough.
    pub(crate) fn finish(self) -> Result<Vec<Sample>> {
        match self.failure {
            Some(failure) => Err(failure),
            None => self.running.map_or(Ok(()), Running::stop).map(|()| self.samples),
        }
    }
}
