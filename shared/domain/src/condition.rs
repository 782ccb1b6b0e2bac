//! Conditions of rules: CEL without comprehensions, checked against the schema of the evidence when a policy loads.
//!
//! The `cel` crate parses and evaluates; it does not check types, so [`Condition::compile`] walks the syntax tree
//! once and refuses unknown names, unknown functions and operators on the wrong types. Scores are not in the schema
//! on purpose: a rule that may look at a score could soften when the score rises (law 5). Rules name a least score
//! with `at_least` instead, which can only add.

use crate::{Availability, Evidence, FeatureState, FeatureValue, Signal};
use cel::{
    Context, Env, Program, Value,
    common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators},
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

/// CEL's standard functions; building them costs more than evaluating a condition, so once.
static STANDARD: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// The longest condition taken, in bytes. With [`MAX_DEPTH`] it bounds what parsing and evaluating can cost.
pub const MAX_CONDITION_BYTES: usize = 2_000;
/// How deep brackets may nest: the parser recurses.
pub const MAX_DEPTH: usize = 32;

/// The type of a value in a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// `true` or `false`.
    Bool,
    /// A 64-bit whole number.
    Int,
    /// A 64-bit floating point number.
    Float,
    /// Text.
    String,
    /// A list of strings.
    Strings,
    /// A list of numbers.
    Numbers,
}

impl std::fmt::Display for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Float => "double",
            Self::String => "string",
            Self::Strings => "list of strings",
            Self::Numbers => "list of numbers",
        })
    }
}

/// One feature as conditions see it.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureSchema {
    /// The view it stands in: conditions write `view.name`.
    pub view: String,
    /// Its type.
    pub kind: Type,
    /// What a rule reads when the feature is missing (not when it is unavailable).
    pub default: FeatureValue,
}

/// What conditions may look at: the features by name, besides the facts of the post, which are fixed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Schema {
    /// Features by name; names are unique over all views.
    pub features: BTreeMap<String, FeatureSchema>,
}

/// The facts of the post that conditions may look at, as `post.NAME`.
const POST_FACTS: [(&str, Type); 5] = [
    ("lang", Type::String),
    ("surface", Type::String),
    ("media_count", Type::Int),
    ("is_reply", Type::Bool),
    ("revision", Type::Int),
];

/// What conditions may look at of attached media, as `media.NAME`; unavailable where the media could not be looked at.
const MEDIA_FACTS: [(&str, Type); 1] = [("blocked", Type::Int)];

/// Conditions write `signal.BANK`: how many entries of that bank were found in the post.
const SIGNAL: &str = "signal";

impl Schema {
    fn kind(&self, view: &str, name: &str) -> Option<Type> {
        if view == "post"
            && let Some((_, kind)) = POST_FACTS.iter().find(|(fact, _)| *fact == name)
        {
            return Some(*kind);
        }
        if view == SIGNAL {
            return Some(Type::Int);
        }
        if view == "media"
            && let Some((_, kind)) = MEDIA_FACTS.iter().find(|(fact, _)| *fact == name)
        {
            return Some(*kind);
        }
        self.features.get(name).filter(|feature| feature.view == view).map(|feature| feature.kind)
    }

    /// All names that a condition may use, for error messages and documents.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let facts = POST_FACTS.iter().map(|(name, _)| format!("post.{name}"));
        let media = MEDIA_FACTS.iter().map(|(name, _)| format!("media.{name}"));
        let features = self.features.iter().map(|(name, feature)| format!("{}.{name}", feature.view));
        let signals = std::iter::once(format!("{SIGNAL}.BANK"));
        let mut names: Vec<_> = facts.chain(media).chain(features).chain(signals).collect();
        names.sort();
        names
    }
}

/// Why a condition was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// Longer or deeper than is taken.
    #[error("is longer than {MAX_CONDITION_BYTES} bytes or nested deeper than {MAX_DEPTH} brackets")]
    TooLarge,
    /// Not CEL.
    #[error("is not CEL: {0}")]
    Syntax(String),
    /// A name that the evidence does not have.
    #[error("looks at `{name}`, which does not exist; there are {known}")]
    UnknownName {
        /// What was written.
        name: String,
        /// What could have been.
        known: String,
    },
    /// A score was looked at.
    #[error("looks at a score; name the least score with `at_least` instead, so that a higher score never softens")]
    Score,
    /// A signal where more of it could make the condition fail.
    #[error(
        "uses `signal.{0}` where more matches could make it fail: write `signal.{0} >= 1`, joined by `&&` or `||` alone"
    )]
    Signal(String),
    /// A macro such as `all`, `exists` or `map`, or another part of CEL that is not taken.
    #[error("uses {0}, which conditions do not have")]
    NotTaken(String),
    /// Operands of the wrong type.
    #[error("has {found} where {wanted} is needed")]
    WrongType {
        /// The type that stands there.
        found: String,
        /// The type that has to.
        wanted: String,
    },
}

