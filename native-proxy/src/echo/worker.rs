//! One worker: a thread with its own runtime, listener and connections.

use super::answer::answer;
use super::fault::Fault;
use super::plan::Plan;
use super::server::Shared;
use super::socket::Port;
use crate::telemetry::Tracer;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

/// How long a stopping worker waits for its connections.
const DRAIN: Duration = Duration::from_secs(5);
/// Pause after a failed accept or listen: the cause (no descriptors left) needs time to pass.
const RETRY: Duration = Duration::from_millis(20);

/// A word to a worker.
pub(super) enum Command {
    /// Put this plan in force, and say when it is.
    Plan(Arc<Running>, oneshot::Sender<()>),
    /// Finish what is under way and end.
    Stop,
}

/// A plan in force.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) plan: Plan,
    pub(super) since: Instant,
}

/// How a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// With a reset (RST).
    Reset,
    /// With an orderly end (FIN), wherever the answer stands.
    Close,
}

/// What a worker's connections share.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    /// Whether the admin API is served beside `/echo`.
    pub(super) admin_is_here: bool,
    /// Which requests are recorded as traces.
    pub(super) tracer: Option<Rc<Tracer>>,
    running: RefCell<Arc<Running>>,
    connections: RefCell<HashMap<u64, Rc<Control>>>,
    one_ended: Notify,
    /// Connections so far.
    welcomed: Cell<u64>,
}

/// The handle on one connection, for its requests and its worker.
#[derive(Debug, Default)]
pub(super) struct Control {
    wish: Cell<Wish>,
    task: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Wish {
    #[default]
    None,
    /// Answer what is under way, then close.
    Finish,
    Cut(Cut),
}

impl Control {
    /// Cuts the connection as soon as its task runs.
    pub(super) fn cut(&self, how: Cut) {
        self.wish(Wish::Cut(how));
    }

    fn wish(&self, wish: Wish) {
        self.wish.set(wish);
        if let Some(task) = self.task.borrow_mut().take() {
            task.wake();
        }
    }
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, running: Arc<Running>) -> Self {
        Self {
            admin_is_here: shared.admin_is_beside,
            tracer: shared.tracer().map(Rc::new),
            shared,
            running: RefCell::new(running),
            connections: RefCell::default(),
            one_ended: Notify::new(),
            welcomed: Cell::new(0),
        }
    }

    /// The fault that the plan has for a request that arrives now.
    pub(super) fn fault_by_plan(&self) -> Option<Fault> {
        let running = self.running.borrow();
        if running.plan.is_empty() {
            None
        } else {
            running.plan.take(running.since.elapsed()).cloned()
        }
    }

    /// Serves until told to stop.
    pub(super) async fn serve(
        self: Rc<Self>,
        port: Arc<Port>,
        first: std::net::TcpListener,
        mut commands: mpsc::UnboundedReceiver<Command>,
    ) {
        let mut listener = TcpListener::from_std(first).ok();
        let mut pending_ack: Option<oneshot::Sender<()>> = None;
        loop {
            let next_change = self.tend(&port, &mut listener);
            if let Some(ack) = pending_ack.take() {
                // Whoever asked may have left.
                let _ = ack.send(());
            }
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Plan(running, ack)) => {
                        *self.running.borrow_mut() = running;
                        pending_ack = Some(ack);
                    }
                    Some(Command::Stop) | None => break,
                },
                () = sleep_until(next_change) => {}
                stream = accept(listener.as_ref()) => {
                    self.welcome(stream);
                }
            }
        }
        self.welcome_the_last(listener);
        self.finish_connections();
        let drained = async {
            while !self.connections.borrow().is_empty() {
                self.one_ended.notified().await;
            }
        };
        // Held or delayed requests would keep the process for ever.
        let _ = tokio::time::timeout(DRAIN, drained).await;
    }

    /// Opens or closes the listener as the plan says; when to look again.
    fn tend(&self, port: &Port, listener: &mut Option<TcpListener>) -> Option<Instant> {
        let running = self.running.borrow();
        let elapsed = running.since.elapsed();
        let change = running.plan.next_change(elapsed).and_then(|at| running.since.checked_add(at));
        match (running.plan.accepts(elapsed), listener.is_some()) {
            (true, false) => match port.listen().and_then(TcpListener::from_std) {
                Ok(opened) => *listener = Some(opened),
                Err(why) => {
                    eprintln!("bimetal echo: cannot listen on {} again: {why}", port.address());
                    return Some(Instant::now() + RETRY);
                }
            },
            (false, true) => {
                *listener = None;
                // A server that is down answers nobody over old connections either.
                self.finish_connections();
            }
            _ => {}
        }
        change
    }

    fn finish_connections(&self) {
        for control in self.connections.borrow().values() {
            if control.wish.get() == Wish::None {
                control.wish(Wish::Finish);
            }
        }
    }

    /// Serves one more connection.
    fn welcome(self: &Rc<Self>, stream: TcpStream) {
        // Without it small answers wait for the peer's acknowledgement; it fails on a connection
        // that is already gone, which the next read finds out.
        let _ = stream.set_nodelay(true);
        let number = self.welcomed.get();
        self.welcomed.set(number + 1);
        let control = Rc::new(Control::default());
        // Known before its task first runs: it may have to finish before that.
        self.connections.borrow_mut().insert(number, Rc::clone(&control));
        tokio::task::spawn_local(Rc::clone(self).connection(number, control, stream));
    }

    /// Takes in the connections that wait at a listener and closes it: for their clients they are
    /// established.
    fn welcome_the_last(self: &Rc<Self>, listener: Option<TcpListener>) {
        let Some(Ok(listener)) = listener.map(TcpListener::into_std) else {
            return;
        };
        while let Ok((stream, _)) = listener.accept() {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                self.welcome(stream);
            }
        }
    }

    async fn connection(self: Rc<Self>, number: u64, control: Rc<Control>, stream: TcpStream) {
        let service = service_fn(|request| answer(request, Rc::clone(&self), Rc::clone(&control)));
        let mut connection = http1::Builder::new()
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(stream), service);
        let mut finishing = false;
        let cut = poll_fn(|cx| {
            let mut task = control.task.borrow_mut();
            if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
                *task = Some(cx.waker().clone());
            }
            drop(task);
            // Errors are the peer's: it left, or sent what is not HTTP and got its 400.
            let mut ended = Pin::new(&mut connection).poll(cx).map(|_| None);
            if ended.is_pending() && control.wish.get() == Wish::Finish && !finishing {
                // After a poll, so that a request which already arrived is still answered.
                finishing = true;
                Pin::new(&mut connection).graceful_shutdown();
                ended = Pin::new(&mut connection).poll(cx).map(|_| None);
            }
            match control.wish.get() {
                // After the poll: a body that wished for the cut did so within it.
                Wish::Cut(how) => Poll::Ready(Some(how)),
                _ => ended,
            }
        })
        .await;
        if cut == Some(Cut::Reset) {
            let stream = connection.into_parts().io.into_inner();
            // A linger of zero makes the close a reset.
            let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        self.connections.borrow_mut().remove(&number);
        self.one_ended.notify_one();
    }
}

/// The next connection; never, without a listener.
async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(why) => {
                eprintln!("bimetal echo: cannot accept a connection: {why}");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}
