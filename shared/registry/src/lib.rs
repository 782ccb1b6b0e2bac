//! Which model and which policy are live: artefacts in S3 under their digest, and one pointer that names the live ones.
//!
//! [`Registry::resolve`] reads the pointer at the start of a process and verifies whatever it loads. The bundled copy is
//! used where it is the wanted one, so that a start downloads nothing. Where the wanted one cannot be loaded, the last
//! good one decides, and everything decided with it says so (`degraded`). Where there is no last good one either, nobody
//! knows what is wanted: the bundled copy is assumed, and decides nothing but review ([`Live::assumed`], law 14).
//!
//! Banks of signals stand beside the two: the pointer names each by its digest.
//!
//! [`Shelf`] is the publisher's side.

mod artefacts;
mod publish;

use artefacts::{Artefacts, write_beside};
use domain::condition::Schema;
use domain::{ModelRef, Policy, PolicyRef};
use features::signals::{Bank, Banks, MAX_BANKS};
use scoring::{Bundle, Onnx, RuntimeError, TextModel};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::{Deadline, ObjectStore};

pub use publish::{Digests, Past, Publication, PublishError, Shelf, Standing, Version};

/// Key of the pointer.
pub const POINTER_KEY: &str = "registry/live.json";
/// The schema of the pointer.
const SCHEMA: &str = "live/1";
/// The largest pointer read, in bytes.
const MAX_POINTER_BYTES: usize = 16 * 1024;
/// The pointer is waited for no longer than this: posts are decided without it, and it is asked for again soon.
const POINTER_TIMEOUT: Duration = Duration::from_secs(2);

/// What is live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// `live/1`.
    pub schema: String,
    /// The live model.
    pub model: ModelRef,
    /// The live policy.
    pub policy: PolicyRef,
    /// The live banks of signals: digests by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub banks: BTreeMap<String, String>,
}

impl Pointer {
    /// Reads a pointer; what else stands in it is passed over.
    ///
    /// # Errors
    /// Why it is none; no content.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MAX_POINTER_BYTES {
            return Err(format!("`{POINTER_KEY}` has more than {MAX_POINTER_BYTES} bytes"));
        }
        let pointer: Self = serde_json::from_slice(bytes)
            .map_err(|error| format!("`{POINTER_KEY}` is not a pointer (line {})", error.line()))?;
        if pointer.schema == SCHEMA {
            Ok(pointer)
        } else {
            Err(format!("`{POINTER_KEY}` has another schema than `{SCHEMA}`"))
        }
    }
}

/// What decides where the pointer cannot be read, or what it names cannot be loaded, and nothing is known to have been good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fallback {
    /// Nobody knows what is wanted: what is bundled, and nothing it says but review counts.
    #[default]
    Review,
    /// What is bundled: the deployment says that this is what it runs.
    Bundled,
}

impl std::str::FromStr for Fallback {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "review" => Ok(Self::Review),
            "bundled" => Ok(Self::Bundled),
            _ => Err(()),
        }
    }
}

/// A model and a policy ready to decide.
#[derive(Debug)]
pub struct Live {
    /// Scores texts.
    pub model: TextModel,
    /// Decides.
    pub policy: Policy,
    /// What operators have listed. Of a bank that could not be loaded the last good version, or none, which is unavailable evidence.
    pub banks: Banks,
    /// The pointer that was read, where one could be.
    pub pointer: Option<Pointer>,
    /// Nobody said that this model and this policy are wanted, so nothing may be decided by them but review.
    pub assumed: bool,
    /// Why another model or policy than the wanted one decides; empty on a good day. Codes, one a problem.
    pub problems: Vec<Problem>,
}

