//! Which posts some bytes name, whatever they are wrapped in: to find again what nobody could decide.

use base64::Engine;
use domain::{About, MAX_POST_BYTES, json};
use flate2::read::MultiGzDecoder;
use serde_json::Value;
use std::io::Read;

/// Texts inside texts that are looked into.
const MAX_ENVELOPES: usize = 4;

/// All posts that are named in a message or an object: post, list, lines, envelopes, packed or not, JSON or nearly.
#[must_use]
pub fn named(bytes: &[u8]) -> Vec<About> {
    let mut found = Vec::new();
    bytes_name(bytes, MAX_ENVELOPES, &mut found);
    found
}

fn bytes_name(bytes: &[u8], envelopes: usize, found: &mut Vec<About>) {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut unpacked = Vec::new();
        // What can be unpacked before it breaks counts.
        let _ = MultiGzDecoder::new(bytes).take(MAX_POST_BYTES as u64).read_to_end(&mut unpacked);
        return json_names(&unpacked, envelopes, found);
    }
    json_names(bytes, envelopes, found);
}

fn json_names(bytes: &[u8], envelopes: usize, found: &mut Vec<About>) {
    if let Ok(documents) = json::read(bytes) {
        return documents.values.iter().for_each(|value| value_names(value, envelopes, found));
    }
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).collect();
    match lines.as_slice() {
        [] | [_] => found.extend(About::find(bytes)),
        lines => lines.iter().for_each(|line| json_names(line, envelopes, found)),
    }
}

fn value_names(value: &Value, envelopes: usize, found: &mut Vec<About>) {
    match value {
        Value::Object(fields) => {
            if let Some(about) = About::read(fields) {
                return found.push(about);
            }
            for (name, inner) in fields {
                match inner.as_str().filter(|_| name == "data_base64") {
                    Some(data) => {
                        let decoded = base64::engine::general_purpose::STANDARD.decode(data).unwrap_or_default();
                        text_names(&decoded, envelopes, found);
                    }
                    None => value_names(inner, envelopes, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| value_names(value, envelopes, found)),
        // An envelope may carry what it holds as text.
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
            text_names(text.as_bytes(), envelopes, found);
        }
        _ => {}
    }
}

fn text_names(text: &[u8], envelopes: usize, found: &mut Vec<About>) {
    if let Some(envelopes) = envelopes.checked_sub(1) {
        bytes_name(text, envelopes, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::io::Write;

    fn ids(bytes: &[u8]) -> Vec<(String, Option<String>)> {
        named(bytes).into_iter().map(|about| (about.post_id.into(), about.author_id.map(Into::into))).collect()
    }

    #[test]
    fn posts_are_found_in_whatever_they_are_wrapped() {
        let post = json!({ "post_id": "p", "author_id": 7, "text": "{\"post_id\":\"none\"}" });
        let sns = json!({ "Type": "Notification", "Message": post.to_string() });
        let twice =
            json!({ "Type": "Notification", "Message": json!({ "detail-type": "t", "detail": post }).to_string() });
        let base64 = base64::engine::general_purpose::STANDARD.encode(post.to_string());
        let cloud = json!({ "specversion": "1.0", "data_base64": base64 });
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(post.to_string().as_bytes()).unwrap();
        let one = [("p".to_owned(), Some("7".to_owned()))];
        for (shape, bytes) in [
            ("native", post.to_string().into_bytes()),
            ("list", json!([post]).to_string().into_bytes()),
            ("SNS", sns.to_string().into_bytes()),
            ("SNS around EventBridge", twice.to_string().into_bytes()),
            ("CloudEvent", cloud.to_string().into_bytes()),
            ("escalation", json!({ "schema": "escalation/1", "post": post }).to_string().into_bytes()),
            ("packed", packed.finish().unwrap()),
            ("cut short", post.to_string().into_bytes()[..30].to_vec()),
        ] {
            assert_eq!(ids(&bytes), one, "{shape}");
        }
        let lines = format!("{post}\nno json\n{}\n{{\"post_id\":\"r\", NaN", json!({ "post_id": "q" }));
        assert_eq!(ids(lines.as_bytes()).into_iter().map(|(post, _)| post).collect::<Vec<_>>(), ["p", "q", "r"]);
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        let mut deep = json!({ "post_id": "p" }).to_string();
        for _ in 0..6 {
            deep = json!({ "Message": deep }).to_string();
        }
        for bytes in
            [b"".as_slice(), b"post_id", b"\x1f\x8b broken", b"\xff\xfe", b"[[[[", b"{\"post_id\":{}}", deep.as_bytes()]
        {
            assert_eq!(ids(bytes), [], "{}", String::from_utf8_lossy(bytes));
        }
    }
}
