//! Active checks of endpoints: one checker for the process, whatever the number of its workers.
//!
//! A check that is slow or cannot be made changes nothing but what is known of its own endpoint, and no call
//! ever waits for one.

use super::NoConnection;
use super::group::Group;
use super::member::{Health, Member};
use super::race::{Race, WonLast};
use super::resolve::Resolver;
use crate::config::{Checks, Endpoint};
use bimetal_core::rng::Rng;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

/// Most checks under way at once in the process.
pub(super) const MOST_CHECKS: usize = 64;

/// How long nobody is checked anew after a fault of our own.
const AFTER_A_PANIC: Duration = Duration::from_secs(1);

/// What the checker of one process has.
#[derive(Clone, Debug)]
pub(super) struct Checker {
    /// Who looks names up.
    pub resolver: Rc<Resolver>,
    /// A permit for each check under way.
    pub permits: Arc<Semaphore>,
}

impl Checker {
    /// Checks the endpoints of `group`, whichever it has, for as long as this is polled.
    pub(super) async fn check(&self, group: &Arc<Group>, checks: &Checks) {
        let mut changes = group.watch();
        let mut tasks = JoinSet::new();
        let mut known: HashMap<usize, AbortHandle> = HashMap::new();
        loop {
            let list = changes.borrow_and_update().list.clone();
            // Of members that stay the address stays the same: they are shared.
            let key = |member: &Arc<Member>| Arc::as_ptr(member) as usize;
            known.retain(|one, task| {
                let stays = list.iter().any(|member| key(member) == *one);
                if !stays {
                    task.abort();
                }
                // A task that died begins anew.
                stays && !task.is_finished()
            });
            for member in &*list {
                known.entry(key(member)).or_insert_with(|| {
                    let (checker, group) = (self.clone(), group.clone());
                    let (member, checks) = (member.clone(), checks.clone());
                    tasks.spawn_local(async move { checker.follow(&group, &member, &checks).await })
                });
            }
            tokio::select! {
                _ = changes.changed() => {}
                Some(end) = tasks.join_next() => {
                    if end.is_err_and(|error| error.is_panic()) {
                        // One that dies at once must not be all that this thread does.
                        tokio::time::sleep(AFTER_A_PANIC).await;
                    }
                }
            }
        }
    }

    /// Checks one endpoint again and again.
    async fn follow(&self, group: &Group, member: &Member, checks: &Checks) {
        let mut rng = Rng::new(RandomState::new().hash_one(0));
        let mut row = Row::default();
        loop {
            let permit = self.permits.acquire().await;
            let end = self.ask(group, &member.place, checks).await;
            drop(permit);
            let before = member.health();
            match end {
                Ok(()) => group.checked(member, row.passed(before, checks), None),
                Err(Trouble::Failed(why)) => {
                    let after = row.failed(before, checks);
                    if after == Health::Unhealthy {
                        group.checked(member, after, Some(&why));
                    }
                }
                // It says nothing about the endpoint.
                Err(Trouble::Own) => {}
            }
            // Not all at once, and not in step with other proxies.
            let share = 0.9 + 0.2 * rng.next_share();
            tokio::time::sleep(Duration::from(checks.interval.mul_f64(share))).await;
        }
    }

    /// One check.
    async fn ask(&self, group: &Group, place: &Endpoint, checks: &Checks) -> Result<(), Trouble> {
        let limit = Duration::from(checks.timeout);
        let asked = async {
            let won_last = WonLast::default();
            let race = Race::new(std::iter::once(place), 0, &self.resolver, &won_last);
            let (stream, _) = race.run(limit).await.end?;
            let host = match &group.settings.host {
                Some(host) => host.clone(),
                None => HeaderValue::from_str(&place.to_string())
                    .unwrap_or(HeaderValue::from_static("unknown")),
            };
            let answer = get(stream, &checks.path, host).await?;
            let status = answer.status();
            // As Kubernetes' probes, HAProxy and nginx take it.
            if status.is_success() || status.is_redirection() {
                return Ok(());
            }
            Err(Trouble::Failed(format!("{} was answered by {}", checks.path, status.as_u16())))
        };
        match tokio::time::timeout(limit, asked).await {
            Ok(end) => end,
            Err(_) => Err(Trouble::Failed(format!("no answer within {}", checks.timeout))),
        }
    }
}

/// Why a check did not pass.
#[derive(Debug)]
enum Trouble {
    /// The endpoint's doing, in words.
    Failed(String),
    /// This process has no more sockets.
    Own,
}

impl From<NoConnection> for Trouble {
    fn from(none: NoConnection) -> Self {
        match none {
            NoConnection::Connect(why) => Self::Failed(why),
            NoConnection::Exhausted(_) | NoConnection::Overflow => Self::Own,
        }
    }
}

impl From<hyper::Error> for Trouble {
    fn from(error: hyper::Error) -> Self {
        Self::Failed(format!("no HTTP answer: {error}"))
    }
}

/// The head of the answer to a GET.
async fn get(
    stream: TcpStream,
    path: &str,
    host: HeaderValue,
) -> Result<Response<hyper::body::Incoming>, Trouble> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, "bimetal-health-check")
        .header(CONNECTION, "close")
        .body(http_body_util::Empty::<Bytes>::new())
        .map_err(|error| Trouble::Failed(error.to_string()))?;
    let (mut answer, connection) = (pin!(sender.send_request(request)), pin!(connection));
    tokio::select! {
        biased;
        answer = &mut answer => return Ok(answer?),
        _ = connection => {}
    }
    // The connection ended, perhaps with the answer.
    Ok(answer.await?)
}

/// Checks in a row that ended alike.
#[derive(Debug, Default)]
struct Row {
    passes: u32,
    failures: u32,
}

impl Row {
    /// What an endpoint is after a check that passed. The first look decides at once.
    fn passed(&mut self, before: Health, checks: &Checks) -> Health {
        (self.passes, self.failures) = (self.passes.saturating_add(1), 0);
        match before {
            Health::Unhealthy if self.passes < checks.healthy_after => Health::Unhealthy,
            _ => Health::Healthy,
        }
    }

    /// What an endpoint is after one that failed.
    fn failed(&mut self, before: Health, checks: &Checks) -> Health {
        (self.passes, self.failures) = (0, self.failures.saturating_add(1));
        match before {
            Health::Healthy if self.failures < checks.unhealthy_after => Health::Healthy,
            _ => Health::Unhealthy,
        }
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
