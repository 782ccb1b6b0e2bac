"""Does an author's history help? Stormfront's authors: text alone, with history, with history missing. Intervals by author.

    python infra/training/history.py --data DATA --model shared/scoring/models/ngram-baseline --json .local/training/history.json

The rows measured are the validation and test parts; history comes from the training part alone. Of each row:
- text: log-odds of the model's calibrated score, by `moderato evaluate`. No model of ours is trained on these rows.
- history: log-odds of the smoothed share of hate among the training rows of the author's other posts, less those of all
  training rows: (hateful + weight * prior) / (rows + weight). 0 where there are none; `missing` says so.
Rows are sentences. Those of the row's own post are left out of its history, since no platform has them as history. The weight is the
one under which the training rows predict each other best. A logistic regression joins the three, fitted ten times, each time on the rows
of nine tenths of the authors and asked about the others. Forum ids grow with time, so posts with lower ids count as earlier.
"""

import argparse
import csv
import gzip
import json
import os
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from sklearn.model_selection import GroupKFold

from scored import ROOT, moderato, scores

FILE = "stormfront_vicomtech.csv.gz"
WEIGHTS = (0.5, 1, 2, 4, 8, 16, 32, 64)
MEASURES = ("auc_roc", "pr_auc", "macro_f1", "ece")
FOLDS, BINS = 10, 15
HISTORIES = {"other": "other posts", "earlier": "earlier posts", "any": "the row's own post included", "placebo": "another author's history instead"}


