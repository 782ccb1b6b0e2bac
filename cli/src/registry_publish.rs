//! `moderato registry`: which model and policy are live, and which were. What is not named stays as it is, what would change is
//! shown first, and of two who publish at once the second is told.

use crate::difference::difference;
use crate::stack::{Stack, soon};
use crate::terminal::{line, lines, say};
use crate::{Failure, local};
use clap::{Args, Subcommand};
use domain::{ModelRef, Policy, PolicyRef, Timestamp, sha256_hex};
use features::signals::MAX_BANKS;
use features::views::Definitions;
use registry::{Past, Pointer, Publication, Shelf, Standing};
use scoring::{Bundle, TextModel};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// Works on the registry of models and policies.
#[derive(Debug, Subcommand)]
pub enum RegistryCommand {
    /// Checks a model or a policy or both, puts them into the stack's bucket, and makes them live: functions take them up
    /// within about a minute. What is not named stays as it is live; where nothing is, the bundled one is taken.
    Publish(PublishArgs),
    /// Makes live again what was live before. A rollback is a version too: a second one returns to where the first began.
    Rollback(RollbackArgs),
    /// Shows what is live and what was, the newest first.
    History {
        /// At most this many.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Shows what is live.
    Show,
}

/// What to publish.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// The model's folder, or `bundled` for the one that ships with this command.
    #[arg(long, value_name = "FOLDER")]
    model: Option<Named>,
    /// The policy, or `bundled` for the one that is compiled in.
    #[arg(long, value_name = "FILE")]
    policy: Option<Named>,
    /// Leaves alone what is live already: for the end of a deployment.
    #[arg(long)]
    unless_live: bool,
    #[command(flatten)]
    consent: Consent,
}

/// What to go back to.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// A version by its id (six digits of it or more), or how many versions back.
    #[arg(long, value_name = "ID or N", default_value = "1")]
    to: String,
    #[command(flatten)]
    consent: Consent,
}

/// Whether to ask, and what the history is told.
#[derive(Debug, Args)]
pub struct Consent {
    /// Does it without asking: for scripts.
    #[arg(long)]
    yes: bool,
    /// Shows what would change, and changes nothing.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Who publishes.
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true)]
    by: Option<String>,
    /// Why, for readers of the history.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

/// A folder or file, or what ships with the command.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    /// What ships with the command.
    Bundled,
    /// What lies there.
    At(PathBuf),
}

impl std::str::FromStr for Named {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "bundled" { Self::Bundled } else { Self::At(text.into()) })
    }
}

impl Named {
    fn path(&self) -> Option<&std::path::Path> {
        match self {
            Self::Bundled => None,
            Self::At(path) => Some(path),
        }
    }
}

/// More than any pointer has.
const MAX_POINTER_BYTES: usize = 64 * 1024;
/// Changed lines of a bank that are shown.
const MOST_CHANGES: usize = 30;
/// With fewer digits, a number says how many versions back.
const LEAST_ID_DIGITS: usize = 6;

