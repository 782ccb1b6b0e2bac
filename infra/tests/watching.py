"""What template.yaml must hold so that somebody hears of what goes wrong, as functions like those of rules.py."""

from __future__ import annotations

from rules import deployed, of_type, referred, refusals, resolve, sources

# Where alarms are sent in these tests.
TOPIC = "arn:aws:sns:us-east-1:111122223333:on-call"


def watched(alarm: dict) -> set[tuple[str, str, str]]:
    """(namespace, metric, what it is of) of an alarm: of one metric, or of several in an expression."""
    metrics = [alarm] if "MetricName" in alarm else [m["MetricStat"]["Metric"] for m in alarm["Metrics"] if "MetricStat" in m]
    return {(m["Namespace"], m["MetricName"], referred(m["Dimensions"][0]["Value"])) for m in metrics}


def alarms_watch(template: dict) -> list[str]:
    alarms = {name: resolve(template, alarm, {}) for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items()}
    thresholds = {name: alarm.get("Threshold") for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items()}
    functions = of_type(template, "AWS::Lambda::Function")
    wanted = {
        ("Moderato", "DecisionLatency", "score"),
        ("Moderato", "PostsQuarantined", "score"),
        ("Moderato", "PostsApproved", "score"),
        ("Moderato", "PostsHidden", "score"),
        ("Moderato", "PostsFallback", "score"),
        ("Moderato", "RegistryFallback", "score"),
        ("Moderato", "RegistryFallback", "escalate"),
        ("Moderato", "PostsWithoutSecondOpinion", "escalate"),
        ("Moderato", "BreakerOpen", "escalate"),
        ("Moderato", "BudgetSpent", "escalate"),
        ("Moderato", "ProvisionalOverdue", "escalate"),
        ("Moderato", "PostsQuarantined", "escalate"),
    }
    wanted |= {("AWS/Lambda", metric, name) for name in functions for metric in ("Throttles", "Errors", "Duration", "ConcurrentExecutions")}
    wanted |= {("AWS/DynamoDB", f"{verb}ThrottleEvents", name) for name in of_type(template, "AWS::DynamoDB::Table") for verb in ("Read", "Write")}
    wanted |= {("AWS/SQS", "NumberOfMessagesSent", "PostsQueue"), ("AWS/SQS", "NumberOfMessagesSent", "TasksQueue")}
    for queue in ("TasksQueue", "ActionsQueue"):  # until they are consumed here
        wanted |= {("AWS/SQS", metric, queue) for metric in ("ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible")}
    delivered = {(m[0], m[1]) for m in set().union(*map(watched, alarms.values()))}
    for metric in (("AWS/SNS", "NumberOfNotificationsFailed"), ("AWS/SNS", "NumberOfNotificationsFailedToRedriveToDlq"), ("AWS/Events", "FailedInvocations"), ("AWS/Events", "InvocationsFailedToBeSentToDlq")):
        if metric not in delivered:
            wanted.add((*metric, "a way in"))
    for _, mapping, queue, _ in sources(template):
        wanted.add(("AWS/SQS", "ApproximateAgeOfOldestMessage", referred(mapping["EventSourceArn"])))
        if "RedrivePolicy" in queue:
            wanted.add(("AWS/SQS", "ApproximateNumberOfMessagesVisible", referred(queue["RedrivePolicy"]["deadLetterTargetArn"])))
    endpoint = {name for name in template["Resources"] if template["Resources"][name]["Type"] == "AWS::SageMaker::Endpoint"}
    wanted |= {("AWS/SageMaker", m, "moderato-${Stage}") for m in ("ModelLatency", "Invocation5XXErrors", "InvocationModelErrors") if endpoint}
    missing = wanted - set().union(*map(watched, alarms.values()))
    wrong = [f"no alarm on {namespace} {metric} of {of}" for namespace, metric, of in sorted(missing)]
    for name, alarm in alarms.items():
        if alarm.get("MetricName") == "Duration":
            longest = functions[referred(alarm["Dimensions"][0]["Value"])]["Timeout"] * 1000 / 2
            parameter = template["Parameters"][thresholds[name]["Ref"]]
            if alarm.get("ExtendedStatistic") != "p99" or max(parameter["Default"], parameter["MaxValue"]) > longest:
                wrong.append(f"{name}: not the 99th percentile at half the timeout or less")
        silence = alarm["ComparisonOperator"] == "LessThanThreshold"
        if alarm.get("TreatMissingData") != ("breaching" if silence else "notBreaching"):
            wrong.append(f"{name}: alarms when nothing is posted, or does not although it should")
    return wrong


def alarms_reach_somebody(template: dict) -> list[str]:
    """Every alarm tells the topic that is named, both when it begins and when it is over; prod is not deployed without one."""
    wrong = []
    for parameters, told in (({}, []), ({"AlarmTopicArn": TOPIC}, [TOPIC]), ({"NotificationEmail": "a@example.org"}, [{"Ref": "AlarmTopic"}])):
        for name, resource in deployed(template, **parameters).items():
            if resource["Type"] == "AWS::CloudWatch::Alarm":
                properties = resource["Properties"]
                if not properties.get("AlarmActions") == properties.get("OKActions") == told:
                    wrong.append(f"{name}: tells {properties.get('AlarmActions')} with {parameters}")
    for stage, refused in (("dev", False), ("staging", False), ("prod", True)):
        if bool(refusals(template, Stage=stage)) != refused:
            wrong.append(f"{stage} without a topic is {'let through' if refused else 'refused'}")
    if refusals(template, Stage="prod", AlarmTopicArn=TOPIC):
        wrong.append("prod with a topic is refused")
    return wrong


ALL = (alarms_watch, alarms_reach_somebody)
