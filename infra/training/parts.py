"""The third phase: a model that is right about sentences by themselves, in company, and about what only looks like hate.

    python infra/training/parts.py --start .local/training/seed-*/model.pt .local/training/seed-*/hardened/model.pt --vocabulary .local/training/vocab.txt --out .local/training/parts

One pass over all corpora, those of everyday English included, and over texts that are made of them: hateful and harmless sentences among
harmless ones, words, emoji and links; stretches cut out of harmless texts; facts about groups; quotations with the writer's consent and against it.
With --again a short pass: a fifth of the corpora, misspelt words, and company without an end of a sentence between. Several checkpoints to start
from are averaged, by their shares where they have one: `--start mean.pt=0.3 parts/model.pt=0.7`.
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import train
from augment import GROUPS, HATE, _filled

# Of the harmless rows of a corpus of everyday English, this share is read.
SHARE = {"goemotions": 0.36, "talk": 0.5, "jigsaw": 0.5, "implicit": 1, "misogyny": 1, "paradetox": 0.4, "counterspeech": 1, "banking": 0.15, "clinc": 0.12, "sms": 0.4}
CALM = ("goemotions", "banking", "clinc", "sms")
LONG = ("talk", "jigsaw", "goemotions", "paradetox")
EMOJI = ["grinning face", "red heart", "party popper", "face with tears of joy", "sun with face", "clapping hands", "sparkles", "tulip", "thumbs up", "smiling face with heart eyes", "fire", "soccer ball", "rainbow"]

ILLNESSES = "migraines|asthma|high blood pressure|diabetes|lupus|glaucoma|skin cancer|heart disease|depression|malaria|hearing loss|osteoporosis|breast cancer|sickle cell anaemia|HIV|tuberculosis|anxiety|back pain|lactose intolerance|gout|mpox|hepatitis B|Tay-Sachs disease|prostate cancer|vitamin D deficiency"
FACTS = """{g} are more likely to suffer {ill}|{g} have a higher risk of {ill}|{Ill} is more common in {g}|{Ill} affects {g} more often than others|rates of {ill} among {g} rose by {n} percent|a study found that {ill} is underdiagnosed in {g}|doctors screen {g} for {ill} from the age of forty|about {n} percent of {g} in the survey reported {ill}|{g} are at higher risk for {ill}|{g} were twice as likely to be hospitalised with {ill}
{n} percent of {g} said they had been attacked last year|hate crimes against {g} rose by {n} percent|{g} make up {n} percent of the population|the unemployment rate among {g} fell to {n} percent|{g} earn {n} percent less on average|{g} are underrepresented in parliament|the number of {g} in prison rose by {n} percent|{g} were deported in 1944 and few came back|{g} were murdered in the camps|{g} were not allowed to vote until 1920|{g} are less likely to be called for an interview|in this city {n} percent of {g} rent their homes|{g} live on average {n} years longer|the census counts {n} thousand {g}|many {g} fled the war in 1992|the court ruled that {g} may marry|the law banned {g} from teaching|the killing of {g} is being investigated|police report more arrests of {g} than in other years|most {g} in the sample spoke two languages|{g} are stopped by police more often|the survey asked {g} about crime|poverty among {g} is falling|the museum shows how {g} lived in the ghetto|suicide rates are higher among {g}|{g} die earlier than average|more {g} than ever go to university|{g} report more discrimination at work|the charity helps {g} who were raped in the war|{g} are victims of crime more often than others|scientists asked why {g} get {ill} later in life|crime statistics for {g} were published today|{g} accounted for {n} percent of the cases|the report compares {g} with other groups"""
CONDEMNED = """"{q}" - this is disgusting, please stop|he said "{q}" and I reported him|"{q}" is what he wrote. Vile.|RT @user: {q} Don't talk like this!|> {q}\n\nThis is disgusting, please stop|> {q}\n\nNo. Just no. They are people like you and me.|those who write "{q}" should be ashamed|nobody should ever say "{q}"|it is not true that {q0}|I was called names, he shouted "{q}" at me on the bus|my teacher heard "{q}" in class and called it hate speech, rightly|how can anybody believe "{q}"? It is a lie|she was fined for posting "{q}"|the graffiti said "{q}" and we painted over it|stop saying "{q}", it hurts|comments like "{q}" are why I left that forum|"{q}" No, they are not. Shame on you.|the paper reports that the man yelled "{q}" before he was arrested|I disagree with everybody who says "{q}"|saying "{q}" is racist and wrong"""
ENDORSED = """he said "{q}" and he is right|"{q}". So true.|"{q}" - finally somebody says it|"{q}" agreed, one hundred percent|as my dad always says, "{q}"|> {q}\n\nExactly this.|> {q}\n\nCouldn't agree more|RT @user: {q} This!|RT @user: {q} So true|like he said: "{q}". Preach.|"{q}" is just a fact|everybody knows it: "{q}"|the sign said "{q}" and I clapped|she wrote "{q}" and I can only agree|"{q}" Amen to that.|somebody told me "{q}" and they were not wrong|I stand by it: "{q}"|"{q}" hard to argue with that|the old man was right when he said "{q}"|quote of the day: "{q}" """


