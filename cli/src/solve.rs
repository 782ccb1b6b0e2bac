//! `moderato policy solve`: the bounds of a policy's bands from what reviewed posts say, frozen in the policy.

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use domain::policy::{Band, Decision};
use domain::{ModelRef, Policy, sha256_hex};
use features::views::Definitions;
use scoring::reviewed::{Estimate, Reviewed, share};
use thiserror::Error;

use crate::reviews::{self, FOLDS, Reviews, ReviewsArgs};
use crate::terminal::say;
use crate::{Failure, local};

/// Solves the lowest bound of hiding and the highest bound of approval of the leading harm, and writes the policy with them.
#[derive(Debug, Args)]
pub struct SolveArgs {
    #[command(flatten)]
    reviews: ReviewsArgs,
    /// The model's folder; otherwise the bundled model.
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,
    /// The policy; otherwise the compiled-in one.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    targets: Targets,
    /// The new policy's version; otherwise the old one with `.solved-` and a digest behind it.
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// What the bounds have to reach.
#[derive(Debug, Clone, Copy, Args)]
struct Targets {
    /// Of the posts hidden, at least this share is harmful.
    #[arg(long, value_name = "SHARE", default_value = "0.88", value_parser = between)]
    precision_of_hiding: f64,
    /// Of the harmful posts, at most this share is approved.
    #[arg(long, value_name = "SHARE", default_value = "0.08", value_parser = between)]
    hate_approved: f64,
    /// The unfavourable ends of the 95 % intervals have to reach the targets, rather than the estimates.
    #[arg(long)]
    confident: bool,
}

fn between(given: &str) -> Result<f64, String> {
    given.parse().ok().filter(|s| *s > 0.0 && *s < 1.0).ok_or_else(|| "give a share between 0 and 1".to_owned())
}

/// Why no policy was written.
#[derive(Debug, Error, PartialEq)]
#[non_exhaustive]
enum SolveError {
    /// No bound hides precisely enough.
    #[error("at no bound is the precision of hiding {target} or more; {}: ask for less, or calibrate and train", best(.most))]
    Hiding {
        /// What was asked for.
        target: f64,
        /// The best precision there is, and its bound.
        most: Option<(f64, Estimate)>,
    },
    /// Even the lowest bound approves too much.
    #[error(
        "even approving below 0.001 only approves more than {target} of the harmful posts: ask for less, or calibrate and train"
    )]
    Approving {
        /// What was asked for.
        target: f64,
    },
    /// The bands are not those whose bounds are solved.
    #[error("the bands of `{harm}` must be `approve`, then `review`, then `hide` for their bounds to be solved")]
    Bands {
        /// The leading harm.
        harm: String,
    },
    /// The model gives another harm.
    #[error("the model gives `{model}`, the policy's leading harm is `{policy}`")]
    Harm {
        /// The model's.
        model: String,
        /// The policy's.
        policy: String,
    },
    /// The lines of the policy are not written as they are edited here.
    #[error(
        "the bounds are solved, hide from {hide} and approve below {review}, but the lines with `from:` were not found: write each band of `harms` as a line of its own, or put them in by hand"
    )]
    Lines {
        /// Bound of hiding.
        hide: f64,
        /// Bound of review.
        review: f64,
    },
}

fn best(most: &Option<(f64, Estimate)>) -> String {
    most.map_or("there are no rows".to_owned(), |(from, e)| format!("the most is {} from {from}", shown(&e)))
}

/// Solved bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bounds {
    /// Review begins here.
    review: f64,
    /// Hiding begins here.
    hide: f64,
}

/// What bounds lead to.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Measured {
    /// Of the posts hidden, the share that is harmful.
    precision: Option<Estimate>,
    /// Of the harmful posts, the share that is approved.
    approved: Option<Estimate>,
    /// Of all posts, the share that goes to review.
    review: Option<Estimate>,
}

/// Bounds are solved in thousandths: they are read by people, and so no rounding can miss a target.
const STEPS: u32 = 1000;

fn step(n: u32) -> f64 {
    f64::from(n) / f64::from(STEPS)
}

fn precision(rows: &[Reviewed], from: f64) -> Option<Estimate> {
    share(rows.iter().filter(|row| row.score >= from), |row| row.positive)
}

