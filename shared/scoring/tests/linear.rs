//! The linear model as it serves, against its graph run by ONNX Runtime.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod common;

use std::path::Path;

use common::{baseline, davidson, onnx};
use features::text::{View, WeightedBucket, plain, tokenise, weighted_buckets, windows};
use ort::session::Session;
use ort::value::TensorRef;
use scoring::onnx::{BUCKETS, CONTRIBUTIONS, LOGIT, VALUES, linear_graph};
use scoring::{Bundle, Linear, LinearError, Manifest};

/// Both forms of one committed model.
struct Forms {
    manifest: Manifest,
    linear: Linear,
    session: Session,
}

fn committed() -> Vec<Forms> {
    let folders = [baseline(), baseline().with_file_name("minilm-cascade")];
    folders.iter().map(|folder| forms(folder)).collect()
}

fn forms(folder: &Path) -> Forms {
    let bundle = Bundle::read(folder).unwrap();
    Forms {
        manifest: serde_json::from_slice(&bundle.manifest).unwrap(),
        linear: Linear::read(&bundle.model).unwrap(),
        session: onnx().bare_session(&bundle.model).unwrap(),
    }
}

impl Forms {
    /// The shares to the last bit. Log-odds to 1e-12, since ONNX Runtime adds in an order of its own and 64-bit sums of some hundred
    /// numbers below 10 are right to about 1e-14; so scores, which have six decimals, are the same.
    fn agree(&mut self, input: &[WeightedBucket]) {
        let ours = self.linear.run(input).unwrap();
        let buckets: Vec<i64> = input.iter().map(|entry| i64::from(entry.bucket)).collect();
        let values: Vec<f32> = input.iter().map(|entry| entry.value).collect();
        let buckets = TensorRef::from_array_view(([buckets.len()], buckets.as_slice())).unwrap();
        let values = TensorRef::from_array_view(([values.len()], values.as_slice())).unwrap();
        let outputs = self.session.run(ort::inputs![BUCKETS => buckets, VALUES => values]).unwrap();
        let (_, shares) = outputs[CONTRIBUTIONS].try_extract_tensor::<f32>().unwrap();
        let (_, logit) = outputs[LOGIT].try_extract_tensor::<f64>().unwrap();
        assert!(ours.contributions.iter().map(|share| share.to_bits()).eq(shares.iter().map(|share| share.to_bits())));
        assert!((ours.logit - logit[0]).abs() <= 1e-12, "{} and {}", ours.logit, logit[0]);
        let score = |logit| (self.manifest.calibration.probability(logit) * 1e6).round();
        assert_eq!(score(ours.logit).to_bits(), score(logit[0]).to_bits());
    }
}

#[test]
fn random_inputs_score_as_the_graph_does() {
    let mut state = 1_u64;
    let mut random = move |bound: u32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(((state >> 32) * u64::from(bound)) >> 32).unwrap()
    };
    for mut forms in committed() {
        let last = 1 << forms.manifest.ngrams.bits;
        for _ in 0..10_000 {
            let input: Vec<_> = (0..random(400) + 1)
                .map(|_| WeightedBucket { view: View::Word, bucket: random(last), value: random(1 << 20) as f32 / 1e6 })
                .collect();
            forms.agree(&input);
        }
        // Nothing at all is the offset, and what the graph makes of an entry of value zero.
        let zero = [WeightedBucket { view: View::Word, bucket: last - 1, value: 0.0 }];
        forms.agree(&zero);
        assert_eq!(forms.linear.run(&[]).unwrap().logit.to_bits(), forms.linear.run(&zero).unwrap().logit.to_bits());
        assert!(forms.linear.run(&[WeightedBucket { bucket: last, ..zero[0] }]).is_err());
    }
}

#[test]
fn real_texts_score_as_the_graph_does() {
    let Some(texts) = davidson() else {
        return println!("skipped: real_texts_score_as_the_graph_does (MODERATO_DATA has no corpora)");
    };
    for mut forms in committed() {
        for text in &texts {
            let text = tokenise(plain(text).text());
            for window in windows(&text, &forms.manifest.window) {
                let input = weighted_buckets(&text, window, &forms.manifest.ngrams);
                if !input.is_empty() {
                    forms.agree(&input);
                }
            }
        }
    }
}

#[test]
fn any_other_graph_is_refused() {
    let weights = [0.5, -1.0, f32::MIN_POSITIVE, 65_504.0];
    let graph = linear_graph(&weights, -2.0);
    assert!(Linear::read(&graph).is_ok());
    // A field that this program does not know, another operator, one byte less.
    let more = [graph.as_slice(), &[0x78, 1]].concat();
    let place = graph.windows(9).position(|bytes| bytes == b"ReduceSum").unwrap();
    let mut other = graph.clone();
    other[place..place + 9].copy_from_slice(b"ReduceMax");
    for bytes in [more.as_slice(), &other, &graph[..graph.len() - 1], &[]] {
        assert_eq!(Linear::read(bytes).unwrap_err(), LinearError::Foreign);
    }
    let place = graph.windows(2).position(|bytes| bytes == 0x7bff_u16.to_le_bytes()).unwrap();
    let mut infinite = graph;
    infinite[place..place + 2].copy_from_slice(&0x7c00_u16.to_le_bytes());
    assert_eq!(Linear::read(&infinite).unwrap_err(), LinearError::NotFinite(3));
}
