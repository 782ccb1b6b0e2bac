//! What deciding a post costs, in millionths of a US dollar: an estimate from list prices and measured sizes.
//!
//! List prices of us-east-1, November 2026, without free tiers: Lambda x86 0.0000166667 USD a GB-second and 0.20 USD a
//! million requests; SQS standard 0.40 USD a million requests; DynamoDB on demand 0.625 USD a million write units and
//! 0.125 USD a million read units. Logs and storage are not counted.

use crate::App;
use crate::work::{State, Work};
use domain::DecisionRecord;

const LAMBDA_GB_SECOND: f64 = 16.6667;
const LAMBDA_REQUEST: f64 = 0.20;
const SQS_REQUEST: f64 = 0.40;
const WRITE_UNIT: f64 = 0.625;
/// Half a read unit: feature rows are read eventually consistent, and are under 4 KB.
const FEATURE_READ: f64 = 0.125 / 2.0;
/// Messages that one SQS request carries at best.
const BATCH: f64 = 10.0;

/// What one post of this invocation costs besides its own write and messages.
pub(crate) struct Share {
    usd_micro: f64,
}

impl Share {
    /// Shares the time spent so far, the poll, the deletes and the feature reads over the posts of the invocation.
    #[expect(clippy::cast_precision_loss, reason = "counts of a batch")]
    pub(crate) fn of(app: &App, work: &Work) -> Self {
        let decided =
            work.items.iter().filter(|item| matches!(item.state, State::Decided { .. })).count().max(1) as f64;
        let gigabytes = f64::from(app.config.memory_mb) / 1024.0;
        let lambda = work.deadlines.started.elapsed().as_secs_f64() * gigabytes * LAMBDA_GB_SECOND + LAMBDA_REQUEST;
        let receive_and_delete = 2.0 * SQS_REQUEST * (decided / BATCH).ceil();
        let reads = work.lookups.len() as f64 * FEATURE_READ;
        Self { usd_micro: (lambda + receive_and_delete + reads) / decided }
    }

    /// The cost of deciding this record, rounded to thousandths.
    #[expect(clippy::cast_precision_loss, reason = "a handful of write units")]
    pub(crate) fn of_record(&self, record: &DecisionRecord, write_units: usize) -> f64 {
        let owed = record.owed();
        let messages = f64::from(u8::from(owed.task.is_some()) + u8::from(owed.action.is_some()));
        let total = self.usd_micro + write_units as f64 * WRITE_UNIT + messages * SQS_REQUEST / BATCH;
        (total * 1_000.0).round() / 1_000.0
    }
}
