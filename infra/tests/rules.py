"""What template.yaml must hold, as functions: transformed template in, list of complaints out (empty means kept).

They see the template as CloudFormation does, after the SAM transform, with every condition taken as true.
"""

from __future__ import annotations

import copy
import functools
import json
import pathlib
import re

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

ROOT = pathlib.Path(__file__).resolve().parents[2]
TAGS = {"Project", "Stage", "System", "Component", "Owner", "CostCenter"}
FORGOTTEN_PREFIXES = {
    "ArtifactsBucket": ("quarantine/", "quarantine-of/", "content/", "intake/", "training/checkpoints/"),
    "ContentBucket": ("content/", "intake/"),
}
# A message comes no more often than this while nothing can be stored (functions/score/tests/simulate/outage.rs).
MOST_RECEIVES_AN_HOUR = 30
# Actions for which AWS knows no resource.
WITHOUT_RESOURCE = {"ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"}


class _NoManagedPolicies:
    """The transform asks for AWS's managed policies by name; this template uses none."""

    def load(self):
        return {}


@functools.cache
def _transformed(parameters: tuple = ()) -> dict:
    template = yaml_parse((ROOT / "template.yaml").read_text())
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/key"  # what `sam package` puts there
    defaults = {name: parameter["Default"] for name, parameter in template["Parameters"].items()}
    return transform(template, defaults | dict(parameters), _NoManagedPolicies())


def transformed(**parameters) -> dict:
    """template.yaml after the SAM transform, which looks at few parameters; yours to change."""
    return copy.deepcopy(_transformed(tuple(sorted(parameters.items()))))


def of_type(template: dict, kind: str) -> dict[str, dict]:
    """Properties of all resources of a type, by name."""
    return {name: r.get("Properties", {}) for name, r in template["Resources"].items() if r["Type"] == kind}


def branches(value):
    """`Fn::If` as all that it may become, lists flattened; `AWS::NoValue` left out."""
    if isinstance(value, dict) and "Fn::If" in value:
        return [v for choice in value["Fn::If"][1:] for v in branches(choice)]
    if value == {"Ref": "AWS::NoValue"}:
        return []
    if isinstance(value, list):
        return [v for item in value for v in branches(item)]
    return [value]


def resolve(template: dict, value, parameters: dict):
    """What CloudFormation makes of conditions and references to parameters in `value`; parameters not given have their defaults."""
    known = {name: parameter.get("Default") for name, parameter in template["Parameters"].items()} | parameters

    def of(value):
        if isinstance(value, list):
            return [item for item in map(of, value) if item != {"Ref": "AWS::NoValue"}]
        if not isinstance(value, dict):
            return value
        match list(value.items()):
            case [("Ref", name)] if name in known:
                return known[name]
            case [("Condition", str(name))] if name in template["Conditions"]:
                return of(template["Conditions"][name])
            case [("Fn::Equals", [left, right])]:
                return str(of(left)) == str(of(right))
            case [("Fn::Not", [one])]:
                return not of(one)
            case [("Fn::And", all_of)]:
                return all(map(of, all_of))
            case [("Fn::Or", any_of)]:
                return any(map(of, any_of))
            case [("Fn::If", [name, then, otherwise])]:
                return of(then if of(template["Conditions"][name]) else otherwise)
            case [("Fn::Join", [separator, parts])]:
                parts = of(parts)
                return separator.join(map(str, parts if isinstance(parts, list) else [parts]))
        return {name: found for name, item in value.items() if (found := of(item)) != {"Ref": "AWS::NoValue"}}

    return of(value)


def deployed(template: dict, **parameters) -> dict:
    """The resources that a deployment with these parameters has, their conditions and parameters resolved."""
    return {
        name: resolve(template, {key: value for key, value in resource.items() if key != "Condition"}, parameters)
        for name, resource in template["Resources"].items()
        if "Condition" not in resource or resolve(template, template["Conditions"][resource["Condition"]], parameters)
    }


def refusals(template: dict, **parameters) -> list[str]:
    """Why CloudFormation refuses a deployment with these parameters: what the template's rules say."""
    said = []
    for rule in template["Rules"].values():
        if resolve(template, rule.get("RuleCondition", {"Fn::Equals": ["", ""]}), parameters):
            said += [a["AssertDescription"] for a in rule["Assertions"] if not resolve(template, a["Assert"], parameters)]
    return said


