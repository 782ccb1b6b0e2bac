"""The `stack` fixture: template.yaml, unchanged, deployed with the real binary to a local AWS of the tests' own."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import uuid

import pytest

from cloud import ROOT, LocalCloud, free_port
from deploy import FUNCTIONS, deploy, local_variables, release_binary

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")  # the SAM transform wants one


@dataclasses.dataclass
class Stack:
    """A deployed stack: `variables` is what .local/stack.env holds, by name."""

    cloud: LocalCloud
    variables: dict[str, str]
    topic: str
    content_bucket: str

    def client(self, service: str):
        """A boto3 client of the local AWS."""
        return self.cloud.client(service)

    def environment(self) -> dict[str, str]:
        """The environment in which the `moderato` command talks to this stack, and to nothing else."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.cloud.folder)} | self.variables

    def send(self, bodies: list[str]) -> None:
        """Puts message bodies on the posts queue."""
        queue = self.client("sqs")
        for start in range(0, len(bodies), 10):
            entries = [{"Id": str(i), "MessageBody": body} for i, body in enumerate(bodies[start : start + 10])]
            answer = queue.send_message_batch(QueueUrl=self.variables["POSTS_QUEUE_URL"], Entries=entries)
            assert not answer.get("Failed"), answer["Failed"]

    def waiting(self, queue: str) -> int:
        """Messages in a queue, those being worked on included; `queue` is a name such as POSTS_QUEUE_URL."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.client("sqs").get_queue_attributes(QueueUrl=self.variables[queue], AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)

    def wait_until(self, condition, seconds: float = 30) -> None:
        """Waits for `condition()`; fails, with the function's last log lines, when it does not come true."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not happen; the function's last words:\n" + "\n".join(self.logs()[-20:])
            time.sleep(0.05)

    def drain(self, seconds: float = 30) -> None:
        """Waits until the posts queue is empty."""
        self.wait_until(lambda: self.waiting("POSTS_QUEUE_URL") == 0, seconds)

    def logs(self) -> list[str]:
        """Everything that the function has logged."""
        pages = self.client("logs").get_paginator("filter_log_events").paginate(logGroupName=self.variables["SCORE_LOGS"])
        return [event["message"] for page in pages for event in page["events"]]

    def decision(self, post_id: str, revision: int = 1) -> dict | None:
        """The stored decision as DynamoDB returns it, None when there is none."""
        key = {"post_id": {"S": post_id}, "revision": {"N": str(revision)}}
        answer = self.client("dynamodb").get_item(TableName=self.variables["DECISIONS_TABLE"], Key=key, ConsistentRead=True)
        return answer.get("Item")


@pytest.fixture(scope="session")
def stack():
    """One stack for all tests; started once, on a free port, stopped and deleted afterwards."""
    assert all(release_binary(name).exists() for name in FUNCTIONS), "the functions are not built: run `make build` first"
    folder = pathlib.Path(tempfile.mkdtemp(prefix="moderato-test-"))
    cloud = LocalCloud(folder, free_port())
    try:
        cloud.start()
        topic = cloud.client("sns").create_topic(Name="platform-posts")["TopicArn"]
        content_bucket = "platform-content"
        cloud.client("s3").create_bucket(Bucket=content_bucket)
        deploy(
            cloud,
            parameters={
                "Stage": "dev",
                "PostsTopicArn": topic,
                "PostsEventBus": "default",
                "PostsEventSource": "platform",
                "ContentBuckets": content_bucket,
                "ProducerAccounts": "111122223333,444455556666",
                "ProducerRoles": "arn:aws:iam::111122223333:role/producer",
                "EndpointName": "theirs",
                "AuthorIndex": "on",
            },
        )
        yield Stack(cloud, local_variables(cloud), topic, content_bucket)
    finally:
        cloud.stop()
        shutil.rmtree(folder, ignore_errors=True)


def moderato(stack: Stack, *arguments: str, expect: int = 0) -> str:
    """Runs the command on a stack and gives what it printed."""
    command = [str(release_binary("moderato")), *arguments]
    done = subprocess.run(
        command, env=stack.environment(), cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == expect, f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


CALM = "Does anybody know a good bakery near the station?"


@pytest.fixture(scope="session")
def published(stack):
    """The stack with its registry filled, and a function that has noticed.

    The test event of the bucket's notification starts the function before anything is published. It does not know what is wanted:
    a post goes to a person until it has found the pointer by itself.
    """

    def decided() -> dict:
        post = f"probe-{uuid.uuid4()}"
        stack.send([json.dumps({"post_id": post, "text": CALM})])
        stack.wait_until(lambda: stack.decision(post) is not None)
        return json.loads(moderato(stack, "show", post))

    before = decided()
    assert (before["decision"], before["policy"].get("assumed"), before["degraded"]) == ("review", True, ["policy", "registry"])
    assert "unavailable:policy" in [reason["rule"] for reason in before["reasons"]]
    moderato(stack, "registry", "publish", "--yes")

    def noticed() -> bool:
        time.sleep(0.5)
        record = decided()
        return record["degraded"] == [] and (record["decision"], record["policy"].get("assumed")) == ("approve", None)

    stack.wait_until(noticed)
    return stack
