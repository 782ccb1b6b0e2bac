"""`make supply`, which `make lint` begins with, finds what is planted; the SBOM fits its schema; NOTICE is in the zip and names everything."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cloud import ROOT
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

sys.path[:0] = [str(ROOT / "infra"), str(ROOT / "infra/training")]
import fetch  # noqa: E402
import job  # noqa: E402
import pins  # noqa: E402
import sbom  # noqa: E402

CARD = json.loads((ROOT / "shared/scoring/models/minilm-cascade/card.json").read_text())
CRATE = '[package]\nname = "{name}"\nversion = "0.1.0"\nedition = "2021"\npublish = {publish}\n{licence}\n[dependencies]\n{dependencies}\n'
ADVISORY = """```toml
[advisory]
id = "RUSTSEC-2026-9999"
package = "itoa"
date = "2026-01-02"
[versions]
patched = []
```

# Planted by a test

It is not vulnerable.
"""


class Project:
    """A small project with our Makefile, checks and settings, whose one crate of others is itoa, as in our Cargo.lock."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("Makefile", "deny.toml", ".github/workflows/ci.yml", "infra/step.sh", "infra/advisories.sh", "infra/pins.py", "infra/endpoint/Dockerfile"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        settings = (folder / "deny.toml").read_text()
        (folder / "deny.toml").write_text(settings.replace("[advisories]\n", f'[advisories]\ndb-path = "{folder}/databases"\n'))
        (folder / ".tools").symlink_to(ROOT / ".tools")
        (folder / "src").mkdir()
        (folder / "src/lib.rs").touch()
        (entry,) = re.findall(r'\[\[package\]\]\nname = "itoa"\n(?:.+\n)+', (ROOT / "Cargo.lock").read_text())
        self.crate('itoa = "1"')
        ours = '[[package]]\nname = "ours"\nversion = "0.1.0"\ndependencies = [\n "itoa",\n]\n'
        (folder / "Cargo.lock").write_text(f"version = 4\n\n{entry}\n{ours}")
        self.database("itoa-is-fine", ADVISORY.replace("patched = []", 'patched = [">= 0.1.0"]'))

    def crate(self, dependencies, publish="false", licence=""):
        (self.folder / "Cargo.toml").write_text(CRATE.format(name="ours", publish=publish, licence=licence, dependencies=dependencies))

    def database(self, name, advisory):
        """An advisory database of the test's own, in the place of RustSec's."""
        database = self.folder / name
        (database / "crates/itoa").mkdir(parents=True)
        (database / "crates/itoa/RUSTSEC-2026-9999.md").write_text(advisory)
        git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org", "-C", str(database)]
        subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "-q", "-m", "planted"], check=True)
        self.address = f"file://{database}"

    def supply(self, **variables):
        """Runs `make supply` but for fetching the tools; gives status and all that it printed."""
        environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"CARGO_NET_OFFLINE": "true"} | variables
        # git, which cargo-deny calls, takes the test's database for RustSec's.
        environment |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{self.address}.insteadOf", "GIT_CONFIG_VALUE_0": "https://github.com/RustSec/advisory-db"}
        command = ["make", "-C", str(self.folder), "-o", "tools", "supply"]
        answer = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        return answer.returncode, answer.stdout


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def test_lint_begins_with_supply_and_nothing_is_found_where_nothing_is_planted(project):
    plan = subprocess.run(["make", "-C", str(ROOT), "-n", "-o", "tools", "lint"], capture_output=True, text=True, check=True).stdout
    for check in ("cargo-deny --locked check bans licenses sources", "infra/advisories.sh", "zizmor", "infra/pins.py", "clippy"):
        assert check in plan
    status, said = project.supply(CI="true")
    assert status == 0 and "advisories ok" in said, said


@pytest.mark.parametrize("kind", ["", 'informational = "unsound"\n', 'informational = "unmaintained"\n'])
def test_a_planted_advisory_is_a_failure(project, kind):
    project.database("planted", ADVISORY.replace("[versions]", f"{kind}[versions]"))
    status, said = project.supply()
    assert status != 0 and "RUSTSEC-2026-9999" in said, said


