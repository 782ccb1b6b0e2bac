"""Renders the sentences of pictures.json into pictures, two a pair: the same pictures every time, with the pinned packages.

    .tools/eyes-bench/bin/python infra/eyes/pictures.py FOLDER [SERIES]

A series, 0 unless given, draws other fonts, sizes and colours for the same words: what was chosen on one is tried on another.
FOLDER gets 100 JPEG, PNG and WebP files and labels.jsonl, a line a picture: {"file", "text", "evasion", "hateful"}.
Twins share font, size, colours and everything else, so that only the words tell them apart.
"""

import io
import json
import random
import sys
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

# DejaVu and STIX lie in matplotlib's package, which is not imported.
FONTS = Path(find_spec("matplotlib").submodule_search_locations[0]) / "mpl-data/fonts/ttf"
PLAIN = ["DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSansMono", "STIXGeneral", "STIXGeneralBol"]
STYLED = ["DejaVuSerif-BoldItalic", "DejaVuSans-BoldOblique", "STIXGeneralBolIta", "DejaVuSansMono-BoldOblique"]
PAPERS = [(255, 255, 255), (250, 240, 215), (20, 24, 40), (200, 225, 245), (245, 215, 60), (60, 110, 70)]


def recipe(index, evasion, series):
    """Everything about a picture but its words, drawn by the pair's number and the series."""
    draw = random.Random(index + 10_000 * series)
    paper = draw.choice(PAPERS)
    dark = sum(paper) < 330
    ink = draw.choice([(255, 255, 255), (255, 235, 120)] if dark else [(0, 0, 0), (120, 10, 20), (15, 30, 110)])
    made = {
        "font": draw.choice(PLAIN), "size": draw.randint(26, 44), "paper": paper, "ink": ink, "columns": draw.randint(16, 26),
        "turn": 0, "noise": 0, "gradient": draw.random() < 0.3, "stroke": 0, "shadow": False, "capitals": draw.random() < 0.15,
        "file": draw.choice(["jpg", "jpg", "png", "webp"]), "quality": draw.choice([60, 75, 90]), "seed": index,
    }  # fmt: skip
    sign = draw.choice([-1, 1])
    if evasion.startswith("rotated"):
        made["turn"] = sign * int(evasion.split()[1])
    elif evasion == "turned 90":
        made["turn"] = sign * 90
    elif evasion == "noise":
        made |= {"noise": draw.choice([40, 60, 80]), "file": "jpg", "quality": 50}
    elif evasion == "low contrast":
        step = draw.choice([16, 22, 30])
        made |= {"ink": tuple(min(255, c + step) if dark else max(0, c - step) for c in paper), "gradient": False}
    elif evasion == "split lines":
        made["columns"] = 9
    elif evasion == "small":
        made |= {"size": draw.choice([10, 11, 12]), "columns": 48, "font": draw.choice(PLAIN[:5]), "quality": 75}
    elif evasion == "stylised":
        made |= {"font": draw.choice(STYLED), "stroke": 2, "shadow": True, "capitals": draw.random() < 0.5, "gradient": True}
    return made


def lines_of(text, columns):
    """Words filled into lines of at most so many characters, or one longer word."""
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".strip()
        if lines[-1] and len(joined) > columns:
            lines.append(word)
        else:
            lines[-1] = joined
    return lines


def background(size, made):
    picture = Image.new("RGB", size, made["paper"])
    if made["gradient"]:
        slope = Image.linear_gradient("L").resize(size).point(lambda value: value // 5)
        picture = ImageChops.subtract(picture, Image.merge("RGB", [slope] * 3))
    return picture


def noisy(picture, sigma, seed):
    """Grain of its own generator: Pillow's draws from the clock."""
    draw = random.Random(seed)
    width, height = picture.size
    grain = Image.frombytes("L", picture.size, bytes(max(0, min(255, round(draw.gauss(128, sigma)))) for _ in range(width * height)))
    return ImageChops.add(picture, Image.merge("RGB", [grain] * 3), 1, -128)


def render(text, made):
    font = ImageFont.truetype(str(FONTS / f"{made['font']}.ttf"), made["size"])
    words = text.upper() if made["capitals"] else text
    lines = lines_of(words, made["columns"])
    step = round(made["size"] * 1.45)
    width = round(max(font.getlength(line) for line in lines)) + 2 * step
    height = step * len(lines) + 2 * step
    mask = Image.new("L", (width, height), 0)
    pen = ImageDraw.Draw(mask)
    draw = random.Random(made["seed"] + 1000)
    for row, line in enumerate(lines):
        indent = draw.randint(0, step) if made["columns"] < 10 else 0
        pen.text((step + indent // 2, step + row * step), line, fill=255, font=font)
    if made["turn"]:
        mask = mask.rotate(made["turn"], resample=Image.Resampling.BICUBIC, expand=True)
    picture = background(mask.size, made)
    if made["shadow"]:
        picture.paste((90, 90, 90), (3, 3), mask.filter(ImageFilter.GaussianBlur(2)))
    if made["stroke"]:
        edge = tuple(255 - value for value in made["ink"])
        picture.paste(edge, (0, 0), mask.filter(ImageFilter.MaxFilter(2 * made["stroke"] + 1)))
    picture.paste(made["ink"], (0, 0), mask)
    if made["noise"]:
        picture = noisy(picture, made["noise"], made["seed"])
    return picture, words


def encoded(picture, made):
    out = io.BytesIO()
    if made["file"] == "png":
        picture.save(out, "PNG")
    elif made["file"] == "webp":
        picture.save(out, "WEBP", quality=made["quality"])
    else:
        picture.save(out, "JPEG", quality=made["quality"])
    return out.getvalue()


def main(folder, series):
    folder.mkdir(parents=True, exist_ok=True)
    pairs = json.loads((Path(__file__).parent / "pictures.json").read_text())["pairs"]
    labels = []
    for index, pair in enumerate(pairs):
        made = recipe(index, pair["evasion"], series)
        for kind in ["hateful", "harmless"]:
            picture, words = render(pair[kind], made)
            name = f"{index:02}-{kind}.{made['file']}"
            (folder / name).write_bytes(encoded(picture, made))
            labels.append({"file": name, "text": words, "evasion": pair["evasion"], "hateful": kind == "hateful"})
    (folder / "labels.jsonl").write_text("".join(json.dumps(label) + "\n" for label in labels))
    print(f"{len(labels)} pictures in {folder}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) == 3 else 0)
