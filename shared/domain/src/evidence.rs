//! Everything a decision may look at, each part saying whether it was there.

use crate::policy::Decision;
use crate::{Harm, Revision};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All that a decision may look at. Gathered by a shell, kept on the record, enough to decide again.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Which version of the post this is.
    pub revision: Revision,
    /// What the event itself said, without its content.
    pub post: PostFacts,
    /// One score for each harm that a model was asked about.
    pub scores: BTreeMap<Harm, Score>,
    /// Feature values by name. A feature that nobody looked for stands in none of these.
    pub features: BTreeMap<String, FeatureState>,
    /// Whether attached media could be looked at.
    pub media: Availability,
    /// Attached images that are on the block list: what conditions read as `media.blocked`.
    pub blocked_media: u32,
    /// What banks of signals found, by bank: what conditions read as `signal.BANK`. A bank that nobody looked in does not stand here.
    pub signals: BTreeMap<String, Signal>,
    /// Whether a person decided an earlier revision of this post.
    pub verdict_before: VerdictBefore,
    /// Whether the second opinion that the policy asks for was had; `none` where none is asked for, or it is not due yet.
    pub second_opinion: Availability,
    /// `true` where a part of the content, such as the object behind `text_ref`, could not be read.
    pub content_unread: bool,
    /// What the post was decided before, on other content; `None` where this content is the first under its key.
    pub conflict: Option<Decision>,
    /// `true` where nobody knows which policy is wanted, and this one is only what the program was shipped with.
    pub policy_assumed: bool,
}

impl Evidence {
    /// What is known before anybody looked: the revision and the event's own facts.
    #[must_use]
    pub fn of(revision: Revision, post: PostFacts) -> Self {
        Self {
            revision,
            post,
            scores: BTreeMap::new(),
            features: BTreeMap::new(),
            media: Availability::None,
            blocked_media: 0,
            signals: BTreeMap::new(),
            verdict_before: VerdictBefore::No,
            second_opinion: Availability::None,
            content_unread: false,
            conflict: None,
            policy_assumed: false,
        }
    }
}

/// What a bank of signals found in a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signal {
    /// How many of its entries, each counted once.
    pub found: u32,
    /// `true` where a part of the post, or the bank itself, could not be had: there may be more.
    pub partial: bool,
}

impl Signal {
    /// The signal of a bank that could not be had.
    pub const UNAVAILABLE: Self = Self { found: 0, partial: true };
}

/// What the event said about the post, besides its content.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PostFacts {
    /// Language tag as given; empty where none was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub lang: String,
    /// Surface as given; empty where none was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub surface: String,
    /// How many media are attached.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub media_count: u32,
    /// Whether it answers another post.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_reply: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What a model said about one harm.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// Probability before calibration, 0 to 1.
    pub raw: Option<f64>,
    /// Calibrated probability, 0 to 1: the number that bands compare, exactly as stored.
    pub calibrated: Option<f64>,
    /// Which model, as `name@version`.
    pub model: String,
    /// Whether there is a score at all.
    pub state: ScoreState,
    /// What of the post it was read from.
    pub view: View,
}

impl Score {
    /// A score that was asked for and could not be had.
    #[must_use]
    pub fn unavailable(model: impl Into<String>) -> Self {
        Self { raw: None, calibrated: None, model: model.into(), state: ScoreState::Unavailable, view: View::Text }
    }

    /// The number that bands compare: `Some` only where the state is `ok` and the number is one.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        self.calibrated.filter(|value| self.state == ScoreState::Ok && value.is_finite())
    }
}

/// What of a post a score was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum View {
    /// Its text: `text`.
    #[default]
    Text,
    /// The text behind its `text_ref`: `text_ref`.
    TextRef,
    /// Its title: `title`.
    Title,
    /// The warning before its content: `spoiler_text`.
    SpoilerText,
    /// The name that its author shows: `display_name`.
    DisplayName,
    /// The description of the medium at this place, from 0: `alt:0`.
    Alt(u32),
    /// The image at this place of its media, from 0, as such: `image:0`.
    Image(u32),
    /// The text in that image: `ocr:0`.
    Ocr(u32),
    /// Something that this version does not know: `other`.
    Other,
}

impl std::fmt::Display for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::TextRef => f.write_str("text_ref"),
            Self::Title => f.write_str("title"),
            Self::SpoilerText => f.write_str("spoiler_text"),
            Self::DisplayName => f.write_str("display_name"),
            Self::Other => f.write_str("other"),
            Self::Alt(place) => write!(f, "alt:{place}"),
            Self::Image(place) => write!(f, "image:{place}"),
            Self::Ocr(place) => write!(f, "ocr:{place}"),
        }
    }
}

impl From<View> for String {
    fn from(view: View) -> Self {
        view.to_string()
    }
}

impl From<String> for View {
    fn from(text: String) -> Self {
        let numbered = text.split_once(':').and_then(|(view, place)| Some((view, place.parse().ok()?)));
        match (text.as_str(), numbered) {
            ("text", _) => Self::Text,
            ("text_ref", _) => Self::TextRef,
            ("title", _) => Self::Title,
            ("spoiler_text", _) => Self::SpoilerText,
            ("display_name", _) => Self::DisplayName,
            (_, Some(("alt", place))) => Self::Alt(place),
            (_, Some(("image", place))) => Self::Image(place),
            (_, Some(("ocr", place))) => Self::Ocr(place),
            _ => Self::Other,
        }
    }
}

/// Whether a model answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreState {
    /// It answered.
    Ok,
    /// It was asked and could not answer, or the text is outside what it knows.
    Unavailable,
    /// It was not asked, because nothing for it to read exists.
    Skipped,
}

/// The value of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FeatureValue {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any number.
    Float(f64),
}

/// Feature values by name.
pub type FeatureValues = BTreeMap<String, FeatureValue>;

/// What is known of one feature. The four are different things, and stay different on the record.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureState {
    /// Known and fresh.
    Present(FeatureValue),
    /// Known, but older than its definition allows. Rules read the value; the record says it was stale.
    Stale(FeatureValue),
    /// Looked for and not there: a new author is normal. Rules read the definition's default.
    Missing,
    /// The store could not be asked. Rules that need it cannot be evaluated.
    Unavailable,
}

/// Whether something the evidence may hold could be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// There is none of it.
    #[default]
    None,
    /// It was looked at.
    Available,
    /// It is there and could not be looked at.
    Unavailable,
}

/// Whether a person decided an earlier revision of the same post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictBefore {
    /// No, or this is the first revision.
    #[default]
    No,
    /// Yes: a machine does not replace it in silence, so the new revision goes to review.
    Yes,
    /// The store could not be asked.
    Unavailable,
}