def own(rng, count):
    """Facts about groups, and quotations against and with the writer's consent, `count` of each: (text, hate, offence)."""
    hateful = [t for line in HATE.splitlines() for t in line.partition(": ")[2].split("|") if '"' not in t and "{o}" not in t and "{t}" not in t]
    out = []

    def fill(template):
        kind = rng.choice(list(GROUPS))
        return _filled(rng, template, kind, rng.choice(GROUPS[kind]))

    def capital(text, chance):
        return text[0].upper() + text[1:] if rng.random() < chance else text

    for _ in range(count):
        illness = rng.choice(ILLNESSES.split("|"))
        template = rng.choice(FACTS.replace("\n", "|").split("|"))
        template = template.replace("{ill}", illness).replace("{Ill}", illness[0].upper() + illness[1:]).replace("{n}", str(rng.randint(2, 88)))
        out.append((capital(fill(template), 0.8), 0, 0))
    for frames, hate in ((CONDEMNED, 0), (ENDORSED, 1)):
        for _ in range(count):
            quoted = capital(fill(rng.choice(hateful)), 0.7)
            text = rng.choice(frames.split("|")).replace("{q}", quoted).replace("{q0}", quoted[0].lower() + quoted[1:])
            if rng.random() < 0.3:
                text = text.replace('"', rng.choice(["'", "“", "*"]))
            out.append((capital(text, 0.6), hate, 1))
    return out


def cut(rng, text, most):
    words = text.split(" ")
    if len(words) <= most:
        return text
    start = rng.randrange(0, len(words) - most + 1)
    return " ".join(words[start:start + most])


def misspelt(rng, text):
    """The text as fast fingers write it: letters swapped, left out and doubled in about half of its longer words."""
    words = text.split(" ")
    for i, word in enumerate(words):
        if len(word) < 3 or not word.isalpha() or rng.random() < 0.45:
            continue
        j = rng.randrange(len(word) - 1)
        trick = rng.randrange(4)
        if trick < 2:
            word = word[:j] + word[j + 1] + word[j] + word[j + 2:]
        elif trick == 2:
            word = word[:max(j, 1)] + word[max(j, 1) + 1:]
        else:
            word = word[:j] + word[j] * rng.randint(2, 4) + word[j + 1:]
        words[i] = word
    return " ".join(words)


