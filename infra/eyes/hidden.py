"""Hides the sentences of pictures.json where a quick look misses them, two pictures a pair: the same every time, with the pinned packages.

    .tools/eyes-bench/bin/python infra/eyes/hidden.py FOLDER [SERIES]

FOLDER gets 40 chats of 8 to 120 lines of which one counts, 40 animations (GIF, WebP, APNG) of which one frame counts, 20 pictures with
transparency, and labels.jsonl as pictures.py writes it. Twins differ in the sentence alone. A series, 0 unless given, draws other
sentences, fonts, sizes, colours and places.
"""

import json
import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from pictures import FONTS, PLAIN, lines_of

TALK = """Shall we meet at the station at six?|Yes, bring the blue umbrella please|The cake is in the oven already|Did you feed the cat this morning
The tram was late again today|I will call grandma after lunch|Tickets are on the kitchen table|See you soon, drive safely|ok|haha yes|on my way
The match starts at eight|Can you buy milk and bread|I finally fixed the bike|That film was great, thanks|Where did you park?|Happy birthday to your sister!
my phone was off, sorry|we could try the new noodle place|The garden looks lovely after the rain|No worries, take your time|lunch tomorrow?
The plumber comes on Tuesday|Did the parcel arrive|I am at gate 12|the kids are asleep|Good luck with the exam!|Bring warm socks, it is cold up there
Let me check the calendar|The neighbours invited us for tea|I lost my keys again|great, see you there|Thanks for the flowers|what time is the concert
The printer is out of paper|We won the quiz last night|ask Maria, she knows|The soup needs more salt|I booked the blue room|good night""".replace("\n", "|").split("|")
NAMES = ["Ana", "Ben", "Chloe", "Dev", "Ella", "Finn"]
THEMES = [((244, 244, 244), (225, 240, 255), (215, 245, 210), (16, 18, 20)), ((18, 20, 26), (44, 48, 60), (30, 70, 60), (235, 235, 235)), ((255, 255, 255), (255, 255, 255), (255, 255, 255), (20, 20, 20)),
          ((230, 221, 212), (255, 255, 255), (220, 248, 198), (17, 17, 17))]  # fmt: skip
FORMATS = {"gif": "GIF", "webp": "WEBP", "png": "PNG"}


def chat(sentence, draw):
    """A screenshot of a chat: bubbles, a plain list, or names and times before each line."""
    count, font_name = draw.choice([8, 12, 20, 35, 50, 66, 80, 100, 120]), draw.choice(PLAIN[:5])
    wide = draw.choice([480, 720, 1080])
    size = {480: draw.randint(15, 20), 720: draw.randint(22, 30), 1080: draw.randint(30, 40)}[wide]
    font = ImageFont.truetype(str(FONTS / f"{font_name}.ttf"), size)
    paper, one, other, ink = draw.choice(THEMES)
    style = draw.choice(["bubbles", "bubbles", "list", "named"])
    talk = [draw.choice(TALK) for _ in range(count)]
    talk[draw.randrange(count)] = sentence
    step, columns = round(size * 1.35), int(wide * 0.8 / (size * 0.6))
    blocks = []
    for line in talk:
        who = f"{draw.choice(NAMES)} {draw.randint(7, 23)}:{draw.randint(10, 59)}  " if style == "named" else ""
        blocks.append((lines_of(who + line, columns), draw.random() < 0.5))
    between = round(size * (0.9 if style == "bubbles" else 0.35))
    height = sum(step * len(lines) + between for lines, _ in blocks) + 2 * step
    picture = Image.new("RGB", (wide, height), paper)
    pen = ImageDraw.Draw(picture)
    y = step
    for lines, mine in blocks:
        length = max(font.getlength(line) for line in lines)
        x = wide - length - 2 * size if mine and style == "bubbles" else 1.5 * size
        if style == "bubbles":
            pen.rounded_rectangle([x - size / 2, y - size / 4, x + length + size / 2, y + step * len(lines) + size / 8], size / 2, fill=other if mine else one)
        for line in lines:
            pen.text((x, y), line, fill=ink, font=font)
            y += step
        y += between
    return [picture]


def card(words, made, ball=None):
    """A frame: words on a plain or a painted ground, with a ball somewhere."""
    width, height, font, paper, ink = made
    picture = Image.new("RGB", (width, height), paper)
    pen = ImageDraw.Draw(picture)
    if ball is not None:
        pen.ellipse([ball, height - 46, ball + 36, height - 10], fill=(200, 60, 60))
    lines = lines_of(words, int((width - 40) / (font.size * 0.62)))
    for row, line in enumerate(lines):
        pen.text((20, 16 + row * font.size * 1.35), line, fill=ink, font=font)
    return picture


