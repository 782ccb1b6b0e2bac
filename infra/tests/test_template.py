"""template.yaml keeps the rules of rules.py, and every rule sees the fault it is there for."""

import json
import re
import string

import pytest
import rules
import tomlkit

HERE = "${AWS::Region}:${AWS::AccountId}"
TRAINING_JOBS = f"arn:${{AWS::Partition}}:sagemaker:{HERE}:training-job/pipelines-*"
TRAINING_REPOSITORY = f"arn:${{AWS::Partition}}:ecr:{HERE}:repository/${{TrainingRepository}}"
ENDPOINT_REPOSITORY = f"arn:${{AWS::Partition}}:ecr:{HERE}:repository/${{EndpointRepository}}"
TRAINING_LOG_STREAMS = f"arn:${{AWS::Partition}}:logs:{HERE}:log-group:/aws/sagemaker/TrainingJobs:log-stream:*"

# The exact permissions of every role, action by action. A new line here is a decision: say in the change why.
GRANTS = {
    "ScoreRole": {
        "sqs:ReceiveMessage": ["PostsQueue.Arn"],
        "sqs:DeleteMessage": ["PostsQueue.Arn"],
        "sqs:GetQueueAttributes": ["PostsQueue.Arn"],
        "sqs:ChangeMessageVisibility": ["PostsQueue.Arn"],  # what failed comes again soon, then seldom
        "dynamodb:BatchGetItem": ["DecisionsTable.Arn", "FeaturesTable.Arn"],
        "dynamodb:Query": ["DecisionsTable.Arn"],
        "dynamodb:PartiQLInsert": ["DecisionsTable.Arn"],
        "dynamodb:PutItem": ["DecisionsTable.Arn"],  # what settles a conflict of content takes the place of a machine's decision
        "sqs:SendMessage": ["ActionsQueue.Arn", "EscalationsQueue.Arn", "PostsQueue.Arn", "TasksQueue.Arn"],  # posts: parts of long lists
        "s3:GetObject": [
            "${ArtifactsBucket.Arn}/banks/*",
            "${ArtifactsBucket.Arn}/content/*",
            "${ArtifactsBucket.Arn}/intake/*",
            "${ArtifactsBucket.Arn}/models/*",
            "${ArtifactsBucket.Arn}/policies/*",
            "${ArtifactsBucket.Arn}/registry/*",
            "each of arn:${AWS::Partition}:s3:::${Names}/*",
        ],
        "s3:PutObject": ["${ArtifactsBucket.Arn}/quarantine-of/*", "${ArtifactsBucket.Arn}/quarantine/*"],
        "s3:ListBucket": ["ArtifactsBucket.Arn", "each of arn:${AWS::Partition}:s3:::${Names}"],
        "logs:CreateLogStream": ["ScoreLogs.Arn"],
        "logs:PutLogEvents": ["ScoreLogs.Arn"],
        "kms:Decrypt": ["ContentKeyArns", "EncryptionKeyArn"],
        "kms:GenerateDataKey": ["EncryptionKeyArn"],
    },
    "EscalateRole": {
        "sqs:ReceiveMessage": ["EscalationsQueue.Arn"],
        "sqs:DeleteMessage": ["EscalationsQueue.Arn"],
        "sqs:GetQueueAttributes": ["EscalationsQueue.Arn"],
        "sqs:ChangeMessageVisibility": ["EscalationsQueue.Arn"],
        "dynamodb:BatchGetItem": ["DecisionsTable.Arn"],
        "dynamodb:Query": ["${DecisionsTable.Arn}/index/provisional"],  # the sweep
        "dynamodb:PutItem": ["DecisionsTable.Arn"],
        "dynamodb:UpdateItem": ["FeaturesTable.Arn"],  # items of the budget alone, see below
        "sqs:SendMessage": ["ActionsQueue.Arn", "EscalationsQueue.Arn", "TasksQueue.Arn"],
        "sagemaker:InvokeEndpoint": [f"arn:${{AWS::Partition}}:sagemaker:{HERE}:endpoint/${{Name}}"],  # where there is one
        "s3:GetObject": [
            "${ArtifactsBucket.Arn}/banks/*",
            "${ArtifactsBucket.Arn}/blocklists/*",
            "${ArtifactsBucket.Arn}/content/*",
            "${ArtifactsBucket.Arn}/intake/*",
            "${ArtifactsBucket.Arn}/models/*",
            "${ArtifactsBucket.Arn}/policies/*",
            "${ArtifactsBucket.Arn}/registry/*",
            "each of arn:${AWS::Partition}:s3:::${Names}/*",
        ],
        "s3:PutObject": ["${ArtifactsBucket.Arn}/quarantine-of/*", "${ArtifactsBucket.Arn}/quarantine/*"],
        "s3:ListBucket": ["ArtifactsBucket.Arn", "each of arn:${AWS::Partition}:s3:::${Names}"],
        "logs:CreateLogStream": ["EscalateLogs.Arn"],
        "logs:PutLogEvents": ["EscalateLogs.Arn"],
        "kms:Decrypt": ["ContentKeyArns", "EncryptionKeyArn"],
        "kms:GenerateDataKey": ["EncryptionKeyArn"],
    },
    # Exists only where the endpoint does.
    "EndpointRole": {
        "s3:GetObject": ["${ArtifactsBucket.Arn}/${EndpointModelKey}"],
        "ecr:BatchCheckLayerAvailability": [ENDPOINT_REPOSITORY],
        "ecr:BatchGetImage": [ENDPOINT_REPOSITORY],
        "ecr:GetDownloadUrlForLayer": [ENDPOINT_REPOSITORY],
        "ecr:GetAuthorizationToken": ["*"],
        "cloudwatch:PutMetricData": ["*"],
        "logs:CreateLogStream": ["EndpointLogs.Arn"],
        "logs:PutLogEvents": ["EndpointLogs.Arn"],
        "kms:Decrypt": ["EncryptionKeyArn"],
    },
    # The two below exist only where training does.
    "TrainingPipelineRole": {
        "sagemaker:CreateTrainingJob": [TRAINING_JOBS],
        "sagemaker:DescribeTrainingJob": [TRAINING_JOBS],
        "sagemaker:StopTrainingJob": [TRAINING_JOBS],
        "sagemaker:AddTags": [TRAINING_JOBS],
        "iam:PassRole": ["TrainingRole.Arn"],
    },
    "TrainingRole": {
        "s3:GetObject": ["${ArtifactsBucket.Arn}/training/checkpoints/*", "${ArtifactsBucket.Arn}/training/data/*"],
        "s3:PutObject": ["${ArtifactsBucket.Arn}/training/checkpoints/*", "${ArtifactsBucket.Arn}/training/models/*"],
        "s3:ListBucket": ["ArtifactsBucket.Arn"],
        "ecr:BatchCheckLayerAvailability": [TRAINING_REPOSITORY],
        "ecr:BatchGetImage": [TRAINING_REPOSITORY],
        "ecr:GetDownloadUrlForLayer": [TRAINING_REPOSITORY],
        "ecr:GetAuthorizationToken": ["*"],
        "logs:CreateLogStream": [TRAINING_LOG_STREAMS],
        "logs:PutLogEvents": [TRAINING_LOG_STREAMS],
        "kms:Decrypt": ["EncryptionKeyArn"],
        "kms:GenerateDataKey": ["EncryptionKeyArn"],
    },
}


