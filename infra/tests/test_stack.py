"""The deployed stack's plumbing: every way in reaches the function, and nothing ends in the DLQ."""

import hashlib
import json
import uuid

import samples


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


def test_poison_ends_in_quarantine_and_its_neighbours_are_decided(stack):
    bucket = stack.variables["ARTIFACTS_BUCKET"]
    poison = [body for body in samples.bodies("poison-*.json", bucket) if len(body.encode()) <= samples.MOST_BYTES]
    poison = [body for body in poison if "event-beside-panic" not in body]
    neighbours = [new_post() for _ in poison]
    stack.send([body for pair in zip(poison, map(json.dumps, neighbours), strict=True) for body in pair])
    for post in neighbours:
        decided(stack, post)
    objects = stack.client("s3")
    for body in poison:
        key = f"quarantine/{hashlib.sha256(body.encode()).hexdigest()}"
        kept = objects.get_object(Bucket=bucket, Key=key)
        assert kept["Body"].read() == body.encode()
        assert kept["Metadata"]["kind"]


def test_samples_that_are_no_poison_leave_nothing_behind(stack):
    bucket = stack.variables["ARTIFACTS_BUCKET"]
    objects = stack.client("s3")
    objects.put_object(Bucket=bucket, Key="content/event-text-ref.txt", Body="The text of a claim check.".encode())
    for pattern in ("native*.json", "cloudevents.json", "sns-*.json", "eventbridge.json", "s3-test-event.json", "text-ref*.json"):
        bodies = samples.bodies(pattern, bucket)
        for body in bodies:  # one by one: a batch call carries 1 MiB in all
            stack.send([body])
    stack.drain()
    assert stack.waiting("POSTS_DLQ_URL") == 0
    for post_id in ("native", "minimal", "empty-text", "large", "cloudevents", "sns-envelope", "sns-raw", "eventbridge", "text-ref"):
        assert stack.decision(f"event-{post_id}") is not None, post_id
    assert stack.decision("event-text-ref-missing")["decision"]["S"] == "review"
