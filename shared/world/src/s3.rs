//! S3, path style: reading, writing (also where something else stands there, or nothing), listing and deleting objects.

use crate::cloud::{Answer, Call, Cloud};
use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};

/// An object.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) bytes: Vec<u8>,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl Kept {
    /// As S3 does it for what it encrypts with its own keys, the same bytes have the same tag.
    fn tag(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.bytes.hash(&mut hasher);
        format!("\"{:016x}\"", hasher.finish())
    }
}

/// Why a write is not done: AWS answers 412, and 404 where a tag is given and nothing stands there.
fn refused(call: &Call<'_>, there: Option<&Kept>) -> Option<Answer> {
    let refused = match (call.if_match, call.if_none_match, there) {
        (Some(_), _, None) => return Some(error(404, "NoSuchKey")),
        (Some(tag), _, Some(kept)) => kept.tag() != tag,
        (None, Some(_), there) => there.is_some(),
        (None, None, _) => false,
    };
    refused.then(|| error(412, "PreconditionFailed"))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn xml(status: u16, body: String) -> Answer {
    let headers = vec![("content-type".to_owned(), "application/xml".to_owned())];
    Answer { status, headers, body: body.into_bytes() }
}

/// An error as S3 words it.
pub(crate) fn error(status: u16, code: &str) -> Answer {
    xml(status, format!("<Error><Code>{code}</Code><Message>as told</Message></Error>"))
}

pub(crate) fn answer(cloud: &Cloud, call: &Call<'_>) -> Answer {
    let (path, query) = call.path_and_query.split_once('?').unwrap_or((call.path_and_query, ""));
    let (bucket, key) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
    let (bucket, key) = (decoded(bucket), decoded(key));
    let mut state = cloud.state();
    match call.method {
        "PUT" => {
            let place = (bucket, key);
            if let Some(refused) = refused(call, state.objects.get(&place)) {
                return refused;
            }
            let kept = Kept { bytes: call.body.to_vec(), metadata: call.metadata.clone() };
            state.objects.insert(place, kept);
            xml(200, String::new())
        }
        "GET" if query.contains("list-type=2") => {
            let prefix =
                query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).map(decoded).unwrap_or_default();
            let mut body = "<ListBucketResult><IsTruncated>false</IsTruncated>".to_owned();
            let listed = state.objects.iter().filter(|((of, key), _)| *of == bucket && key.starts_with(&prefix));
            for ((_, key), kept) in listed {
                let key = key.replace('&', "&amp;").replace('<', "&lt;");
                let _ = write!(body, "<Contents><Key>{key}</Key><Size>{}</Size></Contents>", kept.bytes.len());
            }
            xml(200, body + "</ListBucketResult>")
        }
        // As of a bucket without versioning.
        "GET" if query.split('&').any(|pair| pair == "versions" || pair == "versions=") => {
            let prefix =
                query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).map(decoded).unwrap_or_default();
            let mut body = "<ListVersionsResult><IsTruncated>false</IsTruncated>".to_owned();
            let listed = state.objects.keys().filter(|(of, key)| *of == bucket && key.starts_with(&prefix));
            for (_, key) in listed {
                let key = key.replace('&', "&amp;").replace('<', "&lt;");
                let _ = write!(body, "<Version><Key>{key}</Key><VersionId>null</VersionId></Version>");
            }
            xml(200, body + "</ListVersionsResult>")
        }
        "DELETE" => {
            state.objects.remove(&(bucket, key));
            xml(204, String::new())
        }
        "GET" => match state.objects.get(&(bucket, key)) {
            None => error(404, "NoSuchKey"),
            Some(kept) => {
                let mut headers =
                    vec![("content-length".to_owned(), kept.bytes.len().to_string()), ("etag".to_owned(), kept.tag())];
                headers.extend(kept.metadata.iter().map(|(name, value)| (format!("x-amz-meta-{name}"), value.clone())));
                Answer { status: 200, headers, body: kept.bytes.clone() }
            }
        },
        _ => error(405, "MethodNotAllowed"),
    }
}
