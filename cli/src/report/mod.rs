//! The evaluation report: how good a model is, where it is worst, and whom it treats worse than others. What is measured is an
//! [`Audit`], which is printed as JSON and as one HTML page (`page`) with plots drawn here (`plots`). Neither shows a post: rows
//! are named by their number and the digest of their text.

pub mod measures;
mod page;
pub mod peers;
mod plots;

use std::collections::BTreeMap;

use domain::policy::Band;
use domain::{Decision, ModelRef};
use scoring::metrics::{Metrics, Outcome, measure};
use serde::Serialize;

use crate::corpora::Class;
use crate::evaluate::{Report, THRESHOLD, report};
use measures::{Bin, EqualisedOdds, Share, ThreeClasses, ThreeScores, bins, equalised_odds, three_classes};
use peers::PeerScore;

pub use page::html;

/// Rates over fewer rows than this are not ranked, and do not count in a gap.
const LEAST_ROWS: usize = 20;
/// Bins of the reliability diagram, as of the expected calibration error.
const RELIABILITY_BINS: usize = 15;
/// Errors listed of each kind.
const LISTED_ERRORS: usize = 12;

/// A set of labelled rows.
#[derive(Debug, Clone, Serialize)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// What its positive class is, in words.
    pub positive: String,
    /// Whether it counts in the pooled figures.
    pub pooled: bool,
    /// The name of its file.
    pub file: String,
    /// SHA-256 of its file, in hexadecimal digits.
    pub sha256: String,
}

/// A labelled row with our score, without its text.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its set, by place.
    pub set: usize,
    /// Its number in the set, counted from 1.
    pub number: usize,
    /// SHA-256 of its text, in hexadecimal digits.
    pub digest: String,
    /// Words of its text, divided by white space.
    pub words: usize,
    /// Its class, where the set tells three apart.
    pub class: Option<Class>,
    /// The groups that it belongs to: column and value.
    pub slices: Vec<(String, String)>,
    /// Our score, and whether the row is positive.
    pub outcome: Outcome,
    /// Our scores of hate, offensive and neither, where the model tells these apart.
    pub classes: Option<[f64; 3]>,
}

/// Another system's scores of the same rows, in the same order.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// A score a row.
    pub scores: Vec<PeerScore>,
}

/// Scores of kind and neutral sentences that name a group, for each term.
#[derive(Debug, Clone)]
pub struct TermScores {
    /// The term.
    pub term: String,
    /// A score a sentence.
    pub scores: Vec<f64>,
}

/// All that is measured.
#[derive(Debug, Clone, Copy)]
pub struct Measured<'a> {
    /// The model.
    pub model: &'a ModelRef,
    /// The policy's bands, by rising bound.
    pub bands: &'a [Band],
    /// The sets.
    pub sets: &'a [Set],
    /// All rows.
    pub rows: &'a [Row],
    /// Columns whose values are groups of people, which errors should not tell apart.
    pub groups: &'a [String],
    /// Sentences of terms kept out of training.
    pub identity: &'a [TermScores],
    /// Other systems.
    pub peers: &'a [Peer],
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Audit {
    /// The pooled sets where there is more than one, then each set.
    pub sets: Vec<SetAudit>,
    /// Slices by what they get wrong, worst first.
    pub worst_slices: Worst,
    /// Differences between groups.
    pub equalised_odds: Vec<Groups>,
    /// Harmless sentences that name a group.
    pub identity_false_positives: Option<Identity>,
    /// Ours and other systems on the same rows, ours first.
    pub beside: Vec<PeerAudit>,
    /// Rows that are most wrong: positive with the lowest scores, then negative with the highest.
    #[serde(skip)]
    pub errors: [Vec<Row>; 2],
}

/// The measures of a set.
#[derive(Debug, Serialize)]
pub struct SetAudit {
    /// The set.
    #[serde(flatten)]
    pub set: Set,
    /// Measures at 0.5 and shares of bands.
    pub report: Report,
    /// What the policy makes of it.
    pub policy: Policed,
    /// Rows by score, in 15 bins.
    pub reliability: Vec<Bin>,
    /// Slices with at least 20 rows.
    pub slices: Vec<Slice>,
    /// The scored rows.
    #[serde(skip)]
    pub outcomes: Vec<Outcome>,
}

