"""Training: sentences of our own keep their distance, and the whole path runs in small from made-up corpora to a model that scores."""

import csv
import gzip
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRAINING = ROOT / "infra" / "training"
TORCH = ROOT / ".tools" / "training" / "bin" / "python"
MODERATO = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "moderato"

needs_torch = pytest.mark.skipif(not TORCH.exists(), reason="PyTorch is not installed; `make train` installs it into .tools/training")

# Words that decide, and some that do not.
KIND, VILE, PEOPLE = ["kind", "quiet", "green"], "vile", ["person", "cook", "driver", "painter"]


def sentences(start, count):
    """(text, hateful): one of three says the word that decides."""
    for i in range(start, start + count):
        yield f"{PEOPLE[i % 4]} {i} is {VILE if i % 3 == 0 else KIND[i % 3]} today", i % 3 == 0


def part(i):
    return ("train", "train", "dev", "test")[i % 4]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """All eight corpora with their own columns, some hundred rows each."""
    folder = tmp_path_factory.mktemp("corpora")
    layouts = {
        "hatexplain_train_text_label": ("text,label", lambda i, t, h: [t, "hatespeech" if h else ("normal", "offensive")[i % 2]]),
        "hatexplain_val_full": ("text,label,targets_2of3", lambda i, t, h: [t, "hatespeech" if h else ("normal", "offensive")[i % 2], "Women"]),
        "davidson_2017_labeled_tweets": ("class,tweet", lambda i, t, h: ["0" if h else "12"[i % 2], t]),
        "hatemojibuild": ("text,type,split,label_gold", lambda i, t, h: [t, "none", part(i), int(h)]),
        "stormfront_vicomtech": ("label,text,sampled_split", lambda i, t, h: ["hate" if h else "noHate", t, ""]),
        "edos_sexism": ("text,label_sexist,label_category,split", lambda i, t, h: [t, "sexist" if h else "not sexist", "none", part(i)]),
        "conversationai_en_identity_templates": ("template,toxicity,phrase", lambda i, t, h: ["a", "toxic" if h else "nontoxic", t]),
        "surge_toxicity_1k": ("text,is_toxic", lambda i, t, h: [t, "Toxic" if h else "Not Toxic"]),
    }
    for number, (name, (header, row)) in enumerate(layouts.items()):
        with gzip.open(folder / f"{name}.csv.gz", "wt", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header.split(","))
            writer.writerows(row(i, text, hateful) for i, (text, hateful) in enumerate(sentences(number * 1000, 200)))
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A BERT of one layer, 32 wide, that knows letters and a few words."""
    folder = tmp_path_factory.mktemp("base")
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{c}" for c in letters), *PEOPLE, *KIND, VILE, "is", "today", "the", "are", "people"]
    (folder / "vocab.txt").write_text("".join(word + "\n" for word in words))
    (folder / "config.json").write_text(json.dumps({"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 64}))
    make = """
import sys, torch
from safetensors.torch import save_file
torch.manual_seed(3)
words, folder = int(sys.argv[1]), sys.argv[2]
shapes = {"embeddings.word_embeddings.weight": (words, 32), "embeddings.position_embeddings.weight": (128, 32), "embeddings.token_type_embeddings.weight": (2, 32),
          "embeddings.LayerNorm.weight": (32,), "embeddings.LayerNorm.bias": (32,)}
for name, out, into in [("attention.self.query", 32, 32), ("attention.self.key", 32, 32), ("attention.self.value", 32, 32), ("attention.output.dense", 32, 32), ("intermediate.dense", 64, 32), ("output.dense", 32, 64)]:
    shapes[f"encoder.layer.0.{name}.weight"], shapes[f"encoder.layer.0.{name}.bias"] = (out, into), (out,)
for name in ("attention.output.LayerNorm", "output.LayerNorm"):
    shapes[f"encoder.layer.0.{name}.weight"] = shapes[f"encoder.layer.0.{name}.bias"] = (32,)
