//! `bimetal anomalies`: what it reads, what it writes, and what it refuses.

use proptest::prelude::*;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

fn start(args: &[&str]) -> (Child, ChildStdin) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bimetal"))
        .arg("anomalies")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let input = child.stdin.take().unwrap();
    (child, input)
}

/// Judges `input` from standard input: exit code, output, complaints.
fn judge(args: &[&str], input: &[u8]) -> (i32, String, String) {
    let (child, mut stdin) = start(args);
    let input = input.to_owned();
    // A command that refuses its input may be gone by now.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A file that is removed when dropped.
struct OwnFile(PathBuf);

impl OwnFile {
    fn new(test: &str, text: &str) -> Self {
        let name = format!("bimetal-anomalies-{test}-{}.csv", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        // Left behind, it harms nobody.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Four days of a sawtooth, with one sample far out near the end.
fn with_one_peak() -> (String, usize) {
    let mut text = String::from("timestamp,value\n");
    let peak = 1_100;
    for row in 0..1_152_usize {
        let value = if row == peak { 900 } else { 100 + row * 7 % 13 };
        let seconds = 1_772_366_400 + 300 * row;
        writeln!(text, "{seconds},{value}").unwrap();
    }
    (text, peak)
}

fn column(output: &str, index: usize) -> Vec<String> {
    output.lines().skip(1).map(|line| line.split(',').nth(index).unwrap().to_owned()).collect()
}

#[test]
fn each_row_comes_back_with_a_score_and_a_flag() {
    let (text, peak) = with_one_peak();
    let file = OwnFile::new("rows", &text);
    for by in ["incidents", "samples", "z-score"] {
        let (code, from_file, complaints) = judge(&[file.0.to_str().unwrap(), "--by", by], b"");
        assert_eq!((code, complaints.as_str()), (0, ""), "{by}");
        assert_eq!(judge(&["-", "--by", by], text.as_bytes()).1, from_file, "{by}");
        assert_eq!(from_file.lines().next(), Some("timestamp,value,anomaly_score,anomaly"));
        let kept: Vec<_> = from_file.lines().map(|line| line.rsplitn(3, ',').nth(2)).collect();
        assert_eq!(kept, text.lines().map(Some).collect::<Vec<_>>(), "{by}");
        let flags = column(&from_file, 3);
        let flagged: Vec<usize> = (0..flags.len()).filter(|row| flags[*row] == "1").collect();
        assert_eq!(flagged, [peak], "{by}");
        for (score, flag) in column(&from_file, 2).iter().zip(&flags) {
            let score: f64 = score.parse().unwrap();
            assert!((0.0..=1.0).contains(&score) && (score >= 0.5) == (flag == "1"), "{by}");
        }
    }
}

#[test]
fn incidents_are_the_default() {
    let (text, _) = with_one_peak();
    let (_, default, _) = judge(&["-"], text.as_bytes());
    assert_eq!(default, judge(&["-", "--by", "incidents"], text.as_bytes()).1);
    assert_ne!(default, judge(&["-", "--by", "samples"], text.as_bytes()).1);
}

#[test]
fn a_file_may_come_from_a_spreadsheet() {
    let input = "\u{feff}\"host, name\", value ,timestamp\r\n\
                 \"a \"\"b\"\"\",1.5,2026-03-01 12:00:00\r\n\
                 \"c,d\", 2 ,2026-03-01T12:05:00+01:00\r\n";
    let (code, output, complaints) = judge(&["-"], input.as_bytes());
    assert_eq!(code, 0, "{complaints}");
    assert_eq!(
        output,
        "\"host, name\", value ,timestamp,anomaly_score,anomaly\n\
         \"a \"\"b\"\"\",1.5,2026-03-01 12:00:00,0.000000,0\n\
         \"c,d\", 2 ,2026-03-01T12:05:00+01:00,0.000000,0\n"
    );
    assert!(complaints.contains("the time goes backwards at 1 rows"), "{complaints}");
}

#[test]
fn missing_samples_are_kept_and_not_judged() {
    let (text, peak) = with_one_peak();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let usual = judge(&["-"], text.as_bytes()).1;
    for (at, missing) in [(900, ""), (901, "NaN"), (902, "nan"), (903, "inf")] {
        lines.insert(at, format!("2026-03-03 12:00:00,{missing}"));
    }
    let (code, output, complaints) = judge(&["-"], (lines.join("\n") + "\n").as_bytes());
    assert_eq!(code, 0);
    assert!(complaints.contains("4 missing samples were not judged"), "{complaints}");
    let mut judged: Vec<&str> = output.lines().collect();
    for row in judged.drain(900..904) {
        assert!(row.ends_with(",0.000000,0"), "{row}");
    }
    assert_eq!(judged, usual.lines().collect::<Vec<_>>());
    assert_eq!(column(&output, 3)[peak + 4], "1");
}

#[test]
fn wrong_input_names_file_and_line() {
    let many = format!("timestamp,value\n1,\"{}\"\n", "x,\n".repeat(5_000));
    let long = format!("timestamp,value\n1,\"{}\n", "x,\n".repeat(500_000));
    let cases: [(&[u8], &str); 16] = [
        (b"", "standard input:1: no column `timestamp`"),
        (
            b"time,value\n1,2\n",
            "standard input:1: no column `timestamp`; the header has: time, value",
        ),
        (b"timestamp,v\n1,2\n", "standard input:1: no column `value`"),
        (
            b"timestamp,value,anomaly\n1,2,0\n",
            "standard input:1: the column `anomaly` is there already",
        ),
        (b"timestamp,value\n1,2\n2,two\n", "standard input:3: value \"two\" is not a number"),
        (b"timestamp,value\n1,2\n\nsoon,2\n", "standard input:4: timestamp \"soon\" is none of"),
        (b"timestamp,value\r\n1,2\r\nsoon,2\r\n", "standard input:3: timestamp \"soon\""),
        (b"timestamp,value\r\n1,2\r\n\r\n2,x", "standard input:4: value \"x\""),
        (b"timestamp,value,\"a\nb\"\n1,2,\"c\nd\"\nsoon,2,", "standard input:5: timestamp"),
        (b"timestamp,value\n,2\n", "standard input:2: timestamp \"\" is none of"),
        (b"timestamp,value\n1,2\n2\n", "standard input:3: 1 fields, but the header has 2"),
        (b"timestamp,value\n1,2,3\n", "standard input:2: 3 fields, but the header has 2"),
        (b"timestamp,value\n1,\xff\n", "standard input:2: not UTF-8"),
        (b"timestamp,value\n1,\"2\n3,4\n", "standard input:2: value \"2\\n3,4\" is not a number"),
        (many.as_bytes(), "standard input:2: value \"x,\\nx,\\n"),
        (
            long.as_bytes(),
            "standard input:2: a row longer than 1048576 bytes; is a quote not closed?",
        ),
    ];
    for (input, told) in cases {
        let (code, _, complaints) = judge(&["-"], input);
        assert_eq!(code, 2, "{complaints}");
        assert!(complaints.contains(told), "{complaints} has not {told}");
        assert!(complaints.lines().count() == 1 && complaints.len() < 200, "{complaints}");
    }
    let (code, _, complaints) = judge(&["/nowhere/at-all.csv"], b"");
    assert_eq!(code, 2);
    assert!(complaints.starts_with("bimetal: /nowhere/at-all.csv: "), "{complaints}");
    let folder = std::env::temp_dir();
    assert_eq!(judge(&[folder.to_str().unwrap()], b"").0, 2);
}

#[test]
fn what_was_judged_before_an_error_is_out() {
    let (code, output, _) = judge(&["-"], b"timestamp,value\n1,2\n2,two\n");
    assert_eq!(code, 2);
    assert_eq!(output, "timestamp,value,anomaly_score,anomaly\n1,2,0.000000,0\n");
}

#[test]
fn a_header_alone_is_an_empty_series() {
    let (code, output, complaints) = judge(&["-"], b"timestamp,value\n");
    assert_eq!((code, complaints.as_str()), (0, ""));
    assert_eq!(output, "timestamp,value,anomaly_score,anomaly\n");
}

/// Who follows a growing file sees each row when it is there.
#[test]
fn a_row_is_written_before_the_next_is_waited_for() {
    let (mut child, mut input) = start(&["-"]);
    let output = BufReader::new(child.stdout.take().unwrap());
    let (say, told) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        output.lines().map_while(Result::ok).try_for_each(|line| say.send(line))
    });
    let next = || told.recv_timeout(Duration::from_secs(60)).expect("a row within a minute");
    input.write_all(b"timestamp,value\n1,2\n").unwrap();
    assert_eq!(next(), "timestamp,value,anomaly_score,anomaly");
    assert_eq!(next(), "1,2,0.000000,0");
    input.write_all(b"2,2\n").unwrap();
    assert_eq!(next(), "2,2,0.000000,0");
    drop(input);
    assert!(child.wait().unwrap().success());
    reader.join().unwrap().unwrap();
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let (mut child, mut input) = start(&["-"]);
    let mut output = child.stdout.take().unwrap();
    let (text, _) = with_one_peak();
    let rows = text.split_once('\n').unwrap().1.repeat(20);
    let feeder = std::thread::spawn(move || {
        input.write_all(b"timestamp,value\n").unwrap();
        // It ends as soon as it meets the closed pipe, so that not all may be taken.
        let _ = input.write_all(rows.as_bytes());
    });
    output.read_exact(&mut [0; 4]).unwrap();
    drop(output);
    feeder.join().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Memory stays the same, however many rows have passed.
#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_file() {
    let (mut child, mut input) = start(&["-"]);
    let mut output = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    let row = |row: u64| format!("{},{}\n", 1_772_366_400 + row, row % 13);
    let high_water = |child: &Child| -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    input.write_all(b"timestamp,value\n").unwrap();
    let mut feed = |rows: std::ops::Range<u64>| {
        for from in rows.step_by(1_000) {
            let text: String = (from..from + 1_000).map(row).collect();
            input.write_all(text.as_bytes()).unwrap();
        }
    };
    feed(0..20_000);
    let before = high_water(&child);
    feed(20_000..300_000);
    let after = high_water(&child);
    assert!(after < before + 1_024, "{before} kB, then {after} kB");
    drop(input);
    assert!(child.wait().unwrap().success());
    assert!(reader.join().unwrap().unwrap() > 300_000 * 20);
}

#[test]
fn the_help_has_an_example() {
    let (code, help, _) = judge(&["--help"], b"");
    assert_eq!(code, 0);
    for part in ["Examples:\n  bimetal anomalies requests.csv", "Exit codes", "--by", "timestamp"] {
        assert!(help.contains(part), "{help} has not {part}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However the bytes arrive, the answer is one: rows or one complaint, never a panic.
    #[test]
    fn any_bytes_end_in_an_answer(bytes: Vec<u8>, is_after_a_header: bool) {
        let mut input = if is_after_a_header { b"timestamp,value\n1,1\n".to_vec() } else { Vec::new() };
        input.extend(bytes);
        let (code, _, complaints) = judge(&["-"], &input);
        prop_assert!(code == 0 || code == 2, "{code}: {complaints}");
    }
}