@pytest.mark.parametrize("rule", rules.ALL, ids=lambda rule: rule.__name__)
def test_template_keeps(rule):
    assert rule(rules.transformed()) == []


def test_roles_may_do_exactly_this():
    assert rules.grants(rules.transformed()) == GRANTS


def properties(template, name):
    return template["Resources"][name]["Properties"]


def statements(template):
    return properties(template, "ScoreRole")["Policies"][0]["PolicyDocument"]["Statement"]


def drop_tag(template, name, key, place="Tags"):
    properties(template, name)[place] = [tag for tag in properties(template, name)[place] if tag["Key"] != key]


def training(template, old, new):
    """Changes the text of the training pipeline's definition."""
    place = properties(template, "TrainingPipeline")["PipelineDefinition"]["PipelineDefinitionBody"]["Fn::Sub"]
    assert old in place[0]
    place[0] = place[0].replace(old, new)


FAULTS = {
    "mapping without a cost centre": (rules.tags_everywhere, lambda t: drop_tag(t, "ScoreMapping", "CostCenter")),
    "log group without an owner": (rules.tags_everywhere, lambda t: drop_tag(t, "ScoreLogs", "Owner")),
    "function without a component": (rules.tags_everywhere, lambda t: drop_tag(t, "ScoreFunction", "Component")),
    "alarm without tags": (rules.tags_everywhere, lambda t: properties(t, "PostsDlqAlarm").pop("Tags")),
    "budget without a stage": (rules.tags_everywhere, lambda t: drop_tag(t, "Budget", "Stage", "ResourceTags")),
    "dashboard without tags": (rules.tags_everywhere, lambda t: properties(t, "Dashboard").pop("Tags")),
    "everything in S3": (rules.explicit_permissions, lambda t: statements(t)[4].update(Action=["s3:*"])),
    "every resource": (rules.explicit_permissions, lambda t: statements(t)[2].update(Resource="*")),
    "managed policy": (
        rules.explicit_permissions,
        lambda t: properties(t, "ScoreRole").update(ManagedPolicyArns=["arn:aws:iam::aws:policy/AdministratorAccess"]),
    ),
    "short visibility": (rules.queues_outlast_functions, lambda t: properties(t, "PostsQueue").update(VisibilityTimeout=179)),
    "longer timeout": (rules.queues_outlast_functions, lambda t: properties(t, "ScoreFunction").update(Timeout=31)),
    "default visibility": (rules.queues_outlast_functions, lambda t: properties(t, "PostsQueue").pop("VisibilityTimeout")),
    "messages that wait": (
        rules.queues_outlast_functions,
        lambda t: properties(t, "ScoreMapping").update(MaximumBatchingWindowInSeconds=1),
    ),
    "no DLQ": (rules.dead_letters, lambda t: properties(t, "PostsQueue").pop("RedrivePolicy")),
    "few tries": (rules.dead_letters, lambda t: properties(t, "PostsQueue")["RedrivePolicy"].update(maxReceiveCount=29)),
    "nobody watches what is overdue": (rules.alarms_watch, lambda t: t["Resources"].pop("ProvisionalOverdueAlarm")),
    "forgetful DLQ": (rules.dead_letters, lambda t: properties(t, "PostsDlq").pop("MessageRetentionPeriod")),
    "forgetful tasks": (rules.unconsumed_queues_keep, lambda t: properties(t, "TasksQueue").update(MessageRetentionPeriod=60)),
    "tasks with a DLQ": (
        rules.unconsumed_queues_keep,
        lambda t: properties(t, "TasksQueue").update(RedrivePolicy=properties(t, "PostsQueue")["RedrivePolicy"]),
    ),
    "no partial response": (rules.mappings_report_and_limit, lambda t: properties(t, "ScoreMapping").pop("FunctionResponseTypes")),
    "another response": (rules.mappings_report_and_limit, lambda t: properties(t, "ScoreMapping").update(FunctionResponseTypes=[])),
    "no limit": (rules.mappings_report_and_limit, lambda t: properties(t, "ScoreMapping").pop("ScalingConfig")),
    "reserved concurrency": (
        rules.mappings_report_and_limit,
        lambda t: properties(t, "ScoreFunction").update(ReservedConcurrentExecutions=5),
    ),
    "eternal logs": (rules.logs_declared, lambda t: properties(t, "ScoreLogs").pop("RetentionInDays")),
    "implicit log group": (rules.logs_declared, lambda t: properties(t, "ScoreFunction").pop("LoggingConfig")),
    "table deleted with the stack": (rules.data_is_safe, lambda t: t["Resources"]["DecisionsTable"].pop("DeletionPolicy")),
    "key lost with the stack": (rules.data_is_safe, lambda t: t["Resources"]["DigestKey"].pop("DeletionPolicy")),
    "bucket replaced": (rules.data_is_safe, lambda t: t["Resources"]["ArtifactsBucket"].pop("UpdateReplacePolicy")),
    "no recovery": (rules.data_is_safe, lambda t: properties(t, "FeaturesTable").pop("PointInTimeRecoverySpecification")),
    "table in the clear": (rules.data_is_safe, lambda t: properties(t, "DecisionsTable").pop("SSESpecification")),
    "queue in the clear": (rules.data_is_safe, lambda t: properties(t, "ActionsQueue").pop("SqsManagedSseEnabled")),
    "no time to live": (rules.data_is_safe, lambda t: properties(t, "DecisionsTable").pop("TimeToLiveSpecification")),
    "public bucket": (
        rules.bucket_is_closed,
        lambda t: properties(t, "ArtifactsBucket")["PublicAccessBlockConfiguration"].update(BlockPublicPolicy=False),
    ),
    "eternal quarantine": (
        rules.bucket_is_closed,
        lambda t: properties(t, "ArtifactsBucket")["LifecycleConfiguration"]["Rules"].pop(0),
    ),
    "bucket without TLS": (rules.bucket_is_closed, lambda t: t["Resources"].pop("ArtifactsBucketPolicy")),
    "queue without TLS": (rules.queues_only_over_tls, lambda t: t["Resources"].pop("OutgoingQueuesPolicy")),
    "open queue": (
        rules.senders_are_named,
        lambda t: properties(t, "PostsQueuePolicy")["PolicyDocument"]["Statement"][1].update(Principal="*"),
    ),
    "any bucket may notify": (
        rules.senders_are_named,
        lambda t: properties(t, "PostsQueuePolicy")["PolicyDocument"]["Statement"][1].pop("Condition"),
    ),
    "nobody watches the DLQ": (rules.alarms_watch, lambda t: t["Resources"].pop("PostsDlqAlarm")),
    "training by default": (rules.training_is_wanted_first, lambda t: t["Parameters"]["TrainingImage"].update(Default="image")),
    "pipeline always there": (rules.training_is_wanted_first, lambda t: t["Resources"]["TrainingPipeline"].pop("Condition")),
    "role always there": (rules.training_is_wanted_first, lambda t: t["Resources"]["TrainingRole"].pop("Condition")),
    "untagged job": (rules.training_is_wanted_first, lambda t: training(t, '"Key": "CostCenter"', '"Key": "Other"')),
    "job at full price": (rules.training_is_wanted_first, lambda t: training(t, '"EnableManagedSpotTraining": true,', "")),
    "job on the network": (rules.training_is_wanted_first, lambda t: training(t, '"EnableNetworkIsolation": true,', "")),
    "job without end": (rules.training_is_wanted_first, lambda t: training(t, '"MaxRuntimeInSeconds": 86400,', "")),
    "pipeline without an owner": (rules.tags_everywhere, lambda t: drop_tag(t, "TrainingPipeline", "Owner")),
    "eternal checkpoints": (
        rules.bucket_is_closed,
        lambda t: properties(t, "ArtifactsBucket")["LifecycleConfiguration"]["Rules"].pop(4),
    ),
    "everything in ECR": (
        rules.explicit_permissions,
        lambda t: properties(t, "TrainingRole")["Policies"][0]["PolicyDocument"]["Statement"][3].update(Resource="*"),
    ),
    "nobody watches the second DLQ": (rules.alarms_watch, lambda t: t["Resources"].pop("EscalationsDlqAlarm")),
    "nobody watches the second quarantine": (rules.alarms_watch, lambda t: t["Resources"].pop("EscalationsQuarantinedAlarm")),
    "nobody watches the breaker": (rules.alarms_watch, lambda t: t["Resources"].pop("BreakerOpenAlarm")),
    "nobody watches the endpoint": (rules.alarms_watch, lambda t: t["Resources"].pop("EndpointLatencyAlarm")),
    "silence unheard": (rules.alarms_watch, lambda t: t["Resources"].pop("EndpointSilentAlarm")),
    "late duration alarm of escalate": (rules.alarms_watch, lambda t: t["Parameters"]["EscalateDurationAlarmMs"].update(MaxValue=30001)),
    "one queue for both": (
        rules.fast_path_is_alone,
        lambda t: properties(t, "EscalateMapping").update(EventSourceArn={"Fn::GetAtt": ["PostsQueue", "Arn"]}),
    ),
    "fast path reads both": (
        rules.fast_path_is_alone,
        lambda t: properties(t, "EscalateMapping").update(FunctionName={"Ref": "ScoreFunction"}),
    ),
    "fast path may ask": (rules.fast_path_is_alone, lambda t: statements(t)[0]["Action"].append("sagemaker:InvokeEndpoint")),
    "fast path knows whom to ask": (
        rules.fast_path_is_alone,
        lambda t: properties(t, "ScoreFunction")["Environment"]["Variables"].update(ENDPOINT_NAME="x"),
    ),
    "endpoint by default": (rules.endpoint_is_wanted_first, lambda t: t["Parameters"]["EndpointImage"].update(Default="image")),
    "endpoint always there": (rules.endpoint_is_wanted_first, lambda t: t["Resources"]["Endpoint"].pop("Condition")),
    "its role always there": (rules.endpoint_is_wanted_first, lambda t: t["Resources"]["EndpointRole"].pop("Condition")),
    "endpoint never there": (rules.endpoint_is_wanted_first, lambda t: t["Resources"].pop("Endpoint")),
    "endpoint that cannot grow": (rules.endpoint_is_wanted_first, lambda t: t["Resources"].pop("EndpointScalingPolicy")),
    "any endpoint may be called": (
        rules.endpoint_is_wanted_first,
        lambda t: properties(t, "EscalateRole")["Policies"][0]["PolicyDocument"]["Statement"].append({"Action": "sagemaker:InvokeEndpoint"}),
    ),
    "untagged endpoint": (rules.tags_everywhere, lambda t: drop_tag(t, "Endpoint", "CostCenter")),
    "everything in CloudWatch": (
        rules.explicit_permissions,
        lambda t: properties(t, "EndpointRole")["Policies"][0]["PolicyDocument"]["Statement"][3].update(Resource="*"),
    ),
    "second queue in the clear": (rules.queues_only_over_tls, lambda t: t["Resources"].pop("EscalationsQueuesPolicy")),
    "short visibility of escalations": (rules.queues_outlast_functions, lambda t: properties(t, "EscalationsQueue").update(VisibilityTimeout=359)),
    "late duration alarm": (rules.alarms_watch, lambda t: t["Parameters"]["ScoreDurationAlarmMs"].update(MaxValue=30000)),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.replace(" ", "_"))
