"""What a user would write instead: the job of the `score` function in Python, for `make bench`.

boto3, onnxruntime, tokenizers and numpy under the official runtime client (awslambdaric), with the same cascade of models, the same
policy (its three rules as functions), the same calls to AWS and the same record. Written for speed where Python has
some: features of a whole batch in a few numpy operations, compiled expressions, clients made once with keep-alive and
without parameter validation, items built by hand instead of by a serialiser. Lighter than the Rust function in five
ways, all in its favour: it never asks the registry, the policy is code instead of a file, it does not weigh its items
to fit a write unit, of the five event shapes it reads the native one, and of the two readings of a text it leaves out
the look-alike letters of other scripts (Unicode's confusables). Emoji are named by the `emoji` package, whose names are not in every case ours.
"""

import base64
import datetime
import hashlib
import json
import math
import os
import pathlib
import re
import time
import unicodedata

import boto3
import emoji
import numpy as np
import onnxruntime
from botocore.config import Config
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

FOLDER = pathlib.Path(os.environ["MODEL_FOLDER"])
FEATURE_SET = "core@1"
FEATURE_SHA256 = hashlib.sha256(pathlib.Path(os.environ["FEATURES_FILE"]).read_bytes()).digest()
POLICY_FILE = pathlib.Path(os.environ["POLICY_FILE"]).read_bytes()
STAGE = os.environ["STAGE"]
DECISIONS_TABLE = os.environ["DECISIONS_TABLE"]
FEATURES_TABLE = os.environ["FEATURES_TABLE"]
TASKS_QUEUE_URL = os.environ["TASKS_QUEUE_URL"]
ACTIONS_QUEUE_URL = os.environ["ACTIONS_QUEUE_URL"]
ARTIFACTS_BUCKET = os.environ["ARTIFACTS_BUCKET"]
KEPT_SECONDS = int(os.environ["DECISION_DAYS"]) * 86_400
MEMORY_GB = int(os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]) / 1024

CLIENT = Config(
    retries={"mode": "standard", "max_attempts": 3},
    connect_timeout=0.8,
    read_timeout=2,
    parameter_validation=False,
    tcp_keepalive=True,
)
dynamodb = boto3.client("dynamodb", config=CLIENT)
sqs = boto3.client("sqs", config=CLIENT)
s3 = boto3.client("s3", config=CLIENT)  # all clients at import, as AWS advises, and as ours does


# --- the model -------------------------------------------------------------------------------------------------------

MANIFEST_BYTES = (FOLDER / "manifest.json").read_bytes()
MANIFEST = json.loads(MANIFEST_BYTES)
SECOND = MANIFEST["transformer"]


def verified(entry):
    """The path of a file that the manifest names."""
    path = FOLDER / entry["file"]
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != entry["sha256"]:
            raise RuntimeError(f"`{entry['file']}` has another digest than the manifest says")
    return path


HARM = MANIFEST["harm"]
LANGUAGES = frozenset(MANIFEST["languages"])
MODEL_NAME = f"{MANIFEST['name']}@{MANIFEST['version']}"
SLOPE, OFFSET = MANIFEST["calibration"]["slope"], MANIFEST["calibration"]["offset"]
WORD_MAX, CHAR_MIN, CHAR_MAX = (MANIFEST["ngrams"][name] for name in ("word_max", "char_min", "char_max"))
WORD_WEIGHT, CHAR_WEIGHT = MANIFEST["ngrams"]["word_weight"], MANIFEST["ngrams"]["char_weight"]
WINDOW_TOKENS, WINDOW_CHARS, OVERLAP = (MANIFEST["window"][name] for name in ("tokens", "chars", "overlap"))
BITS = MANIFEST["ngrams"]["bits"]



def session(path, level):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    options.graph_optimization_level = level
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def linear_weights():
    """Weights and bias of the linear graph: what it makes of every bucket. A product in numpy serves, far faster than a session."""
    graph = session(verified(MANIFEST["model"]), onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC)
    buckets = np.arange(1 << BITS)
    (weights,) = graph.run(["contributions"], {"buckets": buckets, "values": np.ones(1 << BITS, np.float32)})
    (bias,) = graph.run(["logit"], {"buckets": buckets[:1], "values": np.zeros(1, np.float32)})
    return weights, float(bias)


def word_piece(vocabulary):
    names = vocabulary.read_text().splitlines()
    ids = {name: place for place, name in enumerate(names)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer, ids["[CLS]"], ids["[SEP]"], ids["[UNK]"]


WEIGHTS, BIAS = linear_weights()
tokenizer, START, END, UNKNOWN = word_piece(verified(SECOND["vocabulary"]))
transformer = session(verified(SECOND["model"]), onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)
ASKED_FROM, STACKING = SECOND["asked_from"], SECOND["calibration"]
PIECES, PIECES_OVERLAP = SECOND["window"]["pieces"], SECOND["window"]["overlap"]
WORST = SECOND["worst_part"]
# Where it is measured with as much reading as ours: the parts that ours reads besides the whole, as ids, by the digest of the text.
PARTS = json.loads(pathlib.Path(os.environ["PARTS_FILE"]).read_bytes()) if "PARTS_FILE" in os.environ else None
# Runs of the transformer that an explanation may cost.
RUNS = 6  # one for each reading, the rest for words


# --- readings --------------------------------------------------------------------------------------------------------
# A text as (what is read, the raw characters that each character stands for as (from, to)): once plainly, once with
# evasions undone.

LETTER, SOLID = r"[^\W_]", r"(?:[^\W_]|[!\u20ac@$+*])"
READ = re.compile(
    r"(?P<emoji>[\xa9\xae\u2001-\u32ff\U00010000-\U000e0fff]|[\x00-\xa8](?=[\ufe0f\u20e3]))"
    r"|(?P<invisible>[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    r"\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff])"
    r"|(?P<name>(?i:<user>|\[user\]|<url>|\[url\]|<number>|\[number\]))"
    rf"|(?<!{LETTER})(?:(?P<user>@[A-Za-z0-9_]{{3,}})|(?P<url>(?i:https?://|www\.)[^\s<>\"]*))"
)
NAMES = {"user": "@user", "url": "http", "number": "number"}
FOREIGN = re.compile(r"[^\x00-\x7f]")
HASHTAG = re.compile(rf"#{LETTER}+")
CAMEL = re.compile(r"(?<=[^\W\d_][a-z])[A-Z](?=[a-z])")
DIVIDER = re.compile(rf"(?<={LETTER})(?:[_|~^\xb7\u2022\\`]|(?P<real>[.\-\u2010-\u2015]))(?={LETTER})")
SPACED = re.compile(rf"(?<![^\W_]|[!\u20ac@$+*]){SOLID}(?P<d>[ .\-_*,/|~'\xb7\t\xa0\u2022]){SOLID}(?:(?P=d){SOLID})+(?!{SOLID})")
SIGNED = re.compile(rf"{SOLID}*[0-9!\u20ac@$+*]{SOLID}*")
REPEATED = re.compile(r"([^\W\d_])\1{2,}", re.IGNORECASE)
# Where none of these stands, folding changes nothing.
SUSPECT = re.compile(
    rf"[^\x00-\x7f]|#{LETTER}*[a-z][A-Z]|{LETTER}[_|~^\\`.\-]{LETTER}|(?<!{LETTER}){SOLID}([ .\-*,/'\t]){SOLID}\1{SOLID}(?!{LETTER})"
    rf"|[^\W\d_][0-9!@$+*]|[0-9!@$+*][^\W\d_]|([^\W\d_])\2\2", re.IGNORECASE
)  # fmt: skip
LEET = {"0": "o", "1": "i", "!": "i", "3": "e", "\u20ac": "e", "4": "a", "@": "a", "5": "s", "$": "s", "6": "g", "9": "g",
        "7": "t", "+": "t", "8": "b"}  # fmt: skip
