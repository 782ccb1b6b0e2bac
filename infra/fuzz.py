"""The long form of the fuzz targets: coverage-guided by libFuzzer, one after the other, with a table in the end.

    fuzz.py [--minutes 10] [TARGET]

cargo-bolero builds the harness of `cargo test` once more, instrumented, in target/fuzz/. It starts from the corpus in
the tree; what it finds on the way stays in .local/fuzz/. Needs a C++ compiler for libFuzzer itself.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Target: its package, its package's folder, the name of its test.
TARGETS = {
    "texts": ("features", "shared/features", "texts::fuzz_texts"),
    "conditions": ("features", "shared/features", "conditions::fuzz_conditions"),
    "policies": ("features", "shared/features", "policies::fuzz_policies"),
    "batches": ("runtime", "shared/runtime", "fuzz_batches"),
    "responses": ("runtime", "shared/runtime", "fuzz_responses"),
    "envelopes": ("score", "functions/score", "fuzz_envelopes"),
}
# Seeds that stand elsewhere in the tree.
SEEDS = {"policies": "shared/domain/policies"}
CRASHES = ("crash-", "timeout-", "oom-", "leak-")
PROGRESS_S = 30


def dictionary(words: pathlib.Path, into: pathlib.Path) -> list[str]:
    """The target's words as libFuzzer reads them; none where it has no file of them."""
    if not words.exists():
        return []
    escaped = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in json.loads(words.read_text()))
    into.write_text("".join(f'"{word}"\n' for word in escaped))
    return [f"-E=-dict={into}"]


def crashes(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(file for file in folder.iterdir() if file.name.startswith(CRASHES))


def fuzz(name: str, seconds: int) -> dict:
    """Runs one target and says what came of it."""
    package, folder, test = TARGETS[name]
    kept = ROOT / ".local" / "fuzz" / name
    corpus, found = kept / "corpus", kept / "crashes"
    for each in (corpus, found):
        each.mkdir(parents=True, exist_ok=True)
    tree = ROOT / folder / "tests/fuzz/__fuzz__" / name
    command = ["cargo", "bolero", "test", test, "--package", package, "--engine", "libfuzzer", "--sanitizer", "NONE"]
    command += ["--profile", "fuzz", "--target-dir", str(ROOT / "target/fuzz"), "-T", f"{seconds}s"]
    command += ["--corpus-dir", str(corpus), "--crashes-dir", str(found), "-E=-print_final_stats=1"]
    command += dictionary(tree / "words.json", kept / "dictionary")
    seeds = [tree / "corpus"] + [ROOT / SEEDS[name]] * (name in SEEDS)
    command += [f"-E={folder}" for folder in seeds if folder.is_dir()]

    result = {"runs": 0, "seconds": 0, "edges": 0, "status": 0}
    print(f"==> {name}: building", flush=True)
    log = (kept / "log").open("w")
    began = said = None
    # The long run goes on with the harness's own bounds; a panic of the tested code ends it with a crash file.
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env={**os.environ, "CARGO_TERM_COLOR": "never"})
    for line in process.stdout:
        log.write(line)
        if match := re.match(r"#(\d+)\s+\w+\s+cov: (\d+)", line):
            result["runs"], result["edges"] = int(match[1]), max(result["edges"], int(match[2]))
            now = time.monotonic()
            if began is None:
                began = said = now
                print(f"    {name}: fuzzing for {seconds} s", flush=True)
            elif now - said >= PROGRESS_S:
                said = now
                print(f"    {name}: {now - began:,.0f} s, {result['runs']:,} runs, {result['edges']:,} edges", flush=True)
        elif match := re.match(r"stat::number_of_executed_units:\s+(\d+)", line):
            result["runs"] = int(match[1])
    result["status"] = process.wait()
    log.close()
    result["seconds"] = 0 if began is None else round(time.monotonic() - began)
    result["crashes"] = crashes(found)
    files = [file for file in corpus.iterdir() if file.is_file()]
    result["corpus"] = f"{len(files):,} files, {sum(file.stat().st_size for file in files):,} bytes"
    if began is None:
        print((kept / "log").read_text()[-4000:], file=sys.stderr)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("target", nargs="?", choices=sorted(TARGETS))
    arguments = parser.parse_args()
    names = [arguments.target] if arguments.target else list(TARGETS)
    results = {name: fuzz(name, max(1, round(arguments.minutes * 60))) for name in names}
    print(f"\n{'target':<12}{'runs':>14}{'seconds':>9}{'runs/s':>9}{'edges':>8}{'crashes':>9}  corpus")
    for name, result in results.items():
        rate = result["runs"] / max(1, result["seconds"])
        crashed = len(result["crashes"])
        print(f"{name:<12}{result['runs']:>14,}{result['seconds']:>9,}{rate:>9,.0f}{result['edges']:>8,}{crashed:>9}  {result['corpus']}")
    for name, result in results.items():
        for file in result["crashes"]:
            print(f"{name}: {file.relative_to(ROOT)}; put it into the target's corpus/ and `cargo test --test fuzz` shows it")
        if result["status"] and not result["crashes"]:
            print(f"{name}: ended with status {result['status']}; .local/fuzz/{name}/log says why")
    return int(any(result["status"] or result["crashes"] for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
