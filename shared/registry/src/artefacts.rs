//! Models and policies by their digest: from the bucket or a cache, and never without proof that they are what was asked for.

use domain::policy::{FALLBACK, MAX_POLICY_BYTES};
use domain::sha256_hex;
use features::signals::MAX_BANK_BYTES;
use scoring::{Bundle, CALIBRATION_FILE, MANIFEST_FILE, MODEL_FILE, Onnx, TextModel};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use store::{Deadline, ObjectStore};

/// The largest manifest or calibration read, in bytes.
const MAX_MANIFEST_BYTES: usize = 1024 * 1024;
/// The largest model read, in bytes: a function has 512 MB of /tmp.
const MAX_MODEL_BYTES: usize = 128 * 1024 * 1024;

/// Where artefacts are read from.
pub(crate) struct Artefacts<'a> {
    /// The bucket and how to read it.
    pub(crate) bucket: Option<(&'a dyn ObjectStore, &'a str)>,
    /// A folder that keeps what was downloaded.
    pub(crate) cache: Option<&'a Path>,
}

impl Artefacts<'_> {
    /// Where something may be kept under its digest. That comes from a file; only hexadecimal digits may become part of a path.
    fn place(&self, kind: &str, digest: &str) -> Option<PathBuf> {
        Some(self.cache?.join(kind).join(digest.replace(|c: char| !c.is_ascii_hexdigit(), "_")))
    }

    /// Loads a model by its digest: the bundled one, the cached one or the published one, whichever first proves to
    /// have it.
    pub(crate) async fn load(
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
        if let Some(folder) = self.place("models", digest)
            && let Ok(bundle) = Bundle::read(&folder)
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
        let Some(folder) = self.place("models", digest) else { return };
        let write = |name: &str, bytes: &[u8]| write_beside(&folder.join(name), bytes);
        let _ = write(MODEL_FILE, &bundle.model)
            .and_then(|()| bundle.more.iter().try_for_each(|(name, bytes)| write(name, bytes)))
            .and_then(|()| write(MANIFEST_FILE, &bundle.manifest));
    }

    /// The text of a policy by its digest: the compiled-in one, or as [`Artefacts::stored_policy`].
    pub(crate) async fn policy_source(&self, digest: &str, deadline: Deadline) -> Result<String, String> {
        if sha256_hex(FALLBACK.as_bytes()) == digest {
            return Ok(FALLBACK.to_owned());
        }
        self.stored_policy(digest, deadline).await
    }

    /// The text of a policy by its digest, from the cache or the bucket.
    pub(crate) async fn stored_policy(&self, digest: &str, deadline: Deadline) -> Result<String, String> {
        self.stored("policies", policy_key(digest), MAX_POLICY_BYTES, digest, deadline).await
    }

    /// The text of a bank by its digest, from the cache or the bucket.
    pub(crate) async fn bank_source(&self, digest: &str, deadline: Deadline) -> Result<String, String> {
        self.stored("banks", bank_key(digest), MAX_BANK_BYTES, digest, deadline).await
    }

    async fn stored(
        &self,
        kind: &str,
        key: String,
        max_bytes: usize,
        digest: &str,
        deadline: Deadline,
    ) -> Result<String, String> {
        let kept = self.place(kind, digest);
        let (bytes, is_kept) = match kept.as_ref().map(std::fs::read) {
            Some(Ok(bytes)) if sha256_hex(&bytes) == digest => (bytes, true),
            _ => (self.download(key, max_bytes, deadline).await?, false),
        };
        if !is_kept && sha256_hex(&bytes) != digest {
            return Err(format!("the bytes under `{kind}` do not have the digest that names them"));
        }
        if let Some(kept) = kept.filter(|_| !is_kept) {
            let _ = write_beside(&kept, &bytes);
        }
        String::from_utf8(bytes).map_err(|_| format!("what stands under `{kind}` is not UTF-8"))
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

/// Writes a file and then gives it its name: whoever reads it, now or after a write that failed, finds it whole or not at all;
/// and whoever has mapped the one that stood there keeps that.
pub(crate) fn write_beside(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = file.with_added_extension(std::process::id().to_string());
    std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, file))
}

/// Where a policy lies in the bucket.
pub(crate) fn policy_key(digest: &str) -> String {
    format!("policies/{digest}.yaml")
}

/// Where a bank lies in the bucket.
pub(crate) fn bank_key(digest: &str) -> String {
    format!("banks/{digest}.bank")
}