MASKED = (
    "fuck fucks fucking fucker fuckers fucked motherfucker motherfuckers shit shits shitty bullshit bitch bitches cunt cunts "
    "whore whores slut sluts faggot faggots fags nigger niggers nigga niggas retard retards retarded kike kikes tranny "
    "trannies dyke dykes spic chink chinks pussy"
).split()


def sub(reading, pattern, said):
    """Replaces matches: `said` gives (text, places), a text that stands for the whole match, or None to leave it."""
    text, places = reading
    out, marks, at = [], [], 0
    for match in pattern.finditer(text):
        start, end = match.span()
        new = said(match, places[start:end])
        if new is None or start < at:
            continue
        if isinstance(new, str):
            new = new, [(min(a for a, _ in places[start:end]), max(b for _, b in places[start:end]))] * len(new)
        out += text[at:start], new[0]
        marks += places[at:start] + new[1]
        at = end
    if not at:
        return reading
    return "".join(out) + text[at:], marks + places[at:]


def said_plainly(match, _places):
    kind = match.lastgroup
    if kind == "invisible":
        return ""
    if kind == "emoji":
        return "" if READ_INVISIBLE.match(match.group()) else None
    return NAMES["user" if kind == "user" else "url" if kind == "url" else match.group()[1:-1].lower()]


READ_INVISIBLE = re.compile(r"[\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\U000e0000-\U000e0fff]")


def named(reading):
    """Emoji become their names, as words of their own."""
    text, places = reading
    out, marks, at = [], [], 0
    for found in emoji.emoji_list(text):
        start, end = found["match_start"], found["match_end"]
        name = " ".join(re.sub(r"[\W_]+", " ", emoji.EMOJI_DATA[found["emoji"]]["en"]).split())
        before = out[-1] if out and at == start else text[start - 1 : start] if start > at else ""
        name = (" " if before and not before[-1].isspace() else "") + name + " "
        out += text[at:start], name
        marks += places[at:start] + [(places[start][0], places[end - 1][1])] * len(name)
        at = end
    return "".join(out) + text[at:], marks + places[at:]


def read(reading):
    for _ in range(16):
        if not READ.search(reading[0]):
            return reading
        before = reading[0]
        if not before.isascii():
            reading = named(reading)
        reading = sub(reading, READ, said_plainly)
        if reading[0] == before:
            return reading
    return reading


def ascii_letters(match, _places):
    character = match.group()
    if unicodedata.combining(character):
        return ""
    compatible = "".join(c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c))
    if compatible.isascii() and compatible.isalnum() or len(compatible) == 1:
        return compatible
    return None


def cut_hashtag(match, places):
    text, out, marks, at = match.group(), [], [], 0
    for upper in CAMEL.finditer(text):
        start = upper.start()
        out += text[at:start], " "
        marks += places[at:start] + [(places[start][0],) * 2]
        at = start
    return "".join(out) + text[at:], marks + places[at:]


def undivided(match, _places):
    if match.lastgroup != "real":
        return ""
    text, at = match.string, match.start()
    if text[at - 1].isdigit() and text[at + 1].isdigit():
        return None
    left, right = text[max(at - 3, 0) : at], text[at + 1 : at + 4]
    return None if len(left) == 3 and left.isalnum() and len(right) == 3 and right.isalnum() else ""


def joined(match, places):
    letters = match.group()[::2]
    known = sum(letter.isalpha() for letter in letters)
    return (letters, places[::2]) if known >= 2 and known * 2 >= len(letters) else None


def letters_for_signs(match, places):
    word = match.group()
    body = word.rstrip("!+*")
    read_as = unmasked(body) or unleeted(body)
    return read_as + word[len(body) :], places


def unmasked(word):
    if "*" not in word or len(word) - word.count("*") < 2:
        return None
    for known in MASKED:
        if len(known) == len(word) and all(a in ("*", b) for a, b in zip(word.lower(), known)):
            return "".join(b if a == "*" else a for a, b in zip(word, known))
    return None


def unleeted(word):
    letters, signs = sum(c.isalpha() for c in word), sum(c in LEET for c in word)
    leading = len(word) - len(word.lstrip("".join(LEET)))
    trailing = len(word) - len(word.rstrip("0123456789"))
    ordinal = leading == signs > 0 and letters <= 2 and word[:leading].isdigit()
    numbered = trailing == signs and (letters < 3 or trailing > 1)
    if not letters or not signs or letters + 1 < signs or len(word) < 2 or ordinal or numbered:
        return word
    out = []
    for place, c in enumerate(word):
        letter = LEET.get(c, c)
        if letter == "i" and c in "1!":
            before, after = word[place - 1 : place] if place else "", word[place + 1 : place + 2]
            vowel = lambda c: bool(c) and c in "aeiouAEIOU034@"  # noqa: E731
            if c == "1" and (c in (before, after) or not place and vowel(after) or vowel(before) and after in ("", "l")):
                letter = "l"
        out.append(letter)
    return "".join(out)


def unrepeated(match, places):
    kept = 1 if match.group(1).lower() in "aeiou" else 2
    return match.group()[:kept], places[: kept - 1] + [(places[kept - 1][0], max(b for _, b in places))]


