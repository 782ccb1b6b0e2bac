//! The Lambda that asks for second opinions; see the crate's documentation.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), runtime::Error> {
    let process = escalate::Process::from_env().await?;
    runtime::serve(|batch, invocation| process.handle(batch, invocation)).await
}
