//! The native post event, and why one may be refused.

use crate::json::{self, Documents, NotJson, Repairs};
use crate::{AuthorId, FIELD_NOTE, PostId, Revision, Timestamp, View};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The largest event, text or claim-checked object that is read, in bytes: SQS's own limit of 1 MiB a message.
pub const MAX_POST_BYTES: usize = 1024 * 1024;

/// One revision of a post, as the platform published it. No `Debug`: a post must not end up in a log (law 8).
#[derive(Clone, PartialEq, Eq)]
pub struct Post {
    /// Names the post.
    pub post_id: PostId,
    /// Which version of it; the first where the event does not say.
    pub revision: Revision,
    /// Whether the event says which version it is.
    pub revision_given: bool,
    /// Who wrote it, where the platform says.
    pub author_id: Option<AuthorId>,
    /// When it was published, where the platform says.
    pub created_at: Option<Timestamp>,
    /// Its text, where it came with the event.
    pub text: Option<String>,
    /// An `s3://bucket/key` that holds text of it, besides or in the place of `text`.
    pub text_ref: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// The warning that stands before it.
    pub spoiler_text: Option<String>,
    /// The name that its author shows.
    pub display_name: Option<String>,
    /// A BCP 47 language tag.
    pub lang: Option<String>,
    /// Where it appeared: `post`, `comment`, `profile` or the platform's own word.
    pub surface: Option<String>,
    /// What is attached to it; at most [`MAX_MEDIA`].
    pub media: Vec<Media>,
    /// The post it answers.
    pub reply_to: Option<String>,
    /// Parts of its content that the event has in a form that cannot be read.
    pub unread: Vec<View>,
    /// What was wrong with the event besides: `field:NAME` for a field that counts as absent, `json`, `characters`. Sorted.
    pub notes: Vec<String>,
}

/// The most media that are kept of a post: no policy looks at more, and each takes room on the record.
pub const MAX_MEDIA: usize = 100;
/// Stands for the media that are not kept: nobody reads what is written about them.
const PAST_THE_LAST: u32 = MAX_MEDIA as u32;

/// Something attached to a post.
#[derive(Clone, PartialEq, Eq)]
pub struct Media {
    /// An `s3://bucket/key`; empty where the event has none that can be read.
    pub uri: String,
    /// Its media type, such as `image/png`.
    pub kind: Option<String>,
    /// Its description, for people who do not see it.
    pub alt: Option<String>,
    /// Its entity tag, where the platform says: it changes with what the address holds.
    pub etag: Option<String>,
}

/// What is wrong with an event that should have been a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PostErrorKind {
    /// Not JSON, however leniently it is read.
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
    /// The post that it is about, where that much could be read.
    pub about: Option<Box<About>>,
}

/// Which post an event is about that cannot be decided.
#[derive(Clone, PartialEq, Eq)]
pub struct About {
    /// Names the post.
    pub post_id: PostId,
    /// Which version of it, where the event says.
    pub revision: Option<Revision>,
    /// Who wrote it, where the platform says.
    pub author_id: Option<AuthorId>,
}

/// Ids are names: they belong into no error that is printed (law 8).
impl std::fmt::Debug for About {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("About")
    }
}

impl About {
    /// What the fields of an event say.
    #[must_use]
    pub fn read(fields: &Map<String, Value>) -> Option<Self> {
        let id = |value: &Value| PostId::try_from(digits(value)?).ok();
        Some(Self {
            // Of several ids the last: most readers of JSON would have taken that one.
            post_id: match fields.get("post_id")? {
                Value::Array(ids) => ids.iter().rev().find_map(id)?,
                one => id(one)?,
            },
            revision: fields.get("revision").and_then(revision),
            author_id: fields.get("author_id").and_then(digits).and_then(|id| id.try_into().ok()),
        })
    }

    /// What can be found in bytes that are not JSON: of each name the first value that can be read as what it should be.
    #[must_use]
    pub fn find(bytes: &[u8]) -> Option<Self> {
        let first = |name: &str, fits: &dyn Fn(&Value) -> bool| json::find(bytes, name).into_iter().find(fits);
        let names = |value: &Value| digits(value).is_some_and(|id| PostId::try_from(id).is_ok());
        let mut fields = Map::from_iter([("post_id".to_owned(), first("post_id", &names)?)]);
        fields
            .extend(first("revision", &|value| revision(value).is_some()).map(|value| ("revision".to_owned(), value)));
        let writes = |value: &Value| digits(value).is_some_and(|id| AuthorId::try_from(id).is_ok());
        fields.extend(first("author_id", &writes).map(|value| ("author_id".to_owned(), value)));
        Self::read(&fields)
    }
}

