//! Leaves alone whoever does not answer: a second opinion that will not come costs its timeout once, not for every post.

use std::time::Duration;
use store::Deadline;

/// Failures in a row after which nobody is asked for a while.
const MOST_FAILURES: u32 = 5;
/// The first while.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest: each time that asking again fails, the next is twice as long.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Whether somebody may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// Ask, and tell what came of it.
    Ask,
    /// Do not.
    Leave,
}

/// A circuit breaker: closed while all is well, open after [`MOST_FAILURES`] failures in a row, and then open but for one try after each
/// pause. One for each environment: what an environment has not seen itself it does not know.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: u32,
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    until: Deadline,
    pause: Duration,
    trying: bool,
}

impl Breaker {
    /// Whether somebody may be asked at `now`.
    pub fn permit(&mut self, now: Deadline) -> Permit {
        match &mut self.open {
            None => Permit::Ask,
            Some(open) if !open.trying && now >= open.until => {
                open.trying = true;
                Permit::Ask
            }
            Some(_) => Permit::Leave,
        }
    }

    /// What came of asking.
    pub fn tell(&mut self, answered: bool, now: Deadline) {
        if answered {
            *self = Self::default();
            return;
        }
        self.failures = self.failures.saturating_add(1);
        match self.open {
            // Of those that were asked before it opened nothing new is learned.
            Some(Open { trying: false, .. }) => {}
            Some(Open { pause, .. }) => {
                let pause = (pause * 2).min(LONGEST_PAUSE);
                self.open = Some(Open { until: now + pause, pause, trying: false });
            }
            None if self.failures >= MOST_FAILURES => {
                self.open = Some(Open { until: now + FIRST_PAUSE, pause: FIRST_PAUSE, trying: false });
            }
            None => {}
        }
    }

    /// Whoever was asked was never told about, as when an invocation ends in the middle: the next may try.
    pub fn forget(&mut self) {
        if let Some(open) = &mut self.open {
            open.trying = false;
        }
    }

    /// Whether nobody is asked.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Deadline, milliseconds: u64) -> Deadline {
        start + Duration::from_millis(milliseconds)
    }

    fn opened(start: Deadline) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..MOST_FAILURES {
            assert_eq!(breaker.permit(start), Permit::Ask);
            breaker.tell(false, start);
        }
        breaker
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_not_before() {
        let start = Deadline::now();
        let mut breaker = Breaker::default();
        for _ in 0..20 {
            for _ in 1..MOST_FAILURES {
                breaker.tell(false, start);
            }
            breaker.tell(true, start);
        }
        assert!(!breaker.is_open());
        assert!(opened(start).is_open());
        assert_eq!(opened(start).permit(after(start, 4_999)), Permit::Leave);
    }

    #[test]
    fn after_a_pause_one_is_asked_and_an_answer_closes_it() {
        let start = Deadline::now();
        let mut breaker = opened(start);
        assert_eq!(breaker.permit(after(start, 5_000)), Permit::Ask);
        assert_eq!(breaker.permit(after(start, 5_001)), Permit::Leave, "one at a time");
        breaker.tell(true, after(start, 5_100));
        assert!(!breaker.is_open());
        assert_eq!(breaker.permit(after(start, 5_101)), Permit::Ask);
    }

    #[test]
    fn pauses_grow_to_a_minute() {
        let start = Deadline::now();
        let mut breaker = opened(start);
        let mut now = start;
        for pause in [5, 10, 20, 40, 60, 60, 60] {
            assert_eq!(breaker.permit(now + Duration::from_millis(pause * 1_000 - 1)), Permit::Leave);
            now += Duration::from_secs(pause);
            assert_eq!(breaker.permit(now), Permit::Ask);
            breaker.tell(false, now);
        }
    }

    #[test]
    fn a_try_that_was_cut_does_not_keep_it_open_for_ever() {
        let start = Deadline::now();
        let mut breaker = opened(start);
        assert_eq!(breaker.permit(after(start, 6_000)), Permit::Ask);
        breaker.forget();
        assert_eq!(breaker.permit(after(start, 6_001)), Permit::Ask);
    }
}
