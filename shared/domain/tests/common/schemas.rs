//! Schemas as tests use them: validation, the names and enumerations they speak of, planted faults.
#![allow(dead_code, reason = "each test binary uses its part")]

use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A schema of `shared/domain/schemas/`.
pub struct JsonSchema {
    /// As written.
    pub document: Value,
    validator: jsonschema::Validator,
}

/// Who refuses a planted fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::enum_variant_names, reason = "tables read `ByBoth`")]
pub enum Refused {
    /// The schema and the code.
    ByBoth,
    /// The schema alone: it says what is written, and readers are more lenient.
    BySchema,
    /// The code alone: JSON Schema cannot say it.
    ByCode,
    /// Nobody.
    ByNobody,
}

impl Refused {
    pub fn of(schema: bool, code: bool) -> Self {
        match (schema, code) {
            (true, true) => Self::ByBoth,
            (true, false) => Self::BySchema,
            (false, true) => Self::ByCode,
            (false, false) => Self::ByNobody,
        }
    }
}

impl JsonSchema {
    /// Reads `<kind>.schema.json`. Formats are checked, and the schema itself against that of its draft.
    pub fn read(kind: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../domain/schemas");
        let text = std::fs::read_to_string(folder.join(format!("{kind}.schema.json"))).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(document["$id"], format!("urn:moderato:schema:{kind}:1"));
        jsonschema::draft202012::meta::validate(&document).unwrap();
        let validator = jsonschema::options().should_validate_formats(true).build(&document).unwrap();
        Self { document, validator }
    }

    pub fn refuses(&self, value: &Value) -> bool {
        !self.validator.is_valid(value)
    }

    /// Fails with what is wrong and where.
    pub fn accept(&self, value: &Value) {
        let errors: Vec<_> =
            self.validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:#?} in {value:#}");
    }

