//! Any condition is refused in words or holds, does not, or is unavailable; it never panics and always ends.

use crate::{ends, evidence, material, schema};
use domain::condition::{Condition, ConditionError, Held, Type};
use domain::{Evidence, FeatureState};
use std::time::Duration;

#[test]
fn fuzz_conditions() {
    let (schema, evidence) = (schema(), evidence());
    bolero::check!(name = "conditions")
        .with_test_time(Duration::from_secs(1))
        .for_each(|source| any_condition(source, &schema, &evidence));
}

#[test]
fn mutations_of_conditions() {
    let (schema, evidence, material) = (schema(), evidence(), material("conditions"));
    bolero::check!(name = "mutations")
        .with_test_time(Duration::from_secs(2))
        .with_max_len(120)
        .for_each(|recipe| any_condition(&material.mutated(recipe), &schema, &evidence));
}

fn any_condition(source: &[u8], schema: &domain::condition::Schema, evidence: &[Evidence]) {
    let source = String::from_utf8_lossy(source);
    match ends(|| Condition::compile(&source, schema)) {
        Err(refused) => assert!(!refused.to_string().is_empty()),
        Ok(condition) => ends(|| {
            for evidence in evidence {
                let held = condition.held(evidence);
                assert_eq!(held, condition.held(evidence));
                if let Held::Unavailable(names) = held {
                    let is_unavailable =
                        |name: &String| !matches!(evidence.features.get(name), Some(FeatureState::Missing));
                    assert!(names.iter().all(|name| schema.features.contains_key(name) && is_unavailable(name)));
                }
            }
        }),
    }
}

#[test]
fn fuzz_expressions() {
    let (schema, evidence) = (schema(), evidence());
    bolero::check!(name = "expressions").with_test_time(Duration::from_secs(2)).with_max_len(400).for_each(|recipe| {
        let source = Writer { recipe: recipe.iter(), brackets: 6 }.write(Type::Bool);
        // Whatever fits its types is a condition, unless it is too long.
        match ends(|| Condition::compile(&source, &schema)) {
            Ok(_) => any_condition(source.as_bytes(), &schema, &evidence),
            Err(refused) => assert_eq!(refused, ConditionError::TooLarge, "{source}"),
        }
    });
}

/// Writes an expression of a type, as its recipe says; an empty recipe is the simplest one.
struct Writer<'a> {
    recipe: std::slice::Iter<'a, u8>,
    brackets: u8,
}

impl Writer<'_> {
    fn pick<'s>(&mut self, from: &[&'s str]) -> &'s str {
        from[usize::from(*self.recipe.next().unwrap_or(&0)) % from.len()]
    }

    /// Writes `shape`, in which `$` and a letter stand for an expression: `b`ool, `i`nt, `f`loat, `s`tring.
    fn fill(&mut self, shape: &str) -> String {
        let (mut out, holes) =
            shape.split_once('$').map_or((shape.to_owned(), ""), |(first, rest)| (first.to_owned(), rest));
        for hole in holes.split('$').filter(|hole| !hole.is_empty()) {
            let (kind, rest) = hole.split_at(1);
            let kind = match kind {
                "b" => Type::Bool,
                "i" => Type::Int,
                "f" => Type::Float,
                _ => Type::String,
            };
            out.push_str(&self.write(kind));
            out.push_str(rest);
        }
        out
    }

    fn write(&mut self, kind: Type) -> String {
        let (leaves, shapes): (&[&str], &[&str]) = match kind {
            Type::Bool => (
                &["true", "false", "user.verified", "post.is_reply"],
                &[
                    "$b && $b",
                    "$b || $b",
                    "!$b",
                    "$i < $i",
                    "$i >= $f",
                    "$f <= $i",
                    "$f > $f",
                    "$i == $f",
                    "$i != $i",
                    "$b == $b",
                    "$s == $s",
                    "$s != $s",
                    "$s in [$s, $s]",
                    "$i in [$i, $f]",
                    "$f in [$i]",
                    "$s in []",
                    "$s.startsWith($s)",
                    "$s.endsWith($s)",
                    "$s.contains($s)",
                    "$b ? $b : $b",
                ],
            ),
            Type::Int => (
                &[
                    "0",
                    "1",
                    "2",
                    "9223372036854775807",
                    "0x10",
                    "user.followers",
                    "user.account_age_days",
                    "post.reports",
                    "post.media_count",
                    "post.revision",
                ],
                &[
                    "$i + $i",
                    "$i - $i",
                    "$i * $i",
                    "$i / $i",
                    "$i % $i",
                    "-$i",
                    "size($s)",
                    "int($f)",
                    "int($i)",
                    "$b ? $i : $i",
                ],
            ),
            Type::Float => (
                &["0.0", "1.5", "1e308", "1e-320", "9223372036854775808.0"],
                &["$f + $f", "$f - $f", "$f * $f", "$f / $f", "-$f", "double($i)", "double($f)", "$b ? $f : $f"],
            ),
            _ => (&["''", "'en'", "\"é\\u0301\"", "post.lang", "post.surface"], &["$b ? $s : $s"]),
        };
        if self.brackets == 0 || self.recipe.next().is_none_or(|byte| byte % 4 == 0) {
            return self.pick(leaves).to_owned();
        }
        self.brackets -= 1;
        let shape = self.pick(shapes);
        let written = self.fill(shape);
        self.brackets += 1;
        format!("({written})")
    }
}
