//! The program as a child, and the load that is put on it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::Client;

/// The program, which ends with this.
pub struct Program {
    child: Child,
    pub address: SocketAddr,
    pub model: String,
    pub device: String,
}

impl Program {
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_endpoint"));
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut address, mut model, mut device) = (None, String::new(), String::new());
        loop {
            let line = lines.next().expect("it says that it serves").unwrap();
            let line: Value = serde_json::from_str(&line).unwrap();
            address = line["address"].as_str().map(|text| text.parse().unwrap()).or(address);
            if let Some(name) = line["model.name"].as_str() {
                (model, device) = (name.to_owned(), line["device"].as_str().unwrap().to_owned());
            }
            match line["message"].as_str() {
                Some("the endpoint serves") => break,
                Some("the endpoint cannot serve") => panic!("{line}"),
                _ => {}
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address: address.unwrap(), model, device }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory that it has now, in MB.
    fn megabytes(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        let kibibytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kibibytes * 1024.0 / 1e6
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Time of the processor that a process has had, in seconds; the kernel counts hundredths.
pub fn processor_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Its name, in brackets, may hold blanks.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = |place: usize| fields[place].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

/// Rows over connections that each ask again as soon as they are answered.
pub fn closed(
    address: SocketAddr,
    connections: usize,
    media_type: &str,
    work: &[(Vec<u8>, usize)],
    time: Duration,
) -> usize {
    let (count, started) = (AtomicUsize::new(0), Instant::now());
    std::thread::scope(|scope| {
        for connection in 0..connections {
            let count = &count;
            scope.spawn(move || {
                let mut client = Client::connect(address).unwrap();
                let mut at = connection * work.len() / connections;
                while started.elapsed() < time {
                    let (body, rows) = &work[at % work.len()];
                    let answer = client.post(media_type, body).unwrap();
                    // A machine that others keep busy may make one wait too long: it does not count.
                    assert!([200, 503].contains(&answer.status), "{}", answer.text());
                    count.fetch_add(if answer.status == 200 { *rows } else { 0 }, Ordering::Relaxed);
                    at += 1;
                }
            });
        }
    });
    count.load(Ordering::Relaxed)
}

/// Requests at four times the rate that it can carry, whatever it answers.
pub fn overload(program: &Program, body: &[u8], seconds: f64) {
    // Those whose requests wait send nothing, so there are many more than may wait.
    const CONNECTIONS: usize = 512;
    let (time, rows) = (Duration::from_secs_f64(seconds), 8);
    let (alone, began) = (time / 2, Instant::now());
    let carried = closed(program.address, 4, "application/x-npy", &[(body.to_vec(), rows)], alone);
    let capacity = (carried / rows) as f64 / began.elapsed().as_secs_f64();
    let before = program.megabytes();
    let every = Duration::from_secs_f64(CONNECTIONS as f64 / (4.0 * capacity));
    let answers: Mutex<Vec<(u16, Duration)>> = Mutex::default();
    let (mut pings, mut most): (Vec<Duration>, f64) = (Vec::new(), 0.0);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let answers = &answers;
            scope.spawn(move || {
                let mut client = Client::connect(program.address).unwrap();
                let mut next = started + every * connection as u32 / CONNECTIONS as u32;
                while next < started + time && started.elapsed() < time {
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                    let asked = Instant::now();
                    let status = client.post("application/x-npy", body).map_or(0, |answer| answer.status);
                    answers.lock().unwrap().push((status, asked.elapsed()));
                    next = (next + every).max(Instant::now().checked_sub(every * 4).unwrap_or(started));
                }
            });
        }
        let mut client = Client::connect(program.address).unwrap();
        while started.elapsed() < time {
            let asked = Instant::now();
            assert_eq!(client.get("/ping").unwrap().status, 200);
            pings.push(asked.elapsed());
            most = most.max(program.megabytes());
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let took = time.as_secs_f64();
    let answers = answers.into_inner().unwrap();
    let of = |wanted: u16| answers.iter().filter(|(status, _)| *status == wanted).count();
    let served: Vec<Duration> = answers.iter().filter(|(status, _)| *status == 200).map(|(_, took)| *took).collect();
    std::thread::sleep(Duration::from_secs(1));
    println!(
        "  overload: it carries {capacity:.0} requests/s of {rows} rows; {:.0} a second were sent for {took:.1} s over {CONNECTIONS} connections ({:.1} times)",
        answers.len() as f64 / took,
        answers.len() as f64 / took / capacity
    );
    println!(
        "    200: {} ({:.0}/s)  429: {}  503: {}  other: {}",
        of(200),
        of(200) as f64 / took,
        of(429),
        of(503),
        answers.len() - of(200) - of(429) - of(503)
    );
    let milliseconds = |values: &[Duration], share: f64| {
        let mut values = values.to_vec();
        values.sort();
        let place = ((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1));
        values.get(place).map_or(f64::NAN, |value| value.as_secs_f64() * 1e3)
    };
    println!(
        "    of the served p50 {:.0} ms, p99 {:.0} ms; /ping p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms of {}",
        milliseconds(&served, 0.5),
        milliseconds(&served, 0.99),
        milliseconds(&pings, 0.5),
        milliseconds(&pings, 0.99),
        milliseconds(&pings, 1.0),
        pings.len()
    );
    println!("    memory: {before:.1} MB before, {most:.1} MB at most while, {:.1} MB after", program.megabytes());
}