def test_advisories_that_cannot_be_fetched_are_said_here_and_fail_in_hosted_ci(project):
    project.address = f"file://{project.folder}/nowhere"
    status, said = project.supply()
    assert status == 0 and said.count("\n==> advisories NOT checked: the advisory database could not be fetched") == 1, said
    assert "\n==> workflows" in said, "lint goes on"
    status, said = project.supply(CI="true")
    assert status != 0 and "could not be fetched, so no crate was checked" in said, said


def test_a_crate_without_a_licence_is_a_failure(project):
    project.crate('itoa = "1"', publish="true")
    status, said = project.supply()
    assert status != 0 and "ours" in said and "unlicensed" in said, said


def test_a_crate_under_a_licence_that_asks_for_more_is_a_failure(project):
    project.crate('itoa = "1"', publish="true", licence='license = "AGPL-3.0-only"')
    status, said = project.supply()
    assert status != 0 and "AGPL-3.0" in said, said


def test_an_action_named_by_its_tag_is_a_failure(project):
    workflow = project.folder / ".github/workflows/ci.yml"
    workflow.write_text(re.sub(r"actions/cache@\w+ # \S+", "actions/cache@v5", workflow.read_text(), count=1))
    status, said = project.supply()
    assert status != 0 and "unpinned-uses" in said and "actions/cache@v5" in said, said


def test_an_image_named_by_its_tag_is_a_failure(project):
    dockerfile = project.folder / "infra/endpoint/Dockerfile"
    dockerfile.write_text(re.sub(r"(FROM rust:\S+)@sha256:\w+", r"\1", dockerfile.read_text()))
    status, said = project.supply()
    assert status != 0 and "infra/endpoint/Dockerfile:10: `rust:1.95-bookworm`" in said, said


DIGEST = "@sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (f"FROM a:1{DIGEST} AS one\nFROM one\nCOPY --from=one /x /x\nCOPY --from=0 /x /x\nFROM scratch\n", []),
        (f"ARG BASE=a:1{DIGEST}\nFROM --platform=linux/amd64 ${{BASE}} AS last\n", []),
        ("ARG BASE=a:1\nFROM $BASE\n", ["a:1"]),
        ("ARG BASE\nFROM $BASE\n", ["$BASE"]),
        ("from a:1 as one\n", ["a:1"]),
        ("FROM a:1@sha256:00\n", ["a:1@sha256:00"]),
        (f"FROM \\\n  a:1\nFROM a:1{DIGEST}\n", ["a:1"]),
        (f"FROM a{DIGEST}\nCOPY --from=b:2 /x /x\nRUN --mount=type=bind,from=c:3,target=/y true\n", ["b:2", "c:3"]),
        (f"# syntax=docker/dockerfile:1\n# docker build --build-arg BASE=d:4 .\nFROM a{DIGEST}\n", ["docker/dockerfile:1", "d:4"]),
        ("FROM one\nFROM two AS one\n", ["one", "two"]),
    ],
)
def test_images_are_found_however_they_are_written(text, wrong):
    assert [image for _, image in pins.images(text) if not pins.BY_DIGEST.fullmatch(image)] == wrong


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("Makefile", "x:\n\tpip install -r a.txt\n", True),
        ("a.sh", '"$venv/bin/pip" install uv==1\n', True),
        ("a.sh", "python -m pip download --no-deps x\n", True),
        ("a.sh", "python -m pip install --quiet \\\n  --require-hashes -r a.txt\n", False),
        ("a.yml", "- run: pip3 install x\n", True),
        ("Dockerfile.gpu", f"FROM a{DIGEST}\nRUN pip install x\n", True),
        ("gpu.Dockerfile", "FROM a:1\n", True),
        ("Containerfile", "FROM a:1\n", True),
        ("Dockerfile.dockerignore", "FROM a:1\n", False),
        ("a.in", "x==1\n", True),
        (".tools/a.sh", "pip install x\n", False),
    ],
)
def test_every_file_that_fetches_is_looked_into(tmp_path, name, text, found):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    assert bool(list(pins.faults(tmp_path))) is found


