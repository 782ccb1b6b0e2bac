//! Whatever becomes of whoever gives second opinions, every post is decided in time, and none is removed for want of one.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail loudly"
)]

mod images;
mod service;

use domain::policy::Decision;
use domain::{DecidedBy, ScoreState, View};
use serde_json::json;
use service::*;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_well_decides() {
    for (value, decision) in [(0.05, Decision::Approve), (0.5, Decision::Review), (0.95, Decision::Hide)] {
        let service = Service::with(Mood::Well(value));
        let records = service.stream(0, 100).await;
        assert_eq!(all_is_well(&service, &records), 100);
        assert!(records.iter().all(|record| record.decision == decision && record.score == Some(value)));
        assert!(
            records.iter().all(|record| record.model.name == "larger" && record.scores["hate"].model == "larger@7")
        );
        // Ten texts travel in one request.
        assert_eq!(service.stub.calls(), 10);
        let action = service.sent().1.first().map(|action| action["action_id"].as_str().unwrap().ends_with("-2-hide"));
        assert_eq!(action, (decision == Decision::Hide).then_some(true));
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_down_from_the_start_costs_nothing_but_reviews() {
    let service = Service::with(Mood::Down);
    let records = service.stream(0, 300).await;
    assert_eq!(all_is_well(&service, &records), 0);
    let whys = whys(&records);
    assert!(whys["failed"] >= 20 && whys["breaker"] > 200, "{whys:?}");
    assert!(service.breaker_is_open());
    // Five failures, then one try after 5, 10 and 20 seconds.
    assert!(service.stub.calls() <= 10, "{} calls", service.stub.calls());
}

#[tokio::test(start_paused = true)]
async fn the_breaker_closes_when_the_endpoint_is_back() {
    let service = Service::with(Mood::Down);
    let before = service.stream(0, 100).await;
    assert!(service.breaker_is_open());
    service.stub.becomes(Mood::Well(0.05));
    let after = service.stream(100, 400).await;
    assert!(!service.breaker_is_open());
    assert!(all_is_well(&service, &[before, after.clone()].concat()) >= 250);
    assert_eq!(all_is_well(&service, &after[200..]), 200, "all is as before");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_hangs_for_ten_minutes_is_left_alone() {
    let service = Service::with(Mood::Hangs);
    let records = service.stream(0, 600).await;
    assert_eq!(all_is_well(&service, &records), 0);
    let whys = whys(&records);
    assert!(whys["timeout"] <= 120 && whys["breaker"] >= 480, "{whys:?}");
    assert!(service.breaker_is_open());
    // Each post that waited did so for one timeout.
    let longest = records.iter().map(|record| record.decided_at.millis() - record.received_at.millis()).max().unwrap();
    assert!(longest <= 1_000, "{longest} ms");
    service.stub.becomes(Mood::Well(0.95));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let back = service.stream(600, 20).await;
    assert_eq!(all_is_well(&service, &back), 20);
    assert!(!service.breaker_is_open());
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_half_of_the_time_is_asked_twice() {
    let service = Service::with(Mood::FailsByHalf(0.95));
    let records = service.stream(0, 2_000).await;
    let had = all_is_well(&service, &records);
    // Two tries: three quarters, less what the breaker leaves out after five failures in a row.
    assert!((1_000..1_700).contains(&had), "{had}: {:?}", whys(&records));
    assert!(records.iter().all(|record| (record.decision == Decision::Hide) == (record.score == Some(0.95))));
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_none_are_not_believed() {
    let model = json!({ "name": "m", "version": "1", "sha256": "00" });
    let text = |opinion: serde_json::Value| json!({ "predictions": vec![json!({ "text": { "ok": opinion } }); 10] });
    let opinion = |raw: serde_json::Value, calibrated: serde_json::Value, model: &serde_json::Value| {
        text(json!({ "raw": raw, "calibrated": calibrated, "model": model })).to_string()
    };
    let nan = opinion(json!(0.9), json!(0.9), &model).replace("0.9", "NaN");
    for says in [
        String::new(),
        "<html>504</html>".to_owned(),
        "{".to_owned(),
        "null".to_owned(),
        json!({ "predictions": [] }).to_string(),
        json!({ "predictions": vec![json!({}); 10] }).to_string(),
        json!({ "predictions": vec![json!({ "text": { "ok": { "raw": 0.9 } } }); 10] }).to_string(),
        text(json!({ "raw": 0.9, "calibrated": 0.9, "model": model })).to_string().replacen("},{", "},{},{", 1),
        nan,
        opinion(json!(0.9), json!("NaN"), &model),
        opinion(json!(0.9), json!(null), &model),
        opinion(json!(0.9), json!(1.5), &model),
        opinion(json!(-0.1), json!(0.9), &model),
        opinion(json!(0.9), json!(0.9), &model).replace("0.9", "1e999"),
        opinion(json!(0.9), json!(0.9), &json!({ "name": "a name\nwith more", "version": "1", "sha256": "00" })),
        opinion(json!(0.9), json!(0.9), &json!({ "name": "m".repeat(500), "version": "1", "sha256": "00" })),
        text(json!({ "raw": 0.9, "calibrated": 0.9, "model": model, "spans": [{ "start": 3, "end": 9_000, "weight": 1.0 }] }))
            .to_string(),
        "x".repeat(6_000_000),
    ] {
        let service = Service::with(Mood::Says(says.clone()));
        let records = service.stream(0, 100).await;
        assert_eq!(all_is_well(&service, &records), 0, "{:.80}", says);
        assert!(whys(&records)["unusable"] >= 50 && service.breaker_is_open(), "{:.80}: {:?}", says, whys(&records));
    }
    // The same, as it should be.
    let service = Service::with(Mood::Says(opinion(json!(0.9), json!(0.9), &model)));
    let records = service.stream(0, 100).await;
    assert_eq!(all_is_well(&service, &records), 100);
    assert!(records.iter().all(|record| record.decision == Decision::Hide));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_five_times_as_slow_still_decides_and_ten_times_as_slow_is_not_waited_for() {
    let service = Service::with(Mood::Slow(0.05, Duration::from_millis(200)));
    let records = service.stream(0, 200).await;
    assert_eq!(all_is_well(&service, &records), 200);
    service.stub.becomes(Mood::Slow(0.05, Duration::from_millis(2_000)));
    let records = service.stream(200, 200).await;
    assert_eq!(all_is_well(&service, &records), 0);
    assert!(whys(&records).keys().all(|why| ["timeout", "breaker"].contains(&&**why)));
}

#[tokio::test(start_paused = true)]
async fn no_more_is_spent_in_a_day_than_the_policy_says() {
    // 1.408 USD an hour: a request of 40 ms comes to 16 millionths, and may come to 313.
    let service = Service::of(Mood::Well(0.05), judge(0.000_7), true);
    let records = service.stream(0, 400).await;
    let had = all_is_well(&service, &records);
    assert!((10..=390).contains(&had), "{had}");
    assert_eq!(whys(&records)["budget"], 400 - had);
    let spent: f64 =
        records.iter().filter(|record| record.second_opinion.as_ref().unwrap().why.is_none()).map(|_| 1.6).sum();
    assert!(spent <= 700.0, "{spent}");
    // Tomorrow there is money again.
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    let tomorrow = service.stream(400, 10).await;
    assert_eq!(all_is_well(&service, &tomorrow), 10);

    let service = Service::of(Mood::Well(0.05), judge(0.0), true);
    let records = service.stream(0, 50).await;
    assert_eq!((all_is_well(&service, &records), service.stub.calls()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_kill_switch_asks_nobody() {
    let service = Service::of(Mood::Well(0.05), judge(5.0), false);
    let records = service.stream(0, 100).await;
    assert_eq!((all_is_well(&service, &records), service.stub.calls()), (0, 0));
    assert_eq!(whys(&records)["off"], 100);
}

#[tokio::test(start_paused = true)]
async fn a_post_that_is_too_old_is_decided_without() {
    let service = Service::with(Mood::Well(0.05));
    let bodies = service.uncertain(0..10).await;
    tokio::time::sleep(DUE - Duration::from_secs(2)).await;
    assert_eq!(service.deliver(&bodies).await, Vec::<usize>::new());
    let records: Vec<_> = (0..10).map(|id| service.record(&format!("p{id}"))).collect();
    assert_eq!((all_is_well(&service, &records), service.stub.calls()), (0, 0));
    assert_eq!(whys(&records)["late"], 10);
}

#[tokio::test(start_paused = true)]
async fn what_comes_too_often_is_decided_without() {
    let service = Service::with(Mood::Well(0.95));
    let bodies = service.uncertain(0..10).await;
    assert_eq!(service.deliver_again(&bodies[..5], 3).await, Vec::<usize>::new());
    assert_eq!(service.deliver_again(&bodies[5..], 4).await, Vec::<usize>::new());
    let records: Vec<_> = (0..10).map(|id| service.record(&format!("p{id}"))).collect();
    assert_eq!((all_is_well(&service, &records), service.stub.calls()), (5, 1));
    assert_eq!(whys(&records), [("tries".to_owned(), 5)].into());
}

/// A review that nobody gets: the escalation of a provisional decision never comes.
#[tokio::test(start_paused = true)]
async fn a_sweep_settles_what_waits_for_too_long() {
    let service = Service::with(Mood::Well(0.95));
    let sweep = vec![r#"{"schema": "sweep/1"}"#.to_owned()];
    service.uncertain(0..25).await;
    tokio::time::sleep(Duration::from_secs(599)).await;
    assert_eq!(service.deliver(&sweep).await, Vec::<usize>::new());
    assert_eq!(service.escalations.sent().len(), 0, "it is not overdue yet");
    tokio::time::sleep(Duration::from_secs(2)).await;
    service.uncertain(25..30).await;
    // Several at once, and one after the other, do no harm.
    assert_eq!(service.deliver(&[sweep.clone(), sweep.clone()].concat()).await, Vec::<usize>::new());
    assert_eq!(service.deliver(&sweep).await, Vec::<usize>::new());
    let orders: Vec<String> = service.escalations.sent().into_iter().map(|message| message.body).collect();
    assert_eq!(orders.len(), 50);
    for ten in orders.chunks(10) {
        assert_eq!(service.deliver(ten).await, Vec::<usize>::new());
    }
    assert_eq!(service.stub.calls(), 0);
    let records: Vec<_> = (0..25).map(|id| service.record(&format!("p{id}"))).collect();
    for record in &records {
        let consulted = record.second_opinion.as_ref().unwrap();
        assert!(!record.provisional && record.attempt == 2 && record.decision == Decision::Review);
        assert_eq!((consulted.state, consulted.why.as_deref()), (ScoreState::Unavailable, Some("late")));
    }
    let tasks: std::collections::BTreeSet<_> =
        service.sent().0.iter().map(|task| task["post_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(tasks, (0..25).map(|id| format!("p{id}")).collect());
    assert!((25..30).all(|id| service.record(&format!("p{id}")).provisional), "these may still have theirs");
    assert_eq!(service.deliver(&sweep).await, Vec::<usize>::new());
    assert_eq!(service.escalations.sent().len(), 50, "nothing is overdue any more");
    // What was settled in the meantime, or erased, stays as it is.
    let before = service.decisions.all();
    let nobody = r#"{"schema":"settle/1","post_id":"nobody","revision":1}"#.to_owned();
    assert_eq!(service.deliver(&[nobody, orders[0].clone()]).await, Vec::<usize>::new());
    assert_eq!(service.decisions.all(), before);
}

#[tokio::test(start_paused = true)]
async fn a_person_was_quicker() {
    let service = Service::with(Mood::Well(0.95));
    let bodies = service.uncertain(0..2).await;
    let mut verdict = service.record("p0");
    (verdict.decided_by, verdict.decision, verdict.provisional) = (DecidedBy::Human, Decision::Approve, false);
    service.decisions.replace(verdict.clone());
    assert_eq!(service.deliver(&bodies).await, Vec::<usize>::new());
    assert_eq!(service.record("p0"), verdict);
    let (tasks, actions) = service.sent();
    assert_eq!((tasks.len(), actions.len()), (1, 1), "about p1 alone");
}

#[tokio::test(start_paused = true)]
async fn the_same_message_again_sends_the_same_again_and_asks_nobody() {
    let service = Service::with(Mood::Well(0.95));
    let bodies = service.uncertain(0..3).await;
    let twice = [bodies.clone(), bodies.clone()].concat();
    assert_eq!(service.deliver(&twice).await, Vec::<usize>::new());
    let first = (service.sent(), service.stub.calls(), service.record("p1"));
    assert_eq!((first.0.0.len(), first.0.1.len(), first.1), (3, 3, 1));
    assert_eq!(service.deliver(&bodies).await, Vec::<usize>::new());
    let (tasks, actions) = service.sent();
    assert_eq!((&tasks[3..], &actions[3..]), (&first.0.0[..], &first.0.1[..]));
    assert_eq!((service.stub.calls(), service.record("p1")), (first.1, first.2));
}

#[tokio::test(start_paused = true)]
async fn what_was_erased_is_not_decided_again() {
    let service = Service::with(Mood::Well(0.95));
    let known = service.uncertain(0..1).await.remove(0);
    let erased = known.replace("\"p0\"", "\"erased\"");
    assert_eq!(service.deliver(&[erased]).await, Vec::<usize>::new());
    assert_eq!(service.decisions.all().len(), 1);
    assert_eq!(service.sent(), (Vec::new(), Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_asks_for_nothing_is_kept_with_its_reason() {
    use store::ObjectStore;
    let service = Service::with(Mood::Well(0.05));
    let mut bodies = service.uncertain(0..1).await;
    bodies.push("{\"schema\":\"escalation/1\"}".to_owned());
    bodies.push("kanarienvogel".to_owned());
    assert_eq!(service.deliver(&bodies).await, Vec::<usize>::new());
    assert_eq!(service.record("p0").attempt, 2);
    let soon = store::Deadline::now() + Duration::from_secs(1);
    let kept = service.objects.list(ARTIFACTS, "quarantine/", soon).await.unwrap();
    assert_eq!(kept.len(), 2);
    let key = format!("quarantine/{}", domain::sha256_hex(b"kanarienvogel"));
    let object = service.objects.get(ARTIFACTS, &key, 1_000, soon).await.unwrap().unwrap();
    assert_eq!((object.bytes, &*object.metadata["kind"]), (b"kanarienvogel".to_vec(), "invalid_json"));
}

#[tokio::test(start_paused = true)]
async fn the_record_says_what_was_consulted() {
    let service = Service::with(Mood::Well(0.5));
    let records = service.stream(0, 10).await;
    let consulted = records[0].second_opinion.clone().unwrap();
    assert_eq!((consulted.by, consulted.state, consulted.why), (domain::Adviser::Endpoint, ScoreState::Ok, None));
    assert_eq!(consulted.model.as_deref(), Some("larger@7"));
    assert_eq!(records[0].scores["hate"].view, View::Text);
    assert!(records[0].cost_usd_micro > 1.0, "its share of the endpoint's time, its write and its messages");
}

/// events/ has a sample of every message.
#[tokio::test(start_paused = true)]
async fn the_sample_of_events_is_read_and_what_nobody_decided_is_left_alone() {
    let text = include_str!("../../../../events/escalation.json");
    let event: Box<serde_json::value::RawValue> = serde_json::from_str(text).unwrap();
    let batch = runtime::SqsBatch::parse(&event).unwrap();
    let posts: Vec<_> = batch
        .messages
        .iter()
        .map(|message| domain::Escalation::parse(message.body.as_bytes()).ok().unwrap().post)
        .collect();
    assert_eq!(posts.len(), 2);
    assert!(posts[0].media.is_empty() && posts[1].media.len() == 1);
    let service = Service::with(Mood::Well(0.5));
    let deadline_ms = service.now().millis() + 60_000;
    let deadline = store::Deadline::now() + Duration::from_secs(60);
    let invocation = runtime::Invocation { deadline, deadline_ms, cold_start: true };
    assert_eq!(escalate::handle(&service.app, batch, invocation).await.unwrap().failures().count(), 0);
    assert_eq!(service.decisions.all(), Vec::new());
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_busy_is_waited_for_a_while_and_not_taken_for_broken() {
    let service = Service::with(Mood::Busy(5, 0.05));
    let records = service.stream(0, 10).await;
    assert_eq!((all_is_well(&service, &records), service.stub.calls()), (10, 6));
    assert!(!service.breaker_is_open());
    // For ever busy is as good as broken.
    let service = Service::with(Mood::Busy(usize::MAX, 0.05));
    let records = service.stream(0, 100).await;
    assert_eq!(all_is_well(&service, &records), 0);
    assert!(service.breaker_is_open(), "{:?}", whys(&records));
}
