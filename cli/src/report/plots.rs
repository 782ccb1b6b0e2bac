//! Plots as inline SVG. Colours are classes that the page's style sheet fills, so that one drawing serves light, dark and paper; that,
//! and two dozen lines a plot, is why no plotting library draws them. Numbers are the only content, so nothing has to be escaped.

use std::fmt::Write;

use scoring::metrics::Outcome;

use super::measures::{Bin, Operating, Share, bins, operating_points};

/// The size of a plot, in pixels of its own.
const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 300.0;
/// Where its axes are: left, right, top, bottom.
const LEFT: f64 = 46.0;
const RIGHT: f64 = WIDTH - 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = HEIGHT - 40.0;
/// Bins of the histogram.
const HISTOGRAM_BINS: usize = 25;
/// A curve's next point is drawn when it is so many pixels away.
const STEP: f64 = 0.6;

fn across(x: f64) -> f64 {
    LEFT + x * (RIGHT - LEFT)
}

fn up(y: f64) -> f64 {
    BOTTOM - y * (BOTTOM - TOP)
}

/// A plot with both axes from 0 to 1, drawn around `inside`.
fn framed(title: &str, x: &str, y: &str, inside: &str) -> String {
    let mut out = format!(r#"<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{title}</title>"#);
    for tick in [0.0, 0.2, 0.4, 0.6, 0.8, 1.0] {
        let (at_x, at_y) = (across(tick), up(tick));
        let _ = write!(
            out,
            r#"<path class="grid" d="M{at_x:.1} {TOP}V{BOTTOM}M{LEFT} {at_y:.1}H{RIGHT}"/><text x="{at_x:.1}" y="{:.1}" text-anchor="middle">{tick:.1}</text><text x="{:.1}" y="{:.1}" text-anchor="end">{tick:.1}</text>"#,
            BOTTOM + 14.0,
            LEFT - 6.0,
            at_y + 3.5
        );
    }
    out.push_str(inside);
    let (middle_x, middle_y) = (f64::midpoint(LEFT, RIGHT), f64::midpoint(TOP, BOTTOM));
    let _ = write!(
        out,
        r#"<text class="axis" x="{middle_x:.1}" y="{:.1}" text-anchor="middle">{x}</text><text class="axis" transform="translate(12 {middle_y:.1}) rotate(-90)" text-anchor="middle">{y}</text></svg>"#,
        HEIGHT - 8.0
    );
    out
}

/// Mean score against the share of positives in every bin, with 95 % intervals; the number of rows stands below.
pub fn reliability(bins: &[Bin]) -> String {
    let most = bins.iter().map(Bin::n).max().unwrap_or(0).max(1) as f64;
    let mut out = format!(r#"<path class="ideal" d="M{LEFT} {BOTTOM}L{RIGHT} {TOP}"/>"#);
    for bin in bins {
        let Some(share) = Share::new(bin.positives, bin.n()) else { continue };
        let (x, width) = (across(bin.from), across(bin.to) - across(bin.from));
        let height = 46.0 * (bin.n() as f64 / most).sqrt();
        let _ = write!(
            out,
            r#"<rect class="count" x="{:.1}" y="{:.1}" width="{:.1}" height="{height:.1}"/><text class="tiny" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            x + 1.0,
            BOTTOM - height,
            width - 2.0,
            x + width / 2.0,
            BOTTOM - height - 2.0,
            bin.n()
        );
        let at = across(bin.sum / bin.n() as f64);
        let _ = write!(
            out,
            r#"<path class="whisker" d="M{at:.1} {:.1}V{:.1}"/><circle class="dot" cx="{at:.1}" cy="{:.1}" r="4"><title>{} rows, {:.3} positive</title></circle>"#,
            up(share.low),
            up(share.high),
            up(share.share),
            bin.n(),
            share.share
        );
    }
    framed("Reliability", "mean score of the bin", "share that is positive", &out)
}

fn curve(points: impl Iterator<Item = (f64, f64)>, place: usize) -> String {
    let mut path = String::new();
    let mut last: Option<(f64, f64)> = None;
    let mut points = points.peekable();
    while let Some((x, y)) = points.next() {
        let (x, y) = (across(x), up(y));
        let far = last.is_none_or(|(a, b)| (x - a).abs() + (y - b).abs() >= STEP);
        if far || points.peek().is_none() {
            let _ = write!(path, "{}{x:.1} {y:.1}", if last.is_some() { 'L' } else { 'M' });
            last = Some((x, y));
        }
    }
    format!(r#"<path class="line s{place}" d="{path}"/>"#)
}

/// One curve for each system, ours last so that it lies on top. Nothing where no rows can answer.
fn curves(systems: &[&[Outcome]], point: impl Fn(&Operating) -> (f64, f64), start: Option<(f64, f64)>) -> String {
    let drawn = systems.iter().enumerate().rev().map(|(place, rows)| {
        let points = operating_points(rows);
        if points.is_empty() { String::new() } else { curve(start.into_iter().chain(points.iter().map(&point)), place) }
    });
    drawn.collect()
}

/// Precision against recall of each system. The dashed line is the share of positives: what guessing gives.
pub fn precision_recall(systems: &[&[Outcome]]) -> String {
    let ours = systems.first().copied().unwrap_or_default();
    let base = Share::among(ours.iter(), |row| row.positive).map_or(0.0, |share| share.share);
    let guess = format!(r#"<path class="ideal" d="M{LEFT} {0:.1}H{RIGHT}"/>"#, up(base));
    let drawn = curves(systems, |at| (at.recall, at.precision), None);
    framed("Precision and recall", "recall", "precision", &(guess + drawn.as_str()))
}

/// True against false positive rate of each system.
pub fn roc(systems: &[&[Outcome]]) -> String {
    let guess = format!(r#"<path class="ideal" d="M{LEFT} {BOTTOM}L{RIGHT} {TOP}"/>"#);
    let drawn = curves(systems, |at| (at.false_positive_rate, at.recall), Some((0.0, 0.0)));
    framed("ROC", "false positive rate", "true positive rate", &(guess + drawn.as_str()))
}

/// Scores of positive rows upwards and of negative rows downwards, each as shares of their class on a
/// square-root scale, with the bounds of the bands.
pub fn histogram(rows: &[Outcome], bounds: &[f64]) -> String {
    let middle = f64::midpoint(TOP, BOTTOM);
    let half = middle - TOP - 4.0;
    let bins = bins(rows, HISTOGRAM_BINS);
    let (positives, negatives) = bins.iter().fold((0, 0), |(a, b), bin| (a + bin.positives, b + bin.negatives));
    let share = |part: usize, whole: usize| if whole > 0 { part as f64 / whole as f64 } else { 0.0 };
    let most = bins.iter().flat_map(|b| [share(b.positives, positives), share(b.negatives, negatives)]);
    let scale = most.fold(0.01, f64::max);
    // Most posts score near 0: their bin would flatten all others on a linear scale.
    let length = |part: usize, whole: usize| (share(part, whole) / scale).sqrt() * half;
    let mut out =
        format!(r#"<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>Scores by class</title>"#);
    for (sign, y) in [(1.0, 1.0), (1.0, 0.5), (0.0, 0.0), (-1.0, 0.5), (-1.0, 1.0)] {
        let at: f64 = middle - sign * y * half;
        let _ = write!(
            out,
            r#"<path class="grid" d="M{LEFT} {at:.1}H{RIGHT}"/><text x="{:.1}" y="{:.1}" text-anchor="end">{:.0} %</text>"#,
            LEFT - 4.0,
            at + 3.5,
            100.0 * scale * y * y
        );
    }
    for bin in &bins {
        let (x, width) = (across(bin.from) + 0.5, across(bin.to) - across(bin.from) - 1.0);
        let (above, below) = (length(bin.positives, positives), length(bin.negatives, negatives));
        let _ = write!(
            out,
            r#"<rect class="positive" x="{x:.1}" y="{:.1}" width="{width:.1}" height="{above:.1}"><title>{} positive</title></rect><rect class="negative" x="{x:.1}" y="{middle:.1}" width="{width:.1}" height="{below:.1}"><title>{} negative</title></rect>"#,
            middle - above,
            bin.positives,
            bin.negatives
        );
    }
    for bound in bounds {
        let x = across(*bound);
        let _ = write!(
            out,
            r#"<path class="bound" d="M{x:.1} {TOP}V{BOTTOM}"/><text class="tiny" x="{:.1}" y="{:.1}">{bound}</text>"#,
            x + 3.0,
            TOP + 8.0
        );
    }
    for tick in [0.0, 0.2, 0.4, 0.6, 0.8, 1.0] {
        let _ = write!(
            out,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{tick:.1}</text>"#,
            across(tick),
            BOTTOM + 14.0
        );
    }
    let _ = write!(
        out,
        r#"<text class="axis" x="{:.1}" y="{:.1}" text-anchor="middle">score</text></svg>"#,
        f64::midpoint(LEFT, RIGHT),
        HEIGHT - 8.0
    );
    out
}

/// A share and its interval on a line from 0 to 1, for a cell of a table.
pub fn interval(share: &Share) -> String {
    let at = |x: f64| 4.0 + x * 112.0;
    format!(
        r#"<svg class="interval" viewBox="0 0 120 12" role="img"><title>{:.3} to {:.3}</title><path class="grid" d="M4 6H116"/><path class="whisker" d="M{:.1} 6H{:.1}"/><circle class="dot" cx="{:.1}" cy="6" r="3.5"/></svg>"#,
        share.low,
        share.high,
        at(share.low),
        at(share.high),
        at(share.share)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_keeps_its_ends_and_drops_what_no_eye_sees() {
        let path = curve((0..=100_000).map(|n| (f64::from(n) / 1e5, 0.5)), 0);
        assert!(path.starts_with(&format!(r#"<path class="line s0" d="M{LEFT:.1} {:.1}L"#, up(0.5))), "{path}");
        assert!(path.ends_with(&format!(r#"L{RIGHT:.1} {:.1}"/>"#, up(0.5))), "{path}");
        assert!(path.len() < 10_000, "{}", path.len());
    }

    #[test]
    fn plots_of_nothing_are_plots() {
        for plot in [reliability(&bins(&[], 15)), precision_recall(&[&[]]), roc(&[]), histogram(&[], &[0.2])] {
            assert!(plot.starts_with("<svg") && plot.ends_with("</svg>") && !plot.contains("NaN"), "{plot}");
        }
    }
}
