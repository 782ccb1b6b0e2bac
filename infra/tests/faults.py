"""What is planted into template.yaml, and the rule that has to see it: name -> (rule, what changes the template)."""

from __future__ import annotations

import account
import rules
import watching


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


def version(template, function):
    (found,) = [p for name, p in rules.of_type(template, "AWS::Lambda::Version").items() if name.startswith(function)]
    return found


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
    "nobody watches what is overdue": (watching.alarms_watch, lambda t: t["Resources"].pop("ProvisionalOverdueAlarm")),
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
    "nobody watches the DLQ": (watching.alarms_watch, lambda t: t["Resources"].pop("PostsDlqAlarm")),
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
    "nobody watches the second DLQ": (watching.alarms_watch, lambda t: t["Resources"].pop("EscalationsDlqAlarm")),
    "nobody watches the second quarantine": (watching.alarms_watch, lambda t: t["Resources"].pop("EscalationsQuarantinedAlarm")),
    "nobody watches the breaker": (watching.alarms_watch, lambda t: t["Resources"].pop("BreakerOpenAlarm")),
    "nobody watches the endpoint": (watching.alarms_watch, lambda t: t["Resources"].pop("EndpointLatencyAlarm")),
    "silence unheard": (watching.alarms_watch, lambda t: t["Resources"].pop("EndpointSilentAlarm")),
    "late duration alarm of escalate": (watching.alarms_watch, lambda t: t["Parameters"]["EscalateDurationAlarmMs"].update(MaxValue=30001)),
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
    "one call deletes a table": (rules.data_is_safe, lambda t: properties(t, "FeaturesTable").pop("DeletionProtectionEnabled")),
    "posts that nobody hears of": (rules.bucket_is_closed, lambda t: properties(t, "ArtifactsBucket").pop("NotificationConfiguration")),
    "content bucket without TLS": (rules.bucket_is_closed, lambda t: t["Resources"].pop("ContentBucketPolicy")),
    "any source is a platform": (rules.senders_are_named, lambda t: properties(t, "PostsRule")["EventPattern"].pop("source")),
    "bucket of any account may notify": (
        rules.senders_are_named,
        lambda t: properties(t, "PostsQueuePolicy")["PolicyDocument"]["Statement"][2]["Fn::If"][1]["Condition"].pop("StringEquals"),
    ),
    "same variant on another machine": (
        rules.endpoint_is_wanted_first,
        lambda t: properties(t, "EndpointConfig")["ProductionVariants"][0].update(VariantName="all"),
    ),
    "update resets the endpoint": (rules.endpoint_is_wanted_first, lambda t: properties(t, "Endpoint").pop("RetainAllVariantProperties")),
    "update is never taken back": (rules.endpoint_is_wanted_first, lambda t: properties(t, "Endpoint")["DeploymentConfig"].pop("AutoRollbackConfiguration")),
    "producers write policies": (
        account.publishers_alone_write_what_decides,
        lambda t: properties(t, "ArtifactsBucketPolicy")["PolicyDocument"]["Statement"][1]["Resource"].pop(1),
    ),
    "policies may be deleted": (
        account.publishers_alone_write_what_decides,
        lambda t: properties(t, "ArtifactsBucketPolicy")["PolicyDocument"]["Statement"][1]["Action"].remove("s3:DeleteObjectVersion"),
    ),
    "score publishes": (account.publishers_alone_write_what_decides, lambda t: statements(t)[5]["Resource"].append({"Fn::Sub": "${ArtifactsBucket.Arn}/registry/*"})),
    "bucket of any account is read": (
        account.foreign_buckets_are_of_known_accounts,
        lambda t: statements(t)[8]["Fn::If"][1].pop("Condition"),
    ),
    "one partition": (account.every_partition, lambda t: statements(t)[4]["Resource"].append("arn:aws:s3:::bucket/*")),
    "no key is any key": (
        account.absent_keys_are_refused,
        lambda t: properties(t, "EscalateRole")["Policies"][0]["PolicyDocument"]["Statement"][3]["Condition"].pop("Null"),
    ),
    "kill switch without a version": (account.versions_follow_parameters, lambda t: version(t, "Escalate")["Description"]["Fn::Sub"].__setitem__(0, "${Release}")),
    "release without a version": (account.versions_follow_parameters, lambda t: version(t, "Score").pop("Description")),
    "no version to go back to": (
        account.versions_follow_parameters,
        lambda t: [r.pop("UpdateReplacePolicy") for r in t["Resources"].values() if r["Type"] == "AWS::Lambda::Version"],
    ),
    "queue read past the alias": (account.versions_follow_parameters, lambda t: properties(t, "ScoreMapping").update(FunctionName={"Ref": "ScoreFunction"})),
    "budget without metrics": (account.budget_is_complete, lambda t: properties(t, "Budget")["Budget"].pop("Metrics")),
    "alarm that tells nobody": (watching.alarms_reach_somebody, lambda t: properties(t, "TasksAgeAlarm").pop("AlarmActions")),
    "alarm that never ends": (watching.alarms_reach_somebody, lambda t: properties(t, "PostsSurgeAlarm").pop("OKActions")),
    "prod tells nobody": (watching.alarms_reach_somebody, lambda t: t["Rules"].pop("ProdTellsSomebody")),
    "nobody may deploy": (watching.alarms_reach_somebody, lambda t: t["Rules"]["ProdTellsSomebody"].pop("RuleCondition")),
    "nobody hears silence": (watching.alarms_watch, lambda t: properties(t, "NothingArrivesAlarm").update(TreatMissingData="notBreaching")),
    **{
        f"nobody watches {name}": (watching.alarms_watch, lambda t, name=name: t["Resources"].pop(name))
        for name in (
            "DecisionLatencyAlarm", "TasksAgeAlarm", "TasksDepthAlarm", "ActionsAgeAlarm", "ActionsDepthAlarm", "DecisionsReadThrottlesAlarm",
            "DecisionsWriteThrottlesAlarm", "FeaturesReadThrottlesAlarm", "FeaturesWriteThrottlesAlarm", "EscalateRegistryFallbackAlarm",
            "PostsTopicFailuresAlarm", "PostsTopicLostAlarm", "PostsRuleLostAlarm", "FallbackShareAlarm", "ScoreConcurrencyAlarm", "EscalateConcurrencyAlarm",
            "ReviewsSurgeAlarm",
        )
    },
    "late duration alarm": (watching.alarms_watch, lambda t: t["Parameters"]["ScoreDurationAlarmMs"].update(MaxValue=30000)),
}
