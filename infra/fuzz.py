"""The long form of the fuzz targets: coverage-guided by libFuzzer, one after the other, with a table in the end.

    fuzz.py [--minutes 10] [TARGET]

The harness is that of `cargo test`, built once more, instrumented, in target/fuzz/. It starts from the corpus in the
tree; what it finds on the way stays in .local/fuzz/. Needs a C++ compiler for libFuzzer itself. The flags and variables
are those of `cargo bolero test --engine libfuzzer --sanitizer NONE`, which builds every binary of a package so, and
those without a harness do not link.
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
# Target: its package, and the name of its test in the package's tests/fuzz/.
TARGETS = {
    "envelopes": ("features", "envelopes::fuzz_envelopes"),
    "sides": ("features", "sides::fuzz_sides"),
    "policies": ("features", "policies::fuzz_policies"),
    "conditions": ("features", "conditions::fuzz_conditions"),
    "expressions": ("features", "conditions::fuzz_expressions"),
    "banks": ("features", "banks::fuzz_banks"),
    "patterns": ("features", "banks::fuzz_patterns"),
    "texts": ("features", "texts::fuzz_texts"),
    "animations": ("opinion", "fuzz_animations"),
    "batches": ("runtime", "fuzz_batches"),
    "responses": ("runtime", "fuzz_responses"),
}
FLAGS = (
    "--cfg fuzzing --cfg fuzzing_libfuzzer -Cpasses=sancov-module"
    " -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-pc-table"
    " -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-sanitizer-coverage-stack-depth"
)
# Seeds that stand elsewhere in the tree.
SEEDS = {"policies": ["shared/domain/policies"], "banks": ["shared/domain/policies/examples"]}
CRASHES = ("crash-", "timeout-", "oom-", "leak-")
PROGRESS_S = 30


def build(package: str) -> str:
    """The instrumented harness of a package."""
    host = next(line.split()[1] for line in subprocess.check_output(["rustc", "-vV"], text=True).splitlines() if line.startswith("host:"))
    # With a target named, build scripts and macros are not instrumented.
    command = ["cargo", "test", "--locked", "--package", package, "--test", "fuzz", "--profile", "fuzz", "--target", host]
    command += ["--target-dir", str(ROOT / "target/fuzz"), "--no-run", "--message-format", "json-render-diagnostics"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "RUSTFLAGS": FLAGS})
    executables = [json.loads(line).get("executable") for line in built.stdout.splitlines() if line.startswith("{")]
    return next(executable for executable in executables if executable)


def dictionary(words: pathlib.Path, into: pathlib.Path) -> list[str]:
    """The target's words as libFuzzer reads them; none where it has no file of them."""
    if not words.exists():
        return []
    escaped = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in json.loads(words.read_text()))
    into.write_text("".join(f'"{word}"\n' for word in escaped))
    return [f"-dict={into}"]


def crashes(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(file for file in folder.iterdir() if file.name.startswith(CRASHES))


def fuzz(name: str, seconds: int) -> dict:
    """Runs one target and says what came of it."""
    package, test = TARGETS[name]
    kept = ROOT / ".local/fuzz" / name
    corpus, found = kept / "corpus", kept / "crashes"
    for each in (corpus, found):
        each.mkdir(parents=True, exist_ok=True)
    tree = ROOT / "shared" / package / "tests/fuzz/__fuzz__" / name
    folders = [corpus, found, tree / "corpus"] + [ROOT / seeds for seeds in SEEDS.get(name, [])]
    arguments = [str(folder) for folder in folders if folder.is_dir()]
    # Ten seconds for one input, far above the bounds that the harness itself keeps.
    arguments += [f"-artifact_prefix={found}/", "-timeout=10", f"-max_total_time={seconds}", "-print_final_stats=1"]
    arguments += dictionary(tree / "words.json", kept / "dictionary")
    print(f"==> {name}: building", flush=True)
    command = [build(package), test, "--exact", "--nocapture", "--quiet", "--test-threads", "1"]
    variables = {"BOLERO_TEST_NAME": test, "BOLERO_LIBTEST_HARNESS": "1", "BOLERO_LIBFUZZER_ARGS": " ".join(arguments)}

    result = {"runs": 0, "seconds": 0, "edges": 0, "status": 0}
    log = (kept / "log").open("w")
    began = said = None
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env={**os.environ, **variables})
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
