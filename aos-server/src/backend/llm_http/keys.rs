//! API keys: several at once, weighted, and replaced while calls are in flight.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aos_core::{Failure, codes};
use reqwest::header::HeaderValue;

use crate::config::{KeySource, Secret, WeightedKey, parse_keys};

/// How often a file of keys is looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a key is passed over that was refused, if there is another.
const PASSED_OVER: Duration = Duration::from_secs(60);

/// No file of keys is larger.
const MAX_FILE: u64 = 64 * 1024;

/// The keys for one provider.
///
/// A file of keys is read again as it changes. What it held before is not forgotten with that: calls in flight go on
/// with the key they have, and when a new key is refused (not known everywhere yet, or mistyped) the old one is tried.
pub(crate) struct Keys {
    file: Option<PathBuf>,
    /// What goes before a key in its header.
    scheme: &'static str,
    ring: Mutex<Ring>,
}

/// One key.
pub(crate) struct Key {
    secret: Secret,
    header: HeaderValue,
}

impl Key {
    /// The header's value, marked as sensitive.
    pub(crate) fn header(&self) -> HeaderValue {
        self.header.clone()
    }
}

struct Ring {
    current: Vec<Slot>,
    previous: Vec<Slot>,
    looked: Instant,
    readable: bool,
}

struct Slot {
    key: Arc<Key>,
    weight: i64,
    /// What the slot has to its credit: smooth weighted round robin.
    credit: i64,
    refused: Option<Instant>,
}

impl Keys {
    /// Reads the keys; `scheme` (`Bearer `, say) goes before each in its header.
    ///
    /// # Errors
    /// A file that can't be read or holds something else.
    pub(crate) fn open(source: &KeySource, scheme: &'static str) -> Result<Self, Failure> {
        let (file, keys) = match source {
            KeySource::Value(secret) => (None, vec![WeightedKey { key: secret.clone(), weight: 1 }]),
            KeySource::File(path) => {
                let keys = read(path).map_err(|why| Failure::new(codes::INVALID_SETTING, why))?;
                (Some(path.clone()), keys)
            }
        };
        let current = slots(keys, scheme)?;
        let ring = Ring { current, previous: Vec::new(), looked: Instant::now(), readable: true };
        Ok(Self { file, scheme, ring: Mutex::new(ring) })
    }

    /// The key for the next request.
    pub(crate) fn pick(&self) -> Option<Arc<Key>> {
        let mut ring = self.lock();
        self.look(&mut ring, LOOK_EVERY);
        let Ring { current, previous, .. } = &mut *ring;
        let usable = next(current, None).or_else(|| next(previous, None));
        // When all are refused, one may have become valid again: that is found out by using it.
        usable.or_else(|| current.first().map(|slot| Arc::clone(&slot.key)))
    }

    /// Says that `key` was refused; gives another one that may be valid.
    pub(crate) fn refused(&self, key: &Arc<Key>) -> Option<Arc<Key>> {
        let mut ring = self.lock();
        // It may have been replaced since the request was sent.
        self.look(&mut ring, Duration::ZERO);
        let Ring { current, previous, .. } = &mut *ring;
        for slot in current.iter_mut().chain(previous.iter_mut()) {
            if slot.key.secret == key.secret {
                slot.refused = Some(Instant::now());
            }
        }
        next(current, Some(key)).or_else(|| next(previous, Some(key)))
    }

    /// `text` without any of the keys.
    pub(crate) fn redact(&self, text: String) -> String {
        let ring = self.lock();
        let keys = ring.current.iter().chain(&ring.previous).map(|slot| slot.key.secret.expose());
        keys.fold(text, |text, key| if text.contains(key) { text.replace(key, "[redacted]") } else { text })
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what the file holds now, if the last look is longer ago than `every`. Its content is compared, not
    /// its time: a file that is replaced may be as old as the one before. Reading so little takes microseconds.
    fn look(&self, ring: &mut Ring, every: Duration) {
        let Some(path) = &self.file else { return };
        if ring.looked.elapsed() < every {
            return;
        }
        ring.looked = Instant::now();
        let found = read(path).and_then(|keys| {
            let same = keys.len() == ring.current.len()
                && keys
                    .iter()
                    .zip(&ring.current)
                    .all(|(key, slot)| key.key == slot.key.secret && i64::from(key.weight) == slot.weight);
            if same { Ok(None) } else { slots(keys, self.scheme).map(Some).map_err(|failure| failure.message) }
        });
        match found {
            Ok(None) => ring.readable = true,
            Ok(Some(slots)) => {
                tracing::info!(path = %path.display(), keys = slots.len(), "new API keys");
                ring.previous = std::mem::replace(&mut ring.current, slots);
                ring.readable = true;
            }
            // It may be being written: the keys there were go on being used.
            Err(why) if ring.readable => {
                tracing::warn!(why, "the file of API keys can't be used; the keys it held before are used on");
                ring.readable = false;
            }
            Err(_) => {}
        }
    }
}

/// Reads a file of keys. Messages don't repeat what is in it.
fn read(path: &Path) -> Result<Vec<WeightedKey>, String> {
    let unreadable = |e: std::io::Error| format!("{} can't be read: {e}", path.display());
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text)).map_err(unreadable)?;
    parse_keys(&text).map_err(|why| format!("{}: {why}", path.display()))
}

