"""Downloads the public corpora from their repositories at pinned commits and repacks them as `moderato corpora` reads them.

    python infra/training/fetch.py --out .local/data        # what is there already is not fetched again

Standard library only. A cut connection is taken up where it broke (Range), a server that fails is asked again. Every original is
checked: against the SHA-256 that stands here where one is known, and against `originals.lock.json` in the folder, which keeps what
was seen first. Where no digest stands here the pin is the commit, which names its content, as served over TLS; the lock then holds
later downloads to the first. The repacked files hold real posts, offensive throughout: they stay out of the repository.
"""

import argparse
import csv
import gzip
import hashlib
import http.client
import io
import json
import os
import re
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

RAW, ARCHIVES = "https://raw.githubusercontent.com", "https://codeload.github.com"
TRIES, PATIENCE, PIECE = 6, 60, 1 << 16
LOCK = "originals.lock.json"


class FetchError(Exception):
    """Says what to do."""


@dataclass(frozen=True)
class Original:
    """A file of a repository at a commit; without `path`, all of it as an archive."""

    repository: str
    commit: str
    path: str | None = None
    sha256: str | None = None

    @property
    def name(self):
        return f"{self.repository}@{self.commit[:12]}/{self.path or '*'}"

    def url(self, raw, archives):
        return f"{raw}/{self.repository}/{self.commit}/{self.path}" if self.path else f"{archives}/{self.repository}/tar.gz/{self.commit}"


@dataclass(frozen=True)
class Made:
    """A corpus as it is read: its file, columns, licence, what it is made of, and how."""

    file: str
    columns: tuple
    licence: str
    originals: tuple
    rows: callable


def table(data):
    return csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))


def chosen(data, columns):
    for row in table(data):
        yield [row[column] for column in columns]


def davidson(original):
    """Handles are masked: nobody is named who did not ask for it."""
    for row in table(original):
        yield [*(row[column] for column in DAVIDSON[:-1]), re.sub(r"@\w+", "@USER", row["tweet"])]


def hatexplain(part):
    """Posts of one official part with the label of two of three annotators; the few on which all three differ are left out, as by the authors."""

    def rows(dataset, divisions):
        posts = json.loads(dataset)
        for post_id in json.loads(divisions)[part]:
            post = posts[post_id]
            votes = [annotator["label"] for annotator in post["annotators"]]
            label, count = Counter(votes).most_common(1)[0]
            if count < 2:
                continue
            text = " ".join(post["post_tokens"])
            if part == "train":
                yield [text, label]
                continue
            told = [annotator["target"] for annotator in post["annotators"]]
            agreed = Counter(target for targets in told for target in set(targets))
            # A group that two of three named; `None` is the annotators' word for nobody, and counts only beside a group.
            targets = sorted(target for target, times in agreed.items() if times >= 2)
            targets = [] if targets == ["None"] else targets
            yield [post_id, text, label, ";".join(votes), ";".join(targets), json.dumps(told), json.dumps(post["rationales"]), len(post["post_tokens"])]

    return rows


def hatemoji(*parts):
    for part in parts:
        yield from chosen(part, HATEMOJI)


def stormfront(archive):
    """Sentences from a file each; the official samples are folders."""
    texts, samples, metadata = {}, {}, None
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as files:
        for member in files:
            folder, _, name = member.name.partition("/")[2].rpartition("/")
            if not member.isfile():
                continue
            if folder == "all_files":
                texts[name.removesuffix(".txt")] = files.extractfile(member).read().decode("utf-8").strip()
            elif folder in ("sampled_train", "sampled_test"):
                samples[name.removesuffix(".txt")] = folder.removeprefix("sampled_")
            elif (folder, name) == ("", "annotations_metadata.csv"):
                metadata = files.extractfile(member).read()
    for row in table(metadata):
        kept = [row[column] for column in STORMFRONT[:-2]]
        yield [*kept, texts[row["file_id"]], samples.get(row["file_id"], "")]


