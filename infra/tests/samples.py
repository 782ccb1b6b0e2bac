"""The sample events of events/, as files, Lambda events and message bodies."""

from __future__ import annotations

import json
import pathlib

from cloud import ROOT
from invoke import SAMPLE_BUCKET as BUCKET

FOLDER = ROOT / "events"
# SQS refuses a message of more bytes.
MOST_BYTES = 1024 * 1024


def files(pattern: str = "*.json") -> list[pathlib.Path]:
    return sorted(path for path in FOLDER.glob(pattern) if "Records" in event(path))


def event(path: pathlib.Path) -> dict:
    return json.loads(path.read_text())


def bodies(pattern: str, bucket: str = BUCKET) -> list[str]:
    """Message bodies of the samples that match, with `bucket` for the bucket in them."""
    return [r["body"].replace(BUCKET, bucket) for path in files(pattern) for r in event(path)["Records"]]
