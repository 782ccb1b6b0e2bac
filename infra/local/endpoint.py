"""The endpoint of `make up GPU=1`: the program of infra/endpoint on 127.0.0.1, as SageMaker runs it in a container.

Started, found again and stopped by its pid file, never by name. It keeps its port, so that the local AWS finds it again, and is
started anew when the program or its model has changed.
"""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

from cloud import ROOT, CloudError, environment_of, free_port
from deploy import fingerprint_of, release_binary

# The local AWS knows no SageMaker: a name is all that the function needs of one.
NAME = "moderato-local"
MODEL = ROOT / "shared" / "scoring" / "models" / "minilm-cascade"
EYES = ROOT / ".tools" / "eyes"
LIBRARY = ROOT / ".tools" / "onnxruntime" / "libonnxruntime.so"
START_SECONDS = 60
# The program answers what it holds before it goes.
STOP_SECONDS = 30


class LocalEndpoint:
    """One endpoint: `folder` holds its log, pid file and port; `program` is what runs."""

    def __init__(self, folder: pathlib.Path, program: pathlib.Path | None = None) -> None:
        self.folder = folder
        self.program = program or release_binary("endpoint")
        self.log = folder / "endpoint.log"
        self._pid_file = folder / "endpoint.pid"
        self._port_file = folder / "endpoint.port"

    @property
    def url(self) -> str:
        """Where the SDK finds it; it asks there for `/endpoints/NAME/invocations`."""
        return f"http://127.0.0.1:{self._port()}"

    def variables(self) -> dict[str, str]:
        """What tells the SDK of a function where the endpoint is."""
        return {"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": self.url}

    def start(self) -> bool:
        """Starts it, anew where what it runs has changed, unless it runs. True when it was started now."""
        mark = {"MODERATO_ENDPOINT_FOLDER": str(self.folder), "MODERATO_ENDPOINT_OF": fingerprint_of([self.program, MODEL, EYES, LIBRARY])}
        pid = self.pid()
        if pid is not None and environment_of(pid).get("MODERATO_ENDPOINT_OF") == mark["MODERATO_ENDPOINT_OF"] and self._healthy():
            return False
        self.stop()
        self.folder.mkdir(parents=True, exist_ok=True)
        if not _free(self._port()):
            self._port_file.unlink()
        command = [str(self.program), "serve", "--model", str(MODEL), "--onnxruntime", str(LIBRARY)]
        command += ["--bind", "127.0.0.1", "--port", str(self._port())]
        kept = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_HOME")
        environment = {name: os.environ[name] for name in kept if name in os.environ} | mark | {"ENDPOINT_EYES": str(EYES)}
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._pid_file.write_text(f"{process.pid}\n")
        deadline = time.monotonic() + START_SECONDS
        while not self._healthy():
            if process.poll() is not None:
                self._pid_file.unlink(missing_ok=True)
                raise CloudError(f"the endpoint stopped at once with status {process.returncode}; its log: {self.log}\n{self._tail()}")
            if time.monotonic() > deadline:
                self.stop()
                raise CloudError(f"the endpoint did not answer within {START_SECONDS} s; its log: {self.log}\n{self._tail()}")
            time.sleep(0.1)
        return True

    def stop(self) -> bool:
        """Stops it. True when it ran."""
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + STOP_SECONDS
            while self.pid() == pid:
                if time.monotonic() > deadline:
                    raise CloudError(f"process {pid} (the endpoint) does not stop; end it with: kill -9 {pid}")
                time.sleep(0.05)
        self._pid_file.unlink(missing_ok=True)
        return pid is not None

    def pid(self) -> int | None:
        """The process of our pid file, if it still is the endpoint that we started for this folder."""
        try:
            pid = int(self._pid_file.read_text())
        except (OSError, ValueError):
            return None
        return pid if environment_of(pid).get("MODERATO_ENDPOINT_FOLDER") == str(self.folder) else None

    def _port(self) -> int:
        if not self._port_file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._port_file.write_text(f"{free_port()}\n")
        return int(self._port_file.read_text())

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/ping", timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
