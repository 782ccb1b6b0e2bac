"""The training script as a job: SageMaker's contract, with stand-ins for the steps that take hours."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Says what it was told, and writes what the real one writes.
STEP = """
import json, os, pathlib, signal, sys, time
here, name, args = pathlib.Path(__file__).parent, pathlib.Path(__file__).stem, sys.argv[1:]
with open(here / "calls.jsonl", "a") as calls:
    calls.write(json.dumps([name, *args]) + chr(10))
if (here / f"{name}.fails").exists():
    sys.exit(3)
if (here / f"{name}.waits").exists():
    signal.signal(signal.SIGTERM, lambda *_: ((here / "saved").touch(), os._exit(143)))
    (here / "waiting").touch()
    time.sleep(60)
value = lambda option: pathlib.Path(args[args.index(option) + 1])
if name == "train":
    folder = value("--out") / ("seed-" + args[args.index("--seed") + 1]) / ("hardened" if "--harden" in args else "")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.pt").touch()
elif name == "augment":
    value("--json").touch()
elif name in ("parts", "early"):
    value("--out").mkdir(parents=True, exist_ok=True)
    (value("--out") / "model.pt").touch()
elif name == "seeds":
    value("--json").write_text("{}")
elif name == "moderato":
    value("--out").mkdir(parents=True, exist_ok=True)
    (value("--out") / "card.json").write_text("{}")
