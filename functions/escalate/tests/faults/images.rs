//! Posts with images: what is seen decides, what cannot be seen is looked at by a person, each with its reason.

use crate::service::*;
use domain::policy::Decision;
use domain::{Availability, ScoreState, View};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn the_highest_view_counts_and_the_record_names_it() {
    let service = Service::with(Mood::Well(0.3));
    for (key, bytes) in
        [("plain", "plain"), ("nude", "nude"), ("hate", "words:they are vermin"), ("nice", "words:soup")]
    {
        service.keeps(CONTENT, key, bytes).await;
    }
    let uri = |key: &str| format!("s3://{CONTENT}/{key}");
    let (plain, nude, hate, nice) = (uri("plain"), uri("nude"), uri("hate"), uri("nice"));
    let bodies = [
        service.pictures("plain", None, &[&plain]).await,
        service.pictures("nice", Some(HARMLESS), &[&nice]).await,
        service.pictures("nude", Some(HARMLESS), &[&plain, &nude]).await,
        service.pictures("hate", Some(HARMLESS), &[&plain, &hate]).await,
        service.pictures("both", Some(UNCERTAIN), &[&nice]).await,
    ];
    assert_eq!(service.deliver(&bodies).await, Vec::<usize>::new());
    let records: Vec<_> = ["plain", "nice", "nude", "hate", "both"].map(|id| service.record(id)).into();
    assert_eq!(all_is_well(&service, &records), 5);
    let decisions: Vec<_> = records.iter().map(|record| record.decision).collect();
    use Decision::{Approve, Hide, Review};
    assert_eq!(decisions, [Approve, Approve, Review, Hide, Review]);
    let [plain, nice, nude, hate, both] = &records[..] else { panic!() };
    assert_eq!((plain.score, plain.scores["hate"].state), (None, ScoreState::Skipped));
    // Of its text nobody was asked again: its score is that of the first decision.
    assert!(nice.scores["hate"].view == View::Text && nice.score < Some(0.2), "{:?}", nice.scores);
    assert_eq!((nude.scores["nudity"].view, nude.scores["nudity"].calibrated), (View::Image(1), Some(0.97)));
    assert_eq!((hate.scores["hate"].view, hate.score), (View::Ocr(1), Some(0.93)));
    assert_eq!((both.scores["hate"].view, both.score), (View::Text, Some(0.3)));
    let explanation = hate.explanation.as_ref().unwrap();
    assert_eq!(explanation.method, "lines");
    assert_eq!((explanation.regions[0].image, explanation.regions[0].bounds), (1, [1, 2, 90, 21]));
    assert!(records.iter().all(|record| record.media == Availability::Available));
    let record = serde_json::to_string(hate).unwrap();
    assert!(!record.contains("vermin"), "no content on a record");
}

