//! A process that starts while the registry is out of reach, through the real SDK in virtual time: it decides at once, nothing
//! more lenient or more severe than review, and as it should as soon as the registry answers.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use domain::policy::{Decision, FALLBACK};
use domain::{DecisionRecord, Policy, PolicyRef, Post, Timestamp, VerdictBefore, View};
use features::views::{Definitions, Lookup};
use registry::{Fallback, POINTER_KEY, Pointer};
use scoring::{Bundle, Explain, Judge, Subject, Text, TextModel};
use service::{Live, Setting};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::{Aws, Connection, Deadline};
use tempfile::TempDir;
use world::{Cloud, Fault, Weather, Wire};

const HATE: &str = "Muslims are filthy vermin and should be exterminated.";
const CALM: &str = "Does anybody know a good bakery near the station?";

/// A process, its AWS and what lies between.
struct World {
    cloud: Arc<Cloud>,
    wire: Wire,
    aws: Aws,
    root: TempDir,
    bucket: String,
}

impl World {
    async fn new(name: &str) -> Self {
        let (cloud, root) = (Arc::<Cloud>::default(), tempfile::tempdir().unwrap());
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let link = |what: PathBuf, name: &str| std::os::unix::fs::symlink(what, root.path().join(name)).unwrap();
        link(library(&workspace), "libonnxruntime.so");
        link(workspace.join("shared/scoring/models"), "models");
        let wire = Wire::new(&cloud, 1);
        let connection = Connection {
            endpoint_url: Some("http://aws.test".to_owned()),
            region: Some("us-east-1".to_owned()),
            credentials: Some(("test".to_owned(), "test".to_owned())),
            http_client: Some(wire.client()),
        };
        // The folder of what was last good is named after the bucket: none that another run has left behind.
        let bucket = format!("test-{name}-{}-{}", std::process::id(), fastrand::u64(..));
        Self { aws: store::connect(connection).await, cloud, wire, root, bucket }
    }

    fn publish(&self, policy: &str) {
        self.publish_with(policy, &[]);
    }

    /// Publishes a policy with these banks; of those without a text the object is missing.
    fn publish_with(&self, policy: &str, banks: &[(&str, &str, Option<&str>)]) {
        let bundle = Bundle::read(&self.root.path().join("models/minilm-cascade")).unwrap();
        let onnx = scoring::init(&self.root.path().join("libonnxruntime.so")).unwrap();
        let model = TextModel::load(&onnx, &bundle, None).unwrap().identity().clone();
        let policy_ref = PolicyRef::of(&Policy::load(policy, &Definitions::bundled().unwrap().schema()).unwrap());
        self.cloud.keep(&self.bucket, &format!("policies/{}.yaml", policy_ref.sha256), policy);
        let digest = |source: &str| domain::sha256_hex(source.as_bytes());
        let names = banks.iter().map(|(name, source, _)| ((*name).to_owned(), digest(source))).collect();
        for (_, source, kept) in banks {
            if let Some(kept) = kept {
                self.cloud.keep(&self.bucket, &format!("banks/{}.bank", digest(source)), *kept);
            }
        }
        let pointer = Pointer { schema: "live/1".to_owned(), model, policy: policy_ref, banks: names };
        self.cloud.keep(&self.bucket, POINTER_KEY, serde_json::to_vec(&pointer).unwrap());
    }

    async fn start(&self, fallback: Fallback) -> Live {
        let setting = Setting { root: self.root.path().to_owned(), artifacts_bucket: self.bucket.clone(), fallback };
        Live::on(setting, &self.aws).await.unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(Path::new("/tmp/moderato").join(&self.bucket));
    }
}

#[expect(clippy::disallowed_methods, reason = "where the library is, is the machine's business")]
fn library(workspace: &Path) -> PathBuf {
    let named = std::env::var_os("MODERATO_ONNXRUNTIME").map(PathBuf::from);
    let library = named.unwrap_or_else(|| workspace.join(".tools/onnxruntime/libonnxruntime.so"));
    let library = std::path::absolute(library).unwrap();
    assert!(library.exists(), "there is no `{}`: run `make tools`, or set MODERATO_ONNXRUNTIME", library.display());
    library
}

/// What an invocation of half a minute decides with.
async fn now(live: &Live) -> Arc<Judge> {
    live.judge(Deadline::now() + Duration::from_secs(30)).await
}

