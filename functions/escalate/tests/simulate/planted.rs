//! Faults planted in the code, to see that the simulation catches them.

/// Names in the code, and what each does.
pub const FAULTS: [(&str, &str); 26] = [
    ("supersede-unconditionally", "the second decision is written over whatever stands there, or nothing"),
    ("supersede-human", "the condition of the write does not spare a person's decision"),
    ("supersede-any-attempt", "the condition of the write does not ask for the provisional decision before it"),
    ("own-decision-sent", "who comes second sends its own decision instead of the stored one"),
    ("human-is-reconsidered", "what a person has decided is asked about"),
    ("task-of-the-asked-is-forgotten", "no review task is sent"),
    ("acknowledge-before-send", "a message is acknowledged though its task or action was not sent"),
    ("no-dedupe-in-batch", "the same post twice in a batch is asked about twice"),
    ("repeat-always-settled", "a repetition in the batch is acknowledged whatever becomes of the first"),
    ("fallback-says-nothing", "a decision without a second opinion does not say so"),
    ("fallback-removes", "a post without a second opinion is hidden"),
    ("unseen-media-is-seen", "pictures that could not be looked at count as looked at"),
    ("unread-part-is-seen", "pictures of which a part was not read count as looked at"),
    ("answers-unchecked", "an answer of the endpoint is believed whatever it says"),
    ("answers-out-of-order", "answers of one request are taken for each other's"),
    ("budget-ignored", "money is counted and never spent up"),
    ("breaker-ignored", "an endpoint that does not answer is asked on and on"),
    ("age-ignored", "a post is asked about however old it is"),
    ("endpoint-without-timeout", "an answer is waited for until the invocation ends"),
    ("unread-text-is-fine", "a text that could not be read counts as read again"),
    ("failed-entries-ignored", "`Failed[]` of SendMessageBatch counts as sent"),
    ("empty-item-identifier", "failures are reported with empty ids"),
    ("retry-past-deadline", "calls and tries go on past their deadline"),
    ("no-sweep", "nobody looks for decisions whose escalations are lost"),
    ("quarantine-not-awaited", "poison is acknowledged though it could not be kept"),
    ("quarantine-cut-short", "poison is kept without its end"),
];

/// Plants a fault on this thread.
pub fn plant(name: &'static str) {
    runtime::planted::plant(name);
    store::planted::plant(name);
}