impl From<&Post> for About {
    fn from(post: &Post) -> Self {
        let Post { post_id, revision, revision_given, author_id, .. } = post;
        let revision = revision_given.then_some(*revision);
        Self { post_id: post_id.clone(), revision, author_id: author_id.clone() }
    }
}

impl PostError {
    /// An error of `kind` that says `message`.
    pub fn new(kind: PostErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), about: None }
    }

    /// The same error, about a post.
    #[must_use]
    pub fn about(self, about: Option<About>) -> Self {
        Self { about: self.about.or(about.map(Box::new)), ..self }
    }
}

impl Post {
    /// Reads one native post event.
    ///
    /// # Errors
    /// Every way in which `bytes` can fail to be a post, as a [`PostError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PostError> {
        match json::read(bytes) {
            Ok(Documents { mut values, repairs }) => match (values.pop(), values.is_empty()) {
                (Some(value), true) => Self::from_value(value, repairs),
                _ => Err(PostError::new(PostErrorKind::InvalidJson, "more than one JSON document")),
            },
            Err(not_json) => Err(not_json.salvaged(bytes)),
        }
    }

    /// Reads a native post event that was parsed as JSON already, with what was repaired on the way.
    ///
    /// What names the post has to be right, and something has to be there to decide on. A field beside these that is wrong counts as
    /// absent, and is noted: nothing that it could say is worth losing the post for.
    ///
    /// # Errors
    /// No readable `post_id`, or no content, as a [`PostError`].
    pub fn from_value(value: Value, repairs: Repairs) -> Result<Self, PostError> {
        let Value::Object(fields) = value else {
            return Err(PostError::new(PostErrorKind::InvalidField, "a post must be a JSON object"));
        };
        let about = About::read(&fields);
        let mut fields = Fields { fields, notes: BTreeSet::new(), unread: Vec::new() };
        if repairs.json {
            fields.notes.insert("json".to_owned());
        }
        if repairs.characters {
            fields.notes.insert("characters".to_owned());
        }
        let post_id = match fields.take("post_id") {
            None => return Err(PostError::new(PostErrorKind::MissingField, "`post_id` is required")),
            Some(value) => digits(&value)
                .ok_or_else(|| "must be one string or number".to_owned())
                .and_then(|id| PostId::try_from(id).map_err(|why| why.to_string()))
                .map_err(|why| {
                    PostError::new(PostErrorKind::InvalidField, format!("`post_id` {why}")).about(about.clone())
                })?,
        };
        let text = fields.words("text", View::Text);
        let revision = fields.read("revision", |value| revision(&value));
        let text_ref = fields.address();
        let media = fields.media();
        let post = Self {
            post_id,
            revision: revision.unwrap_or(Revision::FIRST),
            revision_given: revision.is_some(),
            author_id: fields.read("author_id", |value| digits(&value)?.try_into().ok()),
            created_at: fields.read("created_at", |value| value.as_str()?.parse().ok()),
            title: fields.words("title", View::Title),
            spoiler_text: fields.words("spoiler_text", View::SpoilerText),
            display_name: fields.words("display_name", View::DisplayName),
            lang: fields.read("lang", word).filter(|tag| !tag.trim().is_empty()).map(|tag| tag.replace('_', "-")),
            surface: fields.read("surface", word),
            reply_to: fields
                .read("context", |context| match context {
                    Value::Object(mut context) => match context.remove("reply_to") {
                        None | Some(Value::Null) => Some(None),
                        Some(reply_to) => digits(&reply_to).map(Some),
                    },
                    _ => None,
                })
                .flatten(),
            text,
            text_ref,
            media,
            unread: fields.unread,
            notes: fields.notes.into_iter().collect(),
        };
        if post.has_content() {
            return Ok(post);
        }
        Err(PostError::new(PostErrorKind::MissingField, "one of `text`, `text_ref` and `media` is required")
            .about(about))
    }

    /// A post of which only the name is known: its content could not be read.
    #[must_use]
    pub fn named(about: About) -> Self {
        let About { post_id, revision, author_id } = about;
        Self {
            post_id,
            revision: revision.unwrap_or(Revision::FIRST),
            revision_given: revision.is_some(),
            author_id,
            created_at: None,
            text: None,
            text_ref: None,
            title: None,
            spoiler_text: None,
            display_name: None,
            lang: None,
            surface: None,
            media: Vec::new(),
            reply_to: None,
            unread: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn has_content(&self) -> bool {
        let Self { text, text_ref, title, spoiler_text, display_name, media, unread, .. } = self;
        [text, text_ref, title, spoiler_text, display_name].into_iter().any(Option::is_some)
            || !media.is_empty()
            || !unread.is_empty()
    }

    /// The texts that came with the event, each a view of its own; empty ones are left out beside others.
    pub fn texts(&self) -> impl Iterator<Item = (View, &str)> {
        let alts = self.media.iter().zip(0..).map(|(media, place)| (View::Alt(place), &media.alt));
        let own = [
            (View::Text, &self.text),
            (View::Title, &self.title),
            (View::SpoilerText, &self.spoiler_text),
            (View::DisplayName, &self.display_name),
        ];
        own.into_iter()
            .chain(alts)
            .filter_map(|(view, text)| Some((view, text.as_deref()?)))
            .filter(|(view, text)| *view == View::Text || !text.is_empty())
    }
}

impl Post {
    /// The post as one native event, which [`Post::parse`] reads back to the same. Its revision is given.
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
        for (name, text, view) in [
            ("text", &self.text, View::Text),
            ("text_ref", &self.text_ref, View::TextRef),
            ("title", &self.title, View::Title),
            ("spoiler_text", &self.spoiler_text, View::SpoilerText),
            ("display_name", &self.display_name, View::DisplayName),
        ] {
            put(name, self.written(text.as_deref(), view));
        }
        put("lang", self.lang.as_deref().into());
        put("surface", self.surface.as_deref().into());
        let mut media: Vec<Value> =
            self.media.iter().zip(0..).map(|(media, place)| self.medium(media, place)).collect();
        media.extend(self.unread.contains(&View::Alt(PAST_THE_LAST)).then_some(Value::Bool(true)));
        put("media", if media.is_empty() { Value::Null } else { media.into() });
        let context = |reply_to: &String| serde_json::json!({ "reply_to": reply_to });
        put("context", self.reply_to.as_ref().map_or(Value::Null, context));
        Value::Object(fields)
    }

    /// A text as the event has it. What could not be read stays unreadable on the way.
    fn written(&self, text: Option<&str>, view: View) -> Value {
        let unread = self.unread.contains(&view).then_some(Value::Bool(true));
        text.map(Value::from).or(unread).into()
    }

    fn medium(&self, media: &Media, place: u32) -> Value {
        let mut fields = Map::from_iter([("uri".to_owned(), media.uri.as_str().into())]);
        let alt = self.written(media.alt.as_deref(), View::Alt(place));
        for (name, value) in
            [("type", media.kind.as_deref().into()), ("alt", alt), ("etag", media.etag.as_deref().into())]
        {
            if !value.is_null() {
                fields.insert(name.to_owned(), value);
            }
        }
        Value::Object(fields)
    }
}