fn approved(rows: &[Reviewed], below: f64) -> Option<Estimate> {
    share(rows.iter().filter(|row| row.positive), |row| row.score < below)
}

/// The lowest bound of hiding and the highest of approval that reach the targets.
fn solve(rows: &[Reviewed], targets: &Targets) -> Result<Bounds, SolveError> {
    let sure = |e: &Estimate| if targets.confident { e.low } else { e.value };
    let unsure = |e: &Estimate| if targets.confident { e.high } else { e.value };
    let at = |n| precision(rows, step(n)).map(|precision| (n, precision));
    let target = targets.precision_of_hiding;
    // From 2, for something has to be left for review.
    let hide = (2..=STEPS).filter_map(at).find(|(_, precision)| sure(precision) >= target);
    let Some((hide, _)) = hide else {
        let most = (2..=STEPS).filter_map(at).max_by(|a, b| sure(&a.1).total_cmp(&sure(&b.1)));
        return Err(SolveError::Hiding { target, most: most.map(|(n, precision)| (step(n), precision)) });
    };
    let fine = |n: &u32| approved(rows, step(*n)).is_some_and(|share| unsure(&share) <= targets.hate_approved);
    let review = (1..hide).rev().find(fine).ok_or(SolveError::Approving { target: targets.hate_approved })?;
    Ok(Bounds { review: step(review), hide: step(hide) })
}

fn measured(rows: &[Reviewed], bounds: &Bounds) -> Measured {
    Measured {
        precision: precision(rows, bounds.hide),
        approved: approved(rows, bounds.review),
        review: share(rows, |row| (bounds.review..bounds.hide).contains(&row.score)),
    }
}

/// As [`measured`], each part by the bounds that the others give: what to expect of posts that the bounds were not solved on.
fn held_out(reviews: &Reviews, targets: &Targets) -> Option<Measured> {
    let mut rows = Vec::new();
    for fold in 0..FOLDS {
        let part = |own: bool| {
            let rows = reviews.rows.iter().zip(&reviews.folds);
            rows.filter(move |(_, other)| (**other == fold) == own).map(|(row, _)| *row)
        };
        let bounds = solve(&part(false).collect::<Vec<_>>(), targets).ok()?;
        // The decision in place of the score.
        let place = |score: f64| match score {
            score if score >= bounds.hide => 1.0,
            score if score >= bounds.review => 0.5,
            _ => 0.0,
        };
        rows.extend(part(true).map(|row| Reviewed { score: place(row.score), ..row }));
    }
    Some(measured(&rows, &Bounds { review: 0.5, hide: 1.0 }))
}

/// Runs the command: exit code 1 where the policy was written and its own tests contradict the new bounds.
pub fn run(args: &SolveArgs) -> Result<ExitCode, Failure> {
    let source = local::policy_source(args.policy.as_deref())?;
    let schema = Definitions::bundled()?.schema();
    let old = Policy::load_untested(&source, &schema)?;
    let bands = old.bands.get(&old.leading_harm).map(Vec::as_slice).unwrap_or_default();
    let places = places(bands).ok_or_else(|| SolveError::Bands { harm: old.leading_harm.clone() })?;
    let model = local::model(args.model.as_deref(), &local::onnx()?)?;
    if model.harm() != old.leading_harm {
        return Err(SolveError::Harm { model: model.harm().to_owned(), policy: old.leading_harm.clone() }.into());
    }
    let reviews = reviews::read(&args.reviews, &model)?;
    let bounds = solve(&reviews.rows, &args.targets)?;
    let found = measured(&reviews.rows, &bounds);
    let told = told(&reviews, model.identity(), &args.targets, &bounds, &found);
    let decides = format!("{bounds:?} {} {}", reviews.sha256, model.identity().sha256);
    let short: String = sha256_hex(decides.as_bytes()).chars().take(8).collect();
    let first = old.version.split(".solved-").next().unwrap_or_default();
    let version = args.version.clone().unwrap_or_else(|| format!("{first}.solved-{short}"));
    let written = edited(&source, &old.leading_harm, &places, &bounds, &version, &told)
        .and_then(|text| Some((Policy::load_untested(&text, &schema).ok()?, text)))
        .filter(|(new, _)| new.version == version && frozen(&old, new, &places, &bounds));
    let (new, text) = written.ok_or(SolveError::Lines { hide: bounds.hide, review: bounds.review })?;
    std::fs::write(&args.out, text).map_err(|error| format!("writing the policy `{}`: {error}", args.out.display()))?;

    for line in &told {
        say!("{line}");
    }
    match held_out(&reviews, &args.targets) {
        Some(held) => say!(
            "each fifth by the bounds of the others: precision of hiding {}, hate approved {}, to review {}",
            cell(&held.precision),
            cell(&held.approved),
            cell(&held.review)
        ),
        None => say!("each fifth by the bounds of the others: without one of the fifths no bound reaches a target"),
    }
    let was = |place: usize| bands.get(place).map_or(0.0, |band| band.from);
    say!(
        "hide from {} (was {}), approve below {} (was {})",
        bounds.hide,
        was(places.hide),
        bounds.review,
        was(places.review)
    );
    for rule in &new.rules {
        if rule
            .at_least
            .get(&new.leading_harm)
            .is_some_and(|from| [was(places.review), was(places.hide)].contains(from))
        {
            say!("note: rule `{}` has an old bound in its `at_least`; it was left as it is", rule.id);
        }
    }
    say!("policy {} {} {} in {}", new.id, new.version, new.sha256, args.out.display());
    let failures = new.failures();
    for failure in &failures {
        say!("FAILED  {failure}");
    }
    if failures.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    say!(
        "{} of the policy's {} tests contradict the new bounds: it cannot be published until they are changed in the file (moderato policy test FILE)",
        failures.len(),
        new.tests.len()
    );
    Ok(ExitCode::FAILURE)
}

