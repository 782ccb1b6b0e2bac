//! The second stage of a cascade: pieces of words into a transformer, one window a run.

use std::ops::Range;

use domain::Span;
use features::text::{Piece, Reading, WordPiece};

use crate::bundle::{Bundle, TRANSFORMER_FILE, VOCABULARY_FILE};
use crate::manifest::{self, PieceWindow};
use crate::model::{LoadError, ScoreError, same_digest};
use crate::runtime::{Onnx, TransformerSession};

/// A loaded transformer.
#[derive(Debug)]
pub(crate) struct Transformer {
    session: TransformerSession,
    vocabulary: WordPiece,
    window: PieceWindow,
}

/// The window that counts: where it stands, and what it scored.
pub(crate) struct BestPieces {
    /// Log-odds of the harm.
    pub logit: f64,
    /// Which of the readings given.
    pub reading: usize,
    /// Its pieces.
    pub pieces: Vec<Piece>,
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

    /// Fails if the graph knows fewer tokens than the vocabulary has or reads shorter windows.
    fn try_all_tokens(&self) -> Result<(), ScoreError> {
        let last = u32::try_from(self.vocabulary.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let piece = Piece { id: last, chars: 0..0, starts_word: true };
        self.logit(&vec![piece; self.window.pieces]).map(|_| ())
    }

    /// The highest log-odds of all windows of all readings; the first of equals.
    pub(crate) fn best(&self, readings: &[Reading]) -> Result<BestPieces, ScoreError> {
        let mut best: Option<BestPieces> = None;
        for (reading, pieces) in self.read(readings) {
            for window in windows(pieces.len(), self.window) {
                let pieces = pieces.get(window).unwrap_or_default();
                let logit = self.logit(pieces)?;
                if best.as_ref().is_none_or(|best| logit > best.logit) {
                    best = Some(BestPieces { logit, reading, pieces: pieces.to_vec() });
                }
            }
        }
        best.ok_or(ScoreError::NotFinite)
    }

    /// The pieces of each reading, by its place; without those whose pieces are the same as of the one before.
    fn read(&self, readings: &[Reading]) -> Vec<(usize, Vec<Piece>)> {
        let mut read: Vec<_> =
            readings.iter().map(|reading| self.vocabulary.pieces(reading.text())).enumerate().collect();
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
        let logit = self.session.run(&self.ids(pieces)).map_err(ScoreError::Run)?;
        if logit.is_finite() { Ok(logit) } else { Err(ScoreError::NotFinite) }
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
        let place = |word: &Range<usize>| {
            let chars = best.pieces.get(word.clone()).unwrap_or_default();
            let start = chars.first().map_or(0, |piece| piece.chars.start);
            let end = chars.iter().map(|piece| piece.chars.end).max().unwrap_or(start);
            reading.raw(start as usize..end as usize)
        };
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
