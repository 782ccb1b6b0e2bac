#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, unused_crate_dependencies, clippy::disallowed_macros, clippy::disallowed_methods)]
use std::io::BufRead;
fn main() {
    let onnx = scoring::init(std::path::Path::new(".tools/onnxruntime/libonnxruntime.so")).unwrap();
    let folder = std::env::args().nth(1).unwrap();
    let model = scoring::TextModel::load(&onnx, &scoring::Bundle::read(std::path::Path::new(&folder)).unwrap(), None).unwrap();
    for line in std::io::stdin().lock().lines() {
        let v: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        let text = v["text"].as_str().unwrap();
        let gate = model.log_odds(text).unwrap();
        let rows = model.rows(text, 8).unwrap();
        let (mut whole, mut part, mut pieces) = (f64::NEG_INFINITY, f64::NEG_INFINITY, 0);
        for row in &rows {
            let o = model.run(&row.ids).unwrap()[0];
            pieces += row.ids.len();
            if row.part { part = part.max(o) } else { whole = whole.max(o) }
        }
        println!("{}", serde_json::json!({"gate":gate,"whole":whole,"part":if part.is_finite(){Some(part)}else{None},"rows":rows.len(),"pieces":pieces}));
    }
}
