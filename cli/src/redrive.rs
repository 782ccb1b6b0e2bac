//! `moderato redrive`: back into the posts queue, after whatever was wrong has been mended.

use crate::Failure;
use crate::progress::progress;
use crate::stack::{Stack, soon};
use clap::{Args, ValueEnum};
use std::process::ExitCode;
use store::{Message, ObjectStore, Queue, SqsQueue};

/// Puts messages back into the posts queue. Shows what it would do, unless told to do it.
#[derive(Debug, Args)]
pub struct RedriveArgs {
    /// Where the messages lie.
    #[arg(value_enum, default_value_t = From::Dlq)]
    from: From,
    /// Does it.
    #[arg(long)]
    run: bool,
    /// Only what is in quarantine for this reason.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    /// The dead-letter queue: messages that were tried five times.
    Dlq,
    /// Quarantine: messages that could not be read.
    Quarantine,
}

/// A message that is being moved is hidden from others this long.
const HIDDEN_S: i32 = 60;

/// Runs the command.
pub async fn run(args: &RedriveArgs, stack: &Stack) -> Result<ExitCode, Failure> {
    match args.from {
        From::Dlq => dlq(args.run, stack).await,
        From::Quarantine => quarantine(args, stack).await,
    }
}

async fn dlq(run: bool, stack: &Stack) -> Result<ExitCode, Failure> {
    let (dlq, posts) = (stack.queue("POSTS_DLQ_URL")?, stack.queue("POSTS_QUEUE_URL")?);
    let waiting = dlq.depth(soon()).await?.visible;
    if !run {
        println!("{waiting} messages lie in the dead-letter queue; nothing was moved (`--run` moves them)");
        return Ok(ExitCode::SUCCESS);
    }
    let bar = progress("messages", usize::try_from(waiting).unwrap_or(usize::MAX));
    let (mut moved, mut stuck) = (0_u64, 0_u64);
    // No more than lay there at first: what fails again comes back here, and must not go round in circles.
    while moved + stuck < waiting {
        let received = dlq.receive(HIDDEN_S, soon()).await?;
        if received.is_empty() {
            break;
        }
        for message in received {
            // INVARIANT: deleted here only once it is there.
            if send(&posts, message.body).await {
                dlq.delete(&message.receipt, soon()).await?;
                moved += 1;
            } else {
                stuck += 1;
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    println!("{moved} messages moved back, {stuck} could not be sent and stay");
    Ok(ExitCode::from(u8::from(stuck > 0)))
}

async fn quarantine(args: &RedriveArgs, stack: &Stack) -> Result<ExitCode, Failure> {
    let (objects, bucket, posts) = (stack.objects(), stack.bucket()?, stack.queue("POSTS_QUEUE_URL")?);
    let (mut fitting, mut sent) = (0_u64, 0_u64);
    for info in objects.list(bucket, "quarantine/", soon()).await? {
        let Some(object) = objects.get(bucket, &info.key, 16 * 1024 * 1024, soon()).await? else { continue };
        let kind = object.metadata.get("kind").map(String::as_str).unwrap_or_default();
        if args.kind.as_deref().is_some_and(|wanted| wanted != kind) {
            continue;
        }
        // A queue holds text alone.
        let Ok(body) = String::from_utf8(object.bytes) else {
            println!("{}  {kind}  not text: cannot go through a queue", info.key);
            continue;
        };
        fitting += 1;
        if args.run {
            sent += u64::from(send(&posts, body).await);
        } else {
            println!("{}  {kind}", info.key);
        }
    }
    if args.run {
        println!("{sent} of {fitting} sent again; originals stay in quarantine for their lifetime");
    } else {
        println!("{fitting} would be sent again; nothing was sent (`--run` sends them)");
    }
    Ok(ExitCode::from(u8::from(args.run && sent < fitting)))
}

async fn send(posts: &SqsQueue, body: String) -> bool {
    matches!(posts.send(&[Message { body }], soon()).await.as_slice(), [Ok(())])
}
