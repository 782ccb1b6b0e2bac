//! The Lambda that decides posts; see the crate's documentation.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), runtime::Error> {
    let process = score::Process::from_env().await?;
    runtime::serve(|batch, invocation| process.handle(batch, invocation)).await
}
