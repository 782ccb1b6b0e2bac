//! What the lines of a picture say. All are read joined, and again as the layout parts them: a chat is no sentence, and a sentence that is
//! broken at the edge of its picture is one. The highest counts.

use super::Line;
use super::look::rounded;
use super::ocr::{Found, MAX_LINES, Quad};
use crate::planted::planted;
use crate::reader::{Reader, ReaderError, TextOpinion};

/// A line whose middle lies farther below the one before it than so many of their heights is parted from it,
const FAR: f32 = 2.0;
/// and one that lies farther by this factor than the closest two.
const FARTHER: f32 = 1.25;
/// Letters by which a text may have grown from one picture to the next for it to be typed.
const MOST_TYPED: usize = 12;
/// So is a line of another size, by this factor.
const SIZE: f32 = 1.6;
/// Words in a row are parted by a gap of more of their heights than this.
const ROW_GAP: f32 = 1.5;
/// A line is full where the next word would make it wider than this share of the widest beside it.
const FULL: f32 = 0.97;
/// Fewer words by themselves are no sentence.
const LEAST_WORDS: usize = 3;

/// What the text model says of the text in pictures, and their lines, each once; `places` are the number of each picture's frame and by what
/// its places are stretched.
pub fn read(
    found: Vec<Vec<Found>>,
    places: impl Iterator<Item = (u32, [f32; 2])>,
    reader: &dyn Reader,
) -> Result<(Option<TextOpinion>, Vec<Line>), ReaderError> {
    let told = told(&found);
    if told.is_empty() {
        return Ok((None, Vec::new()));
    }
    let (counted, alone) = texts(&told);
    let mut texts: Vec<&str> = counted.iter().chain(&alone).map(String::as_str).collect();
    texts.sort_unstable();
    texts.dedup();
    let opinions = read_all(&texts, reader)?;
    let opinion = |text: &str| texts.binary_search(&text).ok().and_then(|at| opinions.get(at));
    let highest = counted.iter().filter_map(|text| opinion(text));
    let highest =
        highest.max_by(|a, b| a.calibrated.total_cmp(&b.calibrated).then(std::cmp::Ordering::Greater)).cloned();
    let mut lines: Vec<Line> = Vec::new();
    for (found, (frame, scale)) in found.iter().zip(places) {
        for one in found {
            let corners = one.quad.0.map(|[x, y]| [x * scale[0], y * scale[1]]);
            let again = |line: &Line| line.text == one.text && near(&line.corners, &corners);
            if lines.iter().any(again) {
                continue;
            }
            lines.push(Line {
                text: one.text.clone(),
                confidence: rounded(one.confidence),
                corners,
                score: opinion(&one.text).map_or(0.0, |opinion| opinion.calibrated),
                frame,
            });
        }
    }
    // Each was read and counts; of places so many are told.
    lines.truncate(MAX_LINES);
    Ok((highest, lines))
}

/// Pictures of which each says something that those before it do not. What is typed counts once it stands: a picture is left out whose text
/// the next one goes on with.
fn told(found: &[Vec<Found>]) -> Vec<&[Found]> {
    let mut told: Vec<&[Found]> = Vec::new();
    for lines in found {
        let new = |line: &Found| !told.iter().any(|told| told.iter().any(|other| other.text == line.text));
        if !lines.iter().any(new) {
            continue;
        }
        if told.last().is_some_and(|last| is_typed(&joined(last), &joined(lines))) {
            told.pop();
        }
        told.push(lines);
    }
    told
}

/// Whether a text is the next one without its last letters, the very last of which may have been misread.
fn is_typed(text: &str, next: &str) -> bool {
    let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<Vec<_>>();
    let (text, next) = (letters(text), letters(next));
    let more = next.len().saturating_sub(text.len());
    (1..=MOST_TYPED).contains(&more) && next.starts_with(text.get(..text.len().saturating_sub(2)).unwrap_or_default())
}

