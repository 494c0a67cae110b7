//! Whole studies of small arms, by the program itself. They need the bimetal program (`BIMETAL`).

use bimetal_study::plan::Next;
use bimetal_study::record::Flaw;
use bimetal_study::store::Store;
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Long enough for any machine; nothing is judged by it.
const DEADLINE: Duration = Duration::from_secs(120);

const PROXY: &str = r#"
- program: ${sh}
  arguments: [-c, "echo started >> ${folder}/../../../starts; exec ${bimetal} proxy --config proxy.yaml"]
  files:
    proxy.yaml: |
      version: v1
      listeners: [{address: "127.0.0.1:${port.entry}"}]
      admin: {address: "127.0.0.1:${port.admin}"}
      health: {address: "127.0.0.1:${port.health}"}
      upstreams: {echo: {endpoints: ["${upstream}"]}}
      routes: [{host: "*", path_prefix: /, upstream: echo}]
"#;

const MUTE: &str = "about: a proxy whose page of metrics is not there\n\
                    metrics: 'http://127.0.0.1:${port.nobody}/metrics'";

fn arms() -> [(&'static str, String); 5] {
    let proxied = "about: a proxy\nover: direct\nneeds: [bimetal, sh]\nprocesses:";
    let dies =
        "about: a proxy with a process that ends in the middle\nneeds: [bimetal, sh]\nprocesses:";
    let ends = "- program: ${sh}\n  arguments: [-c, 'sleep 2; echo so it goes; exit 3']\n";
    [
        ("direct.yaml", "about: no proxy\n".to_owned()),
        ("proxied.yaml", format!("{proxied}{PROXY}")),
        ("dies.yaml", format!("{dies}{PROXY}{ends}")),
        ("mute.yaml", format!("{MUTE}\nneeds: [bimetal, sh]\nprocesses:{PROXY}")),
        ("lacks.yaml", "about: needs what nobody has\nneeds: [no-such-tool]\n".to_owned()),
    ]
}

/// A folder with arms and room for studies; nothing where the bimetal program is not known.
struct Room(tempfile::TempDir);

impl Room {
    fn make() -> Option<Self> {
        if std::env::var_os("BIMETAL").is_none() {
            println!("skipped: a study needs the bimetal program: BIMETAL=/path/to/bimetal");
            return None;
        }
        let room = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(room.path("arms/shared")).unwrap();
        for (name, text) in arms() {
            std::fs::write(room.path("arms").join(name), text).unwrap();
        }
        let policy = r#"{"version": "v1", "policies": []}"#;
        std::fs::write(room.path("arms/shared/policy.json"), policy).unwrap();
        Some(room)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn study(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bimetal-study"));
        command.arg("run").arg("--folder").arg(self.path("arms"));
        command.arg("--out").arg(self.path("out")).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> (bool, String) {
        told(&self.study(arguments).output().unwrap())
    }
}

fn told(output: &Output) -> (bool, String) {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn lines(out: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(out.join("blocks.jsonl")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Ends the study as Ctrl-C would once it has measured `blocks`.
fn interrupt(child: Child, out: &Path, blocks: usize) -> (bool, String) {
    let deadline = Instant::now() + DEADLINE;
    while lines(out).len() < blocks {
        assert!(Instant::now() < deadline, "no {blocks} blocks are measured");
        std::thread::yield_now();
    }
    let id = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(id, Signal::INT).unwrap();
    told(&child.wait_with_output().unwrap())
}

#[test]
fn a_study_that_is_stopped_in_the_middle_is_resumed_and_every_block_is_there_once() {
    let Some(room) = Room::make() else { return };
    let begin = ["--arms", "direct,proxied", "--loads", "50", "--rounds", "3", "--seconds", "0.3"];
    let begin = [&begin[..], &["--commit", "abc"]].concat();
    let child = room.study(&begin).spawn().unwrap();
    let (good, text) = interrupt(child, &room.path("out"), 2);
    assert!(good && text.contains("--resume goes on with it"), "{text}");
    let first = lines(&room.path("out"));
    assert!(first.len() < 6, "it ended before it was stopped: {text}");
    let (good, text) = room.run(&begin);
    assert!(!good && text.contains("there is a study in"), "{text}");
    let (good, text) = room.run(&["--resume", "--commit", "def"]);
    assert!(!good && text.contains("began with commit abc, and this is def"), "{text}");
    let (good, text) = room.run(&["--resume", "--commit", "abc"]);
    assert!(good && text.contains("6/6 round 3"), "{text}");
    let all = lines(&room.path("out"));
    assert_eq!(all[..first.len()], first);
    let store = Store::open(&room.path("out")).unwrap();
    assert_eq!(store.left(), Vec::<Next>::new());
    assert_eq!(store.blocks().len(), 6);
    // Processes of its own in each block, and maybe those of the one that was broken off.
    let starts = std::fs::read_to_string(room.path("out/starts")).unwrap().lines().count();
    assert!((3..=4).contains(&starts), "{starts}");
    for block in store.blocks() {
        assert_eq!((block.seen.due, block.seen.good), (15, 15), "{block:?}");
        let has_process = block.arm == "proxied";
        assert_eq!(block.cpu_us_per_call.is_some_and(|cpu| cpu > 0.0), has_process, "{block:?}");
        assert_eq!(block.rss_kib.is_some_and(|size| size > 1_000), has_process, "{block:?}");
    }
}

#[test]
fn an_arm_that_is_killed_is_told_and_the_study_goes_on() {
    let Some(room) = Room::make() else { return };
    let (good, text) =
        room.run(&["--arms", "dies,direct", "--loads", "50", "--rounds", "1", "--seconds", "5"]);
    assert!(good, "{text}");
    let store = Store::open(&room.path("out")).unwrap();
    let of = |arm: &str| store.blocks().iter().find(|block| block.arm == arm).unwrap();
    let died = |flaw: &Flaw| matches!(flaw, Flaw::ArmDied { told } if told.contains("so it goes"));
    assert!(of("dies").invalid.iter().any(died), "{:?}", of("dies").invalid);
    assert!(text.contains("INVALID"), "{text}");
    assert!(!of("direct").invalid.iter().any(died));
}

#[test]
fn an_arm_that_does_not_tell_its_counts_is_a_flaw_and_no_end_of_the_study() {
    let Some(room) = Room::make() else { return };
    let (good, text) =
        room.run(&["--arms", "mute", "--loads", "50", "--rounds", "2", "--seconds", "0.3"]);
    assert!(good, "{text}");
    let store = Store::open(&room.path("out")).unwrap();
    assert_eq!(store.blocks().len(), 2);
    let flawed = |flaw: &Flaw| matches!(flaw, Flaw::ArmDied { .. });
    assert!(store.blocks().iter().all(|one| one.invalid.iter().any(flawed)), "{text}");
}

#[test]
fn all_arms_are_those_that_can_run_here_and_the_time_they_take_is_told_first() {
    let Some(room) = Room::make() else { return };
    let short = ["--loads", "50", "--rounds", "1", "--seconds", "0.2", "--warm-up", "0.1"];
    let (good, text) = room.run(&[&["--quick", "--arms", "all"], &short[..]].concat());
    assert!(good && text.contains("4 blocks are to be measured: about 1 min"), "{text}");
    let store = Store::open(&room.path("out")).unwrap();
    let plan = &store.head().plan;
    assert_eq!((plan.arms.len(), plan.warm_up), (4, 0.1), "{plan:?}");
    assert_eq!(plan.left_out.keys().collect::<Vec<_>>(), ["lacks"]);
    assert!(text.contains("invalid: mute at 50: 1 of 1 blocks"), "{text}");
}

#[test]
fn what_cannot_be_measured_is_told_before_anything_is_begun() {
    let Some(room) = Room::make() else { return };
    for (arguments, wanted) in [
        (&["--arms", "lacks"][..], "no-such-tool is not here: get it by"),
        (&["--arms", "nothing"], "there are dies, direct, lacks, mute, proxied"),
        (&["--arms", "direct,direct"], "direct@2 is a second one"),
        (&["--arms", "direct", "--loads", "fast"], "500x100KB"),
        (&["--arms", "direct", "--loads", "50,20,50"], "50 is named twice"),
        (&["--arms", "direct", "--rounds", "0"], "nothing to measure"),
        (&["--arms", "direct", "--warm-up=-1"], "0 to 600 seconds"),
        (&["--resume"], "there is no study"),
    ] {
        let (good, text) = room.run(arguments);
        assert!(!good && text.contains(wanted), "{text}");
        assert!(!room.path("out/study.json").exists());
    }
}