def readings(text):
    """The plain reading, and the folded one where it differs."""
    raw = text, [(place, place + 1) for place in range(len(text))]
    plain = folded = read(raw)
    if not SUSPECT.search(plain[0]):
        return [plain]
    for _ in range(16):
        before = folded[0]
        for pattern, said in (
            (FOREIGN, ascii_letters), (HASHTAG, cut_hashtag), (DIVIDER, undivided), (SPACED, joined),
            (SIGNED, letters_for_signs), (REPEATED, unrepeated),
        ):  # fmt: skip
            folded = sub(folded, pattern, said)
        folded = read(folded)
        if folded[0] == before:
            break
    return [plain] if folded[0] == plain[0] else [plain, folded]


# --- n-grams ---------------------------------------------------------------------------------------------------------

TOKEN = re.compile(
    r"(?P<placeholder>(?i:<user>|\[user\]|<url>|\[url\]|<number>|\[number\]))"
    r"|(?<![^\W_])(?:(?P<user>(?:@[A-Za-z0-9_]+)+)|(?P<url>(?i:https?://|www\.)[^\s<>\"]*))"
    r"|(?P<word>[^\W_]+)"
    r"|(?P<symbol>\S)"
)
LONGEST_WORD, PIECE_OVERLAP = 64, 8
# Bytes that never occur in UTF-8 mark structure.
WORD_EDGE = b"\xfe"
FOLDED = {"user": b"\xfdu", "url": b"\xfdl", "number": b"\xfdn"}

FNV_OFFSET, FNV_PRIME, MASK = 14_695_981_039_346_656_037, 1_099_511_628_211, (1 << 64) - 1
WORD_SEED = ((FNV_OFFSET ^ 1) * FNV_PRIME) & MASK
CHAR_SEED = np.uint64(((FNV_OFFSET ^ 2) * FNV_PRIME) & MASK)
PRIME = np.uint64(FNV_PRIME)
MIX_1, MIX_2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
SHIFT, TOP = np.uint64(33), np.uint64(64 - BITS)
CHAR_VIEW = 1 << BITS


def tokenise(text):
    """Tokens as (bytes that are hashed, lower-case word or None, length that windows count, start, end)."""
    tokens = []
    for match in TOKEN.finditer(text):
        kind, raw = match.lastgroup, match.group()
        start, end = match.span()
        if kind == "word":
            word = raw.lower()
            if len(word) <= LONGEST_WORD:
                tokens.append((word.encode(), word, len(word), start, end))
            else:
                tokens.extend(pieces(raw, start))
        elif kind == "symbol":
            symbol = raw.lower()
            tokens.append((symbol.encode("utf-8", "replace"), None, len(symbol), start, end))
        elif kind == "user":
            tokens.extend((FOLDED["user"], None, 0, start, end) for _ in range(raw.count("@")))
        else:
            name = "url" if kind == "url" else raw[1:-1].lower()
            tokens.append((FOLDED[name], None, 0, start, end))
    return tokens


def pieces(raw, start):
    """A word of more than 64 characters, as overlapping pieces of 64."""
    step = LONGEST_WORD - PIECE_OVERLAP
    for at in range(0, max(len(raw) - PIECE_OVERLAP, 1), step):
        piece = raw[at : at + LONGEST_WORD]
        word = piece.lower()
        yield word.encode(), word, len(word), start + at, start + at + len(piece)


def windows(tokens):
    """Ranges of tokens that the model reads at once."""
    count, start = len(tokens), 0
    while True:
        chars, end = 0, start
        while end < count and end - start < WINDOW_TOKENS:
            chars += tokens[end][2]
            if chars > WINDOW_CHARS and end > start:
                break
            end += 1
        yield start, end
        if end >= count:
            return
        furthest = min(OVERLAP, WINDOW_TOKENS // 2, (end - start) // 2)
        chars, start = tokens[end][2], end
        while end - start < furthest:
            chars += tokens[start - 1][2]
            if chars > WINDOW_CHARS:
                break
            start -= 1


def mixed(hashes):
    """Buckets of FNV-1a hashes, finished as MurmurHash3 does."""
    hashes = hashes ^ (hashes >> SHIFT)
    hashes = hashes * MIX_1
    hashes = hashes ^ (hashes >> SHIFT)
    hashes = hashes * MIX_2
    hashes = hashes ^ (hashes >> SHIFT)
    return (hashes >> TOP).astype(np.int64)


def word_ngrams(segments):
    """Hashes of n-grams of tokens, with segment, first token and number of tokens of each."""
    hashes, segment_of, first, length = [], [], [], []
    for number, (tokens, start, end) in enumerate(segments):
        for index in range(start, end):
            state = WORD_SEED
            for more in range(min(WORD_MAX, end - index)):
                if more:
                    state = ((state ^ 0xFF) * FNV_PRIME) & MASK
                for byte in tokens[index + more][0]:
                    state = ((state ^ byte) * FNV_PRIME) & MASK
                hashes.append(state)
                segment_of.append(number)
                first.append(index - start)
                length.append(more + 1)
    return (
        mixed(np.array(hashes, np.uint64)),
        np.array(segment_of, np.int64),
        np.array(first, np.int64),
        np.array(length, np.int64),
    )


def char_ngrams(segments):
    """Buckets of n-grams of characters within words, all words of a batch at once; with segment and token of each."""
    buffer, segment_of, token_of = [], [], []
    slow = []
    for number, (tokens, start, end) in enumerate(segments):
        for index in range(start, end):
            encoded, word = tokens[index][:2]
            if word is None:
                continue
            if len(encoded) != len(word):
                slow.append((number, index - start, word))
                continue
            buffer.append(encoded)
            segment_of.append(number)
            token_of.append(index - start)
    buckets, segments_out, tokens_out = [], [], []
    if buffer:
        lengths = np.array([len(word) + 2 for word in buffer])
        symbols = np.frombuffer(b"".join(WORD_EDGE + word + WORD_EDGE for word in buffer), np.uint8).astype(np.uint64)
        left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(symbols))
        segment_of = np.repeat(np.array(segment_of, np.int64), lengths)
        token_of = np.repeat(np.array(token_of, np.int64), lengths)
        hashes = (CHAR_SEED ^ symbols) * PRIME
        for size in range(2, CHAR_MAX + 1):
            # The n-grams that start here and fit into their word.
            keep = left[: len(hashes) - 1] >= size
            hashes = (hashes[:-1] ^ symbols[size - 1 :]) * PRIME
            if size >= CHAR_MIN:
                buckets.append(mixed(hashes[keep]))
                segments_out.append(segment_of[: len(keep)][keep])
                tokens_out.append(token_of[: len(keep)][keep])
    for number, token, word in slow:
        found = wide_char_ngrams(word)
        buckets.append(mixed(np.array(found, np.uint64)))
        segments_out.append(np.full(len(found), number))
        tokens_out.append(np.full(len(found), token))
    if not buckets:
        return (np.zeros(0, np.int64),) * 3
    return np.concatenate(buckets), np.concatenate(segments_out), np.concatenate(tokens_out)


