//! `moderato show`: what the stack holds about a post.

use crate::Failure;
use crate::stack::{Stack, soon};
use crate::terminal::{json_lines, line, lines, say, tell};
use clap::Args;
use domain::PostId;
use std::process::ExitCode;
use store::{DecisionStore, History, ObjectStore};

/// Shows the decisions of a post, or an original in quarantine.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// A post's id, or the digest of an original in quarantine.
    id: String,
}

/// Runs the command: exit code 1 where there is nothing.
pub async fn run(args: &ShowArgs, stack: &Stack) -> Result<ExitCode, Failure> {
    let id = PostId::try_from(args.id.clone()).map_err(|error| format!("an id {error}"))?;
    let History { records, tombstones } = stack.decisions()?.of_post(&id, soon()).await?;
    for record in &records {
        say!("{}", serde_json::to_string_pretty(record)?);
    }
    for (revision, tombstone) in &tombstones {
        println!("revision {revision} was erased: nothing is known of what was sent before {}", tombstone.erased_at);
    }
    if !records.is_empty() || !tombstones.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if args.id.len() == 64 && args.id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let key = format!("quarantine/{}", args.id);
        if let Some(object) = stack.objects().get(stack.bucket()?, &key, 16 * 1024 * 1024, soon()).await? {
            for (name, value) in &object.metadata {
                say!("{}: {}", line(name), line(value));
            }
            let original = String::from_utf8_lossy(&object.bytes);
            say!("\n{}", json_lines(&original).unwrap_or_else(|| lines(&original)));
            return Ok(ExitCode::SUCCESS);
        }
    }
    tell!("nothing about `{}`: not decided yet, never sent, or in quarantine (moderato tail quarantine)", args.id);
    Ok(ExitCode::FAILURE)
}
