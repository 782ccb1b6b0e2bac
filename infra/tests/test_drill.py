"""Conditions of alarms made true on the local stack: what the functions write then makes the alarm ring, and what they write otherwise does not.

The local AWS has neither metrics nor alarms, so `drill.py` computes both out of the functions' log lines. The others, whose metrics are AWS's or
take an endpoint, are drilled by values in test_alarms.py.
"""

import json
import uuid

import drill
import pytest
import rules

TEMPLATE = rules.transformed()
CALM = "Thank you for the lovely afternoon in the garden."


def lines(stack, group: str) -> list[str]:
    """Everything that a function has logged."""
    pages = stack.client("logs").get_paginator("filter_log_events").paginate(logGroupName=stack.variables[group])
    return [event["message"] for page in pages for event in page["events"]]


def reported_since(stack, group: str, before: int, service: str) -> dict[str, list[float]]:
    """Values by metric of what was logged since `before` lines were there."""
    return drill.emitted(lines(stack, group)[before:], service)


def rings(name: str, values: dict[str, list[float]], **parameters) -> bool:
    """Whether an alarm rings where each of its periods has these values."""
    alarm = drill.resolved(TEMPLATE, name, AlarmTopicArn="topic", **parameters)
    if "MetricName" in alarm:
        series = {alarm["MetricName"]: [values.get(alarm["MetricName"], [])] * alarm["EvaluationPeriods"]}
    else:
        stats = [m for m in alarm["Metrics"] if "MetricStat" in m]
        series = {m["Id"]: [values.get(m["MetricStat"]["Metric"]["MetricName"], [])] * alarm["EvaluationPeriods"] for m in stats}
    return drill.rings(alarm, series)


@pytest.fixture
def calm(published):
    """What score reports for a post that nothing is wrong with."""
    before = len(lines(published, "SCORE_LOGS"))
    post = f"drill-{uuid.uuid4()}"
    published.send([json.dumps({"post_id": post, "text": CALM, "lang": "en"})])
    published.wait_until(lambda: "PostsApproved" in reported_since(published, "SCORE_LOGS", before, "score"))
    return reported_since(published, "SCORE_LOGS", before, "score")


def sent(stack, bodies: list[str], metric: str) -> dict[str, list[float]]:
    """What score reports after these messages, once it reports this metric."""
    before = len(lines(stack, "SCORE_LOGS"))
    stack.send(bodies)
    stack.wait_until(lambda: metric in reported_since(stack, "SCORE_LOGS", before, "score"))
    return reported_since(stack, "SCORE_LOGS", before, "score")


def test_message_that_nobody_can_read(published, calm):
    assert not rings("QuarantinedAlarm", calm)
    assert rings("QuarantinedAlarm", sent(published, [f"no post: {uuid.uuid4()}"], "PostsQuarantined"))


def test_other_content_under_the_same_revision(published, calm):
    post = f"drill-{uuid.uuid4()}"
    first = sent(published, [json.dumps({"post_id": post, "revision": 1, "text": CALM, "lang": "en"})], "PostsApproved")
    assert not rings("ContentConflictAlarm", first | calm)
    assert rings("ContentConflictAlarm", sent(published, [json.dumps({"post_id": post, "revision": 1, "text": "Something else.", "lang": "en"})], "PostsInConflict"))


def test_nothing_was_live(published, calm):
    """The fixture found the function before anything was published."""
    assert not rings("RegistryFallbackAlarm", calm)
    assert rings("RegistryFallbackAlarm", drill.emitted(lines(published, "SCORE_LOGS"), "score"))


def test_every_part_of_a_share_is_there(calm):
    assert {name: sum(calm[name]) for name in ("PostsApproved", "PostsReviewed", "PostsHidden", "PostsFallback")} == {
        "PostsApproved": 1, "PostsReviewed": 0, "PostsHidden": 0, "PostsFallback": 0,
    }  # fmt: skip


def test_shares(published, calm):
    few = {"ShareAlarmPosts": 1}
    assert not rings("HiddenShareAlarm", calm, **few) and not rings("FallbackShareAlarm", calm, **few)
    assert rings("ApprovedShareAlarm", calm, **few), "nearly everything is approved"
    assert not rings("ApprovedShareAlarm", calm), "too few to judge by"
    missing = {"post_id": f"drill-{uuid.uuid4()}", "text_ref": f"s3://{published.variables['CONTENT_BUCKET']}/content/never-written", "lang": "en"}
    fallback = sent(published, [json.dumps(missing)], "PostsFallback")
    assert rings("FallbackShareAlarm", fallback, **few) and rings("ApprovedShareAlarm", fallback, **few)
    hidden = sent(published, [json.dumps({"post_id": f"drill-{uuid.uuid4()}", "text": "Kill all these dirty immigrants, they are vermin.", "lang": "en"})], "PostsHidden")
    assert rings("HiddenShareAlarm", hidden, **few)


def test_latency_to_the_end_of_emit(calm):
    assert not rings("DecisionLatencyAlarm", calm, DecisionLatencyAlarmMs=600_000)
    assert rings("DecisionLatencyAlarm", {"DecisionLatency": [value + 2 for value in calm["DecisionLatency"]]}, DecisionLatencyAlarmMs=1)


def test_escalation_that_nobody_can_read(published):
    before = len(lines(published, "ESCALATE_LOGS"))
    published.client("sqs").send_message(QueueUrl=published.variables["ESCALATIONS_QUEUE_URL"], MessageBody=f"no escalation: {uuid.uuid4()}")
    published.wait_until(lambda: "PostsQuarantined" in reported_since(published, "ESCALATE_LOGS", before, "escalate"))
    values = reported_since(published, "ESCALATE_LOGS", before, "escalate")
    assert rings("EscalationsQuarantinedAlarm", values) and not rings("BreakerOpenAlarm", values)


@pytest.mark.parametrize(("alarm", "queue"), [("PostsDlqAlarm", "POSTS_DLQ_URL"), ("EscalationsDlqAlarm", "ESCALATIONS_DLQ_URL")])
def test_dead_letters(published, alarm, queue):
    """Followed as the runbook has it: what lies there rings, and once it is gone it is over."""
    metric = "ApproximateNumberOfMessagesVisible"
    assert not rings(alarm, {metric: [published.waiting(queue)]})
    published.client("sqs").send_message(QueueUrl=published.variables[queue], MessageBody=f"dead: {uuid.uuid4()}")
    assert rings(alarm, {metric: [published.waiting(queue)]})
    published.client("sqs").purge_queue(QueueUrl=published.variables[queue])
    assert not rings(alarm, {metric: [published.waiting(queue)]})


def test_tasks_that_nobody_takes(published):
    waiting = {"ApproximateNumberOfMessagesVisible": [published.waiting("TASKS_QUEUE_URL")]}
    assert waiting["ApproximateNumberOfMessagesVisible"][0] > 1
    assert rings("TasksDepthAlarm", waiting, TasksDepthAlarmMessages=1) and not rings("TasksDepthAlarm", waiting)