def in_company(rng, old, new, made, again=False):
    """Texts as readings, and texts still to be read: (text, labels, weight) and (text, labels)."""
    calm = [row["plain"] for row in new if row["corpus"] in CALM and not row["hate"] and len(row["plain"].split()) <= 22]
    if not calm:
        sys.exit("error: no corpus of everyday English is there (goemotions, banking, clinc, sms): see SOURCES of the data")
    harmless = [row for row in old if not row["labels"][0] and len(row["plain"].split()) <= 30]
    hateful = [row for row in old if row["labels"][0] and len(row["plain"].split()) <= 26 and row["corpus"] != "edos"]
    made_hateful = [row["text"] for row in made if row["hate"]]
    made_harmless = [row["text"] for row in made if not row["hate"]]

    def beside():
        draw = rng.random()
        if draw < 0.6:
            return rng.choice(calm)
        if draw < 0.75:
            return " ".join(rng.choice(EMOJI) for _ in range(rng.randint(1, 6)))
        if draw < 0.85:
            return " ".join(["http"] * rng.randint(1, 5))
        return " ".join(rng.choice(calm).split()[0] for _ in range(rng.randint(3, 10)))

    def among(text):
        most = rng.randint(1, 3)
        before = [beside() for _ in range(rng.randint(0, most))]
        behind = [beside() for _ in range(max(0 if before else 1, most - len(before)))]
        return rng.choice([". ", " ", "\n", " ... ", "! "]).join([*before, text, *behind])

    if again:
        return again_in_company(rng, old, calm, harmless, hateful, made)
    read, unread = [], []
    for _ in range(5000):
        if rng.random() < 0.6:
            row = rng.choice(hateful)
            read.append((among(row["plain"]), row["labels"], 1.0))
        else:
            unread.append((among(rng.choice(made_hateful)), (1, 1, -1)))
    for _ in range(6000):
        draw = rng.random()
        if draw < 0.4:
            row = rng.choice(harmless)
            read.append((among(row["plain"]), row["labels"], 1.0))
        elif draw < 0.7:
            unread.append((among(rng.choice(made_harmless)), (0, -1, -1)))
        else:
            read.append((among(rng.choice(calm)), (0, -1, -1), 1.0))
    long = [row["plain"] for row in new if row["corpus"] in LONG and not row["hate"] and len(row["plain"].split()) >= 12]
    long += [row["plain"] for row in harmless if len(row["plain"].split()) >= 14]
    read += [(cut(rng, rng.choice(long), rng.randint(6, 20)), (0, -1, -1), 0.7) for _ in range(7000)]
    unread += [(text, (hate, offence, -1)) for text, hate, offence in own(rng, 1300)]
    return read, unread


def again_in_company(rng, old, calm, harmless, hateful, made):
    """For the short pass: company without an end of a sentence between, and misspelt words."""
    short = [row for row in hateful if len(row["plain"].split()) <= 14]
    vocabulary = sorted({word for text in calm for word in text.split() if word.isalpha() and len(word) > 2})

    def salad():
        if rng.random() < 0.4:
            return rng.choice(calm)
        return " ".join(rng.choice(vocabulary) for _ in range(rng.randint(1, 12)))

    def beside(text):
        draw = rng.random()
        before, behind = (salad(), "") if draw < 0.4 else ("", salad()) if draw < 0.8 else (salad(), salad())
        return " ".join(part for part in (before, text, behind) if part)

    read, unread = [], []
    for _ in range(1000):
        row = rng.choice(short)
        read.append((beside(row["plain"]), row["labels"], 1.0))
        row = rng.choice(harmless)
        read.append((beside(row["plain"]), row["labels"], 1.0))
        sentence = rng.choice(made)
        unread.append((beside(sentence["text"]), (sentence["hate"], 1 if sentence["hate"] else -1, -1)))
    for _ in range(3000):
        sentence = rng.choice(made)
        unread.append((misspelt(rng, sentence["text"]), (sentence["hate"], 1 if sentence["hate"] else -1, -1)))
    for _ in range(1000):
        row = rng.choice(old)
        unread.append((misspelt(rng, row["text"]), row["labels"]))
    unread += [(text, (hate, offence, -1)) for text, hate, offence in own(rng, 2000)]
    return read, unread


