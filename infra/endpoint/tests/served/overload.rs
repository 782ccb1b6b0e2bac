//! More than it can do: what is beyond the bounds is refused at once, and `/ping` answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::client::Answer;
use crate::fakes::{Fake, Served, kind, until};

#[test]
fn no_more_rows_wait_than_the_bound_and_the_rest_is_told_to_come_again() {
    let fake = Fake::new(4);
    let served = Served::with(&fake, &["--max-queue", "8", "--max-queue-ms", "60000"]);
    fake.close();
    let first = served.asking(&["0"]);
    fake.begun(1);
    let asked: Vec<_> = (0..40).map(|number| served.asking(&[&format!("{number} 1; 2")])).collect();
    // Four requests of two rows each fit; the others are answered while the model stands still.
    until(|| served.server.app.metrics.text().contains("endpoint_requests_total{status=\"429\"} 36\n"));
    assert_eq!(served.client().get("/ping").unwrap().status, 200);
    assert!(served.server.app.metrics.queue_peak() <= 8);
    fake.open();
    let answers: Vec<Answer> = asked.into_iter().map(|asked| asked.join().unwrap()).collect();
    let (served_ones, refused): (Vec<&Answer>, Vec<&Answer>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((served_ones.len(), refused.len()), (4, 36));
    for answer in refused {
        assert_eq!((answer.status, kind(answer)), (429, "too_many_requests".to_owned()));
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    assert_eq!(first.join().unwrap().status, 200);
    assert_eq!(served.server.app.metrics.queue_peak(), 8);
}

#[test]
fn what_waited_too_long_is_refused_and_not_run() {
    let fake = Fake::new(1);
    let served = Served::with(&fake, &["--max-queue-ms", "40"]);
    fake.close();
    let first = served.asking(&["1"]);
    fake.begun(1);
    let late = served.asking(&["2; 3"]);
    served.waits(2);
    std::thread::sleep(Duration::from_millis(60));
    fake.open();
    let late = late.join().unwrap();
    assert_eq!((late.status, kind(&late)), (503, "queue_timeout".to_owned()));
    assert_eq!(first.join().unwrap().status, 200);
    assert_eq!(fake.runs().len(), 1);
}

#[test]
fn no_more_bytes_are_held_than_the_bound() {
    let fake = Fake::new(1);
    let served = Served::with(&fake, &["--max-held-bytes", "1"]);
    fake.close();
    // A body always fits, so the bound is one body of six mebibytes.
    let large = " ".repeat(4 * 1024 * 1024);
    let body = move |text: &str| format!("{{\"instances\":[{{\"text\":\"{text}\"}}]{large}}}").into_bytes();
    let address = served.address();
    let first = std::thread::spawn(move || {
        crate::client::Client::connect(address).unwrap().post("application/json", &body("1")).unwrap()
    });
    fake.begun(1);
    let head = "POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let second = served.client().raw(format!("{head}content-length: 4000000\r\n\r\n").as_bytes()).unwrap();
    assert_eq!((second.status, kind(&second)), (429, "too_many_requests".to_owned()));
    let small = served.asking(&["2"]);
    served.waits(1);
    fake.open();
    assert_eq!((first.join().unwrap().status, small.join().unwrap().status), (200, 200));
    assert_eq!(served.ask(&["3"]).status, 200, "what was held is given back");
}

#[test]
fn ping_answers_while_large_bodies_are_read() {
    let served = Served::with(&Fake::new(8), &[]);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let text = "1 2 3;".repeat(40);
                let texts = vec![text.as_str(); 500];
                while !over.load(Ordering::Relaxed) {
                    assert!([200, 413, 429].contains(&served.ask(&texts).status));
                }
            });
        }
        let mut client = served.client();
        for _ in 0..200 {
            assert_eq!(client.get("/ping").unwrap().status, 200);
        }
        over.store(true, Ordering::Relaxed);
    });
}
