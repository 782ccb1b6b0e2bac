//! What becomes live: published, bundled, cached or the last good one, and never anything that was not verified.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fail by panicking"
)]

use domain::condition::Schema;
use domain::policy::FALLBACK;
use domain::{Policy, PolicyRef, Timestamp, sha256_hex};
use features::views::Definitions;
use registry::{Fallback, Live, POINTER_KEY, Pointer, Publication, Registry, RegistryError, Shelf};
use scoring::deployment::{Data, DeploymentCalibration, Figures, Mapping};
use scoring::reviewed::Estimate;
use scoring::{Bundle, CALIBRATION_FILE, MANIFEST_FILE, MODEL_FILE, Onnx, TextModel};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;
use store::{Deadline, MemoryObjects, Object, ObjectInfo, ObjectStore, StoreError};

const BUCKET: &str = "artifacts";

/// Objects in memory that count what is read, and can be out of reach.
#[derive(Default)]
struct Bucket {
    kept: MemoryObjects,
    reads: Mutex<Vec<String>>,
    down: Mutex<bool>,
    /// No answer comes, and deadlines are nothing to it.
    hangs: Mutex<bool>,
}

impl Bucket {
    /// The keys read since the last time.
    fn reads(&self) -> Vec<String> {
        std::mem::take(&mut self.reads.lock().unwrap())
    }

    async fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) {
        let object = Object { bytes: bytes.into(), metadata: BTreeMap::new() };
        self.kept.put(BUCKET, key, object, soon()).await.unwrap();
    }
}

#[async_trait::async_trait]
impl ObjectStore for Bucket {
    async fn get(&self, bucket: &str, key: &str, max_bytes: usize, by: Deadline) -> Result<Option<Object>, StoreError> {
        self.reads.lock().unwrap().push(key.to_owned());
        if *self.hangs.lock().unwrap() {
            std::future::pending::<()>().await;
        }
        if *self.down.lock().unwrap() {
            return Err(StoreError::transient("reading an object", "SlowDown"));
        }
        self.kept.get(bucket, key, max_bytes, by).await
    }

    async fn put(&self, bucket: &str, key: &str, object: Object, by: Deadline) -> Result<(), StoreError> {
        self.kept.put(bucket, key, object, by).await
    }

    async fn list(&self, bucket: &str, prefix: &str, by: Deadline) -> Result<Vec<ObjectInfo>, StoreError> {
        self.kept.list(bucket, prefix, by).await
    }

    async fn delete(&self, bucket: &str, key: &str, by: Deadline) -> Result<(), StoreError> {
        self.kept.delete(bucket, key, by).await
    }
}

fn soon() -> Deadline {
    Deadline::now() + Duration::from_secs(10)
}

/// One machine: a bundled model, a cache, and a bucket to ask.
struct Machine {
    bucket: Bucket,
    bundled: PathBuf,
    fallback: Fallback,
    cache: tempfile::TempDir,
    onnx: Onnx,
    schema: Schema,
}

