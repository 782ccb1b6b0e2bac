"""A local AWS (MiniStack) in a process of its own: started, found again and stopped by its pid file, never by name.

Everything it keeps lies in one folder, it listens on 127.0.0.1 only, and what it keeps survives a stop.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

REGION = "us-east-1"
ROOT = pathlib.Path(__file__).resolve().parents[2]


class CloudError(Exception):
    """What went wrong and what to do, for a person."""


def clean_environment(endpoint: str) -> dict[str, str]:
    """The environment of everything local: nobody's real credentials, profiles or settings of AWS reach it."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "USER", "TERM")
    # What changes how cargo compiles is kept too, or `sam build` would compile again what `make` has compiled.
    environment = {name: value for name, value in os.environ.items() if name in kept or name.startswith(("CARGO", "RUST", "CC", "CFLAGS"))}
    environment.update(
        AWS_ENDPOINT_URL=endpoint,
        AWS_REGION=REGION,
        AWS_DEFAULT_REGION=REGION,
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        AWS_CONFIG_FILE="/dev/null",
        AWS_SHARED_CREDENTIALS_FILE="/dev/null",
        AWS_EC2_METADATA_DISABLED="true",
    )
    return environment


class LocalCloud:
    """One MiniStack: `folder` holds its state, log and pid file, `port` is where it listens on 127.0.0.1."""

    def __init__(self, folder: pathlib.Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.endpoint = f"http://127.0.0.1:{port}"
        self.log = folder / "ministack.log"
        self._pid_file = folder / "ministack.pid"
        self._clients: dict = {}

    def start(self, more: dict[str, str] | None = None) -> bool:
        """Starts it unless it runs. True when it was started now.

        `more` is environment that functions inherit; one that runs without it is started anew.
        """
        more = more or {}
        pid = self.pid()
        if pid is not None and self._healthy():
            if more.items() <= environment_of(pid).items():
                return False
            self.stop()
        if _stays_taken(self.port):
            raise CloudError(
                f"port {self.port} on 127.0.0.1 is taken by another program (another local AWS perhaps)\n"
                f"  find it with: ss -ltnp 'sport = :{self.port}'; stop it, then run the same command again"
            )
        if self._pid_file.exists():
            # It was killed, not stopped: objects were saved and the rest was not. Half a state is worse than none.
            self._forget()
        temporary = self.folder / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        environment = clean_environment(self.endpoint) | {
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            # Both would listen on every address of the machine.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(self.folder / "state"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(self.folder / "s3"),
            "TMPDIR": str(temporary),
            "LOG_LEVEL": "WARNING",
            # Functions inherit this; it arms the hook that lets a test post make the code panic. Local only.
            "MODERATO_TEST_PANIC": "1",
        } | more
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "ministack"],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._pid_file.write_text(f"{process.pid}\n")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if process.poll() is not None:
                self._pid_file.unlink(missing_ok=True)
                raise CloudError(f"MiniStack stopped at once with status {process.returncode}; its log: {self.log}\n{self._tail()}")
            if self._healthy():
                return True
            time.sleep(0.1)
        self.stop()
        raise CloudError(f"MiniStack did not answer within 30 s; its log: {self.log}\n{self._tail()}")

    def stop(self) -> bool:
        """Stops it cleanly, so that it saves its state. True when it ran."""
        pid = self.pid()
        if pid is None:
            self._pid_file.unlink(missing_ok=True)
            return False
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 30
        while self.pid() == pid:
            if time.monotonic() > deadline:
                raise CloudError(f"process {pid} (MiniStack) does not stop; end it with: kill -9 {pid} (its state is then lost)")
            time.sleep(0.1)
        self._pid_file.unlink(missing_ok=True)
        return True

    def pid(self) -> int | None:
        """The process of our pid file, if it still is the MiniStack that we started for this folder."""
        try:
            pid = int(self._pid_file.read_text())
        except (OSError, ValueError):
            return None
        return pid if environment_of(pid).get("STATE_DIR") == str(self.folder / "state") else None

    def client(self, service: str):
        """A boto3 client of this cloud."""
        import boto3

        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,
                endpoint_url=self.endpoint,
                region_name=REGION,
                aws_access_key_id="test",
                aws_secret_access_key="test",
            )
        return self._clients[service]

    def reset(self) -> None:
        """Forgets everything: stacks, queues, tables, objects."""
        urllib.request.urlopen(urllib.request.Request(f"{self.endpoint}/_ministack/reset", method="POST"), timeout=30).close()

    def _forget(self) -> None:
        if any((self.folder / name).exists() for name in ("state", "s3")):
            print("    the local AWS was not stopped by `make down` last time: what it held is lost, starting over", flush=True)
        for name in ("state", "s3", "tmp"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        self._pid_file.unlink(missing_ok=True)

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint}/_ministack/health", timeout=1) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


def environment_of(pid: int) -> dict[str, str]:
    """The environment that a process was started with; empty where there is none or it has ended."""
    try:
        entries = pathlib.Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
        ended = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (OSError, IndexError):
        return {}
    return {} if ended else dict(entry.partition("=")[::2] for entry in entries if entry)


def _somebody_listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _stays_taken(port: int) -> bool:
    """Whether somebody listens, and still does after two seconds: one that was just killed may not be gone yet."""
    deadline = time.monotonic() + 2
    while _somebody_listens(port):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.1)
    return False


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