/// What counts: each picture joined, what reads as a sentence in it, and runs of lines and of pictures that are too short to be one. Then
/// each line, for the explanation.
fn texts(told: &[&[Found]]) -> (Vec<String>, Vec<String>) {
    let wholes: Vec<String> = told.iter().map(|lines| joined(lines)).collect();
    let mut counted = Vec::new();
    let mut alone = Vec::new();
    for (lines, whole) in told.iter().zip(&wholes) {
        let parts: Vec<String> = sentences(lines).into_iter().map(joined).collect();
        counted.push(whole.clone());
        if planted("lines-count-joined-only") {
            continue;
        }
        counted.extend(runs(&parts));
        counted.extend(parts.into_iter().filter(|part| words(part) >= LEAST_WORDS));
        alone.extend(lines.iter().map(|line| line.text.clone()));
    }
    counted.extend(runs(&wholes));
    (counted, alone)
}

/// Texts of few words that follow each other, joined: `Kill`, `all`, `of them`.
fn runs(texts: &[String]) -> impl Iterator<Item = String> {
    let is_short = |text: &String| words(text) <= LEAST_WORDS;
    let runs = texts.chunk_by(move |a, b| is_short(a) && is_short(b));
    runs.filter(|run| run.len() > 1).map(|run| run.join(" "))
}

/// Whether two places have their middles in about the same.
fn near(a: &[[f32; 2]; 4], b: &[[f32; 2]; 4]) -> bool {
    let ([x, y], [u, v]) = (Quad(*a).centre(), Quad(*b).centre());
    (x - u).hypot(y - v) < Quad(*a).height().max(1.0) / 2.0
}

/// Reads several texts, the rows of all together, so that a graph that takes many at once is given many.
fn read_all(texts: &[&str], reader: &dyn Reader) -> Result<Vec<TextOpinion>, ReaderError> {
    let rows: Vec<Vec<Vec<i64>>> = texts.iter().map(|text| reader.rows(text)).collect();
    let flat: Vec<&[i64]> = rows.iter().flatten().map(Vec::as_slice).collect();
    let mut outputs = Vec::with_capacity(flat.len());
    for chunk in flat.chunks(reader.most_rows().max(1)) {
        outputs.extend(reader.run(chunk)?);
    }
    let mut outputs = outputs.into_iter();
    texts
        .iter()
        .zip(&rows)
        .map(|(text, rows)| reader.conclude(text, &outputs.by_ref().take(rows.len()).collect::<Vec<_>>()))
        .collect()
}

fn words(text: &str) -> usize {
    text.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count()
}

/// Lines as one text: joined by spaces, but that a word broken by a hyphen at the end of a line is one again.
fn joined(found: &[Found]) -> String {
    let mut text = String::new();
    for one in found {
        if is_broken(&text, &one.text) {
            text.pop();
        } else if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&one.text);
    }
    text
}

fn is_broken(text: &str, next: &str) -> bool {
    text.strip_suffix('-').is_some_and(|before| before.ends_with(char::is_alphabetic))
        && next.starts_with(char::is_lowercase)
}

/// Runs of lines that read on: where the layout parts none, all of them.
fn sentences(lines: &[Found]) -> Vec<&[Found]> {
    let rows: Vec<Row<'_>> = lines.chunk_by(is_same_row).map(Row::of).collect();
    let below = |two: &[Row<'_>]| match two {
        [row, next] => Some(row.down(next)).filter(|down| *down > 0.5),
        _ => None,
    };
    let closest = rows.windows(2).filter_map(below).fold(f32::MAX, f32::min);
    let blocks = rows.chunk_by(|row, next| row.lies_by(next, closest));
    let parted = blocks.flat_map(|block| {
        let widest = block.iter().map(|row| row.width).fold(0.0, f32::max);
        block.chunk_by(move |row, next| row.reads_on(next, widest))
    });
    let mut rest = lines;
    let mut sentences = Vec::new();
    for rows in parted {
        let (sentence, after) =
            rest.split_at_checked(rows.iter().map(|row| row.lines.len()).sum()).unwrap_or((rest, &[]));
        sentences.push(sentence);
        rest = after;
    }
    sentences
}