DAVIDSON = ("count", "hate_speech", "offensive_language", "neither", "class", "tweet")
HATEMOJI = ("entry_id", "text", "type", "target", "round.base", "round.set", "set", "split", "label_gold", "matched_text", "matched_id")
EDOS = ("rewire_id", "text", "label_sexist", "label_category", "label_vector", "split")
STORMFRONT = ("file_id", "user_id", "subforum_id", "num_contexts", "label", "text", "sampled_split")
TEMPLATES, SURGE = ("template", "toxicity", "phrase"), ("text", "is_toxic")
HATEXPLAIN_COMMIT = "01d742279dac941981f53806154481c0e15ee686"
HATEXPLAIN = (
    # Digests of this file and of EDOS's: as other public code pins them.
    Original("hate-alert/HateXplain", HATEXPLAIN_COMMIT, "Data/dataset.json", "63bb3340fee0ec469b09690d04cb68f7c187787dd8b83807f071892c084967fb"),
    Original("hate-alert/HateXplain", HATEXPLAIN_COMMIT, "Data/post_id_divisions.json"),
)
MADE = (
    Made("hatexplain_train_text_label.csv.gz", ("text", "label"), "MIT", HATEXPLAIN, hatexplain("train")),
    Made("hatexplain_val_full.csv.gz", ("post_id", "text", "label", "ann_labels", "targets_2of3", "targets_all", "rationales", "n_tokens"), "MIT", HATEXPLAIN, hatexplain("val")),
    Made("davidson_2017_labeled_tweets.csv.gz", DAVIDSON, "MIT; handles masked here",
         (Original("t-davidson/hate-speech-and-offensive-language", "6a1e3f02522963d820e302c3ad48b189552c143b", "data/labeled_data.csv"),), davidson),
    Made("hatemojibuild.csv.gz", HATEMOJI, "CC BY 4.0",
         tuple(Original("HannahKirk/Hatemoji", "a626f63216158748d072e581efc00267031f4404", f"HatemojiBuild/{part}.csv") for part in ("train", "validation", "test")), hatemoji),
    Made("edos_sexism.csv.gz", EDOS, "CC0 1.0",
         (Original("rewire-online/edos", "b1f1fbcca9d42de0395432ada8fcfb5c35f68c77", "data/edos_labelled_aggregated.csv",
                   "607bdbb766e1803a28f0eb8fc21c14b6b9dfa20039f726ba6767438584b47f9b"),), lambda data: chosen(data, EDOS)),
    Made("stormfront_vicomtech.csv.gz", STORMFRONT, "CC BY-SA 3.0 ES: share alike, so it stays a file of its own under this licence",
         (Original("Vicomtech/hate-speech-dataset", "b802137e8314c38a8d4faa965f9908d6c8e7a84d"),), stormfront),
    Made("conversationai_en_identity_templates.csv.gz", TEMPLATES, "CC BY 4.0",
         (Original("conversationai/unintended-ml-bias-analysis", "a7ab8f965743fcf7e18f3734c09eab51107dc79d", "sentence_templates/en_sentence_templates.csv"),), lambda data: chosen(data, TEMPLATES)),
    Made("surge_toxicity_1k.csv.gz", SURGE, "MIT",
         (Original("surge-ai/toxicity", "f064d868292c639feb7c81ffb89abf72f25fef89", "toxicity_en.csv"),), lambda data: chosen(data, SURGE)),
)


def complete(folder):
    """Whether a folder has every corpus."""
    return all((Path(folder) / made.file).exists() for made in MADE)


def download(url, part, say, pause=time.sleep):
    """Fetches `url` into the file `part`, going on behind what that holds; asks again after a fault that may pass."""
    for attempt in range(1, TRIES + 1):
        have = part.stat().st_size if part.exists() else 0
        headers = {"Accept-Encoding": "identity", "User-Agent": "moderato"} | ({"Range": f"bytes={have}-"} if have else {})
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=PATIENCE) as answer:
                # Whoever answers 200 sends it all again; what is there already must then not be added to.
                resumed = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
                have = have if resumed else 0
                length = answer.headers.get("Content-Length")
                total = None if length is None else have + int(length)
                with part.open("ab" if resumed else "wb") as file:
                    while piece := answer.read(PIECE):
                        file.write(piece)
                        have += len(piece)
                        say(have, total)
                if total is None or have == total:
                    return
                fault = f"the connection ended after {have} of {total} bytes"
        except urllib.error.HTTPError as error:
            if error.code == 416:
                part.unlink(missing_ok=True)
            elif error.code not in (429, 500, 502, 503, 504):
                raise FetchError(f"`{url}` answered {error.code}; is the address still right?") from error
            fault = f"it answered {error.code}"
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            fault = str(getattr(error, "reason", error)) or type(error).__name__
        if attempt < TRIES:
            print(f"  {fault}; try {attempt + 1} of {TRIES}", file=sys.stderr, flush=True)
            pause(min(2 ** attempt, 30))
    raise FetchError(f"`{url}` could not be fetched, {fault}: run it again, it goes on from there")


