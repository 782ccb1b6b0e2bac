//! Which rows run together. When they run is `endpoint::queue`'s, whose tests have instants of their own.

use crate::fakes::{Fake, PANIC, Served, UNKNOWN, scores, until};
use serde_json::json;

#[test]
fn rows_of_many_requests_run_together() {
    let fake = Fake::new(16);
    let served = Served::with(&fake, &["--max-batch", "8"]);
    fake.close();
    let first = served.asking(&["1"]);
    fake.begun(1);
    let others: Vec<_> = (0..5).map(|number| served.asking(&[&format!("{number} 1"), "2 3 4"])).collect();
    served.waits(10);
    fake.open();
    assert_eq!(scores(&first.join().unwrap()), [json!(0.001)]);
    for (number, other) in others.into_iter().enumerate() {
        assert_eq!(scores(&other.join().unwrap()), [json!((number + 1) as f64 / 1000.0), json!(0.009)]);
    }
    let sizes: Vec<usize> = fake.runs().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 8, 2]);
    let text = served.server.app.metrics.text();
    assert!(text.contains("endpoint_rows_total 11\n") && text.contains("endpoint_batch_rows_count 3\n"), "{text}");
}

#[test]
fn rows_of_other_lengths_run_apart() {
    let fake = Fake::new(16);
    let served = Served::with(&fake, &[]);
    fake.close();
    let first = served.asking(&["1"]);
    fake.begun(1);
    let long = "1 ".repeat(200);
    let others = served.asking(&[&long, "1 2", &long, "3 4"]);
    served.waits(4);
    fake.open();
    assert_eq!((first.join().unwrap().status, others.join().unwrap().status), (200, 200));
    assert_eq!(fake.runs(), [vec![1], vec![200, 200], vec![2, 2]]);
}

#[test]
fn a_model_that_takes_one_row_a_run_never_gets_two() {
    let fake = Fake::new(1);
    let served = Served::with(&fake, &["--max-batch", "64"]);
    let answer = served.ask(&["1;2;3", "4"]);
    assert_eq!(scores(&answer), [json!(0.006), json!(0.004)]);
    assert_eq!(fake.runs(), vec![vec![1]; 4]);
}

#[test]
fn a_bad_row_of_a_run_fails_itself_alone() {
    let fake = Fake::new(16);
    let served = Served::with(&fake, &[]);
    let answer = served.ask(&["1", &PANIC.to_string(), "2", &UNKNOWN.to_string(), "3"]);
    assert_eq!(
        scores(&answer),
        [json!(0.001), json!("panicked"), json!(0.002), json!("id_out_of_range"), json!(0.003)]
    );
    let sizes: Vec<usize> = fake.runs().iter().map(Vec::len).collect();
    assert_eq!(sizes, [5, 1, 1, 1, 1, 1]);
}

#[test]
fn workers_run_beside_each_other() {
    let fake = Fake::new(1);
    let served = Served::without(&[]);
    served.load(&fake, 2);
    fake.close();
    let asked = [served.asking(&["1"]), served.asking(&["2"])];
    fake.begun(2);
    fake.open();
    for asked in asked {
        assert_eq!(asked.join().unwrap().status, 200);
    }
}

#[test]
fn what_nobody_waits_for_is_not_run() {
    let fake = Fake::new(1);
    let served = Served::with(&fake, &[]);
    fake.close();
    let first = served.asking(&["1"]);
    fake.begun(1);
    {
        use std::io::Write;
        let mut stream = std::net::TcpStream::connect(served.address()).unwrap();
        let body = crate::fakes::texts_of(&["2;3;4"]);
        let head = "POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length:";
        stream.write_all(&[format!("{head} {}\r\n\r\n", body.len()).as_bytes(), &body].concat()).unwrap();
        served.waits(3);
    }
    served.holds(1);
    fake.open();
    assert_eq!(first.join().unwrap().status, 200);
    assert_eq!(served.ask(&["5"]).status, 200);
    until(|| served.server.app.metrics.text().contains("endpoint_queue_rows 0\n"));
    assert_eq!(fake.runs().len(), 2);
}
