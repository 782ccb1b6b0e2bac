//! One request: from its body to jobs, and from what came of them to its answer. No waiting in here.

use std::fmt;
use std::ops::Range;

use opinion::protocol::{self, Answer, MAX_IMAGES, Outcome, Question, Response};
use opinion::{ImageError, Reader};
use runtime::isolate;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::error::Refusal;
use crate::npy::{self, Ids};
use crate::workers::{Done, PANICKED, Work};

/// The most instances of a request: so many answers are written whatever they hold.
pub const MAX_INSTANCES: usize = 512;

/// A request that was read.
pub enum Invocation {
    /// JSON.
    Questions(Vec<Asked>),
    /// An array.
    Rows,
}

/// One instance.
pub struct Asked {
    /// `None` where it was not readable.
    question: Option<Question>,
    text: Asks,
    images: Range<usize>,
}

/// What is asked about a text.
enum Asks {
    Nothing,
    /// Places of its rows among the jobs.
    Rows(Range<usize>),
    /// Nothing can be asked; the code says why.
    Refused(String),
}

/// What an instance that cannot be read is answered with.
const INVALID: &str = "invalid_instance";

/// The body of a request; instances are read one by one, so that a bad one fails itself alone.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    instances: Instances<'a>,
}

struct Instances<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Instances<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Few;
        impl<'de> Visitor<'de> for Few {
            type Value = Instances<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of instances")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut instances = Vec::new();
                while let Some(instance) = list.next_element()? {
                    if instances.len() == MAX_INSTANCES {
                        return Err(A::Error::custom("too many instances"));
                    }
                    instances.push(instance);
                }
                Ok(Instances(instances))
            }
        }
        deserializer.deserialize_seq(Few)
    }
}

/// Reads JSON and takes the texts apart into rows.
pub fn read_json(body: &[u8], reader: &dyn Reader) -> Result<(Invocation, Vec<Work>), Refusal> {
    let body: Body<'_> = serde_json::from_slice(body).map_err(|_| Refusal::Json)?;
    let mut jobs = Vec::new();
    let ask = |raw: &RawValue| ask(serde_json::from_str(raw.get()).ok(), reader, &mut jobs);
    let asked = body.instances.0.into_iter().map(ask).collect();
    Ok((Invocation::Questions(asked), jobs))
}

fn ask(question: Option<Question>, reader: &dyn Reader, jobs: &mut Vec<Work>) -> Asked {
    let question = question.filter(|question| question.images.len() <= MAX_IMAGES);
    let Some(mut question) = question else { return Asked { question, text: Asks::Nothing, images: 0..0 } };
    let start = jobs.len();
    let text = match &question.text {
        None => Asks::Nothing,
        Some(_) if !reader.supports(question.lang.as_deref()) => Asks::Refused("language_not_learned".to_owned()),
        Some(text) if text.len() > scoring::MAX_QUESTION_TEXT_BYTES => Asks::Refused("text_too_long".to_owned()),
        Some(text) => match isolate(|| reader.rows(text)) {
            Ok(rows) => {
                jobs.extend(rows.into_iter().map(Work::Row));
                Asks::Rows(start..jobs.len())
            }
            Err(_) => Asks::Refused(PANICKED.to_owned()),
        },
    };
    let start = jobs.len();
    jobs.extend(std::mem::take(&mut question.images).into_iter().map(|image| Work::Look(image.0)));
    Asked { question: Some(question), text, images: start..jobs.len() }
}

/// Reads an array of ids.
pub fn read_npy(body: &[u8]) -> Result<(Invocation, Vec<Work>), Refusal> {
    let Ids { length, ids, .. } = npy::read_ids(body).map_err(|_| Refusal::Npy)?;
    Ok((Invocation::Rows, ids.chunks(length).map(|row| Work::Row(row.to_vec())).collect()))
}

impl Invocation {
    /// The media type of its answer.
    pub fn media_type(&self) -> &'static str {
        match self {
            Self::Questions(_) => "application/json",
            Self::Rows => npy::MEDIA_TYPE,
        }
    }

    /// The body of its answer, from what came of its jobs in their order.
    pub fn answer(self, done: Vec<Done>, reader: &dyn Reader) -> Result<Vec<u8>, Refusal> {
        if done.iter().any(|done| matches!(done, Done::TooLate)) {
            return Err(Refusal::QueueTimeout);
        }
        match self {
            Self::Questions(asked) => {
                let mut done: Vec<Option<Done>> = done.into_iter().map(Some).collect();
                let predictions = asked.into_iter().map(|asked| asked.answer(&mut done, reader)).collect();
                serde_json::to_vec(&Response { predictions }).map_err(|_| Refusal::Model)
            }
            Self::Rows => answer_rows(done),
        }
    }
}

fn answer_rows(done: Vec<Done>) -> Result<Vec<u8>, Refusal> {
    let mut rows = Vec::with_capacity(done.len());
    for done in done {
        match done {
            Done::Row(Ok(outputs)) => rows.push(outputs),
            Done::Row(Err(code)) if code == "id_out_of_range" || code == "row_of_another_length" => {
                return Err(Refusal::Rows);
            }
            _ => return Err(Refusal::Model),
        }
    }
    let width = rows.first().map_or(0, Vec::len);
    npy::write_floats(&rows, width).ok_or(Refusal::Model)
}

impl Asked {
    fn answer(self, done: &mut [Option<Done>], reader: &dyn Reader) -> Answer {
        let Some(question) = self.question else {
            return Answer { text: Some(Outcome::Error(INVALID.to_owned())), images: Vec::new() };
        };
        let text = match (self.text, question.text) {
            (Asks::Refused(code), _) => Some(Outcome::Error(code)),
            (Asks::Rows(rows), Some(text)) => {
                let rows = done.get_mut(rows).unwrap_or_default().iter_mut().map(Option::take);
                Some(match conclude(&text, rows, reader) {
                    Ok(opinion) => Outcome::Ok(opinion),
                    Err(code) => Outcome::Error(code),
                })
            }
            _ => None,
        };
        let images = done.get_mut(self.images).unwrap_or_default().iter_mut().map(|done| match done.take() {
            Some(Done::Seen(Ok(seen))) => Outcome::Ok(*seen),
            Some(Done::Seen(Err(error))) => Outcome::Error(error),
            _ => Outcome::Error(ImageError::ModelFailed),
        });
        Answer { text, images: images.collect() }
    }
}

/// What a text's rows come to, or a code.
fn conclude(
    text: &str,
    rows: impl Iterator<Item = Option<Done>>,
    reader: &dyn Reader,
) -> Result<opinion::TextOpinion, String> {
    let mut outputs = Vec::new();
    for done in rows {
        match done {
            Some(Done::Row(row)) => outputs.push(row?),
            _ => return Err("not_run".to_owned()),
        }
    }
    let concluded = isolate(|| reader.conclude(text, &outputs)).map_err(|_| PANICKED.to_owned())?;
    concluded.map_err(|error| error.code)
}

/// What the protocol promises of images of a request fits its body.
const _: () = assert!(protocol::MAX_IMAGES_BYTES / 3 * 4 < crate::config::MAX_BODY_BYTES);
