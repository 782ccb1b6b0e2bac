//! Records that fit their price.

use domain::DecisionRecord;
use store::item_size;

/// One write unit.
const WRITE_UNIT_BYTES: usize = 1024;

/// Leaves out the lightest spans of an explanation where the item then fits one write unit; gives the item's size.
/// Weighing an item costs as much as writing it, so it is weighed once where nothing has to go.
pub fn fit(record: &mut DecisionRecord) -> usize {
    let cost = record.cost_usd_micro;
    let bytes = fitted(record);
    record.cost_usd_micro = cost;
    bytes
}

fn fitted(record: &mut DecisionRecord) -> usize {
    // The cost is written later; this is as long as it gets.
    record.cost_usd_micro = record.cost_usd_micro.max(99.999);
    let full = item_size(record);
    if full <= WRITE_UNIT_BYTES {
        return full;
    }
    let complete = record.explanation.clone();
    while let Some(explanation) = record.explanation.as_mut().filter(|explanation| explanation.spans.len() > 1) {
        explanation.spans.pop();
        let bytes = item_size(record);
        if bytes <= WRITE_UNIT_BYTES {
            return bytes;
        }
    }
    // A second unit has to be paid for anyway.
    record.explanation = complete;
    full
}
