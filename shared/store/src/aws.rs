//! AWS clients with everything that has a default pinned: defaults have changed under users before.

use crate::planted::planted;
use crate::{Deadline, StoreError};
use aws_config::{
    BehaviorVersion, SdkConfig, retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig,
    timeout::TimeoutConfig,
};
use aws_sdk_dynamodb::config::{Credentials, retry::RetryPartition};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use std::{future::Future, time::Duration};

/// Opening a connection inside a region takes single milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(800);
/// Waiting for the first byte of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// One try, model downloads of a few megabytes included.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// All tries of one call together.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(8);
/// Tries of one call.
const MAX_ATTEMPTS: u32 = 3;
/// The longest wait before the second try; AWS advises 25 to 50 ms for DynamoDB.
const INITIAL_BACKOFF: Duration = Duration::from_millis(50);
/// The longest wait at all.
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// Idle connections are dropped after this: a frozen function would find them closed by the other side
/// (aws-sdk-rust issue 440).
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// Idle connections kept to one host. Fewer than tries: where the other side forgot them all in silence, each costs a
/// try, and the last try still opens a connection of its own.
const POOL_MAX_IDLE: usize = MAX_ATTEMPTS as usize - 1;
/// How long a stream may stall before the try counts as failed.
const STALL_GRACE: Duration = Duration::from_secs(2);

/// One client for each service, sharing connections and credentials.
#[derive(Debug, Clone)]
pub struct Aws {
    /// Decisions and features.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// Artefacts, content and quarantine.
    pub s3: aws_sdk_s3::Client,
    /// Posts in, tasks and actions out.
    pub sqs: aws_sdk_sqs::Client,
    /// Second opinions.
    pub sagemaker: aws_sdk_sagemakerruntime::Client,
}

/// Where to connect to; what is `None` comes from the environment, as the AWS tools read it. No `Debug`: it holds a
/// secret.
#[derive(Clone, Default)]
pub struct Connection {
    /// One endpoint for all services: a local AWS.
    pub endpoint_url: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Access key id and secret access key.
    pub credentials: Option<(String, String)>,
    /// What carries the requests; the network where it is `None`.
    pub http_client: Option<SharedHttpClient>,
}

/// Builds the clients. No call is made yet.
pub async fn connect(connection: Connection) -> Aws {
    clients(&config(connection).await)
}

/// Reads a secret of Secrets Manager, for operators: functions are told theirs by the deployment.
///
/// # Errors
/// Where it cannot be read, or is none of text.
pub async fn secret(connection: Connection, id: &str, deadline: Deadline) -> Result<String, StoreError> {
    const DOING: &str = "reading a secret";
    let client = aws_sdk_secretsmanager::Client::new(&config(connection).await);
    let answer = call(DOING, deadline, client.get_secret_value().secret_id(id).send()).await?;
    answer.secret_string.ok_or_else(|| StoreError::permanent(DOING, "no text"))
}

async fn config(connection: Connection) -> SdkConfig {
    let http = connection.http_client.unwrap_or_else(|| {
        aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(POOL_MAX_IDLE)
            .build_https()
    });
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(READ_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .operation_timeout(OPERATION_TIMEOUT)
                .build(),
        )
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(MAX_ATTEMPTS)
                .with_initial_backoff(INITIAL_BACKOFF)
                .with_max_backoff(MAX_BACKOFF),
        )
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(STALL_GRACE).build());
    if let Some(endpoint_url) = connection.endpoint_url {
        loader = loader.endpoint_url(endpoint_url);
    }
    if let Some(region) = connection.region {
        loader = loader.region(aws_config::Region::new(region));
    }
    if let Some((id, secret)) = connection.credentials {
        loader = loader.credentials_provider(Credentials::new(id, secret, None, None, "given"));
    }
    loader.load().await
}

