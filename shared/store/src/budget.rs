//! Money that all environments of a function share: one counter a day, added to before anything is spent.

use crate::{Aws, Deadline, StoreError, aws, item};
use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::Timestamp;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// What may still be spent on something today (UTC).
#[async_trait]
pub trait Budget: Send + Sync {
    /// Takes `amount` out of what is left of `limit` on the day of `now`, both in millionths of a US dollar; whether there was as much.
    /// What is not known to be taken counts as taken: two answers to one request may cost twice, never nothing.
    ///
    /// # Errors
    /// Where it could not be asked; then nobody may spend.
    async fn take(&self, now: Timestamp, amount: u64, limit: u64, deadline: Deadline) -> Result<bool, StoreError>;
}

/// A day's counter is of no use after it; a week for whoever looks.
const KEPT_DAYS: u32 = 7;

/// The counters of `name` in the table of features, one item a day: `budget#NAME#2026-11-24`.
#[derive(Debug, Clone)]
pub struct DynamoBudget {
    client: aws_sdk_dynamodb::Client,
    table: String,
    name: &'static str,
}

impl DynamoBudget {
    /// The budget called `name` in `table`.
    #[must_use]
    pub fn new(aws: &Aws, table: impl Into<String>, name: &'static str) -> Self {
        Self { client: aws.dynamodb.clone(), table: table.into(), name }
    }
}

/// The first ten characters of an RFC 3339 instant.
fn day(now: Timestamp) -> String {
    now.to_string().chars().take(10).collect()
}

#[async_trait]
impl Budget for DynamoBudget {
    async fn take(&self, now: Timestamp, amount: u64, limit: u64, deadline: Deadline) -> Result<bool, StoreError> {
        let Some(left) = limit.checked_sub(amount) else { return Ok(false) };
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("entity", AttributeValue::S(format!("budget#{}#{}", self.name, day(now))))
            .update_expression("SET expires_at = :expires ADD spent :amount")
            .condition_expression("attribute_not_exists(spent) OR spent <= :left")
            .expression_attribute_values(":amount", AttributeValue::N(amount.to_string()))
            .expression_attribute_values(":left", AttributeValue::N(left.to_string()))
            .expression_attribute_values(":expires", item::expires_at(now, KEPT_DAYS))
            .send();
        match aws::call("taking from a budget", deadline, request).await {
            Ok(_) => Ok(true),
            Err(error) if error.code == "ConditionalCheckFailedException" => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A budget in memory.
#[derive(Debug, Default)]
pub struct MemoryBudget {
    spent: Mutex<BTreeMap<String, u64>>,
}

#[async_trait]
impl Budget for MemoryBudget {
    async fn take(&self, now: Timestamp, amount: u64, limit: u64, _: Deadline) -> Result<bool, StoreError> {
        let mut spent = self.spent.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let today = spent.entry(day(now)).or_default();
        let fits = today.checked_add(amount).is_some_and(|sum| sum <= limit);
        if fits {
            *today += amount;
        }
        Ok(fits)
    }
}
