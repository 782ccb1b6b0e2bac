//! The model's card: what it was trained on, how good it is and where it is not.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use domain::Decision;
use domain::policy::Band;
use scoring::metrics::{ClassMetrics, Outcome, measure_classes};
use scoring::{ScoreError, Stage, TextModel};
use serde::Serialize;
use thiserror::Error;

use crate::corpora::{Corpus, Example, HeldOut, Part, Training};
use crate::evaluate::{Report, report};
use crate::progress::progress;
use crate::train::{Recipe, Trained};

/// Why there is no card.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CardError {
    /// A corpus cannot be read again.
    #[error("reading `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The model failed on a validation text.
    #[error("scoring with the new model")]
    Score(#[from] ScoreError),
    /// The list of terms that are held out.
    #[error("reading the terms that are held out")]
    HeldOut(#[from] serde_json::Error),
}

/// The file `card.json`.
#[derive(Debug, Serialize)]
pub struct Card {
    schema: &'static str,
    model: domain::ModelRef,
    harm: String,
    bytes: usize,
    command: &'static str,
    training_seconds: u64,
    hardware: String,
    iterations: usize,
    rows_trained_on: usize,
    rows_dropped_as_leaks: usize,
    rows_dropped_as_held_out: usize,
    recipe: Recipe,
    data: Vec<Source>,
    validation: BTreeMap<&'static str, Measured>,
    identity_false_positives: IdentityFalsePositives,
    #[serde(skip_serializing_if = "Option::is_none")]
    transformer: Option<serde_json::Value>,
    limits: Vec<&'static str>,
    golden: Vec<Golden>,
}

/// A file of training or validation data.
#[derive(Debug, Serialize)]
struct Source {
    corpus: &'static str,
    file: &'static str,
    sha256: String,
    licence: &'static str,
    positive: &'static str,
    split: &'static str,
    training: Training,
    train: Rows,
    validation: Rows,
    test: Rows,
}

#[derive(Debug, Default, Serialize)]
struct Rows {
    rows: usize,
    positive: usize,
}

/// Measures on the validation part of a corpus, and on its slices.
#[derive(Debug, Serialize)]
struct Measured {
    #[serde(flatten)]
    whole: Report,
    /// Share of the rows that the transformer was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<f64>,
    /// By the transformer's scores of classes, over the rows of a corpus that tells hate, offence and neither apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<ClassMetrics>,
    slices: BTreeMap<String, Report>,
}

/// Neutral and positive sentences about groups that no model was trained on, all of them harmless.
#[derive(Debug, Serialize)]
struct IdentityFalsePositives {
    terms: usize,
    templates: usize,
    sentences: usize,
    /// Share with a score of 0.5 or more.
    positive: f64,
    /// Share that the policy does not approve.
    not_approved: f64,
}

/// A text of ours with the scores it must go on having.
#[derive(Debug, Serialize)]
struct Golden {
    text: &'static str,
    raw: f64,
    calibrated: f64,
}

const GOLDEN: [&str; 12] = [
    "",
    " \n\t",
    "Good morning, everyone!",
    "The bus to the airport leaves at 10:45.",
    "I am a proud gay man.",
    "My Muslim neighbours invited us for dinner.",
    "I do not hate immigrants.",
    "I hate immigrants, they should all be sent back.",
    "What a stupid idea, you idiot.",
    "@someone look at https://example.org/page 😂😂",
    "İSTANBUL ÇOK GÜZEL \u{200d}\u{1F3FD}",
    "All of them are vermin and deserve to die.",
];

const LIMITS: [&str; 8] = [
    "English only. It counts words and pieces of words: sarcasm, quotation, negation and context escape it.",
    "Adversarial posts with emoji (Hatemoji) are hardly told apart: see their AUC-ROC.",
    "It was trained on tweets, Gab, Reddit and Stormfront posts of 2017 to 2021; newer words are unknown to it.",
    "The corpora do not agree on what hate is: EDOS counts all sexism, Davidson 2017 leaves much of it out, which the differing recall shows.",
    "Calibrated on the pooled validation rows, of which a fifth is positive. On a platform where hate is rarer the probabilities are too high: calibrate again on its own posts.",
    "Calibration was fitted on the rows that the figures are measured on (two parameters), and the recipe was chosen on them: expect somewhat less on unseen posts.",
    "Identity templates of training and of validation differ by a name or an adjective only, so false positives on them say little about other sentences that name a group.",
    "Weights are sums over hashed buckets; two n-grams may share one. An explanation names words that raised the score, not reasons.",
];

const CASCADE_LIMITS: [&str; 8] = [
    "English only. It reads sentences rather than words, and still misreads sarcasm, quotation and context that it cannot see.",
    "Trained on tweets, Gab, Reddit and Stormfront posts of 2017 to 2021 and on sentences of our own; newer words are unknown to it.",
    "The corpora do not agree on what hate is: EDOS counts all sexism, Davidson 2017 leaves much of it out, which the differing recall shows.",
    "Calibrated on the pooled validation rows, of which a fifth is positive. On a platform where hate is rarer the probabilities are too high: calibrate again on its own posts.",
    "Calibration and the bound of the first stage were fitted on the rows that the figures are measured on (six numbers; one puts the share of harmless posts that come to a person where it was before), and passes, weights and the averaging were chosen on them: expect somewhat less on unseen posts.",
    "The second phase of training was designed after seeing which harmless twins of our evasions were not approved, and the first stage's loss after seeing a behaviour below its floor: neither suite is a blind test any more.",
    "Sentences are read by themselves as well: hate that is quoted and condemned may come to a person for it, and a text of many sentences more often than one.",
    "An explanation says which words the score would fall without, not why the post is hateful.",
];

/// Measures the trained model on every validation part and describes it.
pub fn make(
    trained: &Trained,
    data: &Path,
    corpora: &[(&Corpus, &Vec<Example>)],
    recipe: &Recipe,
    bands: &[Band],
    seconds: u64,
) -> Result<Card, CardError> {
    let model = &trained.model;
    let mut sources = Vec::new();
    let mut validation = BTreeMap::new();
    let mut pool = Vec::new();
    for (corpus, examples) in corpora {
        sources.push(source(corpus, examples, data)?);
        let held: Vec<_> = examples.iter().filter(|example| example.part == Part::Validation).collect();
        if held.is_empty() {
            continue;
        }
        let (outcomes, asked) = outcomes(model, &held)?;
        if corpus.pooled {
            pool.extend_from_slice(&outcomes);
        }
        let classes = classes(model, &held)?;
        validation.insert(corpus.name, Measured { asked, classes, ..measured(&held, &outcomes, bands) });
    }
    let pooled = Measured { whole: report(&pool, bands), asked: None, classes: None, slices: BTreeMap::new() };
    validation.insert("pooled", pooled);
    let mut golden = Vec::new();
    for text in GOLDEN {
        let scored = model.score(text)?;
        golden.push(Golden { text, raw: scored.raw, calibrated: scored.calibrated });
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(Card {
        schema: "card/1",
        model: model.identity().clone(),
        harm: model.harm().to_owned(),
        bytes: trained.bundle.manifest.len()
            + trained.bundle.model.len()
            + trained.bundle.more.values().map(|bytes| bytes.len()).sum::<usize>(),
        command: if trained.transformer.is_some() {
            "make train"
        } else {
            "moderato train --data ../shared/data --out shared/scoring/models/ngram-baseline"
        },
        training_seconds: seconds,
        hardware: format!("one thread of a machine with {cores} {} cores", std::env::consts::ARCH),
        iterations: trained.iterations,
        rows_trained_on: trained.trained_on,
        rows_dropped_as_leaks: trained.dropped,
        rows_dropped_as_held_out: trained.held_out,
        recipe: *recipe,
        data: sources,
        validation,
        identity_false_positives: identity_false_positives(model, bands)?,
        transformer: trained.transformer.clone(),
        limits: if trained.transformer.is_some() { CASCADE_LIMITS.to_vec() } else { LIMITS.to_vec() },
        golden,
    })
}

fn source(corpus: &Corpus, examples: &[Example], data: &Path) -> Result<Source, CardError> {
    let path = data.join(corpus.file);
    let bytes = std::fs::read(&path).map_err(|source| CardError::Read { path, source })?;
    let rows = |part: Part| {
        let inside = || examples.iter().filter(|example| example.part == part);
        Rows { rows: inside().count(), positive: inside().filter(|example| example.positive).count() }
    };
    Ok(Source {
        corpus: corpus.name,
        file: corpus.file,
        sha256: domain::sha256_hex(&bytes),
        licence: corpus.licence,
        positive: corpus.positive,
        split: corpus.split,
        training: corpus.training,
        train: rows(Part::Train),
        validation: rows(Part::Validation),
        test: rows(Part::Test),
    })
}

/// Outcomes, and the share of the texts that a transformer was asked about, if there is one.
fn outcomes(model: &TextModel, examples: &[&Example]) -> Result<(Vec<Outcome>, Option<f64>), ScoreError> {
    let bar = progress("measuring", examples.len());
    let mut outcomes = Vec::with_capacity(examples.len());
    let mut asked = 0_usize;
    for example in examples {
        let scored = model.score(&example.text)?;
        asked += usize::from(scored.stage == Stage::Transformer);
        outcomes.push(Outcome { score: scored.calibrated, positive: example.positive });
        bar.inc(1);
    }
    bar.finish_and_clear();
    let share = asked as f64 / examples.len().max(1) as f64;
    Ok((outcomes, model.manifest().transformer.is_some().then_some(share)))
}

/// Slices of fewer rows than this say nothing.
const LEAST_SLICE: usize = 20;

/// How well the classes are told apart, where the corpus has them and the model too.
fn classes(model: &TextModel, examples: &[&Example]) -> Result<Option<ClassMetrics>, ScoreError> {
    let mut rows = Vec::new();
    for example in examples {
        let Some(class) = example.class else { continue };
        let Some(scores) = model.classes(&example.text)? else { return Ok(None) };
        rows.push((scores, class as usize));
    }
    Ok((!rows.is_empty()).then(|| measure_classes(&rows)))
}

fn identity_false_positives(model: &TextModel, bands: &[Band]) -> Result<IdentityFalsePositives, CardError> {
    let held_out = HeldOut::bundled()?;
    let approved_below = bands.iter().find(|band| band.decision > Decision::Approve).map_or(0.5, |band| band.from);
    let (mut sentences, mut positive, mut not_approved) = (0, 0, 0);
    for text in held_out.sentences() {
        let score = model.score(&text)?.calibrated;
        sentences += 1;
        positive += usize::from(score >= 0.5);
        not_approved += usize::from(score >= approved_below);
    }
    let share = |count: usize| count as f64 / sentences.max(1) as f64;
    Ok(IdentityFalsePositives {
        terms: held_out.terms.len(),
        templates: held_out.templates.len(),
        sentences,
        positive: share(positive),
        not_approved: share(not_approved),
    })
}

fn measured(examples: &[&Example], outcomes: &[Outcome], bands: &[Band]) -> Measured {
    let mut groups: BTreeMap<String, Vec<Outcome>> = BTreeMap::new();
    for (example, outcome) in examples.iter().zip(outcomes) {
        for slice in &example.slices {
            groups.entry(slice.clone()).or_default().push(*outcome);
        }
    }
    groups.retain(|_, group| group.len() >= LEAST_SLICE);
    let slices = groups.into_iter().map(|(name, group)| (name, report(&group, bands))).collect();
    Measured { whole: report(outcomes, bands), asked: None, classes: None, slices }
}

impl Card {
    /// The card for readers.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_markdown(&mut out);
        out
    }

    fn write_markdown(&self, out: &mut String) -> std::fmt::Result {
        let model = &self.model;
        writeln!(out, "# {} {}\n", model.name, model.version)?;
        writeln!(
            out,
            "Probability of the harm `{}` in an English post: {}, {} bytes.\n\nMade by `{}`; do not edit. Digest `{}`. Everything below, \
             with more places and slices, is in `card.json`.\n",
            self.harm,
            if self.transformer.is_some() {
                "logistic regression over hashed n-grams of words and characters for the clear cases, a small transformer \
                 (MiniLM with six layers, fine-tuned, in 8 bits) for the rest"
            } else {
                "logistic regression over hashed n-grams of words and characters, as an ONNX graph. It is the baseline, the \
                 explanation and the fallback of larger models"
            },
            self.bytes,
            self.command,
            model.sha256
        )?;
        writeln!(out, "## Measured on validation rows\n")?;
        let bound = |decision: &str| {
            let bands = self.validation.get("pooled").map(|pooled| pooled.whole.bands.as_slice()).unwrap_or_default();
            bands.iter().find(|band| band.decision == decision).map_or(1.0, |band| band.from)
        };
        writeln!(
            out,
            "Predicted positive from a score of 0.5; reviewed from {}, hidden from {}, as the default policy says. A dash where the rows \
             cannot answer.\n",
            bound("review"),
            bound("hide")
        )?;
        writeln!(
            out,
            "| set | rows | positive | precision | recall | F1 | macro-F1 | AUC-ROC | PR-AUC | ECE | false positives \
             | approved | reviewed | hidden | right when hidden |"
        )?;
        writeln!(out, "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")?;
        for (name, measured) in &self.validation {
            row(out, name, &measured.whole)?;
            for (slice, report) in &measured.slices {
                row(out, &format!("{name}, {slice}"), report)?;
            }
        }
        let asked: Vec<_> = self
            .validation
            .iter()
            .filter_map(|(name, measured)| Some(format!("{name} {:.2}", measured.asked?)))
            .collect();
        if !asked.is_empty() {
            writeln!(out, "\nShare of the rows that the transformer is asked about: {}.", asked.join(", "))?;
        }
        let named = &self.identity_false_positives;
        writeln!(
            out,
            "\nFalse positives on {} neutral and positive sentences ({} templates with {} groups, none of either trained on): {:.3} score 0.5 or \
             more, {:.3} are not approved.",
            named.sentences, named.templates, named.terms, named.positive, named.not_approved
        )?;
        let classes: Vec<_> = self.validation.iter().filter_map(|(name, m)| Some((name, m.classes?))).collect();
        if !classes.is_empty() {
            writeln!(
                out,
                "\n| three classes | rows | accuracy | macro-F1 | AUC-ROC, one against one |\n|---|---|---|---|---|"
            )?;
        }
        for (name, m) in classes {
            write!(out, "| {name} | {} |", m.n)?;
            for number in [m.accuracy, m.macro_f1, m.auc_roc] {
                match number {
                    Some(number) => write!(out, " {number:.3} |")?,
                    None => write!(out, " - |")?,
                }
            }
            writeln!(out)?;
        }
        writeln!(out, "\n## Trained on\n")?;
        writeln!(
            out,
            "{} rows; {} were dropped because their text stands in a validation or test part, {} because they name a group that is held out. {} iterations, {} s \
             on {}, measuring included. The same data give the same bytes of graph and manifest.\n",
            self.rows_trained_on,
            self.rows_dropped_as_leaks,
            self.rows_dropped_as_held_out,
            self.iterations,
            self.training_seconds,
            self.hardware
        )?;
        writeln!(
            out,
            "| corpus | licence | positive | split | train | validation | test, not looked at | SHA-256 of the file |"
        )?;
        writeln!(out, "|---|---|---|---|---|---|---|---|")?;
        for source in &self.data {
            writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} | `{}` |",
                source.corpus,
                source.licence,
                source.positive,
                source.split,
                source.train.rows,
                source.validation.rows,
                source.test.rows,
                source.sha256
            )?;
        }
        writeln!(
            out,
            "\nSurge is not trained on at all, nor HateXplain's validation posts. A row of EDOS counts less than others (0.3 for the \
             linear model, 0.8 for a transformer), and of the identity templates only some that are not toxic are used: `training` in `card.json`.\n"
        )?;
        let runs =
            self.transformer.as_ref().and_then(|told| told["runs"].as_array()).map(Vec::as_slice).unwrap_or_default();
        if !runs.is_empty() {
            writeln!(
                out,
                "## The transformer's training\n\nWhat serves is the mean of the weights of the checkpoints of training and hardening, trained on in the passes over parts of texts; before each of these but the \
                 first, weights are averaged again (infra/training/job.py). How much single seeds differ is in \
                 `seeds.json`, what 8 bits change in `precision.json`, where they are beside this card.\n\n| seed | phase | passes | steps | texts a \
                 pass | of our own | minutes | on |\n|---|---|---|---|---|---|---|---|"
            )?;
        }
        for run in runs {
            let minutes = run["seconds"].as_f64().unwrap_or_default() / 60.0;
            let word = |name: &str| run[name].as_str().unwrap_or("-").to_owned();
            let [seed, passes, steps, texts, ours] =
                ["seed", "epochs", "steps", "texts_a_pass", "synthetic"].map(|name| &run[name]);
            let (phase, hardware) = (word("phase"), word("hardware"));
            writeln!(out, "| {seed} | {phase} | {passes} | {steps} | {texts} | {ours} | {minutes:.0} | {hardware} |")?;
        }
        writeln!(out, "\n## Limits\n")?;
        self.limits.iter().try_for_each(|limit| writeln!(out, "- {limit}"))
    }
}

fn row(out: &mut String, name: &str, report: &Report) -> std::fmt::Result {
    let m = &report.metrics;
    write!(out, "| {name} | {} | {} |", m.n, m.positives)?;
    let measures = [m.precision, m.recall, m.f1, m.macro_f1, m.auc_roc, m.pr_auc, m.ece, m.false_positive_rate];
    let shares = report.bands.iter().map(|band| band.share);
    let hidden = report.bands.last().and_then(|band| band.positive_share);
    for number in measures.into_iter().chain(shares).chain([hidden]) {
        match number {
            Some(number) => write!(out, " {number:.3} |")?,
            None => write!(out, " - |")?,
        }
    }
    writeln!(out)
}
