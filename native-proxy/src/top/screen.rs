//! The terminal: one view at a time, which keys choose.

use super::TopError;
use super::feed::Feed;
use super::picture::Picture;
use super::view::{TITLES, Tone, View, headline, views};
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table};
use serde_json::Value;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::Duration;

/// How long a key is waited for.
const GLANCE: Duration = Duration::from_millis(100);

/// How long after a lost connection the next one is tried.
const AGAIN: Duration = Duration::from_secs(1);

/// What is shown, and how.
#[derive(Debug)]
pub(super) struct Screen {
    picture: Picture,
    policy: Option<String>,
    view: usize,
    /// How many rows are above what is seen.
    above: usize,
    is_coloured: bool,
    lost: Option<String>,
}

/// What the proxy says, or why it says nothing.
type News = Result<(String, Value), TopError>;

/// Shows what comes until a key ends it.
pub(super) fn run(admin: &str, policy: Option<&str>, is_coloured: bool) -> Result<(), TopError> {
    // The first connection tells at once what is wrong with the address.
    let feed = Feed::open(admin)?;
    let news = watch(admin.to_owned(), feed);
    let mut terminal = ratatui::try_init()
        .map_err(|error| TopError(format!("the terminal cannot be used: {error}")))?;
    let mut screen = Screen::new(policy, is_coloured);
    let ended = loop {
        screen.hear(&news);
        if let Err(error) = terminal.draw(|frame| screen.draw(frame)) {
            break Err(error);
        }
        match key() {
            Ok(Some(key)) if !screen.press(key) => break Ok(()),
            Ok(_) => {}
            Err(error) => break Err(error),
        }
    };
    ratatui::restore();
    ended.map_err(|error| TopError(format!("the terminal cannot be used: {error}")))
}

/// The next key, where one is pressed soon.
fn key() -> std::io::Result<Option<KeyEvent>> {
    if !event::poll(GLANCE)? {
        return Ok(None);
    }
    match event::read()? {
        Event::Key(key) if key.kind != KeyEventKind::Release => Ok(Some(key)),
        _ => Ok(None),
    }
}

/// Reads events on a thread of its own; it comes again where a connection ends.
fn watch(admin: String, feed: Feed) -> Receiver<News> {
    let (sender, news) = mpsc::channel();
    std::thread::spawn(move || {
        let mut feed: Result<Feed, TopError> = Ok(feed);
        loop {
            let lost = match &mut feed {
                Ok(open) => match open.next() {
                    Ok(event) => {
                        if sender.send(Ok(event)).is_err() {
                            return;
                        }
                        continue;
                    }
                    Err(lost) => lost,
                },
                Err(lost) => TopError(lost.to_string()),
            };
            if sender.send(Err(lost)).is_err() {
                return;
            }
            std::thread::sleep(AGAIN);
            feed = Feed::open(&admin);
        }
    });
    news
}

impl Screen {
    /// Nothing is known yet.
    pub(super) fn new(policy: Option<&str>, is_coloured: bool) -> Self {
        let policy = policy.map(str::to_owned);
        Self { picture: Picture::default(), policy, view: 0, above: 0, is_coloured, lost: None }
    }

