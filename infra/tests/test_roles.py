"""What a function's role may do is what its code calls, and the other way round.

Read out of the source: which methods of which store a function calls, itself or through the crates that it shares, and which calls of AWS's
SDK these methods make. A call whose permission is missing fails in a real account only, since the local AWS allows everything.
"""

import re

import pytest
import rules

# Store of shared/store -> the type that talks to AWS, and the resource that its calls are about.
STORES = {"decisions": "Decisions", "features": "Features", "budget": "Features", "objects": "Bucket", "queue": "Queue", "inference": "endpoint"}
# What a value is called where it is used -> the store it is.
NAMES = {
    "decisions": "decisions", "features": "features", "budget": "budget", "objects": "objects", "queue": "queue", "inbox": "queue",
    "tasks": "queue", "actions": "queue", "escalations": "queue", "posts": "queue", "orders": "queue", "0": "inference",
}  # fmt: skip
# A call of the SDK -> the permission that it needs, as AWS's service authorization reference has it.
ACTIONS = {
    "batch_get_item": "dynamodb:BatchGetItem",
    "query": "dynamodb:Query",
    "put_item": "dynamodb:PutItem",
    "update_item": "dynamodb:UpdateItem",
    "batch_execute_statement": "dynamodb:PartiQLInsert",
    "send_message_batch": "sqs:SendMessage",
    "change_message_visibility_batch": "sqs:ChangeMessageVisibility",
    "get_object": "s3:GetObject",
    "put_object": "s3:PutObject",
    "list_objects_v2": "s3:ListBucket",
    "delete_object": "s3:DeleteObject",
    "list_object_versions": "s3:ListBucketVersions",
    "invoke_endpoint": "sagemaker:InvokeEndpoint",
    "batch_write_item": "dynamodb:BatchWriteItem",
    "scan": "dynamodb:Scan",
}
# Granted, and not called by the code.
BY_LAMBDA = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "logs:CreateLogStream", "logs:PutLogEvents"}
BY_OTHER_SERVICES = {"kms:Decrypt", "kms:GenerateDataKey"}
TELLS_MISSING_FROM_FORBIDDEN = {"s3:ListBucket"}
# What only the command calls. That no function names it is asserted below.
OF_THE_COMMAND = {"shared/service/src/erasure.rs": "Eraser", "shared/registry/src/publish.rs": "Shelf"}
# And what stands from here on in a file.
OF_THE_COMMAND_FROM = {"shared/service/src/quarantine.rs": "pub async fn about("}


def source(path) -> str:
    """A file without its tests and without what is in memory."""
    return re.split(r"\n#\[cfg\(test\)\]|\nimpl \w+ for Memory", path.read_text())[0]


def bodies(text: str) -> dict[str, str]:
    """Function -> its body; those of the same name together."""
    found: dict[str, str] = {}
    for match in re.finditer(r"\bfn (\w+)", text):
        start, end = text.find("{", match.end()), text.find(";", match.end())
        if start < 0 or 0 < end < start:
            continue  # declared only
        depth = 0
        for at in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            if depth == 0:
                break
        found[match[1]] = found.get(match[1], "") + text[start:at]
    return found


def sdk_calls(store: str) -> dict[str, set[str]]:
    """Method of a store -> the calls of the SDK that it makes, itself or through others of it."""
    functions = bodies(source(rules.ROOT / f"shared/store/src/{store}.rs"))

    def calls(name: str, seen: frozenset = frozenset()) -> set[str]:
        body = functions.get(name, "")
        found = set(re.findall(r"\bclient\s*\.\s*(\w+)\(\)", body))
        for other in set(re.findall(r"self\s*\.\s*(\w+)\(", body)) - seen - {name}:
            found |= calls(other, seen | {name})
        return found

    return {name: found for name in functions if (found := calls(name))}


