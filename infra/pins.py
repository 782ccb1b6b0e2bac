"""What is fetched is named by digest: base images in Dockerfiles, and Python packages wherever pip is called.

    python infra/pins.py [FOLDER]      # the project, or another folder laid out alike

Prints each place where that is not so; exit status 1 if there is one. Actions in workflows are zizmor's business (`make supply`).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Not ours, or not in the repository.
SKIPPED = {".git", ".tools", ".local", ".aws-sam", "target", "__pycache__", ".pytest_cache"}
BY_DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}")
PIP = re.compile(r"(?:\bpip3?\b[\"']?|-m[\"', ]+pip[\"',]*) +[\"']?(?:install|download)\b")


def files(root: Path):
    """Every file of the project, by name."""
    for path in sorted(root.iterdir()):
        if path.is_dir() and not path.is_symlink():
            if path.name not in SKIPPED:
                yield from files(path)
        elif path.is_file():
            yield path


def joined(text: str):
    """Lines with their number, those that a backslash carries on as one; with comments, since these hold commands to copy."""
    number, line = 1, ""
    for at, part in enumerate(text.splitlines(), 1):
        line += part
        if line.endswith("\\"):
            line = line[:-1] + " "
            continue
        yield number, line
        number, line = at + 1, ""
    if line:
        yield number, line


def images(text: str):
    """Images that a Dockerfile builds upon or copies from, with the line: arguments by their defaults, stages of its own left out."""
    defaults, stages = {}, set()
    fill = lambda word: re.sub(r"\$\{?(\w+)\}?", lambda name: defaults.get(name[1], name[0]), word)
    for number, line in joined(text):
        words = line.split()
        for image in re.findall(r"--build-arg +BASE=(\S+)", line):
            yield number, image
        if syntax := re.match(r"# *syntax *= *(\S+)", line):
            yield number, syntax[1]
        if not words or words[0].startswith("#"):
            continue
        order = words[0].upper()
        if order == "ARG" and "=" in line:
            name, _, value = words[1].partition("=")
            defaults[name] = value.strip("\"'")
        if order == "FROM":
            image, *stage = [word for word in words[1:] if not word.startswith("--")]
            used, stage = [image], stage[-1:]
        else:
            used, stage = re.findall(r"(?:--from=|,from=)([^\s,]+)", line), []
        for image in map(fill, used):
            if image not in stages | {"scratch"} and not image.isdecimal():
                yield number, image
        stages.update(stage)


def faults(root: Path):
    """Each place where something is fetched by name only, as `file:line: what to do`."""
    for path in files(root):
        name = path.relative_to(root)
        docker = bool({"Dockerfile", "Containerfile"} & set(path.name.split("."))) and path.suffix != ".dockerignore"
        if docker:
            for number, image in images(path.read_text(encoding="utf-8")):
                if not BY_DIGEST.fullmatch(image):
                    yield f"{name}:{number}: `{image}` is named without its digest: write NAME:TAG@sha256:…"
        if docker or path.name == "Makefile" or path.suffix in (".sh", ".yml", ".yaml"):
            for number, line in joined(path.read_text(encoding="utf-8")):
                if PIP.search(line) and "--require-hashes" not in line:
                    yield f"{name}:{number}: pip is called without --require-hashes: install from a file that `make lock` wrote"
        if path.suffix == ".in" and not path.with_suffix(".txt").exists():
            yield f"{name}: there is no {path.with_suffix('.txt').name}: add it to infra/lock.sh and run `make lock`"


def main() -> int:
    found = list(faults(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT))
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
