//! `moderato erase`: an author or a post, from everything that Moderato keeps, with a receipt of what was erased and what is left.

use crate::Failure;
use crate::progress::progress;
use crate::stack::{Stack, soon};
use crate::terminal::{say, tell};
use base64::Engine;
use clap::Args;
use domain::{AuthorId, DigestKey, MAX_POST_BYTES, PostId, TOMBSTONE_DAYS, Timestamp, keyed_hex};
use features::views::Definitions;
use flate2::read::GzDecoder;
use futures::{StreamExt, stream};
use serde::Serialize;
use serde_json::Value;
use service::erasure::{Counts, SETTLED};
use service::prices::{READ_UNIT, WRITE_UNIT};
use service::{Eraser, Subject};
use std::fs::File;
use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::{ObjectStore, Search, Size, SqsQueue};

/// Erases an author or a post. Says first what would be erased, and asks, unless told not to.
#[derive(Debug, Args)]
pub struct EraseArgs {
    /// The author whose posts and features are erased.
    #[arg(long, value_name = "ID", required_unless_present = "post", conflicts_with = "post")]
    author: Option<String>,
    /// The post that is erased, with all its revisions.
    #[arg(long, value_name = "ID")]
    post: Option<String>,
    /// Says what would be erased, and erases nothing.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Erases without asking.
    #[arg(long)]
    yes: bool,
    /// Writes the receipt into this file as well.
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Seconds until every invocation that began before the erasure has ended.
    #[arg(long, hide = true, default_value_t = SETTLED.as_secs())]
    settle: u64,
}

/// Parts of the table that are read at once where there is no index of authors.
const PARTS: u8 = 8;
/// Objects and messages that are worked on at once.
const AT_ONCE: usize = 16;
/// Bytes that a read unit reads, eventually consistent: two times 4 KB.
const BYTES_A_READ_UNIT: f64 = 8_192.0;
/// Days that a table can be brought back to, where the deployment is as in the template.
const RECOVERY_DAYS: u32 = 35;
/// Where posts come as objects.
const INTAKE: &str = "intake/";
/// Envelopes and posts inside each other are searched to this depth.
const DEPTH: usize = 64;

/// What was erased, what is left of it and until when; nothing in it names anybody.
#[derive(Serialize)]
struct Receipt {
    schema: &'static str,
    /// `author` or `post`.
    subject: &'static str,
    /// Keyed digest of the id. With the key one can tell whose receipt it is.
    digest: String,
    /// What was sent before.
    erased_at: Timestamp,
    finished_at: Timestamp,
    erased: Vec<Part>,
    left: Vec<Rest>,
}

#[derive(Serialize)]
struct Part {
    what: &'static str,
    r#where: String,
    count: u64,
}

#[derive(Serialize)]
struct Rest {
    what: &'static str,
    r#where: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    why: &'static str,
}

/// What was found, or erased.
#[derive(Default)]
struct Sums {
    stored: Counts,
    objects: Held,
    letters: [Held; 2],
}

/// What objects or messages hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Held {
    /// Those with posts of the subject alone.
    own: u64,
    /// Those with posts of others too, which stay.
    shared: u64,
    /// Those that could not be read.
    unread: u64,
}

/// Queues whose messages no erasure can look for: what they hold, and the name of the output.
const QUEUES: [(&str, &str, &str); 6] = [
    (
        "posts under way",
        "POSTS_QUEUE_URL",
        "a queue cannot be searched; what comes of it is dropped for the tombstones",
    ),
    (
        "posts that failed a hundred times",
        "POSTS_DLQ_URL",
        "those found were deleted; what dies later is dropped when it is put back by `moderato redrive` only if it is erased again before",
    ),
    (
        "posts that wait for a second opinion",
        "ESCALATIONS_QUEUE_URL",
        "a queue cannot be searched; what comes of it is dropped, since its decision is gone",
    ),
    (
        "such posts that failed a hundred times",
        "ESCALATIONS_DLQ_URL",
        "those found were deleted; what dies later is dropped when it is put back, since its decision is gone",
    ),
    ("review tasks", "TASKS_QUEUE_URL", "a queue cannot be searched; they name post and author"),
    ("action requests", "ACTIONS_QUEUE_URL", "a queue cannot be searched; they name post and author"),
];
/// Of which these are looked through: they are short, and what lies there could be put back.
const SEARCHED: [&str; 2] = ["POSTS_DLQ_URL", "ESCALATIONS_DLQ_URL"];

