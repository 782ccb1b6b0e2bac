//! A model with a deployment's calibration beside it: what it scores, who it says it is, and what it refuses.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod common;

use common::{baseline, onnx};
use domain::ModelRef;
use scoring::deployment::{CalibrationError, Data, DeploymentCalibration, Figures, Mapping};
use scoring::reviewed::Estimate;
use scoring::{Bundle, CALIBRATION_FILE, LoadError, TextModel};

/// The committed baseline with a calibration of its own.
fn calibrated(version: &str, mapping: Mapping) -> Bundle {
    let mut bundle = Bundle::read(&baseline()).unwrap();
    let model = TextModel::load(&onnx(), &bundle, None).unwrap().identity().clone();
    bundle.more.insert(CALIBRATION_FILE.to_owned(), file(version, model, mapping).into());
    bundle
}

fn file(version: &str, model: ModelRef, mapping: Mapping) -> Vec<u8> {
    let figure = Estimate { value: 0.1, low: 0.0, high: 0.2 };
    let data = Data { sha256: "ab".repeat(32), n: 100, positives: 50, effective_positives: 50.0 };
    let figures = Figures { folds: 5, ece_before: figure, ece_after: figure, brier_before: 0.2, brier_after: 0.1 };
    serde_json::to_vec(&DeploymentCalibration::new(version.to_owned(), model, mapping, data, figures)).unwrap()
}

fn texts() -> Vec<String> {
    (0..100).map(|i| format!("post {i} about muslims, women and {} cats", i * 7)).collect()
}

#[test]
fn a_score_is_the_models_score_mapped() {
    let plain = common::model();
    for mapping in [
        Mapping::Platt { slope: 0.7, offset: -1.5 },
        Mapping::Isotonic { points: vec![(0.01, 0.001), (0.3, 0.05), (0.9, 0.6)] },
    ] {
        let own = TextModel::load(&onnx(), &calibrated("c1", mapping.clone()), None).unwrap();
        let mut moved = 0;
        for text in texts() {
            let (before, after) = (plain.score(&text).unwrap(), own.score(&text).unwrap());
            assert_eq!((before.raw, before.window, before.stage), (after.raw, after.window, after.stage));
            assert_eq!(after.calibrated, (mapping.apply(before.calibrated) * 1e6).round() / 1e6);
            moved += usize::from(after.calibrated != before.calibrated);
        }
        assert!(moved > 90, "{moved} of 100 scores moved");
    }
}

#[test]
fn a_calibrated_score_is_the_same_alone_and_among_others() {
    let bundle = calibrated("c1", Mapping::Platt { slope: 0.7, offset: -1.5 });
    let load = || TextModel::load(&onnx(), &bundle, None).unwrap();
    let bits = |model: &TextModel, text: &String| model.score(text).unwrap().calibrated.to_bits();
    let shared = load();
    let forth: Vec<_> = texts().iter().map(|text| bits(&shared, text)).collect();
    let back: Vec<_> = texts().iter().rev().map(|text| bits(&shared, text)).collect();
    assert!(forth.iter().eq(back.iter().rev()));
    for (text, among) in texts().iter().zip(forth).step_by(25) {
        assert_eq!(bits(&load(), text), among);
    }
}

#[test]
fn its_identity_names_the_calibration_and_through_it_the_model() {
    let bundle = calibrated("c1", Mapping::Platt { slope: 0.7, offset: -1.5 });
    let model = TextModel::load(&onnx(), &bundle, Some(&bundle.sha256())).unwrap();
    let plain = common::model();
    assert_eq!((model.identity().name.as_str(), model.identity().version.as_str()), ("ngram-baseline", "1+c1"));
    assert_eq!(model.identity().sha256, domain::sha256_hex(bundle.calibration().unwrap()));
    assert_ne!(model.identity().sha256, plain.identity().sha256);
    assert_eq!(&model.deployment().unwrap().model, plain.identity());
    // Another mapping is another model.
    let other = calibrated("c1", Mapping::Platt { slope: 0.7, offset: -1.4 });
    let error = TextModel::load(&onnx(), &other, Some(&bundle.sha256())).unwrap_err();
    assert!(matches!(error, LoadError::Digest { part: "calibration", .. }), "{error:?}");
    // What is beside the calibration is held by it.
    let mut swapped = bundle.clone();
    let space = swapped.manifest.len() - 1;
    swapped.manifest[space] = b' ';
    let error = TextModel::load(&onnx(), &swapped, Some(&bundle.sha256())).unwrap_err();
    assert!(matches!(error, LoadError::Calibration(CalibrationError::OtherModel { .. })), "{error:?}");
}

#[test]
fn a_calibration_of_another_model_is_refused_and_says_what_to_do() {
    let mut bundle = Bundle::read(&baseline()).unwrap();
    let other = ModelRef { name: "ngram-baseline".to_owned(), version: "1".to_owned(), sha256: "00".repeat(32) };
    let foreign = file("c1", other, Mapping::Platt { slope: 1.0, offset: 0.0 });
    bundle.more.insert(CALIBRATION_FILE.to_owned(), foreign.into());
    let error = TextModel::load(&onnx(), &bundle, None).unwrap_err();
    assert!(matches!(error, LoadError::Calibration(CalibrationError::OtherModel { .. })), "{error:?}");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("moderato calibrate"));
}

#[test]
fn a_folder_is_read_with_its_calibration() {
    let bundle = calibrated("c1", Mapping::Platt { slope: 0.7, offset: -1.5 });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("manifest.json"), &bundle.manifest).unwrap();
    std::fs::write(folder.path().join("model.onnx"), &bundle.model).unwrap();
    std::fs::write(folder.path().join(CALIBRATION_FILE), bundle.calibration().unwrap()).unwrap();
    assert_eq!(Bundle::read(folder.path()).unwrap(), bundle);
}
