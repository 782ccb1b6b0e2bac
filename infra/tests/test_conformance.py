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
    assert "skipped" not in done.stdout
    assert "test aws::decisions_in_dynamodb ... ok" in done.stdout