def labelled(data):
    """Rows of the corpus with their author, post and part. Parts are Rust's: the rows that `moderato corpora` prints, in the file's order."""
    lines = moderato("corpora", "--data", data).splitlines()
    parts = [row for row in map(json.loads, lines) if row["corpus"] == "stormfront"]
    rows, at = [], 0
    with gzip.open(Path(data) / FILE, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["label"] in ("hate", "noHate") and at < len(parts) and parts[at]["text"] == row["text"]:
                rows.append({"author": row["user_id"], "post": int(row["file_id"].partition("_")[0]), "text": row["text"],
                             "hate": int(row["label"] == "hate"), "part": parts[at]["part"]})
                at += 1
    assert at == len(parts), f"{len(parts) - at} rows of `moderato corpora` are not in the file"
    return rows


def log_odds(p):
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return np.log(p / (1 - p))


class Histories:
    """What the training rows say about each author."""

    def __init__(self, training):
        self.by_author = defaultdict(lambda: defaultdict(lambda: [0, 0]))
        for row in training:
            told = self.by_author[row["author"]][row["post"]]
            told[0] += row["hate"]
            told[1] += 1
        self.prior = sum(row["hate"] for row in training) / len(training)
        self.weight = min(WEIGHTS, key=lambda weight: self.loss(training, weight))

    def counts(self, row, which):
        """(hateful, all) training rows: of the author's `other` posts, of `earlier` ones, or of `any`, the row's own post included."""
        posts = self.by_author.get(row["author"], {})
        wanted = {"any": lambda post: True, "other": lambda post: post != row["post"], "earlier": lambda post: post < row["post"]}[which]
        kept = [told for post, told in posts.items() if wanted(post)]
        return sum(told[0] for told in kept), sum(told[1] for told in kept)

    def smoothed(self, hateful, rows, weight):
        return (hateful + weight * self.prior) / (rows + weight)

    def loss(self, training, weight):
        total = 0.0
        for row in training:
            p = self.smoothed(*self.counts(row, "other"), weight)
            total -= np.log(p if row["hate"] else 1 - p)
        return total

    def features(self, rows, which):
        """[rows, 2]: log-odds above the prior's, and 1 where nothing is known."""
        counts = np.array([self.counts(row, which) for row in rows], dtype=float)
        found = log_odds(self.smoothed(counts[:, 0], counts[:, 1], self.weight)) - log_odds(self.prior)
        return np.stack([found, counts[:, 1] == 0], 1), counts[:, 1]


def ece(answers, p):
    """Expected calibration error over 15 bins of equal width, as `moderato evaluate` has it."""
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    return np.abs(np.bincount(bins, p - answers, BINS)).sum() / len(p)


def measures(answers, p):
    return np.array([roc_auc_score(answers, p), average_precision_score(answers, p), f1_score(answers, p >= 0.5, average="macro"), ece(answers, p)])


def settings(text, history, answers, authors):
    """Probabilities of every row by models that have not seen its author: text alone, with history, and the same with history taken away."""
    joined = np.column_stack([text, history])
    absent = np.column_stack([text, np.zeros(len(text)), np.ones(len(text))])
    found = {name: np.zeros(len(text)) for name in ("text alone", "with history", "history missing")}
    for fitted, asked in GroupKFold(FOLDS).split(joined, answers, authors):
        alone = LogisticRegression(C=1e4).fit(text[fitted, None], answers[fitted])
        both = LogisticRegression(C=1e4).fit(joined[fitted], answers[fitted])
        found["text alone"][asked] = alone.predict_proba(text[asked, None])[:, 1]
        found["with history"][asked] = both.predict_proba(joined[asked])[:, 1]
        found["history missing"][asked] = both.predict_proba(absent[asked])[:, 1]
    whole = LogisticRegression(C=1e4).fit(joined, answers)
    return found, dict(zip(("text", "history", "missing", "offset"), [*whole.coef_[0], whole.intercept_[0]]))


def intervals(found, answers, authors, repeats, seed=1):
    """Each measure with its 95 % interval, and its difference from text alone with its: authors drawn with replacement, rows with them."""
    rng = np.random.default_rng(seed)
    _, which = np.unique(authors, return_inverse=True)
    rows_of = np.split(np.argsort(which, kind="stable"), np.cumsum(np.bincount(which))[:-1])
    drawn = {name: [] for name in found}
    for _ in range(repeats):
        rows = np.concatenate([rows_of[i] for i in rng.integers(0, len(rows_of), len(rows_of))])
        if 0 < answers[rows].sum() < len(rows):
            for name, p in found.items():
                drawn[name].append(measures(answers[rows], p[rows]))
    drawn = {name: np.array(values) for name, values in drawn.items()}
    report = {}
    for name, p in found.items():
        point = measures(answers, p)
        apart, apart_point = drawn[name] - drawn["text alone"], point - measures(answers, found["text alone"])
        describe = lambda value, values: {"value": round(float(value), 4), "interval": [round(float(x), 4) for x in np.percentile(values, [2.5, 97.5])]}
        report[name] = {m: {**describe(point[i], drawn[name][:, i]), "difference": describe(apart_point[i], apart[:, i])} for i, m in enumerate(MEASURES)}
    return report


def table(told):
    """All figures as a table in Markdown."""
    shown = lambda value, sign="": f"{value['value']:{sign}.3f} ({value['interval'][0]:{sign}.3f} to {value['interval'][1]:{sign}.3f})"
    lines = ["| history, rows | setting | AUC-ROC | PR-AUC | macro-F1 | ECE |", "|---|---|---|---|---|---|"]
    for name, setting in told["settings"].items():
        place = f"{name}: {setting['rows']} rows, {setting['hateful']} hateful, {setting['authors']} authors"
        for one, figures in setting["measures"].items():
            lines.append(f"| {place} | {one} | " + " | ".join(shown(figures[m]) for m in MEASURES) + " |")
            place = ""
        for one, figures in list(setting["measures"].items())[1:]:
            lines.append(f"| | {one}, less text alone | " + " | ".join(shown(figures[m]["difference"], "+") for m in MEASURES) + " |")
    weights = {name.partition(",")[0]: setting["weights"] for name, setting in told["settings"].items()}
    told_weights = (f"{name}: text {w['text']:.2f}, history {w['history']:.2f}, missing {w['missing']:+.2f}" for name, w in weights.items())
    return "\n".join(lines) + "\n\nWeights of the joint model: " + "; ".join(told_weights) + "."


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--data", type=Path, default=os.environ.get("MODERATO_DATA"), required="MODERATO_DATA" not in os.environ, help="folder with the corpus")
    args.add_argument("--model", type=Path, default=ROOT / "shared/scoring/models/ngram-baseline")
    args.add_argument("--histories", nargs="+", choices=list(HISTORIES), default=list(HISTORIES))
    args.add_argument("--repeats", type=int, default=1000, help="bootstrap samples")
    args.add_argument("--json", type=Path, help="where to write all figures")
    args = args.parse_args()
    rows = labelled(args.data)
    training, held = [row for row in rows if row["part"] == "train"], [row for row in rows if row["part"] != "train"]
    histories = Histories(training)
    print(f"{len(held)} rows held, {len(training)} of training; weight of the prior {histories.weight}", file=sys.stderr, flush=True)
    p, told = scores(held, args.model)
    model = told["model"]
    text, answers = log_odds(p), np.array([row["hate"] for row in held])
    authors = np.array([row["author"] for row in held])
    told = {"model": model, "rows": len(held), "hateful": int(answers.sum()), "authors": len(set(authors)), "prior": round(histories.prior, 4), "weight": histories.weight, "repeats": args.repeats, "settings": {}}
    rng = np.random.default_rng(7)
    for which, title in HISTORIES.items():
        if which not in args.histories:
            continue
        history, known = histories.features(held, "other" if which == "placebo" else which)
        if which == "placebo":
            mixed = rng.permutation(len(set(authors)))
            _, first, number = np.unique(authors, return_index=True, return_inverse=True)
            history, known = history[first][mixed][number], known[first][mixed][number]
        found, weights = settings(text, history, answers, authors)
        for least in (0, 1, 5):
            chosen = known >= least
            if which in ("any", "placebo") and least:
                continue
            name = title if least == 0 else f"{title}, {least} or more known rows"
            print(f"... {name}", file=sys.stderr, flush=True)
            report = intervals({k: v[chosen] for k, v in found.items()}, answers[chosen], authors[chosen], args.repeats)
            told["settings"][name] = {"rows": int(chosen.sum()), "hateful": int(answers[chosen].sum()), "authors": len(set(authors[chosen])),
                                      "weights": {k: round(float(v), 3) for k, v in weights.items()}, "measures": report}
    print(f"`{model['name']}`, digest `{model['sha256'][:12]}…`\n\n{table(told)}")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
