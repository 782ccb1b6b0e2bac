"""template.yaml keeps the rules of rules.py, account.py and watching.py, and every rule sees the fault it is there for."""

import json
import re
import string

import account
import pytest
import rules
import tomlkit
import watching
from faults import FAULTS, properties, statements, version

HERE = "${AWS::Region}:${AWS::AccountId}"
TRAINING_JOBS = f"arn:${{AWS::Partition}}:sagemaker:{HERE}:training-job/pipelines-*"
TRAINING_REPOSITORY = f"arn:${{AWS::Partition}}:ecr:{HERE}:repository/${{TrainingRepository}}"
ENDPOINT_REPOSITORY = f"arn:${{AWS::Partition}}:ecr:{HERE}:repository/${{EndpointRepository}}"
TRAINING_LOG_STREAMS = f"arn:${{AWS::Partition}}:logs:{HERE}:log-group:/aws/sagemaker/TrainingJobs:log-stream:*"

ADOPTED = "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/"
OWN_DECISIONS, OWN_FEATURES = ["DecisionsTable.Arn", ADOPTED + "${DecisionsTableName}"], ["FeaturesTable.Arn", ADOPTED + "${FeaturesTableName}"]
CONTENT = [f"${{{bucket}.Arn}}/{prefix}/*" for bucket in ("ArtifactsBucket", "ContentBucket") for prefix in ("content", "intake")]
FUNCTION_ARNS = sorted(one for name in ("ScoreFunction", "EscalateFunction") for one in (f"{name}.Arn", f"${{{name}.Arn}}:*"))
PUBLISHED = sorted(f"${{ArtifactsBucket.Arn}}/{prefix}*" for prefix in account.PUBLISHED)