/// What the policy's bands make of scored rows, with 95 % intervals.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Policed {
    /// Of the rows hidden, the share that is positive.
    pub precision_of_hiding: Option<Share>,
    /// Of the positive rows, the share approved.
    pub positives_approved: Option<Share>,
    /// Of the negative rows, the share hidden.
    pub negatives_hidden: Option<Share>,
    /// Of all rows, the share reviewed.
    pub reviewed: Option<Share>,
}

impl Policed {
    fn of(rows: &[Outcome], bands: &[Band]) -> Self {
        let decided = |row: &Outcome, decision| {
            let band = bands.iter().rev().find(|band| band.from <= row.score);
            band.is_some_and(|band| band.decision == decision)
        };
        let of = |positive: bool| rows.iter().filter(move |row| row.positive == positive);
        let known = |share: Option<Share>| share.filter(|_| !bands.is_empty());
        Self {
            precision_of_hiding: known(Share::among(rows.iter().filter(|row| decided(row, Decision::Hide)), |row| {
                row.positive
            })),
            positives_approved: known(Share::among(of(true), |row| decided(row, Decision::Approve))),
            negatives_hidden: known(Share::among(of(false), |row| decided(row, Decision::Hide))),
            reviewed: known(Share::among(rows.iter(), |row| decided(row, Decision::Review))),
        }
    }
}

/// The measures of a slice.
#[derive(Debug, Clone, Serialize)]
pub struct Slice {
    /// The set.
    pub set: String,
    /// The column.
    pub column: String,
    /// Its value.
    pub value: String,
    /// At 0.5.
    pub metrics: Metrics,
    /// Of the positive rows, the share below 0.5.
    pub missed: Option<Share>,
    /// Of the negative rows, the share at 0.5 or more.
    pub false_alarms: Option<Share>,
}

impl Slice {
    fn new(set: &str, (column, value): (String, String), rows: &[Outcome]) -> Self {
        Self {
            set: set.to_owned(),
            column,
            value,
            metrics: measure(rows, THRESHOLD),
            missed: Share::among(rows.iter().filter(|row| row.positive), |row| row.score < THRESHOLD),
            false_alarms: Share::among(rows.iter().filter(|row| !row.positive), |row| row.score >= THRESHOLD),
        }
    }

    /// The greater of both rates that is surely reached: the lower end of its interval.
    fn badness(&self) -> f64 {
        [self.missed, self.false_alarms].into_iter().flatten().map(|share| share.low).fold(0.0, f64::max)
    }
}

/// Slices of at least 20 rows of the class that they get wrong, ordered by the lower end of the interval: a small slice leads only
/// where it is surely bad.
#[derive(Debug, Serialize)]
pub struct Worst {
    /// Of the positive rows the share missed.
    pub missed: Vec<Slice>,
    /// Of the negative rows the share found.
    pub false_alarms: Vec<Slice>,
}

/// The groups of one column in one set.
#[derive(Debug, Serialize)]
pub struct Groups {
    /// The set.
    pub set: String,
    /// The column.
    pub column: String,
    /// The rates and gaps.
    #[serde(flatten)]
    pub odds: EqualisedOdds,
}

/// How often harmless sentences are flagged for the group that they name.
#[derive(Debug, Serialize)]
pub struct Identity {
    /// The score from which the policy no longer approves.
    pub bound: Option<f64>,
    /// All sentences at 0.5 or more.
    pub at_half: Option<Share>,
    /// All sentences that the policy does not approve.
    pub not_approved: Option<Share>,
    /// Each term by itself, worst first.
    pub terms: Vec<TermRate>,
}

/// One term's sentences.
#[derive(Debug, Serialize)]
pub struct TermRate {
    /// The term.
    pub term: String,
    /// At 0.5 or more.
    pub at_half: Option<Share>,
    /// Not approved.
    pub not_approved: Option<Share>,
}

/// One system on every set.
#[derive(Debug, Serialize)]
pub struct PeerAudit {
    /// Its name.
    pub name: String,
    /// Its measures, by set.
    pub sets: Vec<PeerSet>,
}

