"""`moderato erase` on the deployed stack: afterwards nothing holds the person but what the receipt names, and nothing brings them back."""

import json
import subprocess
import time
import uuid

import pytest
from test_command import CALM, HATE, MODERATO, moderato

from cloud import ROOT



class Person:
    """Somebody whose name stands in every id and text of theirs."""

    def __init__(self) -> None:
        self.name = f"canary{uuid.uuid4().hex}"
        self.author = f"{self.name}-author"

    def post(self, number: str, text: str = CALM, **fields) -> str:
        post = {"post_id": f"{self.name}-{number}", "author_id": self.author, "text": f"{text} {self.name}", "lang": "en"}
        return json.dumps(post | fields)


def holders(stack, name: str) -> dict[str, list]:
    """Where the name stands: tables, every version of every object, queues, logs; what it stands in."""
    found: dict[str, list] = {}

    def look(place: str, thing) -> None:
        if name in (thing if isinstance(thing, str) else json.dumps(thing, default=repr)):
            found.setdefault(place, []).append(thing)

    for table in stack.client("dynamodb").list_tables()["TableNames"]:
        for page in stack.client("dynamodb").get_paginator("scan").paginate(TableName=table):
            for item in page["Items"]:
                look(f"table {table}", item)
    s3 = stack.client("s3")
    for bucket in (stack.variables["ARTIFACTS_BUCKET"], stack.variables["CONTENT_BUCKET"], stack.content_bucket):
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for version in page.get("Versions", []):
                body = s3.get_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])["Body"].read()
                look(f"s3://{bucket}", version["Key"] + body.decode(errors="replace"))
            for marker in page.get("DeleteMarkers", []):
                look(f"s3://{bucket}", marker["Key"])
    sqs = stack.client("sqs")
    for url in sqs.list_queues()["QueueUrls"]:
        for body in drained(sqs, url):
            look(f"queue {url.rsplit('/', 1)[1]}", body)
    logs = stack.client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
            for event in page["events"]:
                look(f"log {group['logGroupName']}", event["message"])
    return found


def drained(sqs, url: str) -> list[str]:
    """What a queue holds; it is given back."""
    bodies, receipts = [], []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=30).get("Messages"):
        bodies += [message["Body"] for message in messages]
        receipts += [message["ReceiptHandle"] for message in messages]
    for receipt in receipts:
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=0)
    return bodies


def row(view: str, id: str, updated_at: str) -> str:
    values = {"followers": 3} if view == "user" else {"likes": 3}
    return json.dumps({"view": view, "id": id, "updated_at": updated_at, "values": values})


@pytest.fixture(scope="module")
def published(stack):
    moderato(stack, "registry", "publish", "--yes")
    return stack


def erase(stack, *arguments: str) -> dict:
    return json.loads(moderato(stack, "erase", "--yes", "--settle", "2", *arguments))


def counts(receipt: dict) -> dict[str, int]:
    """By what was erased; dead letters of both queues together."""
    summed: dict[str, int] = {}
    for part in receipt["erased"]:
        summed[part["what"]] = summed.get(part["what"], 0) + part["count"]
    return summed


