//! `moderato bank`: lists of words, phrases, patterns and images that a deployment's rules look for.

mod edit;
mod import;

use crate::registry_publish::{Change, Consent, ask, carry_out, changed, live_of};
use crate::stack::{Stack, soon};
use crate::terminal::{line, lines, say};
use crate::{Failure, local};
use clap::{Args, Subcommand, ValueEnum};
use domain::{Post, Timestamp};
use features::signals::{Bank, Section};
use import::Format;
use registry::Shelf;
use scoring::{Text, texts};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Works on banks: lists of words, phrases, patterns and images that rules of a policy read as `signal.BANK`.
#[derive(Debug, Subcommand)]
pub enum BankCommand {
    /// Adds entries to a bank that is live, and makes that live. Example: `moderato bank add slurs blorp`.
    Add(AddArgs),
    /// Takes entries out of a bank that is live, or the whole bank. Example: `moderato bank remove slurs blorp`.
    Remove(RemoveArgs),
    /// Lists the banks that are live, or prints one as its file. Example: `moderato bank list slurs > slurs.bank`.
    List {
        /// The bank.
        bank: Option<String>,
    },
    /// Tries a bank's own examples, and what it finds in posts. No stack is asked. Example: `moderato bank test slurs.bank --posts posts.jsonl`.
    Test {
        /// The bank's file.
        file: PathBuf,
        /// Posts as JSON Lines, as `moderato score` takes them.
        #[arg(long, value_name = "FILE")]
        posts: Option<PathBuf>,
    },
    /// Checks banks and makes them live, each in the place of the one of its name. Example: `moderato bank publish slurs.bank`.
    Publish {
        /// The banks' files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        consent: Consent,
    },
    /// Writes a list of others as a bank, for people to look at. No stack is asked. Example: `moderato bank import codes words.csv --column
    /// word --owner me@example.org --purpose "number codes" > codes.bank`.
    Import(ImportArgs),
}

/// Who answers for a new bank, and what it is for.
#[derive(Debug, Args)]
struct Head {
    /// Who answers for a new bank.
    #[arg(long)]
    owner: Option<String>,
    /// What a new bank is for.
    #[arg(long)]
    purpose: Option<String>,
    /// The last day on which a new bank counts, such as 2027-06-30.
    #[arg(long, value_name = "DAY")]
    until: Option<String>,
    /// Finds English plurals and forms of verbs of a new bank's words as well.
    #[arg(long)]
    inflect: bool,
}

/// What to add.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// The bank.
    bank: String,
    /// Words and phrases, or what `--as` says.
    #[arg(required = true)]
    entries: Vec<String>,
    /// What the entries are.
    #[arg(long = "as", value_name = "KIND", default_value = "text")]
    kind: Kind,
    #[command(flatten)]
    head: Head,
    #[command(flatten)]
    consent: Consent,
}

/// What to take out.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// The bank.
    bank: String,
    /// Its entries; without any, the whole bank goes.
    entries: Vec<String>,
    #[command(flatten)]
    consent: Consent,
}

/// What to read.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The name of the bank.
    bank: String,
    /// The list.
    file: PathBuf,
    /// How it is written; otherwise by the end of its name.
    #[arg(long)]
    format: Option<Format>,
    /// The column of a CSV file; otherwise the first.
    #[arg(long)]
    column: Option<String>,
    /// What the entries are.
    #[arg(long = "as", value_name = "KIND", default_value = "text")]
    kind: Kind,
    #[command(flatten)]
    head: Head,
}

/// What entries are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Words and phrases.
    Text,
    /// Regular expressions.
    Pattern,
    /// PDQ hashes of images.
    Image,
    /// Words and phrases inside which nothing counts.
    Allow,
    /// Texts in which something has to be found.
    Matches,
    /// Texts in which nothing may be found.
    Misses,
}

impl Kind {
    fn section(self) -> Option<Section> {
        match self {
            Self::Text => None,
            Self::Pattern => Some(Section::Patterns),
            Self::Image => Some(Section::Images),
            Self::Allow => Some(Section::Allow),
            Self::Matches => Some(Section::Matches),
            Self::Misses => Some(Section::Misses),
        }
    }
}

/// The commands that ask no stack.
pub fn alone(command: &BankCommand) -> Option<Result<ExitCode, Failure>> {
    match command {
        BankCommand::Test { file, posts } => Some(test(file, posts.as_deref())),
        BankCommand::Import(args) => Some(import(args)),
        _ => None,
    }
}

