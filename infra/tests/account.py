"""What template.yaml must hold in a real account, as AWS documents it (docs/aws-findings.md), as functions like those of rules.py."""

from __future__ import annotations

import json

from rules import branches, grants, of_type, parameters_of, referred, text

# What decides: nobody but a publisher writes there.
PUBLISHED = ("models/", "policies/", "registry/", "blocklists/", "banks/")


def publishers_alone_write_what_decides(template: dict) -> list[str]:
    """A refusal that no policy of the account can lift: for everybody who is neither the stack's publisher nor a role that was named."""
    wrong = []
    statements = branches(template["Resources"]["ArtifactsBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"])
    (refusal,) = [s for s in statements if s["Sid"] == "OnlyPublishersWriteWhatDecides"]
    if refusal["Effect"] != "Deny" or refusal["Principal"] != "*":
        wrong.append("not everybody is refused")
    if {text(r) for r in refusal["Resource"]} != {f"${{ArtifactsBucket.Arn}}/{prefix}*" for prefix in PUBLISHED}:
        wrong.append("not all of what decides is refused")
    if not {"s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"} <= set(refusal["Action"]):
        wrong.append("something may be written or deleted")
    lifted = refusal["Condition"]
    if lifted["ArnNotEquals"] != {"aws:PrincipalArn": {"Fn::GetAtt": ["PublisherRole", "Arn"]}} or lifted["ArnNotLike"]["Fn::If"][0] != "HasPublisherRoles":
        wrong.append("somebody else is let through")
    for role, actions in grants(template).items():
        for action in ("s3:PutObject", "s3:DeleteObject"):
            for resource in actions.get(action, []):
                if role != "PublisherRole" and resource.removeprefix("${ArtifactsBucket.Arn}/").startswith(PUBLISHED):
                    wrong.append(f"{role} may {action} {resource}")
    return wrong


def foreign_buckets_are_of_known_accounts(template: dict) -> list[str]:
    """A name of a bucket is free again once the bucket is deleted, and anybody's to take."""
    wrong = []
    for name, role in of_type(template, "AWS::IAM::Role").items():
        for policy in role.get("Policies", []):
            for statement in branches(policy["PolicyDocument"]["Statement"]):
                if "ContentBuckets" in json.dumps(statement["Resource"]) and "s3:ResourceAccount" not in json.dumps(statement.get("Condition", {})):
                    wrong.append(f"{name}: {statement['Sid']} does not say of which account")
    return wrong


def every_partition(template: dict) -> list[str]:
    """China and GovCloud have other ARNs."""
    return [f"{name}: names a partition" for name, resource in template["Resources"].items() if "arn:aws" in json.dumps(resource)]


def absent_keys_are_refused(template: dict) -> list[str]:
    """`ForAllValues` holds where the request has no such key at all, so `Null` has to say that it needs one."""
    wrong = []
    for name, role in of_type(template, "AWS::IAM::Role").items():
        for policy in role.get("Policies", []):
            for statement in branches(policy["PolicyDocument"]["Statement"]):
                condition = statement.get("Condition", {})
                for operator, keys in condition.items():
                    if operator.startswith("ForAllValues:") and any(condition.get("Null", {}).get(key) != "false" for key in keys):
                        wrong.append(f"{name}: {statement['Sid']} lets through what names no key")
    return wrong


def versions_follow_parameters(template: dict) -> list[str]:
    """SAM publishes a version for new code, not for a parameter's new value: the version's description names what may change, or `Release`."""
    wrong = []
    versions = {referred(v["FunctionName"]): v for v in of_type(template, "AWS::Lambda::Version").values()}
    by_release = {"ContentBuckets", "DecisionsTableName", "FeaturesTableName"}
    for name, function in of_type(template, "AWS::Lambda::Function").items():
        used = parameters_of(template, {key: value for key, value in function.items() if key not in ("Tags", "Role")})
        # Both decide alone whether there is an endpoint, and the description has its name.
        named = parameters_of(template, versions.get(name, {}).get("Description", ""))
        for parameter in sorted(used - named - by_release):
            wrong.append(f"{name}: another {parameter} publishes no version, and the alias goes on with the old one")
        kept = [r for r in template["Resources"].values() if r["Type"] == "AWS::Lambda::Version" and referred(r["Properties"]["FunctionName"]) == name]
        if any(r.get("UpdateReplacePolicy") != "Retain" or r.get("DeletionPolicy") != "Retain" for r in kept):
            wrong.append(f"{name}: an earlier version is deleted, and nobody can go back to it")
        if "Release" not in named:
            wrong.append(f"{name}: a Release publishes no version")
    for name, mapping in of_type(template, "AWS::Lambda::EventSourceMapping").items():
        if referred(mapping["FunctionName"]) not in of_type(template, "AWS::Lambda::Alias"):
            wrong.append(f"{name}: not by the alias")
    return wrong


def budget_is_complete(template: dict) -> list[str]:
    """AWS: a filter expression and metrics, or cost filters and cost types; no other combination."""
    return [
        f"{name}: {sorted(budget['Budget'])}"
        for name, budget in of_type(template, "AWS::Budgets::Budget").items()
        if {"FilterExpression", "Metrics"} & set(budget["Budget"]) not in (set(), {"FilterExpression", "Metrics"})
    ]


ALL = (
    publishers_alone_write_what_decides,
    foreign_buckets_are_of_known_accounts,
    every_partition,
    absent_keys_are_refused,
    versions_follow_parameters,
    budget_is_complete,
)