/// Splits an `s3://bucket/key`.
#[must_use]
pub fn split_uri(uri: &str) -> Option<(&str, &str)> {
    let (bucket, key) = uri.strip_prefix("s3://")?.split_once('/')?;
    (!bucket.is_empty() && !key.is_empty()).then_some((bucket, key))
}

impl NotJson {
    /// The error, about the post that is named before the place where the JSON ends badly, or else anywhere in the bytes.
    #[must_use]
    pub fn salvaged(self, bytes: &[u8]) -> PostError {
        let about = About::read(&self.fields).or_else(|| About::find(bytes));
        self.error.about(about)
    }
}

/// The fields of an event while they are read, and what was wrong with them.
struct Fields {
    fields: Map<String, Value>,
    notes: BTreeSet<String>,
    unread: Vec<View>,
}

impl Fields {
    /// The field, with `null` counting as absent.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name).filter(|value| !value.is_null())
    }

    fn note(&mut self, name: &str) {
        self.notes.insert(format!("{FIELD_NOTE}{name}"));
    }

    /// The field as `read` reads it; where it cannot, the field counts as absent and is noted.
    fn read<T>(&mut self, name: &str, read: impl FnOnce(Value) -> Option<T>) -> Option<T> {
        let value = read(self.take(name)?);
        if value.is_none() {
            self.note(name);
        }
        value
    }

    /// A text. Of another value, everything in it that a person could read counts, a line each; what holds something, and nothing that can
    /// be read, is content that is unread.
    fn words(&mut self, name: &str, view: View) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            other => {
                self.note(name);
                let (mut lines, nothing) = (Vec::new(), is_nothing(&other));
                collect_words(other, &mut lines);
                if lines.is_empty() && !nothing {
                    self.unread.push(view);
                }
                (!lines.is_empty()).then(|| lines.join("\n"))
            }
        }
    }

    /// Where the text is. An address that is none is content that cannot be read; an empty value is none at all.
    fn address(&mut self) -> Option<String> {
        let value = self.take("text_ref")?;
        match value {
            Value::String(uri) if !uri.trim().is_empty() => return Some(uri),
            other if is_nothing(&other) => {}
            _ => self.unread.push(View::TextRef),
        }
        self.note("text_ref");
        None
    }

    /// Media: a list of objects or addresses, or one of either. What is no address is a medium that nobody can look at.
    fn media(&mut self) -> Vec<Media> {
        let Some(value) = self.take("media") else { return Vec::new() };
        let items = match value {
            Value::Array(items) => items,
            other => {
                self.note("media");
                if is_nothing(&other) || other.as_u64() == Some(0) {
                    return Vec::new();
                }
                vec![other]
            }
        };
        let count = items.len();
        let mut items: Vec<_> = items.into_iter().filter(|item| !item.is_null()).collect();
        if items.len() > MAX_MEDIA {
            self.unread.push(View::Alt(PAST_THE_LAST));
            items.truncate(MAX_MEDIA);
        }
        if items.len() < count {
            self.note("media");
        }
        items.into_iter().zip(0..).map(|(item, place)| self.medium(item, place)).collect()
    }

    fn medium(&mut self, item: Value, place: u32) -> Media {
        let mut media = Media { uri: String::new(), kind: None, alt: None, etag: None };
        match item {
            Value::String(uri) => media.uri = uri,
            Value::Object(item) => {
                let mut fields = Self { fields: item, notes: BTreeSet::new(), unread: Vec::new() };
                media.uri = fields.read("uri", string).unwrap_or_default();
                media.kind = fields.read("type", string);
                media.alt = fields.words("alt", View::Alt(place));
                media.etag = fields.read("etag", string);
                self.unread.append(&mut fields.unread);
                if !fields.notes.is_empty() || media.uri.is_empty() {
                    self.note("media");
                }
            }
            _ => self.note("media"),
        }
        media
    }
}