def text(value) -> str:
    """A resource reference in one line: `PostsQueue.Arn`, `${ArtifactsBucket.Arn}/models/*`."""
    if isinstance(value, dict):
        if "Fn::GetAtt" in value:
            target = value["Fn::GetAtt"]
            return target if isinstance(target, str) else ".".join(target)
        if "Fn::Sub" in value:
            return value["Fn::Sub"] if isinstance(value["Fn::Sub"], str) else value["Fn::Sub"][0]
        if "Ref" in value:
            return value["Ref"]
        if "Fn::Split" in value:
            return f"each of {value['Fn::Split'][1]['Fn::Sub'][0]}"
        return json.dumps(value)
    return str(value)


def referred(value) -> str:
    """The logical name that a Ref or GetAtt points to."""
    return text(value).split(".")[0]


def _tag_property(kind: str) -> str | None:
    """Where a resource type carries tags according to CloudFormation's own schema, None when it cannot."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
    if schema.get("tagging", {}).get("taggable"):
        return schema["tagging"].get("tagProperty", "/properties/Tags").rsplit("/", 1)[1]
    return next((name for name in ("Tags", "ResourceTags") if name in schema["properties"]), None)


def tags_everywhere(template: dict) -> list[str]:
    wrong = []
    for name, resource in template["Resources"].items():
        place = _tag_property(resource["Type"])
        if place is None:
            continue
        tags = {tag["Key"]: tag["Value"] for tag in resource.get("Properties", {}).get(place, [])}
        for tag in sorted(TAGS - {key for key, value in tags.items() if value}):
            wrong.append(f"{name} lacks the tag {tag}")
        if tags.get("Stage") != {"Ref": "Stage"} or tags.get("Project") != "moderato":
            wrong.append(f"{name} has another Project or Stage")
    return wrong


def grants(template: dict) -> dict[str, dict[str, list[str]]]:
    """Role -> action -> resources, from its inline policies."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, role in of_type(template, "AWS::IAM::Role").items():
        actions = found.setdefault(name, {})
        for policy in role.get("Policies", []):
            for statement in branches(policy["PolicyDocument"]["Statement"]):
                for action in branches(statement["Action"]):
                    actions.setdefault(action, []).extend(text(r) for r in branches(statement["Resource"]))
    return {role: {action: sorted(resources) for action, resources in actions.items()} for role, actions in found.items()}


def explicit_permissions(template: dict) -> list[str]:
    wrong = []
    for name, role in of_type(template, "AWS::IAM::Role").items():
        if role.get("ManagedPolicyArns"):
            wrong.append(f"{name} has managed policies")
    for role, actions in grants(template).items():
        for action, resources in actions.items():
            if "*" in action:
                wrong.append(f"{role} may {action}")
            wrong += [f"{role} may {action} on everything" for resource in resources if resource in ("*", "arn:aws:s3:::*") and action not in WITHOUT_RESOURCE]
    functions = of_type(template, "AWS::Lambda::Function")
    roles = [referred(function["Role"]) for function in functions.values()]
    if len(set(roles)) != len(roles):
        wrong.append("two functions share a role")
    return wrong


def function_of(template: dict, name) -> str:
    """The logical name of the function behind a Ref to it or to its alias."""
    aliases = of_type(template, "AWS::Lambda::Alias")
    name = referred(name)
    return referred(aliases[name]["FunctionName"]) if name in aliases else name


def sources(template: dict) -> list[tuple[str, dict, dict, dict]]:
    """(mapping's name, mapping, its queue, its function) for every event source mapping."""
    queues, functions = of_type(template, "AWS::SQS::Queue"), of_type(template, "AWS::Lambda::Function")
    return [
        (name, mapping, queues[referred(mapping["EventSourceArn"])], functions[function_of(template, mapping["FunctionName"])])
        for name, mapping in of_type(template, "AWS::Lambda::EventSourceMapping").items()
    ]


def queues_outlast_functions(template: dict) -> list[str]:
    """AWS: six times the function's timeout, plus the time that messages wait for their batch, hidden already."""
    wrong = []
    for name, mapping, queue, function in sources(template):
        least = 6 * function.get("Timeout", 3) + mapping.get("MaximumBatchingWindowInSeconds", 0)
        if queue.get("VisibilityTimeout", 30) < least:
            wrong.append(f"{name}: the queue's visibility timeout is below six times the function's timeout and the batching window")
    return wrong


