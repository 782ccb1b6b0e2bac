//! Which model and which policy are live: artefacts in S3 under their digest, and one pointer that names the live ones.
//!
//! [`resolve`] reads the pointer once at the start of a process and verifies whatever it loads. The bundled copy is
//! used where it is the wanted one, so that a start downloads nothing; where the wanted one cannot be had, the last
//! good one decides, and everything decided with it says so (`degraded`).

use domain::condition::Schema;
use domain::policy::FALLBACK;
use domain::{ModelRef, Policy, PolicyRef, sha256_hex};
use scoring::{Bundle, CALIBRATION_FILE, MANIFEST_FILE, MODEL_FILE, Onnx, RuntimeError, TextModel};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use store::{Deadline, Object, ObjectStore, StoreError};

/// Key of the pointer.
pub const POINTER_KEY: &str = "registry/live.json";
/// The largest pointer read, in bytes.
const MAX_POINTER_BYTES: usize = 16 * 1024;
/// The largest manifest or calibration read, in bytes.
const MAX_MANIFEST_BYTES: usize = 1024 * 1024;
/// The largest model read, in bytes: a function has 512 MB of /tmp.
const MAX_MODEL_BYTES: usize = 128 * 1024 * 1024;

/// What is live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// `live/1`.
    pub schema: String,
    /// The live model.
    pub model: ModelRef,
    /// The live policy.
    pub policy: PolicyRef,
}

/// A model and a policy ready to decide.
#[derive(Debug)]
pub struct Live {
    /// Scores texts.
    pub model: TextModel,
    /// Decides.
    pub policy: Policy,
    /// The pointer that was read, where one could be.
    pub pointer: Option<Pointer>,
    /// Why another model or policy than the wanted one decides; empty on a good day. Codes, one a problem.
    pub problems: Vec<Problem>,
}

/// Something wanted that could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `pointer`, `model` or `policy`.
    pub part: &'static str,
    /// What went wrong; no content.
    pub why: String,
}

/// Nothing to decide with: not even what was shipped with the program loads.
#[derive(Debug, thiserror::Error)]
#[error("the bundled {part} cannot be used: {why}; deploy again")]
pub struct RegistryError {
    part: &'static str,
    why: String,
}

/// Where models and policies come from.
pub struct Registry<'a> {
    /// The bucket and how to read it; `None` to use what is bundled.
    pub bucket: Option<(&'a dyn ObjectStore, &'a str)>,
    /// Gives the model shipped with the program, which may be on its way as well.
    pub bundled: &'a (dyn Fn() -> Result<Bundle, String> + Sync),
    /// A folder that outlives the process, for downloads and the last good pointer.
    pub cache: PathBuf,
    /// Gives what loads models; asked for when a model is to be loaded, so that it may still be on its way before.
    pub onnx: &'a (dyn Fn() -> Result<Onnx, RuntimeError> + Sync),
    /// What policies are checked against.
    pub schema: &'a Schema,
}

