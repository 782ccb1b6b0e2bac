//! What the program did: counts for Prometheus (`/metrics`), and a line a minute for CloudWatch.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use runtime::telemetry;

/// Upper bounds of the latency's histogram in microseconds.
const LATENCIES: [u64; 12] =
    [1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000];
/// Upper bounds of the histogram of rows a run.
const BATCHES: [u64; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
/// Latencies kept for CloudWatch's line, drawn evenly from those of its minute.
const SAMPLES: usize = 100;

/// Counts since the start. Numbers only: nothing of a request gets in here.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<u16, u64>>,
    latency: Histogram<{ LATENCIES.len() }>,
    batch: Histogram<{ BATCHES.len() }>,
    failed_runs: AtomicU64,
    /// Weight that waits now, in rows.
    queue: AtomicUsize,
    /// The most that ever waited.
    queue_peak: AtomicUsize,
    minute: Mutex<Minute>,
}

/// Counts of values up to each bound and above the one before (those beyond the last are in the count alone), their count and their sum.
#[derive(Debug)]
struct Histogram<const N: usize>(Mutex<([u64; N], u64, u64)>);

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self(Mutex::new(([0; N], 0, 0)))
    }
}

/// What happened since the last line.
#[derive(Debug, Default)]
struct Minute {
    requests: usize,
    throttled: usize,
    failed: usize,
    rows: usize,
    served: usize,
    latencies: Vec<i64>,
}

impl<const N: usize> Histogram<N> {
    fn observe(&self, bounds: &[u64; N], value: u64) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = held.0.get_mut(place) {
            *bucket += 1;
        }
        held.1 += 1;
        held.2 += value;
    }

    fn sum(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).2
    }

    /// In Prometheus' text; the name's unit is `per` of the bounds'.
    fn write(&self, text: &mut String, name: &str, help: &str, bounds: &[u64; N], per: f64) {
        let (buckets, count, sum) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram");
        let mut below = 0;
        for (bound, bucket) in bounds.iter().zip(buckets) {
            below += bucket;
            let _ = writeln!(text, "{name}_bucket{{le=\"{}\"}} {below}", *bound as f64 / per);
        }
        let _ = writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {count}");
        let _ = writeln!(text, "{name}_sum {}\n{name}_count {count}", sum as f64 / per);
    }
}

impl Metrics {
    /// A request was answered.
    pub fn answered(&self, status: u16, took: Duration) {
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry(status).or_default() += 1;
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        minute.requests += 1;
        minute.throttled += usize::from(status == 429);
        minute.failed += usize::from(status >= 500);
        if status == 200 {
            self.latency.observe(&LATENCIES, microseconds);
            let kept = i64::try_from(microseconds / 1000).unwrap_or(i64::MAX);
            // Reservoir sampling. Source: J. Vitter, Random Sampling with a Reservoir, 1985, algorithm R.
            minute.served += 1;
            let place = fastrand::usize(..minute.served);
            if minute.latencies.len() < SAMPLES {
                minute.latencies.push(kept);
            } else if let Some(place) = minute.latencies.get_mut(place) {
                *place = kept;
            }
        }
    }

    /// The model ran over so many rows.
    pub fn ran(&self, rows: usize) {
        self.batch.observe(&BATCHES, rows as u64);
        self.minute.lock().unwrap_or_else(PoisonError::into_inner).rows += rows;
    }

    /// A run failed.
    pub fn run_failed(&self) {
        self.failed_runs.fetch_add(1, Ordering::Relaxed);
    }

    /// So much waits now, in rows.
    pub fn queued(&self, weight: usize) {
        self.queue.store(weight, Ordering::Relaxed);
        self.queue_peak.fetch_max(weight, Ordering::Relaxed);
    }

    /// The most that ever waited, in rows.
    pub fn queue_peak(&self) -> usize {
        self.queue_peak.load(Ordering::Relaxed)
    }

    /// Rows that the model ran over since the start.
    pub fn rows(&self) -> u64 {
        self.batch.sum()
    }

    /// Prometheus' text format, 0.0.4.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "# HELP endpoint_requests_total Invocations answered, by status.\n# TYPE endpoint_requests_total counter"
        );
        for (status, count) in &*self.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = writeln!(text, "endpoint_requests_total{{status=\"{status}\"}} {count}");
        }
        let help = "From request to answer, of those answered with 200.";
        self.latency.write(&mut text, "endpoint_latency_seconds", help, &LATENCIES, 1e6);
        self.batch.write(&mut text, "endpoint_batch_rows", "Rows a run of the model.", &BATCHES, 1.0);
        for (name, kind, help, value) in [
            ("endpoint_rows_total", "counter", "Rows that the model ran over.", self.rows()),
            ("endpoint_failed_runs_total", "counter", "Runs that failed.", self.failed_runs.load(Ordering::Relaxed)),
            ("endpoint_queue_rows", "gauge", "Rows that wait.", self.queue.load(Ordering::Relaxed) as u64),
            ("endpoint_queue_rows_peak", "gauge", "The most rows that ever waited.", self.queue_peak() as u64),
        ] {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
        text
    }

    /// What happened since the last call, for CloudWatch.
    #[must_use]
    pub fn minute(&self, stage: &str) -> telemetry::Metrics {
        let minute = std::mem::take(&mut *self.minute.lock().unwrap_or_else(PoisonError::into_inner));
        let mut line = telemetry::Metrics::new(stage, "endpoint");
        line.count("Invocations", minute.requests);
        line.count("InvocationsThrottled", minute.throttled);
        line.count("InvocationsFailed", minute.failed);
        line.count("RowsScored", minute.rows);
        line.count("RowsWaiting", self.queue.load(Ordering::Relaxed));
        line.milliseconds("InvocationLatency", &minute.latencies);
        line
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "a test may fail by panicking")]

    use super::*;

    #[test]
    fn the_text_counts_what_was_told() {
        let metrics = Metrics::default();
        metrics.answered(200, Duration::from_millis(7));
        metrics.answered(200, Duration::from_secs(9));
        metrics.answered(429, Duration::ZERO);
        metrics.ran(1);
        metrics.ran(8);
        metrics.queued(5);
        metrics.queued(2);
        let text = metrics.text();
        for line in [
            "endpoint_requests_total{status=\"200\"} 2",
            "endpoint_requests_total{status=\"429\"} 1",
            "endpoint_latency_seconds_bucket{le=\"0.005\"} 0",
            "endpoint_latency_seconds_bucket{le=\"0.01\"} 1",
            "endpoint_latency_seconds_bucket{le=\"5\"} 1",
            "endpoint_latency_seconds_bucket{le=\"+Inf\"} 2",
            "endpoint_latency_seconds_sum 9.007",
            "endpoint_batch_rows_bucket{le=\"4\"} 1",
            "endpoint_batch_rows_bucket{le=\"8\"} 2",
            "endpoint_rows_total 9",
            "endpoint_queue_rows 2",
            "endpoint_queue_rows_peak 5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_minute_forgets_the_one_before_and_keeps_a_hundred_latencies() {
        let metrics = Metrics::default();
        for _ in 0..500 {
            metrics.answered(200, Duration::from_millis(3));
        }
        metrics.answered(503, Duration::ZERO);
        metrics.ran(4);
        let line = metrics.minute("dev").line();
        assert_eq!(
            (&line["Invocations"], &line["InvocationsFailed"], &line["RowsScored"]),
            (&501.into(), &1.into(), &4.into())
        );
        assert_eq!(line["InvocationLatency"].as_array().map(Vec::len), Some(SAMPLES));
        assert!(metrics.minute("dev").line().get("Invocations").is_none());
    }
}