def dead_letters(template: dict) -> list[str]:
    wrong = []
    queues = of_type(template, "AWS::SQS::Queue")
    for name, _, queue, _ in sources(template):
        redrive = queue.get("RedrivePolicy")
        if not redrive:
            wrong.append(f"{name}: a consumed queue without a DLQ")
            continue
        if redrive.get("maxReceiveCount", 0) < MOST_RECEIVES_AN_HOUR:
            wrong.append(f"{name}: an hour in which nothing can be stored leaves dead letters")
        dlq = queues[referred(redrive["deadLetterTargetArn"])]
        if dlq.get("MessageRetentionPeriod", 345600) != 1209600:
            wrong.append(f"{name}: the DLQ keeps messages for less than 14 days")
        if queue.get("MessageRetentionPeriod", 345600) >= 1209600:
            wrong.append(f"{name}: the queue keeps messages as long as its DLQ, where their age goes on counting")
    return wrong


def unconsumed_queues_keep(template: dict) -> list[str]:
    consumed = {referred(m["EventSourceArn"]) for m in of_type(template, "AWS::Lambda::EventSourceMapping").values()}
    wrong = []
    for name, queue in of_type(template, "AWS::SQS::Queue").items():
        if name in consumed:
            continue
        if queue.get("MessageRetentionPeriod") != 1209600:
            wrong.append(f"{name}: nobody consumes it and it keeps messages for less than 14 days")
        if "RedrivePolicy" in queue:
            wrong.append(f"{name}: looking at it often enough would move its messages to a DLQ")
    return wrong


def mappings_report_and_limit(template: dict) -> list[str]:
    wrong = []
    for name, mapping, _, function in sources(template):
        if mapping.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
            wrong.append(f"{name}: without partial batch response")
        if not mapping.get("ScalingConfig", {}).get("MaximumConcurrency"):
            wrong.append(f"{name}: without MaximumConcurrency")
        if "ReservedConcurrentExecutions" in function:
            wrong.append(f"{name}: reserved concurrency throttles polled batches into the DLQ")
    return wrong


def logs_declared(template: dict) -> list[str]:
    wrong = []
    groups = of_type(template, "AWS::Logs::LogGroup")
    for name, group in groups.items():
        if not group.get("RetentionInDays"):
            wrong.append(f"{name}: logs that never expire")
    for name, function in of_type(template, "AWS::Lambda::Function").items():
        if referred(function.get("LoggingConfig", {}).get("LogGroup", "")) not in groups:
            wrong.append(f"{name}: logs to a group that is not declared here")
    return wrong


def data_is_safe(template: dict) -> list[str]:
    wrong = []
    for name, resource in template["Resources"].items():
        if resource["Type"] in ("AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SecretsManager::Secret"):
            for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
                if resource.get(policy) != "Retain":
                    wrong.append(f"{name}: {policy} is not Retain")
    for name, table in of_type(template, "AWS::DynamoDB::Table").items():
        if table.get("BillingMode") != "PAY_PER_REQUEST":
            wrong.append(f"{name}: not on demand")
        if not table.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled"):
            wrong.append(f"{name}: without point-in-time recovery")
        if table.get("DeletionProtectionEnabled") is not True:
            wrong.append(f"{name}: can be deleted by one call")
        if not table.get("SSESpecification", {}).get("SSEEnabled"):
            wrong.append(f"{name}: not encrypted")
        if table.get("TimeToLiveSpecification") != {"AttributeName": "expires_at", "Enabled": True}:
            wrong.append(f"{name}: no time to live on expires_at")
    for name, queue in of_type(template, "AWS::SQS::Queue").items():
        if not (branches(queue.get("KmsMasterKeyId", [])) and True in branches(queue.get("SqsManagedSseEnabled", []))):
            wrong.append(f"{name}: not encrypted with and without a key of ours")
    return wrong