# The exact permissions of every role, action by action. A new line here is a decision: say in the change why.
GRANTS = {
    "ScoreRole": {
        "sqs:ReceiveMessage": ["PostsQueue.Arn"],
        "sqs:DeleteMessage": ["PostsQueue.Arn"],
        "sqs:GetQueueAttributes": ["PostsQueue.Arn"],
        "sqs:ChangeMessageVisibility": ["PostsQueue.Arn"],  # what failed comes again soon, then seldom
        "dynamodb:BatchGetItem": sorted(OWN_DECISIONS + OWN_FEATURES),
        "dynamodb:Query": OWN_DECISIONS,
        "dynamodb:PartiQLInsert": OWN_DECISIONS,
        "dynamodb:PutItem": OWN_DECISIONS,  # what settles a conflict of content takes the place of a machine's decision
        "sqs:SendMessage": ["ActionsQueue.Arn", "EscalationsQueue.Arn", "PostsQueue.Arn", "TasksQueue.Arn"],  # posts: parts of long lists
        "s3:GetObject": [
            "${ArtifactsBucket.Arn}/banks/*",
            *CONTENT[:2],
            *(f"${{ArtifactsBucket.Arn}}/{one}/*" for one in ("models", "policies", "registry")),
            *CONTENT[2:],
            "each of arn:*:s3:::${Names}/*",
        ],
        "s3:PutObject": ["${ArtifactsBucket.Arn}/quarantine-of/*", "${ArtifactsBucket.Arn}/quarantine/*"],
        "s3:ListBucket": ["ArtifactsBucket.Arn", "ContentBucket.Arn", "each of arn:*:s3:::${Names}"],
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
        "dynamodb:BatchGetItem": OWN_DECISIONS,
        "dynamodb:Query": ["${DecisionsTable.Arn}/index/provisional", ADOPTED + "${DecisionsTableName}/index/provisional"],  # the sweep
        "dynamodb:PutItem": OWN_DECISIONS,
        "dynamodb:UpdateItem": OWN_FEATURES,  # items of the budget alone, see below
        "sqs:SendMessage": ["ActionsQueue.Arn", "EscalationsQueue.Arn", "TasksQueue.Arn"],
        "sagemaker:InvokeEndpoint": [f"arn:${{AWS::Partition}}:sagemaker:{HERE}:endpoint/${{Name}}"],  # where there is one
        "s3:GetObject": [
            "${ArtifactsBucket.Arn}/banks/*",
            "${ArtifactsBucket.Arn}/blocklists/*",
            *CONTENT[:2],
            *(f"${{ArtifactsBucket.Arn}}/{one}/*" for one in ("models", "policies", "registry")),
            *CONTENT[2:],
            "each of arn:*:s3:::${Names}/*",
        ],
        "s3:PutObject": ["${ArtifactsBucket.Arn}/quarantine-of/*", "${ArtifactsBucket.Arn}/quarantine/*"],
        "s3:ListBucket": ["ArtifactsBucket.Arn", "ContentBucket.Arn", "each of arn:*:s3:::${Names}"],
        "logs:CreateLogStream": ["EscalateLogs.Arn"],
        "logs:PutLogEvents": ["EscalateLogs.Arn"],
        "kms:Decrypt": ["ContentKeyArns", "EncryptionKeyArn"],
        "kms:GenerateDataKey": ["EncryptionKeyArn"],
    },
    # Taken to publish; the bucket refuses everybody else.
    "PublisherRole": {
        "s3:GetObject": PUBLISHED,
        "s3:PutObject": PUBLISHED,
        "s3:ListBucket": ["ArtifactsBucket.Arn"],
        "kms:Decrypt": ["EncryptionKeyArn"],
        "kms:GenerateDataKey": ["EncryptionKeyArn"],
    },
    # CodeDeploy's, where versions shift gradually.
    "DeploymentRole": {
        "lambda:GetAlias": FUNCTION_ARNS,
        "lambda:UpdateAlias": FUNCTION_ARNS,
        "lambda:GetProvisionedConcurrencyConfig": FUNCTION_ARNS,
        "cloudwatch:DescribeAlarms": [f"arn:${{AWS::Partition}}:cloudwatch:{HERE}:alarm:*"],
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


RULES = rules.ALL + account.ALL + watching.ALL


@pytest.mark.parametrize("gradual", ["false", "true"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_template_keeps(rule, gradual):
    assert rule(rules.transformed(GradualDeployment=gradual)) == []


def test_roles_may_do_exactly_this():
    assert rules.grants(rules.transformed()) == GRANTS


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.replace(" ", "_"))
def test_rule_sees(fault):
    rule, plant = FAULTS[fault]
    template = rules.transformed()
    plant(template)
    assert rule(template) != []


def test_every_rule_has_a_planted_fault():
    assert {rule for rule, _ in FAULTS.values()} == set(RULES)


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
    (statement,) = [s for s in role if "FeaturesTable" in json.dumps(s.get("Resource"))]
    assert statement["Action"] == ["dynamodb:UpdateItem"]
    assert statement["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["budget#*"]}, "Null": {"dynamodb:LeadingKeys": "false"}}
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
        "EscalationsDlqUrl", "EscalateFunction", "EscalateLogs", "EndpointName", "ContentBucket", "PublisherRoleArn",
    }  # fmt: skip


def test_intake_notifies_the_posts_queue():
    for name in ("ContentBucket", "ArtifactsBucket"):  # the second for producers of before there were two
        (notification,) = properties(rules.transformed(), name)["NotificationConfiguration"]["QueueConfigurations"]
        assert rules.text(notification["Queue"]) == "PostsQueue.Arn"
        assert notification["Filter"]["S3Key"]["Rules"] == [{"Name": "prefix", "Value": "intake/"}]


def dashboard(template):
    """The dashboard's body as CloudWatch gets it, with every reference replaced by a word."""
    body = re.sub(r"\$\{[^}]+\}", "x", properties(template, "Dashboard")["DashboardBody"]["Fn::Sub"][0])
    return json.loads(body)


def test_dashboard_is_json_and_its_widgets_do_not_overlap():
    widgets = dashboard(rules.transformed())["widgets"]
    cells = [(x, y) for w in widgets for x in range(w["x"], w["x"] + w["width"]) for y in range(w["y"], w["y"] + w["height"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


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
    assert parameters.get("GradualDeployment") == ("true" if stage != "dev" else None)


def test_versions_shift_gradually_where_it_is_wanted():
    assert rules.of_type(rules.transformed(), "AWS::CodeDeploy::DeploymentGroup") == {}
    template = rules.transformed(GradualDeployment="true")
    groups = rules.of_type(template, "AWS::CodeDeploy::DeploymentGroup")
    alarms = {name: [one["Name"]["Ref"] for one in group["AlarmConfiguration"]["Alarms"]] for name, group in groups.items()}
    assert alarms == {
        "ScoreFunctionDeploymentGroup": ["ScoreFailuresAlarm", "DecisionLatencyAlarm"],
        "EscalateFunctionDeploymentGroup": ["EscalateFailuresAlarm"],
    }
    for name, group in groups.items():
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
        assert group["ServiceRoleArn"] == {"Fn::GetAtt": ["DeploymentRole", "Arn"]}
        assert group["DeploymentConfigName"]["Fn::Sub"][1] == {"ConfigName": "Canary10Percent5Minutes"}
        policy = template["Resources"][name.replace("DeploymentGroup", "Aliaslive")]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
        assert policy["DeploymentGroupName"] == {"Ref": name}


def test_version_descriptions_fit():
    """AWS takes 256 characters: with the longest values of all parameters that they name."""
    longest = {"Release": "r" * 64, "Stage": "staging", "Architecture": "x86_64", "RegistryFallback": "bundled", "SecondOpinion": "off", "Endpoint": "e" * 63}
    for function in ("Score", "Escalate"):
        description = version(rules.transformed(), function)["Description"]["Fn::Sub"]
        description = description if isinstance(description, str) else description[0]
        assert len(re.sub(r"\$\{(\w+)\}", lambda m: longest.get(m[1], "9" * 5), description)) <= 256


def test_restored_tables_take_the_place_of_the_stacks_own():
    template = rules.transformed()
    resources = rules.deployed(template, DecisionsTableName="restored", FeaturesTableName="theirs")
    assert "DecisionsTable" not in resources and "FeaturesTable" not in resources
    left = json.dumps(resources | {"Outputs": rules.resolve(template, template["Outputs"], {"DecisionsTableName": "restored", "FeaturesTableName": "theirs"})})
    for table in ("DecisionsTable", "FeaturesTable"):
        assert f'{{"Ref": "{table}"}}' not in left and f'["{table}", "Arn"]' not in left, "something still asks for the table that is not there"
    for function in ("ScoreFunction", "EscalateFunction"):
        variables = resources[function]["Properties"]["Environment"]["Variables"]
        assert (variables["DECISIONS_TABLE"], variables["FEATURES_TABLE"]) == ("restored", "theirs")


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({"ScoreConcurrency": 1}, "ScoreConcurrency"),
        ({"EscalateConcurrency": 1}, "EscalateConcurrency"),
        ({"PostsEventBus": "default"}, "PostsEventSource"),
        ({"EndpointName": "theirs", "EndpointImage": "image"}, "EndpointName"),
        ({"Stage": "prod"}, "AlarmTopicArn"),
        ({"Stage": "prod", "NotificationEmail": "a@example.org"}, "AlarmTopicArn"),
    ],
)
def test_deployments_that_cannot_work_are_refused_with_what_to_do(parameters, word):
    (said,) = rules.refusals(rules.transformed(), **parameters)
    assert word in said


@pytest.mark.parametrize("parameters", [{}, {"ScoreConcurrency": 2, "EscalateConcurrency": 1000}, {"PostsEventBus": "default", "PostsEventSource": "platform"}])
def test_other_deployments_are_not(parameters):
    assert rules.refusals(rules.transformed(), **parameters) == []
