//! `GET /events`: what a dashboard shows, as server-sent events.
//!
//! However many watch, the workers are asked once a turn, and what changed is put into words once. Nobody
//! watches: nobody is asked. A client that does not take what it is sent is let go, and may come again.

use super::gather;
use super::relay;
use super::tables::{Tables, millis};
use super::topology;
use super::traffic::Traffic;
use crate::config::{Settings, Watched};
use crate::history::{Entry, What};
use crate::proxy::Shared;
use crate::worker::{Command, Look};
use bytes::Bytes;
use hyper::body::{Body, Frame};
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};

/// Most clients that watch at once.
pub(super) const MOST_WATCHERS: usize = 128;

/// Between two looks.
const TURN: Duration = Duration::from_millis(250);

/// Between a look and one for a client that came just then.
const SHORT_TURN: Duration = Duration::from_millis(20);

/// A client hears something at least this often.
const SILENCE: Duration = Duration::from_secs(2);

/// So many messages wait for a client at most; one that lets more come together is let go.
const MOST_WAITING: usize = 16;

/// So many bytes a second are sent to all clients together; turns are longer where it would be more.
const MOST_BYTES: usize = 8 << 20;

/// Clients that watch.
#[derive(Debug)]
pub(super) struct Hub {
    shared: Arc<Shared>,
    watchers: Watchers,
    /// Rung when somebody comes.
    came: Notify,
}

#[derive(Debug, Default)]
struct Watchers(RefCell<Vec<Watcher>>);

#[derive(Debug)]
struct Watcher {
    sender: mpsc::Sender<Bytes>,
    /// Ends the client's connection.
    ends: Rc<Notify>,
    is_new: bool,
}

/// What one client is sent: the body of its answer.
#[derive(Debug)]
pub(super) struct Feed(mpsc::Receiver<Bytes>);

impl Body for Feed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|message| message.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// What the clients were told last.
#[derive(Default)]
struct Told {
    tables: Tables,
    entry: u64,
    settings: Option<Arc<Settings>>,
    at: Option<Instant>,
}

impl Hub {
    /// Nobody watches yet.
    pub(super) fn new(shared: Arc<Shared>) -> Rc<Self> {
        Rc::new(Self { shared, watchers: Watchers::default(), came: Notify::new() })
    }

    /// One more client, whose connection ends when `ends` is rung. It hears of `others` as well. None where there
    /// are too many.
    pub(super) fn watch(
        &self,
        ends: Rc<Notify>,
        others: impl Iterator<Item = Watched>,
    ) -> Option<Feed> {
        let (feed, sender) = self.watchers.add(ends)?;
        for other in others {
            let (sender, gone) = (sender.clone(), sender.clone());
            tokio::task::spawn_local(async move {
                tokio::select! {
                    () = relay::pass_on(other, sender) => {}
                    // Also while the other says nothing.
                    () = gone.closed() => {}
                }
            });
        }
        self.came.notify_one();
        Some(feed)
    }

    /// Tells those who watch, for as long as the process lives.
    pub(super) async fn keep(self: Rc<Self>) {
        loop {
            self.came.notified().await;
            self.watched().await;
        }
    }

    /// Tells them until nobody watches.
    async fn watched(&self) {
        let (mut traffic, mut told) = (Traffic::default(), Told::default());
        while self.watchers.count() > 0 {
            let bytes = match gather::ask(&self.shared, Command::Look).await {
                Ok(looks) => self.tell(looks, &mut traffic, &mut told),
                Err(busy) => {
                    self.watchers.send(&message("busy", &json!({"why": busy.trim()})), |_| true)
                }
            };
            let fair = Duration::from_secs_f64(bytes as f64 / MOST_BYTES as f64);
            let turn = tokio::time::sleep(TURN.max(fair));
            tokio::select! {
                () = turn => {}
                () = self.came.notified() => tokio::time::sleep(SHORT_TURN).await,
            }
        }
    }

    /// Tells what changed, and all to those who are new. How many bytes that were.
    fn tell(&self, looks: Vec<Look>, traffic: &mut Traffic, told: &mut Told) -> usize {
        let now = self.shared.clock.now();
        let cost: f64 =
            looks.iter().map(|look| millis(bimetal_core::Instant::ZERO + look.cost)).sum();
        let settings = self.shared.settings();
        let tables = Tables::of(&self.shared, looks, traffic, now);
        let entries = self.shared.history.since(told.entry);
        let is_new_file = told.settings.as_ref().is_none_or(|old| !Arc::ptr_eq(old, &settings));
        let mut change = Map::new();
        let tables_changed = tables.changes(&told.tables);
        let is_quiet = told.at.is_some_and(|at| at.elapsed() < SILENCE);
        if !(is_quiet && tables_changed.is_empty() && entries.is_empty() && !is_new_file) {
            change.insert("now_ms".into(), millis(now).into());
            change.insert("cost_ms".into(), cost.into());
            change.insert("hidden".into(), tables.hidden.into());
            change.insert("watching".into(), self.watchers.count().into());
            change.insert("tables".into(), tables_changed.into());
            change.insert("history".into(), entries.iter().map(|one| entry(one)).collect());
            if is_new_file {
                change.insert("topology".into(), topology::page(&settings));
            }
        }
        let mut bytes = 0;
        if !change.is_empty() {
            bytes +=
                self.watchers.send(&message("change", &Value::Object(change)), |one| !one.is_new);
            told.at = Some(Instant::now());
        }
        if self.watchers.has_new() {
            let history = self.shared.history.since(0);
            let all = json!({
                "now_ms": millis(now),
                "cost_ms": cost,
                "hidden": tables.hidden,
                "watching": self.watchers.count(),
                "proxy": topology::proxy(&self.shared, &settings),
                "topology": topology::page(&settings),
                "tables": tables.changes(&Tables::default()),
                "history": history.iter().map(|one| entry(one)).collect::<Vec<_>>(),
            });
            bytes += self.watchers.send(&message("snapshot", &all), |one| one.is_new);
        }
        told.entry = entries.last().map_or(told.entry, |last| last.number);
        (told.tables, told.settings) = (tables, Some(settings));
        bytes
    }
}

