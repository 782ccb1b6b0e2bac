"""Reads a folder of pictures.py with the Python package whose weights Moderato uses, for benches/pictures.rs to show beside ours.

    .tools/eyes-bench/bin/python infra/eyes/rapidocr.py FOLDER

Writes FOLDER/rapidocr.jsonl, a line a picture: {"file", "lines", "ms"}. One thread, as ours.
"""

import json
import sys
import time
from pathlib import Path

from rapidocr_onnxruntime import RapidOCR


def main(folder):
    read = RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1)
    labels = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
    read(str(folder / labels[0]["file"]))
    rows = []
    for label in labels:
        started = time.perf_counter()
        found, _ = read((folder / label["file"]).read_bytes())
        spent = (time.perf_counter() - started) * 1e3
        rows.append({"file": label["file"], "lines": [line[1] for line in found or []], "ms": round(spent, 2)})
    (folder / "rapidocr.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
