"""soak.py [--posts N] [--seed N]: posts through a deployed stack whose function is killed at random, and what became of each.

A local AWS of its own gets template.yaml with the release binary. Posts go through SQS in bounded numbers, some of them
twice, some as second revisions, some unreadable. All the while a running `score` process is killed every few seconds.
Then the killing stops, dead letters are put back with `moderato redrive`, and everything is counted: decisions, tasks,
actions and quarantine have to be exactly what was sent and what the stored decisions owe. Exit 1 where they are not.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from cloud import ROOT, CloudError, LocalCloud, free_port
from deploy import deploy, local_variables, release_binary

# Of a hundred posts about eighty approve, twelve review, eight hide. What the texts lead to says `moderato score`; of those that may lead to
# review, which the next model may be sure about, the ones that do are sent.
TEXTS = {
    "approve": (
        80,
        [
            {"text": "The tomatoes on the balcony finally turned red, soup tonight!"},
            {"text": "Tram 4 runs ten minutes late again, bring a book."},
            {"text": "Does anybody know a good bakery near the station?", "lang": "en"},
        ],
    ),
    "review": (
        12,
        [
            {"text": "Women like that are too stupid to be allowed to vote."},
            {"text": "Girls cannot drive, everybody knows that."},
            {"text": "I would not let a muslim teach my kids."},
            {"text": "Most refugees do not want to work anyway."},
            {"text": "Women belong at home with the children."},
            {"text": "Le marché ouvre à huit heures demain.", "lang": "fr"},
        ],
    ),
    "hide": (
        8,
        [
            {"text": "Immigrants are vermin, deport them all, they are subhuman filth."},
            {"text": "Muslims are filthy vermin and should be exterminated."},
        ],
    ),
}
# Shares of what is sent.
SECOND_REVISIONS = 0.05
TWICE = 0.03
POISON = 0.01
# Messages that wait at most: the queue of the local AWS slows down as it grows.
WAITING = 1500
# The template hides a message for 180 s while it is worked on. Here it is less, so that what was killed comes again soon, now
# and then while it is still being worked on.
HIDDEN_S = 10


class Lost(Exception):
    """The queue does not get empty."""


@dataclasses.dataclass
class Plan:
    """What is sent, and what has to come of it."""

    bodies: list[str]
    # (post, revision) -> decision
    decisions: dict[tuple[str, int], str]
    # Keys of the quarantined originals.
    poison: set[str]


def plan(posts: int, seed: int, prefix: str) -> Plan:
    """`posts` posts, poison between them, and some of it all again; the same for the same seed."""
    rng = random.Random(seed)
    samples = [sample for _, texts in TEXTS.values() for sample in texts]
    leads_to = dict(zip((sample["text"] for sample in samples), judged(samples), strict=True))
    sent = {decision: [sample for sample in texts if leads_to[sample["text"]] == decision] for decision, (_, texts) in TEXTS.items()}
    for decision, texts in sent.items():
        known = [sample for sample in texts if "lang" not in sample or sample["lang"] == "en"]
        assert known and (decision == "review" or len(texts) == len(TEXTS[decision][1])), f"texts that should lead to {decision}: {leads_to}"
    kinds, weights = list(TEXTS), [weight for weight, _ in TEXTS.values()]
    made = Plan([], {}, set())
    first = None
    for n in range(posts):
        if first is not None and rng.random() < SECOND_REVISIONS:
            post, revision, first = first, 2, None
        else:
            post, revision, first = f"{prefix}-{n}", 1, f"{prefix}-{n}"
        decision = rng.choices(kinds, weights)[0]
        known = {"post_id": post, "revision": revision, "author_id": f"u-{rng.randrange(1000)}"}
        made.bodies.append(json.dumps(known | rng.choice(sent[decision])))
        made.decisions[post, revision] = decision
        if rng.random() < POISON:
            body = f"no post {prefix}-{n}"
            made.bodies.append(body)
            made.poison.add(f"quarantine/{hashlib.sha256(body.encode()).hexdigest()}")
    # Close to the first one or far from it.
    for body in rng.choices(made.bodies, k=int(posts * TWICE)):
        made.bodies.insert(rng.randrange(len(made.bodies)), body)
    return made


def judged(samples: list[dict]) -> list[str]:
    """The decisions of the command on these texts."""
    lines = "".join(json.dumps({"post_id": "p"} | sample) + "\n" for sample in samples)
    command = [release_binary().parent / "moderato", "score"]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True, cwd=ROOT)
    return [json.loads(line)["decision"] for line in done.stdout.splitlines()]


class Killer(threading.Thread):
    """Kills one running `score` process of this local AWS every so often; nobody else's."""

    def __init__(self, cloud: LocalCloud, seed: int, every_s: float) -> None:
        super().__init__(daemon=True)
        self.kills = 0
        self._parent = cloud.pid()
        self._rng = random.Random(seed)
        self._every_s = every_s
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(self._rng.uniform(0.5, 1.5) * self._every_s):
            running = children(self._parent)
            if running:
                try:
                    os.kill(self._rng.choice(running), signal.SIGKILL)
                    self.kills += 1
                except ProcessLookupError:
                    pass

    def stop(self) -> None:
        self._done.set()
        self.join()