def test_every_package_that_is_wanted_is_locked_with_hashes():
    wanted = sorted((ROOT / "infra").rglob("*.in"))
    assert ROOT / "infra/training/requirements.in" in wanted
    for file in wanted:
        locked = re.split(r"\n(?=\S)", file.with_suffix(".txt").read_text())
        entries = {entry.split("==")[0]: entry for entry in locked if not entry.startswith("#")}
        assert all("--hash=sha256:" in entry for entry in entries.values()), file
        for line in file.read_text().splitlines():
            if line and not line.startswith("#"):
                name, _, version = line.partition("==")
                name = name.split("[")[0]
                assert entries[name].startswith(f"{name}=={version}"), f"{line} of {file}: run `make lock`"


@pytest.fixture(scope="module")
def document():
    return sbom.document()


def test_the_sbom_fits_the_schema_of_cyclonedx(document):
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert document["bomFormat"] == "CycloneDX" and document["specVersion"] == "1.6"
    assert validator.validate_str(json.dumps(document)) is None
    for wrong in ({"bomFormat": "SPDX"}, {"components": [{"name": "no type"}]}, {"more": 1}, {"serialNumber": "1"}):
        assert validator.validate_str(json.dumps(document | wrong)) is not None, f"{wrong} passes"


def test_the_sbom_names_all_that_ships(document, tmp_path):
    components = {component["bom-ref"]: component for component in document["components"]}
    below = {entry["ref"]: entry["dependsOn"] for entry in document["dependencies"]}
    assert len(components) == len(document["components"]) and below.keys() == components.keys() | {"project"}
    assert all(part in components for parts in below.values() for part in parts)

    def reach(name):
        (start,) = [ref for ref, component in components.items() if component["name"] == name and component["type"] == "application"]
        seen, todo = set(), [start]
        while todo:
            seen.add(ref := todo.pop())
            todo += set(below[ref]) - seen
        return {components[ref]["name"] for ref in seen}

    everywhere = {"ort", "tokio", "onnxruntime", "domain"}
    assert {"aws-sdk-sqs", "lambda_runtime", "minilm-cascade", *everywhere} <= reach("score")
    assert not reach("score") & {"image", "nudity.onnx"}, "the fast path has no decoder of images"
    assert {"image", "nudity.onnx", "ocr-recognise.onnx", "minilm-cascade", *everywhere} <= reach("escalate")
    assert "axum" in reach("endpoint") and {"clap", "aws-sdk-secretsmanager"} <= reach("moderato")
    names = {component["name"] for component in components.values()}
    assert not names & {"proptest", "bolero", "gungraun", "world"}, "what only tests use does not ship"
    assert all(component.get("licenses") for component in components.values())
    others = [component for component in components.values() if component.get("purl", "").startswith("pkg:cargo/")]
    assert len(others) > 200 and all(component["hashes"] for component in others)
    assert not [c["name"] for c in components.values() if c["type"] == "library" and "purl" not in c and not any((ROOT / "shared").glob(c["name"]))]
    digest = {file["name"]: file["hashes"][0]["content"] for file in components["model:minilm-cascade"]["components"]}
    model = json.loads((sbom.MODEL / "manifest.json").read_text())
    assert digest[model["transformer"]["model"]["file"]] == model["transformer"]["model"]["sha256"]
    assert components["model:minilm-cascade"]["hashes"][0]["content"] == CARD["model"]["sha256"]
    assert {source["file"] for source in CARD["data"]} == {c["name"] for c in components.values() if c["type"] == "data"}