#[tokio::test(start_paused = true)]
async fn a_part_that_was_not_read_goes_to_a_person_and_what_was_read_counts() {
    let service = Service::with(Mood::Well(0.05));
    for (id, words, decision) in [
        ("calm", "words:soup and more", Decision::Review),
        ("hate", "words:they are vermin and more", Decision::Hide),
        ("whole", "words:soup", Decision::Approve),
    ] {
        service.keeps(CONTENT, id, words).await;
        let body = service.pictures(id, Some(HARMLESS), &[&format!("s3://{CONTENT}/{id}")]).await;
        assert_eq!(service.deliver(&[body]).await, Vec::<usize>::new());
        let record = service.record(id);
        assert_eq!(record.decision, decision, "{id}");
        let unread = id != "whole";
        assert_eq!(record.images[0].error.as_deref(), unread.then_some("too_many_lines"), "{id}");
        assert_eq!(record.images[0].lines, 1, "{id}");
        let media = if unread { Availability::Unavailable } else { Availability::Available };
        assert_eq!(record.media, media, "{id}");
        all_is_well(&service, &[record]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_of_a_later_frame_is_named_with_its_frame_and_a_known_one_is_blocked() {
    let service = Service::with(Mood::Well(0.05));
    service.keeps(CONTENT, "later", "words:later vermin").await;
    service.keeps(CONTENT, "flip", "flip").await;
    service.keeps(ARTIFACTS, opinion::images::BLOCK_LIST_KEY, &format!("{},flag-1\n", "f".repeat(63) + "e")).await;
    let bodies = [
        service.pictures("later", None, &["s3://content/later"]).await,
        service.pictures("flip", None, &["s3://content/flip"]).await,
    ];
    assert_eq!(service.deliver(&bodies).await, Vec::<usize>::new());
    let later = service.record("later");
    assert_eq!(later.explanation.as_ref().unwrap().regions[0].frame, 7);
    let flip = service.record("flip");
    assert_eq!((flip.decision, flip.images[0].blocked.as_deref()), (Decision::Hide, Some("flag-1")));
    assert_eq!(flip.images[0].pdq, Some("f".repeat(64)));
    all_is_well(&service, &[later, flip]);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_cannot_be_looked_at_goes_to_a_person_with_its_reason() {
    let service = Service::with(Mood::Well(0.05));
    service.keeps(CONTENT, "page.png", "<html>").await;
    service.keeps(CONTENT, "huge.png", &"x".repeat(opinion::protocol::MAX_IMAGE_BYTES + 1)).await;
    service.keeps(ARTIFACTS, "registry/live.json", "plain").await;
    let cases = [
        ("missing", "s3://content/absent.png", "object_missing"),
        ("wrong-type", "s3://content/page.png", "not_an_image"),
        ("too-large", "s3://content/huge.png", "too_many_bytes"),
        ("elsewhere", "s3://artifacts/registry/live.json", "bucket_not_allowed"),
        ("escape", "s3://content/x%2F..%2F..%2Fartifacts%2Fregistry%2Flive.json", "object_missing"),
        ("dots", "s3://content/../artifacts/registry/live.json", "object_missing"),
        ("web", "https://example.test/a.png", "invalid_field"),
        ("file", "file:///etc/passwd", "invalid_field"),
    ];
    let mut bodies = Vec::new();
    for (id, uri, _) in cases {
        bodies.push(service.pictures(id, Some(HARMLESS), &[uri]).await);
    }
    assert_eq!(service.deliver(&bodies).await, Vec::<usize>::new());
    for (id, _, why) in cases {
        let record = service.record(id);
        assert_eq!(record.images[0].error.as_deref(), Some(why), "{id}");
        assert_eq!((record.decision, record.media), (Decision::Review, Availability::Unavailable), "{id}");
        assert!(record.reasons.iter().any(|reason| reason.rule == "unavailable:media"), "{id}");
        all_is_well(&service, &[record]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_video_is_not_fetched_and_of_many_images_the_first_are_looked_at() {
    let service = Service::with(Mood::Well(0.05));
    service.keeps(CONTENT, "plain", "plain").await;
    let many: Vec<&str> = vec!["s3://content/plain"; opinion::protocol::MAX_IMAGES + 2];
    let bodies = [
        service.pictures("many", Some(HARMLESS), &many).await,
        service
            .provisional(serde_json::json!({ "post_id": "video", "text": HARMLESS, "lang": "en",
                "media": [{ "uri": "s3://content/plain", "type": "video/mp4" }] }))
            .await,
    ];
    assert_eq!(service.deliver(&bodies).await, Vec::<usize>::new());
    let (many, video) = (service.record("many"), service.record("video"));
    let errors: Vec<_> = many.images.iter().filter_map(|image| image.error.as_deref()).collect();
    assert_eq!(errors, ["too_many_images"; 2]);
    assert_eq!(video.images[0].error.as_deref(), Some("not_an_image"));
    assert_eq!((many.decision, video.decision), (Decision::Review, Decision::Review));
    all_is_well(&service, &[many, video]);
}

#[tokio::test(start_paused = true)]
async fn an_image_on_the_block_list_is_hidden_and_without_the_list_a_person_looks() {
    let service = Service::with(Mood::Well(0.05));
    service.keeps(CONTENT, "known", "known").await;
    let known = ["s3://content/known"];
    let unlisted = service.pictures("unlisted", None, &known).await;
    assert_eq!(service.deliver(&[unlisted]).await, Vec::<usize>::new());
    let record = service.record("unlisted");
    assert_eq!((record.decision, record.images[0].pdq.as_deref()), (Decision::Approve, None), "a hash of nobody's");

    service.keeps(ARTIFACTS, opinion::images::BLOCK_LIST_KEY, &format!("{},flag-1\n", "f".repeat(63) + "e")).await;
    tokio::time::sleep(Duration::from_secs(61)).await;
    let listed = service.pictures("listed", None, &known).await;
    assert_eq!(service.deliver(&[listed]).await, Vec::<usize>::new());
    let record = service.record("listed");
    assert_eq!((record.decision, record.images[0].blocked.as_deref()), (Decision::Hide, Some("flag-1")));
    assert_eq!(record.images[0].pdq, Some("f".repeat(64)));
    all_is_well(&service, &[record]);

    // What cannot be read is said, and the list that there was goes on.
    service.keeps(ARTIFACTS, opinion::images::BLOCK_LIST_KEY, "no list").await;
    tokio::time::sleep(Duration::from_secs(61)).await;
    let again = service.pictures("again", None, &known).await;
    assert_eq!(service.deliver(&[again]).await, Vec::<usize>::new());
    assert_eq!(service.record("again").decision, Decision::Hide);
    let other = Service::with(Mood::Well(0.05));
    other.keeps(CONTENT, "known", "known").await;
    other.keeps(ARTIFACTS, opinion::images::BLOCK_LIST_KEY, "no list").await;
    let blind = other.pictures("blind", None, &known).await;
    assert_eq!(other.deliver(&[blind]).await, Vec::<usize>::new());
    let record = other.record("blind");
    assert_eq!(record.images[0].error.as_deref(), Some("block_list_unavailable"));
    assert_eq!(record.decision, Decision::Review);
}

#[tokio::test(start_paused = true)]
async fn a_picture_does_not_excuse_a_text_that_nobody_could_read() {
    let service = Service::with(Mood::Well(0.05));
    service.keeps(CONTENT, "nice", "words:soup").await;
    let post = serde_json::json!({ "post_id": "fr", "text": "bonjour", "lang": "fr",
        "media": [{ "uri": "s3://content/nice" }] });
    let body = service.provisional(post).await;
    assert_eq!(service.deliver(&[body]).await, Vec::<usize>::new());
    let record = service.record("fr");
    assert_eq!((record.decision, record.score), (Decision::Review, None));
    assert_eq!(record.scores["hate"].state, ScoreState::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn words_in_a_picture_in_a_language_that_is_not_learned_go_to_a_person() {
    let service = Service::with(Mood::Well(0.05));
    service.keeps(CONTENT, "words", "words:garbled").await;
    service.keeps(CONTENT, "plain", "plain").await;
    for (id, lang, key, decision) in [
        ("ru", "ru", "words", Decision::Review),
        ("ru-plain", "ru", "plain", Decision::Approve),
        ("en", "en", "words", Decision::Approve),
    ] {
        let post =
            serde_json::json!({ "post_id": id, "lang": lang, "media": [{ "uri": format!("s3://{CONTENT}/{key}") }] });
        let body = service.provisional(post).await;
        assert_eq!(service.deliver(&[body]).await, Vec::<usize>::new());
        let record = service.record(id);
        assert_eq!(record.decision, decision, "{id}: {:?}", record.images);
        all_is_well(&service, &[record]);
    }
    assert_eq!(service.record("ru").images[0].error.as_deref(), Some("language_not_learned"));
}

/// What is written in a picture, and the picture itself, in the banks of the operator.
#[tokio::test(start_paused = true)]
async fn what_is_listed_is_found_in_pictures_and_the_record_names_the_line() {
    use features::signals::Bank;
    let bank = |more: &str| {
        format!("schema: bank/1\nname: known\nowner: nobody\npurpose: tests\n\n[words]\nblorp | label: made up\n{more}")
    };
    let load = |source: &str| Some(std::sync::Arc::new(Bank::load(source).unwrap()));
    let hash = "f".repeat(63) + "e";
    let images = bank(&format!("\n[images]\n{hash},flag-1\n"));
    for (name, bank, key, decision) in [
        ("words", load(&bank("")), "words:hello b l o r p", Decision::Hide),
        ("calm", load(&bank("")), "words:hello", Decision::Approve),
        ("image", load(&images), "known", Decision::Hide),
        ("not-the-image", load(&images), "plain", Decision::Approve),
        ("no-bank", None, "plain", Decision::Review),
    ] {
        let service = Service::of(Mood::Well(0.05), listing("known", bank), true);
        service.keeps(CONTENT, "picture", key).await;
        let body = service.pictures("p", Some(HARMLESS), &["s3://content/picture"]).await;
        assert_eq!(service.deliver(&[body]).await, Vec::<usize>::new());
        let record = service.record("p");
        assert_eq!(record.decision, decision, "{name}: {:?}", record.signals);
        let signal = &record.signals["known"];
        assert_eq!(signal.found, u32::from(decision == Decision::Hide), "{name}");
        match name {
            "words" => {
                let found = &signal.matches[0];
                assert_eq!((found.view, found.bounds, found.line), (View::Ocr(0), Some([1, 2, 90, 21]), 7));
                assert_eq!((found.start, found.end, found.label.as_deref()), (6, 15, Some("made up")));
            }
            "image" => assert_eq!((signal.matches[0].view, signal.matches[0].line), (View::Image(0), 10)),
            _ => {}
        }
        assert!(!serde_json::to_string(&record).unwrap().contains("orp"), "{name}: no content on a record");
    }
}