def digest(original, data):
    """SHA-256 of a file; of an archive over names and contents, since the same commit may be compressed otherwise another day."""
    if original.path:
        return hashlib.sha256(data).hexdigest()
    found = []
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as files:
        for member in files:
            if member.isfile():
                found.append(f"{member.name.partition('/')[2]} {hashlib.sha256(files.extractfile(member).read()).hexdigest()}\n")
    return hashlib.sha256("".join(sorted(found)).encode()).hexdigest()


class Folder:
    """The folder of the corpora, with originals in `originals/` and the lock."""

    def __init__(self, path, raw=RAW, archives=ARCHIVES, pause=time.sleep):
        self.path, self.raw, self.archives, self.pause = Path(path), raw, archives, pause
        (self.path / "originals").mkdir(parents=True, exist_ok=True)
        lock = self.path / LOCK
        self.seen = json.loads(lock.read_text(encoding="utf-8")) if lock.exists() else {}

    def original(self, original):
        """Its bytes, from the folder or fetched; digest checked."""
        kept = self.path / "originals" / re.sub(r"[^\w.-]", "_", original.name.replace("*", "all.tar.gz"))
        if not kept.exists():
            part = kept.with_name(kept.name + ".part")
            print(f"fetching {original.name}", file=sys.stderr, flush=True)
            download(original.url(self.raw, self.archives), part, Progress(), self.pause)
            self.check(original, part)
            part.rename(kept)
        return self.check(original, kept)

    def check(self, original, file):
        data = file.read_bytes()
        try:
            found = digest(original, data)
        except (tarfile.TarError, EOFError, OSError):
            found = "none, for it is no archive"
        wanted = original.sha256 or self.seen.get(original.name)
        if wanted and found != wanted or not re.fullmatch(r"[0-9a-f]{64}", found):
            file.unlink()
            raise FetchError(f"{original.name}: SHA-256 is {found}" + (f" instead of {wanted}" if wanted else "") + "; it was thrown away, run it again")
        if self.seen.get(original.name) != found:
            self.seen[original.name] = found
            write(self.path / LOCK, (json.dumps(self.seen, indent=1, sort_keys=True) + "\n").encode())
        return data

    def make(self, made):
        """Writes one corpus; the same originals give the same bytes. Gives how many rows it has."""
        data = [self.original(original) for original in made.originals]
        text = io.StringIO(newline="")
        writer, count = csv.writer(text), 0
        writer.writerow(made.columns)
        for row in made.rows(*data):
            writer.writerow(row)
            count += 1
        write(self.path / made.file, gzip.compress(text.getvalue().encode("utf-8"), mtime=0))
        return count


class Progress:
    """Says once a second how far it is, and when it is through."""

    def __init__(self):
        self.told = time.monotonic()

    def __call__(self, have, total):
        now = time.monotonic()
        if now - self.told >= 1 or have == total:
            self.told = now
            print(f"  {have / 1e6:.1f} of {total / 1e6:.1f} MB" if total else f"  {have / 1e6:.1f} MB", file=sys.stderr, flush=True)


def write(file, data):
    """All of it or nothing."""
    new = file.with_name(file.name + ".new")
    new.write_bytes(data)
    os.replace(new, file)


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--out", type=Path, default=Path(".local/data"), help="folder to fill")
    args.add_argument("--from", dest="mirror", help="address of a mirror, laid out like GitHub's two hosts, instead of these")
    args = args.parse_args()
    folder = Folder(args.out, args.mirror or RAW, args.mirror or ARCHIVES)
    try:
        for made in MADE:
            there = (args.out / made.file).exists()
            count = None if there else folder.make(made)
            print(f"{made.file}: {'there already' if there else f'{count} rows'}; {made.licence}", flush=True)
    except FetchError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
