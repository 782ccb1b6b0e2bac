//! From a model's folder to panels, one a worker.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::ModelRef;
use opinion::foreign::{CARD_FILE, ForeignError};
use opinion::images::{self, EyesError};
use opinion::{Ensemble, Eyes, Foreign, NotACascade, Panel, Reader};
use runtime::telemetry;
use scoring::{Bundle, Device, Execution, LoadError, MANIFEST_FILE, Onnx, RuntimeError, TextModel};
use serde_json::json;
use thiserror::Error;

use crate::config::Config;

/// A model ready to serve.
pub struct Loaded {
    /// One a worker, each with sessions of its own.
    pub panels: Vec<Arc<Panel>>,
    /// Takes texts apart and concludes; runs nothing.
    pub reader: Arc<dyn Reader>,
}

/// Why no model could be loaded. Trying again does not help.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// ONNX Runtime's library.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A folder with neither kind of model.
    #[error("`{0}` holds neither `manifest.json`, as a model of ours, nor `card.json`, as one of yours")]
    NoModel(PathBuf),
    /// Files of a model of ours.
    #[error("reading the model in `{0}`")]
    Read(PathBuf, #[source] std::io::Error),
    /// A model of ours was refused.
    #[error("loading the model in `{0}`")]
    Ours(PathBuf, #[source] LoadError),
    /// A model of ours is of one stage only.
    #[error("loading the model in `{0}`")]
    OneStage(PathBuf, #[source] NotACascade),
    /// The models that look at images were refused.
    #[error("loading what looks at images from `{0}`")]
    Eyes(PathBuf, #[source] EyesError),
    /// A model of theirs was refused.
    #[error("loading the model in `{0}`")]
    Theirs(PathBuf, #[source] ForeignError),
    /// A GPU was demanded for a model that has no use for one.
    #[error("the model in `{0}` is quantised for the processor: use `--device cpu` or `--device auto`")]
    OnlyCpu(PathBuf),
}

/// Loads the model in the folder; which kind it is, its files tell.
///
/// # Errors
/// [`StartError`] where it is refused.
pub fn load(config: &Config) -> Result<Loaded, StartError> {
    let folder = &config.model;
    // Our models have a `card.json` too, with their figures.
    if folder.join(MANIFEST_FILE).exists() {
        return ours(&scoring::init(&config.onnxruntime)?, config);
    }
    if !folder.join(CARD_FILE).exists() {
        return Err(StartError::NoModel(folder.clone()));
    }
    theirs(&scoring::init(&config.onnxruntime)?, config)
}

fn ours(onnx: &Onnx, config: &Config) -> Result<Loaded, StartError> {
    if matches!(config.device, Device::Cuda(_)) {
        return Err(StartError::OnlyCpu(config.model.clone()));
    }
    let bundle = Bundle::read(&config.model).map_err(|error| StartError::Read(config.model.clone(), error))?;
    let mut panels = Vec::new();
    for worker in 0..config.workers() {
        let model = TextModel::load(onnx, &bundle, None);
        let model = Arc::new(model.map_err(|error| StartError::Ours(config.model.clone(), error))?);
        let reader = Ensemble::new(model).map_err(|error| StartError::OneStage(config.model.clone(), error))?;
        if worker == 0 {
            said(reader.model(), Device::Cpu, &[]);
        }
        panels.push(panel(Arc::new(reader), eyes(onnx, config, Execution::cpu(config.threads))?));
    }
    loaded(panels, &config.model)
}

fn theirs(onnx: &Onnx, config: &Config) -> Result<Loaded, StartError> {
    let mut execution = Execution { threads: config.threads, device: config.device };
    let mut panels = Vec::new();
    for worker in 0..config.workers() {
        let model = Foreign::load(onnx, &config.model, execution, config.max_batch);
        let model = model.map_err(|error| StartError::Theirs(config.model.clone(), error))?;
        // Whatever the first one got, the others get too: two devices could give two scores.
        execution.device = model.device();
        if worker == 0 {
            let most_rows = model.most_rows().to_string();
            said(
                model.model(),
                model.device(),
                &[
                    ("model.license", Some(&model.card().license)),
                    ("model.most_rows", Some(&most_rows)),
                    ("model.why_one_row", model.why_one_row()),
                    ("device.why_not_cuda", model.why_not_cuda()),
                ],
            );
        }
        panels.push(panel(Arc::new(model), eyes(onnx, config, execution)?));
    }
    loaded(panels, &config.model)
}

fn panel(reader: Arc<dyn Reader>, eyes: Option<Arc<dyn Eyes>>) -> Arc<Panel> {
    Arc::new(Panel { reader, eyes })
}

/// Eyes of a worker's own, where there is a folder of them.
fn eyes(onnx: &Onnx, config: &Config, execution: Execution) -> Result<Option<Arc<dyn Eyes>>, StartError> {
    let Some(folder) = config.eyes() else { return Ok(None) };
    match images::load_with(onnx, &folder, execution) {
        Ok(eyes) => Ok(Some(Arc::new(eyes))),
        Err(error) => Err(StartError::Eyes(folder, error)),
    }
}

fn loaded(panels: Vec<Arc<Panel>>, folder: &Path) -> Result<Loaded, StartError> {
    let first = panels.first().map(|panel| Arc::clone(&panel.reader));
    let reader = first.ok_or_else(|| StartError::NoModel(folder.to_owned()))?;
    Ok(Loaded { panels, reader })
}

/// Says what is served and where it runs; a warning where that is not what could be.
fn said(model: &ModelRef, device: Device, more: &[(&str, Option<&str>)]) {
    let device = match device {
        Device::Cuda(number) => format!("cuda:{number}"),
        Device::Cpu | Device::Auto => "cpu".to_owned(),
    };
    let ModelRef { name, version, sha256 } = model;
    let mut fields = json!({ "device": device, "model.name": name, "model.version": version, "model.sha256": sha256 });
    if let Some(fields) = fields.as_object_mut() {
        fields.extend(more.iter().filter_map(|(name, value)| Some(((*name).to_owned(), json!((*value)?)))));
    }
    let less = more.iter().any(|(name, value)| name.contains(".why_") && value.is_some());
    telemetry::log(if less { "WARN" } else { "INFO" }, "a model was loaded", &fields);
}