/// One system on one set.
#[derive(Debug, Serialize)]
pub struct PeerSet {
    /// The set.
    pub set: String,
    /// At 0.5.
    pub metrics: Metrics,
    /// Three classes, where the set and the system tell them apart.
    pub three_classes: Option<ThreeClasses>,
    /// The scored rows.
    #[serde(skip)]
    pub outcomes: Vec<Outcome>,
}

/// The column that names the set of a row of the corpora: the whole of a set is no slice of it.
pub const SET: &str = "set";

/// The name of the set that holds all pooled ones.
pub const POOLED: &str = "pooled";

/// The bucket of a length in words.
fn length(words: usize) -> &'static str {
    match words {
        0..=5 => "1 to 5",
        6..=10 => "6 to 10",
        11..=20 => "11 to 20",
        21..=40 => "21 to 40",
        _ => "41 and more",
    }
}

impl Audit {
    /// Measures everything. Takes `O(n log n)` of the rows, for each system.
    pub fn new(measured: &Measured<'_>) -> Self {
        let views = views(measured.sets);
        let sets: Vec<SetAudit> =
            views.iter().map(|(set, of)| set_audit(set, &chosen(measured.rows, of), measured)).collect();
        // Of a set whose positive class is another than this harm, rows are not missed.
        let ours = |set: &&SetAudit| set.set.pooled && set.set.name != POOLED;
        let slices = || sets.iter().filter(ours).flat_map(|set| &set.slices);
        let (rows, identity) = (measured.rows, identity(measured.identity, measured.bands));
        Self {
            worst_slices: Worst {
                missed: ranked(slices(), |slice| slice.missed),
                false_alarms: ranked(slices(), |slice| slice.false_alarms),
            },
            equalised_odds: groups(measured),
            identity_false_positives: identity,
            beside: beside(measured, &views),
            errors: [most_wrong(rows, true), most_wrong(rows, false)],
            sets,
        }
    }
}

/// The sets to report on, each with the places of the sets that it holds.
fn views(sets: &[Set]) -> Vec<(Set, Vec<usize>)> {
    let single = sets.iter().cloned().enumerate().map(|(place, set)| (set, vec![place]));
    if sets.len() < 2 {
        return single.collect();
    }
    let places: Vec<usize> = sets.iter().enumerate().filter(|(_, set)| set.pooled).map(|(place, _)| place).collect();
    let pooled = Set {
        name: POOLED.to_owned(),
        positive: format!("as each of {} sets has it", places.len()),
        pooled: true,
        file: String::new(),
        sha256: String::new(),
    };
    std::iter::once((pooled, places)).chain(single).collect()
}

fn chosen<'a>(rows: &'a [Row], sets: &[usize]) -> Vec<&'a Row> {
    rows.iter().filter(|row| sets.contains(&row.set)).collect()
}

fn set_audit(set: &Set, rows: &[&Row], measured: &Measured<'_>) -> SetAudit {
    let outcomes: Vec<Outcome> = rows.iter().map(|row| row.outcome).collect();
    let mut groups: BTreeMap<(String, String), Vec<Outcome>> = BTreeMap::new();
    for row in rows {
        let words = ("words".to_owned(), length(row.words).to_owned());
        let slices = row.slices.iter().filter(|(column, _)| column != SET);
        for slice in slices.cloned().chain([words]) {
            groups.entry(slice).or_default().push(row.outcome);
        }
    }
    groups.retain(|_, rows| rows.len() >= LEAST_ROWS);
    let mut slices: Vec<Slice> = groups.into_iter().map(|(name, rows)| Slice::new(&set.name, name, &rows)).collect();
    slices.sort_by(|a, b| b.badness().total_cmp(&a.badness()));
    SetAudit {
        set: set.clone(),
        report: report(&outcomes, measured.bands),
        policy: Policed::of(&outcomes, measured.bands),
        reliability: bins(&outcomes, RELIABILITY_BINS),
        slices,
        outcomes,
    }
}

