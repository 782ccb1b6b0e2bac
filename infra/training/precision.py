"""What 8 bits change: the share of validation rows decided otherwise than in 32 bits, under the same calibration.

    python infra/training/precision.py --model shared/scoring/models/minilm-cascade --fp32 .local/training/export/transformer-fp32.onnx

Both graphs are scored by `moderato evaluate`, the one in 32 bits in a copy of the model's folder: linear model, calibration, vocabulary
and the bound from which the transformer is asked are the same. Rows are the pooled validation rows.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from scored import ROOT, moderato, scores


def in_32_bits(model, fp32, folder):
    """A copy of the model's folder with the graph `fp32` for its transformer."""
    copy = Path(folder) / "fp32"
    shutil.copytree(model, copy)
    manifest = json.loads((copy / "manifest.json").read_text(encoding="utf-8"))
    graph = Path(fp32).read_bytes()
    (copy / manifest["transformer"]["model"]["file"]).write_bytes(graph)
    manifest["transformer"]["model"]["sha256"] = hashlib.sha256(graph).hexdigest()
    (copy / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return copy


def flips(eight, full, bounds):
    """Shares of rows that the bounds (rising lower bounds of bands) put into another band, that 0.5 parts otherwise, and distances."""
    band = lambda p: np.searchsorted(bounds, p, side="right")
    return {"rows": len(eight), "decision": float(np.mean(band(eight) != band(full))), "at_0.5": float(np.mean((eight >= 0.5) != (full >= 0.5))),
            "distance": {"mean": float(np.abs(eight - full).mean()), "p99": float(np.quantile(np.abs(eight - full), 0.99)), "most": float(np.abs(eight - full).max())}}


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--model", type=Path, default=ROOT / "shared/scoring/models/minilm-cascade", help="the cascade's folder")
    args.add_argument("--fp32", type=Path, required=True, help="transformer-fp32.onnx, as export.py leaves it")
    args.add_argument("--data", type=Path, default=os.environ.get("MODERATO_DATA"), required="MODERATO_DATA" not in os.environ)
    args.add_argument("--every", type=int, default=1, help="one row in this many, for a quick look")
    args.add_argument("--json", type=Path, help="where to write the figures")
    args = args.parse_args()
    known = (json.loads((args.model / "card.json").read_text(encoding="utf-8")).get("transformer") or {}).get("fp32_sha256")
    if known != hashlib.sha256(args.fp32.read_bytes()).hexdigest():
        sys.exit(f"error: `{args.fp32}` is not the graph that this model was made from: its digest is not the card's `fp32_sha256`")
    rows = [row for row in map(json.loads, moderato("corpora", "--data", args.data).splitlines()) if row["part"] == "validation" and row["pooled"]][::args.every]
    print(f"{len(rows)} rows, twice", file=sys.stderr, flush=True)
    eight, told = scores(rows, args.model)
    with tempfile.TemporaryDirectory() as folder:
        full, _ = scores(rows, in_32_bits(args.model, args.fp32, folder))
    bounds = [band["from"] for band in told["bands"]][1:]
    found = {"schema": "precision/1", "model": told["model"], "fp32_sha256": known, "bounds": bounds, **flips(eight, full, bounds)}
    print(f"of {found['rows']} rows {found['decision']:.4f} are decided otherwise in 8 bits than in 32 (bounds {bounds}), {found['at_0.5']:.4f} at 0.5; "
          f"scores differ by {found['distance']['mean']:.4f} on average, {found['distance']['most']:.4f} at most")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
