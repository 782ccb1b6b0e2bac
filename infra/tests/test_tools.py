"""The scripts refuse what they must refuse, and say what to do."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
from cloud import ROOT, CloudError, LocalCloud, free_port
from deploy import fingerprint, fingerprint_of, release_binary

LIBRARY = ROOT / ".tools" / "onnxruntime" / "libonnxruntime.so"
MACHINE = os.uname().machine


def check_elf(folder, machine=MACHINE, profile="ship", **environment):
    command = [str(ROOT / "infra" / "check_elf.sh"), machine, profile, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)


@pytest.fixture
def zip_folder(tmp_path):
    shutil.copy(LIBRARY, tmp_path / "libonnxruntime.so")
    (tmp_path / "model.json").write_text("{}")
    return tmp_path


def test_library_fits_lambda(zip_folder):
    answer = check_elf(zip_folder)
    assert answer.returncode == 0, answer.stderr
    assert "libonnxruntime.so" in answer.stdout


def test_too_new_glibc_stops_the_shipping_build(zip_folder):
    answer = check_elf(zip_folder, GLIBC_FLOOR="2.10")
    assert answer.returncode == 1
    assert "newer glibc" in answer.stderr


def test_too_new_glibc_only_warns_in_the_local_build(zip_folder):
    answer = check_elf(zip_folder, profile="release", GLIBC_FLOOR="2.10")
    assert answer.returncode == 0
    assert "warning" in answer.stderr


def test_other_processor_is_refused(zip_folder):
    other = "aarch64" if MACHINE == "x86_64" else "x86_64"
    assert check_elf(zip_folder, machine=other).returncode == 1


def test_program_with_the_switch_for_planted_faults_does_not_ship(zip_folder):
    shutil.copy(release_binary(), zip_folder / "bootstrap")
    answer = check_elf(zip_folder)
    assert answer.returncode == 1
    assert "planted-faults" in answer.stderr
    assert check_elf(zip_folder, profile="release").returncode == 0


def test_folder_without_a_program_is_refused(tmp_path):
    assert check_elf(tmp_path).returncode == 1


@pytest.fixture
def poor_machine(tmp_path):
    """A PATH with the plain tools only; `add` puts more into it."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def add(*names, script=None):
        for name in names:
            if script is None:
                (folder / name).symlink_to(shutil.which(name))
            else:
                (folder / name).write_text(script)
                (folder / name).chmod(0o755)

    add("bash", "env", "dirname", "uname", "sha256sum", "cut", "cat", "mkdir", "awk", "grep", "rm")
    # tools.sh works in the folder above its own, so a copy leaves the project's .tools/ alone.
    project = tmp_path / "project" / "infra"
    project.mkdir(parents=True)
    for name in ("tools.sh", "requirements.txt", "onnxruntime.txt", "onnxruntime.sha256"):
        shutil.copy(ROOT / "infra" / name, project / name)

    def run():
        return subprocess.run([str(project / "tools.sh")], capture_output=True, text=True, env={"PATH": str(folder)}, check=False)

    return add, run


def test_missing_cargo_is_said(poor_machine):
    _, run = poor_machine
    answer = run()
    assert answer.returncode == 1
    assert "`cargo` is missing" in answer.stderr


def test_missing_compiler_is_said(poor_machine):
    add, run = poor_machine
    add("cargo", script="#!/bin/sh\n")
    assert "a C compiler is missing" in run().stderr


def test_missing_python_is_said(poor_machine):
    add, run = poor_machine
    add("cargo", "cc", "readelf", script="#!/bin/sh\n")
    assert "no Python 3.10 or newer" in run().stderr


def test_missing_venv_module_is_said(poor_machine):
    add, run = poor_machine
    add("cargo", "cc", "readelf", script="#!/bin/sh\n")
    add("python3", script='#!/bin/sh\ncase "$2" in *venv*) exit 1;; esac\necho Python 3.12\n')
    answer = run()
    assert answer.returncode == 1
    assert "has no venv module" in answer.stderr
    assert "python3-venv" in answer.stderr


