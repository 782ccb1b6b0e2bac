"""The sample posts of `make up` and what is known of their authors."""

import datetime
import json

import pictures
from cloud import ROOT
from features import dated

LOCAL = ROOT / "infra" / "local"


def lines(name):
    return [json.loads(line) for line in (LOCAL / name).read_text().splitlines()]


def test_posts_are_native_posts_with_ids_of_their_own():
    posts = lines("posts.jsonl")
    assert len({post["post_id"] for post in posts}) == len(posts) >= 12
    assert all(post["text"] and post["author_id"] for post in posts)


def test_authors_are_known_unknown_repeating_and_stale():
    rows = {row["id"]: row for row in lines("features.jsonl") if row["view"] == "user"}
    authors = {post["author_id"] for post in lines("posts.jsonl")}
    assert authors - set(rows), "an author that nobody knows is missing"
    assert set(rows) <= authors, "a row that no post needs"
    assert any(row["values"]["prior_violations"] >= 3 for row in rows.values())
    assert any(row["updated_at"].endswith("d") for row in rows.values())


def test_dates_count_from_now():
    now = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.timezone.utc)
    row = {"updated_at": "-2h", "values": {"account_created_at": "-3d", "followers": 5, "name": "-x"}}
    assert dated(row, now) == {
        "updated_at": "2026-11-23T10:00:00Z",
        "values": {"account_created_at": "2026-11-20T12:00:00Z", "followers": 5, "name": "-x"},
    }


def test_pictures_are_fine_broken_and_missing():
    objects, posts = pictures.pictures(), pictures.posts("bucket")
    fine, broken = objects["content/samples/sunset.png"], objects["content/samples/broken.png"]
    assert fine.startswith(b"\x89PNG\r\n\x1a\n") and fine.endswith(b"IEND\xaeB`\x82")
    assert fine.startswith(broken) and len(broken) < len(fine)
    asked = [media["uri"].removeprefix("s3://bucket/") for post in posts for media in post.get("media", [])]
    assert set(asked) - set(objects) == {"content/samples/nowhere.png"} and set(objects) <= set(asked)


def test_posts_of_an_endpoint_are_new_ones():
    ids = {post["post_id"] for post in pictures.posts("bucket")}
    known = {post["post_id"] for post in lines("posts.jsonl")}
    assert not ids & known and len(ids) == len(known) + 4