def test_rule_sees(fault):
    rule, plant = FAULTS[fault]
    template = rules.transformed()
    plant(template)
    assert rule(template) != []


def test_every_rule_has_a_planted_fault():
    assert {rule for rule, _ in FAULTS.values()} == set(rules.ALL)


def test_one_more_action_is_seen():
    template = rules.transformed()
    statements(template)[2]["Action"].append("dynamodb:DeleteItem")
    assert rules.grants(template) != GRANTS


def test_function_is_told_where_everything_is():
    variables = properties(rules.transformed(), "ScoreFunction")["Environment"]["Variables"]
    assert set(variables) == {
        "STAGE", "DECISIONS_TABLE", "FEATURES_TABLE", "POSTS_QUEUE_URL", "TASKS_QUEUE_URL", "ACTIONS_QUEUE_URL", "ESCALATIONS_QUEUE_URL", "ARTIFACTS_BUCKET",
        "REGISTRY_FALLBACK", "CONTENT_BUCKETS", "DECISION_DAYS", "DIGEST_KEY", "MALLOC_TOP_PAD_",
    }  # fmt: skip
    escalate = properties(rules.transformed(), "EscalateFunction")["Environment"]["Variables"]
    assert set(escalate) == set(variables) - {"POSTS_QUEUE_URL"} | {"SECOND_OPINION", "ENDPOINT_NAME"}