def test_port_of_somebody_else_is_said(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(CloudError, match="is taken by another program"):
            LocalCloud(tmp_path, other.getsockname()[1]).start()


def test_pid_of_another_program_is_never_stopped(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (tmp_path / "ministack.pid").write_text(str(other.pid))
        assert LocalCloud(tmp_path, 1).stop() is False
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_state_outlives_a_stop_but_half_a_state_does_not_outlive_a_kill(tmp_path):
    cloud = LocalCloud(tmp_path, free_port())

    def queues():
        return [url.rsplit("/", 1)[1] for url in cloud.client("sqs").list_queues().get("QueueUrls", [])]

    def buckets():
        return [bucket["Name"] for bucket in cloud.client("s3").list_buckets()["Buckets"]]

    try:
        assert cloud.start() is True
        assert cloud.start() is False, "it was started twice"
        cloud.client("sqs").create_queue(QueueName="kept")
        cloud.client("s3").create_bucket(Bucket="kept")
        assert cloud.stop() is True
        cloud.start()
        assert (queues(), buckets()) == (["kept"], ["kept"])
        cloud.client("sqs").create_queue(QueueName="lost")
        os.kill(cloud.pid(), signal.SIGKILL)
        while cloud.pid() is not None:
            time.sleep(0.02)
        cloud.start()
        assert (queues(), buckets()) == ([], [])
    finally:
        cloud.stop()


def test_local_cloud_listens_on_loopback_only(tmp_path):
    cloud = LocalCloud(tmp_path, free_port())
    try:
        cloud.start()
        sockets = {os.readlink(link) for link in pathlib.Path(f"/proc/{cloud.pid()}/fd").iterdir() if link.is_symlink()}
        listening = []
        for table in ("tcp", "tcp6"):
            for line in pathlib.Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                    listening.append(fields[1].split(":")[0])
        assert listening and set(listening) == {"0100007F"}
    finally:
        cloud.stop()


def test_fingerprint_sees_what_a_deployment_would(tmp_path):
    program, folder = tmp_path / "program", tmp_path / "folder"
    folder.mkdir()
    program.write_text("a")
    seen = {fingerprint_of([program, folder])}
    for change in (lambda: program.write_text("b"), lambda: (folder / "model").write_text("a"), lambda: (folder / "model").rename(folder / "m")):
        change()
        seen.add(fingerprint_of([program, folder]))
    assert len(seen) == 4
    assert fingerprint_of([program, folder]) in seen
    assert fingerprint({"EndpointName": ""}) != fingerprint({"EndpointName": "moderato-local"})


def test_overrides_keep_the_rest_of_the_stage():
    command = [sys.executable, str(ROOT / "infra" / "parameters.py"), "prod", "Architecture=arm64", "Stage=prod"]
    words = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "Architecture=arm64" in words
    assert any(word.startswith("LogRetentionDays=") for word in words)


def test_another_value_of_a_parameter_is_another_release():
    def release(*overrides):
        command = [sys.executable, str(ROOT / "infra" / "parameters.py"), "prod", *overrides]
        words = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        (found,) = [word for word in words if word.startswith("Release=")]
        return found

    assert release("SecondOpinion=off") == release("SecondOpinion=off") != release("SecondOpinion=on")
    assert release("Release=mine") == "Release=mine"


def test_zip_is_small_enough_for_lambda():
    """250 MB unpacked is Lambda's limit; half of it is ours."""
    models = [ROOT / "shared/scoring/models", ROOT / ".tools/eyes"]
    built = [LIBRARY, *(p for folder in models for p in folder.rglob("*") if p.is_file())]
    assert sum(p.stat().st_size for p in built) < 125 * 1024 * 1024
