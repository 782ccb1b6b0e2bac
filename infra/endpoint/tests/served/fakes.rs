//! A server in this process around a reader that counts its runs and can be held up.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use domain::ModelRef;
use endpoint::models::Loaded;
use endpoint::{Config, Server};
use opinion::{Eyes, ImageError, Panel, Reader, ReaderError, Seen, TextOpinion};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::client::{Answer, Client};

/// The word, and id, on which the model panics.
pub const PANIC: i64 = 666;
/// The id that it does not know.
pub const UNKNOWN: i64 = 13;

/// Rows are numbers between `;`, outputs their sum.
pub struct Fake {
    model: ModelRef,
    most_rows: usize,
    /// Lengths of the rows of each run.
    runs: Mutex<Vec<Vec<usize>>>,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Fake {
    /// One that runs at once.
    pub fn new(most_rows: usize) -> Arc<Self> {
        let model = ModelRef { name: "fake".to_owned(), version: "1".to_owned(), sha256: "0".repeat(64) };
        Arc::new(Self { model, most_rows, runs: Mutex::default(), open: Mutex::new(true), opened: Condvar::new() })
    }

    /// Holds up runs from now on.
    pub fn close(&self) {
        *self.open.lock().unwrap() = false;
    }

    /// Lets them go.
    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    /// Runs that have begun.
    pub fn runs(&self) -> Vec<Vec<usize>> {
        self.runs.lock().unwrap().clone()
    }

    /// Waits until so many runs have begun.
    pub fn begun(&self, runs: usize) {
        until(|| self.runs().len() >= runs);
    }
}

/// Waits until it holds; fails after a minute.
pub fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..60_000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("it never came");
}

impl Reader for Fake {
    fn model(&self) -> &ModelRef {
        &self.model
    }

    fn supports(&self, lang: Option<&str>) -> bool {
        lang != Some("xx")
    }

    fn rows(&self, text: &str) -> Vec<Vec<i64>> {
        let row = |row: &str| row.split_whitespace().map(|number| number.parse().unwrap()).collect();
        text.split(';').map(row).filter(|row: &Vec<i64>| !row.is_empty()).collect()
    }

    fn most_rows(&self) -> usize {
        self.most_rows
    }

    fn run(&self, rows: &[&[i64]]) -> Result<Vec<Vec<f32>>, ReaderError> {
        assert!(rows.len() <= self.most_rows, "more rows than a run takes");
        self.runs.lock().unwrap().push(rows.iter().map(|row| row.len()).collect());
        let mut open = self.open.lock().unwrap();
        while !*open {
            open = self.opened.wait(open).unwrap();
        }
        drop(open);
        assert!(!rows.iter().any(|row| row.contains(&PANIC)), "CANARY: {rows:?}");
        if rows.iter().any(|row| row.contains(&UNKNOWN)) {
            return Err(ReaderError { model: "fake@1".to_owned(), code: "id_out_of_range".to_owned() });
        }
        Ok(rows.iter().map(|row| vec![row.iter().sum::<i64>() as f32, 1.0]).collect())
    }

    fn conclude(&self, text: &str, outputs: &[Vec<f32>]) -> Result<TextOpinion, ReaderError> {
        assert!(!text.starts_with("777"), "CANARY: {text}");
        let sum: f32 = outputs.iter().map(|row| row[0]).sum();
        let score = f64::from(sum) / 1000.0;
        Ok(TextOpinion { raw: score, calibrated: score, model: self.model.clone(), spans: Vec::new() })
    }
}

impl Eyes for Fake {
    fn look(&self, file: &[u8], reader: &dyn Reader) -> Result<Seen, ImageError> {
        assert!(file != b"panic", "CANARY");
        if file != b"image" {
            return Err(ImageError::NotAnImage);
        }
        let (nudity_model, text) = (self.model.clone(), reader.read("1 2").ok());
        let (lines, more_pdq) = (Vec::new(), Vec::new());
        Ok(Seen { width: 1, height: 2, nudity: 0.5, nudity_model, pdq: None, lines, text, more_pdq, unread: None })
    }
}

/// A server in this process.
pub struct Served {
    pub runtime: Runtime,
    pub server: Server,
}

impl Served {
    /// With a model at work.
    pub fn with(fake: &Arc<Fake>, arguments: &[&str]) -> Self {
        let served = Self::without(arguments);
        served.load(fake, 1);
        served
    }

    /// Without a model yet.
    pub fn without(arguments: &[&str]) -> Self {
        runtime::silence_panics();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let config = Config::of(&[&["--bind", "127.0.0.1:0"], arguments].concat());
        let server = runtime.block_on(Server::bind(&config)).unwrap();
        Self { runtime, server }
    }

    pub fn load(&self, fake: &Arc<Fake>, workers: usize) {
        let eyes: Arc<dyn Eyes> = Arc::clone(fake) as _;
        let panel = || Arc::new(Panel { reader: Arc::clone(fake) as _, eyes: Some(Arc::clone(&eyes)) });
        let panels = (0..workers).map(|_| panel()).collect();
        self.server.app.serve(Loaded { panels, reader: Arc::clone(fake) as _ }).unwrap();
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address()).unwrap()
    }

    /// Asks about texts.
    pub fn ask(&self, texts: &[&str]) -> Answer {
        self.client().post("application/json", &texts_of(texts)).unwrap()
    }

    /// Asks in a thread of its own.
    pub fn asking(&self, texts: &[&str]) -> JoinHandle<Answer> {
        let (address, body) = (self.address(), texts_of(texts));
        std::thread::spawn(move || Client::connect(address).unwrap().post("application/json", &body).unwrap())
    }

    /// Waits until so many requests are being answered.
    pub fn holds(&self, requests: usize) {
        until(|| self.server.active() == requests);
    }

    /// Waits until so much waits, in rows.
    pub fn waits(&self, rows: usize) {
        until(|| self.server.app.metrics.text().contains(&format!("endpoint_queue_rows {rows}\n")));
    }
}

/// The body that asks about texts.
pub fn texts_of(texts: &[&str]) -> Vec<u8> {
    let instances: Vec<Value> = texts.iter().map(|text| json!({ "text": text })).collect();
    json!({ "instances": instances }).to_string().into_bytes()
}

/// The scores of an answer, or the codes in their place.
pub fn scores(answer: &Answer) -> Vec<Value> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let one = |prediction: &Value| match &prediction["text"]["ok"]["calibrated"] {
        Value::Null => prediction["text"]["error"].clone(),
        score => score.clone(),
    };
    body["predictions"].as_array().unwrap().iter().map(one).collect()
}

/// The kind of a refusal.
pub fn kind(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["error"]["kind"].as_str().unwrap().to_owned()
}
