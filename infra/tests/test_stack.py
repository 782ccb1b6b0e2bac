"""The deployed stack's plumbing: every way in reaches the function, and nothing ends in the DLQ."""

import json
import uuid


def test_template_deploys_with_everything_switched_on(stack):
    (mapping,) = stack.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BatchSize"] == 10
    queue = stack.client("sqs").get_queue_attributes(QueueUrl=stack.variables["POSTS_QUEUE_URL"], AttributeNames=["All"])
    policy = json.loads(queue["Attributes"]["Policy"])
    assert {s["Sid"] for s in policy["Statement"]} == {
        "OnlyOverTls", "OwnBucket", "ContentBuckets", "ProducerAccounts", "Topic", "EventBus",
    }  # fmt: skip


def new_post() -> dict:
    return {"post_id": f"way-in-{uuid.uuid4()}", "author_id": "u-way-in", "text": "A calm walk along the river."}


def decided(stack, post):
    stack.wait_until(lambda: stack.decision(post["post_id"]) is not None)
    stack.drain()
    assert stack.waiting("POSTS_DLQ_URL") == 0


def test_post_through_the_queue(stack):
    post = new_post()
    stack.send([json.dumps(post)])
    decided(stack, post)


def test_post_through_the_topic(stack):
    post = new_post()
    stack.client("sns").publish(TopicArn=stack.topic, Message=json.dumps(post))
    decided(stack, post)


def test_post_through_the_event_bus(stack):
    post = new_post()
    entry = {"Source": "platform", "DetailType": "post.created", "Detail": json.dumps(post)}
    answer = stack.client("events").put_events(Entries=[entry])
    assert answer["FailedEntryCount"] == 0
    decided(stack, post)


def test_post_through_the_bucket(stack):
    post = new_post()
    key = f"intake/2026/with space+plus/{post['post_id']}.json"
    stack.client("s3").put_object(Bucket=stack.variables["ARTIFACTS_BUCKET"], Key=key, Body=json.dumps(post).encode())
    decided(stack, post)
