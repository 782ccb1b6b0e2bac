//! Whether a line stands on its head.

use image::RgbImage;
use scoring::{Graph, GraphError, Tensor};

use super::{Quad, planes};

const WIDTH: u32 = 192;
const HEIGHT: u32 = 48;
/// How sure the model has to be. RapidOCR's value.
const SURE: f32 = 0.9;

/// The model of angles: 0° or 180°.
#[derive(Debug)]
pub struct Angle(Graph);

impl Angle {
    pub fn new(graph: Graph) -> Self {
        Self(graph)
    }

    /// Whether the text in this place stands on its head.
    pub fn is_upside_down(&self, image: &RgbImage, quad: &Quad) -> Result<bool, GraphError> {
        let wanted = (HEIGHT as f32 * quad.width() / quad.height().max(1.0)).ceil() as u32;
        let line = padded(&quad.straightened(image, wanted.clamp(1, WIDTH), HEIGHT), WIDTH);
        let outputs = self.0.run_first(&line)?;
        Ok(matches!(outputs, Tensor::F32(_, values) if values.get(1).is_some_and(|turned| *turned > SURE)))
    }
}

/// A picture of a line as a tensor of this width, grey to the right of it.
pub fn padded(line: &RgbImage, width: u32) -> Tensor {
    let (height, width) = (line.height() as usize, width as usize);
    let mut data = Vec::with_capacity(3 * height * width);
    for row in planes(line).chunks_exact(line.width() as usize) {
        data.extend_from_slice(row);
        data.resize(data.len() + width - row.len(), 0.0);
    }
    Tensor::F32(vec![1, 3, height, width], data)
}
