//! Yahoo's open_nsfw: how likely an image shows nudity. What comes before the graph is its package's preprocessing, a loss by JPEG included.

mod jpeg;
mod resize;

use image::{Rgb, RgbImage, imageops};
use scoring::{Graph, GraphError, Tensor};

/// The image is squeezed into a square of this side.
const RESIZED: u32 = 256;
/// And the middle of it is looked at.
const CROP: u32 = 224;
/// Mean of the images that the model was trained with: blue, green, red.
const MEAN: [f32; 3] = [104.0, 117.0, 123.0];

/// The model of nudity.
#[derive(Debug)]
pub struct Nudity(Graph);

impl Nudity {
    pub(super) fn new(graph: Graph) -> Self {
        Self(graph)
    }

    /// Probability of nudity, 0 to 1.
    pub fn probability(&self, image: &RgbImage) -> Result<f64, GraphError> {
        let resized = resize::resized(image, RESIZED, RESIZED);
        let offset = (RESIZED - CROP) / 2;
        let middle = imageops::crop_imm(&resized, offset, offset, CROP, CROP).to_image();
        let less = |Rgb([red, green, blue]): &Rgb<u8>| {
            let [b, g, r] = MEAN;
            [f32::from(*blue) - b, f32::from(*green) - g, f32::from(*red) - r]
        };
        let values = jpeg::degraded(&middle).pixels().flat_map(less).collect();
        let output = self.0.run_first(&Tensor::F32(vec![1, CROP as usize, CROP as usize, 3], values))?;
        match output {
            Tensor::F32(_, values) => match values.as_slice() {
                [_, nudity] if nudity.is_finite() => Ok(f64::from(*nudity).clamp(0.0, 1.0)),
                _ => Err(GraphError::unexpected("the model of nudity gives no probability")),
            },
            Tensor::I64(..) => Err(GraphError::unexpected("the model of nudity gives whole numbers")),
        }
    }
}