def children(parent: int) -> list[int]:
    """The processes named `bootstrap` that this one started, sorted."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            head, rest = stat.read_text().rsplit(")", 1)
        except OSError:
            continue
        state, its_parent = rest.split()[:2]
        if int(its_parent) == parent and head.endswith("(bootstrap") and state != "Z":
            found.append(int(stat.parent.name))
    return sorted(found)


class Consumer(threading.Thread):
    """Takes every message out of a queue, as whoever works on tasks or actions would."""

    def __init__(self, cloud: LocalCloud, url: str) -> None:
        super().__init__(daemon=True)
        self.seen: collections.Counter[str] = collections.Counter()
        self._sqs = cloud.client("sqs")
        self._url = url
        self._done = threading.Event()

    def run(self) -> None:
        while True:
            last = self._done.is_set()
            received = self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10, VisibilityTimeout=60).get("Messages", [])
            self.seen.update(message["Body"] for message in received)
            if received:
                entries = [{"Id": str(i), "ReceiptHandle": message["ReceiptHandle"]} for i, message in enumerate(received)]
                assert not self._sqs.delete_message_batch(QueueUrl=self._url, Entries=entries).get("Failed")
            elif last:
                return
            else:
                self._done.wait(0.2)

    def drain(self) -> None:
        """Returns once the queue is empty."""
        self._done.set()
        self.join()


class Soak:
    """One run on a deployed stack."""

    def __init__(self, cloud: LocalCloud, variables: dict[str, str], say=print) -> None:
        self.cloud = cloud
        self.variables = variables
        self.say = say
        self.started = time.monotonic()
        self.redriven = 0
        self._sqs = cloud.client("sqs")
        self._log_start = cloud.log.stat().st_size
        # What was there before is not ours to judge.
        self._kept_before = self._quarantined()
        self.kills = self.kills_at_work = self.repeated_messages = 0

    def run(self, posts: int, seed: int, every_s: float, hidden_s: int = HIDDEN_S) -> int:
        """Sends, kills, counts. The number of posts lost or doubled."""
        prefix = f"soak-{seed}-{os.getpid()}"
        todo = plan(posts, seed, prefix)
        counts = collections.Counter(todo.decisions.values())
        self.say(
            f"    {len(todo.bodies)} messages: {len(todo.decisions)} posts ({counts['approve']} approve, {counts['review']} review, "
            f"{counts['hide']} hide; {sum(revision == 2 for _, revision in todo.decisions)} second revisions), "
            f"{len(todo.poison)} unreadable, {int(posts * TWICE)} sent twice"
        )
        queue = self.variables["POSTS_QUEUE_URL"]
        was = self._sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["VisibilityTimeout"])["Attributes"]["VisibilityTimeout"]
        self._sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": str(hidden_s)})
        self.say(f"    a message is hidden for {hidden_s} s instead of {was} while it is worked on, so that what was killed comes again soon")
        tasks, actions = (Consumer(self.cloud, self.variables[name]) for name in ("TASKS_QUEUE_URL", "ACTIONS_QUEUE_URL"))
        tasks.start()
        actions.start()
        killer = Killer(self.cloud, seed, every_s)
        killer.start()
        try:
            self._send(todo.bodies, killer)
            self._until_empty(killer, hidden_s, "killed")
            killer.stop()
            self._until_empty(killer, hidden_s, "redriven")
        finally:
            killer.stop()
            self._sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": was})
        tasks.drain()
        actions.drain()
        return self._count(todo, prefix, tasks.seen, actions.seen, killer.kills)

    def _send(self, bodies: list[str], killer: Killer) -> None:
        url = self.variables["POSTS_QUEUE_URL"]

        def send(chunk: list[str]) -> None:
            entries = [{"Id": str(i), "MessageBody": body} for i, body in enumerate(chunk)]
            answer = self._sqs.send_message_batch(QueueUrl=url, Entries=entries)
            if answer.get("Failed"):
                raise CloudError(f"the posts queue refused messages: {answer['Failed'][0]['Code']}")

        sent = 0
        while sent < len(bodies):
            room = WAITING - self._waiting("POSTS_QUEUE_URL")
            if room < 100:
                time.sleep(0.1)
            for start in range(sent, min(sent + max(room, 0), len(bodies)), 10):
                send(bodies[start : start + 10])
                sent = min(start + 10, len(bodies))
            self._progress(sent, len(bodies), killer)

    def _until_empty(self, killer: Killer, hidden_s: int, until: str) -> None:
        """Waits until nothing waits; dead letters are put back once nothing is killed any more."""
        # What may have ended a process comes again by itself, within a minute and a half (shared/service/src/inbox.rs).
        patience = 30 * hidden_s + 180
        deadline = time.monotonic() + patience
        while True:
            waiting = self._waiting("POSTS_QUEUE_URL")
            dead = self._waiting("POSTS_DLQ_URL")
            if waiting == 0 and (until == "killed" or dead == 0):
                return
            if waiting == 0:
                self._redrive(dead)
            if time.monotonic() > deadline:
                raise Lost(f"{waiting} messages wait and {dead} are dead after {patience} s; the local AWS's log: {self.cloud.log}")
            self._progress(None, None, killer)
            time.sleep(0.2)

    def _redrive(self, dead: int) -> None:
        command = [str(release_binary().parent / "moderato"), "redrive", "--run"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.cloud.folder)} | self.variables
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CloudError(f"moderato redrive ended with {done.returncode}: {done.stderr}")
        self.redriven += dead
        self.say(f"    {done.stdout.strip()}")

    def _waiting(self, queue: str) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self._sqs.get_queue_attributes(QueueUrl=self.variables[queue], AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)

    _said = 0.0

    def _progress(self, sent: int | None, of: int | None, killer: Killer) -> None:
        if time.monotonic() - self._said < 5:
            return
        self._said = time.monotonic()
        decided = self.cloud.client("dynamodb").describe_table(TableName=self.variables["DECISIONS_TABLE"])["Table"]["ItemCount"]
        sending = "all sent" if sent is None or sent == of else f"{sent} of {of} sent"
        self.say(
            f"    {time.monotonic() - self.started:4.0f} s  {sending}, {decided} decisions in the table, "
            f"{self._waiting('POSTS_QUEUE_URL')} waiting, {self._waiting('POSTS_DLQ_URL')} dead, {killer.kills} kills"
        )

    def _count(self, todo: Plan, prefix: str, tasks: collections.Counter, actions: collections.Counter, kills: int) -> int:
        records = self._decisions(prefix)
        lost, double, poorer = [], [], []
        for key, decision in todo.decisions.items():
            record = records.get(key)
            if record is None:
                lost.append(f"no decision of {key}")
            elif record["decision"] != decision and record["decision"] == "review" and unavailable(record):
                poorer.append(f"{key} is {record['decision']} without {', '.join(unavailable(record))}")
            elif record["decision"] != decision:
                double.append(f"{key} is {record['decision']}, the command says {decision}: {json.dumps(record)}")
        double += [f"a decision of {key}, which nobody sent" for key in records.keys() - todo.decisions.keys()]
        owed = {"task": {}, "action": {}}
        for record in records.values():
            for kind, message in owes(record):
                owed[kind][message] = record
        for kind, seen in (("task", tasks), ("action", actions)):
            mine = collections.Counter({body: n for body, n in seen.items() if json.loads(body)["post_id"].startswith(prefix)})
            bodies = collections.defaultdict(set)
            for body in mine:
                bodies[json.loads(body)[f"{kind}_id"]].add(body)
            lost += [f"{kind} {id} was never sent" for id in owed[kind].keys() - bodies.keys()]
            double += [f"{kind} {id} is owed by nothing stored" for id in bodies.keys() - owed[kind].keys()]
            double += [f"{kind} {id} was sent with {len(said)} contents" for id, said in bodies.items() if len(said) > 1]
            for id in bodies.keys() & owed[kind].keys():
                (first, *_) = bodies[id]
                if json.loads(first)["decided_at" if kind == "action" else "created_at"] != owed[kind][id]["decided_at"]:
                    double.append(f"{kind} {id} comes from another decision than the stored one")
            self.repeated_messages += mine.total() - len(bodies)
            self.say(f"    {len(bodies)} {kind}s, {mine.total() - len(bodies)} sent again")
        kept = self._quarantined() - self._kept_before
        lost += [f"{key} is missing" for key in todo.poison - kept]
        double += [f"{key} was readable" for key in kept - todo.poison]
        left = {name: self._waiting(name) for name in ("POSTS_QUEUE_URL", "POSTS_DLQ_URL")}
        lost += [f"{n} messages left in {name}" for name, n in left.items() if n]
        for line in (lost + double + poorer)[:20]:
            self.say(f"    {line}")
        self.kills, self.kills_at_work = kills, self._killed_at_work()
        self.say(
            f"    {self.kills_at_work} kills hit a function at work, {self.redriven} dead letters were put back, "
            f"{len(poorer)} posts were reviewed because evidence could not be had in time"
        )
        self.say(
            f"{len(todo.decisions)} posts, {kills} kills, {len(lost)} lost, {len(double)} double, "
            f"{self.repeated_messages} repeated messages, {time.monotonic() - self.started:.0f} seconds"
        )
        return len(lost) + len(double)

    def _decisions(self, prefix: str) -> dict[tuple[str, int], dict]:
        pages = self.cloud.client("dynamodb").get_paginator("scan").paginate(
            TableName=self.variables["DECISIONS_TABLE"],
            ConsistentRead=True,
            ProjectionExpression="post_id, revision, decision_id, decision, decided_by, review, attempt, decided_at, "
            "received_at, reasons, degraded, features, scores",
        )
        found = {}
        for item in itertools.chain.from_iterable(page["Items"] for page in pages):
            record = {name: plain(value) for name, value in item.items()}
            if record["post_id"].startswith(prefix):
                found[record["post_id"], int(record["revision"])] = record
        return found

    def _quarantined(self) -> set[str]:
        pages = self.cloud.client("s3").get_paginator("list_objects_v2").paginate(
            Bucket=self.variables["ARTIFACTS_BUCKET"], Prefix="quarantine/"
        )
        return {item["Key"] for page in pages for item in page.get("Contents", [])}

    def _killed_at_work(self) -> int:
        """The local AWS says in its log when an invocation did not end as it should."""
        with open(self.cloud.log, "rb") as log:
            log.seek(self._log_start)
            return sum(b"failed processing SQS batch" in line for line in log)


def plain(value: dict):
    """A value of DynamoDB as JSON has it; numbers stay text, bytes become their length."""
    ((kind, inner),) = value.items()
    match kind:
        case "M":
            return {name: plain(value) for name, value in inner.items()}
        case "L":
            return [plain(value) for value in inner]
        case "B":
            return len(inner)
        case "NULL":
            return None
        case _:
            return inner


def unavailable(record: dict) -> list[str]:
    """The evidence that could not be asked for: by the law of the policy it leads to review."""
    scores = [f"score.{harm}" for harm, score in record["scores"].items() if score["state"] == "unavailable"]
    # Every record says `registry` in here: nothing was published to it.
    degraded = [source for source in record["degraded"] if source != "registry"]
    return scores + degraded + record["features"].get("unavailable", [])


def owes(record: dict) -> list[tuple[str, str]]:
    """The ids that a stored decision owes, by the rule of `DecisionRecord::owed`."""
    owed = [("task", f"{record['decision_id']}-task")] if isinstance(record.get("review"), dict) else []
    kind = "hide" if record["decision"] == "hide" else "publish" if int(record["revision"]) > 1 else None
    if kind:
        owed.append(("action", f"{record['decision_id']}-{record['attempt']}-{kind}"))
    return owed


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--posts", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--every", type=float, default=3.0, metavar="SECONDS", help="between two kills, on average")
    options = options.parse_args()
    say = lambda line: print(line, flush=True)  # noqa: E731
    folder = pathlib.Path(tempfile.mkdtemp(prefix="moderato-soak-"))
    cloud = LocalCloud(folder, free_port())
    try:
        say(f"==> a local AWS of its own on {cloud.endpoint}, template.yaml to it")
        cloud.start()
        # Nothing is published to it: what is bundled is what it runs.
        deploy(cloud, say=say, parameters={"Stage": "dev", "ScoreConcurrency": "0", "RegistryFallback": "bundled"})
        say(f"==> {options.posts} posts, seed {options.seed}, a kill every {options.every:g} s")
        wrong = Soak(cloud, local_variables(cloud), say).run(options.posts, options.seed, options.every)
    except (CloudError, Lost) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        # Nothing of it is needed again: a clean stop would save it first.
        if (pid := cloud.pid()) is not None:
            for process in [pid, *children(pid)]:
                os.kill(process, signal.SIGKILL)
    if wrong:
        print(f"what the local AWS said is kept in {cloud.log}", file=sys.stderr)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
