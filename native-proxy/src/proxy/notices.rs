//! What the system tells of a file (inotify): that it is written, that whoever wrote it closed it,
//! that another came in its place. Nothing is told of what another machine does on a file system
//! of the network.

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// Most links that lead to a file (as in Linux).
const LINKS: usize = 40;

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Something was written into the file.
    Written,
    /// Somebody who could write closed it.
    Closed,
    /// A file or a link came to stand at its place, or at that of a link to it.
    Replaced,
    /// The system could not keep up: anything may have happened.
    Lost,
}

/// A directory on the way to the file.
#[derive(Debug)]
struct Watched {
    number: i32,
    folder: PathBuf,
    /// What is looked for in it.
    names: Vec<OsString>,
    /// The file's own name, where it is in this directory.
    last: Option<OsString>,
}

/// An event as the system tells it.
#[derive(Debug)]
struct Event {
    number: i32,
    what: ReadFlags,
    name: Option<OsString>,
}

/// Tells of one file. A thread waits for the system's events; it ends with the first that nobody
/// wants any more.
#[derive(Debug)]
pub(super) struct Notices {
    system: Arc<OwnedFd>,
    events: UnboundedReceiver<Event>,
    folders: Vec<Watched>,
    /// The file itself: a file that was mounted by itself is written elsewhere.
    file: Option<i32>,
}

impl Notices {
    /// Begins; nothing is watched yet.
    ///
    /// # Errors
    /// The system's: it has no more of them.
    pub(super) fn begin() -> io::Result<Self> {
        let system = Arc::new(inotify::init(CreateFlags::CLOEXEC)?);
        let (tell, events) = mpsc::unbounded_channel();
        let mine = system.clone();
        std::thread::Builder::new().name("file".into()).spawn(move || listen(&mine, &tell))?;
        Ok(Self { system, events, folders: Vec::new(), file: None })
    }

    /// Watches what leads to `file` now. To be called again and again: links and folders come and
    /// go, and watching twice is watching once.
    pub(super) fn arm(&mut self, file: &Path) {
        let mut folders: Vec<Watched> = Vec::new();
        let events = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ONLYDIR;
        for (folder, name, is_last) in way_to(file) {
            let Ok(number) = inotify::add_watch(&*self.system, &folder, events) else { continue };
            let last = is_last.then(|| name.clone());
            match folders.iter_mut().find(|known| known.number == number) {
                Some(known) => {
                    known.names.push(name);
                    known.last = known.last.take().or(last);
                }
                None => folders.push(Watched { number, folder, names: vec![name], last }),
            }
        }
        let events = WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE;
        let file = inotify::add_watch(&*self.system, file, events).ok();
        for old in self.folders.iter().map(|folder| folder.number).chain(self.file) {
            if file != Some(old) && !folders.iter().any(|folder| folder.number == old) {
                // It may be gone with its folder.
                let _ = inotify::remove_watch(&*self.system, old);
            }
        }
        (self.folders, self.file) = (folders, file);
    }

    /// The next thing that happened.
    pub(super) async fn next(&mut self) -> News {
        loop {
            let Some(event) = self.events.recv().await else {
                return std::future::pending().await;
            };
            if let Some(news) = self.news(event.number, event.what, event.name.as_deref()) {
                return news;
            }
        }
    }

    fn news(&self, number: i32, what: ReadFlags, name: Option<&OsStr>) -> Option<News> {
        if what.contains(ReadFlags::QUEUE_OVERFLOW) {
            return Some(News::Lost);
        }
        let folder = self.folders.iter().find(|folder| folder.number == number);
        let is_file = self.file == Some(number) && name.is_none();
        let is_last = folder.is_some_and(|folder| name.is_some() && folder.last.as_deref() == name);
        if is_file || is_last {
            if what.contains(ReadFlags::MODIFY) {
                return Some(News::Written);
            }
            if what.contains(ReadFlags::CLOSE_WRITE) {
                return Some(News::Closed);
            }
        }
        let (folder, name) = (folder?, name?);
        let is_ours = folder.names.iter().any(|ours| ours == name);
        // A new file is written first; a new link is whole.
        let is_link = || folder.folder.join(name).is_symlink();
        let came =
            what.contains(ReadFlags::MOVED_TO) || (what.contains(ReadFlags::CREATE) && is_link());
        (is_ours && came).then_some(News::Replaced)
    }
}

fn listen(system: &OwnedFd, tell: &UnboundedSender<Event>) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = Reader::new(system, &mut buffer);
    loop {
        match events.next() {
            Ok(event) => {
                let name = event.file_name();
                let name = name.map(|name| OsStr::from_bytes(name.to_bytes()).to_owned());
                let told = Event { number: event.wd(), what: event.events(), name };
                if tell.send(told).is_err() {
                    return;
                }
            }
            Err(Errno::INTR) => {}
            // Then the file is looked at, and no more.
            Err(_) => return,
        }
    }
}

/// The file and every link on the way to it: in which directory, by what name, and whether it is
/// the file itself.
fn way_to(file: &Path) -> Vec<(PathBuf, OsString, bool)> {
    let mut way = Vec::new();
    let mut at = PathBuf::new();
    let mut rest: VecDeque<OsString> = steps(file);
    while let Some(step) = rest.pop_front() {
        let here = if at.as_os_str().is_empty() { PathBuf::from(".") } else { at.clone() };
        let next = at.join(&step);
        match std::fs::read_link(&next) {
            Ok(target) if way.len() < LINKS => {
                way.push((here, step, false));
                if target.is_absolute() {
                    at = PathBuf::new();
                }
                for step in steps(&target).into_iter().rev() {
                    rest.push_front(step);
                }
            }
            _ if rest.is_empty() => way.push((here, step, true)),
            _ => at = next,
        }
    }
    way
}

fn steps(path: &Path) -> VecDeque<OsString> {
    let steps = path.components().filter(|step| !matches!(step, Component::CurDir));
    steps.map(|step| step.as_os_str().to_owned()).collect()
}
