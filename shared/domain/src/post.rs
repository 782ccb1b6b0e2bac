//! The native post event, and why one may be refused.

use crate::{AuthorId, IdError, PostId, Revision, Timestamp};
use serde_json::{Map, Value};

/// The largest event, text or claim-checked object that is read, in bytes: SQS's own limit of 1 MiB a message.
pub const MAX_POST_BYTES: usize = 1024 * 1024;

/// One revision of a post, as the platform published it. No `Debug`: a post must not end up in a log (law 8).
#[derive(Clone, PartialEq, Eq)]
pub struct Post {
    /// Names the post.
    pub post_id: PostId,
    /// Which version of it.
    pub revision: Revision,
    /// Who wrote it, where the platform says.
    pub author_id: Option<AuthorId>,
    /// When it was published, where the platform says.
    pub created_at: Option<Timestamp>,
    /// Its text, where it came with the event.
    pub text: Option<String>,
    /// An `s3://bucket/key` that holds its text, where it did not.
    pub text_ref: Option<String>,
    /// A BCP 47 language tag.
    pub lang: Option<String>,
    /// Where it appeared: `post`, `comment`, `profile` or the platform's own word.
    pub surface: Option<String>,
    /// What is attached to it.
    pub media: Vec<Media>,
    /// The post it answers.
    pub reply_to: Option<String>,
}

/// Something attached to a post.
#[derive(Clone, PartialEq, Eq)]
pub struct Media {
    /// An `s3://bucket/key`.
    pub uri: String,
    /// Its media type, such as `image/png`.
    pub kind: Option<String>,
}

/// What is wrong with an event that should have been a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PostErrorKind {
    /// Not JSON, or nested deeper than the parser goes (128).
    InvalidJson,
    /// Bytes that are not UTF-8.
    InvalidUtf8,
    /// A required field is absent.
    MissingField,
    /// A field has the wrong type or an impossible value.
    InvalidField,
    /// More than [`MAX_POST_BYTES`].
    TooLarge,
}

impl PostErrorKind {
    /// The name that stands in records and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::MissingField => "missing_field",
            Self::InvalidField => "invalid_field",
            Self::TooLarge => "too_large",
        }
    }
}

/// An event that is not a post. The message names fields and positions, never their content (law 8).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PostError {
    /// What is wrong, for programs.
    pub kind: PostErrorKind,
    /// What is wrong, for people.
    pub message: String,
}

impl PostError {
    /// An error of `kind` that says `message`.
    pub fn new(kind: PostErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    fn invalid(field: &str, why: impl std::fmt::Display) -> Self {
        Self::new(PostErrorKind::InvalidField, format!("`{field}` {why}"))
    }
}

impl Post {
    /// Reads one native post event.
    ///
    /// # Errors
    /// Every way in which `bytes` can fail to be a post, as a [`PostError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PostError> {
        Self::from_value(parse_json(bytes)?)
    }

    /// Reads a native post event that was parsed as JSON already.
    ///
    /// # Errors
    /// A missing or invalid field, as a [`PostError`].
    pub fn from_value(value: Value) -> Result<Self, PostError> {
        let Value::Object(mut fields) = value else {
            return Err(PostError::new(PostErrorKind::InvalidField, "a post must be a JSON object"));
        };
        let post_id = string(&mut fields, "post_id")?
            .ok_or_else(|| PostError::new(PostErrorKind::MissingField, "`post_id` is required"))?;
        let mut context = match take(&mut fields, "context") {
            None => Map::new(),
            Some(Value::Object(context)) => context,
            Some(_) => return Err(PostError::invalid("context", "must be an object")),
        };
        let post = Self {
            post_id: PostId::try_from(post_id).map_err(|why| PostError::invalid("post_id", why))?,
            revision: match take(&mut fields, "revision") {
                None => Revision::FIRST,
                Some(number) => number
                    .as_u64()
                    .ok_or(IdError::RevisionOutOfRange)
                    .and_then(Revision::try_from)
                    .map_err(|why| PostError::invalid("revision", why))?,
            },
            author_id: string(&mut fields, "author_id")?
                .map(AuthorId::try_from)
                .transpose()
                .map_err(|why| PostError::invalid("author_id", why))?,
            created_at: string(&mut fields, "created_at")?
                .map(|text| text.parse())
                .transpose()
                .map_err(|why| PostError::invalid("created_at", why))?,
            text: string(&mut fields, "text")?,
            text_ref: string(&mut fields, "text_ref")?,
            lang: word(&mut fields, "lang")?,
            surface: word(&mut fields, "surface")?,
            media: media(&mut fields)?,
            reply_to: string(&mut context, "reply_to")?,
        };
        if post.text.is_none() && post.text_ref.is_none() && post.media.is_empty() {
            return Err(PostError::new(
                PostErrorKind::MissingField,
                "one of `text`, `text_ref` and `media` is required",
            ));
        }
        Ok(post)
    }
}

