//! Concurrent branches: each with a scope of its own, resumed in journal order.

use std::future::Future;

use futures_util::future::join_all;

use crate::flow::Ctx;
use crate::flow::effects::join;

impl Ctx {
    /// Runs one branch per item, all at the same time; gives their results in the order of the items.
    ///
    /// Each branch gets a context with a scope of its own (`map:1[0]`, `map:1[1]`, …), so that effect ids do not
    /// depend on which branch is faster. All branches run to their end, also when one fails.
    ///
    /// ```
    /// # use aos_core::{Failure, flow::Ctx};
    /// async fn summarise(ctx: Ctx, pages: Vec<String>) -> Result<Vec<String>, Failure> {
    ///     let summaries = ctx
    ///         .map(pages, |ctx, page| async move { ctx.call("echo", &page).await?.to() })
    ///         .await;
    ///     summaries.into_iter().collect()
    /// }
    /// ```
    pub fn map<I, F, Fut>(&self, items: I, mut branch: F) -> impl Future<Output = Vec<Fut::Output>> + use<I, F, Fut>
    where
        I: IntoIterator,
        F: FnMut(Self, I::Item) -> Fut,
        Fut: Future,
    {
        let name = self.shared.next_name(&self.scope, "map");
        let branches: Vec<_> = items
            .into_iter()
            .enumerate()
            .map(|(index, item)| branch(self.scoped(format!("{name}[{index}]")), item))
            .collect();
        join_all(branches)
    }

    /// Runs two branches at the same time; each gets a scope of its own (`join:1[0]`, `join:1[1]`).
    pub async fn join<A, B, FutA, FutB>(&self, a: A, b: B) -> (FutA::Output, FutB::Output)
    where
        A: FnOnce(Self) -> FutA,
        B: FnOnce(Self) -> FutB,
        FutA: Future,
        FutB: Future,
    {
        let name = self.shared.next_name(&self.scope, "join");
        let a = a(self.scoped(format!("{name}[0]")));
        let b = b(self.scoped(format!("{name}[1]")));
        futures_util::future::join(a, b).await
    }

    /// A context whose effects are named within `name`, for a part of a workflow that is written as a function.
    #[must_use]
    pub fn scope(&self, name: &str) -> Self {
        self.scoped(join(&self.scope, name))
    }

    fn scoped(&self, scope: String) -> Self {
        Self { shared: self.shared.clone(), scope }
    }
}
