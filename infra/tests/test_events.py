"""Every sample in events/ is an SQS event as Lambda gets it, and is explained."""

import hashlib
import re

import pytest
import samples


@pytest.mark.parametrize("path", samples.files(), ids=lambda path: path.stem)
def test_sample_is_an_sqs_event(path):
    records = samples.event(path)["Records"]
    assert 1 <= len(records) <= 10
    assert len({record["messageId"] for record in records}) == len(records)
    for record in records:
        assert record["eventSource"] == "aws:sqs"
        assert record["md5OfBody"] == hashlib.md5(record["body"].encode(), usedforsecurity=False).hexdigest()
        assert record["attributes"]["SentTimestamp"].isdigit()


def test_every_sample_is_explained_and_every_explanation_has_a_sample():
    explained = set(re.findall(r"^\| `([a-z0-9-]+\.json)` \|", (samples.FOLDER / "README.md").read_text(), re.MULTILINE))
    assert {path.name for path in samples.FOLDER.glob("*.json")} == explained


def test_sizes_are_exact():
    (large,) = samples.bodies("native-large.json")
    (too_large,) = samples.bodies("poison-too-large.json")
    assert len(large.encode()) == samples.MOST_BYTES
    assert len(too_large.encode()) == samples.MOST_BYTES + 1
