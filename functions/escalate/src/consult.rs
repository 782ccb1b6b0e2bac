//! Consult: asks whoever the policy says, within its time and money, and decides again with what was heard.

use crate::adviser::NoAnswer;
use crate::reconsider::{Heard, reconsider};
use crate::work::{State, Work};
use crate::{App, Wallet};
use domain::Timestamp;
use domain::policy::{Adviser as By, SecondOpinion};
use futures::StreamExt;
use opinion::images::BlockList;
use opinion::protocol::Outcome;
use opinion::{Answer, Question};
use runtime::isolate;
use runtime::planted::planted;
use service::Trouble;
use std::time::Duration;
use store::Deadline;

/// Texts that one request carries at most; a post with images has one of its own.
const TEXTS_A_REQUEST: usize = 16;
/// Requests on their way at once.
const AT_ONCE: usize = 2;
/// What storing and sending take after an answer, so that a post is not asked about too late.
const TAIL: Duration = Duration::from_secs(2);
/// Whoever does not answer in time is not asked a second time for the same post; whoever fails at once is, once.
const TRIES: usize = 2;
/// Whoever is busy is asked again after these, and counts as failed after the last: some fifteen seconds of the minute that a post has.
const BUSY_PAUSES_MS: [u64; 6] = [250, 500, 1_000, 2_000, 4_000, 8_000];

/// Why a post is decided without its second opinion; the code stands on the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Without {
    /// The kill switch is off, the policy asks for none any more, or there is nobody to ask.
    Off,
    /// It would come too late.
    Late,
    /// Its message came too often: something about asking, or about the post, goes wrong each time.
    Tries,
    /// The day's money is spent, or could not be counted.
    Budget,
    /// Whoever gives it has not answered for a while and is left alone.
    Breaker,
    /// Whoever was asked did not answer in time.
    Timeout,
    /// Whoever was asked failed, or could not be reached.
    Failed,
    /// What came back is no answer to what was asked.
    Unusable,
    /// The post's content could not be had.
    Content,
}

impl Without {
    /// The word on the record.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Late => "late",
            Self::Tries => "tries",
            Self::Budget => "budget",
            Self::Breaker => "breaker",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
            Self::Unusable => "unusable",
            Self::Content => "content",
        }
    }
}

impl From<NoAnswer> for Without {
    fn from(why: NoAnswer) -> Self {
        match why {
            NoAnswer::Nobody => Self::Off,
            NoAnswer::Timeout => Self::Timeout,
            NoAnswer::Busy | NoAnswer::Failed => Self::Failed,
            NoAnswer::Unusable => Self::Unusable,
        }
    }
}

/// An answer, and what it cost, in millionths of a US dollar.
type Told = (Result<Answer, Without>, f64);

/// Decides every loaded post again.
pub(crate) async fn consult(app: &App, work: &mut Work) {
    let places: Vec<usize> = (0..work.items.len())
        .filter(|place| matches!(work.items.get(*place), Some(item) if matches!(item.state, State::Loaded { .. })))
        .collect();
    let mut told: Vec<(usize, Told)> = Vec::new();
    let mut requests: Vec<(Vec<usize>, Vec<Question>)> = Vec::new();
    // A batch is stored as one: whoever of it is due first says until when answers are waited for.
    let mut by = work.deadlines.judge;
    for place in places {
        let Some(State::Loaded { asked }) = work.items.get_mut(place).map(|item| &mut item.state) else { continue };
        let wanted = asked
            .without
            .map_or_else(|| app.wanted(asked.received_at, Timestamp::from_millis(work.invocation.now_ms())), Err);
        match wanted {
            Err(why) => told.push((place, (Err(why), 0.0))),
            Ok(left) => {
                let question = std::mem::take(&mut asked.question);
                let with_images = !question.images.is_empty();
                if question.text.is_none() && !with_images {
                    // Nothing of it could be had, or nothing of it is an image: there is nothing to ask.
                    told.push((place, (Err(Without::Content), 0.0)));
                    continue;
                }
                by = by.min(Deadline::now() + left);
                match requests.last_mut() {
                    Some((places, questions))
                        if !with_images
                            && questions.len() < TEXTS_A_REQUEST
                            && questions.iter().all(|question| question.images.is_empty()) =>
                    {
                        places.push(place);
                        questions.push(question);
                    }
                    _ => requests.push((vec![place], vec![question])),
                }
            }
        }
    }
    let with_images = requests.iter().flat_map(|(_, questions)| questions).any(|question| !question.images.is_empty());
    let block_list = if with_images { app.block_list.get(by).await } else { None };
    told.extend(ask_all(app, work, requests, by).await);
    let now = work.now();
    for (place, (answer, cost)) in told {
        decide_again(app, work, place, answer, block_list.as_deref(), (cost, now));
    }
}