def examples_of(rng, texts, without, again=False):
    """One pass, as ids with labels and weights, and how many of its texts are our own."""
    rows = train.rows_of([row for row in train.command("corpora") if row["corpus"] not in without])
    old = [row for row in rows if row["weight"] > 0 and row["corpus"] not in SHARE]
    new = [row for row in rows if row["part"] == "train" and row["corpus"] in SHARE]
    noisy, swapped, made = train.of_our_own("worst", None, 48)
    if again:
        old = rng.sample(old, len(old) // 8)
    examples = train.epoch_examples(old, made, texts, rng, noisy, swapped, True)
    more = []
    for row in new:
        if not row["hate"] and rng.random() >= SHARE[row["corpus"]] or again and rng.random() >= 0.12:
            continue
        text = row["folded"] if row["folded"] and rng.random() < 0.15 else row["plain"]
        offence = int(row["class"] == "offensive" or row["hate"])
        labels = (int(row["hate"]), offence if row["corpus"] in ("talk", "jigsaw", "banking", "clinc", "sms", "misogyny") else -1, -1)
        weight = {"implicit": 0.6, "misogyny": 0.8, "jigsaw": 0.7 if row["hate"] else 0.5 if offence else 1.0}.get(row["corpus"], 1.0)
        more.append((text if row["hate"] else cut(rng, text, 60), labels, weight))
    read, unread = in_company(rng, old, new, made, again)
    more += read
    more += [(found["plain"], labels, 1.0) for found, (_, labels) in zip(train.readings([{"text": text} for text, _ in unread]), unread)]
    examples += [(ids, labels, weight) for ids, (_, labels, weight) in zip(texts.ids([text for text, _, _ in more]), more)]
    return examples, len(made) + len(unread)


def runs_of(folders):
    """What is told of the runs that made these checkpoints, each once, in their order."""
    runs = []
    for file in (folder / "run.json" for folder in folders):
        if file.exists():
            run = json.loads(file.read_text(encoding="utf-8"))
            runs += [known for known in (*run.pop("after", []), run) if known not in runs]
    return runs


def start_of(parts, torch):
    """The mean of checkpoints by their shares, or of all alike."""
    shares = [float(share) if share else 1.0 for _, _, share in parts]
    states = [torch.load(path) for path, _, _ in parts]
    # What early.py fitted was for one of them alone.
    names = [name for name in states[0] if not name.startswith("early.")]
    return {name: sum(state[name] * (share / sum(shares)) for state, share in zip(states, shares)) for name in names}


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--start", nargs="+", required=True, help="checkpoints, each with =SHARE or none with it")
    args.add_argument("--vocabulary", type=Path, required=True)
    args.add_argument("--out", type=Path, required=True)
    args.add_argument("--seed", type=int, default=5)
    args.add_argument("--rate", type=float, default=5e-5)
    args.add_argument("--again", action="store_true", help="the short pass: a fifth of the corpora, misspelt words, company without an end of a sentence between")
    args.add_argument("--without", nargs="*", default=[], help="corpora that are left out, to measure what is not learned from them")
    args = args.parse_args()
    import torch
    from encoder import Encoder
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    rng = random.Random("worst" if args.seed == 5 else args.seed)
    texts = train.Texts(args.vocabulary)
    examples, ours = examples_of(rng, texts, set(args.without), args.again)
    state = start_of([part.partition("=") for part in args.start], torch)
    model = Encoder.of(state)
    decayed = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() <= 1]
    optimiser = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}], lr=args.rate, fused=True)
    todo = train.batches(examples, 1536, rng)
    print(f"{len(examples)} texts, {ours} of them ours; {len(todo)} steps", flush=True)
    model.train()
    started, mean = time.time(), None
    for at, batch in enumerate(todo, 1):
        progress = at / len(todo)
        for group in optimiser.param_groups:
            group["lr"] = args.rate * min(progress / 0.05, (1 - progress) / 0.95)
        torch.manual_seed(args.seed * 1_000_003 + at)
        ids, present, labels, weights = train.tensors(examples, batch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(ids, present)
        loss = train.loss_of(out.float(), labels, weights)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        if at % 50 == 0:
            spent = time.time() - started
            print(f"step {at}/{len(todo)} loss {mean:.4f} {spent:.0f} s, {spent / at * (len(todo) - at):.0f} s left", flush=True)
    torch.save(model.state_dict(), args.out / "model.pt")
    run = {"seed": args.seed, "phase": "parts, again" if args.again else "parts", "hardware": train.hardware(torch.get_num_threads()), "steps": len(todo), "seconds": round(time.time() - started),
           "texts_a_pass": len(examples), "synthetic": ours, "epochs": 1.0, "rate": args.rate}
    (args.out / "run.json").write_text(json.dumps(run | {"after": runs_of([Path(path).parent for path, _, _ in (part.partition("=") for part in args.start)])}))


if __name__ == "__main__":
    main()
