//! The report as one HTML page: no script, nothing fetched, and everything that comes from a file escaped.

use std::fmt::{self, Display, Formatter, Write};

use domain::Decision;
use scoring::metrics::Outcome;

use super::measures::{Share, ThreeClasses};
use super::{Audit, Groups, Identity, LEAST_ROWS, Measured, PeerAudit, SetAudit, Slice, plots};

/// Slices shown without unfolding.
const SHOWN_SLICES: usize = 15;
/// A value longer than this may be a text, and is shown by its digest.
const LONGEST_VALUE: usize = 80;
/// Colours of curves.
const COLOURS: usize = 5;

/// Text that is safe between tags and in quoted attributes.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => out.write_str("&amp;"),
            '<' => out.write_str("&lt;"),
            '>' => out.write_str("&gt;"),
            '"' => out.write_str("&quot;"),
            '\'' => out.write_str("&#39;"),
            // Control characters are not allowed in HTML, and directional ones would reorder what surrounds them.
            c if c.is_control()
                || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                out.write_char('\u{fffd}')
            }
            c => out.write_char(c),
        })
    }
}

/// A value of a column.
struct Value<'a>(&'a str);

impl Display for Value<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => out.write_str("(empty)"),
            long if long.chars().count() > LONGEST_VALUE => {
                write!(out, "<code>{:.12}…</code>", domain::sha256_hex(long.as_bytes()))
            }
            value => Escaped(value).fmt(out),
        }
    }
}

/// Three decimals, or a dash.
struct Number(Option<f64>);

impl Display for Number {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => write!(out, "{number:.3}"),
            None => out.write_str("–"),
        }
    }
}

/// A share with its interval.
struct Interval(Option<Share>);

impl Display for Interval {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Share { share, low, high, .. }) => write!(out, "{share:.3}<small>{low:.3} to {high:.3}</small>"),
            None => out.write_str("–"),
        }
    }
}

