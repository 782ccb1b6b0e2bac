//! What deciding a post costs, in millionths of a US dollar: an estimate from list prices and measured sizes.
//! Logs and storage are not counted.

use crate::App;
use crate::work::{State, Work};
use domain::DecisionRecord;
use service::prices::{LAMBDA_GB_SECOND, LAMBDA_REQUEST, READ_UNIT, SQS_BATCH, SQS_REQUEST, WRITE_UNIT, rounded};

/// Half a read unit: feature rows are read eventually consistent, and are under 4 KB.
const FEATURE_READ: f64 = READ_UNIT / 2.0;

/// What one post of this invocation costs besides its own write and messages.
pub(crate) struct Share {
    usd_micro: f64,
}

impl Share {
    /// Shares the time spent so far, the poll, the deletes and the feature reads over the posts of the invocation.
    #[expect(clippy::cast_precision_loss, reason = "counts of a batch")]
    pub(crate) fn of(app: &App, work: &Work) -> Self {
        let decided = work
            .items
            .iter()
            .filter(|item| matches!(item.state, State::Decided { .. } | State::Stored { .. } | State::Done { .. }))
            .count()
            .max(1) as f64;
        let gigabytes = f64::from(app.config.memory_mb) / 1024.0;
        let lambda = work.deadlines.started.elapsed().as_secs_f64() * gigabytes * LAMBDA_GB_SECOND + LAMBDA_REQUEST;
        let receive_and_delete = 2.0 * SQS_REQUEST * (decided / SQS_BATCH).ceil();
        let reads = work.lookups.len() as f64 * FEATURE_READ;
        Self { usd_micro: (lambda + receive_and_delete + reads) / decided }
    }

    /// The cost of deciding this record, rounded to thousandths.
    #[expect(clippy::cast_precision_loss, reason = "a handful of write units")]
    pub(crate) fn of_record(&self, record: &DecisionRecord, write_units: usize) -> f64 {
        let owed = record.owed();
        let owes = [owed.task.is_some(), owed.action.is_some(), owed.second_opinion];
        let messages = owes.into_iter().filter(|owes| *owes).count() as f64;
        // What is provisional is in an index besides, and costs as much again when it is taken out.
        let writes = write_units as f64 + f64::from(u8::from(record.provisional));
        rounded(self.usd_micro + writes * WRITE_UNIT + messages * SQS_REQUEST / SQS_BATCH)
    }
}