def wide_char_ngrams(word):
    """The same for a word in which a character takes more than one byte."""
    characters = [WORD_EDGE, *(character.encode() for character in word), WORD_EDGE]
    hashes = []
    for start in range(len(characters) - 1):
        state = int(CHAR_SEED)
        for length, character in enumerate(characters[start : start + CHAR_MAX], 1):
            for byte in character:
                state = ((state ^ byte) * FNV_PRIME) & MASK
            if length >= CHAR_MIN:
                hashes.append(state)
    return hashes


class Scored:
    """What the cascade says about each text of a batch, and what it takes to explain it."""

    def __init__(self, texts):
        """Linear scores of all windows of all readings of all texts at once; then the transformer, where they are not clear."""
        self.readings = [readings(text) for text in texts]
        self.segments, owners = [], []
        for owner, read_so in enumerate(self.readings):
            for reading, (text, _) in enumerate(read_so):
                tokens = tokenise(text)
                for start, end in windows(tokens):
                    self.segments.append((tokens, start, end))
                    owners.append((owner, reading))
        word_buckets, word_segment, word_first, word_length = word_ngrams(self.segments)
        char_buckets, char_segment, char_token = char_ngrams(self.segments)
        self.segment_of = np.concatenate((word_segment, char_segment))
        self.first = np.concatenate((word_first, char_token))
        self.length = np.concatenate((word_length, np.ones(len(char_token), np.int64)))
        # One sort for the batch: segment, then view, then bucket.
        keys = self.segment_of << (BITS + 1)
        keys[: len(word_buckets)] |= word_buckets
        keys[len(word_buckets) :] |= char_buckets | CHAR_VIEW
        unique, self.inverse, self.counts = np.unique(keys, return_inverse=True, return_counts=True)
        damped = (1.0 + np.log(self.counts)).astype(np.float32).astype(np.float64)
        groups, group_of = np.unique(unique >> BITS, return_inverse=True)
        scale = np.where(groups & 1, CHAR_WEIGHT, WORD_WEIGHT) / np.sqrt(np.bincount(group_of, damped * damped))
        values = (damped * scale[group_of]).astype(np.float32)
        self.shares = (WEIGHTS[unique & (CHAR_VIEW - 1)] * values).astype(np.float64)
        self.edges = np.searchsorted(unique, np.arange(len(self.segments) + 1) << (BITS + 1)).tolist()
        sums = np.bincount(unique >> (BITS + 1), self.shares, minlength=len(self.segments)) + BIAS
        # Log-odds, segment and reading of the best window of each text.
        self.linear = [None] * len(texts)
        for number, ((owner, reading), logit) in enumerate(zip(owners, sums.tolist())):
            if self.linear[owner] is None or logit > self.linear[owner][0]:
                self.linear[owner] = (logit, number, reading)
        # Log-odds, reading and pieces of the transformer's best window, where it is asked.
        parts = [None if PARTS is None else PARTS.get(hashlib.sha256(text.encode()).hexdigest()) for text in texts]
        asked = [
            sigmoid(SLOPE * logit + OFFSET) >= ASKED_FROM if PARTS is None else part is not None
            for part, (logit, _, _) in zip(parts, self.linear)
        ]
        self.second = [best_pieces(read_so) if ask else None for ask, read_so in zip(asked, self.readings)]
        # The probability of each text's worst part, where parts are read.
        self.worst = [
            worst_part(part, second[0], logit) if part and second else 0.0
            for part, second, (logit, _, _) in zip(parts, self.second, self.linear)
        ]

    def score(self, place):
        """Raw and calibrated."""
        linear = self.linear[place][0]
        if self.second[place] is None:
            return six_decimals(sigmoid(linear)), six_decimals(sigmoid(SLOPE * linear + OFFSET))
        logit = self.second[place][0]
        stacked = STACKING["transformer"] * logit + STACKING["linear"] * linear + STACKING["offset"]
        return six_decimals(sigmoid(logit)), six_decimals(max(sigmoid(stacked), self.worst[place]))

    def linear_spans(self, place):
        """Words that raised a text's linear score, as (start, end, weight), heaviest first."""
        _, number, reading = self.linear[place]
        low, high = self.edges[number], self.edges[number + 1]
        if low == high:
            return []
        tokens, start, end = self.segments[number]
        mine = np.flatnonzero(self.segment_of == number)
        length, first = self.length[mine], self.first[mine]
        each = (self.shares[low:high] * SLOPE / self.counts[low:high])[self.inverse[mine] - low] / length
        weights = np.zeros(end - start)
        for more in range(WORD_MAX):
            covers = length > more
            weights += np.bincount(first[covers] + more, each[covers], minlength=end - start)
        places = self.readings[place][reading][1]
        return heaviest([
            (*raw(places, begin, stop), weight)
            for (_, _, _, begin, stop), weight in zip(tokens[start:end], weights.tolist())
        ])  # fmt: skip

    def spans(self, place):
        """How the score was explained, and at most five words that raised it."""
        spans = self.linear_spans(place)
        if self.second[place] is None:
            return "linear", mentioned(spans)
        logit, reading, pieces, read = self.second[place]
        places = self.readings[place][reading][1]
        words = []
        for index, (_, word, start, end) in enumerate(pieces):
            if words and words[-1][0] == word:
                words[-1][1].append(index)
                words[-1][3] = end
            else:
                words.append([word, [index], start, end])
        found = [(set(indices), raw(places, start, end)) for _, indices, start, end in words]
        found = [word for word in found if word[1][0] < word[1][1]]
        found.sort(key=lambda word: next((n for n, s in enumerate(spans) if s[0] < word[1][1] and word[1][0] < s[1]), len(spans)))
        lost = []
        for indices, (start, end) in found[: RUNS - read]:
            without = log_odds([piece for index, piece in enumerate(pieces) if index not in indices])
            share = sum(span[2] for span in spans if span[0] < end and start < span[1])
            lost.append((start, end, (logit - without) * STACKING["transformer"] + share * STACKING["linear"] / SLOPE))
        lost = heaviest(lost)
        return ("occlusion", mentioned(lost)) if lost else ("linear", mentioned(spans))


def mentioned(spans):
    """At most five words, none below a fifth of the heaviest."""
    return [span for span in spans if span[2] >= spans[0][2] * 0.2][:5]


def log_odds(pieces):
    """One run of the transformer."""
    ids = np.array([[START, *(piece[0] for piece in pieces), END]], np.int64)
    return float(transformer.run(["logits"], {"ids": ids})[0][0, 0])


