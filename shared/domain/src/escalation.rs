//! The message that asks for a second opinion: a decided post on its way from the function that decided it first to the one that asks.

use crate::json::{self, Documents};
use crate::{Post, PostError, PostErrorKind, Timestamp};
use serde_json::{Value, json};

const SCHEMA: &str = "escalation/1";

/// A post whose decision is provisional. No `Debug`: it holds the post (law 8).
#[derive(Clone, PartialEq, Eq)]
pub struct Escalation {
    /// The post, as it was decided on.
    pub post: Post,
    /// When its event reached the posts queue: its service level counts from there.
    pub received_at: Timestamp,
}

impl Escalation {
    /// The body of the message.
    #[must_use]
    pub fn to_body(&self) -> String {
        let body =
            json!({ "schema": SCHEMA, "received_at": self.received_at.to_string(), "post": self.post.to_value() });
        json::ascii(&body.to_string())
    }

    /// Reads the body of a message.
    ///
    /// # Errors
    /// Whatever keeps it from being an escalation, as a [`PostError`].
    pub fn parse(body: &[u8]) -> Result<Self, PostError> {
        let Documents { mut values, repairs } = json::read(body).map_err(|not_json| not_json.salvaged(body))?;
        let (Some(Value::Object(mut fields)), true) = (values.pop(), values.is_empty()) else {
            return Err(PostError::new(PostErrorKind::InvalidField, "an escalation must be a JSON object"));
        };
        if fields.get("schema").and_then(Value::as_str) != Some(SCHEMA) {
            return Err(PostError::new(PostErrorKind::InvalidField, format!("`schema` must be `{SCHEMA}`")));
        }
        let received_at =
            fields.get("received_at").and_then(Value::as_str).and_then(|instant| instant.parse().ok()).ok_or_else(
                || PostError::new(PostErrorKind::InvalidField, "`received_at` must be an RFC 3339 instant"),
            )?;
        let post =
            fields.remove("post").ok_or_else(|| PostError::new(PostErrorKind::MissingField, "`post` is required"))?;
        Ok(Self { post: Post::from_value(post, repairs)?, received_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_reads_back_to_itself() {
        for source in [
            r#"{"post_id":"p","text":"a\"\u0000 b"}"#,
            r#"{"post_id":"p","revision":3,"author_id":"u","created_at":"2026-11-23T10:00:00.5Z","text":"","lang":"en",
                "surface":"comment","media":[{"uri":"s3://b/k","type":"image/png"},{"uri":"x"}],"context":{"reply_to":"q"}}"#,
            r#"{"post_id":"p","text_ref":"s3://b/k"}"#,
            r#"{"post_id":"p","title":"t","spoiler_text":"s","display_name":"d","media":[{"uri":"x","alt":"a","etag":"e"}]}"#,
            "{\"post_id\":\"p\",\"text\":\"\u{FFFE}\u{FFFF}\u{1F600}\u{7f}é\u{FDD0}\"}",
        ] {
            let mut post = Post::parse(source.as_bytes()).ok().unwrap();
            post.revision_given = true;
            let sent = Escalation { post, received_at: Timestamp::from_millis(1_795_428_000_123) };
            let body = sent.to_body();
            assert!(body.bytes().all(|byte| (b' '..0x7f).contains(&byte)), "{source}");
            assert!(Escalation::parse(body.as_bytes()) == Ok(sent.clone()), "{source}");
        }
    }

    #[test]
    fn what_is_none_is_refused_with_its_reason() {
        for (body, wrong) in [
            ("[]", "object"),
            (r#"{"schema":"escalation/2"}"#, "schema"),
            (r#"{"schema":"escalation/1","received_at":"now"}"#, "received_at"),
            (r#"{"schema":"escalation/1","received_at":"2026-11-23T10:00:00Z"}"#, "post"),
            (r#"{"schema":"escalation/1","received_at":"2026-11-23T10:00:00Z","post":{"text":"x"}}"#, "post_id"),
        ] {
            let refused = Escalation::parse(body.as_bytes()).err().unwrap();
            assert!(refused.message.contains(wrong), "{body}: {}", refused.message);
        }
    }
}
