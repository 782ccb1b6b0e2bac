//! Leaves alone whoever does not answer: what will not come costs its timeout a few times, and not for every post.

use runtime::planted::planted;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::Deadline;

/// Failures in a row after which nobody is asked for a while.
const MOST_FAILURES: u32 = 5;
/// The first while.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest: each time that asking again fails, the next is twice as long.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A circuit breaker: closed while all is well, open after some failures in a row, and then open but for one try after each
/// pause. One for each environment: what an environment has not seen itself it does not know.
#[derive(Debug)]
pub struct Breaker {
    most_failures: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    until: Deadline,
    pause: Duration,
    trying: bool,
}

/// Somebody may be asked. What came of it is to be told; where it is not, as when an invocation ends in the middle, the next may try.
#[derive(Debug)]
pub struct Permit<'a> {
    breaker: &'a Breaker,
    trial: bool,
}

impl Default for Breaker {
    fn default() -> Self {
        Self::after(MOST_FAILURES)
    }
}

impl Breaker {
    /// A breaker that opens after so many failures in a row.
    #[must_use]
    pub fn after(most_failures: u32) -> Self {
        Self { most_failures, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody may be asked at `now`.
    pub fn permit(&self, now: Deadline) -> Option<Permit<'_>> {
        let trial = match &mut self.state().open {
            None => false,
            Some(open) if !open.trying && now >= open.until && !planted("breaker-never-closes") => {
                open.trying = true;
                true
            }
            Some(_) if planted("breaker-ignored") => false,
            Some(_) => return None,
        };
        Some(Permit { breaker: self, trial })
    }

    /// Whether nobody is asked.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state().open.is_some()
    }

    /// The pause that an open breaker is in, and what is left of it at `now`.
    pub fn pause(&self, now: Deadline) -> Option<(Duration, Duration)> {
        self.state().open.map(|open| (open.pause, open.until.saturating_duration_since(now)))
    }
}

impl Permit<'_> {
    /// Whether this is the one try after a pause.
    #[must_use]
    pub fn is_trial(&self) -> bool {
        self.trial
    }

    /// What came of asking.
    pub fn tell(mut self, answered: bool, now: Deadline) {
        let trial = std::mem::take(&mut self.trial);
        let state = &mut *self.breaker.state();
        if answered {
            *state = State::default();
            return;
        }
        state.failures = state.failures.saturating_add(1);
        match &mut state.open {
            Some(open) if trial => {
                let pause = (open.pause * 2).min(LONGEST_PAUSE);
                *open = Open { until: now + pause, pause, trying: false };
            }
            // Of those that were asked before it opened nothing new is learned.
            Some(_) => {}
            None if state.failures >= self.breaker.most_failures => {
                state.open = Some(Open { until: now + FIRST_PAUSE, pause: FIRST_PAUSE, trying: false });
            }
            None => {}
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(open) = self.breaker.state().open.as_mut().filter(|_| self.trial) {
            open.trying = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Deadline, milliseconds: u64) -> Deadline {
        start + Duration::from_millis(milliseconds)
    }

    fn tell(breaker: &Breaker, answered: bool, at: Deadline) {
        breaker.permit(at).unwrap().tell(answered, at);
    }

    fn opened(start: Deadline) -> Breaker {
        let breaker = Breaker::default();
        for _ in 0..MOST_FAILURES {
            tell(&breaker, false, start);
        }
        breaker
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_not_before() {
        let start = Deadline::now();
        let breaker = Breaker::default();
        for _ in 0..20 {
            for _ in 1..MOST_FAILURES {
                tell(&breaker, false, start);
            }
            tell(&breaker, true, start);
        }
        assert!(!breaker.is_open());
        assert!(opened(start).is_open());
        assert!(opened(start).permit(after(start, 4_999)).is_none());
        let once = Breaker::after(1);
        tell(&once, false, start);
        assert!(once.is_open());
    }

    #[test]
    fn after_a_pause_one_is_asked_and_an_answer_closes_it() {
        let start = Deadline::now();
        let breaker = opened(start);
        let permit = breaker.permit(after(start, 5_000)).unwrap();
        assert!(permit.is_trial());
        assert!(breaker.permit(after(start, 5_001)).is_none(), "one at a time");
        permit.tell(true, after(start, 5_100));
        assert!(!breaker.is_open());
        assert!(breaker.permit(after(start, 5_101)).is_some_and(|permit| !permit.is_trial()));
    }

    #[test]
    fn pauses_grow_to_a_minute() {
        let start = Deadline::now();
        let breaker = opened(start);
        let mut now = start;
        for pause in [5, 10, 20, 40, 60, 60, 60] {
            assert_eq!(breaker.pause(now), Some((Duration::from_secs(pause), Duration::from_secs(pause))));
            assert!(breaker.permit(now + Duration::from_millis(pause * 1_000 - 1)).is_none());
            now += Duration::from_secs(pause);
            tell(&breaker, false, now);
        }
    }

    #[test]
    fn a_try_that_was_cut_does_not_keep_it_open_for_ever() {
        let start = Deadline::now();
        let breaker = opened(start);
        drop(breaker.permit(after(start, 6_000)).unwrap());
        assert!(breaker.permit(after(start, 6_001)).is_some());
    }

    #[test]
    fn who_was_asked_before_it_opened_says_nothing_new() {
        let start = Deadline::now();
        let breaker = Breaker::after(1);
        let (early, late) = (breaker.permit(start).unwrap(), breaker.permit(start).unwrap());
        early.tell(false, start);
        late.tell(false, after(start, 1_000));
        let trial = breaker.permit(after(start, 5_000)).unwrap();
        drop(trial);
        assert!(breaker.permit(after(start, 5_000)).is_some_and(|permit| permit.is_trial()));
    }
}
