//! What the report says beyond `scoring::metrics`: intervals, curves, gaps between groups, three classes. Pure functions of scored
//! rows; what the rows cannot answer is `None`.

use scoring::metrics::{ClassMetrics, Outcome, measure_classes};
use scoring::reviewed::{Estimate, wilson};
use serde::Serialize;

use crate::corpora::Class;

/// A share of counted rows with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// Rows that have it.
    pub part: usize,
    /// Rows that could.
    pub of: usize,
    /// `part` over `of`.
    pub share: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Share {
    /// `part` of `of` with Wilson's score interval (Wilson 1927), which stays within 0 and 1 and holds for small counts; `None` of nothing.
    pub fn new(part: usize, of: usize) -> Option<Self> {
        if of == 0 {
            return None;
        }
        let (n, share) = (of as f64, part as f64 / of as f64);
        let Estimate { low, high, .. } = wilson(share, n);
        Some(Self { part, of, share, low, high })
    }

    /// The share of `rows` for which `has` holds.
    pub fn among<'a>(rows: impl Iterator<Item = &'a Outcome>, has: impl Fn(&Outcome) -> bool) -> Option<Self> {
        let (mut part, mut of) = (0, 0);
        for row in rows {
            of += 1;
            part += usize::from(has(row));
        }
        Self::new(part, of)
    }
}

/// Rows whose scores lie in one bin.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Bin {
    /// Lower end, included.
    pub from: f64,
    /// Upper end, excluded but in the last bin.
    pub to: f64,
    /// Positive rows.
    pub positives: usize,
    /// Negative rows.
    pub negatives: usize,
    /// Sum of the scores.
    pub sum: f64,
}

impl Bin {
    /// Rows in it.
    pub fn n(&self) -> usize {
        self.positives + self.negatives
    }
}

/// `count` bins of equal width over 0 to 1.
pub fn bins(rows: &[Outcome], count: usize) -> Vec<Bin> {
    let edge = |index: usize| index as f64 / count as f64;
    let mut bins: Vec<Bin> =
        (0..count).map(|index| Bin { from: edge(index), to: edge(index + 1), ..Bin::default() }).collect();
    for row in rows {
        let index = ((row.score * count as f64) as usize).min(count.saturating_sub(1));
        if let Some(bin) = bins.get_mut(index) {
            *(if row.positive { &mut bin.positives } else { &mut bin.negatives }) += 1;
            bin.sum += row.score;
        }
    }
    bins
}

/// What predicting positive from one score upwards gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Operating {
    /// The score.
    pub threshold: f64,
    /// Of the positive rows, the share found.
    pub recall: f64,
    /// Of the negative rows, the share found too.
    pub false_positive_rate: f64,
    /// Of the rows found, the share that is positive.
    pub precision: f64,
}

/// One point for each distinct score, the highest first; nothing where one class is missing.
pub fn operating_points(rows: &[Outcome]) -> Vec<Operating> {
    let positives = rows.iter().filter(|row| row.positive).count() as f64;
    let negatives = rows.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return Vec::new();
    }
    let mut descending = rows.to_vec();
    descending.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
    let (mut hits, mut alarms) = (0.0, 0.0);
    let tied = descending.chunk_by(|a, b| a.score.total_cmp(&b.score).is_eq());
    tied.map(|tied| {
        let ups = tied.iter().filter(|row| row.positive).count() as f64;
        hits += ups;
        alarms += tied.len() as f64 - ups;
        Operating {
            threshold: tied.first().map_or(0.0, |row| row.score),
            recall: hits / positives,
            false_positive_rate: alarms / negatives,
            precision: hits / (hits + alarms),
        }
    })
    .collect()
}

/// Both rates of one group, a score of `threshold` or more counting as found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupRates {
    /// The group.
    pub group: String,
    /// Rows of it.
    pub n: usize,
    /// Of its positive rows, the share found.
    pub true_positive_rate: Option<Share>,
    /// Of its negative rows, the share found.
    pub false_positive_rate: Option<Share>,
    /// F1 of the positive class.
    pub f1: Option<f64>,
}

