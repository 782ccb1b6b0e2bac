//! Eyes: what is seen in an image. [`load`] gives eyes of models; [`pdq`] and [`BlockList`] tell known images.
//!
//! What looks at an image never trusts it: [`decode`] bounds it in bytes and pixels before anything is allocated.

pub mod block_list;
pub mod decode;
mod lines;
mod look;
mod nudity;
pub mod ocr;
pub mod pdq;
mod weights;
pub mod work;

pub use block_list::{BLOCK_LIST_KEY, BlockList, BlockListError, MAX_BLOCK_LIST_BYTES};
pub use look::{ModelEyes, load, load_with};
pub use nudity::Nudity;
pub use weights::EyesError;

use domain::ModelRef;
use serde::{Deserialize, Serialize};

use crate::reader::{Reader, TextOpinion};

/// What is seen in one image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Probability of nudity, 0 to 1, rounded to six decimals.
    pub nudity: f64,
    /// Which model said so.
    pub nudity_model: ModelRef,
    /// Its perceptual hash (PDQ), 64 hexadecimal digits; `None` where the image has too little in it to tell.
    pub pdq: Option<String>,
    /// Lines of text, in reading order.
    pub lines: Vec<Line>,
    /// What the text model says of what is written: the highest of all lines joined and of lines that read as a sentence; `None` where no
    /// line was read.
    pub text: Option<TextOpinion>,
    /// Perceptual hashes of what it shows beside its first frame.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_pdq: Vec<String>,
    /// Why a part of it was not looked at, where one was not: then nobody may say that there is nothing in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<ImageError>,
}

/// A line of text in an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// What it says.
    pub text: String,
    /// How sure the recognition is, 0 to 1.
    pub confidence: f64,
    /// Its corners in pixels of the image: top left, top right, bottom right, bottom left of the text.
    pub corners: [[f32; 2]; 4],
    /// Calibrated probability of the harm of this line alone, or of the sentence that it is a part of where that is higher.
    pub score: f64,
    /// The frame that it stands in first, from 0.
    #[serde(default, skip_serializing_if = "is_first")]
    pub frame: u32,
}

fn is_first(frame: &u32) -> bool {
    *frame == 0
}

/// Why an image, or a part of it, could not be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageError {
    /// More bytes than are taken.
    TooManyBytes,
    /// More pixels than are taken, said by its header or found while decoding.
    TooManyPixels,
    /// More frames that differ, or more to put together, than is looked through.
    TooManyFrames,
    /// More lines of text than are read.
    TooManyLines,
    /// HEIC, which phones write: no decoder with bounded memory is known whose licence fits.
    Heic,
    /// AVIF: likewise.
    Avif,
    /// Neither JPEG, PNG, WebP, GIF nor BMP, whatever its name or media type says.
    NotAnImage,
    /// One of those, and it ends early or contradicts itself.
    Broken,
    /// It was decoded, and a model failed on it.
    ModelFailed,
}

/// What looks at images.
pub trait Eyes: Send + Sync {
    /// Looks at an image file; `reader` scores the text in it.
    fn look(&self, file: &[u8], reader: &dyn Reader) -> Result<Seen, ImageError>;
}