save_file({name: torch.ones(shape) if name.endswith("LayerNorm.weight") else torch.randn(shape) * 0.1 for name, shape in shapes.items()}, folder + "/model.safetensors")
"""
    subprocess.run([TORCH, "-c", make, str(len(words)), str(folder)], check=True)
    return folder


def run(*command, **variables):
    """One thread, so that the same steps give the same bits."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MODERATO": str(MODERATO)} | variables
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment, check=False)


def test_sentences_of_ours_name_no_held_out_term_and_repeat_no_measured_sentence():
    answer = run(sys.executable, TRAINING / "augment.py")
    assert answer.returncode == 0, answer.stderr
    assert "none names a term that is held out" in answer.stdout
    look = "import random, augment; apart = augment.kept_apart(); print(len(apart), sum(augment.bare(r['text']) in apart for r in augment.synthetic(random.Random(5))))"
    answer = run(sys.executable, "-c", look, PYTHONPATH=str(TRAINING))
    measured, repeated = map(int, answer.stdout.split())
    assert measured > 400 and repeated == 0


def test_seeds_are_summed_up(tmp_path):
    for seed, f1 in ((1, 0.8), (2, 0.9)):
        bands = [{"decision": "approve", "share_of_positives": 0.1}, {"decision": "review", "share": 0.3}, {"decision": "hide", "positive_share": None}]
        pooled = {"auc_roc": 0.9, "ece": 0.02 * seed, "bands": bands}
        card = {"model": {"sha256": str(seed)}, "validation": {"hatexplain": {"macro_f1": f1, "auc_roc": 0.9}, "pooled": pooled}, "transformer": {"runs": [{"seed": seed}]}}
        (tmp_path / f"{seed}.json").write_text(json.dumps(card))
    answer = run(sys.executable, TRAINING / "seeds.py", tmp_path / "1.json", tmp_path / "2.json", "--json", tmp_path / "seeds.json")
    assert answer.returncode == 0, answer.stderr
    found = json.loads((tmp_path / "seeds.json").read_text())
    told = found["measures"]["hatexplain, hate against rest: macro-F1"]
    assert found["seeds"] == [[1], [2]] and told["values"] == [0.8, 0.9]
    assert (told["mean"], told["deviation"]) == pytest.approx((0.85, 0.1 / 2**0.5))
    assert "pooled: precision of hiding" not in found["measures"], "no seed hid anything: there is no precision"
    assert "| pooled: ECE | 0.0300 |" in answer.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory, corpora, base):
    """Two runs of the same seed: one in one go, one killed and taken up again."""
    out = tmp_path_factory.mktemp("training")
    variables = {"MODERATO_DATA": str(corpora)}

    def command(name):
        options = ["--seed", "1", "--limit", "400", "--ours", "200", "--epochs", "2", "--tokens", "256", "--rate", "0.003", "--save-every", "5"]
        return [str(part) for part in (TORCH, TRAINING / "train.py", "--base", base, "--out", out / name, *options)]

    answer = run(*command("whole"), **variables)
    assert answer.returncode == 0, answer.stderr
    for stop in (signal.SIGKILL, signal.SIGTERM):
        environment = os.environ | variables | {"OMP_NUM_THREADS": "1", "MODERATO": str(MODERATO)}
        state = out / "cut" / "seed-1" / "state.pt"
        before = state.stat().st_mtime_ns if state.exists() else 0
        process = subprocess.Popen(command("cut"), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        while process.poll() is None and not (state.exists() and state.stat().st_mtime_ns > before):
            time.sleep(0.002)
        process.send_signal(stop)
        told = process.communicate()[0]
        assert process.returncode in (-signal.SIGKILL, 128 + signal.SIGTERM), told
    answer = run(*command("cut"), **variables)
    assert answer.returncode == 0, answer.stderr
    assert "resuming at step" in answer.stdout
    return out


@needs_torch
def test_a_run_that_was_killed_and_stopped_ends_with_the_same_weights(trained):
    compare = "import sys, torch; a, b = (torch.load(path) for path in sys.argv[1:]); print(all(torch.equal(a[k], b[k]) for k in a) and a.keys() == b.keys())"
    answer = run(TORCH, "-c", compare, trained / "whole/seed-1/model.pt", trained / "cut/seed-1/model.pt")
    assert answer.stdout.strip() == "True", answer.stderr


@needs_torch
def test_the_whole_path_from_corpora_to_a_model_that_scores(trained, corpora, tmp_path):
    export, model = tmp_path / "export", tmp_path / "model"
    answer = run(TORCH, TRAINING / "export.py", trained / "whole/seed-1", "--vocabulary", trained / "whole/vocab.txt", "--out", export)
    assert answer.returncode == 0, answer.stderr
    answer = run(MODERATO, "train", "--data", corpora, "--out", model, "--transformer", export)
    assert answer.returncode == 0, answer.stderr
    card = json.loads((model / "card.json").read_text())
    assert card["transformer"]["runs"][0]["seed"] == 1 and "save_every" not in card["transformer"]["runs"][0]
    held = tmp_path / "held.jsonl"
    held.write_text("".join(json.dumps({"text": t, "hate": str(h)}) + "\n" for t, h in sentences(9000, 90)))
    answer = run(MODERATO, "evaluate", "--model", model, "--data", held, "--text-column", "text", "--positive-when", "hate=True", "--json")
    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout)
    assert told["model"]["name"] == "minilm-cascade" and told["auc_roc"] > 0.95
    # 8 bits against 32: an end to end look at the study, on the same tiny model.
    answer = run(TORCH, TRAINING / "precision.py", "--model", model, "--fp32", export / "transformer-fp32.onnx", "--data", corpora, "--json", tmp_path / "precision.json")
    assert answer.returncode == 0, answer.stderr
    found = json.loads((tmp_path / "precision.json").read_text())
    assert found["bounds"] == [0.2, 0.8] and found["rows"] > 100 and found["decision"] < 0.2
    (export / "transformer-fp32.onnx").write_bytes(b"another graph")
    answer = run(TORCH, TRAINING / "precision.py", "--model", model, "--fp32", export / "transformer-fp32.onnx", "--data", corpora)
    assert answer.returncode == 1 and "is not the graph" in answer.stderr