def animation(sentence, draw):
    """Frames of which one holds the sentence: cards, a ball that rolls, letters that are typed, or one frame among many that are the same but for a pixel."""
    width, height = draw.choice([(320, 240), (480, 270), (640, 360), (498, 498)])
    font = ImageFont.truetype(str(FONTS / f"{draw.choice(PLAIN)}.ttf"), max(18, round(width / draw.randint(16, 22))))
    paper, ink = draw.choice([((255, 255, 255), (0, 0, 0)), ((20, 24, 40), (255, 255, 255)), ((245, 215, 60), (30, 20, 10)), ((60, 110, 70), (255, 255, 240))])
    made = (width, height, font, paper, ink)
    calm = [line for line in TALK if len(line) > 14]
    kind = draw.choice(["cards", "ball", "typed", "blink"])
    if kind == "cards":
        words = [draw.choice(calm) for _ in range(draw.randint(1, 7))]
        words.insert(draw.randint(1, len(words)), sentence)
        return [card(text, made) for text in words]
    if kind == "ball":
        count, caption = draw.randint(6, 20), draw.choice(calm)
        at = draw.randrange(1, count)
        return [card(sentence if at == number else caption, made, number * (width - 40) // count) for number in range(count)]
    if kind == "typed":
        return [card(sentence[: number + 1], made) for number in range(0, len(sentence), draw.choice([2, 3, 5]))] + [card(sentence, made)]
    frames = []
    count = draw.randint(20, 60)
    at = draw.choice([count - 1, draw.randrange(1, count)])
    caption = draw.choice(calm)
    for number in range(count):
        frame = card(sentence if number == at else caption, made)
        frame.putpixel((number % width, height - 1), (number * 3 % 256, 0, 0))
        frames.append(frame)
    return frames


def transparent(sentence, draw):
    """Writing in one colour on nothing, or over a half of it a box in the colour of the writing's ground."""
    size = draw.randint(26, 40)
    font = ImageFont.truetype(str(FONTS / f"{draw.choice(PLAIN)}.ttf"), size)
    ink = draw.choice([(0, 0, 0), (255, 255, 255), (20, 20, 20), (235, 235, 235), (200, 30, 40)])
    lines = lines_of(sentence, draw.randint(18, 28))
    step = round(size * 1.4)
    width = round(max(font.getlength(line) for line in lines)) + 2 * step
    picture = Image.new("RGBA", (width, step * (len(lines) + 3)), (*ink[::-1], 0))
    pen = ImageDraw.Draw(picture)
    if draw.random() < 0.5:
        # What is bright or dark beside it, so that the mean says the wrong ground.
        pen.rectangle([0, step * (len(lines) + 1.5), width, step * (len(lines) + 3)], fill=(*draw.choice([(255, 255, 255), (0, 0, 0)]), 255))
    for row, line in enumerate(lines):
        pen.text((step, step // 2 + row * step), line, fill=(*ink, 255), font=font)
    return [picture]


def saved(frames, path):
    kind = path.suffix[1:]
    more = {"save_all": True, "append_images": frames[1:], "duration": 80, "loop": 0} if len(frames) > 1 else {}
    if kind == "webp":
        more |= {"quality": 80} if frames[0].mode == "RGB" else {"lossless": True}
    frames[0].save(path, FORMATS.get(kind, "JPEG"), **more)


KINDS = [("chat", chat, ["png", "png", "jpg"]), ("animation", animation, list(FORMATS)), ("transparent", transparent, ["png", "png", "webp"])]


def main(folder, series):
    folder.mkdir(parents=True, exist_ok=True)
    pairs = json.loads((Path(__file__).parent / "pictures.json").read_text())["pairs"]
    random.Random(series).shuffle(pairs)
    labels = []
    for index, pair in enumerate(pairs):
        name, hide, kinds = KINDS[0 if index < 20 else 1 if index < 40 else 2]
        kind = random.Random(index).choice(kinds)
        for label in ["hateful", "harmless"]:
            draw = random.Random(index + 10_000 * series)
            path = folder / f"{index:02}-{name}-{label}.{kind}"
            saved(hide(pair[label], draw), path)
            labels.append({"file": path.name, "text": pair[label], "evasion": name, "hateful": label == "hateful"})
    (folder / "labels.jsonl").write_text("".join(json.dumps(label) + "\n" for label in labels))
    print(f"{len(labels)} pictures in {folder}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) == 3 else 0)
