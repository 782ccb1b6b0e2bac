"""Deploys template.yaml, unchanged, to a local cloud, and reads a stack's outputs."""

from __future__ import annotations

import hashlib
import os
import pathlib
import subprocess
import sys
import time

from cloud import REGION, ROOT, CloudError, LocalCloud, clean_environment

STACK = "moderato-dev"
DEPLOY_BUCKET = "moderato-local-deploy"
DONE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
# Stack output -> name in the env files, which the `moderato` command reads.
VARIABLES = {
    "PostsQueueUrl": "POSTS_QUEUE_URL",
    "PostsDlqUrl": "POSTS_DLQ_URL",
    "TasksQueueUrl": "TASKS_QUEUE_URL",
    "ActionsQueueUrl": "ACTIONS_QUEUE_URL",
    "EscalationsQueueUrl": "ESCALATIONS_QUEUE_URL",
    "EscalationsDlqUrl": "ESCALATIONS_DLQ_URL",
    "DecisionsTable": "DECISIONS_TABLE",
    "FeaturesTable": "FEATURES_TABLE",
    "ArtifactsBucket": "ARTIFACTS_BUCKET",
    "DigestKeySecret": "DIGEST_KEY_SECRET",
    "ContentBucket": "CONTENT_BUCKET",
    "ContentBucketNames": "CONTENT_BUCKETS",
    "PublisherRoleArn": "PUBLISHER_ROLE",
    "ContentKeptDays": "CONTENT_DAYS",
    "QuarantineKeptDays": "QUARANTINE_DAYS",
    "ScoreFunction": "SCORE_FUNCTION",
    "ScoreLogs": "SCORE_LOGS",
    "EscalateFunction": "ESCALATE_FUNCTION",
    "EscalateLogs": "ESCALATE_LOGS",
}
FUNCTIONS = ("score", "escalate")
# Everything that what is deployed depends on; the binaries stand for the Rust code.
SOURCES = (
    "template.yaml",
    "samconfig.toml",
    "functions/score/Makefile",
    "functions/escalate/Makefile",
    "infra/assemble.sh",
    "infra/onnxruntime.sha256",
    "NOTICE",
    "LICENSE",
    "shared/scoring/models",
    ".tools/eyes",
)


def fingerprint(parameters: dict[str, str]) -> str:
    """Changes whenever a deployment would: sha256 over the names and bytes of all that goes into one."""
    return fingerprint_of([release_binary(name) for name in FUNCTIONS] + [ROOT / source for source in SOURCES], repr(sorted(parameters.items())))


def fingerprint_of(paths: list[pathlib.Path], more: str = "") -> str:
    """sha256 over the names and bytes of files and of all files in folders, and `more`. What is not there counts as nothing."""
    digest = hashlib.sha256(more.encode())
    for path in paths:
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            if file.exists():
                digest.update(f"{path.name}/{file.relative_to(path)}\0{file.stat().st_size}\0".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()


def release_binary(name: str = "score") -> pathlib.Path:
    """A program as `cargo build --release` leaves it."""
    return ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / name


def deploy(cloud: LocalCloud, say=print, parameters: dict[str, str] | None = None) -> bool:
    """Builds and deploys unless the same was deployed before. True when something was deployed.

    `parameters` of the template stand in for those of samconfig.toml.
    """
    stamp = cloud.folder / "deployed"
    wanted = fingerprint(parameters or {})
    status = stack_status(cloud)
    if status in DONE and stamp.exists() and stamp.read_text() == wanted:
        return False
    stamp.unlink(missing_ok=True)
    if status is not None and status not in DONE:
        say(f"    the stack is in state {status}; the local cloud starts over")
        cloud.reset()
    build = cloud.folder / "build"
    environment = clean_environment(cloud.endpoint) | {
        "PROFILE": "release",
        "ARCHITECTURE": "x86_64",
        "SAM_CLI_TELEMETRY": "0",
        "SAM_CLI_POLL_DELAY": "0.5",
        "__SAM_CLI_APP_DIR": str(cloud.folder / "sam"),
        "TMPDIR": str(cloud.folder / "tmp"),
    }
    (cloud.folder / "sam").mkdir(parents=True, exist_ok=True)
    sam = [str(pathlib.Path(sys.executable).parent / "sam")]
    _run(sam + ["build", "--config-env", "local", "--build-dir", str(build)], environment, cloud.folder / "sam-build.log", say)
    if DEPLOY_BUCKET not in [bucket["Name"] for bucket in cloud.client("s3").list_buckets()["Buckets"]]:
        cloud.client("s3").create_bucket(Bucket=DEPLOY_BUCKET)
    command = sam + ["deploy", "--config-file", str(ROOT / "samconfig.toml"), "--config-env", "local"]
    command += ["--template-file", str(build / "template.yaml")]
    if parameters:
        command += ["--parameter-overrides", *(f'{name}="{value}"' for name, value in parameters.items())]
    _run(command, environment, cloud.folder / "sam-deploy.log", say)
    stamp.write_text(wanted)
    return True


def _run(command: list[str], environment: dict[str, str], log: pathlib.Path, say) -> None:
    started = time.monotonic()
    with open(log, "wb") as out:
        code = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False).returncode
    if code != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-40:])
        raise CloudError(f"{tail}\n`sam {command[1]}` failed with status {code}; all it said: {log}")
    say(f"    sam {command[1]:<8} {time.monotonic() - started:5.1f} s")


def stack_status(cloud: LocalCloud) -> str | None:
    """State of the stack in CloudFormation's words, None when there is none."""
    from botocore.exceptions import ClientError

    try:
        return cloud.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"]
    except ClientError:
        return None


def outputs(cloudformation, stack: str) -> dict[str, str]:
    """The outputs of a stack by their names in the env files."""
    described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    found = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
    missing = [key for key in VARIABLES if key not in found]
    if missing:
        raise CloudError(f"stack `{stack}` lacks the outputs {', '.join(missing)}; deploy it again")
    return {variable: found[key] for key, variable in VARIABLES.items()}


def local_variables(cloud: LocalCloud) -> dict[str, str]:
    """What a program needs to talk to the local stack: outputs, endpoint, credentials that nobody checks."""
    return outputs(cloud.client("cloudformation"), STACK) | {
        "AWS_ENDPOINT_URL": cloud.endpoint,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }


def write_env(path: pathlib.Path, variables: dict[str, str]) -> None:
    """KEY=value lines, written whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    draft.replace(path)