impl Machine {
    fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let installed = root.join(".tools/onnxruntime/libonnxruntime.so");
        let library = std::env::var_os("MODERATO_ONNXRUNTIME").map_or(installed, PathBuf::from);
        assert!(library.exists(), "there is no `{}`: run `make tools`, or set MODERATO_ONNXRUNTIME", library.display());
        Self {
            bucket: Bucket::default(),
            bundled: root.join("shared/scoring/models/ngram-baseline"),
            fallback: Fallback::Review,
            cache: tempfile::tempdir().unwrap(),
            onnx: scoring::init(&library).unwrap(),
            schema: Definitions::bundled().unwrap().schema(),
        }
    }

    async fn resolve(&self) -> Result<Live, RegistryError> {
        let registry = Registry {
            bucket: Some((&self.bucket, BUCKET)),
            bundled: &|| Bundle::read(&self.bundled).map_err(|why| why.to_string()),
            fallback: self.fallback,
            cache: self.cache.path().join("cache"),
            onnx: &|| Ok(self.onnx.clone()),
            schema: &self.schema,
        };
        registry.resolve(soon()).await
    }

    fn shipped(&self) -> Bundle {
        Bundle::read(&self.bundled).unwrap()
    }

    /// Another version of the shipped model: the same graph under another manifest.
    fn other(&self) -> Bundle {
        let shipped = self.shipped();
        let mut manifest: serde_json::Value = serde_json::from_slice(&shipped.manifest).unwrap();
        manifest["version"] = "other".into();
        Bundle { manifest: serde_json::to_vec(&manifest).unwrap(), model: shipped.model, more: shipped.more }
    }

    /// A model with a deployment's calibration.
    fn calibrated(&self, bundle: Bundle) -> Bundle {
        let model = TextModel::load(&self.onnx, &bundle, None).unwrap().identity().clone();
        let figure = Estimate { value: 0.1, low: 0.0, high: 0.2 };
        let calibration = DeploymentCalibration::new(
            "c1".to_owned(),
            model,
            Mapping::Platt { slope: 0.7, offset: -1.5 },
            Data { sha256: "ab".repeat(32), n: 100, positives: 50, effective_positives: 50.0 },
            Figures { folds: 5, ece_before: figure, ece_after: figure, brier_before: 0.2, brier_after: 0.1 },
        );
        bundle.calibrated(Some(serde_json::to_vec(&calibration).unwrap()))
    }

    async fn publish(&self, bundle: &Bundle, policy: &str) -> Pointer {
        let model = TextModel::load(&self.onnx, bundle, None).unwrap().identity().clone();
        let policy_ref = PolicyRef::of(&Policy::load_untested(policy, &self.schema).unwrap());
        let pointer = Pointer { schema: "live/1".to_owned(), model, policy: policy_ref, banks: Default::default() };
        let shelf = Shelf { objects: &self.bucket.kept, bucket: BUCKET };
        shelf.put_model(bundle, soon()).await.unwrap();
        shelf.put_policy(policy, soon()).await.unwrap();
        let standing = shelf.standing(soon()).await.unwrap();
        let now = Timestamp::from_millis(0);
        let publication = Publication::new(pointer.clone(), standing.as_ref(), (None, None), now);
        shelf.publish(standing.as_ref(), &publication, soon()).await.unwrap();
        pointer
    }

    fn cached(&self, digest: &str, file: &str) -> PathBuf {
        self.cache.path().join("cache/models").join(digest).join(file)
    }
}

fn parts(live: &Live) -> Vec<&str> {
    live.problems.iter().map(|problem| problem.part).collect()
}

/// The default policy in other words: another digest, the same judgement.
fn other_policy() -> String {
    FALLBACK.replace("id: default\n", "id: other\n")
}

#[tokio::test]
async fn before_anything_is_published_what_is_bundled_is_assumed_and_says_so() {
    let machine = Machine::new();
    let live = machine.resolve().await.unwrap();
    assert!(live.assumed);
    assert_eq!(live.model.identity().sha256, machine.shipped().sha256());
    assert_eq!(live.policy.sha256, sha256_hex(FALLBACK.as_bytes()));
    assert_eq!(parts(&live), ["pointer"]);
    assert!(live.problems[0].why.contains("moderato registry publish"), "{}", live.problems[0].why);
}

#[tokio::test]
async fn without_a_bucket_what_is_bundled_is_all_there_is_to_want() {
    let machine = Machine::new();
    let registry = Registry {
        bucket: None,
        bundled: &|| Bundle::read(&machine.bundled).map_err(|why| why.to_string()),
        fallback: Fallback::Review,
        cache: machine.cache.path().join("cache"),
        onnx: &|| Ok(machine.onnx.clone()),
        schema: &machine.schema,
    };
    let live = registry.resolve(soon()).await.unwrap();
    assert!(!live.assumed);
    assert_eq!((live.model.identity().sha256.clone(), live.problems), (machine.shipped().sha256(), Vec::new()));
}

/// Ways to not learn from the pointer what is wanted.
const UNKNOWN: [&str; 5] = ["absent", "down", "hangs", "garbage", "of another release"];