/// Whether a line goes on where the one before it ends, in the same row: words that were found one by one.
fn is_same_row(line: &Found, next: &Found) -> bool {
    let (along, down) = apart(line, next);
    let gap = along - (line.quad.width() + next.quad.width()) / 2.0;
    down.abs() < line.quad.height() / 2.0 && gap < ROW_GAP * line.quad.height()
}

/// How far the middle of the next line lies along and below this one's, as this one's text runs.
fn apart(line: &Found, next: &Found) -> (f32, f32) {
    let [a, b, ..] = line.quad.0;
    let length = (b[0] - a[0]).hypot(b[1] - a[1]).max(1.0);
    let [x, y] = [(b[0] - a[0]) / length, (b[1] - a[1]) / length];
    let ([u, v], [p, q]) = (line.quad.centre(), next.quad.centre());
    ((p - u) * x + (q - v) * y, (q - v) * x - (p - u) * y)
}

/// Lines beside each other, as one.
struct Row<'a> {
    lines: &'a [Found],
    width: f32,
    height: f32,
}

impl<'a> Row<'a> {
    fn of(lines: &'a [Found]) -> Self {
        let ends = lines.first().zip(lines.last());
        let width =
            ends.map_or(0.0, |(first, last)| apart(first, last).0 + (first.quad.width() + last.quad.width()) / 2.0);
        let height = lines.iter().map(|line| line.quad.height()).fold(1.0, f32::max);
        Self { lines, width, height }
    }

    /// How far the next row's middle lies below this one's, in heights of this one.
    fn down(&self, next: &Self) -> f32 {
        self.lines.first().zip(next.lines.first()).map_or(0.0, |(line, next)| apart(line, next).1) / self.height
    }

    /// Whether the next row lies close under this one, in letters of the same size.
    fn lies_by(&self, next: &Self, closest: f32) -> bool {
        let down = self.down(next);
        (self.height / next.height).max(next.height / self.height) <= SIZE && down <= FAR && down <= closest * FARTHER
    }

