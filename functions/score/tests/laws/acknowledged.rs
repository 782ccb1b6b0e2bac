//! Law 1: a message is acknowledged only after its decision is stored and everything it owes others is sent.

use crate::common::*;
use std::sync::Arc;

/// A post of each decision.
fn three() -> [String; 3] {
    [post("hidden", HATEFUL), post("approved", HARMLESS), post("reviewed", UNCERTAIN)]
}

/// Delivers once with faults and once without; the first time `failed` come back, the second time nothing does, and
/// in the end everything is stored once and sent with the same ids.
async fn ends_well(faults: &[Fault], failed: &[usize]) {
    let world = Arc::new(World::default());
    let app = app(&world);
    for fault in faults {
        world.breaks(fault.clone());
    }
    let bodies = three();
    assert_eq!(deliver(&app, &bodies).await, failed, "{faults:?}");
    world.mends();
    let again: Vec<_> = failed.iter().map(|place| bodies[*place].clone()).collect();
    assert_eq!(deliver(&app, &again).await, Vec::<usize>::new(), "{faults:?}");
    assert_eq!(world.decisions.all().len(), 3, "{faults:?}");
    let (tasks, actions) = world.sent();
    assert_eq!(unique(&tasks), [task_id("hidden"), task_id("reviewed")].into(), "{faults:?}");
    assert_eq!(unique(&actions), [hide_id("hidden")].into(), "{faults:?}");
}

#[tokio::test]
async fn nothing_fails() {
    ends_well(&[], &[]).await;
}

#[tokio::test]
async fn an_insert_that_fails_fails_its_message_alone() {
    ends_well(&[Fault::Insert("hidden")], &[0]).await;
    ends_well(&[Fault::Insert("approved")], &[1]).await;
    ends_well(&[Fault::Insert("hidden"), Fault::Insert("reviewed")], &[0, 2]).await;
}

#[tokio::test]
async fn an_insert_whose_answer_is_lost_fails_its_message_alone() {
    ends_well(&[Fault::InsertAnswer("hidden")], &[0]).await;
}

#[tokio::test]
async fn inserts_without_an_answer_are_not_stored() {
    ends_well(&[Fault::InsertShort(1)], &[1, 2]).await;
    ends_well(&[Fault::InsertShort(0)], &[0, 1, 2]).await;
}

#[tokio::test]
async fn a_message_that_cannot_be_sent_fails_its_own_alone() {
    ends_well(&[Fault::Send("tasks", "reviewed")], &[2]).await;
    ends_well(&[Fault::Send("tasks", "hidden")], &[0]).await;
    ends_well(&[Fault::Send("actions", "hidden")], &[0]).await;
    ends_well(&[Fault::Send("actions", "hidden"), Fault::Send("tasks", "reviewed")], &[0, 2]).await;
}

#[tokio::test]
async fn sends_without_an_answer_are_not_sent() {
    ends_well(&[Fault::SendShort("tasks", 1)], &[2]).await;
    ends_well(&[Fault::SendShort("actions", 0)], &[0]).await;
}

#[tokio::test]
async fn nothing_is_sent_for_what_is_not_stored() {
    let world = Arc::new(World::default());
    world.breaks(Fault::Insert("hidden"));
    assert_eq!(deliver(&app(&world), &three()).await, [0]);
    assert_eq!(world.sent(), (vec![task_id("reviewed")], Vec::new()));
    assert_eq!(world.record("hidden", 1), None);
    let calls: Vec<_> = world.calls().into_iter().map(|(what, _)| what).collect();
    assert_eq!(calls, ["features", "insert", "tasks"]);
}

/// The second delivery finds the decision stored, and has to read it before it can know what is owed.
#[tokio::test]
async fn a_stored_decision_that_cannot_be_read_is_not_acknowledged() {
    for fault in [Fault::Get, Fault::GetShort] {
        let world = Arc::new(World::default());
        let app = app(&world);
        world.breaks(Fault::Send("actions", "hidden"));
        assert_eq!(deliver(&app, &three()).await, [0]);
        world.mends();
        world.breaks(fault);
        let bodies = [post("hidden", HATEFUL), post("new", HATEFUL)];
        assert_eq!(deliver(&app, &bodies).await, [0]);
        assert_eq!(unique(&world.sent().1), [hide_id("new")].into());
        world.mends();
        assert_eq!(deliver(&app, &bodies[..1]).await, Vec::<usize>::new());
        assert_eq!(unique(&world.sent().1), [hide_id("hidden"), hide_id("new")].into());
    }
}

#[tokio::test]
async fn poison_that_cannot_be_kept_is_not_acknowledged() {
    let world = Arc::new(World::default());
    let app = app(&world);
    world.breaks(Fault::Put);
    let bodies = [post("before", HARMLESS), "not json".to_owned(), post("after", HATEFUL)];
    assert_eq!(deliver(&app, &bodies).await, [1]);
    assert_eq!(world.decisions.all().len(), 2);
    world.mends();
    assert_eq!(deliver(&app, &bodies[1..2]).await, Vec::<usize>::new());
    assert_eq!(world.objects_under("quarantine/").await.len(), 1);
}

#[tokio::test]
async fn content_that_cannot_be_read_now_is_read_later() {
    let world = Arc::new(World::default());
    let app = app(&world);
    world.keeps(CONTENT, "long.txt", HATEFUL).await;
    let bodies =
        [post("beside", HARMLESS), post_with("referred", serde_json::json!({ "text_ref": "s3://content/long.txt" }))];
    world.breaks(Fault::Read);
    assert_eq!(deliver(&app, &bodies).await, [1]);
    assert!(world.record("beside", 1).is_some() && world.record("referred", 1).is_none());
    assert_eq!(world.objects_under("quarantine/").await, Vec::<String>::new());
    world.mends();
    assert_eq!(deliver(&app, &bodies[1..]).await, Vec::<usize>::new());
    assert_eq!(unique(&world.sent().1), [hide_id("referred")].into());
}

#[tokio::test]
async fn a_repeat_inside_a_batch_shares_the_fate_of_the_first() {
    for fault in [Fault::Insert("twice"), Fault::Send("tasks", "twice")] {
        let world = Arc::new(World::default());
        let app = app(&world);
        world.breaks(fault.clone());
        let bodies = [post("twice", UNCERTAIN), post("other", HARMLESS), post("twice", UNCERTAIN)];
        assert_eq!(deliver(&app, &bodies).await, [0, 2], "{fault:?}");
        world.mends();
        assert_eq!(deliver(&app, &[&*bodies[0], &*bodies[2]]).await, Vec::<usize>::new());
        assert_eq!(unique(&world.sent().0), [task_id("twice")].into());
    }
}