/// How far groups are apart: equalised odds (Hardt, Price, Srebro 2016) asks for equal true and equal false positive rates.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EqualisedOdds {
    /// Every group, in the order given.
    pub groups: Vec<GroupRates>,
    /// A rate or an F1 counts in a gap where it stands on at least so many rows: positive ones for the true positive rate and F1,
    /// negative ones for the false positive rate.
    pub least_rows: usize,
    /// Greatest minus least true positive rate.
    pub true_positive_gap: Option<f64>,
    /// Greatest minus least false positive rate.
    pub false_positive_gap: Option<f64>,
    /// The greater of both gaps.
    pub gap: Option<f64>,
    /// Greatest minus least F1.
    pub f1_spread: Option<f64>,
    /// Rows of the smallest group that counts in any gap.
    pub smallest_group: Option<usize>,
}

/// Measures groups, which may overlap. A gap takes two groups.
pub fn equalised_odds<'a>(
    groups: impl IntoIterator<Item = (&'a str, &'a [Outcome])>,
    threshold: f64,
    least_rows: usize,
) -> EqualisedOdds {
    let found = |row: &Outcome| row.score >= threshold;
    let rates = |(group, rows): (&str, &[Outcome])| GroupRates {
        group: group.to_owned(),
        n: rows.len(),
        true_positive_rate: Share::among(rows.iter().filter(|row| row.positive), found),
        false_positive_rate: Share::among(rows.iter().filter(|row| !row.positive), found),
        f1: scoring::metrics::measure(rows, threshold).f1,
    };
    let groups: Vec<GroupRates> = groups.into_iter().map(rates).collect();
    let enough = |share: Option<Share>| share.filter(|share| share.of >= least_rows);
    let gap = |values: &dyn Fn(&GroupRates) -> Option<f64>| {
        let values: Vec<f64> = groups.iter().filter_map(values).collect();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (values.len() > 1).then_some(most - least)
    };
    let true_positive_gap = gap(&|group| enough(group.true_positive_rate).map(|share| share.share));
    let false_positive_gap = gap(&|group| enough(group.false_positive_rate).map(|share| share.share));
    let f1_spread = gap(&|group| enough(group.true_positive_rate).and(group.f1));
    let counted = groups.iter().filter(|g| enough(g.true_positive_rate).or(enough(g.false_positive_rate)).is_some());
    let smallest_group = counted.map(|group| group.n).min();
    let gaps = [true_positive_gap, false_positive_gap];
    let gap = gaps.into_iter().flatten().reduce(f64::max);
    EqualisedOdds { groups, least_rows, true_positive_gap, false_positive_gap, gap, f1_spread, smallest_group }
}

/// A row of a corpus that tells three classes apart, with a score for each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ThreeScores {
    /// What it is.
    pub class: Class,
    /// Scores of hate, offensive and neither, in this order. The highest is predicted; they need not sum to 1.
    pub scores: [f64; 3],
}

/// How well three classes are told apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ThreeClasses {
    /// Accuracy, macro-F1 and AUC-ROC.
    #[serde(flatten)]
    pub metrics: ClassMetrics,
    /// Rows by what they are and what is predicted: hate, offensive, neither.
    pub confusion: [[usize; 3]; 3],
}

/// The classes in the order of scores and of the confusion.
pub const CLASSES: [Class; 3] = [Class::Hate, Class::Offensive, Class::Neither];