def called(function: str) -> set[tuple[str, str]]:
    """(permission, resource) of everything that a function's code calls."""
    found = set()
    for folder in (f"functions/{function}", "shared/service", "shared/registry"):
        for path in (rules.ROOT / folder / "src").rglob("*.rs"):
            place = str(path.relative_to(rules.ROOT))
            if place in OF_THE_COMMAND:
                continue
            code = source(path).split(OF_THE_COMMAND_FROM.get(place, "\0"))[0]
            for name, method in re.findall(r"\b(\w+)(?:\.as_ref\(\))?\s*\.\s*(\w+)\(", code):
                store = NAMES.get(name)
                for call in sdk_calls(store).get(method, ()) if store else ():
                    found.add((ACTIONS[call], STORES[store]))
    return found


def granted(role: str) -> set[tuple[str, str]]:
    """(permission, resource) of a role, without what others than the code need."""
    found = set()
    for action, resources in rules.grants(rules.transformed())[role].items():
        if action in BY_LAMBDA | BY_OTHER_SERVICES | TELLS_MISSING_FROM_FORBIDDEN:
            continue
        for resource in resources:
            (kind,) = {kind for kind in ("Decisions", "Features", "Queue", "endpoint") if kind in resource} or {"Bucket"}
            found.add((action, kind))
    return found


@pytest.mark.parametrize("function", ["score", "escalate"])
def test_role_may_do_what_the_code_calls_and_nothing_else(function):
    assert called(function) - granted(f"{function.capitalize()}Role") == set(), "the code calls what the role may not do"
    assert granted(f"{function.capitalize()}Role") - called(function) == set(), "the role may do what no code calls"


@pytest.mark.parametrize("function", ["score", "escalate"])
def test_functions_leave_the_commands_work_to_the_command(function):
    code = "".join(source(path) for path in (rules.ROOT / f"functions/{function}/src").rglob("*.rs"))
    for path, name in OF_THE_COMMAND.items():
        assert f"struct {name}" in (rules.ROOT / path).read_text() and not re.search(rf"\b{name}\b", code)
    assert "use service::quarantine::{Rejected, keep};" in code and not re.search(r"quarantine::(about|erase)\b", code)


def test_batches_of_statements_only_insert():
    """`BatchExecuteStatement` needs the permission of what its statements say."""
    code = source(rules.ROOT / "shared/store/src/decisions.rs")
    assert set(re.findall(r'"(INSERT INTO|UPDATE|DELETE FROM|SELECT)\b', code)) == {"INSERT INTO"}


def test_every_call_of_the_stores_has_its_permission_named():
    by_function = {call for store in STORES for calls in sdk_calls(store).values() for call in calls} & set(ACTIONS)
    assert {"batch_get_item", "batch_execute_statement", "send_message_batch", "get_object", "invoke_endpoint"} <= by_function


def test_a_planted_call_and_a_planted_grant_are_seen(monkeypatch):
    monkeypatch.setitem(NAMES, "planted", "objects")
    before = called("score")
    original = source
    monkeypatch.setattr("test_roles.source", lambda path: original(path) + ("\nfn planted() { planted.delete(key); }" if path.name == "intake.rs" else ""))
    assert called("score") - before == {("s3:DeleteObject", "Bucket"), ("s3:ListBucketVersions", "Bucket")}
    assert ("dynamodb:DeleteItem", "Decisions") not in granted("ScoreRole")


def test_publisher_may_do_what_publishing_calls_and_nothing_else():
    code = source(rules.ROOT / "shared/registry/src/publish.rs") + source(rules.ROOT / "cli/src/blocklist.rs").replace("objects()", "objects")
    methods = {method for name, method in re.findall(r"\b(\w+)\s*\.\s*(\w+)\(", code) if name == "objects"}
    calls = {ACTIONS[call] for method in methods for call in sdk_calls("objects").get(method, ())}
    assert set(rules.grants(rules.transformed())["PublisherRole"]) - BY_OTHER_SERVICES == calls
