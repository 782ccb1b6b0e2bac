"""Whether another way to join what the cascade's members say is better than its own: ENSEMBLE.md says what came out.

    target/release/moderato corpora >.local/corpora.jsonl
    python infra/training/ensemble.py .local/corpora.jsonl    # NumPy; some ten minutes on a busy machine of two cores. `outputs` is an example of the crate opinion

Every candidate is a logistic regression on the pooled validation rows, standardised, with a ridge; the transformer has seen the training
rows, which would flatter it. Measured on the test rows, beside the cascade that always asks its transformer; and with the posts of each
corpus judged by weights fitted on the other corpora, because a deployment's posts are of no corpus here. All outputs come from Rust.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "shared/scoring/models/minilm-cascade"
TOOL = [ROOT / "target/release/examples/outputs", ROOT / ".tools/onnxruntime/libonnxruntime.so", MODEL]
RIDGE = 10.0
DRAWS = 400
BANDS = {".2 to .8": (0.2, 0.8), ".078 to .789": (0.078, 0.789), "all": (0.0, 1.1)}


def outputs(texts):
    """A text's linear log-odds, its cascade's score, the outputs of the row that scores highest, and the mean over its rows."""
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    done = subprocess.run(list(map(str, TOOL)), input=lines, stdout=subprocess.PIPE, check=True, encoding="utf-8")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    rows = [np.array([out for _, out in one["rows"]]) for one in told]
    return {
        "linear": np.array([one["linear"] for one in told]),
        "cascade": np.array([one["score"] for one in told]),
        "highest": np.array([row[row[:, 0].argmax()] for row in rows]),
        "mean": np.array([row.mean(axis=0) for row in rows]),
        "pieces": np.array([np.mean([count for count, _ in one["rows"]]) for one in told]),
    }


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def fitted(features, answers):
    """Newton's method; gives a function from features to probabilities."""
    middle, spread = features.mean(axis=0), features.std(axis=0)
    design = lambda rows: np.column_stack([(rows - middle) / spread, np.ones(len(rows))])
    x, weights = design(features), np.zeros(features.shape[1] + 1)
    ridge = np.diag([RIDGE] * features.shape[1] + [0.0])
    for _ in range(30):
        p = sigmoid(x @ weights)
        weights -= np.linalg.solve((x.T * (p * (1 - p))) @ x + ridge, x.T @ (p - answers) + ridge @ weights)
    return lambda rows: sigmoid(design(rows) @ weights)


def auc(answers, scores):
    """Mann and Whitney's U, ties by half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positive = answers.sum()
    return (ranks[answers == 1].sum() - positive * (positive + 1) / 2) / (positive * (len(answers) - positive))


def log_loss(answers, scores):
    scores = np.clip(scores, 1e-6, 1 - 1e-6)
    return -(answers * np.log(scores) + (1 - answers) * np.log(1 - scores))


def within(answers, scores, corpus):
    """The mean over corpora of the AUC inside each: what recognising a corpus cannot raise."""
    each = [corpus == name for name in np.unique(corpus)]
    return np.mean([auc(answers[m], scores[m]) for m in each if 0 < answers[m].sum() < m.sum()])


def interval(difference, count):
    """95 % of the bootstrap's draws."""
    rng = np.random.default_rng(0)
    low, high = np.percentile([difference(rng.integers(0, count, count)) for _ in range(DRAWS)], [2.5, 97.5])
    return f"[{low:+.4f}, {high:+.4f}]"


