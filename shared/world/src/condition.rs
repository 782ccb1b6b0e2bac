//! Condition expressions of DynamoDB, as far as Moderato writes them: `AND` binds tighter than `OR`, and no parentheses but those of
//! functions.

use crate::dynamodb::Item;
use serde_json::{Map, Value};

/// Whether `expression` holds of what stands there; `None` where it is not understood.
pub(crate) fn holds(expression: &str, values: &Map<String, Value>, stands: Option<&Item>) -> Option<bool> {
    let all = |conjunction: &str| {
        conjunction.split(" AND ").try_fold(true, |holds, one| Some(term(one.trim(), values, stands)? && holds))
    };
    expression.split(" OR ").try_fold(false, |holds, one| Some(all(one)? || holds))
}

fn term(term: &str, values: &Map<String, Value>, stands: Option<&Item>) -> Option<bool> {
    let attribute = |name: &str| stands.and_then(|item| item.get(name));
    let inside = |function: &str| term.strip_prefix(function)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(name) = inside("attribute_exists") {
        return Some(attribute(name).is_some());
    }
    if let Some(name) = inside("attribute_not_exists") {
        return Some(attribute(name).is_none());
    }
    let mut words = term.split_whitespace();
    let (name, operator, value) = (words.next()?, words.next()?, values.get(words.next()?)?);
    // A comparison with an attribute that is not there does not hold, but for `<>`.
    let Some(found) = attribute(name) else { return Some(operator == "<>") };
    let number = |value: &Value| value.get("N")?.as_str()?.parse::<f64>().ok();
    let text = |value: &Value| value.get("S")?.as_str().map(str::to_owned);
    let equal = match (number(found), number(value)) {
        (Some(found), Some(value)) => found == value,
        _ => found == value,
    };
    match operator {
        "=" => Some(equal),
        "<>" => Some(!equal),
        "<=" => Some(number(found).zip(number(value)).is_some_and(|(found, value)| found <= value)),
        "<" => Some(
            number(found).zip(number(value)).is_some_and(|(found, value)| found < value)
                || text(found).zip(text(value)).is_some_and(|(found, value)| found < value),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions_hold_as_in_dynamodb() {
        let item = json!({ "who": { "S": "model" }, "attempt": { "N": "1" }, "open": { "BOOL": true }, "spent": { "N": "90" } });
        let values = json!({ ":true": { "BOOL": true }, ":one": { "N": "1" }, ":human": { "S": "human" }, ":nobody": { "S": "nobody" }, ":left": { "N": "100" } });
        let (item, values) = (item.as_object(), values.as_object().unwrap());
        let replace = "attribute_exists(who) AND open = :true AND attempt = :one AND who <> :human";
        let take = "attribute_not_exists(spent) OR spent <= :left";
        for (expression, stands, expected) in [
            (replace, item, Some(true)),
            (replace, None, Some(false)),
            (take, item, Some(true)),
            (take, None, Some(true)),
            ("spent <= :one", item, Some(false)),
            ("who < :human", item, Some(false)),
            ("who < :nobody", item, Some(true)),
            ("spent < :left", item, Some(true)),
            ("spent < :human", item, Some(false)),
            ("attempt <> :one", item, Some(false)),
            ("attempt <> :one", None, Some(true)),
            ("missing = :one", item, Some(false)),
            ("attempt > :one", item, None),
            ("attempt = :unknown", item, None),
        ] {
            assert_eq!(holds(expression, values, stands), expected, "{expression}");
        }
    }
}
