"""The local stack of `make up` and the outputs of a deployed one.

stack.py up              start MiniStack on 127.0.0.1:4566, deploy template.yaml to it, write .local/stack.env
stack.py down            stop it; what it holds is kept
stack.py forget          stop it and delete what it holds
stack.py invoke EVENT    give an event file to the function through `sam local invoke` (needs Docker, infra/SAM_LOCAL.md)
stack.py outputs STAGE   outputs of the stack moderato-STAGE in the real cloud into .local/STAGE.env
"""

from __future__ import annotations

import shutil
import sys
import time

from botocore.exceptions import BotoCoreError, ClientError

from cloud import ROOT, CloudError, LocalCloud
from deploy import deploy, local_variables, outputs, write_env
from invoke import invoke

FOLDER = ROOT / ".local"


def up(cloud: LocalCloud) -> None:
    started = time.monotonic()
    print(f"==> local AWS on {cloud.endpoint}", flush=True)
    fresh = cloud.start()
    print(f"    MiniStack {'started' if fresh else 'runs already'}, {time.monotonic() - started:.1f} s; log .local/ministack.log", flush=True)
    started = time.monotonic()
    print("==> template.yaml to it", flush=True)
    changed = deploy(cloud, say=lambda line: print(line, flush=True))
    write_env(FOLDER / "stack.env", local_variables(cloud))
    print(f"    {'deployed' if changed else 'nothing has changed since the last time'}, {time.monotonic() - started:.1f} s", flush=True)


def down(cloud: LocalCloud) -> None:
    print("local AWS stopped, its state is kept in .local/" if cloud.stop() else "no local AWS of ours is running")


def forget(cloud: LocalCloud) -> None:
    cloud.stop()
    shutil.rmtree(FOLDER, ignore_errors=True)
    print("local AWS stopped, its state deleted")


def cloud_outputs(stage: str) -> None:
    import boto3

    path = FOLDER / f"{stage}.env"
    cloudformation = boto3.client("cloudformation")
    write_env(path, outputs(cloudformation, f"moderato-{stage}") | {"AWS_REGION": cloudformation.meta.region_name})
    print(f"outputs of moderato-{stage} are in {path.relative_to(ROOT)}; use them with: moderato --stack-env {path.relative_to(ROOT)} ...")


def main(arguments: list[str]) -> int:
    cloud = LocalCloud(FOLDER, 4566)
    try:
        match arguments:
            case ["up"]:
                up(cloud)
            case ["down"]:
                down(cloud)
            case ["forget"]:
                forget(cloud)
            case ["invoke", event]:
                return invoke(cloud, event)
            case ["outputs", stage]:
                cloud_outputs(stage)
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except CloudError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError) as error:
        where = "the local AWS; its log: .local/ministack.log" if arguments[0] != "outputs" else "AWS; are credentials and region set?"
        print(f"error: {error}\n  while talking to {where}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