/// Something wanted that could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `pointer`, `model`, `policy` or `bank`.
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
    /// What decides where nothing that is wanted can be had.
    pub fallback: Fallback,
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
        let candidates: Vec<&Pointer> = [&pointer, &last_good].into_iter().flatten().collect();
        let mut with_policy = Vec::new();
        // Banks are read while the model is loaded.
        let ((banks, with_banks), loaded) = tokio::join!(self.banks(&candidates, deadline), async {
            let policy = self.policy(&candidates, deadline, &mut with_policy).await?;
            let onnx = (self.onnx)().map_err(|why| RegistryError { part: "model", why: why.to_string() })?;
            Ok::<_, RegistryError>((policy, self.model(&onnx, &candidates, deadline, &mut problems).await?))
        });
        let ((policy, known_policy), (model, known_model)) = loaded?;
        problems.extend(with_policy);
        problems.extend(with_banks);
        if problems.is_empty()
            && let Some(pointer) = &pointer
        {
            // Only a convenience for the next process on this machine: failing to write it harms nobody.
            let _ = write_beside(&self.cache.join("last-good.json"), &to_json(pointer));
        }
        // Without a bucket, what is bundled is all there is to want.
        let wanted = self.bucket.is_none() || self.fallback == Fallback::Bundled || known_policy && known_model;
        Ok(Live { model, policy, banks, pointer, assumed: !wanted, problems })
    }

    /// What the bucket says is live; `None` where there is no bucket to ask. A function that is running already asks
    /// this now and then, and resolves again when the answer is another one.
    ///
    /// # Errors
    /// Why it could not be read; no content.
    pub async fn pointer(&self, deadline: Deadline) -> Result<Option<Pointer>, String> {
        let Some((objects, bucket)) = self.bucket else { return Ok(None) };
        let by = deadline.min(Deadline::now() + POINTER_TIMEOUT);
        let object = tokio::time::timeout_at(by, objects.get(bucket, POINTER_KEY, MAX_POINTER_BYTES, by))
            .await
            .map_err(|_| format!("`{POINTER_KEY}` was not read in time"))?
            .map_err(|error| error.to_string())?
            .ok_or_else(|| format!("`{POINTER_KEY}` does not exist; publish with `moderato registry publish`"))?;
        Pointer::parse(&object.bytes).map(Some)
    }

    fn last_good(&self) -> Option<Pointer> {
        serde_json::from_slice(&std::fs::read(self.cache.join("last-good.json")).ok()?).ok()
    }

    /// The model of the first candidate that loads, or else the bundled one; and whether a candidate named it.
    async fn model(
        &self,
        onnx: &Onnx,
        candidates: &[&Pointer],
        deadline: Deadline,
        problems: &mut Vec<Problem>,
    ) -> Result<(TextModel, bool), RegistryError> {
        let bundled = (self.bundled)();
        for pointer in candidates {
            let digest = &pointer.model.sha256;
            let loaded = self.artefacts().load(onnx, digest, bundled.as_ref().ok(), deadline).await;
            match loaded {
                Ok(model) => return Ok((model, true)),
                Err(why) => problems.push(Problem { part: "model", why }),
            }
        }
        let error = |why| RegistryError { part: "model", why };
        let bundle = bundled.map_err(error)?;
        let model = TextModel::load(onnx, &bundle, None).map_err(|why| error(why.to_string()))?;
        Ok((model, false))
    }

    /// The policy of the first candidate that loads, or else the compiled-in one; and whether a candidate named it.
    async fn policy(
        &self,
        candidates: &[&Pointer],
        deadline: Deadline,
        problems: &mut Vec<Problem>,
    ) -> Result<(Policy, bool), RegistryError> {
        for pointer in candidates {
            let loaded = match self.artefacts().policy_source(&pointer.policy.sha256, deadline).await {
                Ok(source) => Policy::load(&source, self.schema).map_err(|error| error.to_string()),
                Err(why) => Err(why),
            };
            match loaded {
                Ok(policy) => return Ok((policy, true)),
                Err(why) => problems.push(Problem { part: "policy", why }),
            }
        }
        let policy = Policy::fallback(self.schema);
        policy.map(|policy| (policy, false)).map_err(|why| RegistryError { part: "policy", why: why.to_string() })
    }

    /// The banks that the first candidate names, each in the version of the first candidate of which it loads.
    async fn banks(&self, candidates: &[&Pointer], deadline: Deadline) -> (Banks, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut banks = Vec::new();
        let Some(wanted) = candidates.first() else { return (Banks::default(), problems) };
        for name in wanted.banks.keys() {
            let mut found = None;
            if banks.len() >= MAX_BANKS {
                problems
                    .push(Problem { part: "bank", why: format!("`{name}`: more than {MAX_BANKS} banks are named") });
            } else {
                let mut digests: Vec<&String> = candidates.iter().filter_map(|one| one.banks.get(name)).collect();
                digests.dedup();
                for digest in digests {
                    match self.bank(name, digest, deadline).await {
                        Ok(bank) => {
                            found = Some(Arc::new(bank));
                            break;
                        }
                        Err(why) => problems.push(Problem { part: "bank", why: format!("`{name}`: {why}") }),
                    }
                }
            }
            banks.push((name.clone(), found));
        }
        (banks.into_iter().collect(), problems)
    }

    /// Reads and compiles a bank, on another thread: a large one takes as long as a part of the model.
    async fn bank(&self, name: &str, digest: &str, deadline: Deadline) -> Result<Bank, String> {
        let source = self.artefacts().bank_source(digest, deadline).await?;
        let read = tokio::task::spawn_blocking(move || Bank::load(&source)).await;
        let bank = read.map_err(|_| "reading it failed".to_owned())?.map_err(|error| error.to_string())?;
        if bank.name() == name { Ok(bank) } else { Err("the file has another name".to_owned()) }
    }

    fn artefacts(&self) -> Artefacts<'_> {
        Artefacts { bucket: self.bucket, cache: Some(&self.cache) }
    }
}

fn to_json(pointer: &Pointer) -> Vec<u8> {
    serde_json::to_vec_pretty(pointer).unwrap_or_default()
}
