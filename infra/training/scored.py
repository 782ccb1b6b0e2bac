"""Scores of single rows by the code that serves, for the studies here: `moderato evaluate` asked about every row as a slice of its own."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]


def moderato(*args):
    """What the command prints; its progress goes to standard error."""
    command = os.environ.get("MODERATO", str(ROOT / "target/release/moderato"))
    return subprocess.run([command, *map(str, args)], stdout=subprocess.PIPE, check=True, encoding="utf-8").stdout


def scores(rows, model):
    """The model's calibrated probability for each of `rows`, which have a `text` and whether it is `hate`; and what the whole evaluation says.

    The expected calibration error of one row alone is the distance of its score from its answer, which gives the score back.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        lines = ({"row": str(i), "text": row["text"], "hate": str(int(row["hate"]))} for i, row in enumerate(rows))
        file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        told = json.loads(moderato("evaluate", "--data", file, "--text-column", "text", "--positive-when", "hate=1", "--slice", "row", "--json", "--model", model))
    apart = np.array([told["slices"]["row"][str(i)]["ece"] for i in range(len(rows))])
    return np.where([bool(row["hate"]) for row in rows], 1 - apart, apart), told
