"""`sam local invoke` against the local AWS, which listens on 127.0.0.1 and so cannot be reached from a container.

While the function runs, connections to the Docker bridge's own address (the containers' side of this machine, nobody
else's) are passed on to it.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading

from cloud import ROOT, CloudError, LocalCloud, clean_environment
from deploy import local_variables

# The name of this machine in the image that infra/sam_local_image.sh makes.
HOST_NAME = "local-aws"
# Stands for the stack's bucket in the samples of events/.
SAMPLE_BUCKET = "moderato-dev-contentbucket-example"
# The queue in the samples of what goes to the escalate function.
ESCALATIONS = ":moderato-dev-escalations"


def invoke(cloud: LocalCloud, event: str) -> int:
    """Gives an event file to what `make up` built, with the names of what it deployed; the exit status of `sam`."""
    template = cloud.folder / "build" / "template.yaml"
    if cloud.pid() is None or not template.exists():
        raise CloudError("the local AWS is not running\n  start it with: make up")
    gateway = bridge_address()
    variables = local_variables(cloud)
    variables["DIGEST_KEY"] = cloud.client("secretsmanager").get_secret_value(SecretId=variables["DIGEST_KEY_SECRET"])["SecretString"]
    event_file = cloud.folder / "event.json"
    try:
        text = pathlib.Path(event).read_text().replace(SAMPLE_BUCKET, variables["CONTENT_BUCKET"])
        event_file.write_text(text)
    except OSError as error:
        raise CloudError(f"`{event}` cannot be read: {error.strerror}\n  samples are in events/") from error
    names = cloud.folder / "sam-env.json"
    function = "EscalateFunction" if ESCALATIONS in text else "ScoreFunction"
    names.write_text(json.dumps({function: variables}))
    command = [pathlib.Path(sys.executable).parent / "sam", "local", "invoke", function, "--event", event_file]
    command += ["--template-file", template, "--env-vars", names]
    command += ["--add-host", f"{HOST_NAME}:{gateway}", "--skip-pull-image"]
    environment = clean_environment(cloud.endpoint) | {"SAM_CLI_TELEMETRY": "0", "__SAM_CLI_APP_DIR": str(cloud.folder / "sam")}
    if "DOCKER_HOST" in os.environ:
        environment["DOCKER_HOST"] = os.environ["DOCKER_HOST"]
    with passed_on(gateway, cloud.port):
        return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def bridge_address() -> str:
    """This machine's address on Docker's default bridge."""
    if shutil.which("docker") is None:
        raise CloudError("`docker` is missing\n  infra/SAM_LOCAL.md says what this takes")
    command = ["docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != 0 or not answer.stdout.strip():
        raise CloudError(f"the Docker engine does not answer: {answer.stderr.strip()}\n  infra/SAM_LOCAL.md says how to start one")
    return answer.stdout.strip()


@contextlib.contextmanager
def passed_on(address: str, port: int):
    """Passes connections to `address`:`port` on to 127.0.0.1:`port` while the block runs."""
    with socket.create_server((address, port)) as server:
        threading.Thread(target=_accept, args=(server, port), daemon=True).start()
        yield


def _accept(server: socket.socket, port: int) -> None:
    while True:
        try:
            client, _ = server.accept()
            upstream = socket.create_connection(("127.0.0.1", port))
        except OSError:
            return
        for source, target in ((client, upstream), (upstream, client)):
            threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
