"""One script from corpora to models, on a machine of yours and as a training job of SageMaker.

    python infra/training/job.py --seeds 1 2 --epochs 3          # here: data from MODERATO_DATA, or fetched; all into .local/training
    python infra/training/job.py --without-share-alike           # leaves out corpora under CC BY-SA (../SUPPLY.md)
    python infra/training/job.py train                           # how SageMaker starts it in the container

For each seed: train.py, train.py --harden, export.py, `moderato train`, so that each has its card; then seeds.py over the cards, and the mean of the weights. It goes on from what is there:
a seed with a card is not trained again, one that was stopped goes on from its last saved step.

As a job it keeps SageMaker's contract: corpora in input/data/corpora, hyperparameters (strings) in input/config/hyperparameters.json, results
in model/, everything that a later start needs in checkpoints/ (which SageMaker puts back after a spot interruption), the reason in
output/failure. On SIGTERM the step at hand is finished and saved.
"""

import argparse
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import fetch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MODERATO = os.environ.get("MODERATO", str(ROOT / "target/release/moderato"))


# How train.py hardens a checkpoint against disguises, once it is trained.
HARDENING = ("--epochs", "1", "--rate", "8e-5", "--limit", "25000")


# Corpora of everyday English, which parts.py needs one of.
EVERYDAY = ("goemotions_reddit.csv.gz", "banking77.csv.gz", "clinc150.csv.gz", "sms_spam.csv.gz")

# Corpora whose texts are under CC BY-SA, as the card says of each; a test holds the two together.
SHARE_ALIKE = ("stormfront_vicomtech.csv.gz", "wikipedia_talk_context_20k.csv.gz", "jigsaw_toxic_comments_20k.csv.gz")


class Stopped(Exception):
    """Asked to stop; what was done is saved."""


class JobError(Exception):
    """Says which step failed."""


