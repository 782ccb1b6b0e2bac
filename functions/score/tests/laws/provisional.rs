//! Where the policy asks for a second opinion, the first decision is provisional: it says so, asks, and leaves the review task to
//! whoever answers.

use crate::common::*;
use domain::policy::{Decision, FALLBACK};
use domain::{DecidedBy, Escalation};
use serde_json::json;
use std::sync::Arc;

/// The default policy with a second opinion on what is uncertain and on media.
pub fn policy() -> String {
    let asked = "second_opinion: { by: endpoint, bands: [hate-uncertain], media: true, timeout_ms: 800, due_seconds: 60, \
                 daily_budget_usd: 1, usd_per_hour: 1.41 }\n";
    format!("{FALLBACK}\n{asked}")
}

fn asked(world: &World) -> Vec<String> {
    let read = |body: &String| Escalation::parse(body.as_bytes()).ok().unwrap().post.post_id.to_string();
    store_bodies(world).iter().map(read).collect()
}

fn store_bodies(world: &World) -> Vec<String> {
    world.escalations.sent().into_iter().map(|message| message.body).collect()
}

#[tokio::test]
async fn the_uncertain_and_the_seen_are_asked_about_and_nobody_else() {
    let world = Arc::new(World::default());
    let app = app_with(&world, judge(Some(&policy())));
    let media = json!([{ "uri": "s3://content/a.png" }]);
    let bodies = [
        post("harmless", HARMLESS),
        post("uncertain", UNCERTAIN),
        post("hateful", HATEFUL),
        post_with("picture", json!({ "media": media })),
        post_with("hateful-picture", json!({ "text": HATEFUL, "lang": "en", "media": media })),
    ];
    assert_eq!(deliver(&app, &bodies).await, Vec::<usize>::new());
    assert_eq!(asked(&world), ["uncertain", "picture"]);
    let provisional = |post: &str| world.record(post, 1).unwrap().provisional;
    assert!(provisional("uncertain") && provisional("picture"));
    assert!(!provisional("harmless") && !provisional("hateful") && !provisional("hateful-picture"));
    // The task about what is asked is owed by whoever asks.
    assert_eq!(world.sent().0, [task_id("hateful"), task_id("hateful-picture")]);
    assert_eq!(world.record("uncertain", 1).unwrap().decision, Decision::Review);

    // Delivered again, the same is asked again, until it is answered.
    assert_eq!(deliver(&app, &bodies).await, Vec::<usize>::new());
    assert_eq!(asked(&world), ["uncertain", "picture", "uncertain", "picture"]);
    let mut answered = world.record("uncertain", 1).unwrap();
    (answered.attempt, answered.provisional) = (2, false);
    world.decisions.replace(answered.clone());
    let mut verdict = world.record("picture", 1).unwrap();
    (verdict.decided_by, verdict.provisional) = (DecidedBy::Human, false);
    world.decisions.replace(verdict);
    let tasks = world.sent().0.len();
    assert_eq!(deliver(&app, &bodies[1..2]).await, Vec::<usize>::new());
    assert_eq!(deliver(&app, &bodies[3..4]).await, Vec::<usize>::new());
    assert_eq!((asked(&world).len(), world.sent().0.len()), (4, tasks));
}

#[tokio::test]
async fn a_message_stays_until_the_question_is_sent() {
    let world = Arc::new(World::default());
    let app = app_with(&world, judge(Some(&policy())));
    world.breaks(Fault::Send("escalations", "uncertain"));
    let bodies = [post("harmless", HARMLESS), post("uncertain", UNCERTAIN)];
    assert_eq!(deliver(&app, &bodies).await, [1]);
    world.mends();
    assert_eq!(deliver(&app, &bodies).await, Vec::<usize>::new());
    assert_eq!(asked(&world), ["uncertain"]);
}

#[tokio::test]
async fn what_is_too_long_to_ask_about_goes_to_a_person() {
    let world = Arc::new(World::default());
    let app = app_with(&world, judge(Some(&policy())));
    let long = format!("{UNCERTAIN} {}", "very ".repeat(60_000));
    assert_eq!(deliver(&app, &[post("long", &long)]).await, Vec::<usize>::new());
    let record = world.record("long", 1).unwrap();
    assert!(!record.provisional, "{:?}", record.score);
    assert_eq!(asked(&world), Vec::<String>::new());
    assert_eq!(world.sent().0.len(), usize::from(record.decision != Decision::Approve));
}

/// The message holds the post as it was decided on, whatever envelope or object it came in.
#[tokio::test]
async fn the_question_holds_the_post() {
    let world = Arc::new(World::default());
    let app = app_with(&world, judge(Some(&policy())));
    world.keeps(CONTENT, "texts/u", UNCERTAIN).await;
    let reference =
        post_with("by-reference", json!({ "text_ref": "s3://content/texts/u", "lang": "en", "author_id": "u" }));
    let wrapped = json!({ "specversion": "1.0", "type": "t", "source": "s", "id": "1",
        "data": serde_json::from_str::<serde_json::Value>(&post("wrapped", UNCERTAIN)).unwrap() });
    assert_eq!(deliver(&app, &[reference.clone(), wrapped.to_string()]).await, Vec::<usize>::new());
    let sent: Vec<Escalation> =
        store_bodies(&world).iter().map(|body| Escalation::parse(body.as_bytes()).ok().unwrap()).collect();
    assert!(sent[0].post.to_value() == domain::Post::parse(reference.as_bytes()).ok().unwrap().to_value());
    assert_eq!((sent[1].post.text.as_deref(), sent[1].received_at.millis()), (Some(UNCERTAIN), SENT_MS));
}
