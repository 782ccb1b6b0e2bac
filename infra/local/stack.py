"""The local stack of `make up` and the outputs of a deployed one.

stack.py up              start MiniStack on 127.0.0.1:4566, deploy template.yaml to it, write .local/stack.env
stack.py up --endpoint   as well, with the program of infra/endpoint as the SageMaker endpoint of the stack
stack.py down            stop them; what MiniStack holds is kept
stack.py forget          stop them and delete what it holds
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
from endpoint import NAME, LocalEndpoint
from invoke import invoke

FOLDER = ROOT / ".local"


def up(cloud: LocalCloud, endpoint: LocalEndpoint, wanted: bool) -> None:
    if wanted:
        started = time.monotonic()
        print(f"==> endpoint on {endpoint.url}", flush=True)
        fresh = endpoint.start()
        print(f"    {'started' if fresh else 'runs already'}, {time.monotonic() - started:.1f} s; log .local/endpoint.log", flush=True)
    elif endpoint.stop():
        print("    the endpoint of make up GPU=1 is stopped", flush=True)
    started = time.monotonic()
    print(f"==> local AWS on {cloud.endpoint}", flush=True)
    fresh = cloud.start(endpoint.variables() if wanted else None)
    print(f"    MiniStack {'started' if fresh else 'runs already'}, {time.monotonic() - started:.1f} s; log .local/ministack.log", flush=True)
    started = time.monotonic()
    print("==> template.yaml to it", flush=True)
    # Named in either case: a parameter that is not keeps what it was.
    parameters = {"Stage": "dev", "ScoreConcurrency": "0", "EndpointName": NAME if wanted else ""}
    changed = deploy(cloud, say=lambda line: print(line, flush=True), parameters=parameters)
    write_env(FOLDER / "stack.env", local_variables(cloud))
    print(f"    {'deployed' if changed else 'nothing has changed since the last time'}, {time.monotonic() - started:.1f} s", flush=True)


def down(cloud: LocalCloud, endpoint: LocalEndpoint) -> None:
    if endpoint.stop():
        print("endpoint stopped")
    print("local AWS stopped, its state is kept in .local/" if cloud.stop() else "no local AWS of ours is running")


def forget(cloud: LocalCloud, endpoint: LocalEndpoint) -> None:
    endpoint.stop()
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
    cloud, endpoint = LocalCloud(FOLDER, 4566), LocalEndpoint(FOLDER)
    try:
        match arguments:
            case ["up"]:
                up(cloud, endpoint, wanted=False)
            case ["up", "--endpoint"]:
                up(cloud, endpoint, wanted=True)
            case ["down"]:
                down(cloud, endpoint)
            case ["forget"]:
                forget(cloud, endpoint)
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