@dataclass
class Job:
    """What to do: where the corpora are, where to work, and what train.py is told besides seed and folder."""

    data: Path
    work: Path
    seeds: list
    options: list

    def __post_init__(self):
        self.child, self.stopping = None, False
        signal.signal(signal.SIGTERM, self.stop)

    def stop(self, *_):
        self.stopping = True
        if self.child and self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)

    def run(self, what, *command):
        if self.stopping:
            raise Stopped
        print(f"==> {what}", flush=True)
        environment = os.environ | {"MODERATO": MODERATO, "MODERATO_DATA": str(self.data)}
        environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        self.child = subprocess.Popen([str(part) for part in command], env=environment)
        status = self.child.wait()
        if self.stopping:
            raise Stopped
        if status:
            raise JobError(f"{what}: `{Path(str(command[0])).name}` ended with status {status}; the log says why")

    def model(self, what, folder, checkpoints):
        """Exports a checkpoint, or the mean of several, and calibrates it. Gives its model's folder."""
        model = folder / "model"
        if (model / "card.json").exists():
            print(f"==> {what}: there already", flush=True)
            return model
        self.run(f"{what}: to 8 bits", sys.executable, HERE / "export.py", *checkpoints, "--vocabulary", self.work / "vocab.txt", "--out", folder / "export")
        # Under another name until it is whole: a card says that there is nothing left to do.
        half = folder / "model.new"
        self.run(f"{what}: linear model, calibration, card", MODERATO, "train", "--data", self.data, "--out", half, "--transformer", folder / "export", "--sentences", self.sentences())
        half.rename(model)
        return model

    def sentences(self):
        """Sentences of our own, for the linear model."""
        file = self.work / "sentences.jsonl"
        if not file.exists():
            self.run("sentences of our own", sys.executable, HERE / "augment.py", "--json", file)
        return file

    def parts(self, name, start, seed, *options):
        """One pass of parts.py from the mean of some checkpoints with their shares."""
        folder = self.work / name
        if not (folder / "model.pt").exists():
            shares = [f"{checkpoint / 'model.pt'}={share}" for checkpoint, share in start]
            self.run(f"parts: {name}", sys.executable, HERE / "parts.py", "--start", *shares, "--vocabulary", self.work / "vocab.txt", "--out", folder, "--seed", seed, *options)
        return folder

    def early(self, name, start):
        """A first look for a checkpoint, so that what is clearly harmless costs two layers."""
        folder = self.work / name
        if not (folder / "model.pt").exists():
            self.run("a first look", sys.executable, HERE / "early.py", start, "--vocabulary", self.work / "vocab.txt", "--out", folder)
        return folder

    def seed(self, seed):
        """Trains and hardens one seed. Gives the folder of the checkpoint."""
        folder = self.work / f"seed-{seed}"
        if not (folder / "model.pt").exists():
            self.run(f"seed {seed}: training", sys.executable, HERE / "train.py", "--seed", seed, "--out", self.work, *self.options)
        hardened = folder / "hardened"
        if not (hardened / "model.pt").exists():
            start = ("--start", folder / "model.pt", "--harden", *self.options, *HARDENING)
            self.run(f"seed {seed}: hardening", sys.executable, HERE / "train.py", "--seed", seed, "--out", self.work, *start)
        return hardened

    def all(self):
        checkpoints = [self.seed(seed) for seed in self.seeds]
        models = [self.model(f"seed {seed}", self.work / f"seed-{seed}", [folder]) for seed, folder in zip(self.seeds, checkpoints)]
        self.run("over seeds", sys.executable, HERE / "seeds.py", *[model / "card.json" for model in models], "--json", self.work / "seeds.json")
        # What serves: the mean of all weights. Checkpoints from one base are near enough to each other for that, and their mean is better than each.
        # Source: M. Wortsman and others, Model soups, 2022.
        every = [part for hardened in checkpoints for part in (hardened.parent, hardened)]
        if not any((self.data / file).exists() for file in EVERYDAY):
            print("no corpus of everyday English is there: the model is not trained on parts of texts", flush=True)
            return [*models, self.model("mean", self.work / "mean", every)]
        # Parts of texts, in four passes; between them a share of the mean goes in again, which knows more about single posts.
        mean = lambda share: [(part, share / len(every)) for part in every]
        first = self.parts("parts-1", mean(1), 5)
        second = self.parts("parts-2", [*mean(0.25), (first, 0.75)], 6, "--again", "--rate", "4e-5")
        third = self.parts("parts-3", [*mean(0.3), (second, 0.7)], 7, "--again", "--rate", "3e-5")
        fourth = self.parts("parts-4", [*mean(0.2), (second, 0.4), (third, 0.4)], 8, "--again", "--rate", "3e-5")
        return [*models, self.model("mean", self.work / "mean", [self.early("early", fourth)])]


def corpora():
    """MODERATO_DATA, if it has every corpus; otherwise .local/data, filled by download."""
    named = os.environ.get("MODERATO_DATA")
    if named and fetch.complete(named):
        print(f"corpora: those in `{named}` (MODERATO_DATA)", flush=True)
        return Path(named).resolve()
    if named:
        missing = [made.file for made in fetch.MADE if not (Path(named) / made.file).exists()]
        raise JobError(f"`{named}` (MODERATO_DATA) lacks {', '.join(missing)}: give a folder that has them, or unset it to have them fetched")
    folder = ROOT / ".local/data"
    print(f"corpora: MODERATO_DATA is not set; fetching into `{folder}` what is not there", flush=True)
    if subprocess.run([sys.executable, HERE / "fetch.py", "--out", folder], check=False).returncode:
        raise JobError("the corpora could not be fetched")
    return folder


def without_share_alike(data, work):
    """A folder in `work` that has the corpora but for those under CC BY-SA."""
    folder = work / "corpora"
    if not folder.exists() and any(work.glob("seed-*")):
        raise JobError(f"`{work}` has checkpoints that were trained on all corpora: give another folder by --out")
    folder.mkdir(parents=True, exist_ok=True)
    for file in data.glob("*.csv.gz"):
        link = folder / file.name
        if file.name not in SHARE_ALIKE and not link.exists():
            link.symlink_to(file.resolve())
    # `moderato` refuses to go without one of its corpora of hate, or with an empty one. Rows with this label are not read.
    row = ["relation" if column == "label" else "" for column in fetch.STORMFRONT]
    lines = "".join(",".join(fields) + "\n" for fields in (fetch.STORMFRONT, row))
    fetch.write(folder / SHARE_ALIKE[0], gzip.compress(lines.encode(), mtime=0))
    return folder


