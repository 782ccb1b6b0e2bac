//! Money in hand: a slice of the day's budget, taken before it is spent.

use domain::Timestamp;
use store::{Budget, Deadline};

/// A slice is this part of the day's budget: what an environment that ends leaves unspent is at most that.
const SLICES: u64 = 100;
const DAY_MS: i64 = 86_400_000;

/// What one environment may still spend today (UTC), in millionths of a US dollar.
#[derive(Debug, Default)]
pub struct Wallet {
    day: i64,
    left: u64,
}

impl Wallet {
    /// Whether `amount` is there, taking another slice of `limit` from the budget where it is not. A budget that cannot be asked gives
    /// nothing: no outage spends money that nobody counts.
    pub async fn holds(&mut self, budget: &dyn Budget, amount: u64, limit: u64, now: Timestamp, by: Deadline) -> bool {
        let day = now.millis().div_euclid(DAY_MS);
        if self.day != day {
            *self = Self { day, left: 0 };
        }
        if self.left >= amount {
            return true;
        }
        let missing = amount - self.left;
        // Where the rest of the day is less than a slice, what is needed may still be there.
        for slice in [missing.max(limit / SLICES), missing] {
            match budget.take(now, slice, limit, by).await {
                Ok(true) => {
                    self.left = self.left.saturating_add(slice);
                    return true;
                }
                Ok(false) => {}
                Err(_) => return false,
            }
        }
        false
    }

    /// Spends what something may come to.
    pub fn spend(&mut self, amount: u64) {
        self.left = self.left.saturating_sub(amount);
    }

    /// Takes back what it did not come to.
    pub fn give_back(&mut self, amount: u64) {
        self.left = self.left.saturating_add(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::MemoryBudget;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_millis(day * DAY_MS + 1)
    }

    #[tokio::test]
    async fn environments_together_spend_no_more_than_the_day_has() {
        let budget = MemoryBudget::default();
        let soon = Deadline::now();
        let mut wallets: Vec<Wallet> = (0..7).map(|_| Wallet::default()).collect();
        let mut spent = 0;
        for turn in 0..700 {
            let wallet = &mut wallets[turn % 7];
            if wallet.holds(&budget, 30, 10_000, at(1), soon).await {
                wallet.spend(30);
                spent += 30;
            }
        }
        assert!((9_000..=10_000).contains(&spent), "{spent}");
        assert!(wallets[0].holds(&budget, 30, 10_000, at(2), soon).await, "another day, another budget");
    }

    #[tokio::test]
    async fn nothing_is_in_a_wallet_of_no_money() {
        let budget = MemoryBudget::default();
        assert!(!Wallet::default().holds(&budget, 1, 0, at(1), Deadline::now()).await);
    }
}