def bucket_is_closed(template: dict) -> list[str]:
    wrong = []
    policies = of_type(template, "AWS::S3::BucketPolicy").values()
    for name, bucket in of_type(template, "AWS::S3::Bucket").items():
        if set(bucket.get("PublicAccessBlockConfiguration", {}).values()) != {True}:
            wrong.append(f"{name}: public access is not blocked")
        if not bucket.get("BucketEncryption"):
            wrong.append(f"{name}: not encrypted")
        if bucket.get("VersioningConfiguration") != {"Status": "Enabled"}:
            wrong.append(f"{name}: not versioned")
        rules = {r.get("Prefix"): r for r in bucket.get("LifecycleConfiguration", {}).get("Rules", []) if r["Status"] == "Enabled"}
        for prefix in FORGOTTEN_PREFIXES[name]:
            rule = rules.get(prefix, {})
            if not rule.get("ExpirationInDays") or not rule.get("NoncurrentVersionExpiration"):
                wrong.append(f"{name}: {prefix} is kept for ever")
        if "NotificationConfiguration" not in bucket:
            wrong.append(f"{name}: a post that is put there is never decided")
        own = [p for p in policies if referred(p["Bucket"]) == name]
        if not any(_only_tls(p["PolicyDocument"]) for p in own):
            wrong.append(f"{name}: reachable without TLS")
    return wrong


def queues_only_over_tls(template: dict) -> list[str]:
    covered = {
        referred(queue)
        for policy in of_type(template, "AWS::SQS::QueuePolicy").values()
        if _only_tls(policy["PolicyDocument"])
        for queue in policy["Queues"]
    }
    return [f"{name}: reachable without TLS" for name in of_type(template, "AWS::SQS::Queue") if name not in covered]


def _only_tls(document: dict) -> bool:
    return any(
        s["Effect"] == "Deny" and s["Principal"] == "*" and s.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
        for s in branches(document["Statement"])
    )


def senders_are_named(template: dict) -> list[str]:
    """No queue policy lets in everybody, and no service without saying for which of its resources."""
    wrong = []
    for name, policy in of_type(template, "AWS::SQS::QueuePolicy").items():
        for statement in branches(policy["PolicyDocument"]["Statement"]):
            if statement["Effect"] != "Allow":
                continue
            principal = statement["Principal"]
            if principal == "*" or principal == {"AWS": "*"}:
                wrong.append(f"{name}: {statement['Sid']} lets everybody in")
            condition = json.dumps(statement.get("Condition", {}))
            if "Service" in principal and "aws:SourceArn" not in condition:
                wrong.append(f"{name}: {statement['Sid']} does not say for which resource")
            # The ARN of a bucket names no account.
            if principal == {"Service": "s3.amazonaws.com"} and "aws:SourceAccount" not in condition:
                wrong.append(f"{name}: {statement['Sid']} does not say of which account")
    for rule in of_type(template, "AWS::Events::Rule").values():
        if "EventPattern" in rule and not rule["EventPattern"].get("source"):
            wrong.append("events of any source are posts")
    return wrong


def parameters_of(template: dict, value) -> set[str]:
    """Parameters that a value depends on, through conditions and `${…}` too."""
    if isinstance(value, list):
        return set().union(*(parameters_of(template, item) for item in value))
    if isinstance(value, str):
        return {name for name in re.findall(r"\$\{(\w+)\}", value) if name in template["Parameters"]}
    if not isinstance(value, dict):
        return set()
    found = set()
    for key, item in value.items():
        if key == "Ref" and item in template["Parameters"]:
            found.add(item)
        elif key == "Fn::If":
            found |= parameters_of(template, template["Conditions"][item[0]]) | parameters_of(template, item[1:])
        elif key == "Condition" and isinstance(item, str):
            found |= parameters_of(template, template["Conditions"][item])
        else:
            found |= parameters_of(template, item)
    return found


def fast_path_is_alone(template: dict) -> list[str]:
    """What gives second opinions, however slow or broken, is out of reach of the function that decides first."""
    wrong = []
    read = [(referred(m["EventSourceArn"]), function_of(template, m["FunctionName"])) for m in of_type(template, "AWS::Lambda::EventSourceMapping").values()]
    for queue, function in (("PostsQueue", "ScoreFunction"), ("EscalationsQueue", "EscalateFunction")):
        if [pair for pair in read if queue in pair or function in pair] != [(queue, function)]:
            wrong.append(f"{queue} is not read by {function} alone, or that reads something else")
    for role, actions in grants(template).items():
        if "sagemaker:InvokeEndpoint" in actions and role != "EscalateRole":
            wrong.append(f"{role} may call an endpoint")
    if "ENDPOINT_NAME" in of_type(template, "AWS::Lambda::Function")["ScoreFunction"]["Environment"]["Variables"]:
        wrong.append("ScoreFunction knows an endpoint")
    return wrong


