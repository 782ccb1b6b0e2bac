//! `moderato`, the operator's command: the service's own judgement on the command line, and a look at what a stack
//! holds. The crates, the model and the policy are those of the Lambda.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod bank;
mod blocklist;
mod calibrate;
mod card;
mod corpora;
mod dataset;
mod difference;
mod erase;
mod evaluate;
mod features_load;
mod lines;
mod local;
mod policy;
mod progress;
mod readings;
mod redrive;
mod registry_publish;
mod report;
mod reviews;
mod score;
mod send;
mod show;
mod solve;
mod stack;
mod tail;
mod terminal;
mod train;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use terminal::tell;

/// Judgement on the command line, and a look at what a stack holds.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// A file with the outputs of a stack; otherwise the environment, otherwise `.local/stack.env`.
    #[arg(long, global = true, value_name = "FILE")]
    stack_env: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Decides posts: JSON Lines in, decisions as JSON Lines out, in this process.
    Score(score::ScoreArgs),
    /// Measures the model on a file of labelled texts.
    Evaluate(evaluate::EvaluateArgs),
    /// Calibrates a model on a deployment's reviewed posts.
    Calibrate(calibrate::CalibrateArgs),
    /// Trains the n-gram baseline.
    Train(train::TrainArgs),
    /// Prints the public corpora with the readings of their texts, for training outside of this program.
    Corpora(readings::CorporaArgs),
    /// Adds the readings to texts: JSON Lines with `text` in, the same with `plain` and `folded` out.
    Readings,
    /// Works on policy files.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Works on the feature store.
    #[command(subcommand)]
    Features(features_load::FeaturesCommand),
    /// Works on the registry of models and policies.
    #[command(subcommand)]
    Registry(registry_publish::RegistryCommand),
    /// Works on banks of words, phrases, patterns and images.
    #[command(subcommand)]
    Bank(bank::BankCommand),
    /// Works on the list of images that are known.
    #[command(subcommand)]
    Blocklist(blocklist::BlocklistCommand),
    /// Sends posts to the stack's queue and waits for their decisions.
    Send(send::SendArgs),
    /// Shows what the stack holds about a post.
    Show(show::ShowArgs),
    /// Shows the messages of a queue, or what is in quarantine.
    Tail(tail::TailArgs),
    /// Erases an author or a post, and says what is left until when.
    Erase(erase::EraseArgs),
    /// Puts messages of the dead-letter queues, or of quarantine, back into the queue they came from.
    Redrive(redrive::RedriveArgs),
}

/// Whatever ends a command, told on standard error with its causes.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(failure) => {
            let mut told = format!("error: {failure}");
            let mut cause = failure.source();
            while let Some(error) = cause {
                told = format!("{told}: {error}");
                cause = error.source();
            }
            tell!("{told}");
            ExitCode::from(2)
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let stack = cli.stack_env.as_deref();
    match cli.command {
        Command::Score(args) => score::run(&args),
        Command::Evaluate(args) => {
            let onnx = local::onnx()?;
            let model = local::model(args.model.as_deref(), &onnx)?;
            let policy = local::policy(args.policy.as_deref())?.0;
            let bands = policy.bands.get(model.harm()).map(Vec::as_slice).unwrap_or_default();
            Ok(evaluate::run(&args, &model, bands, |folder| local::model(Some(folder), &onnx))?)
        }
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Train(args) => {
            let policy = local::policy(None)?.0;
            let bands = policy.bands.get(train::HARM).map(Vec::as_slice).unwrap_or_default();
            Ok(train::run(&args, bands, &local::onnx()?)?)
        }
        Command::Corpora(args) => Ok(readings::corpora(&args)?),
        Command::Readings => Ok(readings::readings()?),
        Command::Policy(command) => policy::run(&command),
        Command::Features(command) => on_stack(stack, async |stack| features_load::run(&command, &stack).await),
        Command::Registry(command) => on_stack(stack, async |stack| registry_publish::run(&command, &stack).await),
        Command::Bank(command) => match bank::alone(&command) {
            Some(done) => done,
            None => on_stack(stack, async |stack| bank::run(&command, &stack).await),
        },
        Command::Blocklist(blocklist::BlocklistCommand::Hash { images }) => blocklist::hash(&images),
        Command::Blocklist(command) => on_stack(stack, async |stack| blocklist::run(&command, &stack).await),
        Command::Send(args) => on_stack(stack, async |stack| send::run(&args, &stack).await),
        Command::Show(args) => on_stack(stack, async |stack| show::run(&args, &stack).await),
        Command::Tail(args) => on_stack(stack, async |stack| tail::run(&args, &stack).await),
        Command::Erase(args) => on_stack(stack, async |stack| erase::run(&args, &stack).await),
        Command::Redrive(args) => on_stack(stack, async |stack| redrive::run(&args, &stack).await),
    }
}

fn on_stack(
    file: Option<&std::path::Path>,
    work: impl AsyncFnOnce(stack::Stack) -> Result<ExitCode, Failure>,
) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { work(stack::Stack::connect(file).await?).await })
}
