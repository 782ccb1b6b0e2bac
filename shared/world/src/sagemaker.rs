//! An endpoint of SageMaker, as far as it is asked: `POST /endpoints/NAME/invocations`.

use crate::cloud::{Answer, Call, Cloud, Told};
use tokio::time::Instant;

pub(crate) fn answer(cloud: &Cloud, call: &Call<'_>) -> Answer {
    let path = call.path_and_query.strip_prefix("/endpoints/").and_then(|path| path.strip_suffix("/invocations"));
    let state = &mut *cloud.state();
    let (Some(name), Ok(body)) = (path, std::str::from_utf8(call.body)) else {
        return Answer::error(400, "ValidationError");
    };
    let Some(answers) = state.endpoints.get_mut(name) else { return Answer::error(400, "ValidationError") };
    state.asked.entry(name.to_owned()).or_default().push(Told { body: body.to_owned(), at: Instant::now() });
    let (status, body) = answers(body);
    Answer { status, headers: vec![("content-type".to_owned(), "application/json".to_owned())], body }
}
