"""The deployed stack's plumbing: every way in reaches the function, and nothing ends in the DLQ."""

import hashlib
import json
import uuid

import samples

from cloud import ROOT


def test_template_deploys_with_everything_switched_on(stack):
    mappings = stack.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    assert len(mappings) == 2
    for mapping in mappings:
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert mapping["BatchSize"] == 10
    queue = stack.client("sqs").get_queue_attributes(QueueUrl=stack.variables["POSTS_QUEUE_URL"], AttributeNames=["All"])
    policy = json.loads(queue["Attributes"]["Policy"])
    assert {s["Sid"] for s in policy["Statement"]} == {
        "OnlyOverTls", "OwnBucket", "ContentBuckets", "ProducerAccounts", "ProducerRoles", "Topic", "EventBus",
    }  # fmt: skip


def test_escalate_is_told_where_everything_is(stack):
    configuration = stack.client("lambda").get_function_configuration(FunctionName=stack.variables["ESCALATE_FUNCTION"])
    told = configuration["Environment"]["Variables"]
    assert (told["SECOND_OPINION"], told["ENDPOINT_NAME"]) == ("on", "theirs")
    for name in ("DECISIONS_TABLE", "FEATURES_TABLE", "TASKS_QUEUE_URL", "ACTIONS_QUEUE_URL", "ARTIFACTS_BUCKET"):
        assert told[name] == stack.variables[name]


def test_each_function_carries_the_models_it_needs(stack):
    def models(function: str) -> set[str]:
        return {path.name for path in (stack.cloud.folder / "build" / function / "models").iterdir()}

    eyes = {"eyes"} if (ROOT / ".tools" / "eyes").exists() else set()
    assert (models("ScoreFunction"), models("EscalateFunction")) == ({"minilm-cascade"}, {"minilm-cascade"} | eyes)


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
    stack.client("s3").put_object(Bucket=stack.variables["CONTENT_BUCKET"], Key=key, Body=json.dumps(post).encode())
    decided(stack, post)


# The typed reason with which each poison sample is kept.
KINDS = {
    "array": "unknown_shape",
    "cloudevents-without-data": "missing_field",
    "deep-nesting": "missing_field",
    "empty-body": "invalid_json",
    "empty-id": "invalid_field",
    "foreign-bucket": "bucket_not_allowed",
    "many-records": "too_many_records",
    "missing-id": "missing_field",
    "missing-object": "object_missing",
    "missing-text": "missing_field",
    "not-json": "invalid_json",
    "number": "unknown_shape",
    "panic": "panic",
    "sns-garbage": "invalid_json",
    "truncated": "invalid_json",
    "unknown-shape": "unknown_shape",
}


def test_poison_ends_in_quarantine_and_its_neighbours_are_decided(stack):
    assert {path.stem for path in samples.files("poison-*.json")} - {f"poison-{name}" for name in KINDS} == {"poison-too-large"}
    bucket = stack.variables["ARTIFACTS_BUCKET"]
    poison = [(body, kind) for name, kind in KINDS.items() for body in samples.bodies(f"poison-{name}.json", bucket)]
    poison = [(body, kind) for body, kind in poison if "event-beside-panic" not in body]
    neighbours = [new_post() for _ in poison]
    stack.send([body for (bad, _), good in zip(poison, neighbours, strict=True) for body in (bad, json.dumps(good))])
    for post in neighbours:
        decided(stack, post)
    objects = stack.client("s3")
    for body, kind in poison:
        kept = objects.get_object(Bucket=bucket, Key=f"quarantine/{hashlib.sha256(body.encode()).hexdigest()}")
        assert kept["Body"].read() == body.encode()
        assert kept["Metadata"]["kind"] == kind, body[:200]


def test_samples_that_are_no_poison_leave_nothing_behind(stack):
    bucket = stack.variables["CONTENT_BUCKET"]
    objects = stack.client("s3")
    objects.put_object(Bucket=bucket, Key="content/event-text-ref.txt", Body="The text of a claim check.".encode())
    for pattern in ("native*.json", "cloudevents.json", "sns-*.json", "eventbridge.json", "s3-test-event.json", "text-ref*.json"):
        for body in samples.bodies(pattern, bucket):  # one by one: a batch call carries 1 MiB in all
            stack.send([body])
    stack.drain()
    assert stack.waiting("POSTS_DLQ_URL") == 0
    for post_id in ("native", "minimal", "empty-text", "large", "cloudevents", "sns-envelope", "sns-raw", "eventbridge", "text-ref"):
        assert stack.decision(f"event-{post_id}") is not None, post_id