@needs_torch
def test_flips_are_counted():
    look = """
import numpy as np, precision
found = precision.flips(np.array([0.1, 0.3, 0.49, 0.9]), np.array([0.2, 0.3, 0.51, 0.9]), [0.2, 0.8])
assert (found["decision"], found["at_0.5"]) == (0.25, 0.25), found
assert abs(found["distance"]["most"] - 0.1) < 1e-9, found
"""
    answer = run(TORCH, "-c", look, PYTHONPATH=str(TRAINING))
    assert answer.returncode == 0, answer.stderr


@needs_torch
def test_history_is_of_other_posts_and_a_new_author_has_none():
    look = """
import numpy as np, history
row = lambda author, post, hate: {"author": author, "post": post, "hate": hate}
told = history.Histories([row("a", 1, 1), row("a", 1, 1), row("a", 3, 0), row("b", 2, 0), row("c", 9, 1), row("c", 8, 0)])
assert told.prior == 0.5
assert told.counts(row("a", 1, 0), "other") == (0, 1) and told.counts(row("a", 1, 0), "any") == (2, 3)
assert told.counts(row("a", 3, 0), "earlier") == (2, 2) and told.counts(row("a", 1, 0), "earlier") == (0, 0)
features, known = told.features([row("new", 5, 1), row("a", 7, 1)], "other")
assert features[0].tolist() == [0, 1] and features[1][0] > 0 and features[1][1] == 0 and known.tolist() == [0, 3]
answers, p = np.array([0, 1, 1, 0]), np.array([0.1, 0.9, 0.7, 0.7])
assert abs(history.ece(answers, p) - (0.1 + 0.1 + 0.4) / 4) < 1e-9
"""
    answer = run(TORCH, "-c", look, PYTHONPATH=str(TRAINING))
    assert answer.returncode == 0, answer.stderr
