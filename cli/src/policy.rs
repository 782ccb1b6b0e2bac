//! `moderato policy`: work on policy files.

use crate::solve::{self, SolveArgs};
use crate::terminal::say;
use crate::{Failure, local};
use clap::Subcommand;
use domain::policy::{Given, uncovered};
use domain::{DecisionRecord, Evidence, Outcome, Policy, consider, decide};
use features::views::Definitions;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Works on policy files.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Checks a policy: its shape, its conditions, its tests, and whether every band and rule decides one of them.
    Lint {
        /// The policy; otherwise the compiled-in one.
        file: Option<PathBuf>,
        /// The banks that its rules read, so that one which is missing or over is named. Example: `moderato policy lint my.yaml --bank my.bank`.
        #[arg(long, value_name = "FILE")]
        bank: Vec<PathBuf>,
    },
    /// Runs the tests inside a policy and shows each.
    Test {
        /// The policy; otherwise the compiled-in one.
        file: Option<PathBuf>,
    },
    /// Shows what each band, rule and requirement of a policy makes of one piece of evidence.
    Explain {
        /// A decision record (as `score` and `show` print it), or evidence as in a policy's tests, as JSON; `-` for
        /// standard input.
        evidence: PathBuf,
        /// The policy; otherwise the compiled-in one.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
    /// Solves the bounds of the bands for a precision of hiding and a share of hate approved, on reviewed posts.
    Solve(Box<SolveArgs>),
}

/// Runs the command: exit code 1 where the policy is found wanting.
pub fn run(command: &PolicyCommand) -> Result<ExitCode, Failure> {
    match command {
        PolicyCommand::Lint { file, bank } => lint(file.as_deref(), bank),
        PolicyCommand::Test { file } => test(file.as_deref()),
        PolicyCommand::Explain { evidence, policy } => explain(evidence, policy.as_deref()),
        PolicyCommand::Solve(args) => solve::run(args),
    }
}

fn lint(file: Option<&Path>, banks: &[PathBuf]) -> Result<ExitCode, Failure> {
    let source = local::policy_source(file)?;
    let policy = match Policy::load(&source, &Definitions::bundled()?.schema()) {
        Ok(policy) => policy,
        Err(error) => {
            say!("{error}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let uncovered = uncovered(&policy);
    for id in &uncovered {
        say!("`{id}` decides none of the policy's own tests: add a case that shows what it is for");
    }
    let banked = lint_banks(&policy, banks)?;
    if uncovered.is_empty() && banked {
        say!(
            "policy `{}` version {} is fine: {} rules, {} tests, sha256 {}",
            policy.id,
            policy.version,
            policy.rules.len(),
            policy.tests.len(),
            policy.sha256
        );
    }
    Ok(ExitCode::from(u8::from(!uncovered.is_empty() || !banked)))
}

/// Whether the banks that the policy reads are there and not over; without files there is nothing to compare with.
fn lint_banks(policy: &Policy, files: &[PathBuf]) -> Result<bool, Failure> {
    let banks = local::banks(files)?;
    let mut fine = true;
    for name in policy.signals() {
        match banks.iter().find(|(known, _)| *known == name) {
            None if files.is_empty() => say!("reads the bank `{name}`, which has to be live (moderato bank list)"),
            None => {
                fine = false;
                say!("reads the bank `{name}`, which none of the files is");
            }
            Some((_, Some(bank))) if bank.is_over(crate::registry_publish::now()) => {
                fine = false;
                say!("reads the bank `{name}`, which is over and finds nothing: see its `until`");
            }
            Some(_) => {}
        }
    }
    Ok(fine)
}

fn test(file: Option<&Path>) -> Result<ExitCode, Failure> {
    let source = local::policy_source(file)?;
    let policy = match Policy::load_untested(&source, &Definitions::bundled()?.schema()) {
        Ok(policy) => policy,
        Err(error) => {
            say!("{error}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let failures = policy.failures();
    for test in &policy.tests {
        match failures.iter().find(|failure| failure.name == test.name) {
            None => say!("ok      {:<8} {}", test.expect.decision, test.name),
            Some(failure) => say!("FAILED  {failure}"),
        }
    }
    say!("{} tests, {} failed", policy.tests.len(), failures.len());
    Ok(ExitCode::from(u8::from(!failures.is_empty())))
}

fn explain(file: &Path, policy: Option<&Path>) -> Result<ExitCode, Failure> {
    let (policy, _) = local::policy(policy)?;
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        text = std::fs::read_to_string(file)
            .map_err(|error| format!("reading the evidence `{}`: {error}", file.display()))?;
    }
    let evidence = evidence(&text, &policy)?;
    for considered in consider(&policy, &evidence) {
        let outcome = match considered.outcome {
            Outcome::Fires => "fires",
            Outcome::Silent => "-",
            Outcome::Ignored => "cannot tell, ignored",
        };
        let asks = considered
            .lane
            .map_or_else(|| considered.decision.to_string(), |lane| format!("{} in {lane}", considered.decision));
        say!("{outcome:<21} {:<36} {asks}", considered.id);
    }
    let judged = decide(&policy, &evidence);
    let reasons: Vec<_> = judged.reasons.iter().map(|reason| reason.rule.as_str()).collect();
    say!(
        "\n{} by {} because of {}; score {}, lane {}, degraded [{}]",
        judged.decision,
        judged.decided_by.as_str(),
        reasons.join(", "),
        judged.score.map_or_else(|| "none".to_owned(), |score| score.to_string()),
        judged.lane.as_deref().unwrap_or("none"),
        judged.degraded.join(", ")
    );
    Ok(ExitCode::SUCCESS)
}

fn evidence(text: &str, policy: &Policy) -> Result<Evidence, Failure> {
    let value: serde_json::Value =
        serde_json::from_str(text.trim()).map_err(|error| format!("the evidence is not one JSON object: {error}"))?;
    if value.get("decision_id").is_some() {
        let record: DecisionRecord =
            serde_json::from_value(value).map_err(|error| format!("not a decision record: {error}"))?;
        return Ok(record.evidence());
    }
    let given: Given = serde_json::from_value(value)
        .map_err(|error| format!("neither a decision record nor evidence as in a policy's tests: {error}"))?;
    Ok(given.evidence(policy))
}
