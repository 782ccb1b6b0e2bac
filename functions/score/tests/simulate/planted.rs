//! Faults planted in the code, to see that the simulation catches them.

/// Names in the code, and what each does.
pub const FAULTS: [(&str, &str); 24] = [
    ("acknowledge-before-send", "a message is acknowledged though its task or action was not sent"),
    ("unconditional-put", "a decision that stands there is written over"),
    ("human-overwritten", "a person's decision is written over, a machine's is not"),
    ("failed-entries-ignored", "`Failed[]` of SendMessageBatch counts as sent"),
    ("unprocessed-keys-ignored", "`UnprocessedKeys` of BatchGetItem count as missing"),
    ("statement-error-ignored", "a statement's own error counts as stored"),
    ("short-answer-is-success", "statements that the answer does not name count as stored"),
    ("duplicate-is-an-error", "`DuplicateItem` is not understood"),
    ("empty-item-identifier", "failures are reported with empty ids"),
    ("no-dedupe-in-batch", "the same post twice in a batch is decided twice"),
    ("repeat-always-settled", "a repetition in the batch is acknowledged whatever becomes of the first"),
    ("message-id-as-key", "task ids come from the delivery instead of the decision"),
    ("own-decision-sent", "who comes second sends its own decision instead of the stored one"),
    ("panic-fails-batch", "a panic is not caught"),
    ("unavailable-is-missing", "features that could not be read count as missing"),
    ("history-unavailable-is-none", "earlier verdicts that could not be read count as none"),
    ("retry-past-deadline", "calls and tries go on past their deadline"),
    ("quarantine-not-awaited", "poison is acknowledged though it could not be kept"),
    ("quarantine-cut-short", "poison is kept without its end"),
    ("answers-out-of-order", "the answers of an insert are taken for each other's"),
    ("text-is-dropped", "a post is judged without its text"),
    ("transient-is-poison", "an object that cannot be read now counts as gone"),
    ("other-content-is-a-repeat", "an id that is known counts as a repeat, whatever its content"),
    ("tombstone-ignored", "what was sent before its author or post was erased is decided anew"),
];

/// Plants a fault on this thread.
pub fn plant(name: &'static str) {
    runtime::planted::plant(name);
    store::planted::plant(name);
}
