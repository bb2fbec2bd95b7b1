//! Faults: reproduced by their seed, before or after the effect, on the clock.

use aos_core::BoxFuture;
use aos_core::blob::BlobStore;
use aos_core::canonical::Hash;
use aos_core::runs::StoreError;

use super::*;
use aos_core::memory::VirtualClock;

/// Counts what took effect.
#[derive(Default)]
struct Counting(Mutex<u64>);

impl BlobStore for Counting {
    fn put<'a>(&'a self, bytes: &'a [u8]) -> BoxFuture<'a, Result<Hash, StoreError>> {
        *self.0.lock().unwrap() += 1;
        Box::pin(std::future::ready(Ok(Hash::of(bytes))))
    }

    fn get<'a>(&'a self, _: &'a Hash) -> BoxFuture<'a, Result<Option<Arc<[u8]>>, StoreError>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

fn faults(seed: u64, rates: Rates) -> (VirtualClock, Arc<Faults>) {
    let clock = VirtualClock::default();
    (clock.clone(), Faults::new(Seed::new(seed), rates, Arc::new(clock)))
}

fn injected(seed: u64) -> Vec<Injected> {
    let (_, faults) = faults(seed, Rates { refused: 20, lost: 20, ..Rates::default() });
    let store = Faulty::new(Arc::new(Counting::default()), &faults);
    for n in 0..100_u8 {
        let _ = pollster::block_on(store.put(&[n]));
        let _ = pollster::block_on(store.get(&Hash::ZERO));
    }
    faults.injected()
}

#[test]
fn a_seed_reproduces_its_faults() {
    assert_eq!(injected(7), injected(7));
    assert_ne!(injected(7), injected(8));
    let count = injected(7).len();
    assert!((40..120).contains(&count), "{count} faults in 200 calls at 40 %");
}

#[test]
fn refused_calls_have_no_effect_and_lost_ones_do() {
    for (rates, effects, text) in [
        (Rates { refused: 100, ..Rates::default() }, 0, "call 1 of blobs.put was refused"),
        (Rates { lost: 100, ..Rates::default() }, 1, "call 1 of blobs.put took effect, its answer is lost"),
    ] {
        let (_, faults) = faults(3, rates);
        let inner = Arc::new(Counting::default());
        let store = Faulty::new(Arc::clone(&inner), &faults);
        let failure = aos_core::Failure::from(pollster::block_on(store.put(b"x")).unwrap_err());
        assert!(failure.message.contains(text) && failure.message.contains("seed 3"), "{failure}");
        assert_eq!(*inner.0.lock().unwrap(), effects);
        faults.stop();
        pollster::block_on(store.put(b"x")).unwrap();
    }
}

#[test]
fn late_calls_wait_for_the_clock() {
    let (clock, faults) = faults(1, Rates { delayed: 100, max_delay: Duration::from_secs(60), ..Rates::default() });
    let store = Faulty::new(Arc::new(Counting::default()), &faults);
    let start = clock.now();
    let (result, ()) = pollster::block_on(futures_util::future::join(store.put(b"x"), async {
        clock.advance_to_next().expect("the call waits");
    }));
    result.unwrap();
    let [Injected { fault: Fault::Delayed(by), .. }] = faults.injected()[..] else { panic!("{faults:?}") };
    assert_eq!(clock.now().since(start), by);
}