fn shown(e: &Estimate) -> String {
    format!("{:.3} [{:.3}, {:.3}]", e.value, e.low, e.high)
}

fn cell(e: &Option<Estimate>) -> String {
    e.as_ref().map_or("-".to_owned(), shown)
}

/// What the bounds were solved on and lead to: comments in the policy, lines on the terminal.
fn told(r: &Reviews, model: &ModelRef, targets: &Targets, bounds: &Bounds, found: &Measured) -> Vec<String> {
    let by = if targets.confident { "by the unfavourable end of its interval" } else { "by the estimate" };
    let positives = r.rows.iter().filter(|row| row.positive).count();
    vec![
        format!("solved: on {} posts, {positives} positive, sha256 {}", r.rows.len(), r.sha256),
        format!("solved: scored by {}@{}, sha256 {}", model.name, model.version, model.sha256),
        format!(
            "solved: hiding from {}: precision {}, target {} {by}",
            bounds.hide,
            cell(&found.precision),
            targets.precision_of_hiding
        ),
        format!(
            "solved: approving below {}: {} of the harmful, target {} {by}",
            bounds.review,
            cell(&found.approved),
            targets.hate_approved
        ),
        format!("solved: to review: {} of all; intervals of 95 % (Wilson)", cell(&found.review)),
    ]
}

/// Which bands have the bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Places {
    review: usize,
    hide: usize,
}

fn places(bands: &[Band]) -> Option<Places> {
    let first = |decision| bands.iter().position(|band| band.decision == decision);
    let places = Places { review: first(Decision::Review)?, hide: first(Decision::Hide)? };
    (first(Decision::Approve) == Some(0) && 0 < places.review && places.review < places.hide).then_some(places)
}

/// Whether the new policy is the old one but for the bounds.
fn frozen(old: &Policy, new: &Policy, places: &Places, bounds: &Bounds) -> bool {
    let mut wanted = old.bands.clone();
    for (place, from) in [(places.review, bounds.review), (places.hide, bounds.hide)] {
        if let Some(band) = wanted.get_mut(&old.leading_harm).and_then(|bands| bands.get_mut(place)) {
            band.from = from;
        }
    }
    new.bands == wanted && new.rules.len() == old.rules.len() && new.tests == old.tests
}

