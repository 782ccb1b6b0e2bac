//! The second judgement: a pure function of the provisional decision and of what was heard about its post.

use crate::consult::Without;
use domain::policy::Decision;
use domain::{
    Availability, Consulted, DecisionRecord, Evidence, Explanation, ImageRecord, ModelRef, Region, Score, ScoreState,
    Setting, SignalRecord, Timestamp, View, decide,
};
use features::signals::{as_evidence, merged};
use opinion::images::{BlockList, ImageError};
use opinion::protocol::Outcome;
use opinion::{Answer, Line, Seen, TextOpinion};
use runtime::planted::planted;
use scoring::Judge;
use std::collections::BTreeMap;

/// The harm that images are looked at for besides what is written in them.
const NUDITY: &str = "nudity";
/// Regions and spans that an explanation names.
const MOST_REGIONS: usize = 5;

/// What was heard about a post.
pub struct Heard<'a> {
    /// The answer to the question about it.
    pub answer: Result<Answer, Without>,
    /// For each of its media why it was not asked about; `None` where it was, in the order of the answer's images.
    pub unasked: &'a [Option<&'static str>],
    /// Images that are known; `None` where the list could not be had.
    pub block_list: Option<&'a BlockList>,
    /// What asking cost, in millionths of a US dollar.
    pub cost_usd_micro: f64,
    /// Now.
    pub now: Timestamp,
}

/// A probability of the leading harm, with where it comes from.
struct Candidate<'a> {
    score: Score,
    model: ModelRef,
    lines: &'a [Line],
}

/// Decides again on the evidence of the provisional decision and on what was heard. Total: what was not heard is evidence that is
/// unavailable, which leads to review and removes nothing.
#[must_use]
pub fn reconsider(judge: &Judge, before: &DecisionRecord, heard: Heard<'_>) -> DecisionRecord {
    let Heard { answer, unasked, block_list, cost_usd_micro, now } = heard;
    let mut evidence = Evidence { policy_assumed: judge.policy_assumed, ..before.evidence() };
    let mut images = Vec::new();
    let mut model = before.model.clone();
    let mut lines: &[Line] = &[];
    let mut spans: Option<&TextOpinion> = None;
    let mut without = answer.as_ref().err().copied();
    let mut signals = before.signals.clone();
    if let Ok(answer) = &answer {
        // What is written in a picture is in the post's language, as far as anybody said: one that is not learned cannot be read.
        let lang = Some(before.post.lang.as_str()).filter(|lang| !lang.is_empty());
        let learned = matches!(answer.text, Some(Outcome::Ok(_))) || judge.model.supports(lang);
        let legible = |seen: &'_ Seen| seen.lines.is_empty() || learned;
        let seen: Vec<_> = in_order(answer, unasked)
            .into_iter()
            .map(|seen| seen.and_then(|seen| if legible(seen) { Ok(seen) } else { Err("language_not_learned") }))
            .collect();
        let harm = &judge.policy.leading_harm;
        let text = match &answer.text {
            Some(Outcome::Ok(opinion)) => {
                let view = before.scores.get(harm).map(|score| score.view).unwrap_or_default();
                Some(candidate(opinion, view, &[]))
            }
            // It was asked about, and there is none; or it could not be.
            Some(Outcome::Error(code)) => {
                let unread = code == Without::Content.as_str();
                without = Some(if unread { Without::Content } else { Without::Unusable });
                None
            }
            None => None,
        };
        if let Some(Outcome::Ok(opinion)) = &answer.text {
            spans = Some(opinion);
        }
        let read = seen.iter().enumerate().filter_map(|(place, seen)| {
            let seen = seen.as_ref().ok()?;
            Some(candidate(seen.text.as_ref()?, View::Ocr(place_of(place)), &seen.lines))
        });
        let first = before.scores.get(harm);
        let failed = first.is_some_and(|score| score.state == ScoreState::Unavailable) && text.is_none();
        let own = text.or_else(|| {
            let score = first.filter(|score| score.state == ScoreState::Ok)?.into();
            Some(Candidate { score, model: before.model.clone(), lines: &[] })
        });
        // The highest view counts. A text that no model could read stays unavailable: what is written in a picture does not excuse it.
        let highest = own.into_iter().chain(read).max_by(|a, b| {
            let value = |one: &Candidate<'_>| one.score.calibrated.unwrap_or_default();
            // Of equals the first: the text before images.
            value(a).total_cmp(&value(b)).then(std::cmp::Ordering::Greater)
        });
        if let Some(highest) = highest.filter(|_| !failed) {
            model = highest.model;
            lines = highest.lines;
            evidence.scores.insert(harm.clone(), highest.score);
        }
        if let Some(nudity) = nudity(&seen) {
            evidence.scores.insert(NUDITY.to_owned(), nudity);
        }
        images = seen.iter().map(|seen| image_record(seen, block_list)).collect();
        if !unasked.is_empty() {
            signals = merged(&signals, searched(judge, &in_order(answer, unasked), now));
            evidence.signals = as_evidence(&signals);
        }
        if images.iter().any(|image| image.error.as_deref() != Some("not_asked")) {
            let blind = images.iter().any(|image| image.error.is_some());
            evidence.media = if blind { Availability::Unavailable } else { Availability::Available };
        }
        if planted("unseen-media-is-seen") && !images.is_empty() {
            evidence.media = Availability::Available;
        }
        evidence.blocked_media = place_of(images.iter().filter(|image| image.blocked.is_some()).count());
    }
    if without == Some(Without::Content) && images.is_empty() {
        images = unasked.iter().map(|why| image_record(&Err(why.unwrap_or("unanswered")), block_list)).collect();
        images.retain(|image| image.error.as_deref() != Some("not_asked"));
    }
    let silent = planted("fallback-says-nothing") || planted("fallback-removes");
    evidence.second_opinion = match without {
        Some(_) if silent => Availability::None,
        Some(_) => Availability::Unavailable,
        None => Availability::Available,
    };
    let mut record = written(judge, before, &evidence, model, now);
    record.images = images;
    if record.decision == Decision::Approve {
        signals.values_mut().for_each(|signal| signal.matches.clear());
    }
    record.signals = signals;
    record.second_opinion = judge.policy.second_opinion.as_ref().map(|wanted| Consulted {
        by: wanted.by,
        state: if without.is_some() { ScoreState::Unavailable } else { ScoreState::Ok },
        why: without.map(|why| why.as_str().to_owned()),
        model: spans.map(|opinion| format!("{}@{}", opinion.model.name, opinion.model.version)),
    });
    if record.second_opinion.is_none() {
        record.second_opinion = Some(Consulted {
            by: domain::Adviser::Lambda,
            state: ScoreState::Unavailable,
            why: Some(Without::Off.as_str().to_owned()),
            model: None,
        });
    }
    if silent {
        record.second_opinion = None;
    }
    if planted("fallback-removes") && without.is_some() {
        record.decision = Decision::Hide;
    }
    record.explanation = explanation(&record, before, spans, lines);
    record.cost_usd_micro = service::prices::rounded(before.cost_usd_micro + cost_usd_micro);
    record
}