impl Registry<'_> {
    /// Resolves and loads what is live.
    ///
    /// # Errors
    /// Only where nothing at all loads; everything less is among [`Live::problems`].
    pub async fn resolve(&self, deadline: Deadline) -> Result<Live, RegistryError> {
        let mut problems = Vec::new();
        let last_good = self.last_good();
        let pointer = match self.pointer(deadline).await {
            Ok(pointer) => pointer,
            Err(why) => {
                problems.push(Problem { part: "pointer", why });
                None
            }
        };
        let wanted = pointer.clone().or_else(|| last_good.clone());
        let mut with_policy = Vec::new();
        let policy = self.policy(wanted.as_ref(), last_good.as_ref(), deadline, &mut with_policy).await?;
        let onnx = (self.onnx)().map_err(|why| RegistryError { part: "model", why: why.to_string() })?;
        let model = self.model(&onnx, wanted.as_ref(), last_good.as_ref(), deadline, &mut problems).await?;
        problems.extend(with_policy);
        if problems.is_empty()
            && let Some(pointer) = &pointer
        {
            // Only a convenience for the next process on this machine: failing to write it harms nobody.
            let _ = std::fs::create_dir_all(&self.cache)
                .and_then(|()| std::fs::write(self.cache.join("last-good.json"), to_json(pointer)));
        }
        Ok(Live { model, policy, pointer, problems })
    }

    /// What the bucket says is live; `None` where there is no bucket to ask. A function that is running already asks
    /// this now and then, and resolves again when the answer is another one.
    ///
    /// # Errors
    /// Why it could not be read; no content.
    pub async fn pointer(&self, deadline: Deadline) -> Result<Option<Pointer>, String> {
        let Some((objects, bucket)) = self.bucket else { return Ok(None) };
        let object = objects
            .get(bucket, POINTER_KEY, MAX_POINTER_BYTES, deadline)
            .await
            .map_err(|error| error.to_string())?
            .ok_or_else(|| format!("`{POINTER_KEY}` does not exist; publish with `moderato registry publish`"))?;
        let pointer: Pointer = serde_json::from_slice(&object.bytes)
            .map_err(|error| format!("`{POINTER_KEY}` is not a pointer (line {})", error.line()))?;
        if pointer.schema == "live/1" {
            Ok(Some(pointer))
        } else {
            Err(format!("`{POINTER_KEY}` has another schema than `live/1`"))
        }
    }

    fn last_good(&self) -> Option<Pointer> {
        serde_json::from_slice(&std::fs::read(self.cache.join("last-good.json")).ok()?).ok()
    }

    async fn model(
        &self,
        onnx: &Onnx,
        wanted: Option<&Pointer>,
        last_good: Option<&Pointer>,
        deadline: Deadline,
        problems: &mut Vec<Problem>,
    ) -> Result<TextModel, RegistryError> {
        let bundled = (self.bundled)();
        for pointer in [wanted, last_good].into_iter().flatten() {
            let digest = &pointer.model.sha256;
            let loaded = self.load(onnx, digest, bundled.as_ref().ok(), deadline).await;
            match loaded {
                Ok(model) => return Ok(model),
                Err(why) => problems.push(Problem { part: "model", why }),
            }
        }
        let error = |why| RegistryError { part: "model", why };
        let bundle = bundled.map_err(error)?;
        TextModel::load(onnx, &bundle, None).map_err(|why| error(why.to_string()))
    }

    fn folder(&self, digest: &str) -> PathBuf {
        // A digest comes from a file; only hexadecimal digits may become part of a path.
        self.cache.join("models").join(digest.replace(|c: char| !c.is_ascii_hexdigit(), "_"))
    }

    /// Loads a model by its digest: the bundled one, the cached one or the published one, whichever first proves to
    /// have it.
    async fn load(
        &self,
        onnx: &Onnx,
        digest: &str,
        bundled: Option<&Bundle>,
        deadline: Deadline,
    ) -> Result<TextModel, String> {
        let proved = |bundle: &Bundle| TextModel::load(onnx, bundle, Some(digest)).map_err(|error| error.to_string());
        if let Some(bundle) = bundled
            && bundle.sha256() == digest
            && let Ok(model) = proved(bundle)
        {
            return Ok(model);
        }
        if let Ok(bundle) = Bundle::read(&self.folder(digest))
            && let Ok(model) = proved(&bundle)
        {
            return Ok(model);
        }
        let manifest = self.download(format!("models/{digest}/{MANIFEST_FILE}"), MAX_MANIFEST_BYTES, deadline).await?;
        let calibration = if sha256_hex(&manifest) == digest {
            None
        } else {
            // Then the digest is that of a calibration, which names the manifest: loading proves both.
            let key = format!("models/{digest}/{CALIBRATION_FILE}");
            let found = self.download(key, MAX_MANIFEST_BYTES, deadline).await;
            Some(found.map_err(|why| format!("the manifest does not have the digest that names it, and {why}"))?)
        };
        // Another calibration of the bundled model: its graphs need not travel.
        if let Some(bundled) = bundled.filter(|bundled| bundled.manifest == manifest)
            && let bundle = bundled.clone().calibrated(calibration.clone())
            && let Ok(model) = proved(&bundle)
        {
            self.keep(digest, &bundle);
            return Ok(model);
        }
        let bundle = self.graphs(digest, manifest, deadline).await?.calibrated(calibration);
        let model = proved(&bundle)?;
        self.keep(digest, &bundle);
        Ok(model)
    }

    /// Downloads what stands beside a manifest.
    async fn graphs(&self, digest: &str, manifest: Vec<u8>, deadline: Deadline) -> Result<Bundle, String> {
        let model = self.download(format!("models/{digest}/{MODEL_FILE}"), MAX_MODEL_BYTES, deadline).await?;
        let mut more = BTreeMap::new();
        for name in Bundle::more_files(&manifest) {
            more.insert(
                (*name).to_owned(),
                self.download(format!("models/{digest}/{name}"), MAX_MODEL_BYTES, deadline).await?.into(),
            );
        }
        Ok(Bundle { manifest, model, more })
    }

    /// Keeps a verified model for the next process, which verifies it again.
    fn keep(&self, digest: &str, bundle: &Bundle) {
        let folder = self.folder(digest);
        // Beside and renamed: another process may have mapped the file that stands there.
        let write = |name: &str, bytes: &[u8]| {
            let beside = folder.join(format!("{name}.{}", std::process::id()));
            std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, folder.join(name)))
        };
        let _ = std::fs::create_dir_all(&folder)
            .and_then(|()| write(MODEL_FILE, &bundle.model))
            .and_then(|()| bundle.more.iter().try_for_each(|(name, bytes)| write(name, bytes)))
            .and_then(|()| write(MANIFEST_FILE, &bundle.manifest));
    }

    async fn policy(
        &self,
        wanted: Option<&Pointer>,
        last_good: Option<&Pointer>,
        deadline: Deadline,
        problems: &mut Vec<Problem>,
    ) -> Result<Policy, RegistryError> {
        for pointer in [wanted, last_good].into_iter().flatten() {
            let loaded = match self.policy_source(&pointer.policy.sha256, deadline).await {
                Ok(source) => Policy::load(&source, self.schema).map_err(|error| error.to_string()),
                Err(why) => Err(why),
            };
            match loaded {
                Ok(policy) => return Ok(policy),
                Err(why) => problems.push(Problem { part: "policy", why }),
            }
        }
        Policy::fallback(self.schema).map_err(|why| RegistryError { part: "policy", why: why.to_string() })
    }

    async fn policy_source(&self, digest: &str, deadline: Deadline) -> Result<String, String> {
        if sha256_hex(FALLBACK.as_bytes()) == digest {
            return Ok(FALLBACK.to_owned());
        }
        let kept = self.cache.join("policies").join(digest.replace(|c: char| !c.is_ascii_hexdigit(), "_"));
        let bytes = match std::fs::read(&kept) {
            Ok(bytes) if sha256_hex(&bytes) == digest => bytes,
            _ => {
                let key = policy_key(digest);
                self.download(key, domain::policy::MAX_POLICY_BYTES, deadline).await?
            }
        };
        if sha256_hex(&bytes) != digest {
            return Err("the policy's bytes do not have the digest that names it".to_owned());
        }
        if let Some(folder) = kept.parent() {
            let _ = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&kept, &bytes));
        }
        String::from_utf8(bytes).map_err(|_| "the policy is not UTF-8".to_owned())
    }

    async fn download(&self, key: String, max_bytes: usize, deadline: Deadline) -> Result<Vec<u8>, String> {
        let Some((objects, bucket)) = self.bucket else { return Err(format!("no bucket to read `{key}` from")) };
        match objects.get(bucket, &key, max_bytes, deadline).await {
            Ok(Some(object)) => Ok(object.bytes),
            Ok(None) => Err(format!("`{key}` does not exist")),
            Err(error) => Err(format!("`{key}`: {error}")),
        }
    }
}