/// The commands on a stack.
pub async fn run(command: &BankCommand, stack: &Stack) -> Result<ExitCode, Failure> {
    let objects = stack.objects();
    let shelf = Shelf { objects: &objects, bucket: stack.bucket()? };
    match command {
        BankCommand::Add(args) => {
            let changes = BTreeMap::from([added(args, shelf).await?]);
            carry_out(changed(shelf, changes, &args.consent).await?, &args.consent, shelf, ask).await
        }
        BankCommand::Remove(args) => {
            let changes = BTreeMap::from([removed(args, shelf).await?]);
            carry_out(changed(shelf, changes, &args.consent).await?, &args.consent, shelf, ask).await
        }
        BankCommand::Publish { files, consent } => {
            let mut changes = BTreeMap::new();
            for file in files {
                let (bank, source) = local::bank(file)?;
                changes.insert(bank.name().to_owned(), Change::To(source));
            }
            carry_out(changed(shelf, changes, consent).await?, consent, shelf, ask).await
        }
        BankCommand::List { bank } => list(shelf, bank.as_deref()).await,
        BankCommand::Test { .. } | BankCommand::Import(_) => Ok(ExitCode::SUCCESS),
    }
}

/// The live banks: digests by name.
async fn live_banks(shelf: Shelf<'_>) -> Result<BTreeMap<String, String>, Failure> {
    let standing = shelf.standing(soon()).await?;
    Ok(live_of(standing.as_ref()).map(|live| live.pointer.banks.clone()).unwrap_or_default())
}

/// The file of a bank that is live.
async fn source_of(shelf: Shelf<'_>, name: &str) -> Result<Option<String>, Failure> {
    let Some(digest) = live_banks(shelf).await?.remove(name) else { return Ok(None) };
    let read = shelf.bank(&digest, soon()).await;
    let read =
        read.map_err(|why| format!("the bank `{name}` that is live cannot be loaded: {why}; publish its file again"))?;
    Ok(Some(read.1))
}

async fn added(args: &AddArgs, shelf: Shelf<'_>) -> Result<(String, Change), Failure> {
    let source = match source_of(shelf, &args.bank).await? {
        Some(source) => source,
        None => args.head.empty(&args.bank)?,
    };
    let mut after = source;
    for entry in &args.entries {
        let section = args.kind.section().unwrap_or_else(|| edit::section_of(entry));
        after = edit::with(&after, section, std::slice::from_ref(entry));
    }
    checked(&after)?;
    Ok((args.bank.clone(), Change::To(after)))
}

async fn removed(args: &RemoveArgs, shelf: Shelf<'_>) -> Result<(String, Change), Failure> {
    let Some(mut source) = source_of(shelf, &args.bank).await? else {
        let known: Vec<_> = live_banks(shelf).await?.into_keys().collect();
        return Err(format!("no bank `{}` is live; there are: {}", args.bank, known.join(", ")).into());
    };
    if args.entries.is_empty() {
        return Ok((args.bank.clone(), Change::Gone));
    }
    for entry in &args.entries {
        let (after, gone) = edit::without(&source, entry)?;
        if gone == 0 {
            return Err(
                format!("`{entry}` is no entry of `{}`: see `moderato bank list {}`", args.bank, args.bank).into()
            );
        }
        source = after;
    }
    checked(&source)?;
    Ok((args.bank.clone(), Change::To(source)))
}

/// Checks a bank, and names the line that it is refused for.
pub fn checked(source: &str) -> Result<Bank, Failure> {
    Bank::load(source).map_err(|error| {
        let said = source.lines().nth((error.line as usize).saturating_sub(1)).unwrap_or_default();
        line(&format!("the bank is refused: {error}: `{said}`")).into()
    })
}

/// What differs between two banks, in lines for people.
pub fn difference(before: Option<&str>, after: &str) -> Vec<String> {
    edit::difference(before.unwrap_or_default(), after)
}

impl Head {
    fn empty(&self, name: &str) -> Result<String, Failure> {
        let (Some(owner), Some(purpose)) = (&self.owner, &self.purpose) else {
            return Err(format!("there is no bank `{name}` yet: say who answers for it with `--owner`, and what it is for with `--purpose`").into());
        };
        Ok(edit::empty(name, owner, purpose, self.until.as_deref(), self.inflect))
    }
}