    fn hear(&mut self, news: &Receiver<News>) {
        loop {
            match news.try_recv() {
                Ok(Ok((event, data))) => {
                    self.lost = None;
                    self.picture.take(&event, &data);
                }
                Ok(Err(lost)) => self.lost = Some(lost.to_string()),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
    }

    /// A key was pressed. False where it ends.
    pub(super) fn press(&mut self, key: KeyEvent) -> bool {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if is_control => return false,
            KeyCode::Char('q') | KeyCode::Esc => return false,
            KeyCode::Tab | KeyCode::Right => self.show((self.view + 1) % TITLES.len()),
            KeyCode::BackTab | KeyCode::Left => {
                self.show((self.view + TITLES.len() - 1) % TITLES.len());
            }
            KeyCode::Char(digit @ '1'..='6') => self.show(digit as usize - '1' as usize),
            KeyCode::Char('j') | KeyCode::Down => self.above += 1,
            KeyCode::Char('k') | KeyCode::Up => self.above = self.above.saturating_sub(1),
            KeyCode::PageDown => self.above += 10,
            KeyCode::PageUp => self.above = self.above.saturating_sub(10),
            KeyCode::Char('g') | KeyCode::Home => self.above = 0,
            KeyCode::Char('p') => self.next_policy(),
            _ => {}
        }
        true
    }

    fn show(&mut self, view: usize) {
        (self.view, self.above) = (view, 0);
    }

    /// All, then each policy, then all again.
    fn next_policy(&mut self) {
        let policies = self.picture.policies();
        let next = match &self.policy {
            None => 0,
            Some(now) => policies.iter().position(|one| one == now).map_or(usize::MAX, |at| at + 1),
        };
        self.policy = policies.get(next).map(|one| (*one).to_owned());
        self.above = 0;
    }

    fn style(&self, tone: Tone) -> Style {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        match (tone, self.is_coloured) {
            (Tone::Plain, _) => Style::new(),
            (_, false) => bold,
            (Tone::Open, true) => bold.fg(Color::Red),
            (Tone::HalfOpen, true) => bold.fg(Color::Yellow),
            (Tone::Held, true) => bold.fg(Color::Magenta),
        }
    }

    /// Draws all of it.
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let policy = self.policy.clone();
        let mut views = views(&self.picture, policy.as_deref());
        let view = views.swap_remove(self.view.min(TITLES.len() - 1));
        let rows = [
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Min(0),
            Constraint::Length(1),
        ];
        let [head, tabs, body, foot] = Layout::vertical(rows).areas(frame.area());
        let headline = match &self.lost {
            Some(lost) => format!("no connection: {}", super::view::safe(lost)),
            None if !self.picture.is_whole() => String::from("connecting"),
            None => headline(&self.picture, policy.as_deref()),
        };
        let tone = if self.lost.is_some() { Tone::Open } else { Tone::Plain };
        frame.render_widget(Paragraph::new(headline).style(self.style(tone)), head);
        let names = TITLES.iter().enumerate().map(|(number, title)| {
            let style = match number == self.view {
                true => Style::new().add_modifier(Modifier::REVERSED),
                false => Style::new(),
            };
            Span::styled(format!(" {}{title} ", number + 1), style)
        });
        frame.render_widget(Line::from_iter(names), tabs);
        // The last row stays in sight.
        let seen = usize::from(body.height).saturating_sub(1).max(1);
        self.above = self.above.min(view.rows.len().saturating_sub(seen));
        frame.render_widget(self.table(&view, body.width), body);
        let shown = policy.as_deref().unwrap_or("all");
        let keys = format!("policy: {shown} (p)  Tab: next  j k: scroll  q: end");
        frame.render_widget(Paragraph::new(keys), foot);
    }

    /// As many columns as there is room for.
    fn table(&self, view: &View, width: u16) -> Table<'static> {
        let longest = |column: usize| {
            let cells = view.rows.iter().filter_map(|row| row.cells.get(column));
            let own = view.columns.get(column).map_or(0, |name| name.len());
            cells.map(|cell| cell.chars().count()).chain([own]).max().unwrap_or(0).min(40)
        };
        let mut left = usize::from(width);
        let mut widths = Vec::new();
        for column in 0..view.columns.len() {
            let wanted = longest(column);
            if !widths.is_empty() && wanted + 1 > left {
                break;
            }
            left = left.saturating_sub(wanted + 1);
            widths.push(Constraint::Length(u16::try_from(wanted).unwrap_or(u16::MAX)));
        }
        let columns = widths.len();
        let rows = view.rows.iter().skip(self.above).map(|row| {
            let cells = row.cells.iter().take(columns).cloned();
            Row::new(cells.collect::<Vec<_>>()).style(self.style(row.tone))
        });
        let heads = view.columns.iter().take(columns).copied();
        let head =
            Row::new(heads.collect::<Vec<_>>()).style(Style::new().add_modifier(Modifier::BOLD));
        Table::new(rows.collect::<Vec<_>>(), widths).header(head)
    }
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