/// The policy with new bounds, version and comments, every other line as it was. `None` where the lines to change are not found.
fn edited(
    source: &str,
    harm: &str,
    places: &Places,
    bounds: &Bounds,
    version: &str,
    told: &[String],
) -> Option<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let says = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let mut lines: Vec<String> = source.lines().map(str::to_owned).collect();
    let own = lines.iter_mut().find(|line| line.starts_with("version:"))?;
    let comment = own.find(" #").and_then(|at| own.get(at..)).unwrap_or_default().to_owned();
    *own = format!("version: \"{version}\"{comment}");

    // The block that a key opens: up to the next line that says something and stands no further in.
    let block = |lines: &[String], within: Range<usize>, key: &str| {
        let opens = |line: &str| says(line) && line.trim_start().starts_with(&format!("{key}:"));
        let start = within.clone().find(|at| lines.get(*at).is_some_and(|line| opens(line)))?;
        let depth = indent(lines.get(start)?);
        // A list may stand as far out as its key.
        let ends = |line: &str| says(line) && indent(line) <= depth && !line.trim_start().starts_with("- ");
        let end = (start + 1..within.end).find(|at| lines.get(*at).is_some_and(|line| ends(line)));
        Some(start..end.unwrap_or(within.end))
    };
    let top = (0..lines.len()).find(|at| lines.get(*at).is_some_and(|line| line.starts_with("harms:")))?;
    let harms = block(&lines, top..lines.len(), "harms")?;
    let of_harm = block(&lines, harms.start + 1..harms.end, harm)?;
    let bands = block(&lines, of_harm.start + 1..of_harm.end, "bands")?;

    let mut place = 0;
    for line in lines.get_mut(bands.start + 1..bands.end)? {
        let code = line.find(" #").unwrap_or(line.len());
        let Some(key) = says(line).then(|| line.get(..code)?.find("from:")).flatten() else { continue };
        let from = [(places.review, bounds.review), (places.hide, bounds.hide)];
        if let Some((_, from)) = from.iter().find(|(wanted, _)| *wanted == place) {
            let rest = line.get(key + "from:".len()..)?;
            let value = rest.trim_start();
            let tail =
                value.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+'));
            *line = format!("{}from: {from}{tail}", line.get(..key)?);
        }
        place += 1;
    }
    let deep = lines.get(bands.start + 1..bands.end)?.iter().find(|line| says(line)).map(|line| indent(line))?;
    let told = told.iter().map(|line| format!("{}# {line}", " ".repeat(deep)));
    let (before, after) = lines.split_at(bands.start + 1);
    let kept = after.iter().enumerate().filter(|(at, line)| {
        // What an earlier solution said.
        bands.start + 1 + at >= bands.end || !line.trim_start().starts_with("# solved: ")
    });
    let all: Vec<String> = before.iter().cloned().chain(told).chain(kept.map(|(_, line)| line.clone())).collect();
    Some(all.join("\n") + if source.ends_with('\n') { "\n" } else { "" })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

    use domain::policy::FALLBACK;

    use super::*;

    const TARGETS: Targets = Targets { precision_of_hiding: 0.8, hate_approved: 0.25, confident: false };

    fn rows(of: &[(f64, bool)]) -> Vec<Reviewed> {
        of.iter().map(|(score, positive)| Reviewed { score: *score, positive: *positive, weight: 1.0 }).collect()
    }

    /// Ten posts, four of them harmful.
    fn ten() -> Vec<Reviewed> {
        rows(&[
            (0.05, false),
            (0.1, false),
            (0.15, false),
            (0.3004, true),
            (0.4, false),
            (0.5, false),
            (0.6, true),
            (0.7, false),
            (0.8, true),
            (0.9, true),
        ])
    }

    #[test]
    fn the_lowest_bound_that_is_precise_and_the_highest_that_lets_few_through() {
        // From above 0.7 two of two; from 0.6 three of four. One of four may be approved: the one at 0.3004, but not that at 0.6.
        assert_eq!(solve(&ten(), &TARGETS).unwrap(), Bounds { review: 0.6, hide: 0.701 });
        let three_of_four = Targets { precision_of_hiding: 0.75, ..TARGETS };
        assert_eq!(solve(&ten(), &three_of_four).unwrap(), Bounds { review: 0.5, hide: 0.501 });
        // None may be approved: the bound stays at or below 0.3004, to the thousandth below.
        let none = Targets { hate_approved: 0.01, ..TARGETS };
        assert_eq!(solve(&ten(), &none).unwrap(), Bounds { review: 0.3, hide: 0.701 });
        let found = measured(&ten(), &Bounds { review: 0.3, hide: 0.701 });
        assert_eq!(
            [found.precision, found.approved, found.review].map(|estimate| estimate.unwrap().value),
            [1.0, 0.0, 0.5]
        );
    }

    #[test]
    fn a_target_out_of_reach_is_said_with_what_there_is() {
        // Two of two are no proof of 0.8.
        let sure = Targets { confident: true, ..TARGETS };
        let Err(SolveError::Hiding { most: Some((from, most)), .. }) = solve(&ten(), &sure) else {
            panic!("there is a bound")
        };
        assert!(most.low < 0.8 && (0.701..=0.8).contains(&from), "{from} {most:?}");
        let lowest = rows(&[(0.0, true), (0.0, true), (0.9, true), (0.8, false)]);
        assert_eq!(solve(&lowest, &TARGETS), Err(SolveError::Approving { target: 0.25 }));
        assert_eq!(solve(&[], &TARGETS), Err(SolveError::Hiding { target: 0.8, most: None }));
    }

    #[test]
    fn more_of_the_same_posts_are_proof() {
        let many: Vec<_> = (0..100).flat_map(|_| ten()).collect();
        let sure = Targets { confident: true, hate_approved: 0.3, ..TARGETS };
        assert_eq!(solve(&many, &sure).unwrap(), Bounds { review: 0.6, hide: 0.701 });
        // Where every fifth holds the same posts, what was not seen is as what was.
        let folds = (0..many.len()).map(|i| i / 10 % FOLDS).collect();
        let whole = measured(&many, &solve(&many, &TARGETS).unwrap());
        let reviews = Reviews { rows: many, folds, sha256: String::new(), left_out: 0 };
        assert_eq!(held_out(&reviews, &TARGETS), Some(whole));
    }

    const PLACES: Places = Places { review: 1, hide: 2 };
    const BOUNDS: Bounds = Bounds { review: 0.1, hide: 0.75 };

    #[test]
    fn nothing_but_bounds_version_and_comments_changes() {
        let told = ["solved: here".to_owned()];
        let text = edited(FALLBACK, "hate", &PLACES, &BOUNDS, "v2", &told).unwrap();
        let (old, new): (Vec<_>, Vec<_>) = (FALLBACK.lines().collect(), text.lines().collect());
        let changed: Vec<&str> = new.iter().filter(|line| !old.contains(line)).copied().collect();
        assert_eq!(
            changed,
            [
                "version: \"v2\"",
                "      # solved: here",
                "      - { id: hate-uncertain, from: 0.1, decision: review, lane: standard }",
                "      - { id: hate-high, from: 0.75, decision: hide, lane: urgent }",
            ]
        );
        assert_eq!(new.len(), old.len() + 1);
        let schema = Definitions::bundled().unwrap().schema();
        let load = |text: &str| Policy::load_untested(text, &schema).unwrap();
        assert!(frozen(&load(FALLBACK), &load(&text), &PLACES, &BOUNDS));
        assert!(!frozen(&load(FALLBACK), &load(FALLBACK), &PLACES, &BOUNDS));
        // Solving again replaces what was said before.
        assert_eq!(edited(&text, "hate", &PLACES, &BOUNDS, "v2", &told).unwrap(), text);
    }

    #[test]
    fn bands_may_be_written_in_several_lines_among_other_harms() {
        let source = "version: '1' # the first\nharms:\n  spam:\n    bands:\n    - id: a\n      from: 0.0\n  hate:\n    bands:\n    - id: from\n      from: 0 # from: here\n    - from: 2e-1\n      id: b\n    - id: c\n      from:   0.8\nlanes: {}\n";
        let text = edited(source, "hate", &PLACES, &BOUNDS, "2", &["solved: x".to_owned()]).unwrap();
        assert_eq!(
            text,
            "version: \"2\" # the first\nharms:\n  spam:\n    bands:\n    - id: a\n      from: 0.0\n  hate:\n    bands:\n    # solved: x\n    - id: from\n      from: 0 # from: here\n    - from: 0.1\n      id: b\n    - id: c\n      from: 0.75\nlanes: {}\n"
        );
        assert_eq!(edited("version: 1\nharms: {hate: {bands: []}}\n", "hate", &PLACES, &BOUNDS, "2", &[]), None);
    }
}
