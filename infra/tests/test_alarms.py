"""Every alarm watches what is there, rings when it should and not before, and has its place in the runbook."""

import json
import re

import drill
import pytest
import rules
import watching

# A deployment that has everything, and so every alarm.
ALL = {
    "Stage": "prod",
    "AlarmTopicArn": watching.TOPIC,
    "PostsTopicArn": "arn:aws:sns:us-east-1:111122223333:posts",
    "PostsEventBus": "default",
    "PostsEventSource": "platform",
    "EndpointImage": "image",
    "BudgetAmount": 100,
}
TEMPLATE = rules.transformed()
ALARMS = [name for name, resource in rules.deployed(TEMPLATE, **ALL).items() if resource["Type"] == "AWS::CloudWatch::Alarm"]

# A period in which nothing was reported.
NOTHING: list[float] = []


def metric(name: str, *periods: list[float]) -> dict:
    return {name: list(periods)}


def shares(approved: int, reviewed: int, hidden: int, fallback: int = 0) -> dict:
    """A quarter of an hour's decisions, three times, in batches as the function reports them."""
    return {
        name: [[count / 2, count / 2]] * 3
        for name, count in (("approved", approved), ("reviewed", reviewed), ("hidden", hidden), ("fallback", fallback))
    }


COUNTED = [[1.0]]
# For each alarm: what it must not ring at, and what it must. Values are what the metric's source reports in a period.
DRILL = {
    "PostsAgeAlarm": (metric("ApproximateAgeOfOldestMessage", [40], [30], [30]), metric("ApproximateAgeOfOldestMessage", [31], [2], [31])),
    "PostsDlqAlarm": (metric("ApproximateNumberOfMessagesVisible", [0]), metric("ApproximateNumberOfMessagesVisible", [0, 1])),
    "ScoreThrottlesAlarm": (metric("Throttles", [0, 0]), metric("Throttles", [0, 1])),
    "ScoreFailuresAlarm": (metric("Errors", [0, 0]), metric("Errors", [0, 1])),
    "ScoreDurationAlarm": (metric("Duration", [15001], [15000]), metric("Duration", [15001], [900, 15001])),
    "QuarantinedAlarm": (metric("PostsQuarantined", NOTHING), metric("PostsQuarantined", [1])),
    "ContentConflictAlarm": (metric("PostsInConflict", NOTHING), metric("PostsInConflict", [2])),
    "RegistryFallbackAlarm": (metric("RegistryFallback", NOTHING), metric("RegistryFallback", *COUNTED)),
    "EscalationsAgeAlarm": (metric("ApproximateAgeOfOldestMessage", [46], [45], [1]), metric("ApproximateAgeOfOldestMessage", [46], [46], [1])),
    "EscalationsDlqAlarm": (metric("ApproximateNumberOfMessagesVisible", [0]), metric("ApproximateNumberOfMessagesVisible", [3])),
    "EscalateThrottlesAlarm": (metric("Throttles", [0]), metric("Throttles", [1])),
    "EscalateFailuresAlarm": (metric("Errors", [0]), metric("Errors", [1])),
    "EscalateDurationAlarm": (metric("Duration", [30001], [30000]), metric("Duration", [30001], [30001])),
    # One in ten without is borne, more is not; a quiet period says nothing.
    "PostsWithoutSecondOpinionAlarm": (
        metric("PostsWithoutSecondOpinion", [1] + [0] * 9, [1] + [0] * 9, [1]),
        metric("PostsWithoutSecondOpinion", [1, 0], NOTHING, [1] + [0] * 8),
    ),
    "BreakerOpenAlarm": (metric("BreakerOpen", NOTHING), metric("BreakerOpen", *COUNTED)),
    "BudgetSpentAlarm": (metric("BudgetSpent", NOTHING), metric("BudgetSpent", [4])),
    "ProvisionalOverdueAlarm": (metric("ProvisionalOverdue", NOTHING), metric("ProvisionalOverdue", [1])),
    "EscalationsQuarantinedAlarm": (metric("PostsQuarantined", NOTHING), metric("PostsQuarantined", [1])),
    # A single slow post among a hundred and more is the hundredth part; two are more. Two slow minutes of five are borne.
    "DecisionLatencyAlarm": (
        metric("DecisionLatency", [5001], [300] * 99 + [9000], [5001], [300], NOTHING),
        metric("DecisionLatency", [5001], [300] * 98 + [9000] * 2, NOTHING, [300], [6000]),
    ),
    "NothingArrivesAlarm": (metric("NumberOfMessagesSent", [0, 1]), metric("NumberOfMessagesSent", NOTHING)),
    "TasksAgeAlarm": (metric("ApproximateAgeOfOldestMessage", [86401], [86401], [86400]), metric("ApproximateAgeOfOldestMessage", *[[86401]] * 3)),
    "TasksDepthAlarm": (metric("ApproximateNumberOfMessagesVisible", [10001], [9000], [10001]), metric("ApproximateNumberOfMessagesVisible", *[[10001]] * 3)),
    "ActionsAgeAlarm": (metric("ApproximateAgeOfOldestMessage", [901], [901], [20]), metric("ApproximateAgeOfOldestMessage", *[[901]] * 3)),
    "ActionsDepthAlarm": (metric("ApproximateNumberOfMessagesVisible", [10000], [10001], [10001]), metric("ApproximateNumberOfMessagesVisible", *[[10001]] * 3)),
    **{
        f"{table}{verb}ThrottlesAlarm": (metric(f"{verb}ThrottleEvents", NOTHING, [9], NOTHING), metric(f"{verb}ThrottleEvents", [1], NOTHING, [2]))
        for table in ("Decisions", "Features")
        for verb in ("Read", "Write")
    },
    "EscalateRegistryFallbackAlarm": (metric("RegistryFallback", NOTHING), metric("RegistryFallback", *COUNTED)),
    "PostsTopicFailuresAlarm": (metric("NumberOfNotificationsFailed", [0]), metric("NumberOfNotificationsFailed", [1])),
    "PostsTopicLostAlarm": (metric("NumberOfNotificationsFailedToRedriveToDlq", [0]), metric("NumberOfNotificationsFailedToRedriveToDlq", [1])),
    "PostsRuleFailuresAlarm": (metric("FailedInvocations", NOTHING), metric("FailedInvocations", [1])),
    "PostsRuleLostAlarm": (metric("InvocationsFailedToBeSentToDlq", NOTHING), metric("InvocationsFailedToBeSentToDlq", [1])),
    "SweepRuleFailuresAlarm": (metric("FailedInvocations", NOTHING), metric("FailedInvocations", [1])),
    # Too few posts to judge by; then too few approved, and below, nearly all.
    "ApprovedShareAlarm": (shares(10, 80, 8), shares(49, 40, 11)),
    "HiddenShareAlarm": (shares(80, 0, 20), shares(79, 0, 22)),
    "FallbackShareAlarm": (shares(80, 20, 0, 20), shares(78, 22, 0, 22)),
    "ScoreConcurrencyAlarm": ({"running": [[160]] * 5}, {"running": [[161], [40], [200], [40], [200]]}),
    "EscalateConcurrencyAlarm": ({"running": [[40]] * 5}, {"running": [[41]] * 3 + [[0], [0]]}),
    "PostsSurgeAlarm": ({"sent": [[1400]] * 3}, {"sent": [[1401]] * 3}),
    "ReviewsSurgeAlarm": ({"sent": [[1401], [1401], [1000]]}, {"sent": [[5000]] * 3}),
    "EndpointLatencyAlarm": (metric("ModelLatency", *[[2_000_000]] * 5), metric("ModelLatency", [1], [2_000_001], [1], [2_000_001], [2_000_001])),
    "EndpointErrorsAlarm": (metric("Invocation5XXErrors", [1], [0], [1], [0], [0]), metric("Invocation5XXErrors", [1], [0], [1], [0], [1])),
    "EndpointSilentAlarm": ({"asked": [[10]] * 3, "failed": [[10], [10], [9]]}, {"asked": [[10]] * 3, "failed": [[10]] * 3}),
}
# What CloudWatch has learned, in the drill of the two surges: a thousand messages in five minutes, give or take a hundred.
EXPECTED = (1000, 100)


