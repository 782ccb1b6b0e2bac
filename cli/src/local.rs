//! Judgement in this process: the model, the policy and the definitions that ship with the command.

use crate::Failure;
use domain::Policy;
use domain::policy::FALLBACK;
use features::signals::{Bank, Banks};
use features::views::Definitions;
use scoring::{Bundle, Judge, Onnx, TRANSFORMER_FILE, TextModel, VOCABULARY_FILE};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The folder that this command was built from.
const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The model that ships with the command.
pub fn bundle() -> Bundle {
    Bundle {
        manifest: include_bytes!("../../shared/scoring/models/minilm-cascade/manifest.json").to_vec(),
        model: include_bytes!("../../shared/scoring/models/minilm-cascade/model.onnx").to_vec(),
        more: BTreeMap::from([
            (
                TRANSFORMER_FILE.to_owned(),
                include_bytes!("../../shared/scoring/models/minilm-cascade/transformer.ort").to_vec().into(),
            ),
            (
                VOCABULARY_FILE.to_owned(),
                include_bytes!("../../shared/scoring/models/minilm-cascade/vocabulary.txt").to_vec().into(),
            ),
        ]),
    }
}

/// ONNX Runtime: `MODERATO_ONNXRUNTIME`, or beside this executable, or where `make tools` puts it.
#[expect(clippy::disallowed_methods, reason = "where the library is, is the machine's business")]
pub fn onnx() -> Result<Onnx, Failure> {
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.join("libonnxruntime.so")));
    let named = std::env::var_os("MODERATO_ONNXRUNTIME").map(PathBuf::from);
    let tools = Path::new(WORKSPACE).join(".tools/onnxruntime/libonnxruntime.so");
    let library = named
        .or_else(|| beside.filter(|path| path.exists()))
        .or_else(|| Some(tools).filter(|path| path.exists()))
        .ok_or("ONNX Runtime's library is not there: run `make tools`, or name it in `MODERATO_ONNXRUNTIME`")?;
    Ok(scoring::init(&library)?)
}

/// The model in `folder`, or the one that ships with the command.
pub fn model(folder: Option<&Path>, onnx: &Onnx) -> Result<TextModel, Failure> {
    let bundle = folder.map_or_else(|| Ok(bundle()), Bundle::read)?;
    Ok(TextModel::load(onnx, &bundle, None)?)
}

/// The policy in `file`, or the compiled-in one, with its source.
pub fn policy(file: Option<&Path>) -> Result<(Policy, String), Failure> {
    let source = policy_source(file)?;
    Ok((Policy::load(&source, &Definitions::bundled()?.schema())?, source))
}

/// The text of the policy in `file`, or of the compiled-in one.
pub fn policy_source(file: Option<&Path>) -> Result<String, Failure> {
    match file {
        None => Ok(FALLBACK.to_owned()),
        Some(file) => Ok(std::fs::read_to_string(file)
            .map_err(|error| format!("reading the policy `{}`: {error}", file.display()))?),
    }
}

/// The bank in `file`, with its source.
pub fn bank(file: &Path) -> Result<(Bank, String), Failure> {
    let source =
        std::fs::read_to_string(file).map_err(|error| format!("reading the bank `{}`: {error}", file.display()))?;
    let bank = crate::bank::checked(&source).map_err(|refused| format!("`{}`: {refused}", file.display()))?;
    Ok((bank, source))
}

/// The banks in `files`.
pub fn banks(files: &[PathBuf]) -> Result<Banks, Failure> {
    let mut banks = BTreeMap::new();
    for file in files {
        let (bank, _) = bank(file)?;
        let name = bank.name().to_owned();
        if banks.insert(name.clone(), Some(std::sync::Arc::new(bank))).is_some() {
            return Err(format!("two of the files are a bank `{name}`").into());
        }
    }
    Ok(banks.into_iter().collect())
}

/// Everything that decides, as the Lambda builds it.
pub fn judge(policy_file: Option<&Path>) -> Result<Judge, Failure> {
    Ok(Judge {
        model: std::sync::Arc::new(model(None, &onnx()?)?),
        policy: policy(policy_file)?.0,
        definitions: Definitions::bundled()?,
        banks: Default::default(),
        degraded: Vec::new(),
        policy_assumed: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_solved_policy_was_solved_for_the_model_that_ships() {
        let solved = include_str!("../../shared/domain/policies/solved.yaml");
        assert!(solved.contains(&format!("sha256 {}", bundle().sha256())), "solve it again: moderato policy solve");
    }
}
