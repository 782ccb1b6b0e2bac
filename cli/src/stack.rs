//! A deployed stack: its outputs, and the stores behind them.

use crate::Failure;
use features::views::Definitions;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::{Aws, Connection, Deadline, DynamoDecisions, DynamoFeatures, S3Objects, SqsQueue};

/// Where `make up` writes the outputs of the local stack.
const LOCAL: &str = ".local/stack.env";

/// A deployed stack.
pub struct Stack {
    variables: HashMap<String, String>,
    connection: Connection,
    aws: Aws,
}

impl Stack {
    /// Finds the stack's outputs in `file`, or in the environment, or in `.local/stack.env`.
    #[expect(clippy::disallowed_methods, reason = "an operator's command is told by its environment")]
    pub async fn connect(file: Option<&Path>) -> Result<Self, Failure> {
        let variables = match file {
            Some(file) => read(file)?,
            None if std::env::var_os("POSTS_QUEUE_URL").is_some() => std::env::vars().collect(),
            None => read(Path::new(LOCAL))?,
        };
        let get = |name: &str| variables.get(name).cloned();
        let connection = Connection {
            endpoint_url: get("AWS_ENDPOINT_URL"),
            region: get("AWS_REGION"),
            credentials: get("AWS_ACCESS_KEY_ID")
                .zip(get("AWS_SECRET_ACCESS_KEY"))
                .filter(|_| get("AWS_SESSION_TOKEN").is_none()),
            ..Connection::default()
        };
        let aws = store::connect(connection.clone()).await;
        Ok(Self { variables, connection, aws })
    }

    /// The deployment's key for digests: who may erase may read it.
    pub async fn digest_key(&self) -> Result<String, Failure> {
        Ok(store::secret(self.connection.clone(), self.output("DIGEST_KEY_SECRET")?, soon()).await?)
    }

    /// An output of the stack.
    pub fn output(&self, name: &str) -> Result<&str, Failure> {
        let value = self.variables.get(name).map(String::as_str);
        Ok(value
            .ok_or_else(|| format!("the stack's outputs lack `{name}`: run `make up`, or `make outputs STAGE=…`"))?)
    }

    /// The queue behind an output.
    pub fn queue(&self, output: &str) -> Result<SqsQueue, Failure> {
        Ok(SqsQueue::new(&self.aws, self.output(output)?))
    }

    /// The table of decisions.
    pub fn decisions(&self) -> Result<DynamoDecisions, Failure> {
        Ok(DynamoDecisions::new(&self.aws, self.output("DECISIONS_TABLE")?))
    }

    /// The table of features.
    pub fn features(&self, definitions: Definitions) -> Result<DynamoFeatures, Failure> {
        Ok(DynamoFeatures::new(&self.aws, self.output("FEATURES_TABLE")?, Arc::new(definitions)))
    }

    /// The objects that the credentials may see.
    pub fn objects(&self) -> S3Objects {
        S3Objects::new(&self.aws)
    }

    /// The bucket that producers write to.
    pub fn content_bucket(&self) -> Result<&str, Failure> {
        self.output("CONTENT_BUCKET")
    }

    /// The bucket of models, policies and quarantine.
    pub fn bucket(&self) -> Result<&str, Failure> {
        self.output("ARTIFACTS_BUCKET")
    }
}

/// By when a single call has to be answered.
pub fn soon() -> Deadline {
    Deadline::now() + Duration::from_secs(30)
}

fn read(file: &Path) -> Result<HashMap<String, String>, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        format!("reading the stack's outputs `{}`: {error}; run `make up`, or `make outputs STAGE=…`", file.display())
    })?;
    let pairs =
        text.lines().filter_map(|line| line.trim().strip_prefix("export ").unwrap_or(line.trim()).split_once('='));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.trim_matches(['"', '\'']).to_owned())).collect())
}
