//! The checks against AWS in memory, through the real SDKs: what the simulation runs on keeps the same promises.

use crate::{budgets, decisions, features, objects, queues};
use ::features::views::Definitions;
use ::world::{Cloud, Wire};
use std::sync::Arc;
use store::{Aws, Connection, DynamoBudget, DynamoDecisions, DynamoFeatures, S3Objects, SqsQueue};

async fn aws(cloud: &Arc<Cloud>) -> Aws {
    store::connect(Connection {
        endpoint_url: Some("http://aws.test".to_owned()),
        region: Some("us-east-1".to_owned()),
        credentials: Some(("test".to_owned(), "test".to_owned())),
        http_client: Some(Wire::new(cloud, 1).client()),
    })
    .await
}

#[tokio::test]
async fn decisions_in_the_world() {
    let aws = aws(&Arc::default()).await;
    decisions::conforms(&DynamoDecisions::new(&aws, "decisions")).await;
    decisions::conforms(&DynamoDecisions::new(&aws, "decisions").kept_days(400)).await;
}

#[tokio::test]
async fn a_budget_in_the_world() {
    let aws = aws(&Arc::default()).await;
    budgets::conforms(&DynamoBudget::new(&aws, "features", "test"), 20_000).await;
}

#[tokio::test]
async fn features_in_the_world() {
    let aws = aws(&Arc::default()).await;
    features::conforms(&DynamoFeatures::new(&aws, "features", Arc::new(Definitions::bundled().unwrap()))).await;
}

#[tokio::test]
async fn a_queue_in_the_world() {
    let cloud = Arc::default();
    let aws = aws(&cloud).await;
    let mut sent = queues::sends_everything(&SqsQueue::new(&aws, "http://aws.test/000000000000/queue")).await;
    let mut arrived = cloud.sent("queue", 0);
    sent.sort();
    arrived.sort();
    assert!(sent == arrived, "{} bodies sent, {} arrived, or one changed", sent.len(), arrived.len());
}

#[tokio::test]
async fn objects_in_the_world() {
    let aws = aws(&Arc::default()).await;
    objects::conforms(&S3Objects::new(&aws), "bucket").await;
}
