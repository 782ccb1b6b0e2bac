//! The second stage of a cascade: pieces of words into a transformer, one window a run.

use std::ops::Range;

use domain::Span;
use features::text::{Piece, Reading, WordPiece};

use crate::bundle::{Bundle, TRANSFORMER_FILE, VOCABULARY_FILE};
use crate::manifest::{self, PieceWindow};
use crate::model::{LoadError, ScoreError, same_digest};
use crate::runtime::{Onnx, TransformerSession};

/// Windows of one reading that are read. Eight are some 750 words; a post of a mebibyte has two thousand.
pub(crate) const MOST_WINDOWS: usize = 8;

/// A loaded transformer.
#[derive(Debug)]
pub(crate) struct Transformer {
    session: TransformerSession,
    vocabulary: WordPiece,
    window: PieceWindow,
}

/// A window of a reading.
struct Window {
    /// Which of the readings given.
    reading: usize,
    pieces: Vec<Piece>,
}

/// What one run of the transformer reads: a window of a reading, or a part of it. No `Debug`: ids can be read back as text (law 8).
#[derive(Clone, PartialEq)]
pub struct Row {
    /// Ids of its tokens, between the marks of start and end.
    pub ids: Vec<i64>,
    /// Where it stands in the raw text, in Unicode scalar values.
    pub window: Range<usize>,
    /// The linear graph's log-odds: of the part, or, for a window of the whole, of the highest window.
    pub linear: f64,
    /// Its log-odds of what it finds worst in the part, which decide whether the part is read; of the whole they are the same as `linear`.
    pub suspects: f64,
    /// Whether it is a part that is read by itself; otherwise it is as much of the whole as one run reads.
    pub part: bool,
}

/// A part of a reading that is read by itself as well.
pub(crate) struct Part {
    /// Which of the readings given.
    pub reading: usize,
    /// Where it stands in that reading, in Unicode scalar values.
    pub chars: Range<usize>,
    /// The linear graph's log-odds of it.
    pub linear: f64,
    /// Of what the graph finds worst in it.
    pub suspects: f64,
}

/// The window that counts: where it stands, and what it scored.
pub(crate) struct BestPieces {
    /// Log-odds of the harm.
    pub logit: f64,
    /// All outputs of the graph, that one first.
    pub outputs: Vec<f64>,
    /// Which of the readings given.
    pub reading: usize,
    /// Its pieces.
    pub pieces: Vec<Piece>,
    /// Windows read to find it, a run each.
    pub runs: usize,
}

