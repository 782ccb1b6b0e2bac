"""Mean, standard deviation and range over seeds of what a model is accepted by, from the card.json of each.

    python infra/training/seeds.py .local/training/seed-*/model/card.json --json shared/scoring/models/seeds.json
"""

import argparse
import json
import statistics
from pathlib import Path


def band(figures, decision):
    return next(band for band in figures["bands"] if band["decision"] == decision)


# Where a measure stands in a card, and where its goal is a floor or a ceiling.
MEASURES = {
    "hatexplain, hate against rest: macro-F1": lambda v: v["hatexplain"]["macro_f1"],
    "hatexplain, hate against rest: AUC-ROC": lambda v: v["hatexplain"]["auc_roc"],
    "hatexplain, three classes: macro-F1": lambda v: v["hatexplain"]["classes"]["macro_f1"],
    "hatexplain, three classes: AUC-ROC": lambda v: v["hatexplain"]["classes"]["auc_roc"],
    "pooled: AUC-ROC": lambda v: v["pooled"]["auc_roc"],
    "pooled: ECE": lambda v: v["pooled"]["ece"],
    "pooled: precision of hiding": lambda v: band(v["pooled"], "hide")["positive_share"],
    "pooled: share of hate approved": lambda v: band(v["pooled"], "approve")["share_of_positives"],
    "pooled: share sent to review": lambda v: band(v["pooled"], "review")["share"],
}


def over_seeds(cards):
    """{measure: {values, mean, deviation, least, most}}; measures that a card lacks are left out. The deviation is the sample's, n - 1."""
    found = {}
    for name, where in MEASURES.items():
        try:
            values = [where(card["validation"]) for card in cards]
        except (KeyError, StopIteration):
            continue
        if None in values:
            continue
        found[name] = {"values": values, "mean": statistics.fmean(values), "deviation": statistics.stdev(values) if len(values) > 1 else None,
                       "least": min(values), "most": max(values)}
    return found


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("cards", type=Path, nargs="+", help="card.json of each seed")
    args.add_argument("--json", type=Path, help="where to write the figures")
    args = args.parse_args()
    cards = [json.loads(path.read_text(encoding="utf-8")) for path in args.cards]
    found = over_seeds(cards)
    seeds = [[run["seed"] for run in (card.get("transformer") or {}).get("runs", [])] for card in cards]
    print(f"| over {len(cards)} seeds | mean | deviation | least | most |\n|---|---|---|---|---|")
    for name, told in found.items():
        deviation = "-" if told["deviation"] is None else f"{told['deviation']:.4f}"
        print(f"| {name} | {told['mean']:.4f} | {deviation} | {told['least']:.4f} | {told['most']:.4f} |")
    if args.json:
        models = [card["model"]["sha256"] for card in cards]
        args.json.write_text(json.dumps({"schema": "seeds/1", "seeds": seeds, "models": models, "measures": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