/// Asks everything, a few requests at once.
async fn ask_all(
    app: &App,
    work: &mut Work,
    requests: Vec<(Vec<usize>, Vec<Question>)>,
    by: Deadline,
) -> Vec<(usize, Told)> {
    let Some(wanted) = &app.judge.policy.second_opinion else { return Vec::new() };
    let now = work.now();
    let mut told = Vec::new();
    let mut asked_ms = Vec::new();
    let asked = requests.into_iter().map(|(places, questions)| async move {
        let started = Deadline::now();
        let answers = ask(app, wanted, questions, by, now).await;
        (places, answers, started.elapsed())
    });
    let mut asked = futures::stream::iter(asked).buffer_unordered(AT_ONCE);
    while let Some((places, answers, took)) = asked.next().await {
        #[expect(clippy::cast_precision_loss, reason = "a handful of posts")]
        let cost = wanted.usd_per_hour / 3_600.0 * took.as_secs_f64() * 1e6 / places.len().max(1) as f64;
        let cost = if matches!(answers, Err(Without::Budget | Without::Breaker | Without::Off)) { 0.0 } else { cost };
        asked_ms.push(i64::try_from(took.as_millis()).unwrap_or(i64::MAX));
        match answers {
            Ok(mut answers) => {
                if planted("answers-out-of-order") {
                    answers.reverse();
                }
                told.extend(places.into_iter().zip(answers).map(|(place, answer)| (place, (Ok(answer), cost))));
            }
            Err(why) => told.extend(places.into_iter().map(|place| (place, (Err(why), cost)))),
        }
    }
    drop(asked);
    work.asked_ms = asked_ms;
    told
}