def endpoint_is_wanted_first(template: dict) -> list[str]:
    """Nothing of SageMaker exists by default, and nobody may call an endpoint; with an image there is one, which may grow and shrink."""
    wrong = []
    default = deployed(template)
    for name, resource in default.items():
        if resource["Type"].startswith(("AWS::SageMaker::", "AWS::ApplicationAutoScaling::")) or name.startswith("Endpoint"):
            wrong.append(f"{name}: there by default, and costs")
    if "InvokeEndpoint" in json.dumps(default):
        wrong.append("somebody may call an endpoint where there is none")
    name = default["EscalateFunction"]["Properties"]["Environment"]["Variables"]["ENDPOINT_NAME"]
    if name != "":
        wrong.append(f"the function is told of the endpoint `{name}` where there is none")
    wanted = {resource["Type"] for resource in deployed(template, EndpointImage="image").values()}
    for kind in ("SageMaker::Endpoint", "SageMaker::EndpointConfig", "SageMaker::Model"):
        if f"AWS::{kind}" not in wanted:
            wrong.append(f"no {kind} with an image")
    scaled, variants = template["Resources"].get("EndpointScaling", {}).get("Properties", {}), of_type(template, "AWS::SageMaker::EndpointConfig")
    variant = variants["EndpointConfig"]["ProductionVariants"][0]["VariantName"] if variants else None
    if "EndpointInstance" not in parameters_of(template, variant):
        wrong.append("another machine is another size of the same variant, which AWS refuses while it scales")
    if scaled.get("ResourceId", {}).get("Fn::Sub", [0, {}])[1].get("Variant") != variant:
        wrong.append("another variant is scaled than there is")
    for endpoint in of_type(template, "AWS::SageMaker::Endpoint").values():
        if endpoint.get("RetainAllVariantProperties") is not True or not endpoint.get("DeploymentConfig", {}).get("AutoRollbackConfiguration"):
            wrong.append("an update of the endpoint resets its size, or is never taken back")
    for kind in ("ScalableTarget", "ScalingPolicy"):
        if f"AWS::ApplicationAutoScaling::{kind}" not in wanted:
            wrong.append(f"an endpoint that does not scale: no {kind}")
    return wrong


def training_job(template: dict) -> dict:
    """What the pipeline asks SageMaker for, every reference of the template replaced by its name."""
    body, variables = template["Resources"]["TrainingPipeline"]["Properties"]["PipelineDefinition"]["PipelineDefinitionBody"]["Fn::Sub"]
    for name in variables:
        body = body.replace(f"${{{name}}}", "")
    (step,) = json.loads(body)["Steps"]
    return step["Arguments"]


def training_is_wanted_first(template: dict) -> list[str]:
    """Nothing of training exists unless an image is named; then it is tagged, bounded, on spot machines, and without network."""
    wrong = []
    if template["Parameters"]["TrainingImage"].get("Default") != "":
        wrong.append("a stack has training by default")
    for name, resource in template["Resources"].items():
        ours = resource["Type"] == "AWS::SageMaker::Pipeline" or name.startswith("Training")
        if ours and resource.get("Condition") not in ("HasTraining", "HasTrainingLogs"):
            wrong.append(f"{name}: there without an image for training")
    job = training_job(template)
    tags = {tag["Key"]: tag["Value"] for tag in job.get("Tags", [])}
    if TAGS - tags.keys() or tags["Stage"] != "${Stage}" or tags["Project"] != "moderato":
        wrong.append("the training job lacks tags: its machines would cost without a name")
    if not job.get("EnableManagedSpotTraining") or not job.get("CheckpointConfig"):
        wrong.append("the training job is not on spot machines with checkpoints")
    if not job.get("EnableNetworkIsolation"):
        wrong.append("the training job may reach the network")
    if not 0 < job.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 0) <= job["StoppingCondition"].get("MaxWaitTimeInSeconds", 0):
        wrong.append("the training job may run for ever, or wait for less than it runs")
    return wrong


ALL = (
    tags_everywhere,
    explicit_permissions,
    queues_outlast_functions,
    dead_letters,
    unconsumed_queues_keep,
    mappings_report_and_limit,
    logs_declared,
    data_is_safe,
    bucket_is_closed,
    queues_only_over_tls,
    senders_are_named,
    fast_path_is_alone,
    endpoint_is_wanted_first,
    training_is_wanted_first,
)
