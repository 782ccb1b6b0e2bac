"""features.py: infra/local/features.jsonl into .local/features.jsonl, with its dates counted from now.

The sample authors have ages and their rows are fresh or stale; a fixed date would be stale tomorrow. In the sample,
"-2h" is two hours ago and "-30d" is thirty days ago; what is written is a features file as the command loads it.
"""

import datetime
import json
import pathlib
import re

from cloud import ROOT

UNITS = {"h": "hours", "d": "days"}


def dated(value, now: datetime.datetime):
    """`value` with every "-2h" or "-30d" in it replaced by that instant, RFC 3339 in UTC."""
    if isinstance(value, dict):
        return {key: dated(inner, now) for key, inner in value.items()}
    if isinstance(value, str) and (match := re.fullmatch(r"-(\d+)([hd])", value)):
        instant = now - datetime.timedelta(**{UNITS[match[2]]: int(match[1])})
        return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
    return value


def main() -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    lines = (pathlib.Path(__file__).parent / "features.jsonl").read_text().splitlines()
    written = "".join(json.dumps(dated(json.loads(line), now)) + "\n" for line in lines)
    target = ROOT / ".local" / "features.jsonl"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(written)


if __name__ == "__main__":
    main()
