"""The `moderato` command against the deployed stack, as an operator uses it."""

import json
import pathlib
import subprocess
import time
import uuid

from conftest import CALM, moderato

from cloud import ROOT
from deploy import release_binary

MODERATO = release_binary("moderato")


def posts(folder: pathlib.Path, texts: list[str]) -> tuple[pathlib.Path, list[str]]:
    """A file of posts with fresh ids, and the ids."""
    ids = [f"cli-{uuid.uuid4()}" for _ in texts]
    lines = [json.dumps({"post_id": id, "author_id": "u-cli", "text": text}) for id, text in zip(ids, texts, strict=True)]
    path = folder / "posts.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path, ids


HATE = "Muslims are filthy vermin and should be exterminated."


def tasks(stack) -> list[dict]:
    return [json.loads(line) for line in moderato(stack, "tail", "tasks", "--limit", "100000").splitlines()]


def test_a_file_sent_twice_changes_nothing(published, tmp_path):
    path, ids = posts(tmp_path, [HATE if n % 10 == 0 else CALM for n in range(200)])
    first = moderato(published, "send", str(path))
    assert "200 decided now, 0 before, 0 of those changed: 180 approve, 0 review, 20 hide" in first
    assert "0 posts lost" in first
    records = {id: published.decision(id) for id in ids}
    mine = {task["task_id"]: task for task in tasks(published) if task["post_id"] in records}
    assert len(mine) == 20
    second = moderato(published, "send", str(path))
    assert "0 decided now, 200 before, 0 of those changed" in second
    assert {id: published.decision(id) for id in ids} == records
    assert {task["task_id"]: task for task in tasks(published) if task["post_id"] in records} == mine
    assert published.waiting("POSTS_DLQ_URL") == 0


def test_an_edit_without_a_revision_is_told_as_decided_now(published, tmp_path):
    path, ids = posts(tmp_path, [CALM] * 3)
    moderato(published, "send", str(path))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1]["text"] = HATE
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = moderato(published, "send", str(path), "--table")
    assert "1 decided now, 2 before, 0 of those changed: 2 approve, 0 review, 1 hide" in told
    assert [line.split()[2] for line in told.splitlines()[1:4]] == ["approve", "hide", "approve"]
    assert published.decision(ids[1], 2)["decision"]["S"] == "hide"
    # The same edit again is known.
    assert "0 decided now, 3 before, 0 of those changed: 2 approve, 0 review, 1 hide" in moderato(published, "send", str(path))


def test_a_line_that_is_no_post_ends_in_quarantine(published, tmp_path):
    path, _ = posts(tmp_path, [CALM])
    body = f"no post {uuid.uuid4()}"
    path.write_text(path.read_text() + body + "\n")
    assert "0 posts lost, 0 of 1 unreadable lines not in quarantine" in moderato(published, "send", str(path))
    kept = [json.loads(line) for line in moderato(published, "tail", "quarantine", "--limit", "10000").splitlines()]
    (mine,) = [item for item in kept if item["bytes"] == len(body) and body in moderato(published, "show", item["sha256"])]
    assert mine["kind"] == "invalid_json"


