//! The configuration file while it is written, replaced and linked to: half a file is never taken.

mod proxy_support;

use proxy_support::metrics::Metrics;
use proxy_support::program::{Program, command};
use proxy_support::{Client, Upstream, file, get, ok, wait_for};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

/// Longer than three looks, which are a second apart: what is not taken by then is not taken.
const LOOKS: Duration = Duration::from_millis(4500);

/// A directory of its own for one test; removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bimetal-file-{test}-{}", std::process::id()));
        // What a run before left behind.
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A whole file, with a policy of that name; each of its lines may be its last.
fn text(upstream: &Upstream, policy: &str) -> String {
    let whole = file(upstream.address, "");
    let (head, routes) = whole.split_once("routes:").unwrap();
    format!("{head}policies: [{{name: {policy}, scope: policy}}]\nroutes:{routes}")
}

/// The names of the policies in force.
fn in_force(program: &Program) -> Vec<String> {
    let page = Client::connect(program.admin).ask(&get("/policies")).text();
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    let policies = page["policies"].as_array().unwrap();
    policies.iter().map(|policy| policy["name"].as_str().unwrap().to_owned()).collect()
}

/// How many reloads took effect, and how many were refused.
fn reloads(program: &Program) -> (f64, f64) {
    let metrics = Metrics::of(program.admin);
    let count = |result| metrics.sum("bimetal_reloads_total", &[("result", result)]);
    (count("applied"), count("refused"))
}

fn comes_in_force(program: &Program, policy: &str) {
    program.log_with("is in force");
    assert_eq!(in_force(program), [policy]);
    assert_eq!(program.status(program.listen, "/"), 200);
}

/// For a time in which something wrong would happen, nothing is logged.
fn nothing_is_taken(program: &Program) {
    match program.log.recv_timeout(LOOKS) {
        Err(RecvTimeoutError::Timeout) => {}
        line => panic!("{line:?}"),
    }
}

/// Begins to write `new`; gives what is to follow.
fn half_written(path: &Path, new: &str) -> (File, String) {
    let (first, last) = new.split_at(new.find("routes:").unwrap());
    let mut writer = File::create(path).unwrap();
    writer.write_all(first.as_bytes()).unwrap();
    (writer, last.to_owned())
}

#[test]
fn a_file_that_is_still_written_is_not_taken() {
    let upstream = Upstream::answering(ok("fine"));
    let folder = Folder::new("torn");
    let path = folder.join("proxy.yaml");
    fs::write(&path, text(&upstream, "one")).unwrap();
    let program = Program::start(&path, &[]);
    let (mut writer, last) = half_written(&path, &text(&upstream, "two"));
    nothing_is_taken(&program);
    assert_eq!(in_force(&program), ["one"]);
    assert_eq!(program.status(program.listen, "/"), 200);
    writer.write_all(last.as_bytes()).unwrap();
    drop(writer);
    comes_in_force(&program, "two");

    // In several goes, each closed.
    let new = text(&upstream, "three");
    let (first, last) = new.split_at(new.find("routes:").unwrap());
    fs::write(&path, first).unwrap();
    OpenOptions::new().append(true).open(&path).unwrap().write_all(last.as_bytes()).unwrap();
    comes_in_force(&program, "three");

    // Written and the same: nothing changes, and nobody is told.
    fs::write(&path, &new).unwrap();
    nothing_is_taken(&program);
    assert_eq!(reloads(&program), (2.0, 0.0));
}

#[test]
fn a_signal_while_it_is_written_waits_for_its_end() {
    let upstream = Upstream::answering(ok("fine"));
    let folder = Folder::new("signal");
    let path = folder.join("proxy.yaml");
    fs::write(&path, text(&upstream, "one")).unwrap();
    let program = Program::start(&path, &[]);
    let (mut writer, last) = half_written(&path, &text(&upstream, "two"));
    wait_for("the notice", || {
        program.signal("HUP");
        // Before the system told of the write it was read: half a file, which a signal may ask for.
        (program.log.recv_timeout(Duration::from_secs(5)).unwrap().contains("is being written"))
            .then_some(())
    });
    writer.write_all(last.as_bytes()).unwrap();
    drop(writer);
    // Half of it, where a signal had it read, names the same policy; only the whole has a route.
    wait_for("the whole file", || {
        (in_force(&program) == ["two"] && program.status(program.listen, "/") == 200).then_some(())
    });
}

