//! Log lines and metrics on standard output: one JSON object a line, no content.
//!
//! Metrics are CloudWatch's embedded metric format: a log line that CloudWatch turns into metrics by itself.

use serde_json::{Map, Value, json};
use std::io::Write;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// The namespace of all metrics.
pub const NAMESPACE: &str = "Moderato";

/// Milliseconds since the epoch, by the wall clock.
#[must_use]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Writes a log line with `fields`, whose names are dotted and carry their unit.
pub fn log(level: &str, message: &str, fields: &Value) {
    let mut line = json!({ "level": level, "message": message });
    if let (Some(line), Some(fields)) = (line.as_object_mut(), fields.as_object()) {
        line.extend(fields.clone());
    }
    print(&line);
}

/// The unit of a metric, as CloudWatch spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Thousandths of a second.
    Milliseconds,
}

/// Metrics of one batch, written as one line.
#[derive(Debug)]
pub struct Metrics {
    stage: String,
    service: String,
    values: Vec<(&'static str, Unit, Value)>,
    properties: Map<String, Value>,
}

/// CloudWatch takes this many values of one metric in a line.
const MAX_VALUES: usize = 100;

impl Metrics {
    /// Metrics of a function, by stage and name.
    #[must_use]
    pub fn new(stage: &str, service: &str) -> Self {
        Self { stage: stage.to_owned(), service: service.to_owned(), values: Vec::new(), properties: Map::new() }
    }

    /// Adds a count; nothing where it is 0, since alarms treat absent as fine and every byte costs.
    pub fn count(&mut self, name: &'static str, count: usize) {
        if count > 0 {
            self.values.push((name, Unit::Count, json!(count)));
        }
    }

    /// Adds a count, 0 too: an alarm on a share divides by it, and CloudWatch cannot divide by what is not there.
    pub fn part(&mut self, name: &'static str, count: usize) {
        self.values.push((name, Unit::Count, json!(count)));
    }

    /// Adds a 1 for every `true` and a 0 for every `false`, at most 100 of them: their sum is a number, their average a share, which an
    /// alarm can watch without arithmetic of its own.
    pub fn share(&mut self, name: &'static str, values: &[bool]) {
        if !values.is_empty() {
            let kept: Vec<u8> = values.iter().take(MAX_VALUES).map(|value| u8::from(*value)).collect();
            self.values.push((name, Unit::Count, json!(kept)));
        }
    }

    /// Adds durations in milliseconds, at most 100 of them.
    pub fn milliseconds(&mut self, name: &'static str, values: &[i64]) {
        if !values.is_empty() {
            let kept = values.get(..MAX_VALUES.min(values.len())).unwrap_or_default();
            self.values.push((name, Unit::Milliseconds, json!(kept)));
        }
    }

    /// Adds something to search by that is not a metric.
    pub fn property(&mut self, name: &str, value: impl Into<Value>) {
        self.properties.insert(name.to_owned(), value.into());
    }

    /// The line.
    #[must_use]
    pub fn line(&self) -> Value {
        let definitions: Vec<_> =
            self.values.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": format!("{unit:?}") })).collect();
        let mut line = json!({
            "_aws": { "Timestamp": now_ms(), "CloudWatchMetrics": [{
                "Namespace": NAMESPACE, "Dimensions": [["service", "stage"]], "Metrics": definitions,
            }]},
            "stage": self.stage,
            "service": self.service,
        });
        if let Some(line) = line.as_object_mut() {
            line.extend(self.values.iter().map(|(name, _, value)| ((*name).to_owned(), value.clone())));
            line.extend(self.properties.clone());
        }
        line
    }

    /// Writes the line.
    pub fn emit(&self) {
        print(&self.line());
    }
}

type Sink = Box<dyn Fn(&str) + Send + Sync>;
static SINK: OnceLock<Sink> = OnceLock::new();

/// Hands every line to `sink` from now on, instead of to standard output; for tests. The first one stays.
pub fn redirect(sink: impl Fn(&str) + Send + Sync + 'static) {
    let _ = SINK.set(Box::new(sink));
}

fn print(line: &Value) {
    if let Some(sink) = SINK.get() {
        return sink(&line.to_string());
    }
    // One write a line, so that lines of several threads do not mix; a closed pipe must not end the function.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "a test may fail loudly")]
    use super::*;

    #[test]
    fn every_metric_of_the_line_is_defined_in_it() {
        let mut metrics = Metrics::new("dev", "score");
        metrics.count("PostsDecided", 9);
        metrics.count("PostsQuarantined", 0);
        metrics.part("PostsHidden", 0);
        metrics.milliseconds("DecisionLatency", &[5, 7]);
        metrics.share("PostsWithout", &[true, false]);
        metrics.share("PostsWith", &[]);
        metrics.property("cold_start", true);
        let line = metrics.line();
        let defined: Vec<_> = line["_aws"]["CloudWatchMetrics"][0]["Metrics"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|metric| metric["Name"].as_str())
            .collect();
        assert_eq!(defined, ["PostsDecided", "PostsHidden", "DecisionLatency", "PostsWithout"]);
        assert_eq!(line["PostsHidden"], json!(0));
        assert_eq!(line["PostsWithout"], json!([1, 0]));
        assert_eq!((&line["PostsDecided"], &line["DecisionLatency"]), (&json!(9), &json!([5, 7])));
        assert_eq!((&line["stage"], &line["service"]), (&json!("dev"), &json!("score")));
    }
}