fn slots(keys: Vec<WeightedKey>, scheme: &str) -> Result<Vec<Slot>, Failure> {
    keys.into_iter()
        .map(|WeightedKey { key, weight }| {
            let mut header = HeaderValue::from_str(&format!("{scheme}{}", key.expose())).map_err(|_| {
                Failure::new(codes::INVALID_SETTING, "an API key has characters that no header can have")
            })?;
            header.set_sensitive(true);
            // Providers repeat keys in their words, which reach the log by many ways.
            crate::redact::learn(key.expose());
            let key = Arc::new(Key { secret: key, header });
            Ok(Slot { key, weight: i64::from(weight), credit: 0, refused: None })
        })
        .collect()
}

/// The next usable key that is not `but`, in proportion to the weights.
fn next(slots: &mut [Slot], but: Option<&Arc<Key>>) -> Option<Arc<Key>> {
    let usable = |slot: &Slot| {
        slot.refused.is_none_or(|at| at.elapsed() > PASSED_OVER) && but.is_none_or(|but| slot.key.secret != but.secret)
    };
    let mut total = 0;
    let mut best: Option<&mut Slot> = None;
    for slot in slots.iter_mut().filter(|slot| usable(slot)) {
        slot.credit += slot.weight;
        total += slot.weight;
        if best.as_ref().is_none_or(|best| slot.credit > best.credit) {
            best = Some(slot);
        }
    }
    let best = best?;
    best.credit -= total;
    Some(Arc::clone(&best.key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Keys {
        Keys::open(&KeySource::File(path.to_owned()), "").unwrap()
    }

    fn name(key: Option<Arc<Key>>) -> String {
        key.map_or_else(|| "none".into(), |key| key.secret.expose().to_owned())
    }

    /// As if the last look were long ago.
    fn look(keys: &Keys) {
        keys.look(&mut keys.lock(), Duration::ZERO);
    }

    #[test]
    fn weights_are_proportions_without_bursts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        std::fs::write(&path, "a 3\nb\nc 1\n").unwrap();
        let keys = open(&path);
        let picked: String = (0..10).map(|_| name(keys.pick())).collect();
        assert_eq!(picked, "abacaabaca");
    }

    #[test]
    fn a_refused_key_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        std::fs::write(&path, "a\nb\n").unwrap();
        let keys = open(&path);
        let a = keys.pick().unwrap();
        assert_eq!(name(keys.refused(&a)), "b");
        let picked: String = (0..3).map(|_| name(keys.pick())).collect();
        assert_eq!(picked, "bbb");
        let b = keys.pick().unwrap();
        assert_eq!(name(keys.refused(&b)), "none");
        assert_eq!(name(keys.pick()), "a", "when all are refused, one is tried all the same");
    }

    #[test]
    fn old_and_new_overlap() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        std::fs::write(&path, "old").unwrap();
        let keys = open(&path);
        let old = keys.pick().unwrap();
        std::fs::write(&path, "new").unwrap();
        assert_eq!(name(keys.refused(&old)), "new", "a refusal makes it look at once");
        assert_eq!(name(keys.pick()), "new");

        std::fs::write(&path, "newer").unwrap();
        look(&keys);
        let newer = keys.pick().unwrap();
        assert_eq!(name(keys.refused(&newer)), "new", "the one before is tried");
        assert_eq!(name(keys.pick()), "new", "and used on while the newer one is passed over");
        std::fs::write(&path, "newer 2").unwrap();
        look(&keys);
        assert_eq!(name(keys.pick()), "newer", "a change of the file forgets refusals");
    }

    #[test]
    fn a_file_that_is_being_written_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        std::fs::write(&path, "good").unwrap();
        let keys = open(&path);
        for broken in [&b""[..], b"  \n", b"two words here", b"\xff\xfe", &[b'k'; 70_000]] {
            std::fs::write(&path, broken).unwrap();
            look(&keys);
            assert_eq!(name(keys.pick()), "good");
        }
        std::fs::remove_file(&path).unwrap();
        look(&keys);
        assert_eq!(name(keys.pick()), "good");
        std::fs::write(&path, "better").unwrap();
        look(&keys);
        assert_eq!(name(keys.pick()), "better");
    }

    #[test]
    fn keys_of_both_generations_are_redacted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        std::fs::write(&path, "sk-one").unwrap();
        let keys = open(&path);
        std::fs::write(&path, "sk-two").unwrap();
        look(&keys);
        assert_eq!(keys.redact("sk-one, sk-two and sk-one".into()), "[redacted], [redacted] and [redacted]");
        assert!(!format!("{:?}", keys.pick().unwrap().header()).contains("sk-"));
    }
}
