//! A cascade of ours as a reader whose transformer runs here, row by row: the scores are those of [`TextModel::score`].

use std::sync::Arc;

use domain::ModelRef;
use opinion::{Reader, ReaderError, TextOpinion};
use scoring::{Bundle, Execution, Graph, GraphError, Onnx, TRANSFORMER_FILE, Tensor, TextModel};

/// Longer texts are read in windows that the model itself picks.
const MOST_ROWS: usize = 8;

/// A model and a session for its transformer.
pub(crate) struct Cascade {
    model: Arc<TextModel>,
    transformer: Option<Graph>,
}

impl Cascade {
    /// A session of its own beside a model that several share.
    pub(crate) fn load(
        onnx: &Onnx,
        bundle: &Bundle,
        model: &Arc<TextModel>,
        execution: Execution,
    ) -> Result<Self, GraphError> {
        let graph = bundle.more.get(TRANSFORMER_FILE);
        let transformer = graph.map(|graph| Graph::load(onnx, graph, execution)).transpose()?;
        Ok(Self { model: Arc::clone(model), transformer })
    }

    fn error(&self, code: &str) -> ReaderError {
        let ModelRef { name, version, .. } = self.model.identity();
        ReaderError { model: format!("{name}@{version}"), code: code.to_owned() }
    }

    fn row(&self, ids: &[i64]) -> Result<Vec<f32>, ReaderError> {
        let graph = self.transformer.as_ref().ok_or_else(|| self.error("no_transformer"))?;
        let ids = Tensor::I64(vec![1, ids.len()], ids.to_vec());
        // What ONNX Runtime says may hold values of the input.
        let outputs = graph.run(&[("ids", &ids)]).map_err(|_| self.error("run_failed"))?;
        match outputs.into_iter().next() {
            Some(Tensor::F32(_, logits)) => Ok(logits),
            _ => Err(self.error("output_not_float32")),
        }
    }

    /// Whether the linear graph leaves the text to the transformer.
    fn asks(&self, linear: f64) -> bool {
        let manifest = self.model.manifest();
        let second = manifest.transformer.as_ref();
        second.is_some_and(|second| manifest.calibration.probability(linear) >= second.asked_from)
    }

    fn scored(&self, text: &str) -> Result<TextOpinion, ReaderError> {
        let scored = self.model.score(text).map_err(|_| self.error("score_failed"))?;
        Ok(self.opinion(scored.raw, scored.calibrated))
    }

    fn opinion(&self, raw: f64, calibrated: f64) -> TextOpinion {
        TextOpinion { raw, calibrated, model: self.model.identity().clone(), spans: Vec::new() }
    }
}

impl Reader for Cascade {
    fn model(&self) -> &ModelRef {
        self.model.identity()
    }

    fn supports(&self, lang: Option<&str>) -> bool {
        self.model.supports(lang)
    }

    fn rows(&self, text: &str) -> Vec<Vec<i64>> {
        let asks = self.model.log_odds(text).is_ok_and(|linear| self.asks(linear));
        let rows = if asks { self.model.transformer_inputs(text) } else { None };
        rows.filter(|rows| rows.len() <= MOST_ROWS).unwrap_or_default()
    }

    /// Its products are quantised by the values of the whole batch, so that a neighbour would change a score (law 7).
    fn most_rows(&self) -> usize {
        1
    }

    fn run(&self, rows: &[&[i64]]) -> Result<Vec<Vec<f32>>, ReaderError> {
        rows.iter().map(|ids| self.row(ids)).collect()
    }

    fn conclude(&self, text: &str, outputs: &[Vec<f32>]) -> Result<TextOpinion, ReaderError> {
        let second = self.model.manifest().transformer.as_ref();
        let (Some(second), false) = (second, outputs.is_empty()) else { return self.scored(text) };
        let mut highest = f64::NEG_INFINITY;
        for logits in outputs {
            let logit = logits.first().filter(|_| logits.iter().all(|logit| logit.is_finite()));
            highest = highest.max(f64::from(*logit.ok_or_else(|| self.error("output_not_finite"))?));
        }
        let linear = self.model.log_odds(text).map_err(|_| self.error("score_failed"))?;
        let six_decimals = |value: f64| (value * 1e6).round() / 1e6;
        let calibrated = six_decimals(second.calibration.probability(highest, linear));
        let own = self.model.deployment();
        let calibrated = own.map_or(calibrated, |own| six_decimals(own.mapping.apply(calibrated)));
        Ok(self.opinion(six_decimals(1.0 / (1.0 + (-highest).exp())), calibrated))
    }
}
