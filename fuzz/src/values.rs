//! Small values, each in a text of its own.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use aos_core::Payload;
use aos_core::canonical::Hash;
use aos_core::id::{RunId, WorkflowId};
use aos_core::keys::KeyText;
use aos_core::money::Money;
use aos_core::requirement::Requirement;
use aos_core::skill::SkillVersion;
use aos_core::time::Day;
use aos_core::trace::TraceParent;
use aos_core::workflow::WorkflowVersion;
use aos_server::http::params;

use crate::text;

/// What is accepted is written so that it is read again as the same.
pub fn values(data: &[u8]) {
    let Some(text) = text(data) else { return };
    same::<Money>(text);
    same::<Day>(text);
    same::<Hash>(text);
    same::<RunId>(text);
    same::<WorkflowId>(text);
    same::<WorkflowVersion>(text);
    same::<SkillVersion>(text);
    same::<Requirement>(text);
    same::<TraceParent>(text);
    if let Some(at) = params::timestamp(text) {
        assert_eq!(params::timestamp(&at.to_string()), Some(at), "{text:?}");
    }
    let _ = params::duration(text);
    if let Some(key) = KeyText::parse(text) {
        assert!(!format!("{key:?}").contains(text), "a key shows");
    }
    if let Ok(payload) = Payload::parse(text) {
        let again = Payload::parse(payload.as_str());
        assert_eq!(again.as_ref().map(Payload::as_str).ok(), Some(payload.as_str()), "not canonical: {text:?}");
        assert_eq!(again.map(|again| again.hash()).ok(), Some(payload.hash()));
    }
}

fn same<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) {
    let Ok(value) = text.parse::<T>() else { return };
    let written = value.to_string();
    match written.parse::<T>() {
        Ok(again) => assert_eq!(again, value, "{text:?} becomes {written:?}"),
        Err(error) => panic!("{text:?} is written as {written:?}, and that is not read: {error}"),
    }
}
