//! The linear model as it serves: the weights of its graph, and a sum. Per post it costs about a seventh of a session of ONNX Runtime, and
//! nothing to set up. The graph stays the artefact and the reference: a test runs both.

use features::text::WeightedBucket;
use thiserror::Error;

use crate::onnx;

/// Why a graph cannot be used. Trying the same bytes again does not help.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LinearError {
    /// No graph, or one that computes something else.
    #[error("the graph is not the one that `onnx::linear_graph` writes for its weights")]
    Foreign,
    /// A weight is infinite or no number.
    #[error("weight {0} of the graph is not a finite number")]
    NotFinite(usize),
}

/// A bucket beyond the weights.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the graph has {weights} weights, none for bucket {bucket}")]
pub struct NoWeight {
    bucket: u32,
    weights: usize,
}

/// What the model says about one input.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Log-odds.
    pub logit: f64,
    /// Each input entry's share of the log-odds, in the order of the input.
    pub contributions: Vec<f32>,
}

/// Weights ready to be summed.
pub struct Linear {
    /// IEEE 754 binary16, as in the graph: half the memory, and as fast.
    weights: Vec<u16>,
    bias: f64,
}

impl std::fmt::Debug for Linear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Linear").field("weights", &self.weights.len()).field("bias", &self.bias).finish()
    }
}

impl Linear {
    /// Takes the weights out of a graph; the caller has verified its digest. A graph that differs in a byte from what
    /// [`onnx::linear_graph`] writes for these weights is refused: what it computes would be a guess.
    pub fn read(verified: &[u8]) -> Result<Self, LinearError> {
        let (weights, bias) = onnx::linear_weights(verified).ok_or(LinearError::Foreign)?;
        match weights.iter().position(|bits| bits & EXPONENT == EXPONENT) {
            Some(place) => Err(LinearError::NotFinite(place)),
            None => Ok(Self { weights, bias }),
        }
    }

    /// The weight of a bucket; `None` for one beyond the weights.
    pub(crate) fn weight(&self, bucket: u32) -> Option<f32> {
        self.weights.get(usize::try_from(bucket).ok()?).map(|bits| widened(*bits))
    }

    /// What it says of a text without any n-gram, in log-odds.
    pub(crate) fn bias(&self) -> f64 {
        self.bias
    }

    /// What the graph computes: products in 32 bits, their sum in 64. ONNX Runtime may add them in another order, so its log-odds can
    /// differ in their last bits; the shares are the same to the last bit.
    pub fn run(&self, input: &[WeightedBucket]) -> Result<Run, NoWeight> {
        let mut contributions = Vec::with_capacity(input.len());
        let mut sum = 0.0;
        for &WeightedBucket { bucket, value, .. } in input {
            let weight = self.weight(bucket).ok_or(NoWeight { bucket, weights: self.weights.len() })?;
            let share = weight * value;
            sum += f64::from(share);
            contributions.push(share);
        }
        Ok(Run { logit: sum + self.bias, contributions })
    }
}

/// The exponent's bits of a binary16; all of them set stand for what is not finite.
const EXPONENT: u16 = 0x7c00;

/// The number that binary16 bits stand for, exactly; they stand for a finite one.
fn widened(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = bits & 0x7fff;
    let wide = if magnitude < 0x0400 {
        // Zero and subnormal numbers count in units of 2^-24.
        (f32::from(magnitude) * (1.0 / 16_777_216.0)).to_bits()
    } else {
        (u32::from(magnitude) << 13) + ((127 - 15) << 23)
    };
    f32::from_bits(sign | wide)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_half_is_widened_exactly() {
        for bits in (0..0x8000_u16).filter(|bits| bits & EXPONENT != EXPONENT) {
            let fraction = f64::from(bits & 1023);
            let value = match i32::from(bits >> 10) {
                0 => fraction * 2_f64.powi(-24),
                exponent => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
            };
            assert_eq!(f64::from(widened(bits)).to_bits(), value.to_bits(), "{bits:#x}");
            assert_eq!(f64::from(widened(bits | 0x8000)).to_bits(), (-value).to_bits(), "-{bits:#x}");
        }
    }
}
