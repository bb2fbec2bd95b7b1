//! What a person answers who is asked whether a tool may be called.

use crate::engine::EffectResult;
use crate::error::{Failure, codes};
use serde_json::Value;

/// Reads an answer: `true` or `{"approved": true}` lets the call be made.
///
/// # Errors
/// What the model is told instead: [`codes::APPROVAL_DENIED`] with the person's words, [`codes::TIMEOUT`] when nobody
/// answered in time.
pub(super) fn decided(answer: &EffectResult) -> Result<(), Failure> {
    let answer = match answer {
        Ok(answer) => answer.value(),
        Err(failure) if failure.code == codes::TIMEOUT => {
            return Err(Failure::new(codes::TIMEOUT, "nobody has approved this call in time, so it was not made"));
        }
        Err(failure) => return Err(failure.clone()),
    };
    if *answer == Value::Bool(true) || answer.get("approved") == Some(&Value::Bool(true)) {
        return Ok(());
    }
    let said = |field: &str| answer.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    let by = said("by").unwrap_or("a person");
    let why = said("comment").or(answer.as_str()).map(|why| format!(": {why}")).unwrap_or_default();
    Err(Failure::new(codes::APPROVAL_DENIED, format!("{by} has declined this call, so it was not made{why}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;
    use serde_json::json;

    #[test]
    fn only_a_clear_yes_is_one() {
        for (answer, expected) in [
            (json!(true), Ok(())),
            (json!({"approved": true, "by": "Ada"}), Ok(())),
            (json!(null), Err("a person has declined this call, so it was not made")),
            (json!("not today"), Err("a person has declined this call, so it was not made: not today")),
            (json!({"approved": "true"}), Err("a person has declined this call, so it was not made")),
            (
                json!({"approved": false, "by": "Ada", "comment": "too dear"}),
                Err("Ada has declined this call, so it was not made: too dear"),
            ),
            (
                json!({"approved": false, "by": "", "comment": null}),
                Err("a person has declined this call, so it was not made"),
            ),
        ] {
            let decision = decided(&Ok(Payload::new(answer.clone()).unwrap()));
            let expected = expected.map_err(|why| Failure::new(codes::APPROVAL_DENIED, why));
            assert_eq!(decision, expected, "{answer}");
        }
        let late = decided(&Err(Failure::new(codes::TIMEOUT, "late"))).unwrap_err();
        assert_eq!((late.code, late.message.contains("in time")), (codes::TIMEOUT, true));
    }
}