/// What a condition came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// It holds.
    Yes,
    /// It does not.
    No,
    /// It could not be evaluated, because of the features named (none where the evaluation itself failed).
    Unavailable(Vec<String>),
}

/// A condition that was checked and can be evaluated on any evidence.
pub struct Condition {
    program: Program,
    features: Vec<(String, FeatureSchema)>,
    signals: Vec<String>,
    media: bool,
    /// Texts that it compares with.
    literals: Vec<String>,
}

impl std::fmt::Debug for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Condition").field("features", &self.features).finish_non_exhaustive()
    }
}

impl Condition {
    /// Parses and checks a condition.
    ///
    /// # Errors
    /// Whatever would keep it from being a `bool` on every evidence of `schema`.
    pub fn compile(source: &str, schema: &Schema) -> Result<Self, ConditionError> {
        if source.len() > MAX_CONDITION_BYTES || depth(source) > MAX_DEPTH {
            return Err(ConditionError::TooLarge);
        }
        // The generated parser is not proved free of panics; a policy file must not take its process down.
        let program = std::panic::catch_unwind(|| Program::compile(source))
            .map_err(|_| ConditionError::Syntax("the parser gave up".to_owned()))?
            .map_err(|error| {
                ConditionError::Syntax(error.to_string().lines().next().unwrap_or("unreadable").trim().to_owned())
            })?;
        let mut checker =
            Checker { schema, features: BTreeMap::new(), signals: BTreeSet::new(), media: false, literals: Vec::new() };
        checker.expect(program.expression(), Type::Bool)?;
        rises(program.expression())?;
        let Checker { features, signals, media, literals, .. } = checker;
        let (features, signals) = (features.into_iter().collect(), signals.into_iter().collect());
        Ok(Self { program, features, signals, media, literals })
    }

    /// The banks whose signals it looks at.
    pub fn signals(&self) -> impl Iterator<Item = &str> {
        self.signals.iter().map(String::as_str)
    }

    /// Evaluates the condition. Total: what cannot be evaluated is [`Held::Unavailable`].
    #[must_use]
    pub fn held(&self, evidence: &Evidence) -> Held {
        let mut views: HashMap<&str, HashMap<String, Value>> = HashMap::new();
        let post = &evidence.post;
        let facts = views.entry("post").or_default();
        facts.insert("lang".into(), named(&self.literals, &post.lang).to_owned().into());
        facts.insert("surface".into(), post.surface.clone().into());
        facts.insert("media_count".into(), i64::from(post.media_count).into());
        facts.insert("is_reply".into(), post.is_reply.into());
        facts.insert("revision".into(), Value::Int(i64::try_from(evidence.revision.get()).unwrap_or(i64::MAX)));
        let mut unavailable = Vec::new();
        if self.media {
            views.entry("media").or_default().insert("blocked".into(), i64::from(evidence.blocked_media).into());
            // One image that is known to be on the list is enough, whatever became of the others.
            if evidence.media == Availability::Unavailable && evidence.blocked_media == 0 {
                unavailable.push("media".to_owned());
            }
        }
        for (name, feature) in &self.features {
            let value = match evidence.features.get(name) {
                Some(FeatureState::Present(value) | FeatureState::Stale(value)) => *value,
                Some(FeatureState::Missing) => feature.default,
                Some(FeatureState::Unavailable) | None => {
                    unavailable.push(name.clone());
                    continue;
                }
            };
            // A value of the wrong type (a store written by something else) is as good as none.
            match as_cel(value, feature.kind) {
                Some(value) => {
                    views.entry(&feature.view).or_default().insert(name.clone(), value);
                }
                None => unavailable.push(name.clone()),
            }
        }
        if !unavailable.is_empty() {
            return Held::Unavailable(unavailable);
        }
        // A bank that nobody looked in, or that was not there, may have found anything.
        let signal = |name: &String| evidence.signals.get(name).copied().unwrap_or(Signal::UNAVAILABLE);
        let partial: Vec<&String> = self.signals.iter().filter(|name| signal(name).partial).collect();
        let found = |most: bool| -> HashMap<String, Value> {
            let count =
                |name| if most && signal(name).partial { i64::from(u32::MAX) } else { i64::from(signal(name).found) };
            self.signals.iter().map(|name| (name.clone(), Value::Int(count(name)))).collect()
        };
        // INVARIANT: more matches never make a condition fail (`rises`). So what holds for the fewest that there are holds, and what does
        // not hold for the most does not.
        match self.execute(&views, found(false)) {
            Held::No if !partial.is_empty() => match self.execute(&views, found(true)) {
                Held::Yes => Held::Unavailable(partial.into_iter().map(|name| format!("{SIGNAL}.{name}")).collect()),
                held => held,
            },
            held => held,
        }
    }