def test_functions_have_the_key_of_digests_and_the_outputs_only_its_name():
    template = rules.transformed()
    for name in ("ScoreFunction", "EscalateFunction"):
        key = properties(template, name)["Environment"]["Variables"]["DIGEST_KEY"]
        assert key == {"Fn::Sub": "{{resolve:secretsmanager:${DigestKey}}}"}
    assert template["Outputs"]["DigestKeySecret"]["Value"] == {"Ref": "DigestKey"}
    made = properties(template, "DigestKey")["GenerateSecretString"]
    # Letters and digits are left: what may stand in any file of variables.
    assert made["PasswordLength"] == 64 and set(made["ExcludeCharacters"]) == set(string.punctuation)


def test_authors_have_an_index_where_it_is_wanted():
    def table(**parameters):
        return rules.deployed(rules.transformed(), **parameters)["DecisionsTable"]["Properties"]

    assert [index["IndexName"] for index in table()["GlobalSecondaryIndexes"]] == ["provisional"]
    assert "author_id" not in [one["AttributeName"] for one in table()["AttributeDefinitions"]]
    (_, index) = table(AuthorIndex="on")["GlobalSecondaryIndexes"]
    assert index["KeySchema"] == [{"AttributeName": "author_id", "KeyType": "HASH"}]
    assert {"AttributeName": "author_id", "AttributeType": "S"} in table(AuthorIndex="on")["AttributeDefinitions"]
    code = (rules.ROOT / "shared/store/src/decisions.rs").read_text()
    assert f'"{index["IndexName"]}"' in code and index["Projection"]["NonKeyAttributes"] == ["received_at"]