/// One request, within time and money, unless whoever gives opinions is left alone.
async fn ask(
    app: &App,
    wanted: &SecondOpinion,
    questions: Vec<Question>,
    by: Deadline,
    now: Timestamp,
) -> Result<Vec<Answer>, Without> {
    let adviser = match wanted.by {
        By::Endpoint => app.endpoint.as_ref(),
        By::Lambda => app.panel.as_deref().ok_or(Without::Off)?,
    };
    let timeout = Duration::from_millis(u64::from(wanted.timeout_ms));
    let price = wanted.usd_per_hour / 3_600.0 * 1e6;
    let money = |seconds: f64| whole(seconds * price);
    let limit = if planted("budget-ignored") { u64::MAX } else { whole(wanted.daily_budget_usd * 1e6) };
    let (mut failed, mut tries) = (None, 0);
    let mut pauses = BUSY_PAUSES_MS.into_iter().map(Duration::from_millis);
    while tries < TRIES {
        if Deadline::now() + timeout > by {
            return Err(Without::Late);
        }
        // The breaker is asked first: while it is open, nothing is counted.
        let Some(permit) = app.breaker.permit(Deadline::now()) else { return Err(failed.unwrap_or(Without::Breaker)) };
        {
            let mut wallet: futures::lock::MutexGuard<'_, Wallet> = app.wallet.lock().await;
            let most = money(timeout.as_secs_f64());
            if !wallet.holds(app.budget.as_ref(), most, limit, now, by).await {
                return Err(Without::Budget);
            }
            // Taken at its most, and what is left is given back: requests at once do not spend the same money.
            wallet.spend(most);
        }
        let started = Deadline::now();
        let longest = if planted("endpoint-without-timeout") { by } else { by.min(started + timeout) };
        let patience = if planted("endpoint-without-timeout") { by - started } else { timeout };
        let answer = adviser.ask(questions.clone(), patience, longest).await;
        let (most, spent) = (money(timeout.as_secs_f64()), money(started.elapsed().as_secs_f64()));
        {
            let mut wallet = app.wallet.lock().await;
            wallet.give_back(most.saturating_sub(spent));
            wallet.spend(spent.saturating_sub(most));
        }
        if answer == Err(NoAnswer::Busy)
            && let Some(pause) = pauses.next()
            && Deadline::now() + pause + timeout <= by
        {
            // It is there, and says so: no failure that the breaker should count.
            drop(permit);
            failed = Some(Without::Failed);
            tokio::time::sleep(pause).await;
            continue;
        }
        tries += 1;
        permit.tell(answer.is_ok() || answer == Err(NoAnswer::Nobody), Deadline::now());
        match answer {
            Ok(answers) => return Ok(answers),
            // Asking again would take as long again, or give the same.
            Err(why @ (NoAnswer::Timeout | NoAnswer::Unusable | NoAnswer::Nobody)) => return Err(why.into()),
            Err(why) => failed = Some(why.into()),
        }
    }
    Err(failed.unwrap_or(Without::Failed))
}

/// An amount of money in whole millionths, rounded up.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded on both sides")]
fn whole(usd_micro: f64) -> u64 {
    usd_micro.ceil().clamp(0.0, 1e15) as u64
}

fn decide_again(
    app: &App,
    work: &mut Work,
    place: usize,
    mut answer: Result<Answer, Without>,
    block_list: Option<&BlockList>,
    (cost_usd_micro, now): (f64, Timestamp),
) {
    let Some(item) = work.items.get_mut(place) else { return };
    let State::Loaded { asked } = &item.state else { return };
    if let (Ok(answer), true) = (&mut answer, asked.unread) {
        // Whatever its pictures say, its text was not read again.
        answer.text = Some(Outcome::Error(Without::Content.as_str().to_owned()));
    }
    let heard = Heard { answer, unasked: &asked.unasked, block_list, cost_usd_micro, now };
    let decided = isolate(|| reconsider(&app.judge, &asked.before, heard));
    item.state = match decided {
        Ok(record) => State::Decided { record: Box::new(record), stored: false, new: false },
        Err(panicked) => State::Trouble(Trouble::Reject {
            kind: "panic",
            detail: format!("deciding the post again {panicked}; the place is in the log"),
            bytes: std::mem::take(&mut item.original).into(),
        }),
    };
}

impl App {
    /// Whether second opinions are asked for at all.
    pub(crate) fn is_on(&self) -> bool {
        self.config.on && self.judge.policy.second_opinion.is_some()
    }

    /// How long answers about a post that arrived at `received_at` may be waited for, unless it is too late or switched off.
    fn wanted(&self, received_at: Timestamp, now: Timestamp) -> Result<Duration, Without> {
        let wanted = self.judge.policy.second_opinion.as_ref().filter(|_| self.config.on).ok_or(Without::Off)?;
        let due = Duration::from_secs(u64::from(wanted.due_seconds));
        let age = Duration::from_millis(u64::try_from(now.millis().saturating_sub(received_at.millis())).unwrap_or(0));
        let left = due.saturating_sub(age).saturating_sub(TAIL);
        let late = left < Duration::from_millis(u64::from(wanted.timeout_ms));
        if late && !planted("age-ignored") { Err(Without::Late) } else { Ok(if late { due } else { left }) }
    }
}