/// What banks find in the post's images: in each line, in all lines together, and by the images' hashes. The language does not matter:
/// a listed word needs no model.
fn searched(judge: &Judge, seen: &[Result<&Seen, &'static str>], now: Timestamp) -> BTreeMap<String, SignalRecord> {
    let mut search = judge.banks.search(now);
    for (place, seen) in seen.iter().enumerate().map(|(place, seen)| (place_of(place), seen)) {
        let Ok(seen) = seen else {
            search.unseen_image();
            continue;
        };
        for line in &seen.lines {
            search.text(View::Ocr(place), &line.text, Some(region(place, line).bounds));
        }
        if seen.lines.len() > 1 {
            let all: Vec<&str> = seen.lines.iter().map(|line| line.text.as_str()).collect();
            search.text(View::Ocr(place), &all.join("\n"), None);
        }
        search.image(View::Image(place), seen.pdq.as_ref().and_then(|hash| hash.parse().ok()).as_ref());
    }
    search.done()
}

/// What was seen in each of the post's media, or why not.
fn in_order<'a>(answer: &'a Answer, unasked: &[Option<&'static str>]) -> Vec<Result<&'a Seen, &'static str>> {
    let mut asked = answer.images.iter();
    unasked
        .iter()
        .map(|why| match why {
            Some(why) => Err(*why),
            None => match asked.next() {
                Some(Outcome::Ok(seen)) => Ok(seen),
                Some(Outcome::Error(error)) => Err(code(*error)),
                None => Err("unanswered"),
            },
        })
        .collect()
}

fn code(error: ImageError) -> &'static str {
    match error {
        ImageError::TooManyBytes => "too_many_bytes",
        ImageError::TooManyPixels => "too_many_pixels",
        ImageError::TooManyFrames => "too_many_frames",
        ImageError::TooManyLines => "too_many_lines",
        ImageError::Heic => "heic_is_not_read",
        ImageError::Avif => "avif_is_not_read",
        ImageError::NotAnImage => "not_an_image",
        ImageError::Broken => "broken",
        ImageError::ModelFailed => "model_failed",
    }
}