    /// The names of all fields, such as `scores.*.raw` and `reasons[].rule`.
    pub fn names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        self.walk(&self.document, "", &mut |path, _| {
            if !path.ends_with('*') && !path.ends_with("[]") && !path.is_empty() {
                names.insert(path.to_owned());
            }
        });
        names
    }

    /// The words that are allowed, for each place that enumerates them.
    pub fn enumerations(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        self.walk(&self.document, "", &mut |path, node| {
            if let Some(Value::Array(words)) = node.get("enum") {
                found
                    .entry(path.to_owned())
                    .or_default()
                    .extend(words.iter().filter_map(Value::as_str).map(str::to_owned));
            }
        });
        found
    }

    /// The names of the fields that an object at a JSON pointer may have; none where it is a map of any names.
    pub fn fields_at(&self, pointer: &str) -> BTreeSet<String> {
        let mut parts = self.parts(&self.document);
        for name in pointer.split('/').skip(1) {
            let children = parts.iter().filter_map(|part| {
                let field = part.get("properties").and_then(|all| all.get(name));
                field.or_else(|| part.get("items")).or_else(|| part.get("additionalProperties"))
            });
            parts = children.flat_map(|child| self.parts(child)).collect();
        }
        let properties = parts.iter().filter_map(|part| part.get("properties").and_then(Value::as_object));
        properties.flat_map(|fields| fields.keys().cloned()).collect()
    }

    /// Calls `visit` with every place and each part of the schema that speaks of it.
    fn walk(&self, node: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
        for part in self.parts(node) {
            visit(path, part);
            for (name, child) in part.get("properties").and_then(Value::as_object).into_iter().flatten() {
                self.walk(child, &join(path, name), visit);
            }
            if let Some(child @ Value::Object(_)) = part.get("additionalProperties") {
                self.walk(child, &join(path, "*"), visit);
            }
            if let Some(child) = part.get("items") {
                self.walk(child, &format!("{path}[]"), visit);
            }
        }
    }

    /// The node with everything it refers to or chooses from.
    fn parts<'a>(&'a self, node: &'a Value) -> Vec<&'a Value> {
        let mut parts = vec![node];
        if let Some(reference) = node.get("$ref").and_then(Value::as_str) {
            let target = self.document.pointer(reference.strip_prefix('#').unwrap()).unwrap();
            parts.extend(self.parts(target));
        }
        for choice in ["anyOf", "oneOf", "allOf"] {
            for child in node.get(choice).and_then(Value::as_array).into_iter().flatten() {
                parts.extend(self.parts(child));
            }
        }
        parts
    }

    /// The names of all fields that stand in `value`, written as [`JsonSchema::names`] writes them; what the schema
    /// does not know keeps its own name.
    pub fn names_in(&self, value: &Value) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        self.collect(&[&self.document], value, "", &mut names);
        names
    }

    fn collect(&self, nodes: &[&Value], value: &Value, path: &str, names: &mut BTreeSet<String>) {
        let parts: Vec<&Value> = nodes.iter().flat_map(|node| self.parts(node)).collect();
        match value {
            Value::Object(fields) => {
                let is_map = parts.iter().any(|part| part.get("additionalProperties").is_some_and(Value::is_object));
                for (name, child) in fields {
                    let known: Vec<&Value> =
                        parts.iter().filter_map(|part| part.get("properties").and_then(|all| all.get(name))).collect();
                    if known.is_empty() && is_map {
                        let nodes: Vec<_> = parts.iter().filter_map(|part| part.get("additionalProperties")).collect();
                        self.collect(&nodes, child, &join(path, "*"), names);
                    } else {
                        names.insert(join(path, name));
                        self.collect(&known, child, &join(path, name), names);
                    }
                }
            }
            Value::Array(items) => {
                let nodes: Vec<_> = parts.iter().filter_map(|part| part.get("items")).collect();
                for item in items {
                    self.collect(&nodes, item, &format!("{path}[]"), names);
                }
            }
            _ => {}
        }
    }

    /// The document with one field set (`Some`) or taken out (`None`), at a JSON pointer.
    pub fn mutated(document: &Value, pointer: &str, change: Option<&Value>) -> Value {
        let mut document = document.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        match (document.pointer_mut(parent).unwrap_or_else(|| panic!("nothing at `{parent}`")), change) {
            (Value::Object(fields), Some(value)) => {
                fields.insert(name.to_owned(), value.clone());
            }
            (Value::Object(fields), None) => assert!(fields.remove(name).is_some(), "nothing at `{pointer}`"),
            (Value::Array(items), Some(value)) => items[name.parse::<usize>().unwrap()] = value.clone(),
            (Value::Array(items), None) => {
                items.remove(name.parse().unwrap());
            }
            _ => panic!("`{parent}` holds no fields"),
        }
        document
    }

    /// Plants each fault of `table` in `document`; the schema and the code have to judge it as the table says.
    pub fn plant(
        &self,
        document: &Value,
        table: &[(&str, Option<Value>, Refused)],
        code_refuses: impl Fn(&Value) -> bool,
    ) {
        self.accept(document);
        assert!(!code_refuses(document), "the code refuses {document:#}");
        let wrong: Vec<String> = table
            .iter()
            .filter_map(|(pointer, change, expected)| {
                let planted = Self::mutated(document, pointer, change.as_ref());
                let found = Refused::of(self.refuses(&planted), code_refuses(&planted));
                (found != *expected).then(|| format!("{pointer} = {change:?}: refused {found:?}, not {expected:?}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// The places of `document` where the schema requires a field and the document has it, as JSON pointers.
    pub fn required_in(&self, document: &Value) -> Vec<String> {
        let mut found = Vec::new();
        self.pointers(document, "", &mut |pointer| {
            if self.refuses(&Self::mutated(document, pointer, None)) {
                found.push(pointer.to_owned());
            }
        });
        found
    }

    /// Every field of every object in `value`, as a JSON pointer.
    pub fn pointers(&self, value: &Value, pointer: &str, visit: &mut impl FnMut(&str)) {
        let children: Vec<(String, &Value)> = match value {
            Value::Object(fields) => fields.iter().map(|(name, child)| (name.clone(), child)).collect(),
            Value::Array(items) => items.iter().enumerate().map(|(index, child)| (index.to_string(), child)).collect(),
            _ => return,
        };
        for (name, child) in children {
            let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
            if value.is_object() {
                visit(&pointer);
            }
            self.pointers(child, &pointer, visit);
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The names after `expected`, in backticks or bare: what serde lists when a word or a field is unknown.
pub fn expected_in(message: &str) -> BTreeSet<String> {
    let first = message.lines().next().unwrap();
    let (_, list) = first.rsplit_once(", expected ").unwrap_or_else(|| panic!("no list in `{message}`"));
    let names = list
        .split([',', ' ', '`'])
        .filter(|name| !name.is_empty() && !["one", "of", "or", "at", "line", "column"].contains(name));
    names.filter(|name| !name.starts_with(|first: char| first.is_ascii_digit())).map(str::to_owned).collect()
}

/// The words that an enum of the code reads, by asking it for one that it cannot know.
pub fn words<T: DeserializeOwned>() -> BTreeSet<String> {
    match serde_json::from_value::<T>(Value::from("no such word")) {
        Ok(_) => panic!("takes any word"),
        Err(error) => expected_in(&error.to_string()),
    }
}

/// A set of words.
pub fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