impl Post {
    /// The post as one native event, which [`Post::parse`] reads back to the same.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| {
            if !value.is_null() {
                fields.insert(name.to_owned(), value);
            }
        };
        put("post_id", self.post_id.as_str().into());
        put("revision", self.revision.get().into());
        put("author_id", self.author_id.as_ref().map(|author| author.as_str()).into());
        put("created_at", self.created_at.map(|instant| instant.to_string()).into());
        put("text", self.text.as_deref().into());
        put("text_ref", self.text_ref.as_deref().into());
        put("lang", self.lang.as_deref().into());
        put("surface", self.surface.as_deref().into());
        let media = self.media.iter().map(|media| serde_json::json!({ "uri": media.uri, "type": media.kind }));
        put("media", if self.media.is_empty() { Value::Null } else { media.collect() });
        let context = |reply_to: &String| serde_json::json!({ "reply_to": reply_to });
        put("context", self.reply_to.as_ref().map_or(Value::Null, context));
        Value::Object(fields)
    }
}

/// Splits an `s3://bucket/key`.
#[must_use]
pub fn split_uri(uri: &str) -> Option<(&str, &str)> {
    let (bucket, key) = uri.strip_prefix("s3://")?.split_once('/')?;
    (!bucket.is_empty() && !key.is_empty()).then_some((bucket, key))
}

/// Parses bytes as JSON, telling bytes that are not UTF-8 from text that is not JSON.
///
/// # Errors
/// Too large, not UTF-8 or not JSON, as a [`PostError`].
pub fn parse_json(bytes: &[u8]) -> Result<Value, PostError> {
    if bytes.len() > MAX_POST_BYTES {
        return Err(PostError::new(
            PostErrorKind::TooLarge,
            format!("{} bytes are more than the {MAX_POST_BYTES} that are read", bytes.len()),
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        PostError::new(PostErrorKind::InvalidUtf8, format!("not UTF-8 after byte {}", error.valid_up_to()))
    })?;
    // serde_json's own message may quote what it found, so only the position is kept.
    serde_json::from_str(text).map_err(|error| {
        PostError::new(
            PostErrorKind::InvalidJson,
            format!("not JSON at line {} column {}", error.line(), error.column()),
        )
    })
}

/// The field, with `null` counting as absent.
fn take(fields: &mut Map<String, Value>, name: &str) -> Option<Value> {
    fields.remove(name).filter(|value| !value.is_null())
}

fn string(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>, PostError> {
    match take(fields, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(PostError::invalid(name, "must be a string")),
    }
}

/// A short word that is kept on the record: at most 35 bytes (the longest BCP 47 tag that RFC 5646 asks for).
fn word(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>, PostError> {
    match string(fields, name)? {
        Some(text) if text.len() > 35 || text.chars().any(char::is_control) => {
            Err(PostError::invalid(name, "must be at most 35 bytes without control characters"))
        }
        word => Ok(word),
    }
}

fn media(fields: &mut Map<String, Value>) -> Result<Vec<Media>, PostError> {
    match take(fields, "media") {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                Value::Object(mut item) => Ok(Media {
                    uri: string(&mut item, "uri")?
                        .ok_or_else(|| PostError::new(PostErrorKind::MissingField, "`media[].uri` is required"))?,
                    kind: string(&mut item, "type")?,
                }),
                _ => Err(PostError::invalid("media", "must be a list of objects")),
            })
            .collect(),
        Some(_) => Err(PostError::invalid("media", "must be a list of objects")),
    }
}
