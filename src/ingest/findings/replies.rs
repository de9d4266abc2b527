//! Requests under way, a few at once, and their replies in the order of asking.
//!
//! Promises that what is under way goes on while a reply is being written, and
//! that no more is asked for while the writing holds.

use std::{collections::VecDeque, pin::pin};

use futures_util::{
    StreamExt as _,
    future::{Either, LocalBoxFuture, select},
    stream::FuturesOrdered,
};

/// Replies of requests, of which at most so many are under way or wait to be taken.
pub(super) struct Replies<'a, T> {
    at_once: usize,
    asks: Box<dyn Iterator<Item = LocalBoxFuture<'a, T>> + 'a>,
    over: bool,
    under_way: FuturesOrdered<LocalBoxFuture<'a, T>>,
    waiting: VecDeque<T>,
}

impl<'a, T> Replies<'a, T> {
    pub(super) fn new(at_once: usize, asks: impl Iterator<Item = LocalBoxFuture<'a, T>> + 'a) -> Self {
        let (under_way, waiting) = (FuturesOrdered::new(), VecDeque::new());
        Self { at_once, asks: Box::new(asks), over: false, under_way, waiting }
    }

    /// The next reply; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<T> {
        if let Some(reply) = self.waiting.pop_front() {
            return Some(reply);
        }
        self.ask();
        self.under_way.next().await
    }

    /// Does something else while what is under way goes on.
    pub(super) async fn during<O>(&mut self, work: impl Future<Output = O>) -> O {
        let mut work = pin!(work);
        loop {
            self.ask();
            if self.under_way.is_empty() {
                return work.await;
            }
            match select(work.as_mut(), self.under_way.next()).await {
                Either::Left((done, _)) => return done,
                Either::Right((reply, _)) => self.waiting.extend(reply),
            }
        }
    }

    /// Asks for nothing more; what is under way comes.
    pub(super) fn stop(&mut self) {
        self.over = true;
    }

    fn ask(&mut self) {
        while !self.over && self.under_way.len() + self.waiting.len() < self.at_once {
            match self.asks.next() {
                Some(ask) => self.under_way.push_back(ask),
                None => self.over = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::pending, time::Duration};

    use futures_util::FutureExt as _;
    use tokio::{sync::oneshot, time::timeout};

    use super::*;

    #[tokio::test]
    async fn what_is_under_way_goes_on_while_a_reply_is_written() {
        for at_once in [1, 2, 4] {
            let (done, heard) = oneshot::channel();
            let mut done = Some(done);
            let asked = Cell::new(0);
            // Each needs to be looked at more than once, and the last that can be under way tells that it came.
            let asks = (0..100).map(|n| {
                asked.set(n + 1);
                let done = (n == at_once).then(|| done.take()).flatten();
                async move {
                    tokio::task::yield_now().await;
                    done.map(|done| done.send(()));
                    n
                }
                .boxed_local()
            });
            let mut replies = Replies::new(at_once, asks);
            assert_eq!(replies.next().await, Some(0));
            let written = replies.during(timeout(Duration::from_secs(30), heard)).await;
            assert!(matches!(written, Ok(Ok(()))), "{at_once}: nobody went on with the request");
            // Writing that holds is no reason to ask for all there is.
            let holding = replies.during(timeout(Duration::from_millis(1), pending::<()>())).await;
            assert!(holding.is_err());
            assert_eq!(asked.get(), at_once + 1);
            replies.stop();
            let mut rest = Vec::new();
            while let Some(reply) = replies.next().await {
                rest.push(reply);
            }
            assert_eq!(rest, (1..=at_once).collect::<Vec<_>>());
        }
    }
}
