//! `moderato send`: posts through the stack's queue, and what became of each.

use crate::Failure;
use crate::lines::{Line, Lines};
use crate::progress::progress;
use crate::stack::{Stack, soon};
use crate::terminal::{line, say};
use clap::Args;
use domain::policy::Decision;
use domain::{Adviser, Consulted, DecisionRecord, MAX_POST_BYTES, Post, PostId, Revision, ScoreState, sha256_hex};
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use store::{DecisionStore, History, Message, ObjectStore, Queue, StoreError};

/// Sends native posts (JSON Lines) to the stack's queue, waits until each is decided for good or in quarantine, and says what
/// became of them. A decision that waits for a second opinion is not one yet.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// The file.
    file: PathBuf,
    /// Shows every post, with its text: for a handful of samples.
    #[arg(long)]
    table: bool,
    /// Shows counts, latencies and losses alone (the default).
    #[arg(long, conflicts_with = "table")]
    summary: bool,
    /// Gives up when nothing was decided for this long.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    patience: u64,
}

/// Messages between two steps of the progress bar.
const MESSAGES_A_STEP: usize = 200;
/// Posts that are looked up at once.
const AT_ONCE: usize = 16;
/// Between two looks.
const POLL: Duration = Duration::from_millis(300);

/// A post, and its revision where the line says one. Where it does not, the newest decision counts: other content is the next revision.
type Key = (PostId, Option<Revision>);
type Records = BTreeMap<Key, DecisionRecord>;

/// What a file holds.
#[derive(Default)]
struct Batch {
    bodies: Vec<String>,
    /// In the order of the file, each once.
    keys: Vec<Key>,
    /// The beginning of each post's text, for the table.
    texts: HashMap<Key, String>,
    /// Digests of lines that cannot be read as posts: they should end in quarantine; those with an id are decided `review` besides.
    rejects: BTreeSet<String>,
    /// Lines that no queue takes: not UTF-8, or over 1 MiB.
    unsendable: usize,
}

/// Runs the command: exit code 1 where a post was lost, a decision changed, or a line could not be sent.
pub async fn run(args: &SendArgs, stack: &Stack) -> Result<ExitCode, Failure> {
    let batch = read(&args.file, args.table)?;
    let store = stack.decisions()?;
    let before = decided(&store, &batch.keys).await?;
    let started = Instant::now();
    send(stack, &batch).await?;
    let bar = progress("decided", batch.keys.len());
    let after = wait(stack, &batch, &bar, Duration::from_secs(args.patience)).await?;
    bar.finish_and_clear();
    let elapsed = started.elapsed();
    if args.table {
        table(&batch, &after);
    }
    let lost_rejects = missing_rejects(stack, &batch).await?;
    Ok(summary(&batch, &before, &after, lost_rejects, elapsed))
}

