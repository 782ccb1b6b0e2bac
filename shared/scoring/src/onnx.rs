//! Writes a linear model as an ONNX graph, in the few messages of the format that it needs, and reads it back.
//!
//! Field numbers and constants are those of `onnx.proto` (ONNX IR version 8, operator set 17).

use prost::Message;

/// Input: int64 `[n]`, the buckets that occur.
pub const BUCKETS: &str = "buckets";
/// Input: float `[n]`, their values.
pub const VALUES: &str = "values";
/// Output: double scalar, the log-odds. Summed in 64 bits, so that the order of the sum does not show after rounding.
pub const LOGIT: &str = "logit";
/// Output: float `[n]`, each entry's share of the log-odds.
pub const CONTRIBUTIONS: &str = "contributions";

const FLOAT: i32 = 1;
const INT64: i32 = 7;
const FLOAT16: i32 = 10;
const DOUBLE: i32 = 11;
const ATTRIBUTE_INT: i32 = 2;

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSetId>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSetId {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, tag = "3")]
    i: i64,
    #[prost(int32, tag = "20")]
    kind: i32,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfo {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    element: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dimensions: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(string, tag = "2")]
    name: String,
}

/// The bytes of a graph that gathers `weights` at the input buckets, multiplies them by the values and adds them to
/// `bias`. Weights are kept in 16 bits ([`f16_bits`]), which halves the file and moves no score noticeably.
pub fn linear_graph(weights: &[f32], bias: f64) -> Vec<u8> {
    let raw = weights.iter().flat_map(|weight| f16_bits(*weight).to_le_bytes()).collect();
    linear_model(raw, bias).encode_to_vec()
}

/// The weights (binary16) and the bias of a graph that [`linear_graph`] wrote; `None` for any other bytes.
pub(crate) fn linear_weights(graph: &[u8]) -> Option<(Vec<u16>, f64)> {
    let model = ModelProto::decode(graph).ok()?;
    let [weights, bias] = <[TensorProto; 2]>::try_from(model.graph?.initializer).ok()?;
    let bias = f64::from_le_bytes(bias.raw_data.try_into().ok()?);
    let (pairs, []) = weights.raw_data.as_chunks::<2>() else { return None };
    let halves = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    (linear_model(weights.raw_data, bias).encode_to_vec() == graph).then_some((halves, bias))
}

/// `raw` holds the weights as binary16, the lower byte first.
fn linear_model(raw: Vec<u8>, bias: f64) -> ModelProto {
    let graph = GraphProto {
        name: "ngram-linear".to_owned(),
        node: vec![
            node("Gather", &["weights", BUCKETS], "gathered", &[("axis", 0)]),
            node("Cast", &["gathered"], "picked", &[("to", i64::from(FLOAT))]),
            node("Mul", &["picked", VALUES], CONTRIBUTIONS, &[]),
            node("Cast", &[CONTRIBUTIONS], "wide", &[("to", i64::from(DOUBLE))]),
            node("ReduceSum", &["wide"], "sum", &[("keepdims", 0)]),
            node("Add", &["sum", "bias"], LOGIT, &[]),
        ],
        initializer: vec![
            TensorProto {
                dims: vec![i64::try_from(raw.len() / 2).unwrap_or(i64::MAX)],
                data_type: FLOAT16,
                name: "weights".to_owned(),
                raw_data: raw,
            },
            TensorProto {
                dims: Vec::new(),
                data_type: DOUBLE,
                name: "bias".to_owned(),
                raw_data: bias.to_le_bytes().to_vec(),
            },
        ],
        input: vec![value(BUCKETS, INT64, &["n"]), value(VALUES, FLOAT, &["n"])],
        output: vec![value(LOGIT, DOUBLE, &[]), value(CONTRIBUTIONS, FLOAT, &["n"])],
    };
    ModelProto {
        ir_version: 8,
        producer_name: "moderato".to_owned(),
        graph: Some(graph),
        opset_import: vec![OperatorSetId { domain: String::new(), version: 17 }],
    }
}

fn node(op: &str, inputs: &[&str], output: &str, attributes: &[(&str, i64)]) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        name: output.to_owned(),
        op_type: op.to_owned(),
        attribute: attributes
            .iter()
            .map(|&(name, i)| Attribute { name: name.to_owned(), i, kind: ATTRIBUTE_INT })
            .collect(),
    }
}

fn value(name: &str, element: i32, shape: &[&str]) -> ValueInfo {
    let dimensions = shape.iter().map(|&name| Dimension { name: name.to_owned() }).collect();
    let tensor = TensorType { element, shape: Some(Shape { dimensions }) };
    ValueInfo { name: name.to_owned(), kind: Some(TypeProto { tensor: Some(tensor) }) }
}

/// IEEE 754 binary16 bits of the number nearest to `value`, ties to even; too large becomes the largest finite one,
/// not a number becomes zero. Weights are never either.
pub fn f16_bits(value: f32) -> u16 {
    let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
    let magnitude = value.abs();
    if magnitude.is_nan() {
        return 0;
    }
    if magnitude >= 65_504.0 {
        return sign | 0x7bff;
    }
    // Adding a power of two whose last place is the place to keep rounds to that place, ties to even.
    let exponent = (magnitude.to_bits() >> 23).max(113);
    let rounder = f32::from_bits((exponent + 13) << 23);
    let kept = (magnitude + rounder).to_bits() - rounder.to_bits();
    // `kept` counts units of the last place: 1024 to 2048 for a normal number, less for a subnormal one.
    let bits = ((exponent - 113) << 10) + kept;
    sign | u16::try_from(bits).unwrap_or(0x7bff).min(0x7bff)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number that binary16 bits stand for, from the format's definition.
    fn value_of(bits: u16) -> f64 {
        let exponent = i32::from((bits >> 10) & 31);
        let fraction = f64::from(bits & 1023);
        let magnitude = match exponent {
            0 => fraction * 2_f64.powi(-24),
            _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
        };
        if bits & 0x8000 == 0 { magnitude } else { -magnitude }
    }

    #[test]
    fn every_finite_half_survives_and_others_go_to_the_nearest_even() {
        for bits in (0..0x7c00_u16).flat_map(|bits| [bits, bits | 0x8000]) {
            assert_eq!(f16_bits(value_of(bits) as f32), bits, "{bits:#x}");
        }
        for bits in 0..0x7bff_u16 {
            let middle = f64::midpoint(value_of(bits), value_of(bits + 1)) as f32;
            assert_eq!(f16_bits(middle), bits + (bits & 1), "half way above {bits:#x}");
            assert_eq!(f16_bits(middle.next_down()), bits, "below half way above {bits:#x}");
            assert_eq!(f16_bits(middle.next_up()), bits + 1, "above half way above {bits:#x}");
        }
    }

    #[test]
    fn what_a_half_cannot_hold_stays_finite() {
        assert_eq!(f16_bits(1e9), 0x7bff);
        assert_eq!(f16_bits(f32::NEG_INFINITY), 0xfbff);
        assert_eq!(f16_bits(f32::NAN), 0);
        assert_eq!(f16_bits(1e-9), 0);
    }
}
