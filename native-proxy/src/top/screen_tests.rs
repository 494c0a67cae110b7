//! The terminal as it is drawn.

use super::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use serde_json::json;

fn screen(is_coloured: bool) -> Screen {
    let mut screen = Screen::new(None, is_coloured);
    let row = |number: usize, state: &str| {
        json!({
            "id": format!("{number:03}"), "policy": if usize::is_multiple_of(number, 2) { "even" } else { "odd" },
            "scope": format!("scope-{number}"), "state": state, "since_ms": 0.0, "why": "3 consecutive failures",
            "window": {"calls": 3, "failures": 3, "slow": 0}, "next_probe_ms": 9_000.0, "held": null,
        })
    };
    let rows: Vec<_> =
        (0..50).map(|number| row(number, if number == 7 { "open" } else { "closed" })).collect();
    screen.picture.take("snapshot", &json!({
        "proxy": {"name": "a:1"}, "now_ms": 4_000.0, "topology": {"policies": [{"policy": "even"}, {"policy": "odd"}]},
        "tables": {"breakers": {"set": rows}},
    }));
    screen
}

fn drawn(screen: &mut Screen, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| screen.draw(frame)).unwrap();
    terminal.backend().buffer().clone()
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width.max(1));
    let symbols: Vec<_> = buffer.content.iter().map(|cell| cell.symbol()).collect();
    symbols.chunks(width).map(|line| line.concat().trim_end().to_owned()).collect()
}

fn press(screen: &mut Screen, code: KeyCode) -> bool {
    screen.press(KeyEvent::new(code, KeyModifiers::NONE))
}

#[test]
fn what_is_open_stands_first_and_in_red() {
    let buffer = drawn(&mut screen(true), 100, 10);
    let lines = lines(&buffer);
    assert_eq!(lines[0], "a:1: 1 open, 0 half-open, 49 closed");
    assert!(lines[1].starts_with(" 1breakers  2traffic "), "{}", lines[1]);
    assert!(lines[2].starts_with("state  policy scope"), "{}", lines[2]);
    assert!(
        lines[3].starts_with("open   odd    scope-7") && lines[3].contains("in 5 s"),
        "{}",
        lines[3]
    );
    assert_eq!(buffer[(0, 3)].fg, Color::Red);
    assert!(lines[9].ends_with("q: end"));
}

#[test]
fn without_colour_nothing_has_one() {
    let buffer = drawn(&mut screen(false), 100, 10);
    let plain = [Color::Reset, Color::Reset];
    assert!(buffer.content.iter().all(|cell| [cell.fg, cell.bg] == plain));
    assert!(buffer[(0, 3)].modifier.contains(Modifier::BOLD), "it is told apart all the same");
}

#[test]
fn a_small_terminal_shows_what_it_can() {
    for (width, height) in [(1, 1), (5, 3), (20, 6), (0, 0), (300, 2)] {
        drawn(&mut screen(true), width, height);
    }
    let seen = lines(&drawn(&mut screen(true), 24, 6));
    assert!(seen[3].starts_with("open   odd    scope-7"), "{seen:?}");
    assert!(!seen.iter().any(|line| line.contains("window")), "{seen:?}");
}

#[test]
fn keys_choose_scroll_and_end() {
    let mut screen = screen(true);
    assert!(press(&mut screen, KeyCode::Char('j')));
    assert!(lines(&drawn(&mut screen, 80, 8))[3].starts_with("closed even   scope-0"));
    assert!(press(&mut screen, KeyCode::PageDown) && press(&mut screen, KeyCode::Char('k')));
    assert!(lines(&drawn(&mut screen, 80, 8))[3].contains("scope-10"));
    for _ in 0..20 {
        press(&mut screen, KeyCode::PageDown);
    }
    let seen = lines(&drawn(&mut screen, 80, 8));
    assert!(seen[6].contains("scope-49"), "the last row stays in sight: {seen:?}");
    press(&mut screen, KeyCode::Char('p'));
    let seen = lines(&drawn(&mut screen, 80, 8));
    assert!(seen[0].contains("0 open") && seen[7].starts_with("policy: even"), "{seen:?}");
    press(&mut screen, KeyCode::Char('p'));
    assert!(lines(&drawn(&mut screen, 80, 8))[0].contains("1 open"));
    press(&mut screen, KeyCode::Char('p'));
    assert!(lines(&drawn(&mut screen, 80, 8))[7].starts_with("policy: all"));
    press(&mut screen, KeyCode::Tab);
    assert!(lines(&drawn(&mut screen, 80, 8))[2].starts_with("policy admitted/s"));
    press(&mut screen, KeyCode::BackTab);
    press(&mut screen, KeyCode::BackTab);
    assert!(lines(&drawn(&mut screen, 80, 8))[2].starts_with("when policy scope what"));
    press(&mut screen, KeyCode::Char('1'));
    assert!(lines(&drawn(&mut screen, 80, 8))[3].contains("scope-7"));
    assert!(!press(&mut screen, KeyCode::Char('q')) && !press(&mut screen, KeyCode::Esc));
    assert!(!screen.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
}

#[test]
fn a_lost_connection_is_told_and_what_was_known_stays() {
    let (sender, news) = mpsc::channel();
    let mut screen = screen(true);
    sender.send(Err(TopError("a:1: the proxy ended".into()))).unwrap();
    screen.hear(&news);
    let seen = lines(&drawn(&mut screen, 80, 8));
    assert_eq!(seen[0], "no connection: a:1: the proxy ended");
    assert!(seen[3].contains("scope-7"));
    sender.send(Ok(("change".into(), json!({"now_ms": 5_000.0})))).unwrap();
    screen.hear(&news);
    assert!(lines(&drawn(&mut screen, 80, 8))[0].contains("1 open"));
}
