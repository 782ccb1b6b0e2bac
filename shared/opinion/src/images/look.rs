//! Eyes of models: decode, hash, nudity, text, and what the text model says of it.

use std::path::Path;

use domain::ModelRef;
use image::{RgbImage, imageops};
use scoring::{Execution, Onnx};

use super::decode::{Decoded, decode};
use super::nudity::Nudity;
use super::ocr::Ocr;
use super::weights::{EyesError, Weights};
use super::work::{MILLION_COMPOSED, NUDITY, Work};
use super::{Eyes, ImageError, Seen, lines, pdq};
use crate::reader::Reader;

/// Scenes are compared as pictures of so many pixels a side,
const SCENE: u32 = 16;
/// and are the same where their values, of 255, differ by no more on average.
const SAME_SCENE: u64 = 5;

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
        let mut work = Work::default();
        let mut unread = decoded.unread;
        if !work.take((decoded.composed / 1_000_000) as u32 * MILLION_COMPOSED) {
            unread = Some(ImageError::TooManyFrames);
        }
        let numbers: Vec<u32> = std::iter::once(0).chain(decoded.more.iter().map(|frame| frame.number)).collect();
        let pictures: Vec<&RgbImage> =
            std::iter::once(&decoded.pixels).chain(decoded.more.iter().map(|frame| &frame.pixels)).collect();
        let (nudity, all) = self.nudity(&pictures, &mut work)?;
        let hash = |image: &&RgbImage| {
            let (hash, quality) = pdq::hash(image);
            (quality >= pdq::LEAST_QUALITY).then(|| hash.to_string())
        };
        let mut hashes = pictures.iter().map(hash);
        let pdq = hashes.next().flatten();
        let mut more_pdq: Vec<String> = hashes.flatten().collect();
        more_pdq.dedup();
        if !all {
            unread = unread.or(Some(ImageError::TooManyFrames));
        }
        let (found, all) = self.ocr.read(&pictures, &mut work).map_err(|_| ImageError::ModelFailed)?;
        if !all {
            unread = unread.or(Some(ImageError::TooManyLines));
        }
        let places = pictures.iter().zip(&numbers).map(|(picture, number)| (*number, scale(&decoded, picture)));
        let (text, lines) = lines::read(found, places, reader).map_err(|_| ImageError::ModelFailed)?;
        Ok(Seen {
            width: decoded.width,
            height: decoded.height,
            nudity: rounded(nudity),
            nudity_model: self.nudity_model.clone(),
            pdq,
            lines,
            text,
            more_pdq,
            unread,
        })
    }
}

impl ModelEyes {
    /// The highest of what is shown and differs from what was looked at before, and whether there was work left for all of it.
    fn nudity(&self, pictures: &[&RgbImage], work: &mut Work) -> Result<(f64, bool), ImageError> {
        let (mut highest, mut all) = (0.0_f64, true);
        let mut last: Option<RgbImage> = None;
        for picture in pictures {
            let small = imageops::thumbnail(*picture, SCENE, SCENE);
            if last.as_ref().is_some_and(|last| is_same_scene(last, &small)) {
                continue;
            }
            if !work.take(NUDITY) {
                all = false;
                break;
            }
            highest = highest.max(self.nudity.probability(picture).map_err(|_| ImageError::ModelFailed)?);
            last = Some(small);
        }
        Ok((highest, all))
    }
}

/// Whether two small pictures show the same but for some writing: nudity is not looked for again.
fn is_same_scene(a: &RgbImage, b: &RgbImage) -> bool {
    let apart: u64 = a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    apart <= SAME_SCENE * a.as_raw().len() as u64
}

/// By what places in a picture have to be stretched to lie in the image as it is shown. A turned image was reduced to the same shape, so one
/// factor serves both directions but for rounding.
fn scale(decoded: &Decoded, picture: &RgbImage) -> [f32; 2] {
    [decoded.width as f32 / picture.width() as f32, decoded.height as f32 / picture.height() as f32]
}

/// Six decimals, as everything that is stored and compared.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