async fn list(shelf: Shelf<'_>, bank: Option<&str>) -> Result<ExitCode, Failure> {
    if let Some(name) = bank {
        return match source_of(shelf, name).await? {
            Some(source) => {
                say!("{}", lines(source.trim_end()));
                Ok(ExitCode::SUCCESS)
            }
            None => Err(format!("no bank `{name}` is live: see `moderato bank list`").into()),
        };
    }
    let banks = live_banks(shelf).await?;
    if banks.is_empty() {
        say!("no bank is live: begin with `moderato bank add NAME WORD --owner … --purpose …`");
    }
    for (name, digest) in banks {
        match shelf.bank(&digest, soon()).await {
            Ok((bank, _)) => say!("{}", told(&bank, crate::registry_publish::now())),
            Err(why) => say!("{}", line(&format!("{name}: cannot be loaded: {why}"))),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn told(bank: &Bank, now: Timestamp) -> String {
    let end = match bank.until() {
        Some(until) if bank.is_over(now) => format!(", OVER since {until}: it finds nothing"),
        Some(until) => format!(", until {until}"),
        None => String::new(),
    };
    line(&format!(
        "{}@{}: {} entries, {}, {}{end}",
        bank.name(),
        bank.version(),
        bank.len(),
        bank.owner(),
        bank.purpose()
    ))
}

fn test(file: &Path, posts: Option<&Path>) -> Result<ExitCode, Failure> {
    let (bank, source) = match local::bank(file) {
        Ok(read) => read,
        Err(refused) => {
            say!("{refused}");
            return Ok(ExitCode::FAILURE);
        }
    };
    say!("{}; its examples come out as they should", told(&bank, crate::registry_publish::now()));
    if let Some(posts) = posts {
        test_posts(bank, &source, posts)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn test_posts(bank: Bank, source: &str, posts: &Path) -> Result<(), Failure> {
    let text = std::fs::read_to_string(posts).map_err(|error| format!("reading `{}`: {error}", posts.display()))?;
    let written: Vec<&str> = source.lines().collect();
    let name = bank.name().to_owned();
    let banks = [(name.clone(), Some(std::sync::Arc::new(bank)))].into_iter().collect::<features::signals::Banks>();
    let mut by_entry: BTreeMap<u32, usize> = BTreeMap::new();
    let (mut read, mut stopped, mut bad) = (0_usize, 0_usize, 0_usize);
    for one in text.lines().filter(|line| !line.trim().is_empty()) {
        let Ok(post) = Post::parse(one.as_bytes()) else {
            bad += 1;
            continue;
        };
        read += 1;
        // As if it counted, whenever it ends.
        let mut search = banks.search(Timestamp::from_millis(0));
        for (view, text) in texts(&post, None) {
            if let Text::Known(text) = text {
                search.text(view, &text, None);
            }
        }
        let Some(found) = search.done().remove(&name).filter(|signal| signal.found > 0) else { continue };
        stopped += 1;
        for entry in &found.matches {
            *by_entry.entry(entry.line).or_default() += 1;
            let said = written.get(entry.line.saturating_sub(1) as usize).copied().unwrap_or_default();
            say!(
                "{}",
                line(&format!(
                    "{}  {} {}..{}  line {}: {said}",
                    post.post_id, entry.view, entry.start, entry.end, entry.line
                ))
            );
        }
    }
    say!("{read} posts, {stopped} with a match, {} without; {bad} lines are no posts", read - stopped);
    for (entry, posts) in by_entry {
        let said = written.get(entry.saturating_sub(1) as usize).copied().unwrap_or_default();
        say!("{}", line(&format!("{posts:>7} posts  line {entry}: {said}")));
    }
    Ok(())
}

fn import(args: &ImportArgs) -> Result<ExitCode, Failure> {
    let text =
        std::fs::read_to_string(&args.file).map_err(|error| format!("reading `{}`: {error}", args.file.display()))?;
    let end = args.file.extension().and_then(|end| end.to_str()).unwrap_or_default();
    let format = args.format.unwrap_or(match end {
        "csv" => Format::Csv,
        "json" | "jsonl" => Format::Json,
        _ => Format::List,
    });
    let imported =
        import::import(args.head.empty(&args.bank)?, &text, format, args.column.as_deref(), args.kind.section())?;
    say!("{}", lines(imported.source.trim_end()));
    crate::terminal::tell!("{} entries, {} repeated", imported.entries, imported.repeated);
    for (why, count) in &imported.skipped {
        crate::terminal::tell!("{count} left out: {why}");
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use store::{MemoryObjects, Object, ObjectStore};

    const BUCKET: &str = "artifacts";

    #[derive(Parser)]
    struct Only {
        #[command(subcommand)]
        command: BankCommand,
    }

    async fn run(objects: &MemoryObjects, arguments: &[&str]) -> Result<Vec<String>, Failure> {
        let shelf = Shelf { objects, bucket: BUCKET };
        let all = std::iter::once("bank").chain(arguments.iter().copied());
        let (changes, consent) = match Only::parse_from(all).command {
            BankCommand::Add(args) => (BTreeMap::from([added(&args, shelf).await?]), args.consent),
            BankCommand::Remove(args) => (BTreeMap::from([removed(&args, shelf).await?]), args.consent),
            _ => unreachable!("changes nothing"),
        };
        let plan = changed(shelf, changes, &consent).await?;
        let told = plan.told().to_vec();
        carry_out(plan, &consent, shelf, || Err("no terminal".into())).await?;
        Ok(told)
    }

    async fn source(objects: &MemoryObjects, name: &str) -> Option<String> {
        source_of(Shelf { objects, bucket: BUCKET }, name).await.unwrap()
    }

    #[tokio::test]
    async fn a_word_is_added_and_taken_out_and_the_rest_stays_live() {
        let objects = MemoryObjects::default();
        let refused = run(&objects, &["add", "slurs", "blorp", "--yes"]).await.unwrap_err().to_string();
        assert!(refused.contains("--owner") && refused.contains("--purpose"), "{refused}");
        let head = ["--owner", "ann", "--purpose", "new words", "--yes", "--by", "ann"];
        let told = run(&objects, &[&["add", "slurs", "blorp", "kill all blorps"], &head[..]].concat()).await.unwrap();
        assert!(told.iter().any(|told| told.contains("+ [words] blorp")), "{told:?}");
        let first = source(&objects, "slurs").await.unwrap();
        assert!(first.contains("\n[words]\nblorp\n") && first.contains("\n[phrases]\nkill all blorps\n"));
        run(&objects, &["add", "slurs", "blorp is fine", "--as", "misses", "--yes"]).await.unwrap_err();
        run(&objects, &["add", "slurs", "--as", "misses", "bread", "--yes"]).await.unwrap();
        // Refused for its own example, with its line, and nothing changes.
        let before = source(&objects, "slurs").await;
        let refused = run(&objects, &["add", "slurs", "bread", "--yes"]).await.unwrap_err().to_string();
        assert!(refused.contains("line ") && refused.contains("`bread`"), "{refused}");
        let told = run(&objects, &["add", "slurs", "frazzle", "--dry-run"]).await.unwrap();
        assert!(told.iter().any(|told| told.ends_with("+ [words] frazzle")), "{told:?}");
        assert_eq!(source(&objects, "slurs").await, before);
        let told = run(&objects, &["remove", "slurs", "BLORP", "--yes"]).await.unwrap();
        assert!(told.iter().any(|told| told.ends_with("- [words] blorp")), "{told:?}");
        assert!(
            run(&objects, &["remove", "slurs", "blorp", "--yes"]).await.unwrap_err().to_string().contains("no entry")
        );
        assert!(
            run(&objects, &["remove", "codes", "--yes"]).await.unwrap_err().to_string().contains("there are: slurs")
        );
        run(&objects, &["remove", "slurs", "--yes"]).await.unwrap();
        assert_eq!(source(&objects, "slurs").await, None);
    }

    #[tokio::test]
    async fn a_bank_that_the_live_policy_reads_does_not_go() {
        let objects = MemoryObjects::default();
        let head = ["--owner", "ann", "--purpose", "new words", "--yes"];
        run(&objects, &[&["add", "campaign", "blorp"], &head[..]].concat()).await.unwrap();
        let shelf = Shelf { objects: &objects, bucket: BUCKET };
        let policy = include_str!("../../../shared/domain/policies/examples/signals.yaml");
        shelf.put_policy(policy, soon()).await.unwrap();
        let mut pointer = live_of(shelf.standing(soon()).await.unwrap().as_ref()).unwrap().pointer.clone();
        pointer.policy.sha256 = domain::sha256_hex(policy.as_bytes());
        let object = Object { bytes: serde_json::to_vec(&pointer).unwrap(), metadata: Default::default() };
        objects.put(BUCKET, registry::POINTER_KEY, object, soon()).await.unwrap();
        let refused = run(&objects, &["remove", "campaign", "--yes"]).await.unwrap_err().to_string();
        assert!(refused.contains("signal.campaign") && refused.contains("there are: none"), "{refused}");
        run(&objects, &["add", "campaign", "frazzle", "--yes"]).await.unwrap();
    }
}