impl Transformer {
    pub(crate) fn load(onnx: &Onnx, manifest: &manifest::Transformer, bundle: &Bundle) -> Result<Self, LoadError> {
        let file = |wanted: &str, given: &manifest::ModelFile, part: &'static str| {
            let bytes = bundle.more.get(wanted).cloned().unwrap_or_else(|| Vec::new().into());
            if given.file != wanted {
                let supported = if part == "vocabulary" { "`vocabulary.txt`" } else { "`transformer.ort`" };
                return Err(LoadError::Unsupported {
                    field: "transformer.*.file",
                    value: given.file.clone(),
                    supported,
                });
            }
            same_digest(part, &given.sha256, bytes.sha256())?;
            Ok(bytes)
        };
        let vocabulary = file(VOCABULARY_FILE, &manifest.vocabulary, "vocabulary")?;
        let refused = |what: Box<dyn std::error::Error + Send + Sync>| LoadError::Vocabulary(what);
        let vocabulary = std::str::from_utf8(&vocabulary).map_err(|error| refused(error.into()))?;
        let vocabulary = WordPiece::new(vocabulary).map_err(|error| refused(error.into()))?;
        let graph = file(TRANSFORMER_FILE, &manifest.model, "transformer")?;
        let session = TransformerSession::load(onnx, &graph).map_err(LoadError::Graph)?;
        let transformer = Self { session, vocabulary, window: manifest.window };
        transformer.try_all_tokens().map_err(LoadError::Trial)?;
        graph.release();
        Ok(transformer)
    }

    /// The words that it knows.
    pub(crate) fn vocabulary(&self) -> &WordPiece {
        &self.vocabulary
    }

    /// Fails if the graph knows fewer tokens than the vocabulary has or reads shorter windows.
    fn try_all_tokens(&self) -> Result<(), ScoreError> {
        let last = u32::try_from(self.vocabulary.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let piece = Piece { id: last, chars: 0..0, starts_word: true };
        self.logit(&vec![piece; self.window.pieces]).map(|_| ())
    }

    /// The highest log-odds of the windows of all readings; the first of equals. A reading whose pieces are those of the one before is
    /// not read twice. Of a reading with more than [`MOST_WINDOWS`], those that `suspicion` finds highest are read, so that no length of
    /// text takes longer than a function may.
    pub(crate) fn best(
        &self,
        readings: &[Reading],
        suspicion: impl Fn(&str) -> Result<f64, ScoreError>,
    ) -> Result<BestPieces, ScoreError> {
        self.best_of(self.most_suspicious(readings, MOST_WINDOWS, suspicion)?)
    }

    /// The windows of all readings as rows of the graph, of each reading at most `most`, those that `suspicion` finds highest; then the parts
    /// that are none of these, as far as a window goes. `linear` is the linear graph's log-odds of the whole.
    pub(crate) fn rows(
        &self,
        readings: &[Reading],
        parts: &[Part],
        most: usize,
        linear: f64,
        suspicion: impl Fn(&str) -> Result<f64, ScoreError>,
    ) -> Result<Vec<Row>, ScoreError> {
        let row = |reading: usize, pieces: &[Piece], [linear, suspects]: [f64; 2], part: bool| {
            let window = readings.get(reading).map_or(0..0, |reading| reading.raw(chars(pieces)));
            Row { ids: self.ids(pieces), window, linear, suspects, part }
        };
        let read = self.read(readings);
        let mut rows = Vec::new();
        for (reading, pieces) in &read {
            let Some(text) = readings.get(*reading).map(Reading::text) else { continue };
            for window in most_suspicious(windows(pieces.len(), self.window), pieces, text, most, &suspicion)? {
                rows.push(row(*reading, pieces.get(window).unwrap_or_default(), [linear; 2], false));
            }
        }
        for part in parts {
            let Some((_, pieces)) = read.iter().find(|(reading, _)| *reading == part.reading) else { continue };
            let first = pieces.partition_point(|piece| (piece.chars.start as usize) < part.chars.start);
            let last = pieces.partition_point(|piece| (piece.chars.start as usize) < part.chars.end);
            let pieces = pieces.get(first..last.min(first + self.window.pieces)).unwrap_or_default();
            let row = row(part.reading, pieces, [part.linear, part.suspects], true);
            if !pieces.is_empty() && rows.iter().all(|known: &Row| known.ids != row.ids) {
                rows.push(row);
            }
        }
        Ok(rows)
    }

    fn most_suspicious(
        &self,
        readings: &[Reading],
        most: usize,
        suspicion: impl Fn(&str) -> Result<f64, ScoreError>,
    ) -> Result<Vec<Window>, ScoreError> {
        self.windows(readings, |windows, pieces, text| most_suspicious(windows, pieces, text, most, &suspicion))
    }

    /// As [`Self::best`], of the first window of each reading.
    pub(crate) fn first(&self, readings: &[Reading]) -> Result<BestPieces, ScoreError> {
        self.best_of(self.windows(readings, |windows, _, _| Ok(windows.into_iter().take(1).collect()))?)
    }

    /// The windows of each reading that `choose` leaves.
    fn windows(
        &self,
        readings: &[Reading],
        choose: impl Fn(Vec<Range<usize>>, &[Piece], &str) -> Result<Vec<Range<usize>>, ScoreError>,
    ) -> Result<Vec<Window>, ScoreError> {
        let mut chosen = Vec::new();
        for (reading, pieces) in self.read(readings) {
            let Some(text) = readings.get(reading).map(Reading::text) else { continue };
            let windows = choose(windows(pieces.len(), self.window), &pieces, text)?;
            let of = |window: Range<usize>| Window { reading, pieces: pieces.get(window).unwrap_or_default().to_vec() };
            chosen.extend(windows.into_iter().map(of));
        }
        Ok(chosen)
    }

    fn best_of(&self, windows: Vec<Window>) -> Result<BestPieces, ScoreError> {
        let runs = windows.len();
        let mut best: Option<BestPieces> = None;
        for Window { reading, pieces } in windows {
            let outputs = self.outputs(&self.ids(&pieces))?;
            let logit = outputs.first().copied().ok_or(ScoreError::NotFinite)?;
            if best.as_ref().is_none_or(|best| logit > best.logit) {
                best = Some(BestPieces { logit, outputs, reading, pieces, runs });
            }
        }
        best.ok_or(ScoreError::NotFinite)
    }

    /// The pieces of each reading, by its place; without those whose pieces are the same as of the one before. Pieces that the vocabulary
    /// does not know are left out where a folded reading follows: they say nothing, and what they disguise stands there.
    fn read(&self, readings: &[Reading]) -> Vec<(usize, Vec<Piece>)> {
        let mut read = Vec::with_capacity(readings.len());
        for (place, reading) in readings.iter().enumerate() {
            let mut pieces = self.vocabulary.pieces(reading.text());
            if place + 1 < readings.len() {
                pieces.retain(|piece| piece.id != self.vocabulary.unknown());
                if pieces.is_empty() {
                    continue;
                }
            }
            read.push((place, pieces));
        }
        let ids = |pieces: &[Piece]| pieces.iter().map(|piece| piece.id).collect::<Vec<_>>();
        read.dedup_by(|next, last| ids(&next.1) == ids(&last.1));
        read
    }

    /// What [`Self::best`] gives to ONNX Runtime.
    pub(crate) fn inputs(&self, readings: &[Reading]) -> Vec<Vec<i64>> {
        let windows = |pieces: Vec<Piece>| {
            let of = |window| self.ids(pieces.get(window).unwrap_or_default());
            windows(pieces.len(), self.window).into_iter().map(of).collect::<Vec<_>>()
        };
        self.read(readings).into_iter().flat_map(|(_, pieces)| windows(pieces)).collect()
    }

    /// A window's tokens, between the marks of start and end.
    fn ids(&self, pieces: &[Piece]) -> Vec<i64> {
        let mut ids = Vec::with_capacity(pieces.len() + 2);
        ids.push(i64::from(self.vocabulary.start()));
        ids.extend(pieces.iter().map(|piece| i64::from(piece.id)));
        ids.push(i64::from(self.vocabulary.end()));
        ids
    }

    fn logit(&self, pieces: &[Piece]) -> Result<f64, ScoreError> {
        self.outputs(&self.ids(pieces))?.first().copied().ok_or(ScoreError::NotFinite)
    }

    /// All outputs of the graph for one row of ids.
    pub(crate) fn outputs(&self, ids: &[i64]) -> Result<Vec<f64>, ScoreError> {
        let outputs = self.session.run(ids).map_err(ScoreError::Run)?;
        let outputs: Vec<f64> = outputs.into_iter().map(f64::from).collect();
        if outputs.iter().all(|output| output.is_finite()) { Ok(outputs) } else { Err(ScoreError::NotFinite) }
    }

    /// By how much the log-odds fall when a word is left out, for words of the window in the order of `first`, which names stretches of the
    /// raw text that promise most; at most `runs` words are tried, each costs one run. Words that touch are one.
    pub(crate) fn occlusion(
        &self,
        best: &BestPieces,
        reading: &Reading,
        first: &[Span],
        runs: usize,
    ) -> Result<Vec<Span>, ScoreError> {
        let words = words(&best.pieces);
        let place = |word: &Range<usize>| reading.raw(chars(best.pieces.get(word.clone()).unwrap_or_default()));
        let rank = |word: &Range<usize>| {
            let at = place(word);
            first.iter().position(|span| span.start < at.end && at.start < span.end).unwrap_or(usize::MAX)
        };
        let mut order: Vec<_> = words.iter().filter(|word| !place(word).is_empty()).cloned().collect();
        order.sort_by_key(rank);
        let mut spans = Vec::new();
        for word in order.into_iter().take(runs) {
            let rest: Vec<Piece> = best
                .pieces
                .iter()
                .enumerate()
                .filter(|(index, _)| !word.contains(index))
                .map(|(_, piece)| piece.clone())
                .collect();
            let at = place(&word);
            spans.push(Span { start: at.start, end: at.end, weight: best.logit - self.logit(&rest)? });
        }
        Ok(spans)
    }
}

