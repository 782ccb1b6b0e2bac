//! The posts that are sent, and the authors who wrote them: the same in every run.

use flate2::read::MultiGzDecoder;
use hyper::body::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

/// Some posts and how they were picked.
pub struct Mix {
    pub name: &'static str,
    pub description: String,
    pub texts: Vec<String>,
}

/// Texts taken of each source.
const TEXTS: usize = 4_000;
/// One post in this many of the mix `platform` is labelled hateful.
const HATEFUL_ONE_IN: usize = 50;
/// One post in this many is a new revision of an earlier one; as many come twice.
const ONE_IN: usize = 100;
/// Authors there are; three in four have a feature row.
const AUTHORS: u64 = 2_000;
/// 2026-11-23T10:00:00Z: when all messages reached the queue, and what ages are counted from.
const SENT_MS: i64 = 1_795_428_000_000;
const DAY_MS: i64 = 86_400_000;

/// One column of a corpus, the whole of it or the rows with a label.
struct Source(&'static str, &'static str, Option<(&'static str, &'static str)>);

/// All rows, whatever their label: posts that were collected because they may be hateful.
const CORPORA: [Source; 5] = [
    Source("hatexplain_train_text_label.csv.gz", "text", None),
    Source("davidson_2017_labeled_tweets.csv.gz", "tweet", None),
    Source("stormfront_vicomtech.csv.gz", "text", None),
    Source("edos_sexism.csv.gz", "text", None),
    Source("toxic_spans_semeval2021.csv.gz", "text", None),
];
/// Rows that people found harmless.
const HARMLESS: [Source; 3] = [
    Source("davidson_2017_labeled_tweets.csv.gz", "tweet", Some(("class", "2"))),
    Source("stormfront_vicomtech.csv.gz", "text", Some(("label", "noHate"))),
    Source("surge_toxicity_1k.csv.gz", "text", Some(("is_toxic", "Not Toxic"))),
];
const HATEFUL: [Source; 1] = [Source("hatexplain_train_text_label.csv.gz", "text", Some(("label", "hatespeech")))];

/// The mixes: `platform`, as a platform sees posts, and `corpora`, as those who study hate collect them. Without the
/// corpora one mix of the sample posts in this tree.
pub fn mixes(root: &Path, data: &Path) -> Vec<Mix> {
    let data = root.join(data);
    let (Some(corpora), Some(harmless), Some(hateful)) =
        (read(&data, &CORPORA), read(&data, &HARMLESS), read(&data, &HATEFUL))
    else {
        let description = format!(
            "sample posts of infra/local/posts.jsonl over and over: there are no corpora in {}",
            data.display()
        );
        return vec![Mix { name: "samples", description, texts: samples(root) }];
    };
    let platform = (0..TEXTS * HARMLESS.len())
        .map(|place| {
            let from = if place % HATEFUL_ONE_IN == 7 { &hateful } else { &harmless };
            from[place % from.len()].clone()
        })
        .collect();
    vec![
        Mix {
            name: "platform",
            description: format!(
                "a benign majority: Davidson `neither`, Stormfront `noHate` and Surge `Not Toxic` in turn, one post in {HATEFUL_ONE_IN} HateXplain `hatespeech`"
            ),
            texts: platform,
        },
        Mix {
            name: "corpora",
            description: "HateXplain, Davidson, Stormfront, EDOS and toxic spans in turn, all labels: collected because they may be hateful".to_owned(),
            texts: corpora,
        },
    ]
}

/// Texts of the sources in turn, each shuffled; `None` where a file is missing.
fn read(data: &Path, sources: &[Source]) -> Option<Vec<String>> {
    let mut columns: Vec<Vec<String>> = Vec::new();
    for Source(file, text, label) in sources {
        let mut reader = csv::Reader::from_reader(MultiGzDecoder::new(File::open(data.join(file)).ok()?));
        let mut texts: Vec<String> = reader
            .deserialize::<BTreeMap<String, String>>()
            .map(|row| row.unwrap())
            .filter(|row| label.is_none_or(|(column, wanted)| row[column] == wanted))
            .map(|mut row| row.remove(*text).unwrap())
            .collect();
        // By digest: an order that has nothing to do with the file's, and never changes.
        texts.sort_by_cached_key(|text| domain::sha256_hex(text.as_bytes()));
        columns.push(texts);
    }
    let turns = (0..TEXTS).flat_map(|row| columns.iter().map(move |column| column[row % column.len()].clone()));
    Some(turns.collect())
}

