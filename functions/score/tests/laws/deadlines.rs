//! Little time: nothing is half done, and nothing is lost.

use crate::common::*;
use std::sync::Arc;
use std::time::Duration;
use store::Deadline;

fn ten() -> Vec<String> {
    (0..10).map(|n| post(&format!("p-{n}"), if n % 2 == 0 { HATEFUL } else { HARMLESS })).collect()
}

#[tokio::test]
async fn without_time_nothing_is_begun() {
    let world = Arc::new(World::default());
    let app = app(&world);
    let everything: Vec<usize> = (0..10).collect();
    assert_eq!(deliver_within(&app, &ten(), Duration::ZERO).await, everything);
    assert_eq!(world.decisions.all(), Vec::new());
    assert_eq!(world.sent(), (Vec::new(), Vec::new()));
    let calls: Vec<_> = world.calls().into_iter().map(|(what, _)| what).collect();
    assert!(calls.iter().all(|what| *what == "features"), "{calls:?}");
    // The next delivery finds nothing in its way.
    assert_eq!(deliver(&app, &ten()).await, Vec::<usize>::new());
    assert_eq!(world.decisions.all().len(), 10);
}

/// Looking things up used the time that judging needs: everything comes back, and nothing was written.
#[tokio::test]
async fn where_loading_took_too_long_judging_does_not_start() {
    let world = Arc::new(World::default());
    let app = app(&world);
    world.breaks(Fault::FeaturesSlow(Duration::from_millis(150)));
    let everything: Vec<usize> = (0..10).collect();
    assert_eq!(deliver_within(&app, &ten(), Duration::from_millis(200)).await, everything);
    assert_eq!((world.decisions.all(), world.sent()), (Vec::new(), (Vec::new(), Vec::new())));
}

/// Each step leaves the later ones their time, and all end before Lambda ends the function.
#[tokio::test]
async fn every_call_has_a_deadline_that_leaves_time_for_the_rest() {
    let world = Arc::new(World::default());
    let app = app(&world);
    world.keeps(CONTENT, "t", HATEFUL).await;
    let bodies =
        [post_with("p", serde_json::json!({ "text_ref": "s3://content/t", "revision": 2 })), "not json".to_owned()];
    assert_eq!(deliver(&app, &bodies).await, Vec::<usize>::new());
    let end = Deadline::now() + Duration::from_secs(30);
    let calls = world.calls();
    let of = |name: &str| calls.iter().find(|(what, _)| *what == name).map(|(_, by)| *by).unwrap();
    for early in ["read", "features", "before"] {
        assert!(of(early) + Duration::from_secs(5) < of("insert"), "{early}");
    }
    assert!(of("insert") + Duration::from_secs(1) < of("tasks"));
    assert_eq!((of("tasks"), of("tasks")), (of("actions"), of("put")));
    assert!(of("put") < end - Duration::from_millis(100));
}
