//! What providers of models answer.

use aos_core::llm::LlmResponse;
use aos_server::backend::{claude, openai};

type Understand = fn(Option<u16>, &[&[u8]]) -> Result<LlmResponse, String>;

/// The first byte says whose answer it is and of what kind, the second how it is cut to pieces; the rest is the answer.
/// Where a stream is cut makes no difference, and an answer that is understood is one that a journal can keep.
pub fn answer(data: &[u8]) {
    let [kind, cut, body @ ..] = data else { return };
    let statuses = [None, Some(200), Some(400), Some(401), Some(413), Some(429), Some(500), Some(529)];
    let status = statuses[usize::from(kind >> 1) % statuses.len()];
    let understand: Understand = match kind & 1 {
        0 => claude::understand,
        _ => openai::understand,
    };
    let pieces: Vec<_> = body.chunks(usize::from(*cut).max(1)).collect();
    let understood = understand(status, &pieces);
    assert_eq!(understood, understand(status, &[body]), "where it is cut makes a difference");
    if let Ok(response) = understood {
        let kept = aos_core::Payload::from_serialize(&response);
        let kept = kept.unwrap_or_else(|failure| panic!("an answer that no journal can keep: {failure}"));
        let read: LlmResponse = kept.to().unwrap_or_else(|failure| panic!("{failure}: {}", kept.as_str()));
        assert_eq!(read, response, "a journal gives back another answer");
    }
}
