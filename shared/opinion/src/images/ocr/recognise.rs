//! What a line says: a picture of it to characters.

use image::RgbImage;
use scoring::{Graph, GraphError, Tensor};

use super::angle::padded;
use super::{EyesError, Quad};

const HEIGHT: u32 = 48;
/// Narrower lines are padded to this width; it is what the model was trained with.
const LEAST_WIDTH: u32 = 320;
/// Longer lines are squeezed: about 200 characters.
const MAX_WIDTH: u32 = 3_200;
/// How likely a space has to be between two characters to be written there. The model was trained on Chinese first, and gives the space
/// between two English words a low probability more often than not.
const SPACE: f32 = 0.02;

/// The model that recognises, with its characters.
#[derive(Debug)]
pub struct Recogniser {
    graph: Graph,
    /// By class; the first is none, the last the space.
    characters: Vec<String>,
}

/// What was recognised.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// Its characters.
    pub text: String,
    /// Their mean probability, 0 to 1.
    pub confidence: f64,
}

impl Recogniser {
    /// The graph carries its characters as metadata, a line each.
    pub fn new(graph: Graph) -> Result<Self, EyesError> {
        let listed = graph.metadata("character").ok_or(EyesError::NoCharacters)?;
        let listed = listed.lines().map(str::to_owned);
        let characters = std::iter::once(String::new()).chain(listed).chain([" ".to_owned()]).collect();
        Ok(Self { graph, characters })
    }

    /// What is in a place, as the model takes it before padding.
    pub fn line(image: &RgbImage, quad: &Quad) -> RgbImage {
        let wanted = (HEIGHT as f32 * quad.width() / quad.height().max(1.0)).ceil() as u32;
        quad.straightened(image, wanted.clamp(1, MAX_WIDTH), HEIGHT)
    }

    /// Columns that the model runs over for a line.
    pub fn columns(line: &RgbImage) -> u32 {
        line.width().max(LEAST_WIDTH)
    }

    /// Reads a line.
    pub fn read(&self, line: &RgbImage) -> Result<Read, GraphError> {
        let line = padded(line, Self::columns(line));
        let Tensor::F32(shape, data) = self.graph.run_first(&line)? else { return Ok(self.decode(&[])) };
        let classes = shape.last().copied().unwrap_or_default();
        let steps: Vec<&[f32]> =
            if classes == self.characters.len() { data.chunks_exact(classes).collect() } else { Vec::new() };
        Ok(self.decode(&steps))
    }

    /// Greedy decoding of connectionist temporal classification: the likeliest class of each step, repeats once, without the empty class.
    fn decode(&self, steps: &[&[f32]]) -> Read {
        let space = self.characters.len() - 1;
        let (mut text, mut sum, mut count) = (String::new(), 0.0, 0_u32);
        let (mut before, mut likely_space) = (0, 0.0_f32);
        for step in steps {
            let (class, probability) = likeliest(step);
            if class == 0 {
                likely_space = likely_space.max(step.get(space).copied().unwrap_or_default());
            } else {
                if class != before {
                    if class != space && likely_space > SPACE && !text.is_empty() && !text.ends_with(' ') {
                        text.push(' ');
                    }
                    text.push_str(self.characters.get(class).map_or("", String::as_str));
                    sum += f64::from(probability);
                    count += 1;
                }
                likely_space = 0.0;
            }
            before = class;
        }
        Read { text, confidence: if count == 0 { 0.0 } else { sum / f64::from(count) } }
    }
}

fn likeliest(step: &[f32]) -> (usize, f32) {
    step.iter().copied().enumerate().fold((0, f32::MIN), |best, at| if at.1 > best.1 { at } else { best })
}