/// Runs the command: exit code 1 where it was not confirmed, or something of the subject could not be read.
pub async fn run(args: &EraseArgs, stack: &Stack) -> Result<ExitCode, Failure> {
    let subject = match (&args.author, &args.post) {
        (Some(author), _) => {
            Subject::Author(AuthorId::try_from(author.clone()).map_err(|error| format!("`--author` {error}"))?)
        }
        (None, Some(post)) => {
            Subject::Post(PostId::try_from(post.clone()).map_err(|error| format!("`--post` {error}"))?)
        }
        (None, None) => return Err("either `--author` or `--post` is needed".into()),
    };
    if !args.dry_run && !args.yes && !std::io::stdin().is_terminal() {
        return Err("nobody can be asked here: `--dry-run` says what would be erased, `--yes` erases it".into());
    }
    // Before anything is erased that could then not be told.
    let file = args.receipt.as_ref().filter(|_| !args.dry_run);
    let file = file.map(|path| File::create(path).map_err(|error| format!("writing `{}`: {error}", path.display())));
    let file = file.transpose()?;
    let work = Work {
        stack,
        subject: &subject,
        key: DigestKey::new(stack.digest_key().await?.as_bytes())?,
        definitions: Definitions::bundled()?,
        size: stack.decisions()?.size(soon()).await?,
        at: now(),
        settle: Duration::from_secs(args.settle),
    };
    if !args.yes {
        let report = work.survey().await?;
        if args.dry_run {
            say!("{report}");
            return Ok(ExitCode::SUCCESS);
        }
        tell!("{report}");
        if !confirmed()? {
            tell!("nothing was erased");
            return Ok(ExitCode::FAILURE);
        }
    }
    // What was asked for is what was sent until now, however long the question took.
    let (receipt, complete) = Work { at: now(), ..work }.erase().await?;
    let text = serde_json::to_string_pretty(&receipt)?;
    say!("{text}");
    if let Some(mut file) = file {
        writeln!(file, "{text}")?;
    }
    Ok(ExitCode::from(u8::from(!complete)))
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn confirmed() -> Result<bool, Failure> {
    tell!("Erase it? This cannot be undone. [y/N]");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// One erasure.
struct Work<'a> {
    stack: &'a Stack,
    subject: &'a Subject,
    key: DigestKey,
    definitions: Definitions,
    size: Size,
    at: Timestamp,
    settle: Duration,
}

impl Work<'_> {
    /// What is there, and nothing else is done.
    async fn survey(&self) -> Result<String, Failure> {
        let sums = self.through(false).await?;
        let mut lines = Vec::new();
        lines.push(format!("{} {}, sent before {}:", self.kind(), keyed_hex(self.digest()), self.at));
        let parts = self.parts(&sums)?;
        lines.extend(parts.iter().map(|part| format!("  {:>8} {:<34} {}", part.count, part.what, part.r#where)));
        if sums.objects.shared > 0 {
            lines.push(format!(
                "  {} objects under {} hold posts of others too, and would stay",
                sums.objects.shared,
                self.own(INTAKE)?
            ));
        }
        lines.push(self.price(&sums));
        lines.push("Queues are not looked through, but for dead letters; `left` in the receipt says until when they keep what they hold.".to_owned());
        Ok(lines.join("\n"))
    }

    /// What finding and erasing it costs.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn price(&self, sums: &Sums) -> String {
        let writes = (2 * sums.stored.decisions + sums.stored.features) as f64 * WRITE_UNIT / 1e6;
        match self.subject {
            Subject::Author(_) if !self.size.indexed => {
                let units = (self.size.bytes as f64 / BYTES_A_READ_UNIT).ceil();
                let usd = units * READ_UNIT / 1e6;
                format!(
                    "There is no index of authors: each search reads the whole table, about {} items and {units:.0} read units, {usd:.4} USD. Erasing searches again, and writes for about {writes:.4} USD.",
                    self.size.items
                )
            }
            _ => format!("Erasing writes for about {writes:.4} USD."),
        }
    }

    /// Tombstones, a wait, and then everything.
    async fn erase(&self) -> Result<(Receipt, bool), Failure> {
        let (decisions, features, objects) = self.stores()?;
        let eraser = self.eraser(&decisions, &features, &objects, true)?;
        let mut stored = Counts::default();
        if let Subject::Post(post) = self.subject {
            // Before its tombstones take their places, so that they are counted.
            stored += eraser.sweep(vec![Search::of_post(post.clone())], &|_| {}).await?;
        }
        stored += eraser.announce().await?;
        tell!("tombstones stand; waiting {} s for what began before", self.settle.as_secs());
        let bar = progress("waited", usize::try_from(self.settle.as_secs())?);
        for _ in 0..self.settle.as_secs() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            bar.inc(1);
        }
        bar.finish_and_clear();
        let mut sums = self.through(true).await?;
        sums.stored += stored;
        let finished_at = now();
        let receipt = Receipt {
            schema: "erasure/1",
            subject: self.kind(),
            digest: keyed_hex(self.digest()),
            erased_at: self.at,
            finished_at,
            erased: self.parts(&sums)?,
            left: self.left(&sums, finished_at).await?,
        };
        let complete = sums.stored.unreadable == 0;
        Ok((receipt, complete))
    }

    /// Everything that can be looked through.
    async fn through(&self, erases: bool) -> Result<Sums, Failure> {
        let (decisions, features, objects) = self.stores()?;
        let eraser = self.eraser(&decisions, &features, &objects, erases)?;
        let (searches, items) = match self.subject {
            Subject::Post(post) => (vec![Search::of_post(post.clone())], 1),
            Subject::Author(author) if self.size.indexed => (vec![Search::by_index(author.clone())], 1),
            Subject::Author(author) => (Search::by_scan(author, PARTS), self.size.items),
        };
        let bar = progress("decisions", usize::try_from(items)?);
        let stored = eraser.sweep(searches, &|page| bar.inc(page.looked_at)).await?;
        bar.finish_and_clear();
        let mut letters = [Held::default(); 2];
        for (held, queue) in letters.iter_mut().zip(SEARCHED) {
            *held = self.letters(&self.stack.queue(queue)?, erases).await?;
        }
        Ok(Sums { stored, objects: self.intake(erases).await?, letters })
    }

    fn stores(&self) -> Result<(store::DynamoDecisions, store::DynamoFeatures, store::S3Objects), Failure> {
        let features = self.stack.features(self.definitions.clone())?;
        Ok((self.stack.decisions()?, features, self.stack.objects()))
    }

    fn eraser<'a>(
        &'a self,
        decisions: &'a store::DynamoDecisions,
        features: &'a store::DynamoFeatures,
        objects: &'a store::S3Objects,
        erases: bool,
    ) -> Result<Eraser<'a>, Failure> {
        let (definitions, key, subject, bucket) = (&self.definitions, &self.key, self.subject, self.stack.bucket()?);
        Ok(Eraser { decisions, features, objects, bucket, definitions, key, subject, at: self.at, erases })
    }

    fn kind(&self) -> &'static str {
        match self.subject {
            Subject::Author(_) => "author",
            Subject::Post(_) => "post",
        }
    }

    fn digest(&self) -> domain::KeyedDigest {
        match self.subject {
            Subject::Author(author) => self.key.author(author),
            Subject::Post(post) => self.key.post(post),
        }
    }

    /// The stack's own buckets: the one that producers write to, and the one that they wrote to before there were two.
    fn buckets(&self) -> Result<[&str; 2], Failure> {
        Ok([self.stack.content_bucket()?, self.stack.bucket()?])
    }

    /// A prefix in both of them.
    fn own(&self, prefix: &str) -> Result<String, Failure> {
        Ok(self.buckets()?.map(|bucket| format!("s3://{bucket}/{prefix}")).join(" and "))
    }

    /// Posts that came as objects into the stack's own buckets.
    async fn intake(&self, erases: bool) -> Result<Held, Failure> {
        let objects = self.stack.objects();
        let mut listed = Vec::new();
        for bucket in self.buckets()? {
            listed.extend(objects.list(bucket, INTAKE, soon()).await?.into_iter().map(|info| (bucket, info)));
        }
        let bar = progress("objects", listed.len());
        let looks = listed.iter().map(async |(bucket, info)| -> Result<Held, Failure> {
            bar.inc(1);
            let object = match objects.get(bucket, &info.key, MAX_POST_BYTES, soon()).await {
                Ok(Some(object)) => object,
                Ok(None) => return Ok(Held::default()),
                Err(error) if !error.retryable => return Ok(Held { unread: 1, ..Held::default() }),
                Err(error) => return Err(error.into()),
            };
            let held = self.held(&object.bytes);
            if erases && held.own > 0 {
                objects.delete(bucket, &info.key, soon()).await?;
            }
            Ok(held)
        });
        let looks: Vec<_> = stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
        bar.finish_and_clear();
        sum(looks)
    }

    /// Dead letters: each is looked at, those of the subject are deleted, the others given back.
    async fn letters(&self, queue: &SqsQueue, erases: bool) -> Result<Held, Failure> {
        let waiting = queue.depth(soon()).await?.visible;
        let bar = progress("dead letters", usize::try_from(waiting)?);
        // Longer than looking through all of them takes.
        let hidden_s = i32::try_from(60 + waiting / 50)?.min(12 * 3_600);
        let (mut sum, mut others) = (Held::default(), Vec::new());
        while bar.position() < waiting {
            let received = queue.receive(hidden_s, soon()).await?;
            if received.is_empty() {
                break;
            }
            for message in received {
                bar.inc(1);
                let held = self.held(message.body.as_bytes());
                sum = sum.and(held);
                if erases && held.own > 0 {
                    queue.delete(&message.receipt, soon()).await?;
                } else {
                    others.push(message.receipt);
                }
            }
        }
        bar.finish_and_clear();
        let back = others.iter().map(|receipt| queue.release(receipt, soon()));
        let back: Vec<_> = stream::iter(back).buffer_unordered(AT_ONCE).collect().await;
        back.into_iter().collect::<Result<(), _>>()?;
        Ok(sum)
    }

    /// What some bytes hold: posts of the subject, of others, of both.
    fn held(&self, bytes: &[u8]) -> Held {
        let (mut own, mut others) = (0_u64, 0_u64);
        self.count(bytes, DEPTH, &mut own, &mut others);
        Held { own: u64::from(own > 0 && others == 0), shared: u64::from(own > 0 && others > 0), unread: 0 }
    }

    fn count(&self, bytes: &[u8], depth: usize, own: &mut u64, others: &mut u64) {
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let mut plain = Vec::new();
            let most = u64::try_from(MAX_POST_BYTES).unwrap_or(u64::MAX);
            // What can be read before it breaks counts.
            let _ = GzDecoder::new(bytes).take(most).read_to_end(&mut plain);
            return self.count_json(&plain, depth, own, others);
        }
        self.count_json(bytes, depth, own, others);
    }

    fn count_json(&self, bytes: &[u8], depth: usize, own: &mut u64, others: &mut u64) {
        match domain::json::read(bytes) {
            Ok(documents) => documents.values.iter().for_each(|value| self.count_posts(value, depth, own, others)),
            Err(broken) => self.count_posts(&Value::Object(broken.fields), depth, own, others),
        }
    }

    fn count_posts(&self, value: &Value, depth: usize, own: &mut u64, others: &mut u64) {
        let Some(depth) = depth.checked_sub(1) else { return };
        match value {
            Value::Object(fields) => {
                if let Some(post) = fields.get("post_id") {
                    let named = match self.subject {
                        Subject::Author(author) => fields.get("author_id").is_some_and(|id| is(id, author.as_str())),
                        Subject::Post(subject) => is(post, subject.as_str()),
                    };
                    *(if named { own } else { others }) += 1;
                    return;
                }
                for (name, inner) in fields {
                    match inner.as_str().filter(|_| name == "data_base64") {
                        Some(data) => {
                            let decoded = base64::engine::general_purpose::STANDARD.decode(data).unwrap_or_default();
                            self.count(&decoded, depth, own, others);
                        }
                        None => self.count_posts(inner, depth, own, others),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| self.count_posts(value, depth, own, others)),
            // An envelope holds what it carries as text.
            Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
                self.count(text.as_bytes(), depth, own, others);
            }
            _ => {}
        }
    }

    /// What was erased, or would be, and where.
    fn parts(&self, sums: &Sums) -> Result<Vec<Part>, Failure> {
        let (stack, bucket) = (self.stack, self.stack.bucket()?);
        let part = |what, r#where, count| Part { what, r#where, count };
        let table = |output| Ok::<_, Failure>(format!("table {}", stack.output(output)?));
        let mut parts = vec![
            part("decisions", table("DECISIONS_TABLE")?, sums.stored.decisions),
            part("feature rows", table("FEATURES_TABLE")?, sums.stored.features),
            part("originals in quarantine", format!("s3://{bucket}/quarantine/"), sums.stored.quarantined.len() as u64),
            part("posts that came as objects", self.own(INTAKE)?, sums.objects.own),
        ];
        for (held, output) in sums.letters.iter().zip(SEARCHED) {
            parts.push(part("dead letters", format!("queue {}", name(stack.output(output)?)), held.own));
        }
        Ok(parts)
    }

    /// What is left, where, and until when.
    async fn left(&self, sums: &Sums, finished_at: Timestamp) -> Result<Vec<Rest>, Failure> {
        let (stack, bucket) = (self.stack, self.stack.bucket()?);
        let rest = |what, r#where: String, until, why| Rest { what, r#where, until, why };
        let mut left = Vec::new();
        for output in ["DECISIONS_TABLE", "FEATURES_TABLE"] {
            let table = format!("table {}", stack.output(output)?);
            let until = Some(self.at.plus_days(TOMBSTONE_DAYS));
            left.push(rest("tombstones", table.clone(), until, "ids, and when they were erased, so that a message under way decides nothing; DynamoDB deletes them within some days after"));
            let until = Some(finished_at.plus_days(RECOVERY_DAYS));
            left.push(rest("backup", table, until, "point-in-time recovery can bring the table of before back"));
        }
        for (what, output, why) in QUEUES {
            let queue = stack.queue(output)?;
            let kept_s = i64::try_from(queue.depth(soon()).await?.kept_s)?;
            let until = Some(Timestamp::from_millis(finished_at.millis() + kept_s * 1_000));
            left.push(rest(what, format!("queue {}", name(stack.output(output)?)), until, why));
        }
        let days = |output| Ok::<_, Failure>(finished_at.plus_days(stack.output(output)?.parse()?));
        left.push(rest(
            "quarantine that nobody could read",
            format!("s3://{bucket}/quarantine/"),
            Some(days("QUARANTINE_DAYS")?),
            "where no id could be read, nobody can say whose it is",
        ));
        left.push(rest(
            "texts that posts referred to",
            self.own("content/")?,
            Some(days("CONTENT_DAYS")?),
            "only the platform knows which object belonged to which post",
        ));
        if sums.objects.shared + sums.objects.unread > 0 {
            let why = "objects that hold posts of others too, or are too large to be read";
            left.push(rest("posts that came as objects", self.own(INTAKE)?, Some(days("CONTENT_DAYS")?), why));
        }
        let own = self.buckets()?;
        for other in
            stack.output("CONTENT_BUCKETS")?.split(',').filter(|other| !other.is_empty() && !own.contains(other))
        {
            left.push(rest("content", format!("s3://{other}"), None, "not Moderato's bucket: its owner erases there"));
        }
        if sums.stored.unreadable > 0 {
            let table = format!("table {}", stack.output("DECISIONS_TABLE")?);
            left.push(rest(
                "decisions",
                table,
                None,
                "items that name the author and are no decisions that this version can read",
            ));
        }
        Ok(left)
    }
}

impl Held {
    fn and(self, more: Self) -> Self {
        Self { own: self.own + more.own, shared: self.shared + more.shared, unread: self.unread + more.unread }
    }
}

fn sum(parts: Vec<Result<Held, Failure>>) -> Result<Held, Failure> {
    parts.into_iter().try_fold(Held::default(), |sum, part| Ok(sum.and(part?)))
}

/// Whether an id, which may be written as a number, is this one.
fn is(written: &Value, id: &str) -> bool {
    match written {
        Value::String(text) => text == id,
        Value::Number(number) => number.to_string() == id,
        _ => false,
    }
}

/// The name of a queue.
fn name(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}
