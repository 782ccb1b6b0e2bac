//! What waits for the model, and which rows run together. Pure: instants are arguments, nothing in here waits.
//!
//! INVARIANT: the weight of what waits never exceeds [`Limits::max_queue`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Bounds of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most rows of a run.
    pub max_batch: usize,
    /// How long a row waits for others that are on their way.
    pub max_wait: Duration,
    /// The most weight that waits, in rows.
    pub max_queue: usize,
    /// How long a row may wait at all.
    pub max_age: Duration,
}

/// What is put into a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<T> {
    /// Whatever it is.
    pub item: T,
    /// What it shares a run with: rows of a similar number of tokens, or nothing.
    pub size: Size,
}

/// How large an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// A row of so many tokens.
    Row(usize),
    /// As much work as so many rows, done alone.
    Alone(usize),
}

impl Size {
    fn weight(self) -> usize {
        match self {
            Self::Row(_) => 1,
            Self::Alone(rows) => rows,
        }
    }
}

/// Why entries were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// Too much waits; later there may be room.
    Now,
    /// They are more than may ever wait.
    Ever,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// Run these together.
    Run(Vec<T>),
    /// Look again when something comes, or at this instant.
    Wait(Instant),
    /// Nothing waits.
    Idle,
}

struct Waiting<T> {
    item: T,
    size: Size,
    since: Instant,
}

/// Entries in the order in which they came.
pub struct Queue<T> {
    waiting: VecDeque<Waiting<T>>,
    weight: usize,
    limits: Limits,
}

impl<T> Queue<T> {
    /// An empty one.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { waiting: VecDeque::new(), weight: 0, limits }
    }

    /// Weight of what waits, in rows.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Whether nothing more would be taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.weight >= self.limits.max_queue
    }

    /// Takes all entries of a request, or none. `now` never goes back.
    pub fn push(&mut self, entries: Vec<Entry<T>>, now: Instant) -> Result<(), Full> {
        let more: usize = entries.iter().map(|entry| entry.size.weight()).sum();
        if more > self.limits.max_queue {
            return Err(Full::Ever);
        }
        if self.weight + more > self.limits.max_queue {
            return Err(Full::Now);
        }
        self.weight += more;
        self.waiting.extend(entries.into_iter().map(|Entry { item, size }| Waiting { item, size, since: now }));
        Ok(())
    }

    /// Removes what has waited too long.
    pub fn expired(&mut self, now: Instant) -> Vec<T> {
        let max_age = self.limits.max_age;
        let late = self.waiting.partition_point(|waiting| now.saturating_duration_since(waiting.since) > max_age);
        let late: Vec<_> = self.waiting.drain(..late).collect();
        late.into_iter().map(|waiting| self.removed(waiting)).collect()
    }

    /// The oldest entry decides, and rows of a similar length, the nearest first, run with it. They run as soon as they are
    /// [`Limits::max_batch`], nothing is on its way (`arriving`), or the oldest has waited for [`Limits::max_wait`].
    pub fn next(&mut self, now: Instant, arriving: bool) -> Next<T> {
        let Some(oldest) = self.waiting.front() else { return Next::Idle };
        let Size::Row(length) = oldest.size else { return self.run_first() };
        if self.limits.max_batch <= 1 {
            return self.run_first();
        }
        let due = oldest.since + self.limits.max_wait;
        let mut together: Vec<(usize, usize)> = Vec::new();
        for (place, waiting) in self.waiting.iter().enumerate() {
            if let Size::Row(other) = waiting.size
                && similar(length, other)
            {
                together.push((length.abs_diff(other), place));
            }
        }
        if together.len() < self.limits.max_batch && arriving && now < due {
            return Next::Wait(due);
        }
        // The oldest is at distance 0 and place 0, so it is always among them.
        together.sort_unstable();
        together.truncate(self.limits.max_batch);
        let mut places: Vec<usize> = together.into_iter().map(|(_, place)| place).collect();
        places.sort_unstable();
        Next::Run(self.remove(&places))
    }

    fn run_first(&mut self) -> Next<T> {
        match self.waiting.pop_front() {
            Some(first) => Next::Run(vec![self.removed(first)]),
            None => Next::Idle,
        }
    }

    /// Takes what stands at these places, which rise.
    fn remove(&mut self, places: &[usize]) -> Vec<T> {
        let last = places.last().map_or(0, |last| last + 1);
        let mut kept = Vec::new();
        let mut taken = Vec::with_capacity(places.len());
        for (place, waiting) in self.waiting.drain(..last).enumerate() {
            if places.binary_search(&place).is_ok() { taken.push(waiting) } else { kept.push(waiting) }
        }
        for waiting in kept.into_iter().rev() {
            self.waiting.push_front(waiting);
        }
        taken.into_iter().map(|waiting| self.removed(waiting)).collect()
    }

    fn removed(&mut self, waiting: Waiting<T>) -> T {
        self.weight = self.weight.saturating_sub(waiting.size.weight());
        waiting.item
    }
}