/// Begins a table. A column whose name begins with `<` holds words, which stand to the left.
fn head(out: &mut String, columns: &[&str]) -> fmt::Result {
    write!(out, r#"<div class="scroll"><table><thead><tr>"#)?;
    columns.iter().try_for_each(|column| match column.strip_prefix('<') {
        Some(words) => write!(out, r#"<th class="left">{words}</th>"#),
        None => write!(out, "<th>{column}</th>"),
    })?;
    writeln!(out, "</tr></thead><tbody>")
}

fn foot(out: &mut String) -> fmt::Result {
    writeln!(out, "</tbody></table></div>")
}

/// The page.
pub fn html(audit: &Audit, measured: &Measured<'_>) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut out, audit, measured);
    out
}

fn write(out: &mut String, audit: &Audit, measured: &Measured<'_>) -> fmt::Result {
    let model = measured.model;
    writeln!(
        out,
        r#"<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/><title>Evaluation of {0}</title><style>
{1}</style></head><body>
<h1>Evaluation of {0} {2}</h1>
<p class="note">Digest <code>{3}</code></p>"#,
        Escaped(&model.name),
        include_str!("page.css"),
        Escaped(&model.version),
        Escaped(&model.sha256),
    )?;
    let rows = measured.rows.len();
    let sets = measured.sets.len();
    writeln!(
        out,
        "<p>{rows} labelled rows of {sets} {}. A row is predicted positive from a score of 0.5. {} Small numbers are 95 % intervals \
         (Wilson). A dash is where the rows cannot answer. No post is shown: rows are named by number and digest.</p>",
        if sets == 1 { "set" } else { "sets" },
        policy(measured),
    )?;
    writeln!(
        out,
        r##"<nav><a href="#sets">Sets</a><a href="#plots">Plots</a><a href="#worst">Worst slices</a><a href="#policy">Policy</a><a href="#groups">Groups</a><a href="#identity">Identity terms</a><a href="#beside">Beside others</a><a href="#slices">All slices</a><a href="#errors">Errors</a></nav>"##
    )?;
    if let Some(whole) = audit.sets.first() {
        tiles(out, whole)?;
    }
    by_set(out, &audit.sets)?;
    all_plots(out, audit, measured)?;
    worst(out, audit)?;
    policed(out, &audit.sets)?;
    groups(out, &audit.equalised_odds)?;
    identity(out, audit.identity_false_positives.as_ref())?;
    beside(out, &audit.beside)?;
    three_classes(out, &audit.beside)?;
    slices(out, &audit.sets)?;
    errors(out, audit, measured)?;
    writeln!(out, "</body></html>")
}

fn policy(measured: &Measured<'_>) -> String {
    let word = |decision| match decision {
        Decision::Approve => "approves",
        Decision::Review => "sends to review",
        Decision::Hide => "hides",
    };
    let said: Vec<_> =
        measured.bands.iter().map(|band| format!("{} from {}", word(band.decision), band.from)).collect();
    if said.is_empty() {
        "No policy has bands for this harm.".to_owned()
    } else {
        format!("The policy {}.", said.join(", "))
    }
}

fn tiles(out: &mut String, whole: &SetAudit) -> fmt::Result {
    writeln!(out, r#"<div class="tiles">"#)?;
    let metrics = &whole.report.metrics;
    let name = Escaped(&whole.set.name);
    for (value, what) in
        [(metrics.macro_f1, "macro-F1"), (metrics.auc_roc, "AUC-ROC"), (metrics.ece, "calibration error")]
    {
        writeln!(out, r#"<div class="tile"><b>{}</b><span>{what}, {name}</span></div>"#, Number(value))?;
    }
    let policy = &whole.policy;
    for (share, what) in [
        (policy.precision_of_hiding, "of what is hidden is positive"),
        (policy.positives_approved, "of the positive is approved"),
        (policy.reviewed, "of all goes to review"),
    ] {
        let interval = share.map_or(String::new(), |s| format!(" ({:.3} to {:.3})", s.low, s.high));
        writeln!(
            out,
            r#"<div class="tile"><b>{}</b><span>{what}{interval}</span></div>"#,
            Number(share.map(|s| s.share))
        )?;
    }
    writeln!(out, "</div>")
}

fn by_set(out: &mut String, sets: &[SetAudit]) -> fmt::Result {
    writeln!(out, r#"<h2 id="sets">By set</h2>"#)?;
    head(
        out,
        &[
            "set",
            "rows",
            "positive",
            "precision",
            "recall",
            "F1",
            "macro-F1",
            "AUC-ROC",
            "PR-AUC",
            "ECE",
            "false positive rate",
        ],
    )?;
    for (place, set) in sets.iter().enumerate() {
        let m = &set.report.metrics;
        let lead = if place == 0 && sets.len() > 1 { r#" class="lead""# } else { "" };
        write!(out, "<tr{lead}><td>{}</td><td>{}</td><td>{}</td>", Escaped(&set.set.name), m.n, m.positives)?;
        for value in [m.precision, m.recall, m.f1, m.macro_f1, m.auc_roc, m.pr_auc, m.ece, m.false_positive_rate] {
            write!(out, "<td>{}</td>", Number(value))?;
        }
        writeln!(out, "</tr>")?;
    }
    foot(out)?;
    writeln!(out, "<details><summary>Files, and what is positive in each</summary>")?;
    head(out, &["set", "<positive", "<pooled", "<file", "<SHA-256"])?;
    for SetAudit { set, .. } in sets.iter().filter(|set| !set.set.file.is_empty()) {
        writeln!(
            out,
            r#"<tr><td>{}</td><td class="left">{}</td><td class="left">{}</td><td class="left">{}</td><td class="left"><code>{}</code></td></tr>"#,
            Escaped(&set.name),
            Escaped(&set.positive),
            if set.pooled { "yes" } else { "no" },
            Escaped(&set.file),
            Escaped(&set.sha256)
        )?;
    }
    foot(out)?;
    writeln!(out, "</details>")
}

/// The systems' rows on one set, ours first.
fn systems<'a>(audit: &'a Audit, set: &'a SetAudit) -> Vec<&'a [Outcome]> {
    let others = audit.beside.iter().skip(1).flat_map(|peer| &peer.sets).filter(|other| other.set == set.set.name);
    std::iter::once(&*set.outcomes).chain(others.map(|other| &*other.outcomes)).take(COLOURS).collect()
}

fn all_plots(out: &mut String, audit: &Audit, measured: &Measured<'_>) -> fmt::Result {
    writeln!(out, r#"<h2 id="plots">Plots</h2>"#)?;
    for (place, set) in audit.sets.iter().enumerate() {
        let name = Escaped(&set.set.name);
        match place {
            0 => writeln!(out, "<h3>{name}</h3>")?,
            _ => writeln!(out, "<details><summary>{name}</summary>")?,
        }
        plots_of(out, audit, set, measured)?;
        if place > 0 {
            writeln!(out, "</details>")?;
        }
    }
    Ok(())
}

fn plots_of(out: &mut String, audit: &Audit, set: &SetAudit, measured: &Measured<'_>) -> fmt::Result {
    let systems = systems(audit, set);
    let mut keys = String::new();
    let several = audit.beside.len() > 1;
    for (place, peer) in audit.beside.iter().take(COLOURS).enumerate().filter(|_| several) {
        write!(
            keys,
            r#" <span class="key"><svg viewBox="0 0 26 8"><path class="line s{place}" d="M0 4H26"/></svg>{}</span>"#,
            Escaped(&peer.name)
        )?;
    }
    let bounds: Vec<f64> = measured.bands.iter().map(|band| band.from).filter(|from| *from > 0.0).collect();
    writeln!(out, r#"<div class="plots">"#)?;
    let figure = |out: &mut String, svg: String, name: &str, caption: &str| {
        writeln!(out, "<figure>{svg}<figcaption><b>{name}.</b> {caption}</figcaption></figure>")
    };
    figure(
        out,
        plots::reliability(&set.reliability),
        "Reliability",
        "15 bins of equal width; on the dashed line a score of 0.3 is right three times in ten. Bars and small numbers: rows.",
    )?;
    figure(
        out,
        plots::histogram(&set.outcomes, &bounds),
        "Scores by class",
        r#"<span class="swatch up"></span>positive rows upwards, <span class="swatch down"></span>negative downwards, as shares of their class on a square-root scale; dashed: bounds of the policy's bands."#,
    )?;
    let guess = format!("Dashed: guessing.{keys}");
    figure(out, plots::precision_recall(&systems), "Precision and recall", &guess)?;
    figure(out, plots::roc(&systems), "ROC", &guess)?;
    writeln!(out, "</div>")
}

fn worst(out: &mut String, audit: &Audit) -> fmt::Result {
    writeln!(out, r#"<h2 id="worst">Worst slices first</h2>"#)?;
    writeln!(
        out,
        r#"<p class="note">Slices with at least {LEAST_ROWS} rows of the class, ordered by the lower end of the interval, so that a small slice leads only where it is surely bad; of sets whose positive class is this harm. At a score of 0.5.</p>"#
    )?;
    let worst = &audit.worst_slices;
    ranking(out, "Positive rows missed", &worst.missed, |slice| slice.missed)?;
    ranking(out, "Negative rows flagged", &worst.false_alarms, |slice| slice.false_alarms)
}

fn ranking(out: &mut String, title: &str, slices: &[Slice], rate: impl Fn(&Slice) -> Option<Share>) -> fmt::Result {
    writeln!(out, "<h3>{title}</h3>")?;
    if slices.is_empty() {
        return writeln!(out, r#"<p class="note">No slice has enough rows.</p>"#);
    }
    let shown = slices.get(..SHOWN_SLICES).unwrap_or(slices);
    let rest = slices.get(SHOWN_SLICES..).unwrap_or_default();
    ranked_rows(out, shown, &rate)?;
    if !rest.is_empty() {
        writeln!(out, "<details><summary>{} more</summary>", rest.len())?;
        ranked_rows(out, rest, &rate)?;
        writeln!(out, "</details>")?;
    }
    Ok(())
}

fn ranked_rows(out: &mut String, slices: &[Slice], rate: impl Fn(&Slice) -> Option<Share>) -> fmt::Result {
    head(out, &["slice", "<set", "wrong", "of", "share", "", "macro-F1", "AUC-ROC"])?;
    for slice in slices {
        let Some(share) = rate(slice) else { continue };
        writeln!(
            out,
            r#"<tr><td class="name">{} = {}</td><td class="left">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>"#,
            Escaped(&slice.column),
            Value(&slice.value),
            Escaped(&slice.set),
            share.part,
            share.of,
            Interval(Some(share)),
            plots::interval(&share),
            Number(slice.metrics.macro_f1),
            Number(slice.metrics.auc_roc)
        )?;
    }
    foot(out)
}

fn policed(out: &mut String, sets: &[SetAudit]) -> fmt::Result {
    writeln!(out, r#"<h2 id="policy">At the policy's bands</h2>"#)?;
    if sets.iter().all(|set| set.report.bands.is_empty()) {
        return writeln!(out, r#"<p class="note">The policy has no bands for this harm.</p>"#);
    }
    head(
        out,
        &["set", "hidden rows that are positive", "positive rows approved", "negative rows hidden", "rows reviewed"],
    )?;
    for (place, set) in sets.iter().enumerate() {
        let lead = if place == 0 && sets.len() > 1 { r#" class="lead""# } else { "" };
        write!(out, "<tr{lead}><td>{}</td>", Escaped(&set.set.name))?;
        let p = &set.policy;
        for share in [p.precision_of_hiding, p.positives_approved, p.negatives_hidden, p.reviewed] {
            write!(out, "<td>{}</td>", Interval(share))?;
        }
        writeln!(out, "</tr>")?;
    }
    foot(out)?;
    writeln!(out, "<details><summary>Rows in each band</summary>")?;
    head(out, &["set", "<band", "from", "rows", "share of rows", "positive", "negative"])?;
    for set in sets {
        for band in &set.report.bands {
            let positives = band.positive_share.map_or(0, |share| (share * band.n as f64).round() as usize);
            writeln!(
                out,
                r#"<tr><td>{}</td><td class="left">{}, {}</td><td>{}</td><td>{}</td><td>{}</td><td>{positives}</td><td>{}</td></tr>"#,
                Escaped(&set.set.name),
                Escaped(&band.band),
                band.decision,
                band.from,
                band.n,
                Number(band.share),
                band.n - positives
            )?;
        }
    }
    foot(out)?;
    writeln!(out, "</details>")
}

fn groups(out: &mut String, all: &[Groups]) -> fmt::Result {
    writeln!(out, r#"<h2 id="groups">Equal treatment of groups</h2>"#)?;
    if all.is_empty() {
        return writeln!(out, r#"<p class="note">No column with groups was given: <code>--slice COLUMN</code>.</p>"#);
    }
    for Groups { set, column, odds } in all {
        writeln!(out, "<h3>{}, by {}</h3>", Escaped(set), Escaped(column))?;
        writeln!(
            out,
            "<p>Equalised odds: true positive rates are {} apart, false positive rates {}, so the gap is {}. F1 is spread over {}. A rate counts \
             from {} rows; the smallest group that counts has {} rows.</p>",
            Number(odds.true_positive_gap),
            Number(odds.false_positive_gap),
            Number(odds.gap),
            Number(odds.f1_spread),
            odds.least_rows,
            odds.smallest_group.map_or("–".to_owned(), |n| n.to_string())
        )?;
        head(out, &["group", "rows", "true positive rate", "", "false positive rate", "", "F1"])?;
        let mut groups: Vec<_> = odds.groups.iter().filter(|group| group.n >= odds.least_rows).collect();
        let smaller = odds.groups.len() - groups.len();
        groups.sort_by(|a, b| a.f1.unwrap_or(2.0).total_cmp(&b.f1.unwrap_or(2.0)));
        for group in groups {
            write!(out, r#"<tr><td class="name">{}</td><td>{}</td>"#, Value(&group.group), group.n)?;
            for share in [group.true_positive_rate, group.false_positive_rate] {
                let few = share.is_some_and(|share| share.of < odds.least_rows);
                let drawn = share.as_ref().map_or(String::new(), plots::interval);
                let star = if few { "<small>few</small>" } else { "" };
                write!(out, "<td>{}{star}</td><td>{drawn}</td>", Interval(share))?;
            }
            writeln!(out, "<td>{}</td></tr>", Number(group.f1))?;
        }
        foot(out)?;
        if smaller > 0 {
            writeln!(out, r#"<p class="note">{smaller} smaller groups are not shown.</p>"#)?;
        }
    }
    Ok(())
}

fn identity(out: &mut String, found: Option<&Identity>) -> fmt::Result {
    let Some(found) = found else { return Ok(()) };
    writeln!(out, r#"<h2 id="identity">Harmless sentences that name a group</h2>"#)?;
    let bound = found.bound.map_or("–".to_owned(), |bound| bound.to_string());
    writeln!(
        out,
        "<p>Neutral and positive sentences with terms that no model of ours is trained on, both held out: {} score 0.5 or more; {} are not approved \
         (from {bound}). Worst terms first.</p>",
        Interval(found.at_half),
        Interval(found.not_approved),
    )?;
    head(out, &["term", "sentences", "at 0.5 or more", "not approved", ""])?;
    for term in &found.terms {
        let of = term.at_half.map_or(0, |share| share.of);
        let drawn = term.not_approved.as_ref().map_or(String::new(), plots::interval);
        writeln!(
            out,
            "<tr><td>{}</td><td>{of}</td><td>{}</td><td>{}</td><td>{drawn}</td></tr>",
            Escaped(&term.term),
            Interval(term.at_half),
            Interval(term.not_approved)
        )?;
    }
    foot(out)
}

fn beside(out: &mut String, peers: &[PeerAudit]) -> fmt::Result {
    writeln!(out, r#"<h2 id="beside">Beside others</h2>"#)?;
    let [first, _, ..] = peers else {
        return writeln!(out, r#"<p class="note">No other system was given: <code>--beside NAME=FILE</code>.</p>"#);
    };
    writeln!(
        out,
        r#"<p class="note">The same rows, in bold the best of a set. A system that was trained on rows of a set looks better there than it is: <code>alt-profanity-check</code> and <code>hatesonar</code> both learned from Davidson's tweets. Not all scores are meant as probabilities of hate, which macro-F1 at 0.5 and the calibration error show.</p>"#
    )?;
    type Pick = fn(&scoring::metrics::Metrics) -> Option<f64>;
    let measures: [(&str, Pick, bool); 4] = [
        ("AUC-ROC", |m| m.auc_roc, true),
        ("PR-AUC", |m| m.pr_auc, true),
        ("macro-F1", |m| m.macro_f1, true),
        ("ECE, less is better", |m| m.ece, false),
    ];
    for (name, pick, more) in measures {
        writeln!(out, "<h3>{name}</h3>")?;
        let names: Vec<String> = peers.iter().map(|peer| Escaped(&peer.name).to_string()).collect();
        head(out, &["set"].into_iter().chain(names.iter().map(String::as_str)).collect::<Vec<_>>())?;
        for (place, set) in first.sets.iter().enumerate() {
            let values: Vec<_> =
                peers.iter().map(|peer| peer.sets.get(place).and_then(|set| pick(&set.metrics))).collect();
            let order = if more { f64::max } else { f64::min };
            let best = values.iter().flatten().copied().reduce(order);
            write!(out, "<tr><td>{}</td>", Escaped(&set.set))?;
            for value in values {
                let class = if value.is_some() && value == best { r#" class="best""# } else { "" };
                write!(out, "<td{class}>{}</td>", Number(value))?;
            }
            writeln!(out, "</tr>")?;
        }
        foot(out)?;
    }
    Ok(())
}

/// Systems that tell hate, offence and neither apart, on sets that do.
fn three_classes(out: &mut String, peers: &[PeerAudit]) -> fmt::Result {
    let found: Vec<(&str, &str, &ThreeClasses)> = peers
        .iter()
        .flat_map(|peer| peer.sets.iter().filter_map(|set| Some((&*peer.name, &*set.set, set.three_classes.as_ref()?))))
        .collect();
    if found.is_empty() {
        return Ok(());
    }
    writeln!(out, "<h2>Three classes: hate, offensive, neither</h2>")?;
    head(
        out,
        &[
            "system",
            "<set",
            "rows",
            "accuracy",
            "macro-F1",
            "AUC-ROC",
            "hate taken for",
            "offensive taken for",
            "neither taken for",
        ],
    )?;
    for (name, set, three) in found {
        write!(
            out,
            r#"<tr><td>{}</td><td class="left">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>"#,
            Escaped(name),
            Escaped(set),
            three.metrics.n,
            Number(three.metrics.accuracy),
            Number(three.metrics.macro_f1),
            Number(three.metrics.auc_roc)
        )?;
        for [hate, offensive, neither] in three.confusion {
            write!(out, "<td>{hate} / {offensive} / {neither}</td>")?;
        }
        writeln!(out, "</tr>")?;
    }
    foot(out)?;
    writeln!(
        out,
        r#"<p class="note">The highest of three scores counts; AUC-ROC is the mean over pairs of classes.</p>"#
    )
}

fn slices(out: &mut String, sets: &[SetAudit]) -> fmt::Result {
    writeln!(out, r#"<h2 id="slices">All slices</h2>"#)?;
    writeln!(out, r#"<p class="note">With at least {LEAST_ROWS} rows, the worst of a set first.</p>"#)?;
    for set in sets.iter().filter(|set| !set.slices.is_empty()) {
        writeln!(out, "<details><summary>{}, {} slices</summary>", Escaped(&set.set.name), set.slices.len())?;
        head(out, &["slice", "rows", "positive", "missed", "flagged", "F1", "macro-F1", "AUC-ROC", "ECE"])?;
        for slice in &set.slices {
            let m = &slice.metrics;
            writeln!(
                out,
                r#"<tr><td class="name">{} = {}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>"#,
                Escaped(&slice.column),
                Value(&slice.value),
                m.n,
                m.positives,
                Interval(slice.missed),
                Interval(slice.false_alarms),
                Number(m.f1),
                Number(m.macro_f1),
                Number(m.auc_roc),
                Number(m.ece)
            )?;
        }
        foot(out)?;
        writeln!(out, "</details>")?;
    }
    Ok(())
}

fn errors(out: &mut String, audit: &Audit, measured: &Measured<'_>) -> fmt::Result {
    writeln!(out, r#"<h2 id="errors">The greatest errors</h2>"#)?;
    writeln!(
        out,
        r#"<p class="note">Rows are counted from 1 in the order in which they were read, of the corpora among the validation rows of a set. The digest is SHA-256 of the text.</p>"#
    )?;
    for (title, rows) in
        ["Positive rows with the lowest scores", "Negative rows with the highest scores"].iter().zip(&audit.errors)
    {
        writeln!(out, "<details><summary>{title}</summary>")?;
        head(out, &["set", "row", "score", "words", "<digest"])?;
        for row in rows {
            let set = measured.sets.get(row.set).map_or("", |set| &set.name);
            writeln!(
                out,
                r#"<tr><td>{}</td><td>{}</td><td>{:.3}</td><td>{}</td><td class="left"><code>{:.16}</code></td></tr>"#,
                Escaped(set),
                row.number,
                row.outcome.score,
                row.words,
                row.digest
            )?;
        }
        foot(out)?;
        writeln!(out, "</details>")?;
    }
    Ok(())
}
