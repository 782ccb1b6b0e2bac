//! List prices of us-east-1, November 2026, without free tiers, in millionths of a US dollar: estimates on records are made of them.

/// Lambda on x86, a GB-second: 0.0000166667 USD.
pub const LAMBDA_GB_SECOND: f64 = 16.6667;
/// Lambda, an invocation: 0.20 USD a million.
pub const LAMBDA_REQUEST: f64 = 0.20;
/// SQS, a request to a standard queue: 0.40 USD a million.
pub const SQS_REQUEST: f64 = 0.40;
/// Messages that one SQS request carries at best.
pub const SQS_BATCH: f64 = 10.0;
/// DynamoDB on demand, a write unit: 0.625 USD a million.
pub const WRITE_UNIT: f64 = 0.625;
/// DynamoDB on demand, a read unit: 0.125 USD a million. Eventually consistent reads of up to 4 KB take half of one.
pub const READ_UNIT: f64 = 0.125;

/// Rounded to thousandths, as costs stand on records.
#[must_use]
pub fn rounded(usd_micro: f64) -> f64 {
    (usd_micro * 1_000.0).round() / 1_000.0
}
