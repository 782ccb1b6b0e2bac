"""The stores' conformance tests, which `cargo test` runs on the in-memory ones, against DynamoDB, S3 and SQS of the stack."""

import os
import subprocess

from cloud import ROOT
from deploy import write_env


def test_stores_keep_their_word_on_the_stack(stack, tmp_path):
    write_env(tmp_path / "stack.env", stack.variables)
    done = subprocess.run(
        ["cargo", "test", "--locked", "--release", "--workspace", "--test", "conformance", "--", "aws::", "--nocapture"],
        env=os.environ | {"MODERATO_TEST_STACK_ENV": str(tmp_path / "stack.env")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # The local AWS makes a table without the index that a condition asks for; the scan stands in for it.
    skipped = [line for line in done.stdout.splitlines() if "skipped" in line]
    assert all("no index of authors" in line for line in skipped), skipped
    assert "test aws::decisions_in_dynamodb ... ok" in done.stdout