# What train.py may be told by hyperparameters.
HYPERPARAMETERS = {"epochs": float, "tokens": int, "rate": float, "vocabulary": int, "limit": int, "save-every": int}


def sagemaker(root):
    """The job that a container's folder describes."""
    told = json.loads((root / "input/config/hyperparameters.json").read_text(encoding="utf-8"))
    seeds, options = told.pop("seeds", "1 2").split(), []
    for name, value in told.items():
        if name not in HYPERPARAMETERS:
            raise JobError(f"there is no hyperparameter `{name}`: take seeds, {', '.join(HYPERPARAMETERS)}")
        try:
            options += [f"--{name}", str(HYPERPARAMETERS[name](value))]
        except ValueError as error:
            raise JobError(f"the hyperparameter `{name}` is no number") from error
    if not seeds or not all(seed.isdecimal() for seed in seeds):
        raise JobError("give seeds as numbers with spaces between, such as `1 2`")
    base = root / "input/data/base"
    if base.exists():
        options += ["--base", str(base)]
    return Job(root / "input/data/corpora", root / "checkpoints", seeds, options)


def in_container(root):
    """Runs the job; exit status 0 and results in model/, or 1 and the reason in output/failure."""
    try:
        job = sagemaker(root)
        job.work.mkdir(parents=True, exist_ok=True)
        for model in job.all():
            shutil.copytree(model, root / "model" / model.parent.name, dirs_exist_ok=True)
        shutil.copy(job.work / "seeds.json", root / "model")
    except Stopped:
        print("stopped; a later start goes on from the checkpoints", flush=True)
        return 128 + signal.SIGTERM
    except (JobError, OSError, ValueError) as error:
        reason = str(error)[:1024]
        (root / "output").mkdir(parents=True, exist_ok=True)
        (root / "output/failure").write_text(reason, encoding="utf-8")
        print(f"error: {reason}", file=sys.stderr, flush=True)
        return 1
    return 0


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("how", nargs="?", choices=["train"], help="given by SageMaker")
    args.add_argument("--root", type=Path, default=Path("/opt/ml"), help="where SageMaker's folders are")
    args.add_argument("--seeds", nargs="+", default=["1", "2"])
    args.add_argument("--out", type=Path, help="folder to work in; .local/training, or .local/training-without-share-alike")
    args.add_argument("--without-share-alike", action="store_true", help="leaves out the corpora under CC BY-SA")
    args.add_argument("--take", type=Path, help="folder into which the mean of the seeds is put")
    for name, kind in HYPERPARAMETERS.items():
        args.add_argument(f"--{name}", type=kind, dest=f"train {name}", metavar=name.upper(), help="as train.py has it")
    args = args.parse_args()
    options = [part for name in HYPERPARAMETERS if (value := getattr(args, f"train {name}")) is not None for part in (f"--{name}", str(value))]
    if args.how == "train":
        return in_container(args.root)
    out = args.out or ROOT / (".local/training-without-share-alike" if args.without_share_alike else ".local/training")
    try:
        data = corpora()
        if args.without_share_alike:
            data = without_share_alike(data, out)
        elif (out / "corpora").exists():
            raise JobError(f"`{out}` is of a model without share-alike corpora: give another folder by --out")
        models = Job(data, out, args.seeds, options).all()
    except Stopped:
        print("stopped; the same command goes on from there", flush=True)
        return 128 + signal.SIGTERM
    except JobError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if args.take:
        shutil.copytree(models[-1], args.take, dirs_exist_ok=True)
        shutil.copy(out / "seeds.json", args.take)
        print(f"the mean of the seeds is in `{args.take}`", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