fn ranked<'a>(slices: impl Iterator<Item = &'a Slice>, rate: impl Fn(&Slice) -> Option<Share>) -> Vec<Slice> {
    let low = |slice: &Slice| rate(slice).map_or(0.0, |share| share.low);
    let mut ranked: Vec<Slice> =
        slices.filter(|slice| rate(slice).is_some_and(|share| share.of >= LEAST_ROWS)).cloned().collect();
    ranked.sort_by(|a, b| low(b).total_cmp(&low(a)));
    ranked
}

fn groups(measured: &Measured<'_>) -> Vec<Groups> {
    let mut found = Vec::new();
    for (place, set) in measured.sets.iter().enumerate() {
        for column in measured.groups {
            let mut groups: BTreeMap<&str, Vec<Outcome>> = BTreeMap::new();
            for row in measured.rows.iter().filter(|row| row.set == place) {
                for (_, value) in row.slices.iter().filter(|(name, _)| name == column) {
                    groups.entry(value).or_default().push(row.outcome);
                }
            }
            if groups.len() > 1 {
                let rows = groups.iter().map(|(name, rows)| (*name, &**rows));
                let odds = equalised_odds(rows, THRESHOLD, LEAST_ROWS);
                found.push(Groups { set: set.name.clone(), column: column.clone(), odds });
            }
        }
    }
    found
}

fn identity(terms: &[TermScores], bands: &[Band]) -> Option<Identity> {
    let bound = bands.iter().find(|band| band.decision != Decision::Approve).map(|band| band.from);
    let from = |scores: &[f64], bound: f64| Share::new(scores.iter().filter(|s| **s >= bound).count(), scores.len());
    let all: Vec<f64> = terms.iter().flat_map(|term| &term.scores).copied().collect();
    let mut rates: Vec<TermRate> = terms
        .iter()
        .map(|term| TermRate {
            term: term.term.clone(),
            at_half: from(&term.scores, THRESHOLD),
            not_approved: bound.and_then(|bound| from(&term.scores, bound)),
        })
        .collect();
    let badness = |rate: &TermRate| {
        let share = |share: Option<Share>| share.map_or(0.0, |share| share.share);
        share(rate.not_approved) + share(rate.at_half) / 1e3
    };
    rates.sort_by(|a, b| badness(b).total_cmp(&badness(a)));
    (!all.is_empty()).then(|| Identity {
        bound,
        at_half: from(&all, THRESHOLD),
        not_approved: bound.and_then(|bound| from(&all, bound)),
        terms: rates,
    })
}

fn beside(measured: &Measured<'_>, views: &[(Set, Vec<usize>)]) -> Vec<PeerAudit> {
    let ours = Peer {
        name: measured.model.name.clone(),
        scores: measured.rows.iter().map(|row| PeerScore::of(row.outcome.score, row.classes)).collect(),
    };
    let audit = |peer: &Peer| PeerAudit {
        name: peer.name.clone(),
        sets: views.iter().map(|(set, of)| peer_set(set, of, peer, measured.rows)).collect(),
    };
    std::iter::once(&ours).chain(measured.peers).map(audit).collect()
}

fn peer_set(set: &Set, of: &[usize], peer: &Peer, rows: &[Row]) -> PeerSet {
    let scored = || rows.iter().zip(&peer.scores).filter(|(row, _)| of.contains(&row.set));
    let outcomes: Vec<Outcome> =
        scored().map(|(row, said)| Outcome { score: said.score, positive: row.outcome.positive }).collect();
    let three: Vec<ThreeScores> =
        scored().filter_map(|(row, said)| Some(ThreeScores { class: row.class?, scores: said.classes? })).collect();
    let three_classes = three_classes(&three).filter(|_| of.len() == 1);
    PeerSet { set: set.name.clone(), metrics: measure(&outcomes, THRESHOLD), three_classes, outcomes }
}

