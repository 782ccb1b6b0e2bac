"""opinions.py: real posts and pictures of our own through the local stack with its endpoint, and what became of them in a table.

    opinions.py [--posts 2000] [--pictures FOLDER]

After `make up GPU=1`. Posts are tweets of the corpus in MODERATO_DATA, every so many; FOLDER is what infra/eyes/pictures.py has drawn:
100 pictures of sentences, hateful and harmless twins. Times are from a message's way into the queue to the last decision on its post;
the local AWS takes most of them. Exits with 1 where a post is not decided for good, or its record does not say what was consulted.
"""

from __future__ import annotations

import argparse
import collections
import csv
import gzip
import json
import os
import pathlib
import statistics
import sys
import time

from cloud import ROOT, CloudError, LocalCloud
from deploy import local_variables

CORPUS = "davidson_2017_labeled_tweets.csv.gz"
# Nothing takes longer, or it is lost.
PATIENCE_SECONDS = 300


def tweets(count: int) -> list[str]:
    """Texts of the corpus, evenly spread over it."""
    path = pathlib.Path(os.environ.get("MODERATO_DATA", ROOT.parent / "shared" / "data")) / CORPUS
    if not path.exists():
        raise CloudError(f"there is no {path}; set MODERATO_DATA to the folder of the corpora")
    with gzip.open(path, "rt", newline="") as file:
        texts = [row["tweet"] for row in csv.DictReader(file)]
    step = max(1, len(texts) // count)
    return texts[::step][:count]


def posts(run: str, texts: list[str]) -> list[dict]:
    """Native posts of texts."""
    return [{"post_id": f"{run}-text-{number}", "text": text, "lang": "en"} for number, text in enumerate(texts)]


def picture_posts(run: str, folder: pathlib.Path, cloud: LocalCloud, bucket: str) -> tuple[list[dict], dict[str, bool]]:
    """Posts of nothing but a picture, put into the bucket, and which of them are hateful."""
    found, hateful = [], {}
    for number, line in enumerate((folder / "labels.jsonl").read_text().splitlines()):
        label = json.loads(line)
        key = f"content/{run}/{label['file']}"
        cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=(folder / label["file"]).read_bytes())
        post = {"post_id": f"{run}-picture-{number}", "lang": "en", "media": [{"uri": f"s3://{bucket}/{key}"}]}
        hateful[post["post_id"]] = label["hateful"]
        found.append(post)
    return found, hateful


def send(sqs, queue: str, messages: list[dict]) -> None:
    for start in range(0, len(messages), 10):
        batch = [{"Id": str(place), "MessageBody": json.dumps(post)} for place, post in enumerate(messages[start : start + 10])]
        answer = sqs.send_message_batch(QueueUrl=queue, Entries=batch)
        if answer.get("Failed"):
            raise CloudError("the local AWS did not take all posts; run it again")


def final(dynamodb, table: str, ids: list[str]) -> dict[str, dict]:
    """The last decisions on posts, as the table's items; fewer where not all are decided in time."""
    from boto3.dynamodb.types import TypeDeserializer

    plain = TypeDeserializer().deserialize
    open_, decided = set(ids), {}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while open_ and time.monotonic() < deadline:
        for start in range(0, len(open_), 100):
            keys = [{"post_id": {"S": id}, "revision": {"N": "1"}} for id in sorted(open_)[start : start + 100]]
            answer = dynamodb.batch_get_item(RequestItems={table: {"Keys": keys, "ConsistentRead": True}})
            for item in answer["Responses"][table]:
                record = {name: plain(value) for name, value in item.items()}
                if not record["provisional"]:
                    decided[record["post_id"]] = record
        open_ -= decided.keys()
        if open_:
            print(f"\r    {len(decided)} of {len(ids)} decided for good", end="", flush=True)
            time.sleep(0.5)
    print(f"\r    {len(decided)} of {len(ids)} decided for good", flush=True)
    return decided


def seconds(record: dict) -> float:
    import datetime

    at = [datetime.datetime.fromisoformat(record[name].replace("Z", "+00:00")) for name in ("received_at", "decided_at")]
    return (at[1] - at[0]).total_seconds()


def kind(record: dict) -> str:
    if "second_opinion" not in record:
        return "text, decided at once"
    asked = "picture" if record.get("images") or "-picture-" in record["post_id"] else "text, asked again"
    consulted = record["second_opinion"]
    return asked if consulted["state"] == "ok" else f"{asked}, without ({consulted['why']})"


def table(records: list[dict]) -> list[str]:
    groups = collections.defaultdict(list)
    for record in records:
        groups[kind(record)].append(record)
    header = f"{'':<34} {'posts':>6} {'approve':>8} {'review':>7} {'hide':>6} {'p50 s':>7} {'p90 s':>7} {'p99 s':>7} {'USD a million':>14}"
    lines = [header]
    for name, group in sorted(groups.items()):
        counts = collections.Counter(record["decision"] for record in group)
        times = sorted(seconds(record) for record in group)
        at = [times[min(len(times) - 1, int(share * len(times)))] for share in (0.5, 0.9, 0.99)]
        cost = statistics.mean(float(record["cost_usd_micro"]) for record in group)
        lines.append(
            f"{name:<34} {len(group):>6} {counts['approve']:>8} {counts['review']:>7} {counts['hide']:>6} "
            f"{at[0]:>7.2f} {at[1]:>7.2f} {at[2]:>7.2f} {cost:>14.2f}"
        )
    return lines


def accuracy(decided: dict[str, dict], hateful: dict[str, bool]) -> list[str]:
    """What became of hateful pictures and of their harmless twins."""
    lines = []
    for wanted, name in ((True, "hateful"), (False, "harmless twins")):
        group = [decided[id] for id, is_hateful in hateful.items() if is_hateful == wanted and id in decided]
        counts = collections.Counter(record["decision"] for record in group)
        read = sum(1 for record in group if any(image.get("lines") for image in record.get("images", [])))
        lines.append(f"{name:<16} {len(group):>4} pictures, text read in {read}: {counts['hide']} hidden, {counts['review']} to review, {counts['approve']} approved")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--posts", type=int, default=2000)
    parser.add_argument("--pictures", type=pathlib.Path)
    arguments = parser.parse_args()
    cloud = LocalCloud(ROOT / ".local", 4566)
    try:
        variables = local_variables(cloud)
        run = f"opinions-{int(time.time())}"
        sent, hateful = posts(run, tweets(arguments.posts)), {}
        if arguments.pictures:
            pictures, hateful = picture_posts(run, arguments.pictures, cloud, variables["CONTENT_BUCKET"])
            sent += pictures
        send(cloud.client("sqs"), variables["POSTS_QUEUE_URL"], sent)
        decided = final(cloud.client("dynamodb"), variables["DECISIONS_TABLE"], [post["post_id"] for post in sent])
    except CloudError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(table(list(decided.values())) + [""] + accuracy(decided, hateful)))
    unsaid = [id for id, record in decided.items() if record["attempt"] > 1 and "second_opinion" not in record]
    lost = len(sent) - len(decided)
    print(f"{len(sent)} posts, {lost} not decided for good, {len(unsaid)} that do not say what was consulted")
    return 1 if lost or unsaid else 0


if __name__ == "__main__":
    sys.exit(main())
