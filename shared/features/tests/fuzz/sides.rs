//! A post with a readable id and text is read and keeps its text, with any value in any other field. Where the JSON itself is broken, the
//! error names the post.

use crate::envelopes::intake::{Intake, Reject, read};
use crate::{ends, material};
use domain::Post;
use std::time::Duration;

/// Fields of a post, and names that other envelopes use; the id and the text may stand there twice.
const NAMES: [&str; 26] = [
    "author_id",
    "revision",
    "created_at",
    "lang",
    "surface",
    "media",
    "context",
    "text_ref",
    "title",
    "spoiler_text",
    "display_name",
    "format",
    "specversion",
    "Type",
    "Message",
    "detail-type",
    "detail",
    "Records",
    "Event",
    "data",
    "data_base64",
    "posts",
    "",
    "unknown",
    "text",
    "post_id",
];

/// Values that no schema expects.
const VALUES: [&str; 40] = [
    "null",
    "true",
    "0",
    "-0",
    "1.0",
    "1e999",
    "-1e999",
    "NaN",
    "Infinity",
    "-Infinity",
    "9007199254740993",
    "123456789012345678901234567890",
    "0.1e-400",
    "\"\"",
    "\"x\"",
    "\" \"",
    r#""\ud83d""#,
    r#""\udc00\ud800""#,
    r#""\u0000""#,
    "\"\u{FFFE}\"",
    "\"\u{FFFF}\"",
    "\"\u{FEFF}\"",
    "\"2026-11-23T10:00:00Z\"",
    "\"2026-11-23 10:00:00\"",
    "1795428000000",
    "\"s3://b/k\"",
    "\"s3:///\"",
    "\"en\"",
    "\"pt-BR\"",
    "[]",
    "[null]",
    "[[]]",
    "{}",
    r#"{"uri":1}"#,
    r#"[{"uri":"s3://b/k","alt":[]}]"#,
    r#"[{"uri":null},{"uri":"x","type":7,"etag":{}}]"#,
    r#"{"reply_to":["a"]}"#,
    r#"{"post_id":"other","text":"other"}"#,
    r#"[{"post_id":"other"}]"#,
    r#""{\"post_id\":\"other\"}""#,
];

const TEXT: &str = "what people see";

#[test]
fn fuzz_sides() {
    bolero::check!(name = "sides").with_test_time(Duration::from_secs(1)).for_each(any_sides);
}

#[test]
fn mutations_of_sides() {
    let material = material("sides");
    bolero::check!(name = "mutations")
        .with_test_time(Duration::from_secs(2))
        .with_max_len(80)
        .for_each(|recipe| any_sides(&material.mutated(recipe)));
}

/// Pairs of bytes choose fields and values. The first byte says where the id and the text stand among them, and whether what follows the
/// pairs stands in a field as it is, which may break the JSON.
fn any_sides(recipe: &[u8]) {
    let Some((&first, rest)) = recipe.split_first() else { return };
    let raw = first & 0x80 != 0;
    let (pairs, tail) = rest.split_at(if raw { rest.len().min(4) } else { rest.len() });
    let mut fields: Vec<Vec<u8>> =
        pairs.chunks(2).map(|pair| side(pair[0], pair.get(1).copied().unwrap_or(0))).collect();
    let place = usize::from(first & 0x3f) % (fields.len() + 1);
    fields.insert(place, br#""post_id":"p""#.to_vec());
    let place = usize::from(first >> 2 & 0xf) % (fields.len() + 1);
    fields.insert(place, format!(r#""text":"{TEXT}""#).into_bytes());
    if raw {
        fields.push([br#""raw":"#, tail].concat());
    }
    let body = [b"{".as_slice(), &fields.join(&b","[..]), b"}"].concat();
    let shown = || String::from_utf8_lossy(&body).into_owned();
    let other = body.windows(5).any(|word| word == b"other");
    let says = |post: &Post| post.text.iter().any(|text| text.lines().any(|line| line == TEXT));
    match ends(|| read(&body)).as_deref() {
        // What stands beside the post may be an envelope of another.
        Ok([Intake::Post(post), others @ ..]) if !raw => {
            assert!(post.post_id.as_str() == "p" && says(post), "{}", shown());
            assert!(others.is_empty() || other && others.iter().all(names_a_post), "{}", shown());
        }
        Ok([Intake::Post(post)]) if post.text.as_deref() == Some(TEXT) => {
            assert!(post.post_id.as_str() == "p" || renamed(tail), "{}", shown());
        }
        // A raw field may end the object, begin another, or name the post anew.
        Ok(intakes) if raw => assert!(intakes.iter().all(names_a_post), "{}", shown()),
        Err(reject) if raw => {
            let known = reject.about.as_ref().is_some_and(|about| !about.post_id.as_str().is_empty());
            assert!(known || renamed(tail) || std::str::from_utf8(&body).is_err(), "{}: {}", reject.detail, shown());
        }
        // It has two ids.
        Ok([Intake::Unreadable(Reject { about: Some(_), .. }), ..]) | Err(Reject { about: Some(_), .. })
            if pairs.chunks(2).any(|pair| name_of(pair[0]) == "post_id") => {}
        Ok(_) => panic!("no post: {}", shown()),
        Err(reject) => panic!("{}: {}", reject.detail, shown()),
    }
}

fn name_of(name: u8) -> &'static str {
    NAMES[usize::from(name) % NAMES.len()]
}

fn side(name: u8, value: u8) -> Vec<u8> {
    let name = name_of(name);
    // High values are deeper lists than any post has.
    let value = match value {
        250.. => "[".repeat(50 * usize::from(value - 249)) + "]".repeat(50 * usize::from(value - 249)).as_str(),
        _ => VALUES[usize::from(value) % VALUES.len()].to_owned(),
    };
    format!(r#""{name}":{value}"#).into_bytes()
}

fn names_a_post(intake: &Intake) -> bool {
    match intake {
        Intake::Post(_) | Intake::Object { .. } | Intake::Many(_) => true,
        Intake::Unreadable(reject) => !reject.detail.is_empty(),
    }
}

/// Whether what stands in the raw field may give the post another id.
fn renamed(tail: &[u8]) -> bool {
    tail.windows(2).any(|pair| pair == b"id") || tail.contains(&b'\\')
}