def worst_part(parts, whole, linear):
    """The highest probability of these parts, read until one is as high as a part can be."""
    highest = sigmoid(STACKING["transformer"] * whole + STACKING["linear"] * linear + STACKING["offset"])
    for part, says in parts:
        if highest >= WORST["at_most"]:
            break
        logit = float(transformer.run(["logits"], {"ids": np.array([part], np.int64)})[0][0, 0])
        stacked = STACKING["transformer"] * logit + STACKING["linear"] * says + STACKING["offset"]
        highest = max(highest, min(WORST["at_most"], sigmoid(WORST["slope"] * stacked + WORST["offset"])))
    return highest


def best_pieces(read_so):
    """The highest log-odds of all windows of all readings, with reading, pieces (id, word, start, end) and how many readings there were."""
    best, before, read = None, None, 0
    for reading, (text, _) in enumerate(read_so):
        encoded = tokenizer.encode(text, add_special_tokens=False)
        if encoded.ids == before:
            continue
        before = encoded.ids
        read += 1
        pieces = [(id, word, *span) for id, word, span in zip(encoded.ids, encoded.word_ids, encoded.offsets)]
        if reading + 1 < len(read_so):
            # What the vocabulary does not know says nothing; what it disguises stands in the next reading.
            pieces = [piece for piece in pieces if piece[0] != UNKNOWN]
            if not pieces:
                continue
        for start in range(0, max(len(pieces) - PIECES_OVERLAP, 1), PIECES - PIECES_OVERLAP):
            window = pieces[start : start + PIECES]
            logit = log_odds(window)
            if best is None or logit > best[0]:
                best = (logit, reading, window)
    return *best, read


def raw(places, start, end):
    """A stretch of a reading in the raw text."""
    stretch = places[start:end]
    return (min(a for a, _ in stretch), max(b for _, b in stretch)) if stretch else (0, 0)


def heaviest(spans):
    """Spans above zero, heaviest first; those that touch the same characters are one."""
    merged = []
    for start, end, weight in sorted(spans, key=lambda span: span[:2]):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end), merged[-1][2] + weight)
        else:
            merged.append((start, end, weight))
    merged = [(start, end, math.floor(weight * 100 + 0.5) / 100) for start, end, weight in merged]
    return sorted((span for span in merged if span[2] > 0), key=lambda span: (-span[2], span[0]))


def sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x)) if x > -700 else 0.0


def six_decimals(value):
    return math.floor(value * 1e6 + 0.5) / 1e6


# --- the policy ------------------------------------------------------------------------------------------------------

APPROVE, REVIEW, HIDE = 0, 1, 2
DECISIONS = ("approve", "review", "hide")
LANES = {"urgent": (1, 60), "elevated": (2, 240), "standard": (3, 1440)}
REVIEW_FROM, HIDE_FROM = (
    float(re.search(rb"id: hate-%s, from: ([0-9.]+)" % band, POLICY_FILE).group(1)) for band in (b"uncertain", b"high")
)
BANDS = (
    (HIDE_FROM, "hate-high", HIDE, "urgent"),
    (REVIEW_FROM, "hate-uncertain", REVIEW, "standard"),
    (0.0, "hate-low", APPROVE, None),
)
VERSION = re.search(rb'^version: "([^"]+)"', POLICY_FILE, re.M).group(1).decode()
POLICY = {"id": "default", "version": VERSION, "sha256": hashlib.sha256(POLICY_FILE).digest()}
UNAVAILABLE = object()


def repeat_offender(features, value):
    if value is None or value < REVIEW_FROM:
        return False
    violations = features["prior_violations"]
    return violations is not UNAVAILABLE and violations >= 3


def many_reports(features, _value):
    return features["reports"] is not UNAVAILABLE and features["reports"] >= 5


def returning_violator(features, _value):
    age, violations = features["account_age_days"], features["prior_violations"]
    if age is UNAVAILABLE or violations is UNAVAILABLE:
        return None
    return age < 7 and violations >= 1


RULES = (
    ("many-reports", many_reports),
    ("repeat-offender", repeat_offender),
    ("returning-violator", returning_violator),
)


def decide(value, state, features, media, verdict_before):
    """Decision, who it goes back to, reasons and lane."""
    fired = []
    if value is not None:
        for bound, band, decision, lane in BANDS:
            if value >= bound:
                fired.append((decision, band, lane, "model"))
                break
    for name, rule in RULES:
        held = rule(features, value)
        if held is None:
            fired.append((REVIEW, f"unavailable:{name}", "standard", "fallback"))
        elif held:
            fired.append((REVIEW, name, "elevated", "rule"))
    if value is None and state != "skipped":
        fired.append((REVIEW, "unavailable:score.hate", "standard", "fallback"))
    if media:
        fired.append((REVIEW, "unavailable:media", "standard", "fallback"))
    if verdict_before is None:
        fired.append((REVIEW, "unavailable:history", "standard", "fallback"))
    elif verdict_before:
        fired.append((REVIEW, "revised-after-verdict", "standard", "rule"))
    if not fired:
        fired.append((REVIEW, "nothing-judged", "standard", "fallback"))
    decision = max(one[0] for one in fired)
    sources = {source for severity, _, _, source in fired if severity == decision}
    decided_by = "model" if "model" in sources else "rule" if "rule" in sources else "fallback"
    reasons = sorted({name for severity, name, _, _ in fired if decision == APPROVE or severity > APPROVE})
    lane = min((lane for _, _, lane, _ in fired if lane), key=lambda lane: LANES[lane][0], default=None)
    return decision, decided_by, reasons, lane


# --- features --------------------------------------------------------------------------------------------------------

MAX_AGE_MS = {"user": 48 * 3_600_000, "post": 24 * 3_600_000}
# Name, view, default; in the order of their names, as records list them.
FEATURES = (
    ("account_age_days", "user", 365),
    ("followers", "user", 0),
    ("hour_of_day", "post", 0),
    ("likes", "post", 0),
    ("prior_violations", "user", 0),
    ("replies", "post", 0),
    ("reports", "post", 0),
    ("reports_received", "user", 0),
    ("reports_sent", "user", 0),
    ("shares", "post", 0),
    ("verified", "user", False),
)
UTC = datetime.timezone.utc


def millis(text):
    return int(datetime.datetime.fromisoformat(text).timestamp() * 1000)


def instant(ms):
    return datetime.datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def stored(value):
    """A stored attribute as a Python value."""
    ((kind, content),) = value.items()
    if kind == "N":
        return int(content) if content.lstrip("-").isdigit() else float(content)
    return content


