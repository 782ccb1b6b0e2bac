//! The HTTP server in front of both fakes: one address, the Runtime API under its own path, AWS under every other.

use crate::aws::Aws;
use crate::lambda::{Lambda, RUNTIME};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, service::service_fn};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// An answer.
pub type Answer = Response<Full<Bytes>>;

/// Serves on a free port of 127.0.0.1 until the handle is aborted.
pub async fn serve(lambda: Rc<Lambda>, aws: Rc<Aws>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let (lambda, aws) = (lambda.clone(), aws.clone());
            let service = service_fn(move |request| {
                let (lambda, aws) = (lambda.clone(), aws.clone());
                async move { Ok::<_, Infallible>(answer(&lambda, &aws, request).await) }
            });
            // A function that is stopped leaves its connections broken.
            tokio::task::spawn_local(async move {
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, serving)
}

async fn answer(lambda: &Lambda, aws: &Aws, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    // A broken body belongs to a function that is being stopped; an empty one is answered with an error.
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    match head.uri.path().strip_prefix(RUNTIME) {
        Some(path) => lambda.answer(path, &body).await,
        None => aws.answer(&head, &body),
    }
}