def escalate(**parameters):
    """The escalate function's variables, and whom its role may ask, under these parameters."""
    resources = rules.deployed(rules.transformed(), **parameters)
    allowed = resources["EscalateRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    asked = [s["Resource"]["Fn::Sub"][1]["Name"] for s in allowed if s["Action"] == ["sagemaker:InvokeEndpoint"]]
    return resources["EscalateFunction"]["Properties"]["Environment"]["Variables"], asked


def test_kill_switch_reaches_the_function():
    assert escalate()[0]["SECOND_OPINION"] == "on"
    assert escalate(SecondOpinion="off")[0]["SECOND_OPINION"] == "off"
    assert rules.transformed()["Parameters"]["SecondOpinion"]["AllowedValues"] == ["on", "off"]


def test_what_decides_without_the_registry_is_review_unless_the_deployment_says_otherwise():
    parameter = rules.transformed()["Parameters"]["RegistryFallback"]
    assert (parameter["Default"], parameter["AllowedValues"]) == ("review", ["review", "bundled"])
    for told, parameters in (("review", {}), ("bundled", {"RegistryFallback": "bundled"})):
        resources = rules.deployed(rules.transformed(), **parameters)
        for function in ("ScoreFunction", "EscalateFunction"):
            assert resources[function]["Properties"]["Environment"]["Variables"]["REGISTRY_FALLBACK"] == told


def test_no_function_may_publish():
    for role in ("ScoreRole", "EscalateRole"):
        assert rules.grants(rules.transformed())[role]["s3:PutObject"] == ["${ArtifactsBucket.Arn}/quarantine-of/*", "${ArtifactsBucket.Arn}/quarantine/*"]


def test_the_endpoint_that_is_named_is_the_one_that_may_be_asked():
    assert (escalate()[0]["ENDPOINT_NAME"], escalate()[1]) == ("", [])
    assert (escalate(EndpointName="theirs")[0]["ENDPOINT_NAME"], escalate(EndpointName="theirs")[1]) == ("theirs", ["theirs"])
    variables, asked = escalate(EndpointImage="image")
    endpoint = properties(rules.transformed(), "Endpoint")
    assert asked == [variables["ENDPOINT_NAME"]] == [endpoint["EndpointName"]] == [{"Fn::Sub": "moderato-${Stage}"}]
    logs = properties(rules.transformed(), "EndpointLogs")["LogGroupName"]["Fn::Sub"]
    assert logs == "/aws/sagemaker/Endpoints/" + endpoint["EndpointName"]["Fn::Sub"]


def test_endpoint_of_somebody_else_costs_this_stack_nothing():
    template = rules.transformed()
    assert set(rules.deployed(template, EndpointName="theirs")) == set(rules.deployed(template))


def test_second_opinions_touch_no_features():
    role = properties(rules.transformed(), "EscalateRole")["Policies"][0]["PolicyDocument"]["Statement"]
    (statement,) = [s for s in role if s.get("Resource") == {"Fn::GetAtt": ["FeaturesTable", "Arn"]}]
    assert statement["Action"] == ["dynamodb:UpdateItem"]
    assert statement["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["budget#*"]}}
    assert 'format!("budget#{}#{}"' in (rules.ROOT / "shared/store/src/budget.rs").read_text()


def test_what_is_overdue_is_looked_for():
    template = rules.transformed()
    rule = properties(template, "SweepRule")
    (target,) = rule["Targets"]
    assert rules.text(target["Arn"]) == "EscalationsQueue.Arn" and rule["ScheduleExpression"] == "rate(5 minutes)"
    schema = json.loads(target["Input"])["schema"]
    assert f'rename = "{schema}"' in (rules.ROOT / "functions/escalate/src/sweep.rs").read_text()
    allowed = properties(template, "EscalationsQueuesPolicy")["PolicyDocument"]["Statement"]
    assert [rules.text(s["Condition"]["ArnEquals"]["aws:SourceArn"]) for s in allowed if s["Effect"] == "Allow"] == ["SweepRule.Arn"]


def test_index_of_what_is_overdue_is_the_one_that_the_code_asks():
    (index,) = rules.deployed(rules.transformed())["DecisionsTable"]["Properties"]["GlobalSecondaryIndexes"]
    code = "".join((rules.ROOT / f"shared/store/src/{name}.rs").read_text() for name in ("decisions", "item"))
    names = [key["AttributeName"] for key in index["KeySchema"]]
    assert f'"{index["IndexName"]}"' in code and f'"{names[0]} = :shard AND {names[1]} < :before"' in code
    assert f'OPEN_SHARD: &str = "{names[0]}"' in code
    assert index["Projection"] == {"ProjectionType": "KEYS_ONLY"}


def test_messages_fit_the_queue_of_escalations_as_they_fit_that_of_posts():
    template = rules.transformed()
    posts, escalations = properties(template, "PostsQueue"), properties(template, "EscalationsQueue")
    for name in ("MessageRetentionPeriod", "MaximumMessageSize"):
        assert posts[name] == escalations[name]


def test_training_job_gets_what_the_script_understands():
    job = rules.training_job(rules.transformed())
    code = (rules.ROOT / "infra/training/job.py").read_text()
    (channel,) = job["InputDataConfig"]
    assert f'input/data/{channel["ChannelName"]}' in code
    assert set(job["HyperParameters"]) == {"seeds", "epochs"} and all(f'"{name}"' in code for name in job["HyperParameters"])
    assert job["CheckpointConfig"]["S3Uri"]["Std:Join"]["Values"][1] == {"Get": "Execution.PipelineExecutionId"}, "another execution begins anew"


def test_outputs_keep_their_names():
    assert set(rules.transformed()["Outputs"]) >= {
        "PostsQueueUrl", "TasksQueueUrl", "ActionsQueueUrl", "DecisionsTable", "FeaturesTable", "ArtifactsBucket", "EscalationsQueueUrl",
        "EscalationsDlqUrl", "EscalateFunction", "EscalateLogs", "EndpointName",
    }  # fmt: skip


def test_intake_notifies_the_posts_queue():
    bucket = properties(rules.transformed(), "ArtifactsBucket")
    (notification,) = bucket["NotificationConfiguration"]["QueueConfigurations"]
    assert rules.text(notification["Queue"]) == "PostsQueue.Arn"
    assert notification["Filter"]["S3Key"]["Rules"] == [{"Name": "prefix", "Value": "intake/"}]


def dashboard(template):
    """The dashboard's body as CloudWatch gets it, with every reference replaced by a word."""
    body = re.sub(r"\$\{[^}]+\}", "x", properties(template, "Dashboard")["DashboardBody"]["Fn::Sub"])
    return json.loads(body)


def test_dashboard_is_json_and_its_widgets_do_not_overlap():
    widgets = dashboard(rules.transformed())["widgets"]
    cells = [(x, y) for w in widgets for x in range(w["x"], w["x"] + w["width"]) for y in range(w["y"], w["y"] + w["height"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_every_metric_of_ours_that_is_watched_is_emitted():
    template = rules.transformed()
    alarms = rules.of_type(template, "AWS::CloudWatch::Alarm").values()
    watched = {metric for alarm in alarms for namespace, metric, _ in rules.watched(alarm) if namespace == "Moderato"}
    for widget in dashboard(template)["widgets"]:
        watched |= {metric[1] for metric in widget["properties"]["metrics"] if metric[0] == "Moderato"}
    code = "".join(path.read_text() for folder in ("functions", "shared") for path in (rules.ROOT / folder).rglob("src/**/*.rs"))
    assert {metric for metric in watched if f'"{metric}"' not in code} == set()


def test_an_average_of_ours_is_a_share_of_posts():
    """An average of counts would be one of batches, of those that are not 0 at that."""
    alarms = rules.of_type(rules.transformed(), "AWS::CloudWatch::Alarm").values()
    averaged = [a["MetricName"] for a in alarms if a.get("Namespace") == "Moderato" and a["Statistic"] == "Average"]
    code = "".join(path.read_text() for path in (rules.ROOT / "functions").rglob("src/**/*.rs"))
    assert averaged == ["PostsWithoutSecondOpinion"]
    assert all(f'share("{metric}"' in code for metric in averaged)


def test_alarms_and_code_agree_on_dimensions():
    alarms = rules.of_type(rules.transformed(), "AWS::CloudWatch::Alarm").values()
    ours = [{d["Name"] for d in alarm["Dimensions"]} for alarm in alarms if alarm.get("Namespace") == "Moderato"]
    assert ours and all(names == {"service", "stage"} for names in ours)
    assert 'Dimensions": [["service", "stage"]]' in (rules.ROOT / "shared/runtime/src/telemetry.rs").read_text()


@pytest.mark.parametrize("stage", ["dev", "staging", "prod"])
def test_every_stage_can_be_deployed(stage):
    config = tomlkit.parse((rules.ROOT / "samconfig.toml").read_text())[stage]
    assert config["build"]["parameters"]["build_in_source"] is True
    deployment = config["deploy"]["parameters"]
    assert deployment["stack_name"] == f"moderato-{stage}"
    parameters = dict(pair.split("=") for pair in deployment["parameter_overrides"].split())
    known = rules.transformed()["Parameters"]
    assert set(parameters) <= set(known)
    assert parameters["Stage"] == stage
    assert int(parameters["LogRetentionDays"]) in known["LogRetentionDays"]["AllowedValues"]