fn most_wrong(rows: &[Row], positive: bool) -> Vec<Row> {
    let wrong = |row: &&Row| row.outcome.positive == positive && (row.outcome.score < THRESHOLD) == positive;
    let mut wrong: Vec<&Row> = rows.iter().filter(wrong).collect();
    let distance = |row: &Row| (row.outcome.score - THRESHOLD).abs();
    wrong.sort_by(|a, b| distance(b).total_cmp(&distance(a)).then_with(|| a.digest.cmp(&b.digest)));
    wrong.into_iter().take(LISTED_ERRORS).cloned().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

    use super::*;

    fn set(name: &str, pooled: bool) -> Set {
        Set { name: name.to_owned(), positive: String::new(), pooled, file: String::new(), sha256: String::new() }
    }

    fn row(set: usize, number: usize, score: f64, class: Option<Class>, group: &str) -> Row {
        Row {
            set,
            number,
            digest: format!("{number}"),
            words: 3,
            class,
            slices: vec![("group".to_owned(), group.to_owned()), (SET.to_owned(), "of its own".to_owned())],
            outcome: Outcome { score, positive: class == Some(Class::Hate) },
            classes: class.map(|_| [score, 0.3, 0.1]),
        }
    }

    fn bands() -> [Band; 3] {
        [(Decision::Approve, 0.0), (Decision::Review, 0.2), (Decision::Hide, 0.8)].map(|(decision, from)| Band {
            id: decision.as_str().to_owned(),
            from,
            decision,
            lane: None,
        })
    }

    /// Two sets: of the first group all 40 hateful rows are missed, of the second a quarter; the second set has another harm.
    fn rows() -> Vec<Row> {
        let hate = |n: usize| match n % 8 {
            0..=3 => row(0, n, 0.1, Some(Class::Hate), "missed"),
            4 => row(0, n, 0.4, Some(Class::Hate), "found"),
            _ => row(0, n, 0.9, Some(Class::Hate), "found"),
        };
        let offensive = |n| row(0, n, if n % 4 == 0 { 0.8 } else { 0.2 }, Some(Class::Offensive), "found");
        (0..80)
            .map(hate)
            .chain((80..120).map(offensive))
            .chain((0..40).map(|n| row(1, n, 0.1, None, "other")))
            .collect()
    }

    #[test]
    fn rates_and_ranks_are_those_counted_by_hand() {
        let (sets, rows, bands) = ([set("a", true), set("b", false)], rows(), bands());
        let model = ModelRef { name: "ours".to_owned(), version: "1".to_owned(), sha256: String::new() };
        let groups = ["group".to_owned()];
        let measured = Measured {
            model: &model,
            bands: &bands,
            sets: &sets,
            rows: &rows,
            groups: &groups,
            identity: &[],
            peers: &[],
        };
        let audit = Audit::new(&measured);
        assert_eq!(
            audit.sets.iter().map(|set| (&*set.set.name, set.report.metrics.n)).collect::<Vec<_>>(),
            [("pooled", 120), ("a", 120), ("b", 40)]
        );
        let counted = |share: Option<Share>| share.map(|share| (share.part, share.of));
        let policy = &audit.sets[0].policy;
        assert_eq!(counted(policy.precision_of_hiding), Some((30, 40)));
        assert_eq!(counted(policy.positives_approved), Some((40, 80)));
        assert_eq!(counted(policy.negatives_hidden), Some((10, 40)));
        assert_eq!(counted(policy.reviewed), Some((40, 120)));
        let ranks: Vec<_> = audit.worst_slices.missed.iter().map(|s| (&*s.value, counted(s.missed).unwrap())).collect();
        assert_eq!(ranks, [("missed", (40, 40)), ("1 to 5", (50, 80)), ("found", (10, 40))]);
        assert_eq!(audit.equalised_odds[0].odds.true_positive_gap, Some(0.75));
        assert_eq!(audit.errors[0].len(), LISTED_ERRORS);
        assert!(audit.errors[1].iter().all(|row| row.outcome.score == 0.8));
        // Of three scores .1 / .3 / .1 says offensive, and .4, .8 and .9 hate.
        let three = audit.beside[0].sets[1].three_classes.as_ref().unwrap();
        assert_eq!(three.confusion, [[40, 40, 0], [10, 30, 0], [0, 0, 0]]);
        let page = html(&audit, &measured);
        assert!(
            page.contains("Three classes") && page.contains("<td>40 / 40 / 0</td>") && !page.contains("of its own")
        );
    }
}
