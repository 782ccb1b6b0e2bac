//! The checks against a stack: the local AWS of `make up`, or a deployed one.

use crate::{budgets, decisions, features, fresh, objects, queues, soon};
use ::features::views::{Definitions, Lookup};
use aws_sdk_dynamodb::types::AttributeValue;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use store::{
    Aws, Connection, Deadline, DecisionStore, DynamoBudget, DynamoDecisions, DynamoFeatures, FeatureStore, Message,
    ObjectStore, Queue, S3Objects, SqsQueue,
};

/// The stack, or `None` with a line that says so.
async fn stack(test: &str) -> Option<(Aws, HashMap<String, String>)> {
    let Ok(file) = std::env::var("MODERATO_TEST_STACK_ENV") else {
        println!("skipped: {test}: MODERATO_TEST_STACK_ENV names no stack (`make up` writes .local/stack.env)");
        return None;
    };
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("reading `{file}`: {error}"));
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let variables: HashMap<String, String> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let get = |name: &str| variables.get(name).cloned();
    let connection = Connection {
        endpoint_url: get("AWS_ENDPOINT_URL"),
        region: get("AWS_REGION"),
        credentials: get("AWS_ACCESS_KEY_ID").zip(get("AWS_SECRET_ACCESS_KEY")),
        ..Connection::default()
    };
    Some((store::connect(connection).await, variables))
}

fn definitions() -> Arc<Definitions> {
    Arc::new(Definitions::bundled().unwrap())
}

#[tokio::test]
async fn decisions_in_dynamodb() {
    let Some((aws, stack)) = stack("decisions_in_dynamodb").await else { return };
    decisions::conforms(&DynamoDecisions::new(&aws, &stack["DECISIONS_TABLE"])).await;
    finds_by_the_index(&DynamoDecisions::new(&aws, &stack["DECISIONS_TABLE"])).await;
    // With a time to live they read back the same.
    decisions::conforms(&DynamoDecisions::new(&aws, &stack["DECISIONS_TABLE"]).kept_days(400)).await;
}

/// Where the table has an index of authors, it finds what reading the table finds; posts of nobody are in neither.
async fn finds_by_the_index(store: &DynamoDecisions) {
    let size = store.size(soon()).await.unwrap();
    if !size.indexed {
        return println!("skipped: finds_by_the_index: the table has no index of authors (AuthorIndex=on)");
    }
    let author = domain::AuthorId::try_from(fresh("indexed")).unwrap();
    let mut records: Vec<_> = (1..=30).map(|n| decisions::record(&format!("{author}-{n}"), 1)).collect();
    records.iter_mut().skip(1).for_each(|record| record.author_id = Some(author.clone()));
    records[0].author_id = None;
    assert!(store.insert(&records, soon()).await.iter().all(Result::is_ok));
    let by_index = decisions::found_by(store, vec![store::Search::by_index(author.clone())]).await;
    assert_eq!(by_index.len(), 29);
    assert_eq!(by_index, decisions::found_by(store, store::Search::by_scan(&author, 3)).await);
}

#[tokio::test]
async fn a_budget_in_dynamodb() {
    let Some((aws, stack)) = stack("a_budget_in_dynamodb").await else { return };
    // Days long gone, another for every run.
    let day = i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() % 10_000).unwrap() * 3;
    budgets::conforms(&DynamoBudget::new(&aws, &stack["FEATURES_TABLE"], "test"), day).await;
}

#[tokio::test]
async fn features_in_dynamodb() {
    let Some((aws, stack)) = stack("features_in_dynamodb").await else { return };
    let table = &stack["FEATURES_TABLE"];
    let store = DynamoFeatures::new(&aws, table, definitions());
    features::conforms(&store).await;

    // A row that something else wrote in another shape is there: unavailable, never missing. Its neighbours are read.
    let text = |value: &str| AttributeValue::S(value.to_owned());
    let foreign = [
        ("followers", text("many"), Some("2026-11-23T08:00:00Z")),
        ("followers", AttributeValue::N("1.5".to_owned()), Some("2026-11-23T08:00:00Z")),
        ("verified", AttributeValue::L(Vec::new()), Some("2026-11-23T08:00:00Z")),
        ("followers", AttributeValue::N("1".to_owned()), Some("yesterday")),
        ("followers", AttributeValue::N("1".to_owned()), None),
    ];
    let good = features::row("user", &fresh("good"), serde_json::json!({ "followers": 4 }));
    store.put(std::slice::from_ref(&good), soon()).await.unwrap();
    let mut keys: std::collections::BTreeSet<_> = [features::key("user", &good.id)].into();
    for (name, value, updated_at) in foreign {
        let id = fresh("foreign");
        let mut put = aws.dynamodb.put_item().table_name(table).item("entity", text(&format!("user#{id}")));
        put = put.item(name, value);
        if let Some(instant) = updated_at {
            put = put.item("updated_at", text(instant));
        }
        put.send().await.unwrap();
        keys.insert(features::key("user", &id));
    }
    let found = store.fetch(&keys, soon()).await;
    assert_eq!(found.len(), 6);
    for (key, lookup) in found {
        let expected = if key.id == good.id { Lookup::Found(good.clone()) } else { Lookup::Unavailable };
        assert_eq!(lookup, expected, "{key}");
    }
}

