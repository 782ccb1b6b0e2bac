//! A queue that Lambda takes messages from, as SQS keeps it: what is in sight, what is hidden until when, how often it was received.

use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

/// Messages by their numbers; what is in them is kept elsewhere.
#[derive(Default)]
pub(crate) struct Inbox {
    kept: BTreeMap<usize, Kept>,
    in_sight: Vec<usize>,
    hidden: BTreeSet<(Instant, usize)>,
}

struct Kept {
    receives: u32,
    place: Place,
}

enum Place {
    /// At this place of those in sight.
    InSight(usize),
    HiddenUntil(Instant),
}

impl Inbox {
    /// A message that nobody has received, in sight from an instant on.
    pub(crate) fn add(&mut self, number: usize, at: Instant) {
        self.forget(number);
        self.kept.insert(number, Kept { receives: 0, place: Place::HiddenUntil(at) });
        self.hidden.insert((at, number));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = usize> {
        self.kept.keys().copied()
    }

    /// When a hidden message comes into sight next.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.hidden.first().map(|(at, _)| *at)
    }

    /// Any `most` of those in sight at `now`.
    pub(crate) fn any(&mut self, rng: &mut Rng, now: Instant, most: usize) -> Vec<usize> {
        while self.next().is_some_and(|at| at <= now) {
            let Some((_, number)) = self.hidden.pop_first() else { break };
            self.kept.get_mut(&number).unwrap().place = Place::InSight(self.in_sight.len());
            self.in_sight.push(number);
        }
        for first in 0..most.min(self.in_sight.len()) {
            let other = rng.usize(first..self.in_sight.len());
            self.in_sight.swap(first, other);
            for place in [first, other] {
                self.kept.get_mut(&self.in_sight[place]).unwrap().place = Place::InSight(place);
            }
        }
        self.in_sight[..most.min(self.in_sight.len())].to_vec()
    }

    /// How often a message was received.
    pub(crate) fn receives(&self, number: usize) -> u32 {
        self.kept[&number].receives
    }

    /// Somebody receives a message; how often that was now.
    pub(crate) fn receive(&mut self, number: usize) -> u32 {
        let kept = self.kept.get_mut(&number).unwrap();
        kept.receives += 1;
        kept.receives
    }

    /// Nobody has received any of them yet.
    pub(crate) fn begin_again(&mut self) {
        self.kept.values_mut().for_each(|kept| kept.receives = 0);
    }

    /// Hides a message until an instant; nothing where it is not there.
    pub(crate) fn hide(&mut self, number: usize, until: Instant) {
        let Some(receives) = self.kept.get(&number).map(|kept| kept.receives) else { return };
        self.forget(number);
        self.kept.insert(number, Kept { receives, place: Place::HiddenUntil(until) });
        self.hidden.insert((until, number));
    }

    /// Deletes a message.
    pub(crate) fn forget(&mut self, number: usize) {
        match self.kept.remove(&number).map(|kept| kept.place) {
            None => {}
            Some(Place::HiddenUntil(at)) => _ = self.hidden.remove(&(at, number)),
            Some(Place::InSight(place)) => {
                self.in_sight.swap_remove(place);
                if let Some(moved) = self.in_sight.get(place) {
                    self.kept.get_mut(moved).unwrap().place = Place::InSight(place);
                }
            }
        }
    }

    /// Names a delivery of a message.
    pub(crate) fn receipt(number: usize, receives: u32) -> String {
        format!("{number}-{receives}")
    }

    /// Hides a message by the receipt of its last delivery, until `until`; a code where that cannot be.
    pub(crate) fn hide_received(&mut self, receipt: &str, until: Instant) -> Result<(), &'static str> {
        let parts =
            receipt.split_once('-').and_then(|(number, receives)| Some((number.parse().ok()?, receives.parse().ok()?)));
        let (number, receives): (usize, u32) = parts.ok_or("ReceiptHandleIsInvalid")?;
        match self.kept.get(&number) {
            Some(kept) if kept.receives == receives => match kept.place {
                Place::InSight(_) => Err("AWS.SimpleQueueService.MessageNotInflight"),
                Place::HiddenUntil(_) => {
                    self.hide(number, until);
                    Ok(())
                }
            },
            _ => Err("ReceiptHandleIsInvalid"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_hidden_comes_back_in_time_and_what_is_forgotten_never() {
        let (mut rng, start) = (Rng::with_seed(1), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut inbox = Inbox::default();
        (0..30).for_each(|number| inbox.add(number, after(number as u64)));
        let mut seen = BTreeSet::new();
        for second in 0..200 {
            for number in inbox.any(&mut rng, after(second), 4) {
                assert!(number as u64 <= second);
                match inbox.receive(number) {
                    1 => inbox.hide(number, after(second + 5)),
                    2 => assert!(inbox.hide_received(&Inbox::receipt(number, 2), after(0)).is_err(), "it is in sight"),
                    _ => {
                        inbox.hide(number, after(1_000));
                        assert_eq!(
                            inbox.hide_received(&Inbox::receipt(number, 2), after(2_000)),
                            Err("ReceiptHandleIsInvalid")
                        );
                        assert_eq!(inbox.hide_received(&Inbox::receipt(number, 3), after(2_000)), Ok(()));
                        seen.insert(number);
                    }
                }
            }
        }
        assert_eq!(seen.len(), 30);
        assert_eq!(inbox.next(), Some(after(2_000)));
        (0..30).for_each(|number| inbox.forget(number));
        assert!(inbox.is_empty() && inbox.next().is_none() && inbox.any(&mut rng, after(9_000), 10).is_empty());
    }
}
