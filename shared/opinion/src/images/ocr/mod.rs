//! Optical character recognition with the weights of PP-OCR: where text is, which way up, what it says, in which order to read it.
//!
//! The steps are PaddleOCR's, as RapidOCR has them, with five differences: pale images are stretched to the full range of
//! brightness; crops are sampled once from the image instead of twice; a gap
//! in which a space is likely gets one, since the model for Chinese and English likes to leave it out; a line that was turned by 90° is
//! read both ways up, since the angle model is unsure of those; and lines are ordered along the direction of their text, not of the image.

mod angle;
mod bands;
mod column;
mod detect;
mod order;
mod quad;
mod recognise;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use image::RgbImage;
use scoring::{Execution, GraphError, Onnx};

pub use detect::Detector;
pub use quad::Quad;
pub use recognise::{Read, Recogniser};

use crate::planted::planted;

use super::weights::{EyesError, Weights};
use super::work::{LINE, THOUSAND_COLUMNS, Work};
use angle::Angle;
pub use order::in_reading_order;
use quad::Turn;

/// A text that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// What it says.
    pub text: String,
    /// Mean probability of its characters, 0 to 1.
    pub confidence: f64,
    /// Where it is: corners as the text has them, in pixels of the image that was read.
    pub quad: Quad,
}

/// The most lines that are read in one picture; what stands in a later frame as before is the same line.
pub const MAX_LINES: usize = 400;
/// The most runs of the model that finds text over later frames, several of which lie side by side where there are more.
const MAX_SHEETS: usize = 8;
/// What is recognised with less confidence is no text. RapidOCR's value.
const LEAST_CONFIDENCE: f64 = 0.5;

/// Images with a smaller range of brightness, of 255, are stretched before text is looked for.
const LEAST_RANGE: f32 = 128.0;

/// Reads text in images.
#[derive(Debug)]
pub struct Ocr {
    detector: Detector,
    angle: Angle,
    recogniser: Recogniser,
}

impl Ocr {
    /// Loads its three graphs.
    pub fn load(onnx: &Onnx, weights: &Weights, execution: Execution) -> Result<Self, EyesError> {
        let graph = |model| weights.graph(onnx, model, execution);
        Ok(Self {
            detector: Detector::new(graph(&weights.manifest.ocr_detect)?),
            angle: Angle::new(graph(&weights.manifest.ocr_angle)?),
            recogniser: Recogniser::new(graph(&weights.manifest.ocr_recognise)?)?,
        })
    }

    /// All text of pictures of which the first is the largest, by picture and in reading order, and whether all of it was read: the work
    /// that is left, and [`MAX_LINES`], bound it.
    pub fn read(&self, pictures: &[&RgbImage], work: &mut Work) -> Result<(Vec<Vec<Found>>, bool), GraphError> {
        let stretched: Vec<_> = pictures.iter().map(|image| stretched(image)).collect();
        let shown: Vec<&RgbImage> =
            pictures.iter().zip(&stretched).map(|(image, stretched)| stretched.as_ref().unwrap_or(image)).collect();
        let (places, mut all) = self.places(&shown, work)?;
        let mut known = HashMap::new();
        let mut found = Vec::new();
        for (image, places) in shown.iter().zip(places) {
            let mut lines = Vec::new();
            for place in &places {
                let line =
                    if known.len() < MAX_LINES { self.recognise_within(image, place, work, &mut known)? } else { None };
                let Some(line) = line else {
                    all = false;
                    break;
                };
                lines.extend(line);
            }
            let mut lines = in_reading_order(lines);
            for column in column::columns(&places) {
                match self.column(image, &column, work)? {
                    Some(line) => lines.extend(line),
                    None => all = false,
                }
            }
            found.push(lines);
        }
        Ok((found, all || planted("lines-beyond-are-fine")))
    }

    /// What a column of letters says, if it is text, with spaces between its letters: what reads texts joins them to words. The outer `None`
    /// says that there is no work left for it.
    fn column(&self, image: &RgbImage, column: &[Quad], work: &mut Work) -> Result<Option<Option<Found>>, GraphError> {
        let Some((line, quad, count)) = column::line(image, column) else { return Ok(Some(None)) };
        if !work.take(LINE + Recogniser::columns(&line) * THOUSAND_COLUMNS / 1_000) {
            return Ok(None);
        }
        let read = self.recogniser.read(&line)?;
        let letters: Vec<String> = read.text.chars().filter(|c| !c.is_whitespace()).map(String::from).collect();
        let is_text = read.confidence >= LEAST_CONFIDENCE && letters.len().abs_diff(count) <= count / 4;
        Ok(Some(is_text.then(|| Found { text: letters.join(" "), confidence: read.confidence, quad })))
    }

