"""The corpora by pinned download: from a server on this machine that breaks off, fails and lies."""

import csv
import gzip
import hashlib
import http.server
import io
import json
import pathlib
import sys
import tarfile
import threading

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "infra" / "training"))

import fetch  # noqa: E402


def lines(header, *rows):
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, *rows])
    return text.getvalue().encode()


def archive():
    files = {
        "annotations_metadata.csv": lines(fetch.STORMFRONT[:5], ["12_1", "7", "3", "0", "noHate"], ["12_2", "7", "3", "1", "hate"]),
        "all_files/12_1.txt": b"a sentence\n", "all_files/12_2.txt": "ein zweiter Satz – ja".encode(), "sampled_test/12_2.txt": b"x", "README.md": b"not a row",
    }  # fmt: skip
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(f"hate-speech-dataset-b802137/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def post(labels, targets, tokens=("some", "words")):
    annotators = [{"label": label, "annotator_id": i, "target": target} for i, (label, target) in enumerate(zip(labels, targets, strict=True))]
    return {"annotators": annotators, "post_tokens": list(tokens), "rationales": [[0, 1]]}


NOBODY = [["None"]] * 3
POSTS = {
    "1_gab": post(["hatespeech", "hatespeech", "normal"], [["African"], ["African", "Women"], ["None"]]),
    "2_gab": post(["offensive", "normal", "hatespeech"], NOBODY),
    "3_gab": post(["normal"] * 3, NOBODY, ["hello", "there"]),
    "4_gab": post(["offensive", "offensive", "normal"], [["Women", "Jewish"], ["Jewish", "Women"], ["None"]]),
}
DIVISIONS = {"train": ["1_gab", "2_gab"], "val": ["3_gab", "4_gab"], "test": []}


def made_up():
    """An original in the format of each, by address."""
    found = {}
    for made in fetch.MADE:
        for original in made.originals:
            name = original.path or "archive"
            if name.endswith("dataset.json"):
                data = json.dumps(POSTS).encode()
            elif name.endswith("divisions.json"):
                data = json.dumps(DIVISIONS).encode()
            elif name == "archive":
                data = archive()
            elif name.endswith("labeled_data.csv"):
                data = lines(["", *fetch.DAVIDSON], ["0", "3", "0", "0", "3", "2", 'RT @some_body: hi, "you" &amp; @Other\nbye'])
            else:
                data = lines(made.columns, *[[f"{name} {column} {i}" for column in made.columns] for i in range(40)])
            found[original.url("", "")] = data
    return found


@pytest.fixture
def server():
    """`files` by address, `faults`: answers to give first, by address; `asked`: what came in."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("Range")))
            data, fault = files.get(self.path), faults.get(self.path, []).pop(0) if faults.get(self.path) else None
            if data is None or isinstance(fault, int):
                self.send_response(fault or 404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")) if self.headers.get("Range") and fault != "no ranges" else 0
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            self.wfile.write(data[start : start + (len(data) - start) // 2 if fault == "cut" else None])

        def log_message(self, *_):
            pass

    files, faults, asked = made_up(), {}, []
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True).start()
    served.files, served.faults, served.asked = files, faults, asked
    served.address = f"http://127.0.0.1:{served.server_port}"
    yield served
    served.shutdown()
    served.server_close()


@pytest.fixture
def folder(server, tmp_path, monkeypatch):
    """A fresh folder; digests that stand in the code belong to the real originals and are left out."""
    monkeypatch.setattr(fetch, "MADE", tuple(unpinned(made) for made in fetch.MADE))
    return lambda: fetch.Folder(tmp_path, server.address, server.address, pause=lambda seconds: None)


def unpinned(made):
    from dataclasses import replace

    return replace(made, originals=tuple(replace(original, sha256=None) for original in made.originals))


def by_name(start):
    return next(made for made in fetch.MADE if made.file.startswith(start))


def rows(path):
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_corpus_that_is_read_is_made_with_the_columns_that_are_read(folder, tmp_path):
    code = (ROOT / "cli/src/corpora.rs").read_text()
    assert sorted(made.file for made in fetch.MADE) == sorted(part.split('"')[0] for part in code.split('file: "')[1:])
    assert not fetch.complete(tmp_path)
    for made in fetch.MADE:
        assert folder().make(made) > 0
        assert tuple(rows(tmp_path / made.file)[0]) == made.columns
    assert fetch.complete(tmp_path)
    for block in code.split('file: "')[1:]:
        made = by_name(block.split('"')[0])
        read = {part.split('"')[0] for part in block.split("Corpus {")[0].split("fn hatexplain_class")[0].split('.get("')[1:]}
        assert read <= set(made.columns), made.file


def test_rows_say_what_the_originals_say(folder, tmp_path):
    for made in fetch.MADE:
        folder().make(made)
    assert rows(tmp_path / "hatexplain_train_text_label.csv.gz") == [{"text": "some words", "label": "hatespeech"}], "three answers are no majority"
    third, fourth = rows(tmp_path / "hatexplain_val_full.csv.gz")
    assert (third["text"], third["label"], third["targets_2of3"], third["ann_labels"]) == ("hello there", "normal", "", "normal;normal;normal")
    assert (fourth["post_id"], fourth["label"], fourth["targets_2of3"], fourth["n_tokens"]) == ("4_gab", "offensive", "Jewish;Women", "2")
    (tweet,) = rows(tmp_path / "davidson_2017_labeled_tweets.csv.gz")
    assert tweet["tweet"] == 'RT @USER: hi, "you" &amp; @USER\nbye' and tweet["class"] == "2"
    first, second = rows(tmp_path / "stormfront_vicomtech.csv.gz")
    assert (first["text"], first["sampled_split"], first["label"]) == ("a sentence", "", "noHate")
    assert (second["text"], second["sampled_split"], second["user_id"]) == ("ein zweiter Satz – ja", "test", "7")
    assert len(rows(tmp_path / "hatemojibuild.csv.gz")) == 120


def test_the_same_originals_give_the_same_bytes(folder, tmp_path):
    made = by_name("stormfront")
    folder().make(made)
    before = (tmp_path / made.file).read_bytes()
    (tmp_path / made.file).unlink()
    folder().make(made)
    assert (tmp_path / made.file).read_bytes() == before


def test_a_cut_connection_is_taken_up_where_it_broke(folder, server, tmp_path):
    made = by_name("surge")
    url = made.originals[0].url("", "")
    server.faults[url] = ["cut", "cut"]
    folder().make(made)
    half = len(server.files[url]) // 2
    assert [ranged for _, ranged in server.asked] == [None, f"bytes={half}-", f"bytes={half + (len(server.files[url]) - half) // 2}-"]
    assert len(rows(tmp_path / made.file)) == 40


def test_a_server_without_ranges_sends_it_all_again(folder, server, tmp_path):
    made = by_name("surge")
    server.faults[made.originals[0].url("", "")] = ["cut", "no ranges"]
    folder().make(made)
    assert len(rows(tmp_path / made.file)) == 40


def test_a_server_that_fails_is_asked_again_and_one_that_refuses_is_not(folder, server):
    made = by_name("surge")
    url = made.originals[0].url("", "")
    server.faults[url] = [500, 503, 429]
    assert folder().make(made) == 40
    assert len(server.asked) == 4
    made = by_name("edos")
    del server.files[made.originals[0].url("", "")]
    with pytest.raises(fetch.FetchError, match="answered 404"):
        folder().make(made)
    assert len(server.asked) == 5


def test_giving_up_keeps_what_is_there(folder, server, tmp_path):
    made = by_name("surge")
    url = made.originals[0].url("", "")
    server.faults[url] = ["cut"] + [500] * (fetch.TRIES - 1)
    with pytest.raises(fetch.FetchError, match="goes on from there"):
        folder().make(made)
    assert not (tmp_path / made.file).exists()
    folder().make(made)
    assert server.asked[-1][1] == f"bytes={len(server.files[url]) // 2}-"


def test_another_digest_than_the_pinned_one_is_thrown_away(folder, server, tmp_path, monkeypatch):
    from dataclasses import replace

    made = by_name("surge")
    good = hashlib.sha256(server.files[made.originals[0].url("", "")]).hexdigest()
    pinned = replace(made, originals=(replace(made.originals[0], sha256="0" * 64),))
    with pytest.raises(fetch.FetchError, match="instead of 0000"):
        folder().make(pinned)
    assert list((tmp_path / "originals").iterdir()) == []
    assert folder().make(replace(made, originals=(replace(made.originals[0], sha256=good),))) == 40


def test_later_downloads_are_held_to_the_first(folder, server, tmp_path):
    for made in (by_name("surge"), by_name("stormfront")):
        folder().make(made)
        for file in (tmp_path / "originals").iterdir():
            file.unlink()
        folder().make(made)
        for file in (tmp_path / "originals").iterdir():
            file.unlink()
    server.files[by_name("surge").originals[0].url("", "")] += b"one more row,x\n"
    with pytest.raises(fetch.FetchError, match="instead of"):
        folder().make(by_name("surge"))


def test_an_archive_compressed_otherwise_is_the_same(server):
    original = by_name("stormfront").originals[0]
    data = server.files[original.url("", "")]
    again = gzip.compress(gzip.decompress(data), compresslevel=1)
    assert again != data and fetch.digest(original, again) == fetch.digest(original, data)


def test_the_command_fills_a_folder_says_the_licences_and_fetches_nothing_twice(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fetch, "MADE", tuple(unpinned(made) for made in fetch.MADE))
    monkeypatch.setattr(sys, "argv", ["fetch.py", "--out", str(tmp_path), "--from", server.address])
    fetch.main()
    assert "CC BY-SA 3.0 ES" in capsys.readouterr().out
    asked = len(server.asked)
    assert asked == 10, "each original once"
    fetch.main()
    assert len(server.asked) == asked and "there already" in capsys.readouterr().out