def test_notice_names_every_corpus_with_its_licence_and_every_weight():
    notice = " ".join((ROOT / "NOTICE").read_text().split())
    for source in CARD["data"]:
        name = "hatexplain" if source["corpus"] == "hatexplain-train" else source["corpus"]
        line = re.search(rf"(?:^|\s){re.escape(name)} .{{1,160}}", notice)
        assert line and source["licence"] in line[0], f"NOTICE does not name the corpus `{name}` with `{source['licence']}`"
    for file, (package, licence) in sbom.EYES.items():
        assert file in notice and licence in notice
    assert sbom.BASE_MODEL[0].split("/")[1] in notice and "Apache-2.0" in notice


def test_notice_and_licences_are_in_the_zip(tmp_path):
    """assemble.sh as it is, over a build, tools and a check that are made up."""
    for name in ("infra/assemble.sh", "NOTICE", "LICENSE"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "shared/scoring/models/minilm-cascade", tmp_path / "shared/scoring/models/minilm-cascade")
    shutil.copytree(ROOT / ".tools/eyes", tmp_path / ".tools/eyes")
    made = {
        "infra/tools.sh": "", "infra/check_elf.sh": "",
        "bin/cargo": "mkdir -p target/ship; touch target/ship/score target/ship/escalate",
        ".tools/onnxruntime/libonnxruntime.so": "", ".tools/onnxruntime/ONNXRUNTIME-LICENSE": "", ".tools/onnxruntime/ONNXRUNTIME-ThirdPartyNotices.txt": "",
    }
    for name, script in made.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name not in ("CARGO_TARGET_DIR", "PROFILE", "ARCHITECTURE", "ZIG")}
    for function in ("score", "escalate"):
        folder = tmp_path / "zip" / function
        folder.mkdir(parents=True)
        command = [str(tmp_path / "infra/assemble.sh"), function, str(folder)]
        subprocess.run(command, env=environment | {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}, check=True, capture_output=True)
        for name in ("NOTICE", "LICENSE"):
            assert (folder / name).read_bytes() == (ROOT / name).read_bytes()
        assert (folder / "ONNXRUNTIME-LICENSE").exists() and (folder / "models/minilm-cascade/CARD.md").exists()
        # Every licence that NOTICE sends its reader to is there.
        named = set(re.findall(r"\b(?:ONNXRUNTIME|NUDITY|OCR)-[A-Za-z-]+(?:\.txt)?", (ROOT / "NOTICE").read_text()))
        there = {path.name for path in folder.rglob("*") if path.is_file()}
        assert (named <= there) if function == "escalate" else {name for name in named if name.startswith("ONNX")} <= there


def test_the_corpora_without_share_alike_are_those_that_the_card_calls_so(tmp_path):
    assert set(job.SHARE_ALIKE) == {source["file"] for source in CARD["data"] if "BY-SA" in source["licence"]}
    data, work = tmp_path / "data", tmp_path / "work"
    data.mkdir(), work.mkdir()
    for source in CARD["data"]:
        (data / source["file"]).write_bytes(gzip.compress(source["corpus"].encode()))
    folder = job.without_share_alike(data, work)
    kept = {path.name for path in folder.iterdir() if path.is_symlink()}
    assert kept == {source["file"] for source in CARD["data"]} - set(job.SHARE_ALIKE)
    # moderato wants this one; it has a row whose label is not read.
    rows = list(fetch.table(gzip.decompress((folder / "stormfront_vicomtech.csv.gz").read_bytes())))
    assert [row["label"] for row in rows] == ["relation"] and not any(rows[0][column] for column in rows[0] if column != "label")
    assert not [name for name in job.SHARE_ALIKE[1:] if (folder / name).exists()]
    assert job.without_share_alike(data, work) == folder, "a second start goes on"


def test_checkpoints_of_all_corpora_are_not_taken_for_the_variant(tmp_path):
    (tmp_path / "seed-1").mkdir()
    with pytest.raises(job.JobError, match="trained on all corpora"):
        job.without_share_alike(tmp_path, tmp_path)