#[test]
fn a_writer_that_never_closes_is_told_of_once_a_signal_reads_it() {
    let upstream = Upstream::answering(ok("fine"));
    let folder = Folder::new("open");
    let path = folder.join("proxy.yaml");
    fs::write(&path, text(&upstream, "one")).unwrap();
    let program = Program::start(&path, &[]);
    let mut writer = File::create(&path).unwrap();
    writer.write_all(text(&upstream, "two").as_bytes()).unwrap();
    wait_for("the notice", || {
        program.signal("HUP");
        let line = program.log.recv_timeout(Duration::from_secs(5)).unwrap();
        line.contains("is being written").then_some(())
    });
    // Three looks saw the same, and somebody asked for it.
    wait_for("the file", || (in_force(&program) == ["two"]).then_some(()));
    drop(writer);
}

/// What Kubernetes makes of a ConfigMap: links to a folder that is swapped.
#[test]
fn links_that_are_swapped_are_followed() {
    let upstream = Upstream::answering(ok("fine"));
    let folder = Folder::new("links");
    let version = |number: usize, policy: &str| {
        let real = folder.join(&format!("..2026_{number}"));
        fs::create_dir(&real).unwrap();
        fs::write(real.join("proxy.yaml"), text(&upstream, policy)).unwrap();
        symlink(real.file_name().unwrap(), folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    };
    version(1, "one");
    let path = folder.join("proxy.yaml");
    symlink("..data/proxy.yaml", &path).unwrap();
    let program = Program::start(&path, &[]);
    version(2, "two");
    comes_in_force(&program, "two");
    fs::remove_dir_all(folder.join("..2026_1")).unwrap();
    version(3, "three");
    comes_in_force(&program, "three");

    // A link that is taken away and made anew, to somewhere else.
    let elsewhere = folder.join("elsewhere.yaml");
    fs::write(&elsewhere, text(&upstream, "four")).unwrap();
    fs::remove_file(&path).unwrap();
    symlink(&elsewhere, &path).unwrap();
    comes_in_force(&program, "four");
    fs::write(&elsewhere, text(&upstream, "five")).unwrap();
    comes_in_force(&program, "five");
}

#[test]
fn a_folder_that_is_made_anew_is_watched_again() {
    let upstream = Upstream::answering(ok("fine"));
    let folder = Folder::new("folder");
    let inner = folder.join("inner");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("proxy.yaml");
    fs::write(&path, text(&upstream, "one")).unwrap();
    let program = Program::start(&path, &[]);
    fs::remove_dir_all(&inner).unwrap();
    fs::create_dir(&inner).unwrap();
    fs::write(&path, text(&upstream, "two")).unwrap();
    comes_in_force(&program, "two");
    // By rename, again and again.
    for policy in ["three", "four", "five"] {
        let beside = inner.join("beside");
        fs::write(&beside, text(&upstream, policy)).unwrap();
        fs::rename(&beside, &path).unwrap();
        comes_in_force(&program, policy);
    }
}

#[test]
fn an_empty_file_changes_nothing() {
    let upstream = Upstream::answering(ok("fine"));
    let folder = Folder::new("empty");
    let path = folder.join("proxy.yaml");
    fs::write(&path, text(&upstream, "one")).unwrap();
    let program = Program::start(&path, &[]);
    fs::write(&path, "").unwrap();
    program.log_with("is wrong and is not used");
    assert_eq!(program.log_with("proxy.yaml: "), "document: null is not an object");
    assert_eq!(in_force(&program), ["one"]);
    assert_eq!(reloads(&program), (0.0, 1.0));
    // What cannot be read is tried again when that is mended.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    program.log_with("cannot be read and is not used");
    assert!(program.log_with("proxy.yaml: ").starts_with("is a directory"));
    fs::remove_dir(&path).unwrap();
    fs::write(&path, text(&upstream, "two")).unwrap();
    comes_in_force(&program, "two");
    assert_eq!(reloads(&program), (1.0, 2.0));
}

#[test]
fn what_has_no_end_is_not_read() {
    let folder = Folder::new("endless");
    let pipe = folder.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let huge = folder.join("huge");
    File::create(&huge).unwrap().set_len(1 << 40).unwrap();
    for (path, told) in [
        (Path::new("/dev/zero"), "is a device; name a plain file"),
        (&pipe, "is a named pipe; name a plain file"),
        (&folder.0, "is a directory; name a file in it"),
        (&huge, "is longer than 4 MiB"),
    ] {
        let output = command(path).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        let wanted = format!("bimetal: {}: {told}", path.display());
        assert_eq!((output.status.code(), error.starts_with(&wanted)), (Some(2), true), "{error}");
    }
}