fn samples(root: &Path) -> Vec<String> {
    let lines = std::fs::read_to_string(root.join("infra/local/posts.jsonl")).unwrap();
    let of = |line: &str| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned();
    lines.lines().map(of).collect()
}

/// A number that looks random and is a function of `n`.
fn mixed(n: u64) -> u64 {
    let mut x = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// An id as platforms have them.
fn uuid(n: u64) -> String {
    let (high, low) = (mixed(n), mixed(!n));
    let part = |bits: u64, shift: u32, digits: u32| (bits >> shift) & ((1_u64 << (4 * digits)) - 1);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        part(high, 0, 8),
        part(high, 32, 4),
        part(high, 48, 4),
        part(low, 0, 4),
        part(low, 16, 12)
    )
}

fn author(post: u64) -> u64 {
    mixed(post) % AUTHORS
}

fn author_id(author: u64) -> String {
    format!("{}-{author:04}", uuid(author << 20))
}

/// `count` batches as Lambda hands them to a function; `salt` makes the ids of two lots different.
pub fn batches(mix: &Mix, count: usize, size: usize, salt: u64) -> Vec<Bytes> {
    let message = |place: usize| message(mix, place, salt << 32);
    (0..count)
        .map(|batch| {
            let records: Vec<Value> = (batch * size..(batch + 1) * size).map(message).collect();
            serde_json::to_vec(&json!({ "Records": records })).unwrap().into()
        })
        .collect()
}

fn message(mix: &Mix, place: usize, salt: u64) -> Value {
    // Late enough that what it repeats or revises came in an earlier batch.
    let (of, text, revision) = match place % ONE_IN {
        73 => (place - 37, place - 37, 1),
        91 => (place - 41, place, 2),
        _ => (place, place, 1),
    };
    let post = salt | of as u64;
    let body = json!({
        "post_id": uuid(post), "revision": revision, "author_id": author_id(author(post)),
        "created_at": "2026-11-23T09:59:57Z", "text": mix.texts[text % mix.texts.len()], "lang": "en", "surface": "post",
        "media": [], "text_ref": null, "context": { "reply_to": null },
    });
    json!({
        "messageId": uuid(salt | place as u64 | 1 << 31),
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a", "body": body.to_string(),
        "attributes": {
            "ApproximateReceiveCount": "1", "SentTimestamp": SENT_MS.to_string(), "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": (SENT_MS + 1).to_string(),
        },
        "messageAttributes": {}, "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3", "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:111122223333:moderato-dev-posts", "awsRegion": "us-east-1",
    })
}

/// The feature row of an author as an item; posts are new, and have none.
pub fn feature_row(entity: &str) -> Option<String> {
    let author: u64 = entity.strip_prefix("user#")?.rsplit_once('-')?.1.parse().ok()?;
    let die = mixed(author ^ 0xfeed);
    if die.is_multiple_of(4) {
        return None;
    }
    let day = |back: i64| domain::Timestamp::from_millis(SENT_MS - back * DAY_MS).to_string();
    let days = i64::try_from(die >> 8 & 0xfff).unwrap();
    // One in twenty was not updated for a week, one in ten has violations behind it.
    let updated = day(if die >> 20 & 0xff < 13 { 7 } else { 0 });
    let violations = if die >> 28 & 0xff < 26 { 1 + (die >> 36 & 3) } else { 0 };
    Some(format!(
        r#"{{"entity":{{"S":"{entity}"}},"updated_at":{{"S":"{updated}"}},"account_created_at":{{"S":"{}"}},"followers":{{"N":"{}"}},"prior_violations":{{"N":"{violations}"}},"reports_received":{{"N":"{}"}},"reports_sent":{{"N":"{}"}},"verified":{{"BOOL":{}}}}}"#,
        day(days),
        die >> 40 & 0xffff,
        die >> 44 & 7,
        die >> 48 & 15,
        die >> 52 & 7 == 0,
    ))
}
