"""The endpoint of `make up GPU=1` as a process, with a stand-in for the program."""

import json
import os
import pathlib
import shutil
import socket
import time
import subprocess
import sys
import urllib.request

import pytest
from cloud import CloudError, LocalCloud, environment_of, free_port
from endpoint import NAME, LocalEndpoint

STUB = pathlib.Path(__file__).parent / "endpoint_stub.py"


@pytest.fixture
def endpoint(tmp_path):
    """An endpoint that runs a copy of the stand-in, which tests may change."""
    program = tmp_path / "program"
    shutil.copy(STUB, program)
    one = LocalEndpoint(tmp_path / "local", program)
    yield one
    one.stop()


def again(endpoint):
    """The same endpoint, as the next command finds it."""
    return LocalEndpoint(endpoint.folder, endpoint.program)


def test_it_is_started_once_and_found_again(endpoint):
    assert endpoint.start() is True
    pid, url = endpoint.pid(), endpoint.url
    assert (again(endpoint).start(), again(endpoint).pid(), again(endpoint).url) == (False, pid, url)
    assert (again(endpoint).stop(), endpoint.pid()) == (True, None)
    assert again(endpoint).stop() is False


def taken(port: int) -> socket.socket:
    """Somebody on the port; a connection of another program may have it for a moment, since it is one of those that come by chance."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_it_keeps_its_port_unless_somebody_took_it(endpoint):
    endpoint.start()
    url = endpoint.url
    endpoint.stop()
    endpoint.start()
    assert endpoint.url == url
    endpoint.stop()
    with taken(int(url.rsplit(":", 1)[1])):
        endpoint.start()
        assert endpoint.url != url


def test_another_program_is_started_anew(endpoint):
    endpoint.start()
    pid = endpoint.pid()
    endpoint.program.write_text(endpoint.program.read_text() + "# changed\n")
    assert endpoint.start() is True
    assert endpoint.pid() not in (None, pid)


def test_it_answers_where_the_sdk_asks(endpoint):
    endpoint.start()
    (address,) = endpoint.variables().values()
    request = urllib.request.Request(f"{address}/endpoints/{NAME}/invocations", data=b'{"instances":[{"text":"a"},{"text":"b"}]}')
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert len(json.load(answer)["predictions"]) == 2


def test_a_program_that_ends_at_once_is_said_with_its_log(endpoint):
    endpoint.program.write_text("#!/bin/sh\necho no model\nexit 3\n")
    with pytest.raises(CloudError, match="status 3(.|\n)*no model"):
        endpoint.start()
    assert endpoint.pid() is None


def test_pid_of_another_program_is_never_stopped(endpoint):
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        endpoint.folder.mkdir(parents=True)
        (endpoint.folder / "endpoint.pid").write_text(str(other.pid))
        assert endpoint.stop() is False
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_nothing_of_this_environment_reaches_it(endpoint):
    os.environ["AWS_SECRET_ACCESS_KEY"] = "canary"
    try:
        endpoint.start()
    finally:
        del os.environ["AWS_SECRET_ACCESS_KEY"]
    assert "canary" not in environment_of(endpoint.pid()).values()


def test_local_cloud_starts_anew_to_learn_where_the_endpoint_is(tmp_path):
    cloud = LocalCloud(tmp_path, free_port())
    here = {"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": "http://127.0.0.1:1"}
    try:
        assert cloud.start() is True
        cloud.client("sqs").create_queue(QueueName="kept")
        assert cloud.start(here) is True
        assert here.items() <= environment_of(cloud.pid()).items()
        assert cloud.client("sqs").list_queues()["QueueUrls"], "what it held is lost"
        assert (cloud.start(here), cloud.start()) == (False, False)
    finally:
        cloud.stop()