def test_every_alarm_is_drilled():
    assert set(DRILL) == set(ALARMS)


@pytest.mark.parametrize("name", DRILL)
def test_rings_when_it_should_and_not_before(name):
    calm, wrong = DRILL[name]
    alarm = drill.resolved(TEMPLATE, name, **ALL)
    assert not drill.rings(alarm, calm, EXPECTED)
    assert drill.rings(alarm, wrong, EXPECTED)


def test_nearly_everything_approved_rings_too():
    alarm = drill.resolved(TEMPLATE, "ApprovedShareAlarm", **ALL)
    assert drill.rings(alarm, shares(1000, 4, 0)) and not drill.rings(alarm, shares(995, 5, 0))


@pytest.mark.parametrize("name", [name for name in DRILL if name != "NothingArrivesAlarm"])
def test_no_alarm_but_that_of_silence_rings_at_nothing(name):
    alarm = drill.resolved(TEMPLATE, name, **ALL)
    assert not drill.rings(alarm, {key: [NOTHING] * alarm["EvaluationPeriods"] for key in DRILL[name][0]}, EXPECTED)


def test_shares_are_of_batches_that_report_every_part():
    """A part that is left out where it is 0 would leave CloudWatch without a sum, and the alarm without an answer."""
    alarm = drill.resolved(TEMPLATE, "HiddenShareAlarm", **ALL)
    wrong = DRILL["HiddenShareAlarm"][1]
    assert drill.rings(alarm, wrong) and not drill.rings(alarm, wrong | {"reviewed": [NOTHING] * 3})


