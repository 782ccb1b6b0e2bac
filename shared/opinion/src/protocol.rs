//! What goes over the wire: `POST /invocations` with `{"instances":[Question…]}` is answered by `{"predictions":[Answer…]}`, one answer a
//! question, in the same order. What is true of one question never fails its neighbours: it stands in that question's answer.

use base64::Engine;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::images::{ImageError, Seen};
use crate::reader::TextOpinion;

/// The largest image that is looked at, in bytes.
pub const MAX_IMAGE_BYTES: usize = 4 * 1024 * 1024;
/// All images of one question together, in bytes: a request of SageMaker's takes about 6 MB, and Base64 adds a third.
pub const MAX_IMAGES_BYTES: usize = 4 * 1024 * 1024;
/// The most images of a question.
pub const MAX_IMAGES: usize = 8;

/// The content of one post. No `Debug`: it must not end up in a log (law 8).
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Its text, where a second opinion on it is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// BCP 47 language tag of the text, where the platform gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lang: Option<String>,
    /// Its images, as files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageFile>,
}

/// The bytes of an image file; in JSON a Base64 string.
#[derive(Clone, PartialEq, Eq)]
pub struct ImageFile(pub Vec<u8>);

impl Serialize for ImageFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for ImageFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // The decoder's own words could quote the content.
        let decoded = base64::engine::general_purpose::STANDARD.decode(text);
        decoded.map(Self).map_err(|_| serde::de::Error::custom("an image is not Base64"))
    }
}

/// What a panel says of one question.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Of its text; `None` where none was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Outcome<TextOpinion, String>>,
    /// Of its images, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Outcome<Seen, ImageError>>,
}

/// What was found, or why nothing was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome<T, E> {
    /// What was found.
    Ok(T),
    /// Why nothing was; a code without content.
    Error(E),
}

/// The body of a request.
#[derive(Clone, Serialize, Deserialize)]
pub struct Request {
    /// One entry a post.
    pub instances: Vec<Question>,
}

/// The body of its answer.
#[derive(Clone, Serialize, Deserialize)]
pub struct Response {
    /// One entry an instance, in the same order.
    pub predictions: Vec<Answer>,
}
