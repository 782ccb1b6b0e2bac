//! Everything that configures the program: arguments, each with a variable of the environment.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use scoring::Device;

/// The largest body of a request in bytes; SageMaker's own limit.
pub const MAX_BODY_BYTES: usize = 6 * 1024 * 1024;

/// Serves a model over HTTP as a SageMaker endpoint does.
#[derive(Debug, Clone, Parser)]
#[command(version)]
pub struct Config {
    /// What SageMaker starts a container with.
    #[arg(value_enum, default_value = "serve")]
    pub command: Command,

    /// Folder of the model: `manifest.json` for one of ours, `card.json` alone for one of yours.
    #[arg(long, env = "ENDPOINT_MODEL", default_value = "/opt/ml/model")]
    pub model: PathBuf,

    /// Folder of the models that look at images; `eyes` in the model's folder where not given and there is one. Without it no image is
    /// looked at.
    #[arg(long, env = "ENDPOINT_EYES")]
    pub eyes: Option<PathBuf>,

    /// ONNX Runtime's library.
    #[arg(long, env = "MODERATO_ONNXRUNTIME", default_value = "/opt/onnxruntime/libonnxruntime.so")]
    pub onnxruntime: PathBuf,

    /// Address, with or without a port; the container sets 0.0.0.0.
    #[arg(long, env = "ENDPOINT_BIND", default_value = "127.0.0.1")]
    pub bind: Bind,

    /// Port where the address has none.
    #[arg(long, env = "SAGEMAKER_BIND_TO_PORT", default_value_t = 8080)]
    pub port: u16,

    /// `auto` is the GPU where there is one, `cpu`, `cuda` or `cuda:N`, which fail where there is none.
    #[arg(long, env = "ENDPOINT_DEVICE", default_value = "auto", value_parser = device)]
    pub device: Device,

    /// Threads that run the model, each with a session of its own; as many as processors where not given.
    #[arg(long, env = "ENDPOINT_WORKERS", value_parser = positive)]
    pub workers: Option<usize>,

    /// Threads of one run.
    #[arg(long, env = "ENDPOINT_THREADS", default_value = "1", value_parser = positive)]
    pub threads: usize,

    /// The most rows of a run, where the model takes several.
    #[arg(long, env = "ENDPOINT_MAX_BATCH", default_value = "64", value_parser = positive)]
    pub max_batch: usize,

    /// How long a row waits for others that are on their way, in milliseconds.
    #[arg(long, env = "ENDPOINT_MAX_WAIT_MS", default_value_t = 3)]
    pub max_wait_ms: u64,

    /// The most rows that wait; an image counts as eight. What is beyond is refused with 429.
    #[arg(long, env = "ENDPOINT_MAX_QUEUE", default_value = "512", value_parser = positive)]
    pub max_queue: usize,

    /// How long a row may wait, in milliseconds; after that its request is refused with 503.
    #[arg(long, env = "ENDPOINT_MAX_QUEUE_MS", default_value_t = 2000)]
    pub max_queue_ms: u64,

    /// Bytes of bodies held at once; what is beyond is refused with 429. One body of 6 MiB always fits.
    #[arg(long, env = "ENDPOINT_MAX_HELD_BYTES", default_value_t = 64 * 1024 * 1024)]
    pub max_held_bytes: usize,

    /// How long what is held may take after SIGTERM, in milliseconds; SageMaker kills after 30 seconds.
    #[arg(long, env = "ENDPOINT_DRAIN_MS", default_value_t = 25_000)]
    pub drain_ms: u64,

    /// Dimension of the metrics.
    #[arg(long, env = "STAGE", default_value = "local")]
    pub stage: String,
}

/// What the program is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Command {
    /// Serve the model.
    Serve,
}

/// An address, with or without a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bind {
    /// Without.
    Ip(IpAddr),
    /// With.
    Socket(SocketAddr),
}

impl FromStr for Bind {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self::Ip).or_else(|_| text.parse().map(Self::Socket))
    }
}

fn device(text: &str) -> Result<Device, String> {
    let number = |text: &str| text.parse().ok().filter(|number| *number >= 0).map(Device::Cuda);
    let named = match text {
        "auto" => Some(Device::Auto),
        "cpu" => Some(Device::Cpu),
        "cuda" => Some(Device::Cuda(0)),
        other => other.strip_prefix("cuda:").and_then(number),
    };
    named.ok_or_else(|| "it is `auto`, `cpu`, `cuda` or `cuda:N`".to_owned())
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "it is a whole number above 0".to_owned())
}

impl Config {
    /// By arguments alone, without the name of the program: for tests and benchmarks.
    #[must_use]
    pub fn of(arguments: &[&str]) -> Self {
        Self::parse_from(std::iter::once(&"endpoint").chain(arguments))
    }

    /// Where the models are that look at images, if anywhere.
    #[must_use]
    pub fn eyes(&self) -> Option<PathBuf> {
        let beside = self.model.join("eyes");
        self.eyes.clone().or_else(|| beside.exists().then_some(beside))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        match self.bind {
            Bind::Ip(ip) => SocketAddr::new(ip, self.port),
            Bind::Socket(address) => address,
        }
    }

    /// Threads that run the model.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Bytes of bodies held at once: one body at least, and what a semaphore counts at most.
    pub(crate) fn held_bytes(&self) -> u32 {
        u32::try_from(self.max_held_bytes.max(MAX_BODY_BYTES)).unwrap_or(u32::MAX >> 3).min(u32::MAX >> 3)
    }

    /// How long a row waits for others.
    #[must_use]
    pub fn max_wait(&self) -> Duration {
        Duration::from_millis(self.max_wait_ms)
    }

    /// How long a row may wait.
    #[must_use]
    pub fn max_age(&self) -> Duration {
        Duration::from_millis(self.max_queue_ms)
    }

    /// How long stopping may take.
    #[must_use]
    pub fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port_of_its_own_or_the_given_one() {
        let at = |arguments: &[&str]| Config::of(arguments).address().to_string();
        assert_eq!(at(&["serve", "--bind", "0.0.0.0", "--port", "9000"]), "0.0.0.0:9000");
        assert_eq!(at(&["--bind", "127.0.0.1:8081", "--port", "9000"]), "127.0.0.1:8081");
    }

    #[test]
    fn devices_are_named() {
        let found = ["auto", "cpu", "cuda", "cuda:3"].map(|text| device(text).ok());
        assert_eq!(found, [Some(Device::Auto), Some(Device::Cpu), Some(Device::Cuda(0)), Some(Device::Cuda(3))]);
        assert!(["", "gpu", "cuda:", "cuda:-1", "cuda:x"].iter().all(|text| device(text).is_err()));
        assert!(["", "0", "-1", "x"].iter().all(|text| positive(text).is_err()));
    }
}