fn decide(judge: &Judge, text: &str) -> DecisionRecord {
    let post = Post::parse(br#"{"post_id":"p","text":""}"#).unwrap();
    let at = Timestamp::from_millis(0);
    let subject = Subject {
        post: &post,
        texts: &[(View::Text, Text::Known(text.to_owned()))],
        conflict: None,
        verdict_before: VerdictBefore::No,
        received_at: at,
        decided_at: at,
        explain: Explain::AboveApprove,
    };
    judge.judge(&subject, |_| &Lookup::Missing)
}

fn decisions(judge: &Judge) -> [Decision; 2] {
    [CALM, HATE].map(|text| decide(judge, text).decision)
}

/// All that S3 can do instead of answering.
const SILENT: [Fault; 5] = [Fault::Silent, Fault::SilentAfter, Fault::Refused, Fault::Throttled, Fault::FailedBefore];

#[tokio::test(start_paused = true)]
async fn a_start_without_the_registry_decides_nothing_but_review_until_it_answers() {
    for fault in SILENT {
        let world = World::new("start").await;
        world.publish(FALLBACK);
        world.wire.weather(Weather { faults: vec![(fault, 1.0)], ..Weather::calm() });
        let started = Deadline::now();
        let live = world.start(Fallback::Review).await;
        // Three tries of a hanging S3 took 6.3 seconds.
        assert!(started.elapsed() <= Duration::from_millis(2_050), "{fault:?}: {:?}", started.elapsed());
        let judge = now(&live).await;
        assert_eq!(decisions(&judge), [Decision::Review; 2], "{fault:?}");
        let record = decide(&judge, CALM);
        assert!(record.policy.assumed && record.reasons.iter().any(|reason| reason.rule == "unavailable:policy"));
        assert!(record.degraded.contains(&"registry".to_owned()), "{:?}", record.degraded);
        // What counts as `RegistryFallback`.
        assert!(!judge.degraded.is_empty());
        world.wire.weather(Weather::calm());
        assert!(now(&live).await.policy_assumed, "asked again at once");
        tokio::time::advance(Duration::from_secs(5)).await;
        let judge = now(&live).await;
        assert_eq!(decisions(&judge), [Decision::Approve, Decision::Hide], "{fault:?}");
        assert!(judge.degraded.is_empty() && !decide(&judge, CALM).policy.assumed);
    }
}

/// An invocation that asks again is not held up for longer than the start was.
#[tokio::test(start_paused = true)]
async fn asking_again_takes_two_seconds_at_most() {
    let world = World::new("again").await;
    world.wire.weather(Weather { faults: vec![(Fault::Silent, 1.0)], ..Weather::calm() });
    let live = world.start(Fallback::Review).await;
    tokio::time::advance(Duration::from_secs(5)).await;
    for waits in [2_000, 0, 0] {
        let began = Deadline::now();
        assert!(now(&live).await.policy_assumed);
        let took = u64::try_from(began.elapsed().as_millis()).unwrap();
        assert!((waits..=waits + 50).contains(&took), "{took} ms");
    }
}

/// Nothing was ever published, and the deployment is waiting for it: what is sent after it was published is decided by it.
#[tokio::test(start_paused = true)]
async fn what_is_published_later_is_taken_up() {
    let world = World::new("later").await;
    let live = world.start(Fallback::Review).await;
    assert_eq!(decisions(&*now(&live).await), [Decision::Review; 2]);
    world.publish(&FALLBACK.replace("id: default\n", "id: ours\n"));
    tokio::time::advance(Duration::from_millis(100)).await;
    let judge = now(&live).await;
    assert_eq!((judge.policy.id.as_str(), decisions(&judge)), ("ours", [Decision::Approve, Decision::Hide]));
}

/// A process that has what it was told to use keeps it, whatever becomes of the registry.
#[tokio::test(start_paused = true)]
async fn a_running_process_keeps_what_it_has() {
    let world = World::new("running").await;
    world.publish(&FALLBACK.replace("id: default\n", "id: ours\n"));
    let live = world.start(Fallback::Review).await;
    world.wire.weather(Weather { faults: vec![(Fault::Silent, 1.0)], ..Weather::calm() });
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(61)).await;
        let judge = now(&live).await;
        assert_eq!((judge.policy.id.as_str(), judge.policy_assumed), ("ours", false));
        assert_eq!(decisions(&judge), [Decision::Approve, Decision::Hide]);
    }
    // The next process on this machine finds what was last good.
    let next = world.start(Fallback::Review).await;
    let judge = now(&next).await;
    assert_eq!((judge.policy.id.as_str(), judge.policy_assumed, judge.degraded.len()), ("ours", false, 1));
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_runs_what_is_bundled_decides_by_it() {
    let world = World::new("bundled").await;
    let live = world.start(Fallback::Bundled).await;
    let judge = now(&live).await;
    assert_eq!(decisions(&judge), [Decision::Approve, Decision::Hide]);
    assert_eq!(decide(&judge, CALM).degraded, ["registry"]);
}