    /// Where text may be, by picture. The pictures of one size after the first lie side by side where they are many.
    fn places(&self, pictures: &[&RgbImage], work: &mut Work) -> Result<(Vec<Vec<Quad>>, bool), GraphError> {
        let mut places = Vec::new();
        let mut all = true;
        for same in pictures.chunk_by(|a, b| a.dimensions() == b.dimensions()) {
            let alone = same.len().min(if places.is_empty() { 2 } else { 0 });
            let (alone, others) = same.split_at_checked(alone).unwrap_or((same, &[]));
            for image in alone {
                let (found, whole) = bands::of_picture(&self.detector, image, work)?;
                places.push(found);
                all &= whole;
            }
            let (found, seen) = bands::of_pictures(&self.detector, others, work, MAX_SHEETS)?;
            all &= seen == others.len();
            places.extend(found);
            places.resize(places.len() + others.len() - seen, Vec::new());
        }
        Ok((places, all))
    }

    /// Where text may be, the largest first.
    pub fn detect(&self, image: &RgbImage) -> Result<Vec<Quad>, GraphError> {
        self.detector.detect(image)
    }

    /// What one place says, if it is text.
    pub fn recognise(&self, image: &RgbImage, quad: &Quad) -> Result<Option<Found>, GraphError> {
        Ok(self.recognise_within(image, quad, &mut Work::default(), &mut HashMap::new())?.flatten())
    }

    /// The same within the work that is left: the outer `None` says that it is not enough. What was read in the same pixels is known.
    fn recognise_within(
        &self,
        image: &RgbImage,
        quad: &Quad,
        work: &mut Work,
        known: &mut HashMap<u64, Read>,
    ) -> Result<Option<Option<Found>>, GraphError> {
        let (quad, turn) = quad.upright();
        let mut read = |place: &Quad, work: &mut Work| {
            let line = Recogniser::line(image, place);
            let mut hasher = DefaultHasher::new();
            line.as_raw().hash(&mut hasher);
            let key = hasher.finish();
            if let Some(read) = known.get(&key) {
                return Ok(Some(read.clone()));
            }
            if !work.take(LINE + Recogniser::columns(&line) * THOUSAND_COLUMNS / 1_000) {
                return Ok(None);
            }
            let read = self.recogniser.read(&line)?;
            known.insert(key, read.clone());
            Ok(Some(read))
        };
        let mut place = match turn {
            Turn::None if self.angle.is_upside_down(image, &quad)? => quad.upside_down(),
            Turn::None | Turn::Quarter => quad.clone(),
        };
        let Some(mut best) = read(&place, work)? else { return Ok(None) };
        if turn == Turn::Quarter {
            let other = place.upside_down();
            let Some(read) = read(&other, work)? else { return Ok(None) };
            if read.confidence > best.confidence {
                (best, place) = (read, other);
            }
        }
        let is_text = best.confidence >= LEAST_CONFIDENCE && !best.text.trim().is_empty();
        Ok(Some(is_text.then(|| Found { text: best.text.trim().to_owned(), confidence: best.confidence, quad: place })))
    }
}

/// Values of an 8-bit image as these models take them: planes of blue, green and red, from -1 to 1.
fn planes(image: &RgbImage) -> Vec<f32> {
    let channel = |at: usize| image.as_raw().iter().skip(at).step_by(3).map(|value| f32::from(*value) / 127.5 - 1.0);
    channel(2).chain(channel(1)).chain(channel(0)).collect()
}

/// An image whose brightness has little range, as a copy in which it has all; `None` where it has enough. The darkest and brightest
/// thousandths do not count.
fn stretched(image: &RgbImage) -> Option<RgbImage> {
    let mut counts = [0_u32; 256];
    for value in image.as_raw() {
        if let Some(count) = counts.get_mut(usize::from(*value)) {
            *count += 1;
        }
    }
    let ignored = (image.as_raw().len() / 1000) as u32;
    let dark = end(counts.iter(), ignored)? as f32;
    let bright = 255.0 - end(counts.iter().rev(), ignored)? as f32;
    let range = bright - dark;
    if !(2.0..LEAST_RANGE).contains(&range) {
        return None;
    }
    let mut copy = image.clone();
    copy.iter_mut().for_each(|value| *value = ((f32::from(*value) - dark) * 255.0 / range).clamp(0.0, 255.0) as u8);
    Some(copy)
}

/// The place of the count with which the sum exceeds what is left out.
fn end<'a>(mut counts: impl Iterator<Item = &'a u32>, ignored: u32) -> Option<usize> {
    let mut sum = 0;
    counts.position(|count| {
        sum += count;
        sum > ignored
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn a_pale_image_is_stretched_and_no_other_is() {
        let of = |dark: u8, bright: u8| RgbImage::from_fn(40, 40, |x, _| Rgb([if x < 10 { dark } else { bright }; 3]));
        let pale = stretched(&of(200, 220)).unwrap();
        assert_eq!((pale.get_pixel(0, 0), pale.get_pixel(39, 0)), (&Rgb([0; 3]), &Rgb([255; 3])));
        assert_eq!(stretched(&of(20, 220)), None);
        assert_eq!(stretched(&of(7, 7)), None);
    }
}
