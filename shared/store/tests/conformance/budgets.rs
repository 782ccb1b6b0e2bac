//! What any budget promises.

use crate::soon;
use domain::Timestamp;
use store::{Budget, MemoryBudget};

/// All checks, on a budget of which nothing is taken on the days from `day` on.
pub async fn conforms(budget: &dyn Budget, day: i64) {
    let at = |days: i64| Timestamp::from_millis((day + days) * 86_400_000 + 3_600_000);
    let take = async |days, amount, limit| budget.take(at(days), amount, limit, soon()).await.unwrap();
    assert!(!take(0, 11, 10).await, "more than there ever is");
    assert!(take(0, 6, 10).await);
    assert!(!take(0, 5, 10).await, "more than is left");
    assert!(take(0, 4, 10).await, "to the last");
    assert!(!take(0, 1, 10).await);
    assert!(take(0, 1, 11).await, "a policy may raise the limit");
    assert!(take(1, 10, 10).await, "every day has its own");
    assert!(!take(2, 1, 0).await, "no money");
}

#[tokio::test]
async fn a_budget_in_memory() {
    conforms(&MemoryBudget::default(), 20_000).await;
}
