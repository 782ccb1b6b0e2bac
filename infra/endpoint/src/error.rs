//! Why a request is refused. Messages are fixed: no content can get into them (law 8).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::config::MAX_BODY_BYTES;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The model is not loaded yet.
    NotLoaded,
    /// The program is stopping.
    Stopping,
    /// Neither JSON nor a NumPy array.
    MediaType,
    /// A body beyond [`MAX_BODY_BYTES`], or more rows than may ever wait.
    TooLarge,
    /// The body did not come in time.
    TooSlow,
    /// The body is not JSON of a request, or has too many instances.
    Json,
    /// The body is not a NumPy array of int64 in two dimensions.
    Npy,
    /// The rows' ids or length are none that the model knows.
    Rows,
    /// Too much waits already.
    Busy,
    /// It waited too long.
    QueueTimeout,
    /// The model failed on it.
    Model,
}

impl Refusal {
    /// Its status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::NotLoaded | Self::Stopping | Self::QueueTimeout => StatusCode::SERVICE_UNAVAILABLE,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Json | Self::Npy | Self::Rows => StatusCode::BAD_REQUEST,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Model => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Its name.
    pub fn kind(self) -> &'static str {
        match self {
            Self::NotLoaded => "not_loaded",
            Self::Stopping => "stopping",
            Self::MediaType => "unsupported_media_type",
            Self::TooLarge => "too_large",
            Self::TooSlow => "body_timeout",
            Self::Json => "invalid_json",
            Self::Npy => "invalid_npy",
            Self::Rows => "invalid_rows",
            Self::Busy => "too_many_requests",
            Self::QueueTimeout => "queue_timeout",
            Self::Model => "model_failed",
        }
    }

    fn message(self) -> String {
        let message = match self {
            Self::NotLoaded => "the model is being loaded: ask `/ping`",
            Self::Stopping => "the program is stopping: ask another one",
            Self::MediaType => "the media type must be `application/json` or `application/x-npy`",
            Self::TooLarge => {
                return format!("the body is larger than {MAX_BODY_BYTES} bytes, or has more rows than may wait");
            }
            Self::TooSlow => "the body did not come in time",
            Self::Json => "the body must be JSON, `{\"instances\": [...]}` with at most 512 of them",
            Self::Npy => "the body must be a NumPy array of `<i8`, in C order, of the shape (rows, length)",
            Self::Rows => "an id or the length of the rows is beyond the model's",
            Self::Busy => "too much waits already: try again later",
            Self::QueueTimeout => "the request waited too long and was not run: try again later",
            Self::Model => "the model failed on this request",
        };
        message.to_owned()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "kind": self.kind(), "message": self.message() } }).to_string();
        let mut response = (self.status(), [(header::CONTENT_TYPE, "application/json")], body).into_response();
        if matches!(self, Self::Busy | Self::QueueTimeout | Self::NotLoaded) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
