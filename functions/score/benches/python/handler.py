"""What a user would write instead: the job of the `score` function in Python, for `make bench`.

boto3, onnxruntime and numpy under the official runtime client (awslambdaric), with the same model file, the same
policy (its three rules as functions), the same calls to AWS and the same record. Written for speed where Python has
some: features of a whole batch in a few numpy operations, compiled expressions, clients made once with keep-alive and
without parameter validation, items built by hand instead of by a serialiser. Lighter than the Rust function in four
ways, all in its favour: it never asks the registry, the policy is code instead of a file, it does not weigh its items
to fit a write unit, and of the five event shapes it reads the native one.
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

import boto3
import numpy as np
import onnxruntime
from botocore.config import Config

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
MODEL_BYTES = (FOLDER / "model.onnx").read_bytes()
if hashlib.sha256(MODEL_BYTES).hexdigest() != MANIFEST["model"]["sha256"]:
    raise RuntimeError("the model's graph has another digest than its manifest says")
HARM = MANIFEST["harm"]
LANGUAGES = frozenset(MANIFEST["languages"])
MODEL_NAME = f"{MANIFEST['name']}@{MANIFEST['version']}"
SLOPE, OFFSET = MANIFEST["calibration"]["slope"], MANIFEST["calibration"]["offset"]
WORD_MAX, CHAR_MIN, CHAR_MAX = (MANIFEST["ngrams"][name] for name in ("word_max", "char_min", "char_max"))
WORD_WEIGHT, CHAR_WEIGHT = MANIFEST["ngrams"]["word_weight"], MANIFEST["ngrams"]["char_weight"]
WINDOW_TOKENS, WINDOW_CHARS, OVERLAP = (MANIFEST["window"][name] for name in ("tokens", "chars", "overlap"))
BITS = MANIFEST["ngrams"]["bits"]

_options = onnxruntime.SessionOptions()
_options.intra_op_num_threads = 1
_options.inter_op_num_threads = 1
_options.enable_mem_pattern = False
_options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = onnxruntime.InferenceSession(MODEL_BYTES, _options, providers=["CPUExecutionProvider"])
del MODEL_BYTES
OUTPUTS = ["logit", "contributions"]

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
    """The highest window of each text of a batch, and what it takes to explain them."""

    def __init__(self, texts):
        """Features of all windows of all texts at once, then one run of the model a window."""
        self.segments, owners = [], []
        for owner, text in enumerate(texts):
            tokens = tokenise(text)
            for start, end in windows(tokens):
                self.segments.append((tokens, start, end))
                owners.append(owner)
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
        buckets = unique & (CHAR_VIEW - 1)
        self.edges = np.searchsorted(unique, np.arange(len(self.segments) + 1) << (BITS + 1)).tolist()
        # Log-odds, segment and shares of the best window of each text.
        self.best = [None] * len(texts)
        for number, owner in enumerate(owners):
            low, high = self.edges[number], self.edges[number + 1]
            if low == high:
                inputs = {"buckets": np.zeros(1, np.int64), "values": np.zeros(1, np.float32)}
            else:
                inputs = {"buckets": buckets[low:high], "values": values[low:high]}
            logit, shares = session.run(OUTPUTS, inputs)
            if self.best[owner] is None or logit > self.best[owner][0]:
                self.best[owner] = (float(logit), number, shares)

    def spans(self, place):
        """At most five words that raised a text's score, none below a fifth of the first, as (start, end, weight)."""
        _, number, shares = self.best[place]
        low, high = self.edges[number], self.edges[number + 1]
        if low == high:
            return []
        tokens, start, end = self.segments[number]
        mine = np.flatnonzero(self.segment_of == number)
        length, first = self.length[mine], self.first[mine]
        each = (shares.astype(np.float64) * SLOPE / self.counts[low:high])[self.inverse[mine] - low] / length
        weights = np.zeros(end - start)
        for more in range(WORD_MAX):
            covers = length > more
            weights += np.bincount(first[covers] + more, each[covers], minlength=end - start)
        spans = []
        for (_, _, _, begin, stop), weight in zip(tokens[start:end], weights.tolist()):
            if spans and begin < spans[-1][1]:
                spans[-1] = (spans[-1][0], stop, spans[-1][2] + weight)
            else:
                spans.append((begin, stop, weight))
        spans = [(begin, stop, math.floor(weight * 100 + 0.5) / 100) for begin, stop, weight in spans]
        spans = [span for span in spans if span[2] > 0]
        spans.sort(key=lambda span: (-span[2], span[0]))
        return [span for span in spans[:5] if span[2] >= spans[0][2] * 0.2]


def sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x)) if x > -700 else 0.0


def six_decimals(value):
    return math.floor(value * 1e6 + 0.5) / 1e6


# --- the policy ------------------------------------------------------------------------------------------------------

APPROVE, REVIEW, HIDE = 0, 1, 2
DECISIONS = ("approve", "review", "hide")
LANES = {"urgent": (1, 60), "elevated": (2, 240), "standard": (3, 1440)}
BANDS = ((0.8, "hate-high", HIDE, "urgent"), (0.2, "hate-uncertain", REVIEW, "standard"), (0.0, "hate-low", APPROVE, None))
POLICY = {"id": "default", "version": "2026-11-23", "sha256": hashlib.sha256(POLICY_FILE).digest()}
UNAVAILABLE = object()


def repeat_offender(features, value):
    if value is None or value < 0.2:
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
    if not record["spans"]:
        return {"Statement": INSERT_REVIEW, "Parameters": parameters}
    spans = {"L": [{"N": repr(value)} for span in record["spans"] for value in span]}
    parameters.append({"M": {"method": {"S": "linear"}, "spans": spans}})
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
            logit = scored.best[read_at][0]
            raw, value, state = six_decimals(sigmoid(logit)), six_decimals(sigmoid(SLOPE * logit + OFFSET)), "ok"
        else:
            raw = value = None
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
            "raw": raw,
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
            "spans": scored.spans(read_at) if decision > APPROVE and read_at is not None else [],
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