fn read(file: &Path, texts: bool) -> Result<Batch, Failure> {
    let input = File::open(file).map_err(|error| format!("reading `{}`: {error}", file.display()))?;
    let mut batch = Batch::default();
    let mut known = BTreeSet::new();
    for line in Lines::new(BufReader::new(input), MAX_POST_BYTES) {
        let Line::Whole(bytes) = line? else {
            batch.unsendable += 1;
            continue;
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let Ok(body) = String::from_utf8(bytes) else {
            batch.unsendable += 1;
            continue;
        };
        match Post::parse(body.as_bytes()) {
            Ok(post) => {
                let key = (post.post_id, post.revision_given.then_some(post.revision));
                if texts && let Some(text) = post.text {
                    batch.texts.insert(key.clone(), excerpt(&text));
                }
                if known.insert(key.clone()) {
                    batch.keys.push(key);
                }
            }
            Err(_) => {
                batch.rejects.insert(sha256_hex(body.as_bytes()));
            }
        }
        batch.bodies.push(body);
    }
    Ok(batch)
}

async fn send(stack: &Stack, batch: &Batch) -> Result<(), Failure> {
    let queue = stack.queue("POSTS_QUEUE_URL")?;
    let bar = progress("sent", batch.bodies.len());
    for bodies in batch.bodies.chunks(MESSAGES_A_STEP) {
        let messages: Vec<_> = bodies.iter().map(|body| Message { body: body.clone() }).collect();
        for answer in queue.send(&messages, soon()).await {
            answer?;
        }
        bar.inc(bodies.len() as u64);
    }
    bar.finish_and_clear();
    Ok(())
}

async fn decided(store: &impl DecisionStore, keys: &[Key]) -> Result<Records, Failure> {
    let mut records = Records::new();
    let given: Vec<_> = keys.iter().filter_map(|(post, revision)| Some((post.clone(), (*revision)?))).collect();
    for chunk in given.chunks(MESSAGES_A_STEP) {
        for ((post, revision), found) in chunk.iter().zip(store.get(chunk, soon()).await) {
            if let Some(record) = found? {
                records.insert((post.clone(), Some(*revision)), record);
            }
        }
    }
    let newest = keys.iter().filter(|(_, revision)| revision.is_none()).map(async |key| {
        let History { records, tombstones } = store.of_post(&key.0, soon()).await?;
        let erased = tombstones.iter().map(|(revision, _)| *revision).max();
        let last = records.into_iter().next_back().filter(|record| Some(record.revision) > erased);
        Ok::<_, StoreError>(last.map(|record| (key.clone(), record)))
    });
    let newest: Vec<_> = stream::iter(newest).buffer_unordered(AT_ONCE).try_collect().await?;
    records.extend(newest.into_iter().flatten());
    Ok(records)
}

/// Waits until every decision is final and both queues are empty: a second sending is over only when the queues say so.
async fn wait(stack: &Stack, batch: &Batch, bar: &ProgressBar, patience: Duration) -> Result<Records, Failure> {
    let store = stack.decisions()?;
    let queues = [stack.queue("POSTS_QUEUE_URL")?, stack.queue("ESCALATIONS_QUEUE_URL")?];
    let mut pending = batch.keys.clone();
    let (mut last_change, mut last_state) = (Instant::now(), (usize::MAX, u64::MAX));
    loop {
        // The first of the pending stand for all: asking for thousands at every look would slow down what is measured.
        loop {
            let first = pending.get(..MESSAGES_A_STEP.min(pending.len())).unwrap_or_default();
            let mut found = decided(&store, first).await?;
            found.retain(|_, record| !record.provisional);
            let all = found.len() == first.len();
            pending.retain(|key| !found.contains_key(key));
            bar.set_position((batch.keys.len() - pending.len()) as u64);
            if !all || pending.is_empty() {
                break;
            }
        }
        let mut waiting = 0;
        for queue in &queues {
            let depth = queue.depth(soon()).await?;
            waiting += depth.visible + depth.in_flight + depth.delayed;
        }
        if pending.is_empty() && waiting == 0 {
            break;
        }
        if (pending.len(), waiting) != last_state {
            (last_change, last_state) = (Instant::now(), (pending.len(), waiting));
        } else if last_change.elapsed() > patience {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    // Read at the end, all of it: what was decided before may have been decided again meanwhile.
    decided(&store, &batch.keys).await
}

async fn missing_rejects(stack: &Stack, batch: &Batch) -> Result<usize, Failure> {
    let (objects, bucket) = (stack.objects(), stack.bucket()?);
    let mut missing = 0;
    for digest in &batch.rejects {
        let key = format!("quarantine/{digest}");
        missing += usize::from(objects.get(bucket, &key, 2 * MAX_POST_BYTES, soon()).await?.is_none());
    }
    Ok(missing)
}

fn latency_ms(record: &DecisionRecord) -> i64 {
    record.decided_at.millis() - record.received_at.millis()
}

/// What a record says of its second opinion: who was asked and how that went; empty where none was asked for.
fn second_opinion(record: &DecisionRecord) -> String {
    match &record.second_opinion {
        None if record.provisional => "waits".to_owned(),
        None => String::new(),
        Some(Consulted { by, state: ScoreState::Ok, .. }) => name(*by).to_owned(),
        Some(Consulted { by, why, .. }) => format!("no {}: {}", name(*by), why.as_deref().unwrap_or("unavailable")),
    }
}

fn name(by: Adviser) -> &'static str {
    match by {
        Adviser::Endpoint => "endpoint",
        Adviser::Lambda => "lambda",
    }
}

fn table(batch: &Batch, records: &Records) {
    // Where nobody is asked, nobody needs the column.
    let opinions = records.values().any(|record| !second_opinion(record).is_empty());
    let column = |text: &str| if opinions { format!(" {text:<20}") } else { String::new() };
    let asked = column("second opinion");
    say!("{:<20} {:>8}  {:<8} {:<44}{asked} {:>10}  text", "post", "score", "decision", "reason", "latency");
    for key in &batch.keys {
        let text = batch.texts.get(key).map(String::as_str).unwrap_or_default();
        let id = line(key.0.as_str());
        let Some(record) = records.get(key) else {
            let asked = column("");
            say!("{id:<20} {:>8}  {:<8} {:<44}{asked} {:>10}  {text}", "", "LOST", "", "");
            continue;
        };
        let score = record.score.map_or_else(|| "none".to_owned(), |score| format!("{score:.3}"));
        let reasons: Vec<_> = record.reasons.iter().map(|reason| reason.rule.as_str()).collect();
        say!(
            "{id:<20} {score:>8}  {:<8} {:<44}{} {:>7} ms  {text}",
            record.decision,
            line(&reasons.join(", ")),
            column(&line(&second_opinion(record))),
            latency_ms(record)
        );
    }
    say!("");
}

fn summary(batch: &Batch, before: &Records, after: &Records, lost_rejects: usize, elapsed: Duration) -> ExitCode {
    let count = |decision| after.values().filter(|record| record.decision == decision).count();
    let same = |key: &Key, now: &DecisionRecord| before.get(key).filter(|then| then.revision == now.revision);
    let fresh: Vec<_> = after.iter().filter(|(key, now)| same(key, now).is_none()).collect();
    // A provisional decision is there to be replaced.
    let changed =
        after.iter().filter(|(key, now)| same(key, now).is_some_and(|then| !then.provisional && then != *now)).count();
    let lost = batch.keys.len() - after.len();
    let waiting = after.values().filter(|record| record.provisional).count();
    say!(
        "{} messages sent in {:.1} s for {} posts, {} lines that cannot be read as posts{}",
        batch.bodies.len(),
        elapsed.as_secs_f64(),
        batch.keys.len(),
        batch.rejects.len(),
        if batch.unsendable > 0 {
            format!("; {} lines not sent: not UTF-8 or over 1 MiB", batch.unsendable)
        } else {
            String::new()
        }
    );
    say!(
        "{} decided now, {} before, {} of those changed: {} approve, {} review, {} hide",
        fresh.len(),
        after.len() - fresh.len(),
        changed,
        count(Decision::Approve),
        count(Decision::Review),
        count(Decision::Hide)
    );
    latencies("decided", fresh.iter().filter(|(_, record)| record.attempt == 1).map(|(_, record)| *record));
    latencies("decided again", fresh.iter().filter(|(_, record)| record.attempt > 1).map(|(_, record)| *record));
    if let Some(opinions) = opinions(after) {
        say!("{}", line(&opinions));
    }
    say!("{lost} posts lost, {lost_rejects} of {} unreadable lines not in quarantine", batch.rejects.len());
    if waiting > 0 {
        say!(
            "{waiting} posts still wait for their second opinion: see `moderato tail escalations` and the escalate function's log"
        );
    }
    ExitCode::from(u8::from(lost + waiting + lost_rejects + changed + batch.unsendable > 0))
}

fn latencies<'a>(until: &str, records: impl Iterator<Item = &'a DecisionRecord>) {
    let mut latencies: Vec<_> = records.map(latency_ms).collect();
    latencies.sort_unstable();
    if let (Some(p50), Some(p90), Some(p99)) =
        (percentile(&latencies, 50), percentile(&latencies, 90), percentile(&latencies, 99))
    {
        say!("latency from sent to {until}: p50 {p50} ms, p90 {p90} ms, p99 {p99} ms");
    }
}

/// How many second opinions were had, and why others were not; `None` where nobody was asked.
fn opinions(records: &Records) -> Option<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for record in records.values().filter(|record| record.second_opinion.is_some()) {
        *counts.entry(second_opinion(record)).or_default() += 1;
    }
    let counts: Vec<_> = counts.iter().map(|(opinion, count)| format!("{count} {opinion}")).collect();
    (!counts.is_empty()).then(|| format!("second opinions: {}", counts.join(", ")))
}

