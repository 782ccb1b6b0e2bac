//! Eyes: what is seen in an image. [`load`] gives eyes of models; [`pdq`] and [`BlockList`] tell known images.
//!
//! What looks at an image never trusts it: [`decode`] bounds it in bytes and pixels before anything is allocated.

pub mod block_list;
pub mod decode;
mod look;
mod nudity;
pub mod ocr;
pub mod pdq;
mod weights;

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
    /// What the text model says of all lines together, joined by spaces; `None` where no line was read.
    pub text: Option<TextOpinion>,
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
    /// Calibrated probability of the harm of this line alone.
    pub score: f64,
}

/// Why an image could not be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageError {
    /// More bytes than are taken.
    TooManyBytes,
    /// More pixels than are taken, said by its header or found while decoding.
    TooManyPixels,
    /// Neither JPEG, PNG, WebP nor GIF, whatever its name or media type says.
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