/// Where pieces stand in their reading.
pub(crate) fn chars(pieces: &[Piece]) -> Range<usize> {
    let start = pieces.first().map_or(0, |piece| piece.chars.start as usize);
    start..pieces.iter().map(|piece| piece.chars.end as usize).max().unwrap_or(start)
}

/// At most `most` of the windows: the highest by `suspicion` of their text, the first of equals, in their own order.
fn most_suspicious(
    windows: Vec<Range<usize>>,
    pieces: &[Piece],
    text: &str,
    most: usize,
    suspicion: impl Fn(&str) -> Result<f64, ScoreError>,
) -> Result<Vec<Range<usize>>, ScoreError> {
    if windows.len() <= most {
        return Ok(windows);
    }
    let bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let stretch = |window: &Range<usize>| {
        let inside = pieces.get(window.clone()).unwrap_or_default();
        let place = |char: Option<u32>| bytes.get(char.unwrap_or_default() as usize).copied().unwrap_or_default();
        let end = inside.iter().map(|piece| piece.chars.end).max();
        text.get(place(inside.first().map(|piece| piece.chars.start))..place(end)).unwrap_or_default()
    };
    let mut ranked = Vec::with_capacity(windows.len());
    for window in windows {
        ranked.push((suspicion(stretch(&window))?, window));
    }
    ranked.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    ranked.truncate(most);
    let mut kept: Vec<_> = ranked.into_iter().map(|(_, window)| window).collect();
    kept.sort_by_key(|window| window.start);
    Ok(kept)
}

/// Ranges of pieces that are one word each.
fn words(pieces: &[Piece]) -> Vec<Range<usize>> {
    let mut out: Vec<Range<usize>> = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        match out.last_mut() {
            Some(last) if !piece.starts_word => last.end = index + 1,
            _ => out.push(index..index + 1),
        }
    }
    out
}

/// Ranges that cover `count` pieces; no pieces give one empty range.
fn windows(count: usize, window: PieceWindow) -> Vec<Range<usize>> {
    let step = window.pieces.saturating_sub(window.overlap).max(1);
    let mut out = Vec::new();
    let mut start = 0;
    loop {
        let end = (start + window.pieces).min(count);
        out.push(start..end);
        if end >= count {
            return out;
        }
        start += step;
    }
}