def main():
    rows = [row for row in map(json.loads, open(sys.argv[1], encoding="utf-8")) if row["pooled"] and row["part"] != "train"]
    answers = np.array([int(row["hate"]) for row in rows])
    corpus = np.array([row["corpus"] for row in rows])
    validation = np.array([row["part"] == "validation" for row in rows])
    texts = [row["text"] for row in rows]
    whole = outputs(texts)
    words = [text.split() for text in texts]
    halves = [outputs([" ".join(side(w)) for w in words])["mean"] for side in (lambda w: w[: (len(w) + 1) // 2], lambda w: w[len(w) // 2 :])]
    dropped = np.mean([outputs([" ".join(w for i, w in enumerate(each) if i % 4 != k) for each in words])["mean"] for k in range(4)], axis=0)

    own = json.loads((MODEL / "manifest.json").read_text(encoding="utf-8"))["transformer"]["calibration"]
    always = sigmoid(own["transformer"] * whole["highest"][:, 0] + own["linear"] * whole["linear"] + own["offset"])
    join = lambda *columns: np.column_stack(columns)
    candidates = {
        "the same two numbers, fitted again": join(whole["highest"][:, 0], whole["linear"]),
        "five outputs, mean of readings": join(whole["mean"], whole["linear"]),
        "and the length": join(whole["mean"], whole["linear"], np.log(whole["pieces"])),
        "and four times without each fourth word": join(whole["mean"], dropped, whole["linear"]),
        "and both halves": join(whole["mean"], *halves, whole["linear"]),
    }
    print("| rows | join | AUC-ROC | against the cascade | inside corpora | against the cascade | log loss saved | |\n|---|---|---|---|---|---|---|---|")
    for band, (low, high) in BANDS.items():
        rows_of = lambda part: np.flatnonzero(part & (whole["cascade"] >= low) & (whole["cascade"] < high))
        for part, mask in (("validation", validation), ("test", ~validation)):
            at = rows_of(mask)
            for name, p in (("cascade", whole["cascade"]), ("cascade, always asked", always)):
                print(f"| {part}, {band} ({len(at)}) | {name} | {auc(answers[at], p[at]):.4f} | | {within(answers[at], p[at], corpus[at]):.4f} | | {(log_loss(answers, whole['cascade']) - log_loss(answers, p))[at].mean():+.4f} | |")
        for name, features in candidates.items():
            unseen = np.zeros(len(rows))
            for left_out in np.unique(corpus):
                unseen[corpus == left_out] = fitted(features[validation & (corpus != left_out)], answers[validation & (corpus != left_out)])(features[corpus == left_out])
            scores = fitted(features[validation], answers[validation])(features)
            for what, part, p in (("test", ~validation, scores), ("unseen corpus", validation | True, unseen)):
                at = rows_of(part)
                a, c, p, q = answers[at], corpus[at], p[at], always[at]
                saved = log_loss(a, q) - log_loss(a, p)
                print(
                    f"| {what}, {band} ({len(at)}) | {name} | {auc(a, p):.4f} | {interval(lambda i: auc(a[i], p[i]) - auc(a[i], q[i]), len(a))} "
                    f"| {within(a, p, c):.4f} | {interval(lambda i: within(a[i], p[i], c[i]) - within(a[i], q[i], c[i]), len(a))} "
                    f"| {saved.mean():+.4f} | {interval(lambda i: saved[i].mean(), len(a))} |",
                    flush=True,
                )
    for name, p in (("cascade", whole["cascade"]), ("five outputs, mean of readings", fitted(candidates["five outputs, mean of readings"][validation], answers[validation])(candidates["five outputs, mean of readings"]))):
        for low, high in ((0.2, 0.8), (0.078, 0.789)):
            at = ~validation & (whole["cascade"] >= low) & (whole["cascade"] < high)
            approve, hide = at & (p < low), at & (p >= high)
            print(f"{name}, test rows of {low} to {high}: {at.sum()}, {answers[at].sum()} hateful; accuracy at .5 {((p >= 0.5) == answers)[at].mean():.3f}, "
                  f"Brier {((p - answers)[at] ** 2).mean():.4f}; approved {approve.sum()} ({answers[approve].sum()} hateful), hidden {hide.sum()} ({answers[hide].sum()} hateful)")


if __name__ == "__main__":
    main()