/// Measures rows of three scores; `None` of no rows. Of equal scores the first class counts.
pub fn three_classes(rows: &[ThreeScores]) -> Option<ThreeClasses> {
    if rows.is_empty() {
        return None;
    }
    let predicted = |row: &ThreeScores| {
        let best =
            |best: (usize, f64), (place, &score): (usize, &f64)| if score > best.1 { (place, score) } else { best };
        row.scores.iter().enumerate().fold((0, f64::NEG_INFINITY), best).0
    };
    let count = |class: Class, place: usize| rows.iter().filter(|r| r.class == class && predicted(r) == place).count();
    let confusion = CLASSES.map(|class| [0, 1, 2].map(|place| count(class, place)));
    let scored: Vec<_> = rows.iter().map(|row| (row.scores, row.class as usize)).collect();
    Some(ThreeClasses { metrics: measure_classes(&scored), confusion })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

    use super::*;

    fn rows(given: &[(f64, u8)]) -> Vec<Outcome> {
        given.iter().map(|&(score, answer)| Outcome { score, positive: answer == 1 }).collect()
    }

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }

    // Expected: the closed form in another language; 8 of 10 is the textbook case .490 to .943.
    #[test]
    fn intervals_are_those_of_wilson() {
        for (part, of, low, high) in [
            (8, 10, 0.490_162_5, 0.943_317_8),
            (0, 10, 0.0, 0.277_532_8),
            (10, 10, 0.722_467_2, 1.0),
            (50, 1000, 0.038_130_3, 0.065_313_8),
        ] {
            let share = Share::new(part, of).unwrap();
            near(share.low, low);
            near(share.high, high);
        }
        assert_eq!(Share::new(0, 0), None);
        assert_eq!(Share::among(rows(&[(0.2, 1), (0.7, 1), (0.9, 0)]).iter(), |r| r.score > 0.5).unwrap().part, 2);
    }

    #[test]
    fn bins_hold_every_row_once_and_agree_with_the_calibration_error() {
        let rows = rows(&[(0.0, 0), (0.06, 1), (0.07, 0), (0.5, 1), (0.99, 1), (1.0, 0)]);
        let bins = bins(&rows, 15);
        let counts: Vec<_> = bins.iter().map(Bin::n).collect();
        // 1/15 is 0.0667, and 0.5 lies in the bin from 7/15.
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!((bins[0].positives, bins[14].positives, bins[14].to), (1, 1, 1.0));
        near(bins[14].sum, 1.99);
        let ece = bins.iter().map(|b| (b.sum - b.positives as f64).abs()).sum::<f64>() / rows.len() as f64;
        near(ece, scoring::metrics::measure(&rows, 0.5).ece.unwrap());
    }

    #[test]
    fn operating_points_are_those_computed_by_hand() {
        let points = operating_points(&rows(&[(0.9, 1), (0.8, 0), (0.8, 1), (0.3, 0), (0.1, 1), (0.1, 0)]));
        let point = |threshold, recall, false_positive_rate, precision| Operating {
            threshold,
            recall,
            false_positive_rate,
            precision,
        };
        let third = 1.0 / 3.0;
        let expected = [
            point(0.9, third, 0.0, 1.0),
            point(0.8, 2.0 * third, third, 2.0 * third),
            point(0.3, 2.0 * third, 2.0 * third, 0.5),
            point(0.1, 1.0, 1.0, 0.5),
        ];
        assert_eq!(points, expected);
        assert!(operating_points(&rows(&[(0.9, 1)])).is_empty());
    }

    #[test]
    fn gaps_between_groups_are_those_computed_by_hand() {
        // True positive rates 3/4, 1/2, 0/1; false positive rates 1/2, 0/2, none; F1 3/4, 2/3, 0.
        let a = rows(&[(0.9, 1), (0.9, 1), (0.5, 1), (0.1, 1), (0.9, 0), (0.1, 0)]);
        let b = rows(&[(0.9, 1), (0.4, 1), (0.1, 0), (0.2, 0)]);
        let c = rows(&[(0.1, 1)]);
        let groups = || [("a", &*a), ("b", &*b), ("c", &*c)];
        let odds = equalised_odds(groups(), 0.5, 2);
        assert_eq!(odds.true_positive_gap, Some(0.25));
        assert_eq!(odds.false_positive_gap, Some(0.5));
        assert_eq!(odds.gap, Some(0.5));
        near(odds.f1_spread.unwrap(), 0.75 - 2.0 / 3.0);
        // The third group is too small to count, and is still shown.
        assert_eq!((odds.smallest_group, odds.groups.len()), (Some(4), 3));
        assert_eq!(equalised_odds(groups(), 0.5, 1).true_positive_gap, Some(0.75));
        assert_eq!(equalised_odds([("a", &*a)], 0.5, 1).gap, None);
    }

    #[test]
    fn three_classes_are_measured_as_by_hand() {
        let row = |class, scores| ThreeScores { class, scores };
        let rows = [
            row(Class::Hate, [0.7, 0.2, 0.1]),
            row(Class::Hate, [0.2, 0.5, 0.3]),
            row(Class::Offensive, [0.3, 0.6, 0.1]),
            row(Class::Neither, [0.1, 0.1, 0.8]),
        ];
        let found = three_classes(&rows).unwrap();
        assert_eq!(found.confusion, [[1, 1, 0], [0, 1, 0], [0, 0, 1]]);
        assert_eq!((found.metrics.n, found.metrics.accuracy), (4, Some(0.75)));
        // F1: 2/3, 2/3, 1. Areas of pairs: hate against offensive half, the other five whole.
        near(found.metrics.macro_f1.unwrap(), (2.0 / 3.0 + 2.0 / 3.0 + 1.0) / 3.0);
        near(found.metrics.auc_roc.unwrap(), 5.5 / 6.0);
        assert_eq!(three_classes(&[]), None);
        assert_eq!(three_classes(&rows[..2]).unwrap().metrics.macro_f1, None);
    }
}
