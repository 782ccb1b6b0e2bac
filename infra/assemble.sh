#!/usr/bin/env bash
# Builds the workspace once and lays out the zip of one function: assemble.sh FUNCTION FOLDER
#   PROFILE=ship|release   cargo profile. `ship` (default) is what goes to the cloud; `make up` uses `release`, which
#                          is also what `make test` compiles, so nothing is compiled twice.
#   ARCHITECTURE=x86_64|arm64   as in template.yaml
#   ZIG=1                  link with cargo-zigbuild against glibc 2.34: for building on a newer distribution than Debian 12,
#                          or for the other processor
set -euo pipefail
function=$1
folder=$2
cd "$(dirname "${BASH_SOURCE[0]}")/.."

profile=${PROFILE:-ship}
architecture=${ARCHITECTURE:-x86_64}
# A model is part of a zip: the bundled copy decides when the bucket has nothing else to say.
models=(minilm-cascade)

if [ "$architecture" = arm64 ]; then machine=aarch64; else machine=$architecture; fi
host=$(uname -m)
triple=$machine-unknown-linux-gnu

infra/tools.sh "$architecture"
if [ "$machine" = "$host" ]; then library=.tools/onnxruntime; else library=.tools/onnxruntime-$architecture; fi

output=${CARGO_TARGET_DIR:-target}
if [ -n "${ZIG:-}" ]; then
  build=(cargo zigbuild --target "$triple.2.34")
  output=$output/$triple
elif [ "$machine" != "$host" ]; then
  build=(cargo build --target "$triple")
  output=$output/$triple
else
  build=(cargo build)
fi
if [ "$profile" = release ]; then
  # Exactly what `make build` says: one package, or no tests, would turn on other features of
  # shared dependencies and compile them again.
  "${build[@]}" --locked --release --workspace --all-targets
else
  "${build[@]}" --locked --profile "$profile" --package "$function"
fi

rm -rf "$folder/models"
mkdir -p "$folder/models"
cp "$output/$profile/$function" "$folder/bootstrap"
cp "$library"/libonnxruntime.so "$library"/ONNXRUNTIME-* NOTICE LICENSE "$folder/"
for model in "${models[@]}"; do
  cp -r "shared/scoring/models/$model" "$folder/models/$model"
done
# What looks at images, for the one function that does.
if [ "$function" = escalate ] && [ -d .tools/eyes ]; then
  mkdir "$folder/models/eyes"
  cp .tools/eyes/* "$folder/models/eyes/"
fi
# The same bytes give the same zip, whenever they were built.
find "$folder" -exec touch --no-dereference --date=2026-01-01T00:00:00Z {} +

infra/check_elf.sh "$machine" "$profile" "$folder"
