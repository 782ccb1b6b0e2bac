//! `moderato registry`: which model and policy are live.

use crate::stack::{Stack, soon};
use crate::{Failure, local};
use clap::Subcommand;
use scoring::{Bundle, TextModel};
use std::path::PathBuf;
use std::process::ExitCode;
use store::ObjectStore;

/// Works on the registry of models and policies.
#[derive(Debug, Subcommand)]
pub enum RegistryCommand {
    /// Checks a model and a policy, puts them into the stack's bucket, and makes them live: functions take them up
    /// within about a minute.
    Publish {
        /// The model's folder; otherwise the bundled model.
        #[arg(long, value_name = "FOLDER")]
        model: Option<PathBuf>,
        /// The policy; otherwise the compiled-in one.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// Leaves alone what is live already: for the end of a deployment.
        #[arg(long)]
        unless_live: bool,
    },
    /// Shows what is live.
    Show,
}

/// More than any pointer has.
const MAX_POINTER_BYTES: usize = 64 * 1024;

/// Runs the command.
pub async fn run(command: &RegistryCommand, stack: &Stack) -> Result<ExitCode, Failure> {
    let objects = stack.objects();
    let bucket = stack.bucket()?;
    match command {
        RegistryCommand::Publish { model, policy, unless_live } => {
            if *unless_live && objects.get(bucket, registry::POINTER_KEY, MAX_POINTER_BYTES, soon()).await?.is_some() {
                println!("something is live already; left alone (moderato registry show)");
                return Ok(ExitCode::SUCCESS);
            }
            let (policy, source) = local::policy(policy.as_deref())?;
            let bundle = model.as_deref().map_or_else(|| Ok(local::bundle()), Bundle::read)?;
            let model = TextModel::load(&local::onnx()?, &bundle, None)?;
            let live = registry::publish((&objects, bucket), (&model, &bundle), (&policy, &source), soon()).await?;
            println!("live: model {}@{} ({})", live.model.name, live.model.version, live.model.sha256);
            println!("live: policy {}@{} ({})", live.policy.id, live.policy.version, live.policy.sha256);
        }
        RegistryCommand::Show => match objects.get(bucket, registry::POINTER_KEY, MAX_POINTER_BYTES, soon()).await? {
            Some(pointer) => println!("{}", String::from_utf8_lossy(&pointer.bytes)),
            None => {
                println!("nothing is published: functions decide with what is bundled, and say so");
                return Ok(ExitCode::FAILURE);
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}
