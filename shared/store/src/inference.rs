//! The endpoint that answers what a function's own models are unsure of.

use crate::planted::planted;
use crate::{Aws, Deadline, StoreError, aws};
use async_trait::async_trait;
use aws_config::{retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_sagemakerruntime::error::SdkError;
use aws_sdk_sagemakerruntime::operation::invoke_endpoint::InvokeEndpointError;
use aws_sdk_sagemakerruntime::primitives::Blob;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The code of the error where the deployment has no endpoint.
pub const NO_ENDPOINT: &str = "no endpoint";

/// As long as nobody waits; for a planted fault.
const UNTIMELY: Duration = Duration::from_secs(3_600);

/// The code of the error where whoever is asked has too much to do just now: 429 or 503, its own or, told by SageMaker, its container's.
pub const BUSY: &str = "busy";

/// Somebody who answers requests of bytes with bytes.
#[async_trait]
pub trait Inference: Send + Sync {
    /// Asks once, and gives up after `timeout`: whether to ask again is the caller's business, who knows what else there is.
    ///
    /// # Errors
    /// Where no answer came. What an answer says is not looked at here.
    async fn invoke(&self, body: Vec<u8>, timeout: Duration, deadline: Deadline) -> Result<Vec<u8>, StoreError>;
}

/// An endpoint of SageMaker. The SDK finds another address for it in `AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME`.
#[derive(Debug, Clone)]
pub struct SageMaker {
    client: aws_sdk_sagemakerruntime::Client,
    endpoint: Option<String>,
}

impl SageMaker {
    /// The endpoint of this name; `None` where the deployment has none.
    #[must_use]
    pub fn new(aws: &Aws, endpoint: Option<String>) -> Self {
        Self { client: aws.sagemaker.clone(), endpoint }
    }
}

#[async_trait]
impl Inference for SageMaker {
    async fn invoke(&self, body: Vec<u8>, timeout: Duration, deadline: Deadline) -> Result<Vec<u8>, StoreError> {
        const DOING: &str = "asking the endpoint";
        let Some(endpoint) = &self.endpoint else { return Err(StoreError::permanent(DOING, NO_ENDPOINT)) };
        let timeout = if planted("endpoint-without-timeout") { UNTIMELY } else { timeout };
        // That of reading would be told as a connection that broke, after which asking again may help.
        let timeouts = TimeoutConfig::builder()
            .read_timeout(timeout * 2)
            .operation_attempt_timeout(timeout)
            .operation_timeout(timeout)
            .build();
        let request = self
            .client
            .invoke_endpoint()
            .endpoint_name(endpoint)
            .content_type("application/json")
            .accept("application/json")
            .body(Blob::new(body))
            .customize()
            .config_override(
                aws_sdk_sagemakerruntime::config::Builder::default()
                    .retry_config(RetryConfig::disabled())
                    .timeout_config(timeouts),
            )
            .send();
        let busy = AtomicBool::new(false);
        let request = async {
            let answer = request.await;
            busy.store(answer.as_ref().is_err_and(is_busy), Ordering::Relaxed);
            answer
        };
        let answer = aws::call(DOING, deadline.min(Deadline::now() + timeout), request).await;
        if answer.is_err() && busy.load(Ordering::Relaxed) {
            return Err(StoreError::transient(DOING, BUSY));
        }
        let answer = answer?;
        answer.body.map(Blob::into_inner).ok_or_else(|| aws::empty(DOING))
    }
}

fn is_busy(error: &SdkError<InvokeEndpointError>) -> bool {
    let too_much = |status: u16| matches!(status, 429 | 503);
    let of_container = match error.as_service_error() {
        Some(InvokeEndpointError::ModelError(error)) => error.original_status_code(),
        _ => None,
    };
    of_container.and_then(|status| u16::try_from(status).ok()).is_some_and(too_much)
        || error.raw_response().is_some_and(|response| too_much(response.status().as_u16()))
}