def test_show_prints_a_record_that_replays(published, tmp_path):
    path, (id,) = posts(tmp_path, [HATE])
    moderato(published, "send", str(path))
    record = json.loads(moderato(published, "show", id))
    assert (record["decision"], record["decided_by"], record["attempt"], record["degraded"]) == ("hide", "model", 1, [])
    assert record["explanation"]["spans"] and record["cost_usd_micro"] > 0
    assert HATE not in json.dumps(record)
    (tmp_path / "record.json").write_text(json.dumps(record))
    assert "\nhide by model because of hate-high" in moderato(published, "policy", "explain", str(tmp_path / "record.json"))
    alone = subprocess.run([MODERATO, "score"], input=path.read_text(), capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(alone.stdout)["score"] == record["score"]  # law 7: the Lambda and the command, to the last bit
    moderato(published, "show", "nobody-knows-this", expect=1)


def test_redrive_is_dry_first_and_then_decides(published, tmp_path):
    path, (id,) = posts(tmp_path, [CALM])
    published.client("sqs").send_message(QueueUrl=published.variables["POSTS_DLQ_URL"], MessageBody=path.read_text())
    assert "1 messages lie in the dead-letter queue; nothing was moved" in moderato(published, "redrive")
    assert published.waiting("POSTS_DLQ_URL") == 1
    assert "1 messages moved back, 0 could not" in moderato(published, "redrive", "--run")
    published.wait_until(lambda: published.decision(id) is not None)
    assert published.waiting("POSTS_DLQ_URL") == 0


def test_redrive_puts_escalations_back_where_they_came_from(published):
    queue, dlq = (published.variables[f"ESCALATIONS_{name}_URL"] for name in ("QUEUE", "DLQ"))
    body = f"no escalation {uuid.uuid4()}"
    published.client("sqs").send_message(QueueUrl=dlq, MessageBody=body)
    assert "1 messages lie in the dead-letter queue of escalations; nothing was moved" in moderato(published, "redrive")
    assert moderato(published, "tail", "escalations-dlq") == body + "\n"
    try:
        assert "1 messages moved back of escalations, 0 could not" in moderato(published, "redrive", "--run")
        assert published.waiting("ESCALATIONS_DLQ_URL") == published.waiting("POSTS_DLQ_URL") == 0
        moderato(published, "tail", "escalations")
    finally:
        published.client("sqs").purge_queue(QueueUrl=queue)


def test_features_reach_the_decision(published, tmp_path):
    author = f"u-{uuid.uuid4()}"
    rows = tmp_path / "features.jsonl"
    row = {"view": "user", "id": author, "updated_at": "2020-01-01T00:00:00Z", "values": {"prior_violations": 4, "verified": False}}
    rows.write_text(json.dumps(row) + "\n")
    assert "1 feature rows loaded" in moderato(published, "features", "load", str(rows))
    path = tmp_path / "posts.jsonl"
    path.write_text(json.dumps({"post_id": author, "author_id": author, "text": CALM}) + "\n")
    moderato(published, "send", str(path))
    features = json.loads(moderato(published, "show", author))["features"]
    assert features["values"]["prior_violations"] == 4
    assert set(features["stale"]) == {"prior_violations", "verified"}
    assert "followers" in features["missing"] and features["unavailable"] == []
    rows.write_text(json.dumps(row | {"values": {"followers": "many"}}) + "\n")
    moderato(published, "features", "load", str(rows), expect=1)


def test_what_is_published_is_had_back(published, tmp_path):
    policy = tmp_path / "ours.yaml"
    text = (ROOT / "shared" / "domain" / "policies" / "default.yaml").read_text()
    policy.write_text(text.replace("id: default\n", "id: ours\n").replace("user.prior_violations >= 3", "user.prior_violations > 2"))
    publish = ("registry", "publish", "--policy", str(policy))
    told = moderato(published, *publish, "--dry-run")
    assert "~ rule repeat-offender" in told and "nothing was written" in told
    moderato(published, *publish, expect=2)  # nobody can be asked here
    assert json.loads(moderato(published, "registry", "show"))["policy"]["id"] == "default"
    moderato(published, *publish, "--yes", "--by", "test", "--why", "to be had back")
    live = json.loads(moderato(published, "registry", "show"))
    assert (live["policy"]["id"], live["model"]["name"], live["by"]) == ("ours", "minilm-cascade", "test")
    assert "nothing changes: that is live" in moderato(published, *publish)
    moderato(published, "registry", "rollback", "--yes")
    history = moderato(published, "registry", "history").splitlines()
    assert history[0].startswith("live") and "back to" in history[0]
    assert "policy ours@" in history[1] and history[1].endswith("by test: to be had back")


def test_a_word_is_added_to_a_bank_and_taken_out(published, tmp_path):
    """What a newcomer does: the example policy and a bank, a word in, the next post stopped; the word out, the next post passes."""
    word = f"zorbl{uuid.uuid4().hex[:6].translate(str.maketrans('0123456789', 'ghijklmnop'))}"

    def decided() -> dict:
        path, (post,) = posts(tmp_path, [f"Good morning {' '.join(word)} and all"])
        moderato(published, "send", str(path))
        return json.loads(moderato(published, "show", post))

    def becomes(decision: str) -> dict:
        """The decision on a new post by the example policy, which functions take up within a minute, as they do a bank; half a minute more is given."""
        found = {}

        def decides() -> bool:
            time.sleep(2)
            found.update(decided())
            return found["decision"] == decision and found["policy"]["id"] == "signals-example"

        published.wait_until(decides, 90)
        return found

    policy = ROOT / "shared/domain/policies/examples/signals.yaml"
    refused = moderato(published, "registry", "publish", "--policy", str(policy), "--yes", expect=2)
    assert refused == ""
    head = ("--owner", "test", "--purpose", "a word of today", "--yes", "--by", "test")
    moderato(published, "bank", "add", "campaign", "frazzle", *head)
    moderato(published, "registry", "publish", "--policy", str(policy), "--yes")
    try:
        becomes("approve")
        assert f"+ [words] {word}" in moderato(published, "bank", "add", "campaign", word, "--yes")
        record = becomes("hide")
        assert record["decided_by"] == "rule" and record["signals"]["campaign"]["found"] == 1
        assert word not in json.dumps(record)
        assert "campaign@" in moderato(published, "bank", "list")
        assert word in moderato(published, "bank", "list", "campaign")
        # A bank that does not pass its own examples is refused, with the line.
        moderato(published, "bank", "add", "campaign", "--as", "misses", "bread", "--yes")
        done = subprocess.run(
            [str(MODERATO), "bank", "add", "campaign", "bread", "--yes"], env=published.environment(), cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2 and "line " in done.stderr and "has to miss" in done.stderr
        moderato(published, "bank", "remove", "campaign", word, "--yes")
        becomes("approve")
    finally:
        moderato(published, "registry", "publish", "--policy", "bundled", "--yes")
        moderato(published, "bank", "remove", "campaign", "--yes")
    # What runs after this is decided by the policy that it knows.
    published.wait_until(lambda: decided()["policy"]["id"] == "default", 90)


def test_what_others_wrote_drives_no_terminal(published):
    bad = "\x1b[2J\u202e\u2028\u200b\x9b31m"
    queue, dlq = (published.variables[f"ESCALATIONS_{name}_URL"] for name in ("QUEUE", "DLQ"))
    bodies = [f"no json {bad.replace(chr(0x1B), '')}\nerror: forged {uuid.uuid4()}", json.dumps({"a": bad}, indent=1, ensure_ascii=False)]
    for body in bodies:
        published.client("sqs").send_message(QueueUrl=dlq, MessageBody=body)
    try:
        shown = moderato(published, "tail", "escalations-dlq").splitlines()
        assert len(shown) == 2 and all(line.isprintable() for line in shown)
        (mine,) = [line for line in shown if line.startswith("{")]
        assert json.loads(mine) == {"a": bad}
    finally:
        published.client("sqs").purge_queue(QueueUrl=dlq)