/// Whether padding one row to the other wastes little: a quarter of it, or what a run costs anyway.
fn similar(a: usize, b: usize) -> bool {
    a.abs_diff(b) <= (a.max(b) / 4).max(16)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::*;

    const LIMITS: Limits =
        Limits { max_batch: 4, max_wait: Duration::from_millis(3), max_queue: 10, max_age: Duration::from_millis(100) };

    fn rows(lengths: &[usize]) -> Vec<Entry<usize>> {
        lengths.iter().map(|length| Entry { item: *length, size: Size::Row(*length) }).collect()
    }

    fn alone(item: usize) -> Vec<Entry<usize>> {
        vec![Entry { item, size: Size::Alone(8) }]
    }

    fn after(start: Instant, milliseconds: u64) -> Instant {
        start + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_row_runs_at_once_where_nothing_is_on_its_way() {
        let (mut queue, start) = (Queue::new(LIMITS), Instant::now());
        assert_eq!(queue.next(start, false), Next::Idle);
        queue.push(rows(&[5]), start).unwrap();
        assert_eq!(queue.next(start, false), Next::Run(vec![5]));
        assert_eq!((queue.next(start, true), queue.weight()), (Next::Idle, 0));
    }

    #[test]
    fn a_row_waits_for_what_is_on_its_way_and_no_longer_than_the_bound() {
        let (mut queue, start) = (Queue::new(LIMITS), Instant::now());
        queue.push(rows(&[5]), start).unwrap();
        queue.push(rows(&[6]), after(start, 2)).unwrap();
        assert_eq!(queue.next(after(start, 2), true), Next::Wait(after(start, 3)));
        assert_eq!(queue.next(after(start, 3), true), Next::Run(vec![5, 6]));
        queue.push(rows(&[1, 2, 3, 4, 5]), start).unwrap();
        assert_eq!(queue.next(start, true), Next::Run(vec![1, 2, 3, 4]), "as many as a run takes wait for nothing");
        assert_eq!(queue.next(start, true), Next::Wait(after(start, 3)));
    }

    #[test]
    fn similar_lengths_run_together_and_the_oldest_always_goes_first() {
        let (mut queue, now) = (Queue::new(LIMITS), Instant::now());
        queue.push(rows(&[100, 500, 90, 101, 125, 110, 480, 10]), now).unwrap();
        assert_eq!(queue.next(now, false), Next::Run(vec![100, 90, 101, 110]));
        assert_eq!(queue.next(now, false), Next::Run(vec![500, 480]));
        assert_eq!(queue.next(now, false), Next::Run(vec![125]));
        assert_eq!(queue.next(now, false), Next::Run(vec![10]));
        assert_eq!((queue.next(now, false), queue.weight()), (Next::Idle, 0));
    }

    #[test]
    fn what_is_alone_runs_alone_and_in_turn() {
        let (mut queue, now) = (Queue::new(LIMITS), Instant::now());
        queue.push(rows(&[7]), now).unwrap();
        queue.push(alone(9), now).unwrap();
        queue.push(rows(&[8]), now).unwrap();
        assert_eq!(queue.next(now, false), Next::Run(vec![7, 8]));
        assert_eq!(queue.next(now, true), Next::Run(vec![9]));
    }

    #[test]
    fn a_model_that_takes_one_row_a_run_gets_them_in_order() {
        let (mut queue, now) = (Queue::new(Limits { max_batch: 1, ..LIMITS }), Instant::now());
        queue.push(rows(&[3, 1, 2]), now).unwrap();
        for row in [3, 1, 2] {
            assert_eq!(queue.next(now, true), Next::Run(vec![row]));
        }
    }

    #[test]
    fn no_more_waits_than_the_bound() {
        let (mut queue, now) = (Queue::new(LIMITS), Instant::now());
        assert_eq!(queue.push(rows(&[1; 11]), now), Err(Full::Ever));
        queue.push(rows(&[1; 9]), now).unwrap();
        assert_eq!(queue.push(rows(&[1; 2]), now), Err(Full::Now));
        assert_eq!((queue.weight(), queue.is_full()), (9, false));
        queue.push(rows(&[1]), now).unwrap();
        assert_eq!((queue.weight(), queue.is_full()), (10, true));
        assert_eq!(queue.push(alone(1), now), Err(Full::Now));
    }

    #[test]
    fn what_waited_too_long_is_handed_back() {
        let (mut queue, start) = (Queue::new(LIMITS), Instant::now());
        queue.push(rows(&[1, 2]), start).unwrap();
        queue.push(rows(&[3]), after(start, 50)).unwrap();
        assert_eq!(queue.expired(after(start, 100)), Vec::<usize>::new());
        assert_eq!(queue.expired(after(start, 101)), [1, 2]);
        assert_eq!((queue.weight(), queue.next(after(start, 101), false)), (1, Next::Run(vec![3])));
    }
}