# ---- what is watched is what is emitted

KINDS = {"count": ("Count", {"Sum"}), "part": ("Count", {"Sum"}), "share": ("Count", {"Sum", "Average"}), "milliseconds": ("Milliseconds", {"p50", "p90", "p99"})}


def reported(service: str) -> dict[str, str]:
    """Metric -> the way in which a function's code reports it."""
    code = (rules.ROOT / f"functions/{service}/src/report.rs").read_text()
    assert f'Metrics::new(&app.config.stage, "{service}")' in code
    found = {name: kind for kind, name in re.findall(r'metrics\.(count|part|share|milliseconds)\(\s*"(\w+)"', code)}
    # Counted by name first, reported in a loop.
    assert "metrics.count(name, number)" in code
    block = code[code.index("let mut count = |name|") : code.index("for (name, number) in counts")]
    found |= {name: "count" for name in re.findall(r'"([A-Z]\w+)"', block) if name not in found}
    return found


def ours(alarm: dict) -> list[tuple[str, str, str, dict]]:
    """(id, metric, statistic, dimensions) of an alarm's metrics in our namespace."""
    if alarm.get("Namespace") == "Moderato":
        return [(alarm["MetricName"], alarm["MetricName"], alarm.get("Statistic") or alarm["ExtendedStatistic"], {d["Name"]: d["Value"] for d in alarm["Dimensions"]})]
    stats = [(m["Id"], m["MetricStat"]) for m in alarm.get("Metrics", []) if "MetricStat" in m]
    return [
        (name, s["Metric"]["MetricName"], s["Stat"], {d["Name"]: d["Value"] for d in s["Metric"]["Dimensions"]})
        for name, s in stats
        if s["Metric"]["Namespace"] == "Moderato"
    ]


@pytest.mark.parametrize("name", ALARMS)
def test_metric_of_ours_is_emitted_so(name):
    alarm = drill.resolved(TEMPLATE, name, **ALL)
    for _, metric_name, stat, dimensions in ours(alarm):
        assert set(dimensions) == {"service", "stage"} and dimensions["stage"] == "prod"
        kind = reported(dimensions["service"]).get(metric_name)
        assert kind, f"{dimensions['service']} does not report {metric_name}"
        assert stat in KINDS[kind][1], f"the {stat} of a {kind} means nothing"
        if "Metrics" in alarm:
            assert kind == "part", "an expression has no value where one of its metrics has none"
    assert 'Dimensions": [["service", "stage"]]' in (rules.ROOT / "shared/runtime/src/telemetry.rs").read_text()