    fn execute(&self, views: &HashMap<&str, HashMap<String, Value>>, signals: HashMap<String, Value>) -> Held {
        let mut context = Context::with_env(Arc::clone(&STANDARD));
        for (view, values) in views {
            context.add_variable_from_value(*view, values.clone());
        }
        if !signals.is_empty() {
            context.add_variable_from_value(SIGNAL, signals);
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(true)) => Held::Yes,
            Ok(Value::Bool(false)) => Held::No,
            _ => Held::Unavailable(Vec::new()),
        }
    }
}

/// Refuses a condition that more matches of a signal could make fail (laws 5 and 10): a signal, or several added, is compared with a number
/// that it has to reach, and what compares is joined by `&&` and `||`.
fn rises(expr: &IdedExpr) -> Result<(), ConditionError> {
    let Some(name) = a_signal(expr) else { return Ok(()) };
    if let Expr::Call(call) = &expr.expr {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR, operands) => return operands.iter().try_for_each(rises),
            (operators::GREATER | operators::GREATER_EQUALS, [sum, bound])
            | (operators::LESS | operators::LESS_EQUALS, [bound, sum])
                if is_sum(sum) && matches!(&bound.expr, Expr::Literal(_)) =>
            {
                return Ok(());
            }
            _ => {}
        }
    }
    Err(ConditionError::Signal(name))
}

fn is_sum(expr: &IdedExpr) -> bool {
    match &expr.expr {
        Expr::Select(_) => a_signal(expr).is_some(),
        Expr::Call(call) => call.func_name == operators::ADD && call.args.iter().all(is_sum),
        _ => false,
    }
}

/// A signal that an expression looks at.
fn a_signal(expr: &IdedExpr) -> Option<String> {
    match &expr.expr {
        Expr::Select(select) if matches!(&select.operand.expr, Expr::Ident(view) if view == SIGNAL) => {
            Some(select.field.clone())
        }
        Expr::Call(call) => call.target.iter().map(AsRef::as_ref).chain(&call.args).find_map(a_signal),
        Expr::List(list) => list.elements.iter().find_map(a_signal),
        _ => None,
    }
}

/// The language of a post in the words of a condition: of the texts that it compares with, the longest that names this language tag or a
/// range that the tag is in (RFC 4647, basic filtering), so that `post.lang == 'pt'` holds for `pt-BR` and `PT`.
fn named<'a>(literals: &'a [String], tag: &'a str) -> &'a str {
    let covers = |literal: &&String| {
        let head = tag.get(..literal.len());
        let border = tag.as_bytes().get(literal.len()).is_none_or(|byte| *byte == b'-');
        !literal.is_empty() && border && head.is_some_and(|head| head.eq_ignore_ascii_case(literal))
    };
    literals.iter().filter(covers).max_by_key(|literal| literal.len()).map_or(tag, String::as_str)
}

fn as_cel(value: FeatureValue, kind: Type) -> Option<Value> {
    match (kind, value) {
        (Type::Bool, FeatureValue::Bool(value)) => Some(Value::Bool(value)),
        (Type::Int, FeatureValue::Int(value)) => Some(Value::Int(value)),
        (Type::Float, FeatureValue::Float(value)) if value.is_finite() => Some(Value::Float(value)),
        #[expect(clippy::cast_precision_loss, reason = "a count above 2^53 may lose its last digits in a double")]
        (Type::Float, FeatureValue::Int(value)) => Some(Value::Float(value as f64)),
        _ => None,
    }
}

/// The deepest nesting of anything that makes the parser recurse, over-counted: brackets inside strings count too.
fn depth(source: &str) -> usize {
    let (mut depth, mut deepest, mut unary) = (0_usize, 0, 0_usize);
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' | b'?' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'!' | b'-' => unary += 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest + unary / 8
}

struct Checker<'a> {
    schema: &'a Schema,
    features: BTreeMap<String, FeatureSchema>,
    signals: BTreeSet<String>,
    media: bool,
    literals: Vec<String>,
}