fn clients(config: &SdkConfig) -> Aws {
    // Buckets of retry tokens of these clients' own: they live and die with them, instead of with the process.
    let partition = |service| RetryPartition::custom(service).build();
    // A custom endpoint is a local AWS on a bare address, where `bucket.host` does not resolve.
    let path_style = config.endpoint_url().is_some();
    let s3 = aws_sdk_s3::config::Builder::from(config).force_path_style(path_style).retry_partition(partition("s3"));
    let dynamodb = aws_sdk_dynamodb::config::Builder::from(config).retry_partition(partition("dynamodb"));
    let sqs = aws_sdk_sqs::config::Builder::from(config).retry_partition(partition("sqs"));
    let sagemaker =
        aws_sdk_sagemakerruntime::config::Builder::from(config).retry_partition(partition("sagemakerruntime"));
    Aws {
        sagemaker: aws_sdk_sagemakerruntime::Client::from_conf(sagemaker.build()),
        dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
        s3: aws_sdk_s3::Client::from_conf(s3.build()),
        sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
    }
}

/// Ends a call at the deadline, and turns its error into ours: a code, never a message that may quote its input.
pub(crate) async fn call<T, E>(
    doing: &'static str,
    deadline: Deadline,
    request: impl Future<Output = Result<T, aws_sdk_dynamodb::error::SdkError<E>>>,
) -> Result<T, StoreError>
where
    E: aws_sdk_dynamodb::error::ProvideErrorMetadata,
{
    use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
    let deadline = if planted("retry-past-deadline") { deadline + Duration::from_secs(60) } else { deadline };
    let answer = tokio::time::timeout_at(deadline, request)
        .await
        .map_err(|_| StoreError::transient(doing, "deadline reached"))?;
    answer.map_err(|error| match &error {
        SdkError::ConstructionFailure(_) => StoreError::permanent(doing, "request could not be built"),
        SdkError::TimeoutError(_) => StoreError::transient(doing, "timed out"),
        SdkError::DispatchFailure(_) => StoreError::transient(doing, "could not be reached"),
        SdkError::ResponseError(_) => StoreError::transient(doing, "unreadable answer"),
        _ => {
            let code = code(error.code());
            StoreError { doing, retryable: !is_permanent(&code), code }
        }
    })
}

/// What the service called it. Where something else than AWS answered, anything may stand there, what it was sent
/// included, and a code ends up in the log (law 8).
pub(crate) fn code(named: Option<&str>) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match named {
        Some(code) if code.len() <= 64 && code.bytes().all(plain) => code.to_owned(),
        _ => "unknown error".to_owned(),
    }
}

/// An answer without what every answer has. The SDK reads an empty body as an empty document, in which nothing would be
/// found: absence has to be said.
pub(crate) fn empty(doing: &'static str) -> StoreError {
    StoreError::transient(doing, "empty answer")
}

/// Codes that no retry mends: the request itself is wrong.
pub(crate) fn is_permanent(code: &str) -> bool {
    matches!(
        code,
        "ValidationException"
            | "ValidationError"
            | "ItemCollectionSizeLimitExceeded"
            | "ItemCollectionSizeLimitExceededException"
            | "NoSuchKey"
            | "NoSuchBucket"
            | "NotFound"
            | "ConditionalCheckFailedException"
            | "InvalidMessageContents"
            | "AWS.SimpleQueueService.BatchRequestTooLong"
            | "InvalidParameterValue"
            // Objects that nobody lets us read, or that are not where the request goes.
            | "AccessDenied"
            | "AllAccessDisabled"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException"
            | "InvalidArgument"
            | "InvalidBucketName"
            | "InvalidObjectState"
            | "InvalidRequest"
            | "InvalidURI"
            | "KMS.DisabledException"
            | "KMS.KMSInvalidStateException"
            | "KMS.NotFoundException"
            | "KeyTooLongError"
            | "MethodNotAllowed"
            | "PermanentRedirect"
    )
}
