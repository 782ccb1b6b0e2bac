//! Items that other releases wrote are read: the one before digests of content and sources, and a made-up one that knows more of
//! everything. Rolling forward and back, both stand in one table.

use ::world::{Cloud, Wire};
use domain::policy::Decision;
use domain::{DecisionRecord, PostId, Revision, ScoreState};
use std::sync::Arc;
use std::time::Duration;
use store::{Connection, Deadline, DecisionStore, DynamoDecisions};

async fn read(golden: &str) -> DecisionRecord {
    let item: serde_json::Map<String, serde_json::Value> = serde_json::from_str(golden).unwrap();
    let post = PostId::try_from(item["post_id"]["S"].as_str().unwrap().to_owned()).unwrap();
    let revision = Revision::try_from(item["revision"]["N"].as_str().unwrap().parse::<u64>().unwrap()).unwrap();
    let cloud = Arc::new(Cloud::default());
    cloud.put("decisions", item, "another release");
    let aws = store::connect(Connection {
        endpoint_url: Some("http://aws.test".to_owned()),
        region: Some("us-east-1".to_owned()),
        credentials: Some(("test".to_owned(), "test".to_owned())),
        http_client: Some(Wire::new(&cloud, 1).client()),
    })
    .await;
    let keys = [(post, revision)];
    let mut answers =
        DynamoDecisions::new(&aws, "decisions").get(&keys, Deadline::now() + Duration::from_secs(5)).await;
    answers.remove(0).unwrap().unwrap()
}

#[tokio::test]
async fn the_last_release_is_read() {
    let record = read(include_str!("golden/last-release.json")).await;
    assert_eq!((record.post_id.as_str(), record.revision.get()), ("event-sample", 2));
    assert_eq!((record.decision, record.score), (Decision::Hide, Some(0.93)));
    assert_eq!(record.content, domain::ContentRecord::default());
    assert_eq!((record.source.queue.as_str(), record.policy.assumed), ("", false));
    assert_eq!(record.policy.sha256.len(), 64);
    assert_eq!(record.features.missing, ["account_age_days"]);
    assert_eq!(record.owed().task.unwrap().decision, Decision::Hide);
}

#[tokio::test]
async fn a_next_release_is_read() {
    let record = read(include_str!("golden/next-release.json")).await;
    assert_eq!(record.decision, Decision::Hide);
    assert!(record.content.digest.is_some());
    assert_eq!(record.scores["spam"].state, ScoreState::Ok);
    assert!(record.owed().action.is_some());
}
