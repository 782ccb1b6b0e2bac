//! What the lines of a picture say. All are read joined, and again as the layout parts them: a chat is no sentence, and a sentence that is
//! broken at the edge of its picture is one. The highest counts.

use super::look::rounded;
use super::ocr::{Found, Quad};
use super::Line;
use crate::reader::{Reader, ReaderError, TextOpinion};

/// A gap between two lines that is higher than this share of a line parts them.
const GAP: f32 = 0.4;
/// So does another size, by this factor.
const SIZE: f32 = 1.6;
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
    // A picture that says nothing else than those before it is not read again.
    let mut told: Vec<&Vec<Found>> = Vec::new();
    for lines in &found {
        let new = |line: &Found| !told.iter().any(|told| told.iter().any(|other| other.text == line.text));
        if lines.iter().any(new) {
            told.push(lines);
        }
    }
    if told.is_empty() {
        return Ok((None, Vec::new()));
    }
    let parts: Vec<&[Found]> = told.iter().flat_map(|lines| sentences(lines)).collect();
    let whole = told.iter().map(|lines| joined(lines)).collect::<Vec<_>>().join("\n");
    let parted = parts.iter().map(|lines| joined(lines)).collect::<Vec<_>>();
    let document = parted.join("\n");
    let mut alone: Vec<&str> = told.iter().flat_map(|lines| lines.iter().map(|line| line.text.as_str())).collect();
    alone.sort_unstable();
    alone.dedup();
    let mut texts = vec![whole.as_str()];
    if document != whole {
        texts.push(&document);
        texts.extend(parted.iter().map(String::as_str).filter(|part| words(part) >= LEAST_WORDS));
    }
    texts.extend(alone.iter().copied());
    texts.sort_unstable();
    texts.dedup();
    let opinions = read_all(&texts, reader)?;
    let score = |text: &str| texts.binary_search(&text).ok().and_then(|at| opinions.get(at));
    if std::env::var_os("PARTS").is_some() {
        let of = |text: &str| score(text).map_or(0.0, |opinion| opinion.calibrated);
        let parts = parted.iter().map(|part| of(part)).fold(0.0, f64::max);
        let lines = alone.iter().map(|part| of(part)).fold(0.0, f64::max);
        println!("PARTS {} {} {} {} {:?}", of(&whole), of(&document), parts, lines, parted);
    }
    let counted = [&whole, &document].into_iter().filter_map(|text| score(text));
    let highest = counted.max_by(|a, b| a.calibrated.total_cmp(&b.calibrated).then(std::cmp::Ordering::Greater));
    let highest = highest.cloned();
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
                score: score(&one.text).map_or(0.0, |opinion| opinion.calibrated),
                frame,
            });
        }
    }
    Ok((highest, lines))
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
    text.strip_suffix('-').is_some_and(|before| before.ends_with(char::is_alphabetic)) && next.starts_with(char::is_lowercase)
}

/// Runs of lines that read on: where the layout parts none, all of them.
fn sentences(lines: &[Found]) -> impl Iterator<Item = &[Found]> {
    let mut blocks: Vec<&[Found]> = lines.chunk_by(lies_by).collect();
    blocks.retain(|block| !block.is_empty());
    blocks.into_iter().flat_map(|block| {
        let widest = block.iter().map(|line| line.quad.width()).fold(0.0, f32::max);
        block.chunk_by(move |line, next| reads_on(line, next, widest))
    })
}

/// Whether a line lies close under the one before it, or beside it, in letters of the same size.
fn lies_by(line: &Found, next: &Found) -> bool {
    let (height, other) = (line.quad.height().max(1.0), next.quad.height().max(1.0));
    let down = down(line, next);
    (height / other).max(other / height) <= SIZE && down - (height + other) / 2.0 <= GAP * height.min(other)
}

/// Whether a line goes on in the next: its last word is broken, or the next one's first word had no room in it.
fn reads_on(line: &Found, next: &Found, widest: f32) -> bool {
    if is_broken(&line.text, &next.text) || down(line, next) < line.quad.height() / 2.0 {
        return true;
    }
    let letters = next.text.chars().count().max(1) as f32;
    let first = next.text.split_whitespace().next().map_or(0, |word| word.chars().count()) as f32;
    line.quad.width() + next.quad.width() / letters * (first + 1.0) >= FULL * widest
}

/// How far the middle of the next line lies below this one's, across the direction of its text.
fn down(line: &Found, next: &Found) -> f32 {
    let [a, b, ..] = line.quad.0;
    let length = (b[0] - a[0]).hypot(b[1] - a[1]).max(1.0);
    let [x, y] = [(b[0] - a[0]) / length, (b[1] - a[1]) / length];
    let ([u, v], [p, q]) = (line.quad.centre(), next.quad.centre());
    (q - v) * x - (p - u) * y
}
