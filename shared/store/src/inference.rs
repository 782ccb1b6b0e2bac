//! The endpoint that answers what a function's own models are unsure of.

use crate::planted::planted;
use crate::{Aws, Deadline, StoreError, aws};
use async_trait::async_trait;
use aws_config::{retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_sagemakerruntime::primitives::Blob;
use std::time::Duration;

/// The code of the error where the deployment has no endpoint.
pub const NO_ENDPOINT: &str = "no endpoint";

/// As long as nobody waits; for a planted fault.
const UNTIMELY: Duration = Duration::from_secs(3_600);

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
        let answer = aws::call(DOING, deadline.min(Deadline::now() + timeout), request).await?;
        answer.body.map(Blob::into_inner).ok_or_else(|| aws::empty(DOING))
    }
}
