//! Whoever answers questions: a reader and eyes.

use std::sync::Arc;

use crate::images::Eyes;
use crate::protocol::{Answer, Outcome, Question};
use crate::reader::Reader;

/// Answers questions in this process.
pub struct Panel {
    /// Scores texts, those in images included.
    pub reader: Arc<dyn Reader>,
    /// Looks at images; `None` where the panel only reads.
    pub eyes: Option<Arc<dyn Eyes>>,
}

impl Panel {
    /// Answers one question.
    pub fn answer(&self, question: &Question) -> Answer {
        let text = question.text.as_ref().map(|text| {
            if !self.reader.supports(question.lang.as_deref()) {
                return Outcome::Error("language_not_learned".to_owned());
            }
            match self.reader.read(text) {
                Ok(opinion) => Outcome::Ok(opinion),
                Err(error) => Outcome::Error(error.code),
            }
        });
        let images = question.images.iter().map(|file| match &self.eyes {
            Some(eyes) => match eyes.look(&file.0, self.reader.as_ref()) {
                Ok(seen) => Outcome::Ok(seen),
                Err(error) => Outcome::Error(error),
            },
            None => Outcome::Error(crate::ImageError::ModelFailed),
        });
        Answer { text, images: images.collect() }
    }
}
