//! `moderato score`: decisions without a stack, by the crates, model and policy of the Lambda.

use crate::lines::{Line, Lines};
use crate::terminal::{lines, tell};
use crate::{Failure, local};
use clap::Args;
use domain::{DecisionRecord, MAX_POST_BYTES, Post, PostError, PostErrorKind, Timestamp, VerdictBefore};
use features::views::Lookup;
use scoring::{Explain, Judge, Subject, Text, texts};
use serde_json::json;
use std::io::{self, BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// Posts as JSON Lines on standard input, decisions as JSON Lines on standard output, in the same order.
#[derive(Debug, Args)]
pub struct ScoreArgs {
    /// Explains every decision, approvals included.
    #[arg(long)]
    explain: bool,
    /// Decides by this policy instead of the compiled-in one.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Searches posts with this bank, so that rules can read `signal.NAME`; may be given several times.
    #[arg(long, value_name = "FILE")]
    bank: Vec<PathBuf>,
}

/// Runs the command: exit code 0, or 1 where a line was no post.
pub fn run(args: &ScoreArgs) -> Result<ExitCode, Failure> {
    let mut judge = local::judge(args.policy.as_deref())?;
    judge.banks = local::banks(&args.bank)?;
    let explain = if args.explain { Explain::Always } else { Explain::AboveApprove };
    // A panic is the answer of its own line; what it says may quote the post.
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        tell!("error: a panic at {place} was caught");
    }));
    let mut output = BufWriter::new(io::stdout().lock());
    let mut bad = false;
    for (index, line) in Lines::new(io::stdin().lock(), MAX_POST_BYTES).enumerate() {
        let answer = match decide(&judge, &line?, explain) {
            Ok(record) => record,
            Err((kind, message)) => {
                bad = true;
                json!({ "error": { "kind": kind, "line": index + 1, "message": message } }).to_string()
            }
        };
        match writeln!(output, "{}", lines(&answer)) {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            written => written?,
        }
    }
    match output.flush() {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        flushed => {
            flushed?;
            Ok(ExitCode::from(u8::from(bad)))
        }
    }
}

fn decide(judge: &Judge, line: &Line, explain: Explain) -> Result<String, (&'static str, String)> {
    let refused = |error: PostError| (error.kind.as_str(), error.message);
    let bytes = match line {
        Line::Whole(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => {
            return Err((PostErrorKind::InvalidJson.as_str(), "the line is blank".to_owned()));
        }
        Line::Whole(bytes) => bytes,
        Line::TooLong(length) => {
            let message = format!("{length} bytes are more than the {MAX_POST_BYTES} that are read");
            return Err((PostErrorKind::TooLarge.as_str(), message));
        }
    };
    let judged = catch_unwind(AssertUnwindSafe(|| {
        let post = Post::parse(bytes).map_err(refused)?;
        serde_json::to_string(&record(judge, &post, explain))
            .map_err(|_| ("panic", "the record is not JSON".to_owned()))
    }));
    judged.unwrap_or_else(|_| Err(("panic", "deciding the post panicked; please report the place".to_owned())))
}

fn record(judge: &Judge, post: &Post, explain: Explain) -> DecisionRecord {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
    // There is no store here: what is kept elsewhere is unavailable, and the author is unknown.
    let texts = texts(post, post.text_ref.as_ref().map(|_| Text::Unavailable));
    let subject = Subject {
        post,
        texts: &texts,
        conflict: None,
        verdict_before: VerdictBefore::No,
        received_at: now,
        decided_at: now,
        explain,
    };
    judge.judge(&subject, |_| &Lookup::Missing)
}