fn policy_key(digest: &str) -> String {
    format!("policies/{digest}.yaml")
}

fn to_json(pointer: &Pointer) -> Vec<u8> {
    serde_json::to_vec_pretty(pointer).unwrap_or_default()
}

/// Writes a checked model and policy under their digests, and then the pointer that makes them live.
///
/// # Errors
/// Whatever keeps an object from being written; the pointer is written last, so what was live stays live.
pub async fn publish(
    (objects, bucket): (&dyn ObjectStore, &str),
    (model, bundle): (&TextModel, &Bundle),
    (policy, source): (&Policy, &str),
    deadline: Deadline,
) -> Result<Pointer, StoreError> {
    let pointer =
        Pointer { schema: "live/1".to_owned(), model: model.identity().clone(), policy: PolicyRef::of(policy) };
    let digest = &pointer.model.sha256;
    let more = bundle.more.iter().map(|(name, bytes)| (format!("models/{digest}/{name}"), bytes.to_vec()));
    let writes = more.chain([
        (format!("models/{digest}/{MODEL_FILE}"), bundle.model.clone()),
        (format!("models/{digest}/{MANIFEST_FILE}"), bundle.manifest.clone()),
        (policy_key(&pointer.policy.sha256), source.as_bytes().to_vec()),
        (POINTER_KEY.to_owned(), to_json(&pointer)),
    ]);
    for (key, bytes) in writes {
        objects.put(bucket, &key, Object { bytes, metadata: BTreeMap::new() }, deadline).await?;
    }
    Ok(pointer)
}
