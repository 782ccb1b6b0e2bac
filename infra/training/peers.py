"""Scores labelled rows with another system, for `moderato evaluate --beside`.

    python3 -m venv .local/peers && .local/peers/bin/pip install -q --require-hashes --no-deps -r infra/peers.txt
    target/release/moderato corpora | .local/peers/bin/python infra/training/peers.py hatesonar >.local/hatesonar.jsonl
    target/release/moderato evaluate --corpora --beside hatesonar=.local/hatesonar.jsonl --report report.html

Reads what `moderato corpora` prints, of which it takes the validation rows, or with `--data` a CSV or JSON Lines file, all of it.
Writes a line a row, in the same order: the probability, the digest of the text that it belongs to, and where the system tells
three classes apart also these. No text is written.

Both systems were trained on Davidson's tweets, the ones that are measured among them.
"""

import argparse
import csv
import gzip
import hashlib
import json
import sys
from importlib import resources

BATCH = 256


def alt_profanity_check(texts):
    """The probability that a text is profane: no system of ours is meant by it, and it is what many deploy."""
    from profanity_check import predict_prob

    for start in range(0, len(texts), BATCH):
        for probability in predict_prob(texts[start : start + BATCH]):
            yield {"score": float(probability)}


def hatesonar(texts):
    """Probabilities of hate, of offence and of neither.

    Its graph lower-cases in the locale `en_US`, which a machine need not have; in `C` it lower-cases ASCII alone.
    """
    import numpy
    import onnx
    import onnxruntime

    graph = onnx.load(str(resources.files("hatesonar") / "model" / "model.onnx"))
    for node in graph.graph.node:
        if node.op_type == "StringNormalizer":
            kept = [attribute for attribute in node.attribute if attribute.name != "locale"]
            del node.attribute[:]
            node.attribute.extend([*kept, onnx.helper.make_attribute("locale", "C")])
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    for text in texts:
        _, ((probabilities,)) = session.run(None, {given.name: numpy.array([text], dtype=object)})
        classes = [float(probabilities[place]) for place in range(3)]
        yield {"score": classes[0], "classes": classes}


PEERS = {"alt-profanity-check": alt_profanity_check, "hatesonar": hatesonar}


def texts_of(arguments):
    if arguments.data is None:
        rows = map(json.loads, sys.stdin)
        return [row["text"] for row in rows if row.get("part", "validation") == "validation"]
    opened = gzip.open if arguments.data.endswith(".gz") else open
    with opened(arguments.data, "rt", encoding="utf-8-sig", newline="") as file:
        if arguments.data.removesuffix(".gz").lower().endswith(".csv"):
            csv.field_size_limit(sys.maxsize)
            return [row[arguments.text_column] for row in csv.DictReader(file)]
        return [json.loads(line)[arguments.text_column] for line in file if line.strip()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=sorted(PEERS))
    parser.add_argument("--data", metavar="FILE", help="a CSV or JSON Lines file (.gz allowed) instead of standard input")
    parser.add_argument("--text-column", metavar="COLUMN", default="text")
    arguments = parser.parse_args()
    texts = texts_of(arguments)
    for count, (text, row) in enumerate(zip(texts, PEERS[arguments.peer](texts), strict=True), start=1):
        json.dump({"sha256": hashlib.sha256(text.encode()).hexdigest(), **row}, sys.stdout)
        print()
        if sys.stderr.isatty() and (count % 1000 == 0 or count == len(texts)):
            print(f"\r{arguments.peer}: {count} of {len(texts)}", end="", file=sys.stderr)


if __name__ == "__main__":
    main()