def look(post, rows, received_ms):
    """What rules read, what the record keeps, and which names are missing, stale or unavailable."""
    read, values, missing, stale, unavailable = {}, {}, [], [], []
    found = {
        "user": rows.get(f"user#{post['author_id']}") if post["author_id"] is not None else None,
        "post": rows.get(f"post#{post['post_id']}"),
    }
    old = {
        view: row is not None and row is not UNAVAILABLE and received_ms - millis(row["updated_at"]["S"]) > MAX_AGE_MS[view]
        for view, row in found.items()
    }
    for name, view, default in FEATURES:
        if name == "hour_of_day":
            ms = post["created_ms"] if post["created_ms"] is not None else received_ms
            read[name] = values[name] = ms // 3_600_000 % 24
            continue
        row = found[view]
        if row is UNAVAILABLE:
            read[name] = UNAVAILABLE
            unavailable.append(name)
            continue
        if name == "account_age_days" and row is not None and "account_created_at" in row:
            value = max(received_ms - millis(row["account_created_at"]["S"]), 0) // 86_400_000
        elif row is not None and name in row:
            value = stored(row[name])
        else:
            read[name] = default
            missing.append(name)
            continue
        read[name] = values[name] = value
        if old[view]:
            stale.append(name)
    return read, values, missing, stale, unavailable


# --- the batch -------------------------------------------------------------------------------------------------------


class Reject(Exception):
    """The message can never be decided."""

    def __init__(self, kind, detail):
        super().__init__(detail)
        self.kind = kind


def parse(body):
    """A native post."""
    try:
        post = json.loads(body)
    except ValueError:
        raise Reject("invalid_json", "not JSON") from None
    if not isinstance(post, dict):
        raise Reject("unknown_shape", "the body is JSON, but no object")
    post_id, revision = post.get("post_id"), post.get("revision")
    if post_id is None:
        raise Reject("missing_field", "`post_id` is required")
    if not isinstance(post_id, str) or not post_id or len(post_id.encode()) > 256 or not post_id.isprintable():
        raise Reject("invalid_field", "`post_id` is not an identifier")
    if revision is None:
        revision = 1
    if type(revision) is not int or not 1 <= revision <= 9_007_199_254_740_991:
        raise Reject("invalid_field", "`revision` must be a whole number from 1")
    for name in ("author_id", "created_at", "text", "text_ref", "lang", "surface"):
        if not isinstance(post.get(name), (str, type(None))):
            raise Reject("invalid_field", f"`{name}` must be a string")
    media, context = post.get("media") or [], post.get("context") or {}
    if not isinstance(media, list) or not isinstance(context, dict):
        raise Reject("invalid_field", "`media` must be a list, `context` an object")
    if post.get("text") is None and post.get("text_ref") is None and not media:
        raise Reject("missing_field", "one of `text`, `text_ref` and `media` is required")
    try:
        created_ms = millis(post["created_at"]) if post.get("created_at") is not None else None
    except ValueError:
        raise Reject("invalid_field", "`created_at` must be an RFC 3339 instant") from None
    return {
        "post_id": post_id,
        "revision": revision,
        "author_id": post.get("author_id"),
        "created_ms": created_ms,
        "text": post.get("text"),
        "text_ref": post.get("text_ref"),
        "lang": post.get("lang") or "",
        "surface": post.get("surface") or "",
        "media": len(media),
        "is_reply": context.get("reply_to") is not None,
    }


def fetch_rows(posts):
    """Feature rows of all authors and posts; what could not be had is UNAVAILABLE."""
    keys = {f"post#{post['post_id']}" for post in posts}
    keys.update(f"user#{post['author_id']}" for post in posts if post["author_id"] is not None)
    rows = {}
    open_keys = [{"entity": {"S": key}} for key in keys]
    for attempt in range(4):
        if not open_keys:
            return rows
        if attempt:
            time.sleep(0.025 * 2**attempt)
        try:
            answer = dynamodb.batch_get_item(RequestItems={FEATURES_TABLE: {"Keys": open_keys}})
        except Exception:
            break
        for row in answer["Responses"].get(FEATURES_TABLE, ()):
            rows[row["entity"]["S"]] = row
        open_keys = answer.get("UnprocessedKeys", {}).get(FEATURES_TABLE, {}).get("Keys", [])
    rows.update((key["entity"]["S"], UNAVAILABLE) for key in open_keys)
    return rows


def verdict_before(post):
    """Whether a person decided an earlier revision; None where that could not be asked."""
    if post["revision"] == 1:
        return False
    try:
        answer = dynamodb.query(
            TableName=DECISIONS_TABLE,
            KeyConditionExpression="post_id = :post AND revision < :revision",
            FilterExpression="decided_by = :human OR verdict_before = :yes",
            ExpressionAttributeValues={
                ":post": {"S": post["post_id"]},
                ":revision": {"N": str(post["revision"])},
                ":human": {"S": "human"},
                ":yes": {"S": "yes"},
            },
        )
    except Exception:
        return None
    return bool(answer["Items"])


FIELDS = (
    "attempt", "author_id", "cost_usd_micro", "decided_at", "decided_by", "decision", "decision_id", "degraded",
    "expires_at", "features", "model", "policy", "post", "post_id", "provisional", "reasons", "received_at",
    "revision", "schema", "score", "scores",
)  # fmt: skip


def statement(*more):
    fields = ", ".join(f"'{name}': ?" for name in (*FIELDS, *more))
    return f'INSERT INTO "{DECISIONS_TABLE}" VALUE {{{fields}}}'


INSERT = statement()
INSERT_REVIEW = statement("review")
INSERT_EXPLAINED = statement("review", "explanation")
MODEL_ITEM = {
    "M": {
        "name": {"S": MANIFEST["name"]},
        "version": {"S": MANIFEST["version"]},
        "sha256": {"B": hashlib.sha256(MANIFEST_BYTES).digest()},
    }
}
POLICY_ITEM = {"M": {"id": {"S": POLICY["id"]}, "version": {"S": POLICY["version"]}, "sha256": {"B": POLICY["sha256"]}}}
NULL = {"NULL": True}
HARM_ITEM = {"S": HARM}


def number(value):
    if value is None:
        return NULL
    if value is True or value is False:
        return {"BOOL": value}
    return {"N": repr(value)}


def strings(values):
    return {"L": [{"S": value} for value in values]}


