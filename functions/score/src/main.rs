//! The Lambda that decides posts; see the crate's documentation.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), runtime::Error> {
    let app = score::App::from_env().await?;
    runtime::serve(|batch, invocation| score::handle(&app, batch, invocation)).await
}