/// The smallest value that `percent` of `sorted` do not exceed (nearest rank).
fn percentile(sorted: &[i64], percent: usize) -> Option<i64> {
    sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied()
}

/// The beginning of a text, on one line.
fn excerpt(text: &str) -> String {
    const LENGTH: usize = 60;
    let mut shown: String = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).take(LENGTH).collect();
    shown = line(&shown);
    if text.chars().nth(LENGTH).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_is_told_in_words() {
        let sample = include_str!("../../events/messages/decision.json");
        let mut record: DecisionRecord = serde_json::from_str(sample).unwrap();
        let told = |record: &DecisionRecord| second_opinion(record);
        assert_eq!(told(&record), "endpoint");
        record.second_opinion = Some(Consulted {
            by: Adviser::Lambda,
            state: ScoreState::Unavailable,
            why: Some("late".to_owned()),
            model: None,
        });
        assert_eq!(told(&record), "no lambda: late");
        let records = Records::from([((record.post_id.clone(), None), record.clone())]);
        assert_eq!(opinions(&records).as_deref(), Some("second opinions: 1 no lambda: late"));
        (record.second_opinion, record.provisional) = (None, true);
        assert_eq!(told(&record), "waits");
        record.provisional = false;
        assert_eq!((told(&record).as_str(), opinions(&Records::new())), ("", None));
    }

    #[test]
    fn an_excerpt_is_one_line_that_drives_nothing() {
        assert_eq!(excerpt("two\nlines\u{2028}and\ta tab"), "two lines and a tab");
        assert_eq!(excerpt("\u{1b}[2J\u{202e}"), "\\u001b[2J\\u202e");
        assert_eq!(excerpt(&"x".repeat(61)), "x".repeat(60) + "…");
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let values: Vec<i64> = (1..=200).collect();
        let of = |percent| percentile(&values, percent);
        assert_eq!((of(50), of(90), of(99), of(100)), (Some(100), Some(180), Some(198), Some(200)));
        assert_eq!((percentile(&[], 50), percentile(&[7], 99)), (None, Some(7)));
    }
}