"""


@pytest.fixture
def container(tmp_path):
    """`steps` beside a copy of the scripts, `root` as SageMaker lays it out; `calls()`, `start()`."""
    steps, root = tmp_path / "steps", tmp_path / "ml"
    steps.mkdir()
    for name in ("job", "fetch"):
        (steps / f"{name}.py").write_text((ROOT / f"infra/training/{name}.py").read_text())
    for name in ("train", "export", "seeds", "parts", "early", "augment"):
        (steps / f"{name}.py").write_text(STEP)
    (steps / "moderato").write_text(f"#!{sys.executable}\n{STEP}")
    (steps / "moderato").chmod(0o755)
    (root / "input/config").mkdir(parents=True)
    (root / "input/data/corpora").mkdir(parents=True)

    class Container:
        @staticmethod
        def calls(name=None):
            file = steps / "calls.jsonl"
            calls = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
            return [call for call in calls if name in (None, call[0])]

        @staticmethod
        def start(hyperparameters, wait=True):
            (root / "input/config/hyperparameters.json").write_text(json.dumps(hyperparameters))
            command = [sys.executable, str(steps / "job.py"), "train", "--root", str(root)]
            process = subprocess.Popen(command, env=os.environ | {"MODERATO": str(steps / "moderato")}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            return (process.communicate()[0], process.returncode) if wait else process

    Container.steps, Container.root = steps, root
    return Container


def test_a_job_trains_every_seed_and_leaves_the_models(container):
    told, status = container.start({"seeds": "4 5", "epochs": "3", "rate": "1e-4"})
    assert status == 0, told
    steps = ["train", "train", "train", "train", "export", "augment", "moderato", "export", "moderato", "seeds", "export", "moderato"]
    assert [call[0] for call in container.calls()] == steps
    checkpoints = str(container.root / "checkpoints")
    assert container.calls("train")[0] == ["train", "--seed", "4", "--out", checkpoints, "--epochs", "3.0", "--rate", "0.0001"]
    assert container.calls("moderato")[0][:4] == ["moderato", "train", "--data", str(container.root / "input/data/corpora")]
    assert {path.name for path in (container.root / "model").iterdir()} == {"seed-4", "seed-5", "mean", "seeds.json"}
    checkpoint = f"{checkpoints}/seed-4"
    assert container.calls("train")[1][5:8] == ["--start", f"{checkpoint}/model.pt", "--harden"]
    assert container.calls("export")[0][1] == f"{checkpoint}/hardened", "a seed's own card is of its hardened checkpoint"
    parts = [f"{checkpoints}/seed-{seed}{part}" for seed in (4, 5) for part in ("", "/hardened")]
    assert container.calls("export")[2][1:5] == parts, "what serves is the mean of all of them"
    assert (container.root / "model/seed-5/card.json").exists()


def test_with_everyday_english_the_mean_is_trained_on_parts_of_texts(container):
    (container.root / "input/data/corpora/sms_spam.csv.gz").touch()
    told, status = container.start({"seeds": "4"})
    assert status == 0, told
    work = container.root / "checkpoints"
    assert [call[-1] for call in container.calls("parts")] == ["5", "4e-5", "3e-5", "3e-5"]
    assert container.calls("parts")[2][2:5] == [f"{work}/seed-4/model.pt=0.15", f"{work}/seed-4/hardened/model.pt=0.15", f"{work}/parts-2/model.pt=0.7"]
    assert container.calls("early")[0][1] == f"{work}/parts-4"
    assert container.calls("export")[1][1:3] == [f"{work}/early", "--vocabulary"], "what serves is what was trained on parts, with a first look"


@pytest.mark.parametrize("wrong", [{"speed": "9"}, {"epochs": "many"}, {"seeds": "one"}, {"seeds": ""}])
def test_a_hyperparameter_that_is_not_understood_is_a_failure_with_its_reason(container, wrong):
    told, status = container.start(wrong)
    assert status == 1 and container.calls() == [], told
    reason = (container.root / "output/failure").read_text()
    assert next(iter(wrong)) in reason and len(reason) <= 1024


def test_a_step_that_fails_is_the_reason_and_a_later_start_begins_there(container):
    (container.steps / "export.fails").touch()
    _, status = container.start({"seeds": "4"})
    assert status == 1 and "to 8 bits" in (container.root / "output/failure").read_text()
    (container.steps / "export.fails").unlink()
    _, status = container.start({"seeds": "4 6"})
    assert status == 0 and [call[2] for call in container.calls("train")] == ["4", "4", "6", "6"], "what is trained is not trained again"


def test_a_spot_interruption_is_passed_on_and_nothing_is_done_after_it(container):
    (container.steps / "train.waits").touch()
    process = container.start({"seeds": "4"}, wait=False)
    deadline = time.monotonic() + 60
    while not (container.steps / "waiting").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    told, status = process.communicate()[0], process.returncode
    assert status == 143 and (container.steps / "saved").exists() and "goes on from the checkpoints" in told
    assert not (container.root / "output/failure").exists(), "an interruption is no failure"
    assert [call[0] for call in container.calls()] == ["train"]


def test_corpora_are_those_named_or_an_error_that_says_what_is_missing(container, tmp_path):
    (tmp_path / "edos_sexism.csv.gz").touch()
    command = [sys.executable, str(container.steps / "job.py"), "--seeds", "1"]
    answer = subprocess.run(command, env=os.environ | {"MODERATO_DATA": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert answer.returncode == 1 and container.calls() == []
    assert "lacks hatexplain_train_text_label.csv.gz" in answer.stderr and "edos" not in answer.stderr


def test_here_the_mean_of_the_seeds_is_taken_into_use(container, tmp_path):
    from test_fetch import fetch

    for made in fetch.MADE:
        (tmp_path / made.file).touch()
    command = [sys.executable, str(container.steps / "job.py"), "--seeds", "2", "1", "--out", str(tmp_path / "out"), "--take", str(tmp_path / "live"), "--epochs", "0.5"]
    answer = subprocess.run(command, env=os.environ | {"MODERATO_DATA": str(tmp_path), "MODERATO": str(container.steps / "moderato")}, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert container.calls("train")[0][-2:] == ["--epochs", "0.5"]
    assert (tmp_path / "live/card.json").exists() and "mean of the seeds" in answer.stdout


def test_without_share_alike_every_step_sees_the_other_corpora_alone(container, tmp_path):
    from test_fetch import fetch

    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    for made in fetch.MADE:
        (data / made.file).touch()
    command = [sys.executable, str(container.steps / "job.py"), "--seeds", "2", "--out", str(out)]
    environment = os.environ | {"MODERATO_DATA": str(data), "MODERATO": str(container.steps / "moderato")}
    answer = subprocess.run([*command, "--without-share-alike"], env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert container.calls("moderato")[0][:4] == ["moderato", "train", "--data", str(out / "corpora")]
    assert {file.name for file in (out / "corpora").iterdir()} == {made.file for made in fetch.MADE}
    assert not (out / "corpora/stormfront_vicomtech.csv.gz").is_symlink()
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 1 and "give another folder by --out" in answer.stderr, "its checkpoints are no other model's"