    /// Whether this row goes on in the next: its last word is broken, or the next one's first word had no room in it.
    fn reads_on(&self, next: &Self, widest: f32) -> bool {
        let text = joined(next.lines);
        let first = text.split_whitespace().next().unwrap_or_default();
        let letter = next.width / text.chars().count().max(1) as f32;
        is_broken(&joined(self.lines), &text)
            || self.width + letter * (first.chars().count() + 1) as f32 >= FULL * widest
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

    use super::*;
    use domain::{ModelRef, Span};

    /// Says which share of a text's words is "bad", and where it first has it; takes two rows at once, a row a word.
    struct Counting(ModelRef);

    impl Reader for Counting {
        fn model(&self) -> &ModelRef {
            &self.0
        }

        fn supports(&self, _: Option<&str>) -> bool {
            true
        }

        fn rows(&self, text: &str) -> Vec<Vec<i64>> {
            text.split_whitespace().map(|word| vec![i64::from(word == "bad")]).collect()
        }

        fn most_rows(&self) -> usize {
            2
        }

        fn run(&self, rows: &[&[i64]]) -> Result<Vec<Vec<f32>>, ReaderError> {
            assert!(rows.len() <= 2);
            Ok(rows.iter().map(|row| vec![row[0] as f32]).collect())
        }

        fn conclude(&self, text: &str, outputs: &[Vec<f32>]) -> Result<TextOpinion, ReaderError> {
            let share = outputs.iter().map(|row| f64::from(row[0])).sum::<f64>() / outputs.len() as f64;
            let start = text.find("bad").unwrap_or(0);
            let spans = vec![Span { start, end: start + 3, weight: 1.0 }];
            Ok(TextOpinion { raw: share, calibrated: share, model: self.0.clone(), spans })
        }
    }

    /// Lines of letters that are ten wide and twenty high, at these heights.
    fn lines(texts: &[(&str, f32)]) -> Vec<Found> {
        let line = |(text, y): &(&str, f32)| {
            let right = 10.0 * text.chars().count() as f32;
            let quad = Quad([[0.0, *y], [right, *y], [right, y + 20.0], [0.0, y + 20.0]]);
            Found { text: (*text).to_owned(), confidence: 1.0, quad }
        };
        texts.iter().map(line).collect()
    }

    fn said(pictures: &[Vec<Found>]) -> (Option<f64>, Vec<Line>) {
        let model = ModelRef { name: "counting".to_owned(), version: "1".to_owned(), sha256: String::new() };
        let places = (0..).map(|number| (number, [1.0, 2.0])).take(pictures.len());
        let (opinion, lines) = read(pictures.to_vec(), places, &Counting(model)).unwrap();
        (opinion.map(|opinion| opinion.calibrated), lines)
    }

    fn parts(texts: &[(&str, f32)]) -> Vec<String> {
        sentences(&lines(texts)).into_iter().map(joined).collect()
    }

    #[test]
    fn the_worst_sentence_counts_and_each_line_has_a_score_and_a_place() {
        let chat =
            lines(&[("see you at the station at six", 0.0), ("all of it is bad", 60.0), ("on my way now then", 120.0)]);
        let (score, lines) = said(&[chat]);
        assert_eq!(score, Some(0.2));
        assert_eq!(lines.iter().map(|line| line.score).collect::<Vec<_>>(), [0.0, 0.2, 0.0]);
        assert_eq!((lines[1].corners[0], lines[1].frame), ([0.0, 120.0], 0));
        assert_eq!(said(&[Vec::new(), Vec::new()]), (None, Vec::new()));
    }

    #[test]
    fn a_sentence_is_parted_where_the_layout_parts_it_and_nowhere_else() {
        // Rows that are full, as far as the next word goes.
        assert_eq!(parts(&[("black people are", 0.0), ("voting in record", 30.0), ("numbers", 60.0)]).len(), 1);
        // A row that had room.
        assert_eq!(parts(&[("on my way", 0.0), ("the kids are asleep now", 30.0)]).len(), 2);
        // Farther than the closest, and another size.
        assert_eq!(parts(&[("one two three", 0.0), ("four five six", 30.0), ("seven eight nine", 80.0)]).len(), 2);
        // A word that is broken goes on, whatever room there was.
        assert_eq!(parts(&[("über immi-", 0.0), ("grants who came over", 30.0)]), ["über immigrants who came over"]);
        assert_eq!(joined(&lines(&[("well-", 0.0), ("Known - x", 30.0)])), "well- Known - x");
    }

    #[test]
    fn pictures_are_read_each_where_they_say_something_new_and_what_is_typed_once_it_stands() {
        let one = |text: &str| lines(&[(text, 0.0)]);
        let told = |texts: &[&str]| {
            let found: Vec<_> = texts.iter().map(|text| one(text)).collect();
            super::told(&found).into_iter().map(joined).collect::<Vec<_>>()
        };
        assert_eq!(told(&["a b", "c d", "a b"]), ["a b", "c d"]);
        assert_eq!(told(&["Jews", "Jews are", "Jews are here", "Other"]), ["Jews are here", "Other"]);
        assert_eq!(told(&["all is lost", "all is lost and so is every one of us"]).len(), 2);
        let (score, lines) = said(&[one("all is very well"), one("all is very bad"), one("all is very well")]);
        assert_eq!((score, lines.len(), lines[1].frame), (Some(0.25), 2, 1));
    }

    #[test]
    fn texts_that_are_too_short_for_a_sentence_are_read_together() {
        let short = |text: &str| lines(&[(text, 0.0)]);
        assert_eq!(said(&[short("all bad"), short("bad bad"), short("they do not rhyme with")]).0, Some(1.0));
        let runs: Vec<String> = runs(&["kill".to_owned(), "all of".to_owned(), "a b c d".to_owned()]).collect();
        assert_eq!(runs, ["kill all of"]);
    }
}
