"""pictures.py: sample posts with pictures for `make up GPU=1`, and all other samples under new ids, into .local/asked.jsonl.

The pictures are drawn here and put under `content/` of the stack's bucket: one that is fine, one that breaks off, and one that is
not there. New ids, because a post that was decided before is not decided again.
"""

import json
import pathlib
import struct
import zlib

from cloud import ROOT, LocalCloud
from deploy import local_variables

SIDE = 96
PREFIX = "asked-"


def png(pixel) -> bytes:
    """A square PNG (RGB, 8 bits) of SIDE pixels; `pixel(x, y)` gives three numbers from 0 to 255."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(value for x in range(SIDE) for value in pixel(x, y)) for y in range(SIDE))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def sunset(x: int, y: int) -> tuple[int, int, int]:
    """Red above, blue below, and a pale disc."""
    if (x - SIDE // 2) ** 2 + (y - SIDE // 2) ** 2 < (SIDE // 5) ** 2:
        return 255, 240, 200
    return 255 - 200 * y // SIDE, 110, 40 + 200 * y // SIDE


def pictures() -> dict[str, bytes]:
    """The objects, by key."""
    fine = png(sunset)
    return {"content/samples/sunset.png": fine, "content/samples/broken.png": fine[: len(fine) // 2]}


def posts(bucket: str) -> list[dict]:
    """The sample posts of `make up` under new ids, and those with pictures."""
    samples = [json.loads(line) for line in (pathlib.Path(__file__).parent / "posts.jsonl").read_text().splitlines()]
    asked = [post | {"post_id": PREFIX + post["post_id"]} for post in samples]
    for name, key, text in (
        ("picture", "sunset.png", "The last evening of the holidays."),
        ("picture-alone", "sunset.png", None),
        ("picture-broken", "broken.png", "Look at this!"),
        ("picture-missing", "nowhere.png", "And at this."),
    ):
        media = [{"uri": f"s3://{bucket}/content/samples/{key}", "type": "image/png"}]
        asked.append({"post_id": PREFIX + name, "author_id": "u-ana", "text": text, "lang": "en", "media": media})
    return asked


def main() -> None:
    cloud = LocalCloud(ROOT / ".local", 4566)
    bucket = local_variables(cloud)["CONTENT_BUCKET"]
    for key, data in pictures().items():
        cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=data, ContentType="image/png")
    (cloud.folder / "asked.jsonl").write_text("".join(json.dumps(post) + "\n" for post in posts(bucket)))


if __name__ == "__main__":
    main()