async fn unknown(how: &str) -> Machine {
    let machine = Machine::new();
    let pointer = machine.publish(&machine.shipped(), FALLBACK).await;
    match how {
        "absent" => return Machine::new(),
        "down" => *machine.bucket.down.lock().unwrap() = true,
        "hangs" => *machine.bucket.hangs.lock().unwrap() = true,
        "garbage" => machine.bucket.put(POINTER_KEY, "{").await,
        _ => {
            let other = Pointer { schema: "live/2".to_owned(), ..pointer.clone() };
            machine.bucket.put(POINTER_KEY, serde_json::to_vec(&other).unwrap()).await;
        }
    }
    machine
}

/// Law 14. Also where what is bundled happens to be what was published: nobody in this process knows.
#[tokio::test(start_paused = true)]
async fn a_cold_start_that_does_not_learn_what_is_wanted_assumes() {
    for how in UNKNOWN {
        let machine = unknown(how).await;
        let started = Deadline::now();
        let live = machine.resolve().await.unwrap();
        assert!(live.assumed, "{how}");
        assert_eq!((parts(&live), live.model.identity().sha256.clone()), (vec!["pointer"], machine.shipped().sha256()));
        // Two seconds, whatever hangs: posts wait.
        assert!(started.elapsed() <= Duration::from_millis(2_010), "{how}: {:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_may_say_that_it_runs_what_is_bundled() {
    for how in UNKNOWN {
        let mut machine = unknown(how).await;
        machine.fallback = Fallback::Bundled;
        let live = machine.resolve().await.unwrap();
        assert!(!live.assumed, "{how}");
        // It still says that it did not get what it asked for.
        assert_eq!(parts(&live), ["pointer"], "{how}");
    }
    assert_eq!(("review".parse(), "bundled".parse()), (Ok(Fallback::Review), Ok(Fallback::Bundled)));
    assert_eq!(("".parse::<Fallback>(), "Bundled".parse::<Fallback>()), (Err(()), Err(())));
}

/// The last good one was wanted once, which is more than can be said of the bundled one.
#[tokio::test(start_paused = true)]
async fn with_a_last_good_pair_nothing_is_assumed() {
    for how in UNKNOWN {
        let mut machine = unknown(how).await;
        let down = std::mem::take(&mut *machine.bucket.down.lock().unwrap());
        let hangs = std::mem::take(&mut *machine.bucket.hangs.lock().unwrap());
        let pointer = machine.publish(&machine.other(), &other_policy()).await;
        let good = machine.resolve().await.unwrap();
        assert!(!good.assumed && good.problems.is_empty());
        *machine.bucket.down.lock().unwrap() = down;
        *machine.bucket.hangs.lock().unwrap() = hangs;
        match how {
            "absent" => machine.bucket.kept = MemoryObjects::default(),
            "garbage" | "of another release" => machine.bucket.put(POINTER_KEY, "{").await,
            _ => {}
        }
        let live = machine.resolve().await.unwrap();
        assert!(!live.assumed, "{how}");
        assert_eq!((live.model.identity(), live.policy.id.as_str()), (&pointer.model, "other"), "{how}");
        assert_eq!(parts(&live), ["pointer"], "{how}");
    }
}

/// A machine on which the last write failed half-way: the disk was full, or the process ended.
#[tokio::test]
async fn the_last_good_pointer_is_whole_or_the_one_before() {
    let machine = Machine::new();
    let pointer = machine.publish(&machine.shipped(), &other_policy()).await;
    machine.resolve().await.unwrap();
    let kept = machine.cache.path().join("cache/last-good.json");
    assert_eq!(serde_json::from_slice::<Pointer>(&std::fs::read(&kept).unwrap()).unwrap(), pointer);
    // Nothing can be written beside it any more; what stands there must survive the attempt.
    let beside = kept.with_added_extension(std::process::id().to_string());
    std::fs::create_dir(&beside).unwrap();
    machine.publish(&machine.other(), FALLBACK).await;
    assert!(machine.resolve().await.unwrap().problems.is_empty());
    assert_eq!(serde_json::from_slice::<Pointer>(&std::fs::read(&kept).unwrap()).unwrap(), pointer);
}

#[tokio::test]
async fn what_is_bundled_is_not_downloaded() {
    let machine = Machine::new();
    let pointer = machine.publish(&machine.shipped(), FALLBACK).await;
    let live = machine.resolve().await.unwrap();
    assert_eq!((live.model.identity(), &live.problems), (&pointer.model, &Vec::new()));
    assert_eq!(machine.bucket.reads(), [POINTER_KEY]);
}

#[tokio::test]
async fn another_model_and_policy_are_downloaded_once() {
    let machine = Machine::new();
    let pointer = machine.publish(&machine.other(), &other_policy()).await;
    assert_ne!(pointer.model.sha256, machine.shipped().sha256());
    let first = machine.resolve().await.unwrap();
    assert_eq!((first.model.identity(), &first.policy.sha256), (&pointer.model, &pointer.policy.sha256));
    assert_eq!(first.problems, Vec::new());
    let (model, policy) = (&pointer.model.sha256, &pointer.policy.sha256);
    let downloads = [
        POINTER_KEY.to_owned(),
        format!("policies/{policy}.yaml"),
        format!("models/{model}/{MANIFEST_FILE}"),
        format!("models/{model}/{MODEL_FILE}"),
    ];
    assert_eq!(machine.bucket.reads(), downloads);
    let second = machine.resolve().await.unwrap();
    assert_eq!((second.model.identity(), second.policy.id.as_str()), (&pointer.model, "other"));
    assert_eq!(machine.bucket.reads(), [POINTER_KEY]);
}

#[tokio::test]
async fn a_calibration_of_the_bundled_model_travels_alone_and_once() {
    let machine = Machine::new();
    let pointer = machine.publish(&machine.calibrated(machine.shipped()), FALLBACK).await;
    assert_eq!(pointer.model.version, "1+c1");
    let first = machine.resolve().await.unwrap();
    assert_eq!((first.model.identity(), &first.problems), (&pointer.model, &Vec::new()));
    let model = &pointer.model.sha256;
    let downloads = [MANIFEST_FILE, CALIBRATION_FILE].map(|file| format!("models/{model}/{file}"));
    assert_eq!(machine.bucket.reads()[1..], downloads);
    // The next process has it in the cache, also where the bucket is out of reach.
    *machine.bucket.down.lock().unwrap() = true;
    let second = machine.resolve().await.unwrap();
    assert_eq!(second.model.identity(), &pointer.model);
    assert_eq!(
        second.model.score("a post").unwrap().calibrated.to_bits(),
        first.model.score("a post").unwrap().calibrated.to_bits()
    );
    *machine.bucket.down.lock().unwrap() = false;
    // Back to the model without it.
    let plain = machine.publish(&machine.shipped(), FALLBACK).await;
    assert_eq!(machine.resolve().await.unwrap().model.identity(), &plain.model);
}

#[tokio::test]
async fn a_calibrated_model_is_downloaded_whole_where_another_one_is_bundled() {
    let machine = Machine::new();
    let pointer = machine.publish(&machine.calibrated(machine.other()), FALLBACK).await;
    let live = machine.resolve().await.unwrap();
    assert_eq!((live.model.identity(), live.problems), (&pointer.model, Vec::new()));
    let machine = Machine::new();
    let pointer = machine.publish(&machine.calibrated(machine.other()), FALLBACK).await;
    let key = format!("models/{}/{CALIBRATION_FILE}", pointer.model.sha256);
    let good = machine.bucket.kept.get(BUCKET, &key, usize::MAX, soon()).await.unwrap().unwrap().bytes;
    let text = String::from_utf8(good).unwrap().replace("-1.5", "-1.4");
    machine.bucket.put(&key, text).await;
    let live = machine.resolve().await.unwrap();
    assert_eq!((parts(&live), live.model.identity().version.as_str()), (vec!["model"], "1"));
}

#[tokio::test]
async fn a_bucket_out_of_reach_leaves_the_last_good_one() {
    let machine = Machine::new();
    let pointer = machine.publish(&machine.other(), &other_policy()).await;
    machine.resolve().await.unwrap();
    *machine.bucket.down.lock().unwrap() = true;
    let live = machine.resolve().await.unwrap();
    assert_eq!((live.model.identity(), live.policy.id.as_str()), (&pointer.model, "other"));
    assert_eq!(parts(&live), ["pointer"]);
}

/// Whichever byte is changed: of the manifest, the graph or the policy.
#[tokio::test]
async fn tampered_bytes_are_refused() {
    for (name, part) in [(MANIFEST_FILE, "model"), (MODEL_FILE, "model"), ("policy", "policy")] {
        for after_a_good_one in [false, true] {
            let machine = Machine::new();
            let good = machine.publish(&machine.shipped(), FALLBACK).await;
            if after_a_good_one {
                assert_eq!(machine.resolve().await.unwrap().problems, Vec::new());
            }
            let pointer = machine.publish(&machine.other(), &other_policy()).await;
            let key = match name {
                "policy" => format!("policies/{}.yaml", pointer.policy.sha256),
                file => format!("models/{}/{file}", pointer.model.sha256),
            };
            let mut bytes = machine.bucket.kept.get(BUCKET, &key, usize::MAX, soon()).await.unwrap().unwrap().bytes;
            if part == "policy" {
                // Still a policy that loads: nothing but its digest can give it away.
                bytes.extend_from_slice(b"# a line that somebody added\n");
            } else {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            machine.bucket.put(&key, bytes).await;
            let live = machine.resolve().await.unwrap();
            assert_eq!(parts(&live), [part], "{name}: {:?}", live.problems);
            assert_eq!(live.assumed, !after_a_good_one, "{name}");
            if part == "model" {
                assert_eq!((live.model.identity(), live.policy.id.as_str()), (&good.model, "other"), "{name}");
            } else {
                assert_eq!((live.model.identity(), &live.policy.sha256), (&pointer.model, &good.policy.sha256));
            }
            // Nothing refused was kept, and nothing with a problem became the last good one.
            assert!(name == "policy" || !machine.cached(&pointer.model.sha256, MODEL_FILE).exists());
            *machine.bucket.down.lock().unwrap() = true;
            let live = machine.resolve().await.unwrap();
            assert_eq!((live.model.identity(), &live.policy.sha256), (&good.model, &good.policy.sha256), "{name}");
        }
    }
}

#[tokio::test]
async fn tampering_in_the_cache_is_noticed() {
    let machine = Machine::new();
    let pointer = machine.publish(&machine.other(), &other_policy()).await;
    machine.resolve().await.unwrap();
    for file in [MANIFEST_FILE, MODEL_FILE] {
        let cached = machine.cached(&pointer.model.sha256, file);
        let good = std::fs::read(&cached).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        std::fs::write(&cached, &bad).unwrap();
        let live = machine.resolve().await.unwrap();
        assert_eq!((live.model.identity(), &live.problems), (&pointer.model, &Vec::new()), "{file}");
        std::fs::write(&cached, &good).unwrap();
    }
    let policy = machine.cache.path().join("cache/policies").join(&pointer.policy.sha256);
    std::fs::write(&policy, FALLBACK).unwrap();
    let live = machine.resolve().await.unwrap();
    assert_eq!((live.policy.sha256, live.problems), (pointer.policy.sha256, Vec::new()));
}

#[tokio::test]
async fn a_garbage_pointer_is_a_problem_and_no_more() {
    let pointers = [
        "".to_owned(),
        "not json".to_owned(),
        r#"{"schema":"live/1"}"#.to_owned(),
        " ".repeat(17 * 1024),
        r#"{"schema":"live/2","model":{"name":"m","version":"1","sha256":"a"},"policy":{"id":"p","version":"1","sha256":"b"}}"#.to_owned(),
    ];
    for garbage in pointers {
        let machine = Machine::new();
        machine.publish(&machine.shipped(), FALLBACK).await;
        machine.bucket.put(POINTER_KEY, garbage).await;
        let live = machine.resolve().await.unwrap();
        assert_eq!(live.model.identity().sha256, machine.shipped().sha256());
        assert_eq!(parts(&live), ["pointer"], "{:?}", live.problems);
    }
}

#[tokio::test]
async fn a_policy_that_fails_its_own_tests_is_refused() {
    let machine = Machine::new();
    let failing = FALLBACK.replace("expect: { decision: hide }", "expect: { decision: approve }");
    assert!(Policy::load(&failing, &machine.schema).is_err());
    machine.publish(&machine.shipped(), &failing).await;
    let live = machine.resolve().await.unwrap();
    assert_eq!((parts(&live), live.policy.sha256.clone()), (vec!["policy"], sha256_hex(FALLBACK.as_bytes())));
    assert!(live.assumed);
}

#[tokio::test]
async fn what_the_pointer_names_and_nobody_has_is_a_problem_each() {
    let machine = Machine::new();
    let mut pointer = machine.publish(&machine.shipped(), FALLBACK).await;
    pointer.model.sha256 = "0".repeat(64);
    pointer.policy.sha256 = "1".repeat(64);
    machine.bucket.put(POINTER_KEY, serde_json::to_vec(&pointer).unwrap()).await;
    let live = machine.resolve().await.unwrap();
    assert_eq!(parts(&live), ["model", "policy"]);
    assert!(live.assumed);
    assert!(live.problems[0].why.contains("does not exist"), "{:?}", live.problems);
    assert_eq!(live.model.identity().sha256, machine.shipped().sha256());
}

#[tokio::test]
async fn with_nothing_at_all_there_is_no_start() {
    let mut machine = Machine::new();
    machine.bundled = machine.cache.path().join("nothing");
    let error = machine.resolve().await.unwrap_err().to_string();
    assert!(error.contains("bundled model") && error.contains("deploy again"), "{error}");
}

#[tokio::test]
async fn a_published_model_needs_no_bundled_one() {
    let mut machine = Machine::new();
    let pointer = machine.publish(&machine.shipped(), FALLBACK).await;
    machine.bundled = machine.cache.path().join("nothing");
    let live = machine.resolve().await.unwrap();
    assert_eq!((live.model.identity(), live.problems), (&pointer.model, Vec::new()));
}

fn everything_in(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

/// A digest comes from a file in a bucket: whatever stands there, nothing outside the cache is read or written.
#[tokio::test]
async fn a_digest_that_is_a_path_stays_inside_the_cache() {
    for digest in ["../../outside", "..", "", "/tmp/outside", "a/../../../outside", "c:\\outside"] {
        let machine = Machine::new();
        let outside = machine.cache.path().join("outside");
        let other = machine.other();
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(outside.join(MANIFEST_FILE), &other.manifest).unwrap();
        std::fs::write(outside.join(MODEL_FILE), &other.model).unwrap();
        let mut pointer = machine.publish(&machine.shipped(), FALLBACK).await;
        pointer.model.sha256 = digest.to_owned();
        pointer.policy.sha256 = digest.to_owned();
        machine.bucket.put(POINTER_KEY, serde_json::to_vec(&pointer).unwrap()).await;
        machine.bucket.put(&format!("models/{digest}/{MANIFEST_FILE}"), other.manifest.clone()).await;
        machine.bucket.put(&format!("models/{digest}/{MODEL_FILE}"), other.model.clone()).await;
        machine.bucket.put(&format!("policies/{digest}.yaml"), other_policy()).await;
        let live = machine.resolve().await.unwrap();
        assert_eq!(live.model.identity().sha256, machine.shipped().sha256(), "{digest}");
        assert_eq!(parts(&live), ["model", "policy"], "{digest}");
        let written: Vec<_> = everything_in(machine.cache.path()).into_iter().filter(|path| *path != outside).collect();
        assert!(written.iter().all(|path| path.ends_with("cache")), "{digest}: {written:?}");
        assert_eq!(everything_in(&outside).len(), 2);
    }
}

const BANK: &str = "schema: bank/1\nname: slurs\nowner: nobody\npurpose: tests\n\n[words]\nblorp\n";

impl Machine {
    /// Publishes these banks beside what ships, and says what would be written under the digest of each.
    async fn publish_banks(&self, banks: &[(&str, &str)]) -> Pointer {
        let mut pointer = self.publish(&self.shipped(), FALLBACK).await;
        for (name, source) in banks {
            pointer.banks.insert((*name).to_owned(), sha256_hex(source.as_bytes()));
            self.bucket.put(&format!("banks/{}.bank", sha256_hex(source.as_bytes())), *source).await;
        }
        self.bucket.put(POINTER_KEY, serde_json::to_vec(&pointer).unwrap()).await;
        pointer
    }
}

/// The banks, each with how many entries it has; `None` where it could not be had.
fn banks(live: &Live) -> Vec<(String, Option<usize>)> {
    live.banks.iter().map(|(name, bank)| (name.to_owned(), bank.map(features::signals::Bank::len))).collect()
}

#[tokio::test]
async fn banks_that_are_live_are_loaded_and_kept_for_the_next_process() {
    let machine = Machine::new();
    machine.publish_banks(&[("slurs", BANK)]).await;
    let live = machine.resolve().await.unwrap();
    assert_eq!((banks(&live), parts(&live)), (vec![("slurs".to_owned(), Some(1))], vec![]));
    machine.bucket.reads();
    machine.resolve().await.unwrap();
    assert_eq!(machine.bucket.reads(), [POINTER_KEY]);
    // Out of reach, the last good pointer names them still.
    *machine.bucket.down.lock().unwrap() = true;
    let live = machine.resolve().await.unwrap();
    assert_eq!((banks(&live), parts(&live)), (vec![("slurs".to_owned(), Some(1))], vec!["pointer"]));
}

#[tokio::test]
async fn a_bank_that_cannot_be_loaded_is_the_last_good_one_or_unavailable_never_absent() {
    let more = format!("{BANK}frazzle\n");
    let broken = format!("{BANK}[matches]\nnothing of it\n");
    let other = BANK.replace("name: slurs", "name: codes");
    for (source, kept) in [(&broken, None), (&other, None), (&more, Some("damaged")), (&more, Some(""))] {
        let machine = Machine::new();
        machine.publish_banks(&[("slurs", source)]).await;
        if let Some(kept) = kept {
            machine.bucket.put(&format!("banks/{}.bank", sha256_hex(source.as_bytes())), kept).await;
        }
        let live = machine.resolve().await.unwrap();
        assert_eq!((banks(&live), parts(&live)), (vec![("slurs".to_owned(), None)], vec!["bank"]));
        assert!(!live.assumed && live.problems[0].why.starts_with("`slurs`: "), "{:?}", live.problems);
        assert!(!live.problems[0].why.contains("nothing of it"));

        let machine = Machine::new();
        machine.publish_banks(&[("slurs", BANK)]).await;
        machine.resolve().await.unwrap();
        machine.publish_banks(&[("slurs", source)]).await;
        if let Some(kept) = kept {
            machine.bucket.put(&format!("banks/{}.bank", sha256_hex(source.as_bytes())), kept).await;
        }
        let live = machine.resolve().await.unwrap();
        assert_eq!((banks(&live), parts(&live)), (vec![("slurs".to_owned(), Some(1))], vec!["bank"]));
    }
}

#[tokio::test]
async fn a_pointer_of_a_former_release_has_no_banks() {
    let machine = Machine::new();
    let pointer = machine.publish(&machine.shipped(), FALLBACK).await;
    let mut written = serde_json::to_value(&pointer).unwrap();
    assert!(written.as_object_mut().unwrap().get("banks").is_none());
    let live = machine.resolve().await.unwrap();
    assert_eq!((banks(&live), parts(&live)), (vec![], vec![]));
}