/// A queue of its own, so that nobody else's messages are in it.
#[tokio::test]
async fn a_queue_in_sqs() {
    let Some((aws, _)) = stack("a_queue_in_sqs").await else { return };
    let created = aws
        .sqs
        .create_queue()
        .queue_name(fresh("queue"))
        .attributes(aws_sdk_sqs::types::QueueAttributeName::MaximumMessageSize, "1048576")
        .send()
        .await
        .unwrap();
    let url = created.queue_url.unwrap();
    let queue = SqsQueue::new(&aws, &url);
    let mut sent = queues::sends_everything(&queue).await;
    let mut received = Vec::new();
    let until = Deadline::now() + Duration::from_secs(20);
    while received.len() < sent.len() && Deadline::now() < until {
        let messages = queue.receive(60, soon()).await.unwrap();
        let receipts: Vec<String> = messages.iter().map(|message| message.receipt.clone()).collect();
        if !receipts.is_empty() {
            assert!(queue.delete_all(&receipts, soon()).await.iter().all(Result::is_ok));
        }
        received.extend(messages.into_iter().map(|message| message.body));
    }
    sent.sort();
    received.sort();
    assert_eq!(received.len(), sent.len());
    // What is hidden comes back when its time is over, and not before.
    assert_eq!(queue.send(&[Message { body: "again".to_owned() }], soon()).await, [Ok(())]);
    let receipt = async |hidden_s: i32| {
        let messages = queue.receive(hidden_s, soon()).await.unwrap();
        messages.into_iter().map(|message| message.receipt).next()
    };
    let first = receipt(600).await.unwrap();
    assert_eq!(receipt(600).await, None);
    let hidden = queue.hide(&[(first, Duration::from_millis(1)), ("none".to_owned(), Duration::ZERO)], soon()).await;
    assert!(hidden[0].is_ok() && hidden[1].is_err(), "{hidden:?}");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(receipt(600).await.is_some());
    assert!(received == sent, "a body changed on its way");
    aws.sqs.delete_queue().queue_url(url).send().await.unwrap();
}

#[tokio::test]
async fn objects_in_s3() {
    let Some((aws, stack)) = stack("objects_in_s3").await else { return };
    objects::conforms(&S3Objects::new(&aws), &stack["ARTIFACTS_BUCKET"]).await;
}

/// Nobody listens: every answer comes before the deadline, is aligned, may be tried again, and is never `Missing`.
#[tokio::test]
async fn a_service_out_of_reach_is_an_error_for_each() {
    let connection = Connection {
        endpoint_url: Some("http://127.0.0.1:9".to_owned()),
        region: Some("us-east-1".to_owned()),
        credentials: Some(("test".to_owned(), "test".to_owned())),
        ..Connection::default()
    };
    let aws = store::connect(connection).await;
    let by = || Deadline::now() + Duration::from_secs(5);
    let records: Vec<_> = (0..60).map(|n| decisions::record(&format!("p-{n}"), 1)).collect();
    let table = DynamoDecisions::new(&aws, "decisions");
    let keys: Vec<_> = records.iter().map(|record| (record.post_id.clone(), record.revision)).collect();
    let inserted = table.insert(&records, by()).await;
    let read = table.get(&keys, by()).await;
    assert_eq!((inserted.len(), read.len()), (60, 60));
    assert!(inserted.iter().all(|answer| answer.as_ref().is_err_and(|error| error.retryable)));
    assert!(read.iter().all(|answer| answer.as_ref().is_err_and(|error| error.retryable)));
    assert!(table.of_post(&records[0].post_id, by()).await.is_err());
    assert!(table.before(&records[0].post_id, records[0].revision, by()).await.is_err());

    let wanted = (0..230).map(|n| features::key("user", &format!("u-{n}"))).collect();
    let found = DynamoFeatures::new(&aws, "features", definitions()).fetch(&wanted, by()).await;
    assert_eq!(found.len(), 230);
    assert!(found.values().all(|lookup| *lookup == Lookup::Unavailable));

    let messages: Vec<_> = (0..23).map(|n| Message { body: n.to_string() }).collect();
    let sent = SqsQueue::new(&aws, "http://127.0.0.1:9/000000000000/q").send(&messages, by()).await;
    assert_eq!(sent.len(), 23);
    assert!(sent.iter().all(|answer| answer.as_ref().is_err_and(|error| error.retryable)));

    let objects = S3Objects::new(&aws);
    assert!(objects.get("b", "k", 10, by()).await.err().unwrap().retryable);
    assert!(objects.list("b", "", by()).await.err().unwrap().retryable);
}