def insertion(record):
    """A conditional insert of a record: PartiQL refuses it where the key exists."""
    features = {
        "set": {"S": FEATURE_SET},
        "sha256": {"B": FEATURE_SHA256},
        "values": {"M": {name: number(value) for name, value in record["features"].items()}},
    }
    for name in ("missing", "stale", "unavailable"):
        if record[name]:
            features[name] = strings(record[name])
    parameters = [
        {"N": "1"},
        NULL if record["author_id"] is None else {"S": record["author_id"]},
        number(record["cost_usd_micro"]),
        {"S": record["decided_at"]},
        {"S": record["decided_by"]},
        {"S": record["decision"]},
        {"S": record["decision_id"]},
        strings(record["degraded"]),
        {"N": str(record["decided_ms"] // 1000 + KEPT_SECONDS)},
        {"M": features},
        MODEL_ITEM,
        POLICY_ITEM,
        {"M": record["post"]},
        {"S": record["post_id"]},
        {"BOOL": False},
        {"L": [{"M": {"rule": {"S": reason}, "harm": HARM_ITEM}} for reason in record["reasons"]]},
        {"S": record["received_at"]},
        {"N": str(record["revision"])},
        {"S": "decision/1"},
        number(record["score"]),
        {
            "M": {
                HARM: {
                    "M": {
                        "raw": number(record["raw"]),
                        "calibrated": number(record["score"]),
                        "model": {"S": MODEL_NAME},
                        "state": {"S": record["state"]},
                    }
                }
            }
        },
    ]
    if record["lane"] is None:
        return {"Statement": INSERT, "Parameters": parameters}
    parameters.append(
        {
            "M": {
                "lane": {"S": record["lane"]},
                "priority": {"N": str(record["priority"])},
                "due_at": {"S": record["due_at"]},
            }
        }
    )
    method, spans = record["explained"]
    if not spans:
        return {"Statement": INSERT_REVIEW, "Parameters": parameters}
    spans = {"L": [{"N": repr(value)} for span in spans for value in span]}
    parameters.append({"M": {"method": {"S": method}, "spans": spans}})
    return {"Statement": INSERT_EXPLAINED, "Parameters": parameters}


def from_item(item):
    """What a stored record owes is a function of it: as much of it as that takes."""
    review = item.get("review", {}).get("M")
    return {
        "decision_id": item["decision_id"]["S"],
        "post_id": item["post_id"]["S"],
        "revision": int(item["revision"]["N"]),
        "author_id": item["author_id"].get("S"),
        "decision": item["decision"]["S"],
        "decided_by": item["decided_by"]["S"],
        "score": float(item["score"]["N"]) if "N" in item["score"] else None,
        "reasons": [reason["M"]["rule"]["S"] for reason in item["reasons"]["L"]],
        "lane": review["lane"]["S"] if review else None,
        "priority": int(review["priority"]["N"]) if review else None,
        "due_at": review["due_at"]["S"] if review else None,
        "decided_at": item["decided_at"]["S"],
        "attempt": int(item["attempt"]["N"]),
    }


def insert(records):
    """Answers by place: True for new, the stored record for one that was there, an exception for what failed."""
    answers = [None] * len(records)
    open_places = list(range(len(records)))
    statements = [insertion(record) for record in records]
    existing = []
    for attempt in range(4):
        if not open_places:
            break
        if attempt:
            time.sleep(0.025 * 2**attempt)
        try:
            responses = dynamodb.batch_execute_statement(Statements=[statements[place] for place in open_places])
        except Exception as error:
            for place in open_places:
                answers[place] = error
            break
        again = []
        for place, response in zip(open_places, responses["Responses"]):
            code = response.get("Error", {}).get("Code")
            if code is None:
                answers[place] = True
            elif code in ("DuplicateItem", "ConditionalCheckFailed"):
                existing.append(place)
            else:
                answers[place] = RuntimeError(code)
                again.append(place)
        open_places = again
    if existing:
        keys = [{"post_id": {"S": records[p]["post_id"]}, "revision": {"N": str(records[p]["revision"])}} for p in existing]
        found = {}
        try:
            for _ in range(4):
                answer = dynamodb.batch_get_item(RequestItems={DECISIONS_TABLE: {"Keys": keys, "ConsistentRead": True}})
                for item in answer["Responses"].get(DECISIONS_TABLE, ()):
                    found[(item["post_id"]["S"], item["revision"]["N"])] = from_item(item)
                keys = answer.get("UnprocessedKeys", {}).get(DECISIONS_TABLE, {}).get("Keys", [])
                if not keys:
                    break
        except Exception:
            found = found or {}
        for place in existing:
            key = (records[place]["post_id"], str(records[place]["revision"]))
            answers[place] = found.get(key) or RuntimeError("gone again")
    return answers


def task(record):
    return {
        "schema": "task/1",
        "task_id": f"{record['decision_id']}-task",
        "decision_id": record["decision_id"],
        "post_id": record["post_id"],
        "revision": record["revision"],
        "author_id": record["author_id"],
        "decision": record["decision"],
        "score": record["score"],
        "reasons": [{"rule": reason, "harm": HARM} for reason in record["reasons"]],
        "lane": record["lane"],
        "priority": record["priority"],
        "due_at": record["due_at"],
        "created_at": record["decided_at"],
    }


def action(record, kind):
    return {
        "schema": "action/1",
        "action_id": f"{record['decision_id']}-{record['attempt']}-{kind}",
        "decision_id": record["decision_id"],
        "post_id": record["post_id"],
        "revision": record["revision"],
        "author_id": record["author_id"],
        "action": kind,
        "reasons": [{"rule": reason, "harm": HARM} for reason in record["reasons"]],
        "decided_at": record["decided_at"],
    }


def send(queue_url, messages):
    """Sends (place, message) pairs; the places that failed, after some tries."""
    failed = set()
    for at in range(0, len(messages), 10):
        chunk = messages[at : at + 10]
        entries = {
            str(index): {"Id": str(index), "MessageBody": json.dumps(message, separators=(",", ":"))}
            for index, (_, message) in enumerate(chunk)
        }
        for attempt in range(4):
            if attempt:
                time.sleep(0.025 * 2**attempt)
            try:
                answer = sqs.send_message_batch(QueueUrl=queue_url, Entries=list(entries.values()))
            except Exception:
                break
            for sent in answer.get("Successful", ()):
                entries.pop(sent["Id"], None)
            if not entries:
                break
        failed.update(chunk[int(index)][0] for index in entries)
    return failed


def judge(loaded, rows, decided_ms):
    """Records of all loaded posts: (place, post, received_ms, verdict)."""
    readable = [
        entry for entry in loaded
        if entry[1]["text"] is not None and (not entry[1]["lang"] or re.split("[-_]", entry[1]["lang"])[0].lower() in LANGUAGES)
    ]  # fmt: skip
    scored = Scored([entry[1]["text"] for entry in readable]) if readable else None
    places = {entry[0]: place for place, entry in enumerate(readable)}
    decided_at = instant(decided_ms)
    records = []
    for place, post, received_ms, verdict in loaded:
        read_at = places.get(place)
        if read_at is not None:
            (raw_score, value), state = scored.score(read_at), "ok"
        else:
            raw_score = value = None
            state = "skipped" if post["text"] is None and post["text_ref"] is None else "unavailable"
        read, values, missing, stale, unavailable = look(post, rows, received_ms)
        decision, decided_by, reasons, lane = decide(value, state, read, post["media"] > 0, verdict)
        facts = {}
        if post["lang"]:
            facts["lang"] = {"S": post["lang"]}
        if post["surface"]:
            facts["surface"] = {"S": post["surface"]}
        if post["media"]:
            facts["media_count"] = {"N": str(post["media"])}
        if post["is_reply"]:
            facts["is_reply"] = {"BOOL": True}
        degraded = [name for name, absent in (
            ("features.post", any(read[name] is UNAVAILABLE for name in ("likes",))),
            ("features.user", any(read[name] is UNAVAILABLE for name in ("followers",))),
            ("history", verdict is None), ("media", post["media"] > 0), ("score.hate", state == "unavailable"),
        ) if absent]  # fmt: skip
        priority, due_minutes = LANES[lane] if lane else (None, None)
        identity = f"{post['post_id']}\0{post['revision']}".encode()
        records.append({
            "decision_id": hashlib.sha256(identity).hexdigest()[:32],
            "post_id": post["post_id"],
            "revision": post["revision"],
            "author_id": post["author_id"],
            "decision": DECISIONS[decision],
            "score": value,
            "raw": raw_score,
            "state": state,
            "decided_by": decided_by,
            "reasons": reasons,
            "lane": lane,
            "priority": priority,
            "due_at": instant(decided_ms + due_minutes * 60_000) if lane else None,
            "features": values,
            "missing": missing,
            "stale": stale,
            "unavailable": unavailable,
            "post": facts,
            "explained": scored.spans(read_at) if decision > APPROVE and read_at is not None else ("linear", []),
            "attempt": 1,
            "degraded": degraded,
            "received_at": instant(received_ms),
            "decided_at": decided_at,
            "decided_ms": decided_ms,
            "cost_usd_micro": 0.0,
        })  # fmt: skip
    return records


def cost(record, share):
    messages = (record["lane"] is not None) + (record["decision"] == "hide" or record["revision"] > 1)
    return round(share + 0.625 + messages * 0.04, 3)


def quarantine(body, reject, received_ms):
    data = body.encode("utf-8", "surrogatepass")
    s3.put_object(
        Bucket=ARTIFACTS_BUCKET,
        Key=f"quarantine/{hashlib.sha256(data).hexdigest()}",
        Body=data,
        Metadata={"kind": reject.kind, "detail": str(reject), "received-at": instant(received_ms)},
    )


def handler(event, _context):
    """Decides a batch; says which messages are to come again."""
    started = time.monotonic()
    messages = event["Records"]
    failed, settled, counts, loaded, repeats, seen = set(), set(), {}, [], {}, {}

    def count(name):
        counts[name] = counts.get(name, 0) + 1

    for place, message in enumerate(messages):
        received_ms = int(message["attributes"]["SentTimestamp"])
        try:
            post = parse(message["body"])
        except Reject as reject:
            try:
                quarantine(message["body"], reject, received_ms)
                settled.add(place)
                count("PostsQuarantined")
            except Exception:
                failed.add(place)
            continue
        except Exception:
            failed.add(place)
            continue
        identity = (post["post_id"], post["revision"])
        if identity in seen:
            repeats[place] = seen[identity]
            continue
        seen[identity] = place
        loaded.append((place, post, received_ms, verdict_before(post)))

    if loaded:
        rows = fetch_rows([entry[1] for entry in loaded])
        decided_ms = int(time.time() * 1000)
        try:
            records = judge(loaded, rows, decided_ms)
        except Exception:
            # One post may have spoilt the arithmetic of all: each by itself, then.
            records, kept = [], []
            for entry in loaded:
                try:
                    records.extend(judge([entry], rows, decided_ms))
                    kept.append(entry)
                except Exception:
                    failed.add(entry[0])
            loaded = kept
        elapsed = time.monotonic() - started
        share = (elapsed * MEMORY_GB * 16.6667 + 0.2 + 0.8 + len(rows) * 0.0625) / max(len(records), 1)
        for record in records:
            record["cost_usd_micro"] = cost(record, share)
        tasks, actions, latencies = [], [], []
        for (place, _, received_ms, _), record, answer in zip(loaded, records, insert(records)):
            if answer is True:
                count({"approve": "PostsApproved", "review": "PostsReviewed", "hide": "PostsHidden"}[record["decision"]])
                if record["decided_by"] == "fallback":
                    count("PostsFallback")
                latencies.append(decided_ms - received_ms)
            elif isinstance(answer, dict):
                record = answer
                count("PostsRepeated")
            else:
                failed.add(place)
                continue
            settled.add(place)
            if record["decided_by"] == "human":
                continue
            if record["lane"] is not None:
                tasks.append((place, task(record)))
            if record["decision"] == "hide":
                actions.append((place, action(record, "hide")))
            elif record["revision"] > 1:
                actions.append((place, action(record, "publish")))
        unsent = send(TASKS_QUEUE_URL, tasks) | send(ACTIONS_QUEUE_URL, actions)
        failed |= unsent
        settled -= unsent
        counts["TasksSent"], counts["ActionsSent"] = len(tasks), len(actions)
    else:
        latencies = []
    for place, first in repeats.items():
        count("PostsRepeated")
        if first not in settled:
            failed.add(place)

    metrics(counts, len(failed), latencies, time.monotonic() - started)
    return {"batchItemFailures": [{"itemIdentifier": messages[place]["messageId"]} for place in sorted(failed)]}


def metrics(counts, failed, latencies, elapsed):
    """One line in CloudWatch's embedded metric format."""
    values = {name: number for name, number in counts.items() if number}
    if failed:
        values["MessagesFailed"] = failed
    definitions = [{"Name": name, "Unit": "Count"} for name in values]
    if latencies:
        values["DecisionLatency"] = latencies
        definitions.append({"Name": "DecisionLatency", "Unit": "Milliseconds"})
    values["BatchDuration"] = int(elapsed * 1000)
    definitions.append({"Name": "BatchDuration", "Unit": "Milliseconds"})
    line = {
        "_aws": {
            "Timestamp": int(time.time() * 1000),
            "CloudWatchMetrics": [
                {"Namespace": "Moderato", "Dimensions": [["service", "stage"]], "Metrics": definitions}
            ],
        },
        "stage": STAGE,
        "service": "score",
        **values,
    }
    print(json.dumps(line, separators=(",", ":")), flush=True)