impl Checker<'_> {
    fn expect(&mut self, expr: &IdedExpr, wanted: Type) -> Result<(), ConditionError> {
        let found = self.check(expr)?;
        if found == wanted { Ok(()) } else { Err(wrong(found, wanted)) }
    }

    fn check(&mut self, expr: &IdedExpr) -> Result<Type, ConditionError> {
        match &expr.expr {
            Expr::Literal(literal) => match literal {
                LiteralValue::Boolean(_) => Ok(Type::Bool),
                LiteralValue::Int(_) => Ok(Type::Int),
                LiteralValue::Double(_) => Ok(Type::Float),
                LiteralValue::String(text) => {
                    self.literals.push(text.to_string());
                    Ok(Type::String)
                }
                _ => Err(ConditionError::NotTaken("bytes, null or an unsigned number".to_owned())),
            },
            Expr::Select(select) if !select.test => match &select.operand.expr {
                Expr::Ident(view) => self.name(view, &select.field),
                _ => Err(ConditionError::NotTaken("a field of a field".to_owned())),
            },
            Expr::Ident(name) => Err(self.unknown(name.clone())),
            Expr::List(list) => self.list(&list.elements),
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(_) => {
                Err(ConditionError::NotTaken("a comprehension (`all`, `exists`, `filter`, `map`)".to_owned()))
            }
            Expr::Select(_) => {
                Err(ConditionError::NotTaken("`has`: a missing feature reads as its default".to_owned()))
            }
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                Err(ConditionError::NotTaken("a map or a message".to_owned()))
            }
        }
    }

    fn name(&mut self, view: &str, name: &str) -> Result<Type, ConditionError> {
        if matches!(view, "score" | "scores") {
            return Err(ConditionError::Score);
        }
        let kind = self.schema.kind(view, name).ok_or_else(|| self.unknown(format!("{view}.{name}")))?;
        if view == SIGNAL {
            self.signals.insert(name.to_owned());
        }
        self.media |= view == "media" && MEDIA_FACTS.iter().any(|(fact, _)| *fact == name);
        if let Some(feature) = self.schema.features.get(name).filter(|feature| feature.view == view) {
            self.features.insert(name.to_owned(), feature.clone());
        }
        Ok(kind)
    }

    fn unknown(&self, name: String) -> ConditionError {
        if name.starts_with("score") {
            return ConditionError::Score;
        }
        ConditionError::UnknownName { name, known: self.schema.names().join(", ") }
    }

    fn list(&mut self, elements: &[IdedExpr]) -> Result<Type, ConditionError> {
        let types = elements.iter().map(|element| self.check(element)).collect::<Result<Vec<_>, _>>()?;
        if types.iter().all(|kind| *kind == Type::String) {
            Ok(Type::Strings)
        } else if types.iter().all(|kind| is_number(*kind)) {
            Ok(Type::Numbers)
        } else {
            Err(ConditionError::NotTaken("a list of mixed types".to_owned()))
        }
    }

    fn call(&mut self, call: &CallExpr) -> Result<Type, ConditionError> {
        let types = call
            .target
            .iter()
            .map(AsRef::as_ref)
            .chain(&call.args)
            .map(|operand| self.check(operand))
            .collect::<Result<Vec<_>, _>>()?;
        let name = call.func_name.as_str();
        match (name, types.as_slice()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR, [Type::Bool, Type::Bool])
            | (operators::LOGICAL_NOT, [Type::Bool]) => Ok(Type::Bool),
            (operators::EQUALS | operators::NOT_EQUALS, [left, right])
                if left == right || (is_number(*left) && is_number(*right)) =>
            {
                Ok(Type::Bool)
            }
            (
                operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS,
                [left, right],
            ) if is_number(*left) && is_number(*right) => Ok(Type::Bool),
            (operators::IN, [Type::String, Type::Strings]) => Ok(Type::Bool),
            (operators::IN, [left, Type::Numbers]) if is_number(*left) => Ok(Type::Bool),
            (operators::ADD | operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE, [left, right])
                if left == right && is_number(*left) =>
            {
                Ok(*left)
            }
            (operators::MODULO, [Type::Int, Type::Int]) => Ok(Type::Int),
            (operators::NEGATE, [kind]) if is_number(*kind) => Ok(*kind),
            (operators::CONDITIONAL, [Type::Bool, left, right]) if left == right => Ok(*left),
            ("size", [Type::String]) => Ok(Type::Int),
            ("startsWith" | "endsWith" | "contains", [Type::String, Type::String]) => Ok(Type::Bool),
            ("double", [kind]) if is_number(*kind) => Ok(Type::Float),
            ("int", [kind]) if is_number(*kind) => Ok(Type::Int),
            (_, [left, .., right] | [left @ right]) if name.contains(['_', '@']) => {
                Err(wrong_operands(name, *right, *left))
            }
            _ => Err(ConditionError::NotTaken(format!("`{name}` on these operands"))),
        }
    }
}

fn is_number(kind: Type) -> bool {
    matches!(kind, Type::Int | Type::Float)
}

fn wrong(found: Type, wanted: Type) -> ConditionError {
    ConditionError::WrongType { found: found.to_string(), wanted: wanted.to_string() }
}

fn wrong_operands(operator: &str, right: Type, left: Type) -> ConditionError {
    let operator = operator.trim_matches(|c: char| c == '_' || c == '@');
    ConditionError::WrongType {
        found: format!("`{left} {operator} {right}`"),
        wanted: "operands of fitting types".to_owned(),
    }
}
