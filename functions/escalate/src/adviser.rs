//! Who gives second opinions: the endpoint, or this function itself. Both answer the same questions in the same words.

use async_trait::async_trait;
use opinion::images::decode::MAX_FRAMES;
use opinion::images::ocr::MAX_LINES;
use opinion::images::pdq::Pdq;
use opinion::protocol::{Outcome, Request, Response};
use opinion::{Answer, Panel, Question};
use runtime::isolate;
use runtime::planted::planted;
use std::sync::Arc;
use std::time::Duration;
use store::{Deadline, Inference, StoreError};

/// Names of models stand on records: as long as that of a policy.
const MAX_NAME_BYTES: usize = 64;
/// The most spans of a text that anybody names.
const MOST_SPANS: usize = 100;

/// Why nobody answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// There is nobody to ask.
    Nobody,
    /// Whoever was asked has too much to do just now.
    Busy,
    /// Not in time.
    Timeout,
    /// Whoever was asked failed, or could not be reached.
    Failed,
    /// What came back is no answer to what was asked.
    Unusable,
}

/// Somebody who answers questions.
#[async_trait]
pub trait Adviser: Send + Sync {
    /// Answers all of them within `timeout`, one answer a question in their order, or none of them.
    async fn ask(&self, questions: Vec<Question>, timeout: Duration, by: Deadline) -> Result<Vec<Answer>, NoAnswer>;
}

/// The endpoint, one request for all questions.
pub struct Endpoint(pub Arc<dyn Inference>);

#[async_trait]
impl Adviser for Endpoint {
    async fn ask(&self, questions: Vec<Question>, timeout: Duration, by: Deadline) -> Result<Vec<Answer>, NoAnswer> {
        let request = Request { instances: questions };
        let body = serde_json::to_vec(&request).map_err(|_| NoAnswer::Unusable)?;
        let answer = self.0.invoke(body, timeout, by).await.map_err(|error| no_answer(&error))?;
        // What serde says could quote what it read.
        let response: Response = serde_json::from_slice(&answer).map_err(|_| NoAnswer::Unusable)?;
        let answers = response.predictions;
        if planted("answers-unchecked") {
            return Ok(answers);
        }
        let fits = answers.len() == request.instances.len()
            && answers.iter().zip(&request.instances).all(|(answer, question)| answers_to(answer, question));
        if fits { Ok(answers) } else { Err(NoAnswer::Unusable) }
    }
}

fn no_answer(error: &StoreError) -> NoAnswer {
    match error.code.as_str() {
        store::NO_ENDPOINT => NoAnswer::Nobody,
        store::BUSY => NoAnswer::Busy,
        "timed out" | "deadline reached" => NoAnswer::Timeout,
        _ => NoAnswer::Failed,
    }
}

/// Whether an answer is one to this question, with numbers that can be compared and names that can be kept.
fn answers_to(answer: &Answer, question: &Question) -> bool {
    let probability = |value: f64| (0.0..=1.0).contains(&value);
    let named = |model: &domain::ModelRef| {
        let plain = |text: &str| {
            (1..=MAX_NAME_BYTES).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte))
        };
        plain(&model.name) && plain(&model.version) && plain(&model.sha256)
    };
    let opinion = |opinion: &opinion::TextOpinion, longest: usize| {
        probability(opinion.raw)
            && probability(opinion.calibrated)
            && named(&opinion.model)
            && opinion.spans.len() <= MOST_SPANS
            && opinion.spans.iter().all(|span| span.start < span.end && span.end <= longest && span.weight.is_finite())
    };
    let text = match (&answer.text, &question.text) {
        (None, None) => true,
        (Some(Outcome::Ok(of_text)), Some(text)) => opinion(of_text, text.chars().count()),
        (Some(Outcome::Error(_)), Some(_)) => true,
        _ => false,
    };
    let images = answer.images.iter().all(|image| match image {
        Outcome::Error(_) => true,
        Outcome::Ok(seen) => {
            probability(seen.nudity)
                && named(&seen.nudity_model)
                && seen.more_pdq.len() <= MAX_FRAMES
                && seen.pdq.iter().chain(&seen.more_pdq).all(|hash| hash.parse::<Pdq>().is_ok())
                && seen.lines.len() <= MAX_LINES
                && seen.lines.iter().all(|line| {
                    probability(line.score)
                        && probability(line.confidence)
                        && line.corners.iter().flatten().all(|place| place.is_finite())
                })
                && seen.text.as_ref().is_none_or(|of_text| opinion(of_text, usize::MAX))
        }
    });
    text && images && answer.images.len() == question.images.len()
}

/// This function itself, one question after the other: a panic takes its own along.
#[async_trait]
impl Adviser for Panel {
    async fn ask(&self, questions: Vec<Question>, _timeout: Duration, by: Deadline) -> Result<Vec<Answer>, NoAnswer> {
        let mut answers = Vec::with_capacity(questions.len());
        for question in &questions {
            if Deadline::now() >= by {
                return Err(NoAnswer::Timeout);
            }
            answers.push(isolate(|| self.answer(question)).map_err(|_| NoAnswer::Failed)?);
        }
        Ok(answers)
    }
}
