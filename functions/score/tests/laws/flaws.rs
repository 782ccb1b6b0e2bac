//! Law 12: every event with a readable id and text is decided on its text; nothing that somebody can type prevents it.

use crate::common::*;
use domain::policy::Decision;
use domain::{DecidedBy, DecisionRecord};
use serde_json::{Value, json};
use std::sync::Arc;

async fn decided(body: impl Into<Body>) -> (Arc<World>, DecisionRecord) {
    let world = Arc::new(World::default());
    let body = body.into();
    assert_eq!(deliver(&app(&world), std::slice::from_ref(&body)).await, Vec::<usize>::new());
    let records = world.decisions.all();
    assert_eq!(records.len(), 1, "{}", if let Body::Text(text) = &body { text } else { "" });
    (world, records.into_iter().next().unwrap())
}

#[tokio::test]
async fn a_flaw_beside_the_text_is_noted_and_the_text_decides() {
    let with = |flaw: &str| format!(r#"{{"post_id":"p","text":"{HATEFUL}",{flaw}}}"#);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (body, note) in [
        (with(r#""toxicity":NaN"#), "json"),
        (with(r#""toxicity":-Infinity"#), "json"),
        (with(r#""toxicity":1e999"#), "json"),
        (with(&format!(r#""extra":{deep}"#)), "json"),
        (with(r#""extra":"\ud83d""#), "characters"),
        (format!("\u{FEFF}{}", post("p", HATEFUL)), "json"),
        (with(r#""created_at":"2026-11-23T10:00:00""#), "field:created_at"),
        (with(r#""created_at":1795428000000"#), "field:created_at"),
        (with(r#""created_at":{}"#), "field:created_at"),
        (with(r#""author_id":"""#), "field:author_id"),
        (with(r#""author_id":["u"]"#), "field:author_id"),
        (with(r#""author_id":"a\u0000b""#), "field:author_id"),
        (with(r#""author_id":"\ud83d""#), "field:author_id"),
        (with(&format!(r#""author_id":"{}""#, "u".repeat(257))), "field:author_id"),
        (with(r#""lang":["en"]"#), "field:lang"),
        (with(r#""lang":7"#), "field:lang"),
        (with(&format!(r#""lang":"{}""#, "e".repeat(36))), "field:lang"),
        (with(r#""context":[]"#), "field:context"),
        (with(r#""context":"q""#), "field:context"),
        (with(r#""context":{"reply_to":["q"]}"#), "field:context"),
        (with(r#""revision":0"#), "field:revision"),
        (with(r#""revision":-1"#), "field:revision"),
        (with(r#""revision":1.5"#), "field:revision"),
        (with(r#""revision":"first""#), "field:revision"),
        (with(r#""revision":99999999999999999999"#), "field:revision"),
        (with(r#""revision":1,"revision":2"#), "field:revision"),
        (with(r#""title":"a","title":"b""#), "field:title"),
        (with(r#""media":{}"#), "field:media"),
        (with(r#""media":5"#), "field:media"),
        (with(r#""surface":"ssssssssssssssssssssssssssssssssssss""#), "field:surface"),
        (with(r#""surface":true"#), "field:surface"),
        (with(r#""title":{}"#), "field:title"),
        (with(r#""text_ref":"""#), "field:text_ref"),
        (with(r#""text_ref":false"#), "field:text_ref"),
    ] {
        let (_, record) = decided(body.clone()).await;
        let short: String = body.chars().take(200).collect();
        assert_eq!((record.decision, record.decided_by), (Decision::Hide, DecidedBy::Model), "{short}");
        assert!(record.degraded.iter().any(|name| name == note), "{short}: {:?}", record.degraded);
    }
}

#[tokio::test]
async fn numbers_as_ids_are_read_as_their_digits() {
    for (written, read) in
        [("42", "42"), ("42.0", "42"), ("-7", "-7"), ("12345678901234567890123", "12345678901234567890123")]
    {
        let body = format!(
            r#"{{"post_id":{written},"author_id":{written},"text":"{HARMLESS}","context":{{"reply_to":{written}}}}}"#
        );
        let (_, record) = decided(body).await;
        assert_eq!((record.post_id.as_str(), record.author_id.as_ref().map(|id| id.as_str())), (read, Some(read)));
        assert!(record.degraded.is_empty() && record.post.is_reply, "{:?}", record.degraded);
    }
}

#[tokio::test]
async fn halves_of_characters_are_replaced_wherever_they_are() {
    // In the body's own JSON, and in the JSON of the event around it.
    let inside = format!(r#"{{"post_id":"p","text":"{HATEFUL} \ud83d","title":"\udc00"}}"#);
    let (_, record) = decided(inside).await;
    assert_eq!((record.decision, record.degraded.as_slice()), (Decision::Hide, &["characters".to_owned()][..]));
    let (_, record) = decided(Body::Escaped(
        r#""{\"post_id\":\"p\",\"text\":\"Immigrants are vermin, deport them all, they are subhuman filth. \ud83d\"}""#,
    ))
    .await;
    assert_eq!((record.decision, record.degraded.as_slice()), (Decision::Hide, &["characters".to_owned()][..]));
}

#[tokio::test]
async fn whatever_a_text_is_written_as_its_words_are_read() {
    for text in
        [json!([HARMLESS, HATEFUL]), json!({ "en": HATEFUL }), json!([{ "insert": HARMLESS }, { "insert": HATEFUL }])]
    {
        let (_, record) = decided(post_with("p", json!({ "text": text }))).await;
        assert_eq!(record.decision, Decision::Hide, "{text}");
        assert_eq!(record.degraded, ["field:text"]);
    }
}

/// Deep down, as the name of a field, without quotes, twice: what a person could read is read.
#[tokio::test]
async fn no_shape_hides_words() {
    let deep = format!(r#"{}{{"a":["{HATEFUL}"]}}{}"#, "[".repeat(100), "]".repeat(100));
    let field = |name: &str, value: &str| format!(r#"{{"post_id":"p","text":"{HARMLESS}","{name}":{value}}}"#);
    for body in [
        format!(r#"{{"post_id":"p","title":"{HARMLESS}","text":{deep}}}"#),
        format!(r#"{{"post_id":"p","title":"{HARMLESS}","text":{{"{HATEFUL}":true}}}}"#),
        format!(r#"{{"post_id":"p","text":"{HATEFUL}","text":"{HARMLESS}"}}"#),
        format!(r#"{{"post_id":"p","text":"{HARMLESS}","text":"{HATEFUL}","text":"{HARMLESS}"}}"#),
        field("title", &deep),
        field("spoiler_text", &format!(r#"[[],{{"{HATEFUL}":[]}}]"#)),
        field("media", &format!(r#"[{{"uri":"s3://b/k","alt":{deep}}}]"#)),
        field("media", &format!(r#"{{"uri":"s3://b/k","alt":"{HATEFUL}","alt":"{HARMLESS}"}}"#)),
    ] {
        let (_, record) = decided(body.clone()).await;
        assert_eq!(record.decision, Decision::Hide, "{body}");
        assert!(record.degraded.iter().any(|note| note.starts_with("field:")), "{:?}", record.degraded);
    }
}

/// What stands in the place of content and says nothing to a reader, beside content that is harmless.
#[tokio::test]
async fn content_of_no_readable_shape_goes_to_a_person() {
    let many = json!(vec![json!({ "uri": "s3://b/k" }); 101]).to_string();
    for (name, value, unread) in [
        ("text", "true", "text"),
        ("text", "[[true]]", "text"),
        ("title", "true", "title"),
        ("spoiler_text", "[false,true]", "spoiler_text"),
        ("display_name", "true", "display_name"),
        ("text_ref", "17", "text_ref"),
        ("media", r#"[null,{"uri":"s3://b/k"},{"uri":"s3://b/k","alt":true}]"#, "alt:1"),
        ("media", &many, "alt:100"),
    ] {
        let beside = if name == "title" { "text" } else { "title" };
        let (world, record) = decided(format!(r#"{{"post_id":"p","{beside}":"{HARMLESS}","{name}":{value}}}"#)).await;
        assert_eq!(record.decision, Decision::Review, "{name}: {value}");
        assert_eq!(record.content.unread, [unread], "{name}: {value}");
        assert_eq!(world.sent().0, [task_id("p")]);
    }
    // Where there is nothing, nothing is unread; an empty text is decided like any other.
    for (name, value) in [
        ("text", "NaN"),
        ("text", "false"),
        ("title", "[[]]"),
        ("spoiler_text", "{}"),
        ("media", "0"),
        ("text", r#""""#),
    ] {
        let beside = if name == "title" { "text" } else { "title" };
        let (_, record) = decided(format!(r#"{{"post_id":"p","{beside}":"{HARMLESS}","{name}":{value}}}"#)).await;
        assert_eq!((record.decision, record.content.unread), (Decision::Approve, Vec::new()), "{name}: {value}");
    }
}

/// A text in any field that people see counts, the highest; the record names it.
#[tokio::test]
async fn every_text_of_a_post_is_a_view_of_its_own() {
    for (fields, view) in [
        (json!({ "text": HARMLESS, "title": HATEFUL }), "title"),
        (json!({ "text": HARMLESS, "spoiler_text": HATEFUL, "title": HARMLESS }), "spoiler_text"),
        (json!({ "text": HARMLESS, "display_name": HATEFUL }), "display_name"),
        (json!({ "title": HATEFUL }), "title"),
        (json!({ "text": HATEFUL, "title": HARMLESS }), "text"),
        (json!({ "text": HARMLESS, "media": [{ "uri": "s3://b/1" }, { "uri": "s3://b/2", "alt": HATEFUL }] }), "alt:1"),
    ] {
        let (_, record) = decided(post_with("p", fields.clone())).await;
        assert_eq!(
            (record.decision, record.scores["hate"].view.to_string().as_str()),
            (Decision::Hide, view),
            "{fields}"
        );
        // Spans are places in that text.
        let spans = record.explanation.unwrap().spans;
        assert!(!spans.is_empty() && spans.iter().all(|span| span.end <= HATEFUL.chars().count()));
    }
}

/// Content that is there and cannot be read never leads to approval, and never keeps the post from being decided.
#[tokio::test]
async fn content_that_cannot_be_read_is_evidence_that_is_unavailable() {
    for (reference, note) in [
        ("s3://content/absent", "content:object_missing"),
        ("s3://elsewhere/a", "content:bucket_not_allowed"),
        ("https://example.com/a", "content:invalid_field"),
        ("s3://content/huge", "content:too_large"),
        ("s3://content/latin-1", "content:invalid_utf8"),
    ] {
        for (text, decision) in
            [(Value::Null, Decision::Review), (json!(HARMLESS), Decision::Review), (json!(HATEFUL), Decision::Hide)]
        {
            let world = Arc::new(World::default());
            world.keeps(CONTENT, "huge", vec![b' '; 1024 * 1024 + 1]).await;
            world.keeps(CONTENT, "latin-1", b"caf\xe9".to_vec()).await;
            let body = post_with("p", json!({ "text": text, "text_ref": reference }));
            assert_eq!(deliver(&app(&world), &[body]).await, Vec::<usize>::new(), "{reference}");
            let record = world.record("p", 1).unwrap();
            assert_eq!(record.decision, decision, "{reference} {text}");
            assert!(record.degraded.iter().any(|name| name == note), "{:?}", record.degraded);
            assert_eq!(record.content.unread, ["text_ref"]);
            assert_eq!(world.sent().0, [task_id("p")]);
            assert_eq!(world.objects_under("quarantine/").await, Vec::<String>::new());
        }
    }
}

/// Messages about a post are ASCII, which no queue refuses, with any characters in the post.
#[tokio::test]
async fn what_is_sent_is_ascii() {
    let policy = std::fs::read_to_string(root().join("shared/domain/policies/second-opinion.yaml")).unwrap();
    let world = Arc::new(World::default());
    let app = app_with(&world, judge(Some(&policy)));
    let id = "p-é\u{1F600}";
    let text = format!("{UNCERTAIN} \u{FFFE}\u{FFFF}\u{1FFFF}\u{7f}\u{85}é\u{1F600}");
    assert_eq!(
        deliver(&app, &[post(id, &text), post("q-é", &format!("{HATEFUL} \u{FFFE}"))]).await,
        Vec::<usize>::new()
    );
    let sent: Vec<_> =
        [&world.tasks, &world.actions, &world.escalations].iter().flat_map(|queue| queue.sent()).collect();
    assert!(sent.len() >= 3);
    assert!(sent.iter().all(|message| message.body.bytes().all(|byte| (b' '..0x7f).contains(&byte))));
    let asked = domain::Escalation::parse(world.escalations.sent()[0].body.as_bytes()).ok().unwrap();
    assert_eq!((asked.post.post_id.as_str(), asked.post.text.as_deref()), (id, Some(text.as_str())));
}

/// An object that cannot be read just now is waited for, and not for ever: the post is public all the while.
#[tokio::test]
async fn a_text_that_cannot_be_read_for_long_goes_to_a_person() {
    let world = Arc::new(World::default());
    world.keeps(CONTENT, "a", HARMLESS).await;
    let app = app(&world);
    let body = post_with("p", json!({ "text_ref": "s3://content/a" }));
    world.breaks(Fault::Read);
    for receives in 1..=4 {
        let record = json!({ "messageId": "m0", "body": body, "attributes": { "ApproximateReceiveCount": receives.to_string() } });
        let event = json!({ "Records": [record] }).to_string();
        let batch = runtime::SqsBatch::parse(&serde_json::value::RawValue::from_string(event).unwrap()).unwrap();
        let left = std::time::Duration::from_secs(30);
        let deadline_ms = runtime::telemetry::now_ms() + 30_000;
        let invocation =
            runtime::Invocation { deadline: store::Deadline::now() + left, deadline_ms, cold_start: false };
        let response = score::handle(&app, batch, invocation).await.unwrap();
        assert_eq!(response.failures().count(), usize::from(receives < 4), "delivery {receives}");
    }
    let record = world.record("p", 1).unwrap();
    assert_eq!((record.decision, record.content.unread.as_slice()), (Decision::Review, &["text_ref".to_owned()][..]));
    assert!(record.degraded.contains(&"content:unreadable".to_owned()));
}