impl Watchers {
    /// One more, whose connection ends when `ends` is rung. None where there are too many.
    fn add(&self, ends: Rc<Notify>) -> Option<(Feed, mpsc::Sender<Bytes>)> {
        if self.count() >= MOST_WATCHERS {
            return None;
        }
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        self.0.borrow_mut().push(Watcher { sender: sender.clone(), ends, is_new: true });
        Some((Feed(receiver), sender))
    }

    /// How many watch.
    fn count(&self) -> usize {
        let mut watchers = self.0.borrow_mut();
        watchers.retain(|watcher| !watcher.sender.is_closed());
        watchers.len()
    }

    /// Whether somebody was told nothing yet.
    fn has_new(&self) -> bool {
        self.0.borrow().iter().any(|watcher| watcher.is_new)
    }

    /// Sends a message to those whom it is for; gives how many bytes that were. Who does not take it is let go.
    fn send(&self, message: &Bytes, is_for: fn(&Watcher) -> bool) -> usize {
        let mut sent = 0;
        self.0.borrow_mut().retain_mut(|watcher| {
            if !is_for(watcher) {
                return true;
            }
            let is_taken = watcher.sender.try_send(message.clone()).is_ok();
            if is_taken {
                sent += message.len();
                watcher.is_new = false;
            } else {
                watcher.ends.notify_one();
            }
            is_taken
        });
        sent
    }
}

/// An event of the stream.
fn message(event: &str, data: &Value) -> Bytes {
    // JSON of a value is one line.
    Bytes::from(format!("event: {event}\ndata: {data}\n\n"))
}

fn entry(entry: &Entry) -> Value {
    let mut told = match &entry.what {
        What::Changed(worker, change) => json!({
            "worker": worker,
            "from": change.from.name(),
            "to": change.to.name(),
            "cause": change.cause.name(),
            "why": change.cause.to_string(),
            "open_for_ms": change.open_for.as_secs_f64() * 1e3,
            "generation": change.generation,
            "level": change.level,
        }),
        What::Ordered(order, by) => json!({"order": order.name(), "by": by.to_string()}),
    };
    if let Some(told) = told.as_object_mut() {
        told.insert("number".into(), entry.number.into());
        told.insert("at_ms".into(), millis(entry.at).into());
        told.insert("policy".into(), (&*entry.policy).into());
        told.insert("scope".into(), entry.scope.clone().into());
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;

    #[test]
    fn who_does_not_take_it_is_let_go_and_others_are_not() {
        let watchers = Watchers::default();
        let (slow, fast) = (Rc::<Notify>::default(), Rc::<Notify>::default());
        let _slow_feed = watchers.add(slow.clone()).unwrap();
        let mut fast_feed = watchers.add(fast.clone()).unwrap().0;
        let text = message("change", &json!({}));
        for round in 0..=MOST_WAITING {
            assert_eq!(watchers.count(), 2, "{round}");
            watchers.send(&text, |_| true);
            assert_eq!(fast_feed.0.try_recv().unwrap(), text);
        }
        assert_eq!(watchers.count(), 1);
        let is_rung = |bell: &Notify| {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            std::pin::pin!(bell.notified()).poll(&mut cx).is_ready()
        };
        assert!(is_rung(&slow) && !is_rung(&fast));
        drop(fast_feed);
        assert_eq!(watchers.count(), 0, "it left");
    }

    #[test]
    fn there_is_room_for_a_hundred_and_not_for_any_number() {
        let watchers = Watchers::default();
        let mut feeds: Vec<_> =
            (0..MOST_WATCHERS).map(|_| watchers.add(Rc::default()).unwrap()).collect();
        assert!(feeds.len() >= 100 && watchers.add(Rc::default()).is_none());
        feeds.pop();
        assert!(watchers.add(Rc::default()).is_some());
    }

    #[test]
    fn a_message_is_one_event_whatever_is_in_it() {
        let message = message("change", &json!({"scope": "a\n\ndata: b\r\u{2028}"}));
        let text = std::str::from_utf8(&message).unwrap();
        let (head, end) = text.split_once("data: ").unwrap();
        assert_eq!(head, "event: change\n");
        assert!(end.ends_with("\n\n") && !end.trim_end().contains(['\n', '\r']), "{end}");
    }
}
