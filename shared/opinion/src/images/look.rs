//! Eyes of models: decode, hash, nudity, text, and what the text model says of it.

use std::path::Path;

use domain::ModelRef;
use scoring::{Execution, Onnx};

use super::decode::decode;
use super::nudity::Nudity;
use super::ocr::{Found, Ocr};
use super::weights::{EyesError, Weights};
use super::{Eyes, ImageError, Line, Seen, pdq};
use crate::reader::{Reader, ReaderError, TextOpinion};

/// Looks at images with the models of a folder.
#[derive(Debug)]
pub struct ModelEyes {
    /// How likely nudity is.
    pub nudity: Nudity,
    /// What is written.
    pub ocr: Ocr,
    nudity_model: ModelRef,
}

/// Loads the models of a folder, on one thread. Each file has to have the digest that the manifest names which is compiled in.
pub fn load(onnx: &Onnx, folder: &Path) -> Result<ModelEyes, EyesError> {
    load_with(onnx, folder, Execution::cpu(1))
}

/// The same, run as told.
pub fn load_with(onnx: &Onnx, folder: &Path, execution: Execution) -> Result<ModelEyes, EyesError> {
    let weights = Weights::of(folder)?;
    Ok(ModelEyes {
        nudity: Nudity::new(weights.graph(onnx, &weights.manifest.nudity, execution)?),
        ocr: Ocr::load(onnx, &weights, execution)?,
        nudity_model: weights.model_ref(&weights.manifest.nudity),
    })
}

impl Eyes for ModelEyes {
    fn look(&self, file: &[u8], reader: &dyn Reader) -> Result<Seen, ImageError> {
        let decoded = decode(file)?;
        let image = &decoded.pixels;
        let (hash, quality) = pdq::hash(image);
        let nudity = self.nudity.probability(image).map_err(|_| ImageError::ModelFailed)?;
        let found = self.ocr.read(image).map_err(|_| ImageError::ModelFailed)?;
        let (text, scores) = read(&found, reader).map_err(|_| ImageError::ModelFailed)?;
        // A turned image was reduced to the same shape, so one factor serves both directions but for rounding.
        let scale = [decoded.width as f32 / image.width() as f32, decoded.height as f32 / image.height() as f32];
        let lines = found.into_iter().zip(scores).map(|(found, score)| Line {
            text: found.text,
            confidence: rounded(found.confidence),
            corners: found.quad.0.map(|[x, y]| [x * scale[0], y * scale[1]]),
            score,
        });
        Ok(Seen {
            width: decoded.width,
            height: decoded.height,
            nudity: rounded(nudity),
            nudity_model: self.nudity_model.clone(),
            pdq: (quality >= pdq::LEAST_QUALITY).then(|| hash.to_string()),
            lines: lines.collect(),
            text,
        })
    }
}

/// Six decimals, as everything that is stored and compared.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// What the text model says of all lines joined, and of each alone. The first is the image's: the highest of all would flag one in four
/// harmless pictures whose sentence was split at a word like "Jews" (benches/pictures.rs), and finds no more of the hateful ones.
fn read(found: &[Found], reader: &dyn Reader) -> Result<(Option<TextOpinion>, Vec<f64>), ReaderError> {
    let joined = joined(found);
    let texts: Vec<&str> = match found {
        [] => return Ok((None, Vec::new())),
        [_] => vec![joined.as_str()],
        _ => std::iter::once(joined.as_str()).chain(found.iter().map(|one| one.text.as_str())).collect(),
    };
    let opinions = read_all(&texts, reader)?;
    let scores = opinions.iter().map(|opinion| opinion.calibrated).skip(usize::from(found.len() > 1)).collect();
    Ok((opinions.into_iter().next(), scores))
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

/// All lines as one text: joined by spaces, but that a word broken by a hyphen at the end of a line is one again.
fn joined(found: &[Found]) -> String {
    let mut text = String::new();
    for one in found {
        let broken = text.strip_suffix('-').is_some_and(|before| before.ends_with(char::is_alphabetic));
        if broken && one.text.starts_with(char::is_lowercase) {
            text.pop();
        } else if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&one.text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::ocr::Quad;
    use domain::Span;

    /// Says how many times a text has the word "bad", and where it first has it; takes two rows at once, a row a word.
    struct Counting(ModelRef);

    impl Reader for Counting {
        fn model(&self) -> &ModelRef {
            &self.0
        }

        fn supports(&self, _: Option<&str>) -> bool {
            true
        }

        fn rows(&self, text: &str) -> Vec<Vec<i64>> {
            text.split(' ').map(|word| vec![i64::from(word == "bad")]).collect()
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

    fn lines(texts: &[&str]) -> Vec<Found> {
        let line = |text: &&str| Found { text: (*text).to_owned(), confidence: 1.0, quad: Quad([[0.0; 2]; 4]) };
        texts.iter().map(line).collect()
    }

    fn counting() -> Counting {
        Counting(ModelRef { name: "counting".to_owned(), version: "1".to_owned(), sha256: String::new() })
    }

    #[test]
    fn all_lines_joined_count_and_each_line_has_a_score_of_its_own() {
        let (opinion, scores) = read(&lines(&["all is well", "so bad"]), &counting()).unwrap();
        let opinion = opinion.unwrap();
        assert_eq!(scores, [0.0, 0.5]);
        assert_eq!(opinion.calibrated, 0.2);
        assert_eq!((opinion.spans[0].start, opinion.spans[0].end), (15, 18));
    }

    #[test]
    fn one_line_is_read_once_and_none_not_at_all() {
        let (opinion, scores) = read(&lines(&["bad"]), &counting()).unwrap();
        assert_eq!((opinion.unwrap().calibrated, scores), (1.0, vec![1.0]));
        assert_eq!(read(&[], &counting()).unwrap(), (None, Vec::new()));
    }

    #[test]
    fn a_word_broken_by_a_hyphen_is_whole_again() {
        assert_eq!(
            joined(&lines(&["über immi-", "grants and", "well-", "Known - x"])),
            "über immigrants and well- Known - x"
        );
    }
}
