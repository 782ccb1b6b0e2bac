//! A server on this machine that answers HTTP as it is told, badly too: it stands in for Lambda's Runtime API and for
//! AWS where a test needs the real client on its other end.

use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request, read to its end.
pub struct Request {
    pub method: String,
    pub path: String,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// What comes back.
pub enum Reply {
    /// A status, headers and a body.
    Http(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// These bytes, which need not be HTTP, and the end of the connection.
    Raw(Vec<u8>),
    /// Nothing, ever.
    Never,
}

/// Serves on a free port of 127.0.0.1, whose address comes back, for as long as the test's runtime lives.
pub async fn serve(answer: impl Fn(Request) -> Reply + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move { connection(stream, answer.as_ref()).await });
        }
    });
    address
}

/// `None` once the connection is of no more use.
async fn connection(stream: TcpStream, answer: &(dyn Fn(Request) -> Reply + Send + Sync)) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let request = request(&mut stream).await?;
        let bytes = match answer(request) {
            Reply::Http(status, headers, body) => {
                let mut head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n", body.len());
                headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
                [head.as_bytes(), b"\r\n", &body].concat()
            }
            Reply::Raw(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                return None;
            }
            Reply::Never => std::future::pending().await,
        };
        stream.write_all(&bytes).await.ok()?;
    }
}

async fn request(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request { method, path, headers, body })
}