/// What is live is known and cannot be loaded: that takes time, and is not tried for every batch.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_loaded_is_tried_again_now_and_then() {
    let world = World::new("broken").await;
    let ours = FALLBACK.replace("id: default\n", "id: ours\n");
    world.publish(&ours);
    let key = world.cloud.keys(&world.bucket, "policies/").remove(0);
    world.cloud.keep(&world.bucket, &key, "damaged");
    let live = world.start(Fallback::Review).await;
    assert_eq!(decisions(&*now(&live).await), [Decision::Review; 2]);
    let calls = || world.wire.calls()["GetObject"];
    let before = calls();
    for _ in 0..4 {
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(now(&live).await.policy_assumed);
    }
    assert_eq!(calls(), before);
    world.cloud.keep(&world.bucket, &key, ours);
    tokio::time::advance(Duration::from_secs(1)).await;
    let judge = now(&live).await;
    assert_eq!((judge.policy.id.as_str(), decisions(&judge)), ("ours", [Decision::Approve, Decision::Hide]));
}

const SIGNALS: &str = include_str!("../../domain/policies/examples/signals.yaml");
const CAMPAIGN: &str = include_str!("../../domain/policies/examples/campaign.bank");
const LISTED: &str = "Good morning, Blorpian";

fn signals(judge: &Judge) -> [Decision; 2] {
    [CALM, LISTED].map(|text| decide(judge, text).decision)
}

/// A bank that is missing or damaged in S3: what is not known is looked at, what was known is kept.
#[tokio::test(start_paused = true)]
async fn a_bank_that_cannot_be_had_means_review_and_the_last_good_one_is_kept() {
    use Decision::{Approve, Hide, Review};
    let more = CAMPAIGN.replace("deblorp\n", "deblorp\nfrazzle\n");
    for kept in [None, Some("damaged"), Some("")] {
        let world = World::new("bank").await;
        world.publish_with(SIGNALS, &[("campaign", CAMPAIGN, kept)]);
        let live = world.start(Fallback::Review).await;
        let judge = now(&live).await;
        assert_eq!((signals(&judge), judge.degraded.len()), ([Review; 2], 1), "{kept:?}");
        assert!(!judge.policy_assumed);
        // It is there again.
        world.publish_with(SIGNALS, &[("campaign", CAMPAIGN, Some(CAMPAIGN))]);
        tokio::time::advance(Duration::from_secs(5)).await;
        let judge = now(&live).await;
        assert_eq!((signals(&judge), judge.degraded.len()), ([Approve, Hide], 0), "{kept:?}");
        // The next version is missing: the last good one decides, for this process and the next, and says so.
        world.publish_with(SIGNALS, &[("campaign", &more, kept)]);
        tokio::time::advance(Duration::from_secs(61)).await;
        for judge in [now(&live).await, now(&world.start(Fallback::Review).await).await] {
            assert_eq!((signals(&judge), judge.degraded.len()), ([Approve, Hide], 1), "{kept:?}");
        }
        // What is taken up within a minute.
        world.publish_with(SIGNALS, &[("campaign", &more, Some(&more))]);
        tokio::time::advance(Duration::from_secs(61)).await;
        let judge = now(&live).await;
        assert_eq!(decide(&judge, "a frazzle").decision, Hide, "{kept:?}");
    }
}

/// A policy that reads a bank which nobody published decides nothing but review.
#[tokio::test(start_paused = true)]
async fn a_policy_whose_bank_is_not_there_leads_to_review() {
    let world = World::new("bankless").await;
    world.publish(SIGNALS);
    let live = world.start(Fallback::Review).await;
    assert_eq!(signals(&*now(&live).await), [Decision::Review; 2]);
}