def test_a_fault_in_the_code_would_be_seen():
    report = reported("score")
    assert report["PostsQuarantined"] == "count" and report["PostsHidden"] == "part" and report["DecisionLatency"] == "milliseconds"
    assert reported("escalate")["PostsWithoutSecondOpinion"] == "share" and reported("escalate")["BudgetSpent"] == "count"
    assert "Nonsense" not in report


def test_ways_of_reporting_have_these_units():
    code = (rules.ROOT / "shared/runtime/src/telemetry.rs").read_text()
    for way, (unit, _) in KINDS.items():
        body = code[code.index(f"pub fn {way}(") :]
        assert re.search(r"Unit::(\w+)", body)[1] == unit


def test_dashboard_shows_what_is_emitted():
    body = re.sub(r"\$\{[^}]+\}", "x", TEMPLATE["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"][0])
    shown = [m for widget in json.loads(body)["widgets"] for m in widget["properties"]["metrics"] if m[0] == "Moderato"]
    assert shown and all(m[1] in reported(m[3]) for m in shown)


# ---- metrics of AWS are those that AWS documents (docs/aws-findings.md), with its dimensions

DOCUMENTED = {
    ("AWS/SQS", "ApproximateAgeOfOldestMessage"): [{"QueueName"}],
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): [{"QueueName"}],
    ("AWS/SQS", "NumberOfMessagesSent"): [{"QueueName"}],
    ("AWS/Lambda", "Throttles"): [{"FunctionName"}],
    ("AWS/Lambda", "Errors"): [{"FunctionName"}],
    ("AWS/Lambda", "Duration"): [{"FunctionName"}],
    ("AWS/Lambda", "ConcurrentExecutions"): [{"FunctionName"}],
    ("AWS/DynamoDB", "ReadThrottleEvents"): [{"TableName"}],
    ("AWS/DynamoDB", "WriteThrottleEvents"): [{"TableName"}],
    ("AWS/SNS", "NumberOfNotificationsFailed"): [{"TopicName"}],
    ("AWS/SNS", "NumberOfNotificationsFailedToRedriveToDlq"): [{"TopicName"}],
    ("AWS/Events", "FailedInvocations"): [{"RuleName"}, {"EventBusName", "RuleName"}],
    ("AWS/Events", "InvocationsFailedToBeSentToDlq"): [{"RuleName"}, {"EventBusName", "RuleName"}],
    ("AWS/SageMaker", "ModelLatency"): [{"EndpointName", "VariantName"}],
    ("AWS/SageMaker", "Invocation5XXErrors"): [{"EndpointName", "VariantName"}],
    ("AWS/SageMaker", "InvocationModelErrors"): [{"EndpointName", "VariantName"}],
    ("AWS/SageMaker", "Invocations"): [{"EndpointName", "VariantName"}],
}


@pytest.mark.parametrize("bus", ["default", "ours"])
def test_metrics_of_aws_are_documented(bus):
    used = set()
    for name in ALARMS:
        alarm = drill.resolved(TEMPLATE, name, **ALL | {"PostsEventBus": bus})
        metrics = [alarm] if "MetricName" in alarm else [m["MetricStat"]["Metric"] for m in alarm["Metrics"] if "MetricStat" in m]
        for one in metrics:
            if one["Namespace"] != "Moderato":
                key, dimensions = (one["Namespace"], one["MetricName"]), {d["Name"] for d in one["Dimensions"]}
                assert dimensions in DOCUMENTED[key], (name, key, dimensions)
                if key[0] == "AWS/Events" and name != "SweepRuleFailuresAlarm":
                    assert ("EventBusName" in dimensions) == (bus == "ours"), "the metrics of a bus of one's own carry its name"
                used.add(key)
    assert used == set(DOCUMENTED)


def test_runbook_has_an_entry_for_every_alarm_and_no_other():
    page = (rules.ROOT / "docs/runbook.md").read_text()
    entries = {part.split("\n", 1)[0].strip(): part for part in page.split("\n### ")[1:]}
    named = [name for heading in entries for name in re.findall(r"`(\w+Alarm)`", heading)]
    assert sorted(named) == sorted(ALARMS)
    for heading, entry in entries.items():
        if "Alarm`" in heading:
            for part in ("**Means.**", "**Look.**", "**Do.**", "**Over when.**"):
                assert part in entry, f"{heading} lacks {part}"
