//! Which answer a request gets: those that wait in a queue first, then the first rule that applies.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use aos_core::random::{Rng, Seed};

use super::reply::Reply;
use super::request::{Endpoint, Request};

type Predicate = Arc<dyn Fn(&Request) -> bool + Send + Sync>;
type Answer = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

/// An answer, and the requests that it is for: those to `/v1/messages` when nothing else is said.
///
/// ```
/// use aos_testkit::service::claude::{ApiError, Reply, Rule};
///
/// // 30 of 100 calls meet an overloaded provider; which ones is a function of the seed and the calls.
/// let storm = Rule::new(Reply::error(ApiError::overloaded())).percent(30, 7);
/// // The second call of Opus gets no answer.
/// let lost = Rule::new(Reply::echo().reset()).when(|request| request.model().contains("opus")).skip(1).times(1);
/// # let _ = (storm, lost);
/// ```
#[derive(Clone)]
pub struct Rule {
    answer: Answer,
    endpoint: Endpoint,
    when: Vec<Predicate>,
    skip: u64,
    times: u64,
    percent: Option<(u64, Seed)>,
    /// How often the conditions before `skip` and `times` have held.
    met: u64,
    /// How often a request with this body has come, for the draws.
    repeats: HashMap<u64, u64>,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule").field("endpoint", &self.endpoint).field("met", &self.met).finish_non_exhaustive()
    }
}

impl Rule {
    /// Always this answer.
    pub fn new(reply: Reply) -> Self {
        Self::answer(move |_| reply.clone())
    }

    /// An answer that is a function of the request.
    pub fn answer(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self {
            answer: Arc::new(answer),
            endpoint: Endpoint::Messages,
            when: Vec::new(),
            skip: 0,
            times: u64::MAX,
            percent: None,
            met: 0,
            repeats: HashMap::new(),
        }
    }

    /// For requests to this endpoint. Where the API does not answer with messages, one stands for the usual answer: what
    /// happens to it on its way is what counts.
    #[must_use]
    pub const fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = endpoint;
        self
    }

    /// Only for requests of which this holds, too. It must not call the mock.
    #[must_use]
    pub fn when(mut self, holds: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Self {
        self.when.push(Arc::new(holds));
        self
    }

    /// Only for requests whose last text has this in it.
    #[must_use]
    pub fn when_text(self, text: &str) -> Self {
        let text = text.to_owned();
        self.when(move |request| request.last_text().contains(&text))
    }

    /// Not for the first so many of these.
    #[must_use]
    pub const fn skip(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// Only for so many of these, after those that are skipped.
    #[must_use]
    pub const fn times(mut self, requests: u64) -> Self {
        self.times = requests;
        self
    }

    /// Only for about so many of 100 of these. Which ones is a function of the seed, the request's body and how often
    /// that has come: not of the order of different requests.
    #[must_use]
    pub const fn percent(mut self, percent: u64, seed: u64) -> Self {
        self.percent = Some((percent, Seed::new(seed)));
        self
    }

    fn applies(&mut self, request: &Request) -> bool {
        if self.endpoint != request.endpoint || !self.when.iter().all(|holds| holds(request)) {
            return false;
        }
        if let Some((percent, seed)) = self.percent {
            let repeat = self.repeats.entry(hash(&request.bytes)).or_default();
            *repeat += 1;
            if draw(seed, &request.bytes, *repeat, 100) >= percent {
                return false;
            }
        }
        self.met += 1;
        self.met > self.skip && self.met - self.skip <= self.times
    }
}

/// A number below `bound`: a function of the seed, a request's body and how often that has come.
pub(super) fn draw(seed: Seed, body: &[u8], repeat: u64, bound: u64) -> u64 {
    Rng::new(seed, &format!("{repeat}/{}", String::from_utf8_lossy(body))).below(bound)
}

/// Tells bodies apart.
pub(super) fn hash(body: &[u8]) -> u64 {
    Rng::new(Seed::default(), &String::from_utf8_lossy(body)).next_u64()
}

/// Queue and rules.
#[derive(Default)]
pub(super) struct Book {
    pub(super) queue: VecDeque<Reply>,
    pub(super) rules: Vec<Rule>,
}

impl Book {
    /// The answer for a request, unless it is the usual one.
    pub(super) fn answer(&mut self, request: &Request) -> Option<Reply> {
        if request.endpoint == Endpoint::Messages
            && let Some(reply) = self.queue.pop_front()
        {
            return Some(reply);
        }
        self.rules.iter_mut().find_map(|rule| rule.applies(request).then(|| (rule.answer)(request)))
    }
}
