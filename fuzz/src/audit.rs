//! Records of an audit log, as an auditor gets them from a server that he does not trust.

use aos_core::audit::Chain;
use aos_core::json;
use aos_server::audit::PublicKey;
use serde_json::Value;

use crate::text;

/// A log, one record a line. What is taken for whole is not whole without one of its records, but for the last.
pub fn audit(data: &[u8]) {
    let Some(log) = text(data) else { return };
    let records: Vec<Value> = log.lines().filter_map(|line| json::parse(line).ok()).collect();
    for record in &records {
        let field = |name: &str| record[name].as_str().unwrap_or_default();
        if let Ok(key) = field("key").parse::<PublicKey>() {
            assert_eq!(key.to_string(), field("key").to_ascii_lowercase(), "a key is written as it was read");
            key.has_signed(field("statement"), field("signature"));
        }
    }
    let is_whole = |without: Option<usize>| {
        let mut chain = Chain::default();
        let left = records.iter().enumerate().filter(|(n, _)| Some(*n) != without);
        left.map(|(_, record)| chain.check(record)).all(|checked| checked.is_ok())
    };
    if is_whole(None) {
        for removed in 0..records.len().saturating_sub(1) {
            assert!(!is_whole(Some(removed)), "record {removed} is not missed");
        }
    }
}
