"""A cheap first look: what the first layers say of a text, so that the clearly harmless ones need no more.

    python infra/training/early.py .local/training/parts-4 --vocabulary .local/training/vocab.txt --out .local/training/early

The network stays as it is. Its first layers get a head of their own, fitted to what the whole network says of the texts of the third phase (parts.py), by
themselves and in the middle of others. The head's word stands below a bound: of the texts held back that the whole network finds telling, `MISSED` are
below it, by themselves as well as among others.
"""

import argparse
import json
import random
import time
from pathlib import Path

import torch
from torch.nn import functional as F

import parts
import train
from encoder import Early, Encoder

# Log-odds of hate from which a text is telling: a little below what the default policy sends to review.
TELLING = -0.5
MISSED = 0.0025
# Texts to fit on, without those among others.
MOST = 60_000
# The guess has to be good about here, not about how harmless a harmless text is.
ABOUT = -1.0
PASSES, RATE, BATCH = 6, 2e-3, 64


def among_others(rng, examples, count, longest):
    """Texts with others before and behind them, every second one hateful, as ids; as long as a window at most. What is beside them is other texts, one
    of them again and again, or words of many."""
    hateful = [ids for ids, labels, _ in examples if labels[0] and len(ids) <= 40]
    others = [ids for ids, labels, _ in examples if not labels[0] and len(ids) <= 60]
    words = [piece for ids in rng.sample(others, min(len(others), 2000)) for piece in ids[1:-1]]
    made = []
    for number in range(count):
        text = rng.choice(others if number % 2 else hateful)
        once, kind = rng.choice(others)[1:-1] or [text[0]], rng.randrange(3)
        room = min(longest, len(text) + rng.choice([4, 12, 24, 48, longest]))
        before, behind = [], []
        while len(before) + len(behind) + len(text) < room:
            more = once if kind == 0 else rng.choice(others)[1:-1] if kind == 1 else rng.choices(words, k=8)
            (before if rng.random() < 0.5 else behind).extend(more or once)
        left = max(room - len(text), 0)
        before = before[max(len(before) - rng.randint(0, left), 0):]
        made.append([text[0], *before, *text[1:-1], *behind[: left - len(before)], text[-1]])
    return [(ids, (0, -1, -1), 1.0) for ids in made]


def heard(model, examples):
    """What the first layers make of the texts and what the whole network says of them, batch by batch: which texts, tokens, which are there, outputs."""
    order = sorted(range(len(examples)), key=lambda i: len(examples[i][0]))
    batches, started = [], time.time()
    for start in range(0, len(order), BATCH):
        chosen = order[start:start + BATCH]
        ids, present, _, _ = train.tensors(examples, chosen)
        mask = None if present is None else present[:, None, None, :]
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            x = model.first(ids, mask)
            said = model.rest(x, present, mask).float()
        there = torch.ones(ids.shape, dtype=torch.bool) if present is None else present
        batches.append((torch.tensor(chosen), x.bfloat16(), there, said))
        if len(batches) % 100 == 0:
            spent = time.time() - started
            print(f"{start + len(chosen)} of {len(order)} texts, {spent:.0f} s", flush=True)
    return batches


def fitted(early, batches, held):
    """Fits a head to what the whole network says of the texts that are not held back."""
    optimiser = torch.optim.AdamW(early.parameters(), lr=RATE, weight_decay=0.02)
    for number in range(PASSES):
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 - number / PASSES)
        for at in torch.randperm(len(batches)).tolist():
            texts, x, there, said = batches[at]
            use = ~held[texts]
            out, said = early(x[use].float(), there[use]), said[use]
            weight = 1 + 4 * (said[:, 0] > ABOUT)
            hate = F.binary_cross_entropy_with_logits(out[:, 0] - ABOUT, torch.sigmoid(said[:, 0] - ABOUT), weight=weight)
            loss = hate + 0.05 * F.mse_loss(out[:, 1:], said[:, 1:])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        print(f"pass {number + 1} of {PASSES}", flush=True)


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("checkpoint", type=Path, help="a folder with model.pt")
    args.add_argument("--vocabulary", type=Path, required=True)
    args.add_argument("--out", type=Path, required=True)
    args.add_argument("--seed", type=int, default=9)
    args = args.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    started = time.time()
    state = {name: value for name, value in torch.load(args.checkpoint / "model.pt").items() if not name.startswith("early.")}
    model = Encoder.of(state).eval()
    rng = random.Random(args.seed)
    texts = train.Texts(args.vocabulary)
    examples = [example for again in (True, False) for example in parts.examples_of(rng, texts, set(), again)[0]]
    examples = rng.sample(examples, min(len(examples), MOST))
    buried = among_others(rng, examples, len(examples) // 2, len(model.places.weight))
    batches = heard(model, examples + buried)
    # One in eight is held back, of both kinds.
    number = torch.arange(len(examples) + len(buried))
    held, alone = number % 8 == 0, number < len(examples)
    early = Early(model.head.in_features)
    fitted(early, batches, held)
    guess, said = torch.zeros(len(number)), torch.zeros(len(number))
    with torch.no_grad():
        for chosen, x, there, out in batches:
            guess[chosen], said[chosen] = early(x.float(), there)[:, 0], out[:, 0]
    telling = said > TELLING
    early.stands_below = min(guess[held & telling & kind].quantile(MISSED) for kind in (alone, ~alone))
    low = guess < early.stands_below
    spared = [low[held & ~telling & kind].float().mean().item() for kind in (alone, ~alone)]
    model.early = early
    torch.save(model.state_dict(), args.out / "model.pt")
    run = {"seed": args.seed, "phase": "early", "hardware": train.hardware(torch.get_num_threads()), "seconds": round(time.time() - started),
           "texts": len(examples), "among_others": len(buried), "missed": MISSED, "spared": [round(share, 4) for share in spared], "stands_below": round(early.stands_below.item(), 4)}
    (args.out / "run.json").write_text(json.dumps(run | {"after": parts.runs_of([args.checkpoint])}))
    print(f"below {early.stands_below:.3f} the first {Early.AFTER} layers are believed: {MISSED:.2%} of what is telling at most, "
          f"{spared[0]:.1%} of the other texts by themselves, {spared[1]:.1%} of those among others")


if __name__ == "__main__":
    main()