def test_nothing_of_a_person_is_left_but_what_the_receipt_says_and_nothing_comes_back(published, tmp_path):
    stack, sqs = published, published.client("sqs")
    person, other = Person(), Person()
    bucket = stack.variables["CONTENT_BUCKET"]
    cut = person.post("cut", HATE)[:-2]
    mine = [person.post("calm"), person.post("hate", HATE), person.post("edited"), person.post("edited", HATE, revision=2), cut]
    theirs = [other.post("calm"), other.post("hate", HATE)]
    stack.send(mine + theirs)
    for who in (person, other):
        key = f"intake/{uuid.uuid4()}.json"
        stack.client("s3").put_object(Bucket=bucket, Key=key, Body=who.post("object").encode())
        stack.client("s3").put_object(Bucket=bucket, Key=key, Body=who.post("object").encode())  # a former version
    for number in ("calm", "hate", "edited", "cut", "object"):
        stack.wait_until(lambda number=number: stack.decision(f"{person.name}-{number}") is not None)
    stack.wait_until(lambda: all(stack.decision(f"{other.name}-{number}") for number in ("calm", "hate", "object")))
    stack.drain()
    rows = tmp_path / "rows.jsonl"
    of = lambda at: "\n".join(row("user", who.author, at) + "\n" + row("post", f"{who.name}-calm", at) for who in (person, other))
    rows.write_text(of("2026-11-20T00:00:00Z"))
    moderato(stack, "features", "load", str(rows))
    escalation = {"schema": "escalation/1", "received_at": "2026-11-23T10:00:00Z"}
    for who in (person, other):
        sqs.send_message(QueueUrl=stack.variables["POSTS_DLQ_URL"], MessageBody=json.dumps({"Type": "Notification", "Message": who.post("dead")}))
        dead = json.dumps(escalation | {"post": json.loads(who.post("waits"))})
        sqs.send_message(QueueUrl=stack.variables["ESCALATIONS_DLQ_URL"], MessageBody=dead)
    # Under way while the person is erased: one that was decided, and one that nobody has seen.
    for body in (mine[1], person.post("unseen", HATE)):
        sqs.send_message(QueueUrl=stack.variables["POSTS_QUEUE_URL"], MessageBody=body, DelaySeconds=20)
    sent = time.monotonic()

    before = holders(stack, person.name)
    dry = moderato(stack, "erase", "--author", person.author, "--dry-run")
    assert person.name not in dry
    for line in ("6 decisions", "2 feature rows", "1 originals in quarantine", "1 posts that came as objects", "1 dead letters"):
        assert any(line in " ".join(told.split()) for told in dry.splitlines()), (line, dry)
    assert holders(stack, person.name).keys() == before.keys(), "a dry run erases nothing"

    receipt = erase(stack, "--author", person.author, "--receipt", str(tmp_path / "receipt.json"))
    assert json.loads((tmp_path / "receipt.json").read_text()) == receipt
    assert time.monotonic() - sent < 20, "too slow: the messages were no longer under way"
    assert person.name not in json.dumps(receipt) and len(receipt["digest"]) == 32
    expected = {"decisions": 6, "feature rows": 2, "originals in quarantine": 1, "posts that came as objects": 1, "dead letters": 2}
    assert counts(receipt) == expected
    left = {rest["where"]: rest for rest in receipt["left"]}
    assert all(rest["until"] > receipt["finished_at"] for rest in receipt["left"] if not rest["where"].endswith(stack.content_bucket))

    def only_the_rest() -> None:
        for place, things in holders(stack, person.name).items():
            assert place in left, place
            if place.startswith("table"):
                for item in things:  # ids and an instant, nothing else
                    assert set(item) <= {"post_id", "revision", "entity", "erased_at", "erased_author", "expires_at"}, item
            else:
                assert place.startswith("queue") and not place.endswith("Dlq"), place

    only_the_rest()
    time.sleep(max(0.0, sent + 21 - time.monotonic()))
    stack.drain()
    only_the_rest()
    erased = [json.loads(line)["PostsErased"] for line in stack.logs() if "PostsErased" in line and line.startswith("{")]
    assert sum(count if isinstance(count, int) else sum(count) for count in erased) >= 2
    # An escalation of before finds nothing.
    late = json.dumps(escalation | {"post": json.loads(mine[1])})
    sqs.send_message(QueueUrl=stack.variables["ESCALATIONS_QUEUE_URL"], MessageBody=late)
    stack.wait_until(lambda: stack.waiting("ESCALATIONS_QUEUE_URL") == 0)
    only_the_rest()

    # Others are as they were.
    held = holders(stack, other.name)
    assert len(held[f"table {stack.variables['DECISIONS_TABLE']}"]) == 3
    assert {place.rsplit("-", 1)[0] for place in held if place.startswith("s3")} and len(held[f"s3://{bucket}"]) == 2
    for queue in ("POSTS_DLQ_URL", "ESCALATIONS_DLQ_URL"):
        assert len(held[f"queue {stack.variables[queue].rsplit('/', 1)[1]}"]) == 1
        sqs.purge_queue(QueueUrl=stack.variables[queue])

    # What was known is not loaded again; what is known later is.
    assert "2 feature rows loaded" in moderato(stack, "features", "load", str(rows))
    only_the_rest()
    rows.write_text(of("2099-01-01T00:00:00Z"))
    assert "4 feature rows loaded" in moderato(stack, "features", "load", str(rows))

    # Once more finds the person's row that was loaded since, then nothing, and the person may go on posting.
    again = counts(erase(stack, "--author", person.author))
    assert {what: count for what, count in again.items() if count} == {"feature rows": 1}, again
    assert not any(counts(erase(stack, "--author", person.author)).values())
    stack.send([person.post("later", HATE), mine[1]])
    stack.wait_until(lambda: stack.decision(f"{person.name}-later") is not None)
    stack.wait_until(lambda: stack.decision(f"{person.name}-hate", 2) is not None)
    assert set(stack.decision(f"{person.name}-hate")) == {"post_id", "revision", "erased_at", "erased_author", "expires_at"}


def test_an_erasure_that_was_killed_is_finished_by_the_next(published):
    stack, person = published, Person()
    stack.send([person.post(str(number), HATE) for number in range(12)])
    stack.wait_until(lambda: all(stack.decision(f"{person.name}-{number}") for number in range(12)))
    command = [str(MODERATO), "erase", "--author", person.author, "--yes", "--settle", "60"]
    process = subprocess.Popen(command, env=stack.environment(), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert "tombstones stand" in process.stderr.readline()
    process.kill()
    process.wait()
    assert counts(erase(stack, "--author", person.author))["decisions"] == 12
    assert counts(erase(stack, "--author", person.author))["decisions"] == 0


def test_a_post_is_erased_and_its_author_is_not(published, tmp_path):
    stack, person = published, Person()
    stack.send([person.post("one", HATE), person.post("one", CALM, revision=3), person.post("two")])
    for number, revision in (("one", 1), ("one", 3), ("two", 1)):
        stack.wait_until(lambda number=number, revision=revision: stack.decision(f"{person.name}-{number}", revision) is not None)
    assert "revision" in moderato(stack, "show", f"{person.name}-one")
    receipt = erase(stack, "--post", f"{person.name}-one")
    assert receipt["subject"] == "post" and counts(receipt)["decisions"] == 2
    assert "was erased" in moderato(stack, "show", f"{person.name}-one")
    assert "author_id" in stack.decision(f"{person.name}-two")
    # What is posted anew under its id is another revision, and is told as such.
    anew = tmp_path / "anew.jsonl"
    anew.write_text(person.post("one", HATE) + "\n")
    assert "1 decided now, 0 before, 0 of those changed: 0 approve, 0 review, 1 hide" in moderato(stack, "send", str(anew))


def test_without_a_terminal_nothing_is_erased_unasked(published):
    done = subprocess.run(
        [MODERATO, "erase", "--author", "somebody"], env=published.environment(), cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "--yes" in done.stderr
    for arguments in ([], ["--author", "a", "--post", "b"], ["--author", ""], ["--author", "a", "--yes", "--dry-run"]):
        moderato(published, "erase", *arguments, expect=2)