/// Whether there is nothing in a value.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) | Value::Number(_) => false,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(elements) => elements.iter().all(is_nothing),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// Everything in a value that a person could read, in its order: texts, numbers and names of fields, which may be words like any other.
fn collect_words(value: Value, lines: &mut Vec<String>) {
    match value {
        Value::String(text) => lines.push(text),
        Value::Number(number) => lines.push(number.to_string()),
        Value::Array(elements) => elements.into_iter().for_each(|element| collect_words(element, lines)),
        Value::Object(fields) => fields.into_iter().for_each(|(name, value)| {
            lines.push(name);
            collect_words(value, lines);
        }),
        Value::Null | Value::Bool(_) => {}
    }
}

fn string(value: Value) -> Option<String> {
    if let Value::String(text) = value { Some(text) } else { None }
}

/// An id: text, or the digits of a number. `17.0`, as some programs write whole numbers, is `17`.
fn digits(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => match number.as_f64() {
            // As doubles, whole numbers have a fraction of zero.
            Some(float) if number.is_f64() => {
                (float.fract() == 0.0 && float.abs() < 1e19).then(|| format!("{float:.0}"))
            }
            _ => Some(number.to_string()),
        },
        _ => None,
    }
}

/// A whole number, however it is written.
fn revision(value: &Value) -> Option<Revision> {
    digits(value)?.trim().parse::<u64>().ok()?.try_into().ok()
}

/// A short word that is kept on the record: at most 35 bytes (the longest BCP 47 tag that RFC 5646 asks for).
fn word(value: Value) -> Option<String> {
    string(value).filter(|text| text.len() <= 35 && !text.chars().any(char::is_control))
}