/// As scores are compared and stored.
fn six_decimals(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn place_of(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

fn candidate<'a>(opinion: &TextOpinion, view: View, lines: &'a [Line]) -> Candidate<'a> {
    let score = Score {
        raw: Some(six_decimals(opinion.raw)),
        calibrated: Some(six_decimals(opinion.calibrated)),
        model: format!("{}@{}", opinion.model.name, opinion.model.version),
        state: ScoreState::Ok,
        view,
    };
    Candidate { score, model: opinion.model.clone(), lines }
}

/// The highest of all images.
fn nudity(seen: &[Result<&Seen, &'static str>]) -> Option<Score> {
    let seen = seen.iter().enumerate().filter_map(|(place, seen)| Some((place, *seen.as_ref().ok()?)));
    let (place, seen) = seen.max_by(|(_, a), (_, b)| a.nudity.total_cmp(&b.nudity))?;
    Some(Score {
        raw: Some(six_decimals(seen.nudity)),
        calibrated: Some(six_decimals(seen.nudity)),
        model: format!("{}@{}", seen.nudity_model.name, seen.nudity_model.version),
        state: ScoreState::Ok,
        view: View::Image(place_of(place)),
    })
}

/// Without the block list nobody can say that an image is not on it. The hash of one that is not is nobody's business: it would tell who
/// posted the same picture.
fn image_record(seen: &Result<&Seen, &'static str>, block_list: Option<&BlockList>) -> ImageRecord {
    let error = |code: &str| ImageRecord { error: Some(code.to_owned()), ..ImageRecord::default() };
    let seen = match seen {
        Err(code) => return error(code),
        Ok(seen) => seen,
    };
    let Some(block_list) = block_list else { return error("block_list_unavailable") };
    let listed = |hash: &String| Some((block_list.near(&hash.parse().ok()?)?.to_owned(), hash.clone()));
    let (blocked, pdq) = seen.pdq.iter().chain(&seen.more_pdq).find_map(listed).unzip();
    // What was seen of it counts, and what was not makes it unseen.
    let unread = seen.unread.filter(|_| !planted("unread-part-is-seen"));
    ImageRecord { error: unread.map(|why| code(why).to_owned()), lines: place_of(seen.lines.len()), blocked, pdq }
}

fn written(
    judge: &Judge,
    before: &DecisionRecord,
    evidence: &Evidence,
    model: ModelRef,
    now: Timestamp,
) -> DecisionRecord {
    let mut judgement = decide(&judge.policy, evidence);
    judgement.degraded.extend(judge.degraded.iter().cloned());
    judgement.degraded.extend(before.degraded.iter().filter(|name| domain::is_note(name)).cloned());
    let setting = Setting {
        model,
        feature_set: before.features.set.clone(),
        feature_sha256: before.features.sha256.clone(),
        received_at: before.received_at,
        decided_at: now,
    };
    let who = (before.post_id.clone(), before.author_id.clone());
    let mut record = DecisionRecord::new(who, evidence, &judge.policy, judgement, setting);
    record.attempt = before.attempt.saturating_add(1);
    record.content.clone_from(&before.content);
    record.source.clone_from(&before.source);
    record
}

/// Where the score comes from: lines of the image that it was read in, or parts of the text.
fn explanation(
    record: &DecisionRecord,
    before: &DecisionRecord,
    text: Option<&TextOpinion>,
    lines: &[Line],
) -> Option<Explanation> {
    if record.decision == Decision::Approve {
        return None;
    }
    let view = record.scores.values().find(|score| score.view != View::Text && matches!(score.view, View::Ocr(_)));
    if let Some(View::Ocr(image)) = view.map(|score| score.view) {
        let mut regions: Vec<Region> = lines.iter().map(|line| region(image, line)).collect();
        regions.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        regions.truncate(MOST_REGIONS);
        return Some(Explanation { method: "lines".to_owned(), spans: Vec::new(), regions });
    }
    match text.filter(|opinion| !opinion.spans.is_empty()) {
        Some(opinion) => {
            let spans = opinion.spans.iter().take(MOST_REGIONS).copied().collect();
            Some(Explanation { method: "occlusion".to_owned(), spans, regions: Vec::new() })
        }
        None => before.explanation.clone(),
    }
}

fn region(image: u32, line: &Line) -> Region {
    let among = |axis: usize| line.corners.iter().filter_map(move |corner| corner.get(axis).copied());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the pixels of an image")]
    let pixel = |place: f32| place.clamp(0.0, 65_535.0).round() as u32;
    let least = |axis| pixel(among(axis).fold(f32::INFINITY, f32::min));
    let most = |axis| pixel(among(axis).fold(f32::NEG_INFINITY, f32::max));
    Region { image, frame: line.frame, bounds: [least(0), least(1), most(0), most(1)], weight: line.score }
}