/// Runs the command.
pub async fn run(command: &RegistryCommand, stack: &Stack) -> Result<ExitCode, Failure> {
    let objects = stack.objects();
    let shelf = Shelf { objects: &objects, bucket: stack.bucket()? };
    match command {
        RegistryCommand::Publish(args) => {
            let replaced = shelf.standing(soon()).await?;
            if args.unless_live && live_of(replaced.as_ref()).is_some() {
                say!("something is live already; left alone (moderato registry show)");
                return Ok(ExitCode::SUCCESS);
            }
            carry_out(publication(args, shelf, replaced, BTreeMap::new()).await?, &args.consent, shelf, ask).await
        }
        RegistryCommand::Rollback(args) => {
            let replaced = shelf.standing(soon()).await?;
            carry_out(return_to(args, shelf, replaced).await?, &args.consent, shelf, ask).await
        }
        RegistryCommand::History { limit } => {
            for told in history(shelf, *limit).await? {
                say!("{told}");
            }
            Ok(ExitCode::SUCCESS)
        }
        RegistryCommand::Show => {
            let found = shelf.objects.get(shelf.bucket, registry::POINTER_KEY, MAX_POINTER_BYTES, soon()).await?;
            if let Some(pointer) = found {
                say!("{}", lines(&String::from_utf8_lossy(&pointer.bytes)));
                return Ok(ExitCode::SUCCESS);
            }
            say!("nothing is published: what functions decide goes to review (moderato registry publish)");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// What becomes of a bank.
pub enum Change {
    /// This file takes its place.
    To(String),
    /// It goes.
    Gone,
}

/// What would become live, and what that changes.
pub struct Plan {
    replaced: Option<Standing>,
    publication: Publication,
    /// What has to be in the bucket first.
    bundle: Option<Bundle>,
    source: Option<String>,
    banks: Vec<String>,
    /// The difference, for people.
    told: Vec<String>,
}

impl Plan {
    /// The difference, for people.
    #[cfg(test)]
    pub fn told(&self) -> &[String] {
        &self.told
    }

    fn changes(&self) -> bool {
        live_of(self.replaced.as_ref()).is_none_or(|live| live.digests() != self.publication.digests())
    }
}

/// What is live, where that can be read.
pub fn live_of(standing: Option<&Standing>) -> Option<&Publication> {
    Some(&standing?.version.as_ref().ok()?.publication)
}

/// Checks what is named, and what stays. Nothing is written.
async fn publication(
    args: &PublishArgs,
    shelf: Shelf<'_>,
    replaced: Option<Standing>,
    changes: BTreeMap<String, Change>,
) -> Result<Plan, Failure> {
    let schema = Definitions::bundled()?.schema();
    let onnx = local::onnx()?;
    let before = live_of(replaced.as_ref()).cloned();
    if let Some(Err(why)) = replaced.as_ref().map(|standing| &standing.version)
        && (args.model.is_none() || args.policy.is_none())
    {
        return Err(format!("{why}: what is live is not known, so name both, `--model` and `--policy`").into());
    }
    let mut told = Vec::new();
    let mut named = |what: &str, named: &Option<Named>| {
        if before.is_none() && named.is_none() {
            told.push(format!("nothing is live yet: the bundled {what} is taken"));
        }
        named.clone().or_else(|| before.is_none().then_some(Named::Bundled))
    };
    let (named_model, named_policy) = (named("model", &args.model), named("policy", &args.policy));
    let cannot = |what: &str, why: String| {
        format!("the {what} that is live cannot be loaded, and would stay: {why}; name one with `--{what}`")
    };

    let (model, bundle): (ModelRef, _) = match (&named_model, &before) {
        (None, Some(before)) => {
            let stays = shelf.model(&onnx, &before.pointer.model.sha256, soon()).await;
            (stays.map_err(|why| cannot("model", why))?.identity().clone(), None)
        }
        (named, _) => {
            let folder = named.as_ref().and_then(Named::path);
            let bundle = folder.map_or_else(|| Ok(local::bundle()), Bundle::read)?;
            (TextModel::load(&onnx, &bundle, None)?.identity().clone(), Some(bundle))
        }
    };
    let (policy, source) = match (&named_policy, &before) {
        (None, Some(before)) => {
            let stays = shelf.policy(&schema, &before.pointer.policy.sha256, soon()).await;
            (stays.map_err(|why| cannot("policy", why))?, None)
        }
        (named, _) => {
            let (policy, source) = local::policy(named.as_ref().and_then(Named::path))?;
            (policy, Some(source))
        }
    };
    told.extend(compared(shelf, before.as_ref(), &model, &policy).await?);
    let standing = before.map(|before| before.pointer.banks).unwrap_or_default();
    let (banks, sources) = banked(shelf, &standing, changes, &mut told).await?;
    reads_known_banks(&policy, &banks)?;
    let pointer = Pointer { schema: "live/1".to_owned(), model, policy: PolicyRef::of(&policy), banks };
    let publication = Publication::new(pointer, replaced.as_ref(), args.consent.said(), now());
    Ok(Plan { replaced, publication, bundle, source, banks: sources, told })
}

/// A plan that changes banks alone; where nothing is live, the bundled model and policy become live with them.
pub async fn changed(shelf: Shelf<'_>, changes: BTreeMap<String, Change>, consent: &Consent) -> Result<Plan, Failure> {
    let replaced = shelf.standing(soon()).await?;
    let Consent { yes, dry_run, by, why } = consent;
    let consent = Consent { yes: *yes, dry_run: *dry_run, by: by.clone(), why: why.clone() };
    let args = PublishArgs { model: None, policy: None, unless_live: false, consent };
    publication(&args, shelf, replaced, changes).await
}

/// The banks that would be live, those of them that have to be put there first, and what changes.
async fn banked(
    shelf: Shelf<'_>,
    standing: &BTreeMap<String, String>,
    changes: BTreeMap<String, Change>,
    told: &mut Vec<String>,
) -> Result<(BTreeMap<String, String>, Vec<String>), Failure> {
    let (mut banks, mut sources) = (standing.clone(), Vec::new());
    for (name, change) in changes {
        match change {
            Change::Gone => {
                banks.remove(&name);
                told.push(line(&format!("bank    {name} goes")));
            }
            Change::To(source) => {
                let digest = sha256_hex(source.as_bytes());
                let was = match standing.get(&name) {
                    Some(digest) => shelf.bank(digest, soon()).await.ok().map(|(_, source)| source),
                    None => None,
                };
                let short = |digest: &str| digest.get(..12).unwrap_or(digest).to_owned();
                let from = standing.get(&name).map(|was| format!("{} -> ", short(was))).unwrap_or_default();
                told.push(line(&format!("bank    {name} {from}{}", short(&digest))));
                let lines = crate::bank::difference(was.as_deref(), &source);
                told.extend(lines.iter().take(MOST_CHANGES).map(|change| line(&format!("        {change}"))));
                if lines.len() > MOST_CHANGES {
                    told.push(format!("        and {} lines more", lines.len() - MOST_CHANGES));
                }
                banks.insert(name, digest);
                sources.push(source);
            }
        }
    }
    if banks.len() > MAX_BANKS {
        return Err(format!(
            "{MAX_BANKS} banks at most are live at once: take one away with `moderato bank remove NAME`"
        )
        .into());
    }
    Ok((banks, sources))
}

/// A policy that reads a bank which is not there would send every post to review.
fn reads_known_banks(policy: &Policy, banks: &BTreeMap<String, String>) -> Result<(), Failure> {
    let unknown: Vec<_> = policy.signals().into_iter().filter(|bank| !banks.contains_key(*bank)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let known: Vec<_> = banks.keys().map(String::as_str).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Err(line(&format!(
        "the policy `{}` reads `signal.{}`, and there is no such bank in the registry; there are: {known}; publish it first with `moderato bank publish FILE`",
        policy.id,
        unknown.join("`, `signal.")
    ))
    .into())
}

/// Finds a version, and checks that it can be loaded still. Nothing is written.
async fn return_to(args: &RollbackArgs, shelf: Shelf<'_>, replaced: Option<Standing>) -> Result<Plan, Failure> {
    let schema = Definitions::bundled()?.schema();
    let past = wanted(&args.to, shelf, replaced.as_ref()).await?;
    let version = shelf.past(&past, soon()).await?;
    let Pointer { model, policy, .. } = &version.publication.pointer;
    let gone = |what: &str, why: String| format!("version {} cannot be loaded any more: its {what}: {why}", version.id);
    let model = shelf.model(&local::onnx()?, &model.sha256, soon()).await.map_err(|why| gone("model", why))?;
    let policy = shelf.policy(&schema, &policy.sha256, soon()).await.map_err(|why| gone("policy", why))?;
    let mut told = vec![told_version("back to", &version.id, &version.publication)];
    told.extend(compared(shelf, live_of(replaced.as_ref()), model.identity(), &policy).await?);
    let standing = live_of(replaced.as_ref()).map(|before| before.pointer.banks.clone()).unwrap_or_default();
    for (name, digest) in &version.publication.pointer.banks {
        shelf.bank(digest, soon()).await.map_err(|why| gone("bank", format!("`{name}`: {why}")))?;
        if standing.get(name) != Some(digest) {
            told.push(line(&format!("bank    {name} {}", digest.get(..12).unwrap_or(digest))));
        }
    }
    let lost = standing.keys().filter(|name| !version.publication.pointer.banks.contains_key(*name));
    told.extend(lost.map(|name| line(&format!("bank    {name} goes"))));
    let (by, why) = args.consent.said();
    let why = why.or_else(|| Some(format!("back to {}", version.id)));
    let publication = Publication::new(version.publication.pointer, replaced.as_ref(), (by, why), now());
    Ok(Plan { replaced, publication, bundle: None, source: None, banks: Vec::new(), told })
}

/// The version that is meant by an id or a number.
async fn wanted(to: &str, shelf: Shelf<'_>, standing: Option<&Standing>) -> Result<Past, Failure> {
    let live = standing.and_then(|standing| Some(standing.version.as_ref().ok()?.id.clone()));
    let past = shelf.history(soon()).await?;
    let mut found: Vec<Past> = if to.len() >= LEAST_ID_DIGITS {
        past.into_iter().filter(|past| past.id.starts_with(&to.to_ascii_lowercase())).collect()
    } else {
        let back: usize = to.parse().map_err(|_| {
            format!("`{to}` is neither a number nor {LEAST_ID_DIGITS} digits of an id (moderato registry history)")
        })?;
        let mut before = past.into_iter().filter(|past| live.as_ref() != Some(&past.id));
        back.checked_sub(1).and_then(|skip| before.nth(skip)).into_iter().collect()
    };
    match (found.pop(), found.is_empty()) {
        (Some(past), true) => Ok(past),
        (Some(_), false) => Err(format!("more than one version begins with `{to}`: give more digits").into()),
        (None, _) => Err(format!("there is no version `{to}` to go back to (moderato registry history)").into()),
    }
}

/// What changes against what is live, part by part.
async fn compared(
    shelf: Shelf<'_>,
    before: Option<&Publication>,
    model: &ModelRef,
    policy: &Policy,
) -> Result<Vec<String>, Failure> {
    let named = |name: &str, version: &str, digest: &str| {
        line(&format!("{name}@{version} ({})", digest.get(..12).unwrap_or(digest)))
    };
    let of_model = |model: &ModelRef| named(&model.name, &model.version, &model.sha256);
    let of_policy = |policy: &PolicyRef| named(&policy.id, &policy.version, &policy.sha256);
    let part = |what: &str, was: Option<String>, is: String| match was {
        Some(was) if was == is => format!("{what:<7} {is} stays"),
        Some(was) => format!("{what:<7} {was} -> {is}"),
        None => format!("{what:<7} {is}"),
    };
    let mut told = vec![
        part("model", before.map(|before| of_model(&before.pointer.model)), of_model(model)),
        part("policy", before.map(|before| of_policy(&before.pointer.policy)), of_policy(&PolicyRef::of(policy))),
    ];
    if let Some(before) = before.filter(|before| before.pointer.policy.sha256 != policy.sha256) {
        let schema = Definitions::bundled()?.schema();
        match shelf.policy(&schema, &before.pointer.policy.sha256, soon()).await {
            Err(why) => told.push(format!("        no comparison: the policy that is live cannot be loaded: {why}")),
            Ok(old) => {
                let changes = difference(&old, policy);
                if changes.is_empty() {
                    told.push("        it decides the same: names, tests or words differ".to_owned());
                }
                told.extend(changes.iter().map(|change| format!("        {change}")));
            }
        }
    }
    Ok(told)
}

/// Shows the plan, asks, and does it. Exit code 1 where the answer is no.
pub async fn carry_out(
    plan: Plan,
    consent: &Consent,
    shelf: Shelf<'_>,
    ask: impl FnOnce() -> Result<bool, Failure>,
) -> Result<ExitCode, Failure> {
    for told in &plan.told {
        say!("{told}");
    }
    if !plan.changes() {
        say!("nothing changes: that is live");
    }
    if consent.dry_run {
        say!("nothing was written (--dry-run)");
        return Ok(ExitCode::SUCCESS);
    }
    if plan.changes() && !consent.yes && !ask()? {
        say!("nothing was written");
        return Ok(ExitCode::FAILURE);
    }
    let mut mended = 0;
    if let Some(bundle) = &plan.bundle {
        mended += shelf.put_model(bundle, soon()).await?;
    }
    if let Some(source) = &plan.source {
        mended += usize::from(shelf.put_policy(source, soon()).await?);
    }
    for source in &plan.banks {
        mended += usize::from(shelf.put_bank(source, soon()).await?);
    }
    if !plan.changes() {
        if mended > 0 {
            say!("{mended} of its objects were missing or damaged in the bucket, and are there again");
        }
        return Ok(ExitCode::SUCCESS);
    }
    shelf.publish(plan.replaced.as_ref(), &plan.publication, soon()).await?;
    let Pointer { model, policy, .. } = &plan.publication.pointer;
    say!("live: model {}@{} ({})", line(&model.name), line(&model.version), model.sha256);
    say!("live: policy {}@{} ({})", line(&policy.id), line(&policy.version), policy.sha256);
    for (name, digest) in &plan.publication.pointer.banks {
        say!("live: bank {} ({digest})", line(name));
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks the person at the terminal.
pub fn ask() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err("nothing was written: this is no terminal, so say `--yes` if it is wanted".into());
    }
    let mut asked = std::io::stderr();
    write!(asked, "make this live? [y/N] ")?;
    asked.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

async fn history(shelf: Shelf<'_>, limit: usize) -> Result<Vec<String>, Failure> {
    let standing = shelf.standing(soon()).await?;
    let live = standing.and_then(|standing| standing.version.ok());
    let mut told = Vec::new();
    if let Some(live) = &live {
        told.push(told_version("live", &live.id, &live.publication));
    }
    let past =
        shelf.history(soon()).await?.into_iter().filter(|past| live.as_ref().is_none_or(|live| live.id != past.id));
    for (back, past) in past.enumerate().take(limit) {
        told.push(match shelf.past(&past, soon()).await {
            Ok(version) => told_version(&(back + 1).to_string(), &version.id, &version.publication),
            Err(why) => line(&format!("{:<4} {} cannot be read: {why}", back + 1, past.id)),
        });
    }
    if told.is_empty() {
        told.push("nothing was ever published".to_owned());
    }
    Ok(told)
}

fn told_version(place: &str, id: &str, publication: &Publication) -> String {
    let Publication { pointer: Pointer { model, policy, .. }, by, at, why, .. } = publication;
    let at = at.map_or_else(|| "long ago".to_owned(), |at| at.to_string());
    let by = by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    line(&format!(
        "{place:<4} {id}  {at:<24}  model {}@{}  policy {}@{}{by}{why}",
        model.name, model.version, policy.id, policy.version
    ))
}

impl Consent {
    /// Who, and why.
    fn said(&self) -> (Option<String>, Option<String>) {
        (self.by.clone(), self.why.clone())
    }
}

/// Now.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::policy::FALLBACK;
    use store::{MemoryObjects, Object, ObjectStore};

    const BUCKET: &str = "artifacts";

    /// A bucket, and files to publish.
    struct World {
        objects: MemoryObjects,
        folder: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            Self { objects: MemoryObjects::default(), folder: tempfile::tempdir().unwrap() }
        }

        fn shelf(&self) -> Shelf<'_> {
            Shelf { objects: &self.objects, bucket: BUCKET }
        }

        /// The default policy under another name, with something in it replaced.
        fn policy(&self, id: &str, from: &str, to: &str) -> PathBuf {
            let text = FALLBACK.replace("id: default\n", &format!("id: {id}\n")).replace(from, to);
            let path = self.folder.path().join(format!("{id}.yaml"));
            std::fs::write(&path, text).unwrap();
            path
        }

        /// The n-gram baseline: another model than the one that ships.
        fn model() -> PathBuf {
            PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/scoring/models/ngram-baseline"))
        }

        async fn plan(&self, arguments: &[&str]) -> Result<(Plan, Consent), Failure> {
            match command(arguments) {
                RegistryCommand::Publish(args) => {
                    let replaced = self.shelf().standing(soon()).await?;
                    Ok((publication(&args, self.shelf(), replaced, BTreeMap::new()).await?, args.consent))
                }
                RegistryCommand::Rollback(args) => {
                    let replaced = self.shelf().standing(soon()).await?;
                    Ok((return_to(&args, self.shelf(), replaced).await?, args.consent))
                }
                _ => unreachable!("nothing to plan"),
            }
        }

        /// As on the command line, where nobody can be asked.
        async fn run(&self, arguments: &[&str]) -> Result<Vec<String>, Failure> {
            let (plan, consent) = self.plan(arguments).await?;
            let told = plan.told.clone();
            carry_out(plan, &consent, self.shelf(), || Err("no terminal".into())).await?;
            Ok(told)
        }

        async fn live(&self) -> Publication {
            self.shelf().standing(soon()).await.unwrap().unwrap().version.unwrap().publication
        }

        /// Names of the model and the policy that are live.
        async fn names(&self) -> (String, String) {
            let live = self.live().await;
            (live.pointer.model.name, live.pointer.policy.id)
        }

        async fn everything(&self) -> Vec<(String, Vec<u8>)> {
            let mut all = Vec::new();
            for info in self.objects.list(BUCKET, "", soon()).await.unwrap() {
                let object = self.objects.get(BUCKET, &info.key, usize::MAX, soon()).await;
                all.push((info.key, object.unwrap().unwrap().bytes));
            }
            all
        }

        async fn put(&self, key: &str, bytes: &[u8]) {
            let object = Object { bytes: bytes.to_vec(), metadata: Default::default() };
            self.objects.put(BUCKET, key, object, soon()).await.unwrap();
        }
    }

    fn command(arguments: &[&str]) -> RegistryCommand {
        #[derive(clap::Parser)]
        struct Only {
            #[command(subcommand)]
            command: RegistryCommand,
        }
        let all = std::iter::once("registry").chain(arguments.iter().copied());
        <Only as clap::Parser>::parse_from(all).command
    }

    fn names(model: &str, policy: &str) -> (String, String) {
        (model.to_owned(), policy.to_owned())
    }

    #[tokio::test]
    async fn what_is_not_named_stays_as_it_is_live() {
        let world = World::new();
        let told = world.run(&["publish", "--yes"]).await.unwrap();
        assert!(told[0].contains("the bundled model is taken") && told[1].contains("the bundled policy is taken"));
        assert_eq!(world.names().await, names("minilm-cascade", "default"));
        let (model, ours) = (World::model(), world.policy("ours", "", ""));
        world.run(&["publish", "--model", model.to_str().unwrap(), "--yes"]).await.unwrap();
        assert_eq!(world.names().await, names("ngram-baseline", "default"));
        let told = world.run(&["publish", "--policy", ours.to_str().unwrap(), "--yes"]).await.unwrap();
        assert!(told[0].starts_with("model   ngram-baseline@1 (") && told[0].ends_with(" stays"), "{told:?}");
        assert_eq!(world.names().await, names("ngram-baseline", "ours"));
        // The bundled ones are had back by name.
        world.run(&["publish", "--model", "bundled", "--yes"]).await.unwrap();
        assert_eq!(world.names().await, names("minilm-cascade", "ours"));
        world.run(&["publish", "--policy", "bundled", "--yes"]).await.unwrap();
        assert_eq!(world.names().await, names("minilm-cascade", "default"));
    }

    #[tokio::test]
    async fn nothing_is_written_before_somebody_says_yes() {
        let world = World::new();
        world.run(&["publish", "--yes"]).await.unwrap();
        let before = world.everything().await;
        let ours = world.policy("ours", "user.prior_violations >= 3", "user.prior_violations > 2");
        let publish = ["publish", "--policy", ours.to_str().unwrap()];
        assert_eq!(world.run(&publish).await.unwrap_err().to_string(), "no terminal");
        let (plan, consent) = world.plan(&publish).await.unwrap();
        let no = carry_out(plan, &consent, world.shelf(), || Ok(false)).await.unwrap();
        assert_eq!(no, ExitCode::FAILURE);
        let told = world.run(&["publish", "--policy", ours.to_str().unwrap(), "--dry-run"]).await.unwrap();
        assert!(
            told.iter().any(|told| told.starts_with("        ~ rule repeat-offender: review in elevated")),
            "{told:?}"
        );
        assert_eq!(world.everything().await, before);
        let (plan, consent) = world.plan(&publish).await.unwrap();
        assert!(plan.told.iter().any(|told| told.starts_with("policy  default@") && told.contains(" -> ours@")));
        carry_out(plan, &consent, world.shelf(), || Ok(true)).await.unwrap();
        assert_eq!(world.names().await, names("minilm-cascade", "ours"));
    }

    #[tokio::test]
    async fn a_policy_that_reads_a_bank_which_is_not_there_is_refused_and_says_what_there_is() {
        let world = World::new();
        let path = world.folder.path().join("signals.yaml");
        std::fs::write(&path, include_str!("../../shared/domain/policies/examples/signals.yaml")).unwrap();
        let refused =
            world.run(&["publish", "--policy", path.to_str().unwrap(), "--yes"]).await.unwrap_err().to_string();
        assert!(refused.contains("signal.campaign") && refused.contains("moderato bank publish"), "{refused}");
        assert_eq!(world.everything().await, []);
    }

    #[tokio::test]
    async fn what_is_live_already_is_not_written_again() {
        let world = World::new();
        world.run(&["publish", "--yes"]).await.unwrap();
        let before = world.everything().await;
        for publish in [&["publish"][..], &["publish", "--model", "bundled", "--policy", "bundled"]] {
            // No question either.
            world.run(publish).await.unwrap();
            assert_eq!(world.everything().await, before);
        }
        // What somebody damaged is put right.
        let key = before.iter().find(|(key, _)| key.ends_with("/model.onnx")).unwrap().0.clone();
        world.put(&key, b"damaged").await;
        world.run(&["publish", "--model", "bundled", "--policy", "bundled"]).await.unwrap();
        assert_eq!(world.everything().await, before);
    }

    #[tokio::test]
    async fn what_could_not_be_loaded_is_refused_before_anything_is_written() {
        let world = World::new();
        let failing = world.policy("failing", "expect: { decision: hide }", "expect: { decision: approve }");
        let published = world.run(&["publish", "--policy", failing.to_str().unwrap(), "--yes"]).await;
        assert!(published.unwrap_err().to_string().contains("own tests failed"));
        assert!(world.run(&["publish", "--model", "/nowhere", "--yes"]).await.is_err());
        assert_eq!(world.everything().await, []);
        // What would stay is checked as well: functions could not load it either.
        world.run(&["publish", "--yes"]).await.unwrap();
        let model = world.live().await.pointer.model.sha256;
        world.put(&format!("models/{model}/transformer.ort"), b"damaged").await;
        let before = world.everything().await;
        let ours = world.policy("ours", "", "");
        let refused =
            world.run(&["publish", "--policy", ours.to_str().unwrap(), "--yes"]).await.unwrap_err().to_string();
        assert!(
            refused.contains("the model that is live cannot be loaded") && refused.contains("--model"),
            "{refused}"
        );
        assert_eq!(world.everything().await, before);
        let both = ["publish", "--policy", ours.to_str().unwrap(), "--model", "bundled", "--yes"];
        world.run(&both).await.unwrap();
        assert_eq!(world.names().await, names("minilm-cascade", "ours"));
    }

    #[tokio::test]
    async fn of_two_at_once_the_second_is_told() {
        let world = World::new();
        world.run(&["publish", "--yes"]).await.unwrap();
        let (first, second) = (world.policy("first", "", ""), world.policy("second", "", ""));
        let slow = world.plan(&["publish", "--policy", second.to_str().unwrap(), "--yes"]).await.unwrap();
        world.run(&["publish", "--policy", first.to_str().unwrap(), "--yes"]).await.unwrap();
        let told = carry_out(slow.0, &slow.1, world.shelf(), || Ok(true)).await.unwrap_err().to_string();
        assert!(told.contains("somebody else published meanwhile"), "{told}");
        assert_eq!(world.names().await, names("minilm-cascade", "first"));
    }

    #[tokio::test]
    async fn a_pointer_that_cannot_be_read_is_replaced_by_what_is_named_whole() {
        let world = World::new();
        world.put(registry::POINTER_KEY, b"garbage").await;
        let refused = world.run(&["publish", "--policy", "bundled", "--yes"]).await.unwrap_err().to_string();
        assert!(refused.contains("name both"), "{refused}");
        world.run(&["publish", "--policy", "bundled", "--model", "bundled", "--yes"]).await.unwrap();
        assert_eq!(world.names().await, names("minilm-cascade", "default"));
        world.put(registry::POINTER_KEY, b"garbage").await;
        world.run(&["rollback", "--yes"]).await.unwrap();
        assert_eq!(world.names().await, names("minilm-cascade", "default"));
    }

    #[tokio::test]
    async fn what_was_live_before_is_had_back() {
        let world = World::new();
        world.run(&["publish", "--yes", "--by", "ann", "--why", "begin"]).await.unwrap();
        let mut ids = vec![world.shelf().standing(soon()).await.unwrap().unwrap().version.unwrap().id];
        for id in ["one", "two"] {
            let policy = world.policy(id, "", "");
            world
                .run(&["publish", "--policy", policy.to_str().unwrap(), "--yes", "--by", "bob\u{1b}[2J"])
                .await
                .unwrap();
            ids.push(world.shelf().standing(soon()).await.unwrap().unwrap().version.unwrap().id);
        }
        let told = history(world.shelf(), 20).await.unwrap();
        assert_eq!(told.len(), 3);
        assert!(told[0].starts_with(&format!("live {}", ids[2])) && told[1].starts_with(&format!("1    {}", ids[1])));
        assert!(told[2].ends_with("policy default@2026-11-23 by ann: begin") && told[0].ends_with("by bob\\u001b[2J"));
        // Nothing without a yes, here either.
        assert!(world.run(&["rollback"]).await.is_err());
        assert_eq!(world.names().await.1, "two");
        world.run(&["rollback", "--yes"]).await.unwrap();
        assert_eq!(world.names().await.1, "one");
        let live = world.live().await;
        assert_eq!(live.why, Some(format!("back to {}", ids[1])));
        assert!(live.previous.is_some());
        // Back again, and by number and id further back.
        world.run(&["rollback", "--yes"]).await.unwrap();
        assert_eq!(world.names().await.1, "two");
        world.run(&["rollback", "--to", "4", "--yes"]).await.unwrap();
        assert_eq!(world.names().await.1, "default");
        world.run(&["rollback", "--to", &ids[2][..8].to_ascii_uppercase(), "--yes"]).await.unwrap();
        assert_eq!(world.names().await.1, "two");
        for nowhere in ["0", "99", "ffffffffffff", "zzz", "000000"] {
            assert!(world.run(&["rollback", "--to", nowhere, "--yes"]).await.is_err(), "{nowhere}");
        }
        assert_eq!(history(world.shelf(), 20).await.unwrap().len(), 7);
        assert_eq!(history(world.shelf(), 2).await.unwrap().len(), 3);
    }

    #[tokio::test]
    async fn what_cannot_be_loaded_any_more_is_not_had_back() {
        let world = World::new();
        let one = world.policy("one", "", "");
        world.run(&["publish", "--policy", one.to_str().unwrap(), "--yes"]).await.unwrap();
        let lost = world.live().await.pointer.policy.sha256;
        world.run(&["publish", "--policy", "bundled", "--yes"]).await.unwrap();
        world.put(&format!("policies/{lost}.yaml"), b"damaged").await;
        let before = world.everything().await;
        let refused = world.run(&["rollback", "--yes"]).await.unwrap_err().to_string();
        assert!(refused.contains("cannot be loaded any more: its policy"), "{refused}");
        assert_eq!(world.everything().await, before);
    }

    #[test]
    fn the_question_is_asked_of_people_alone() {
        // Under `cargo test` with a terminal somebody may be asked; then there is nothing to see here.
        if !std::io::stdin().is_terminal() {
            assert!(ask().unwrap_err().to_string().contains("--yes"));
        }
    }
}
