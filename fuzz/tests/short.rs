//! A short run of every target, and that the driver would find what it is to find.

use bimetal_fuzz::run::{Plan, run};
use bimetal_fuzz::{Behaviour, TARGETS, Target, home};
use std::fs;

/// Inputs over all targets.
const INPUTS: u64 = 120_000;

// One test: a run has the process's panic hook for itself.
#[test]
fn every_target_keeps_its_promises_and_broken_ones_are_found() {
    let reports = run(&Plan { targets: TARGETS.to_vec(), inputs: INPUTS, seed: 1 })
        .expect("the corpora can be read");
    assert_eq!(reports.iter().map(|report| report.inputs).sum::<u64>(), INPUTS);
    for report in &reports {
        assert!(report.crashes.is_empty(), "{report:#?}");
        assert!(report.behaviours > 5, "{report:?} is not deep");
    }

    fn broken(bytes: &[u8]) -> Behaviour {
        assert!(bytes.len() < 4 || !bytes.starts_with(b"ab"), "found");
        Behaviour(bytes.iter().take_while(|byte| b"ab".contains(byte)).count() as u64)
    }
    let reports = run(&Plan {
        targets: vec![Target { name: "broken", act: broken, words: &["a", "b"], corpus: &[] }],
        inputs: 20_000,
        seed: 1,
    })
    .expect("there is no corpus to read");
    let [(file, message)] = reports[0].crashes.as_slice() else {
        panic!("one crash is expected: {reports:?}");
    };
    let saved = fs::read(file).expect("it is saved");
    fs::remove_file(file).expect("it can be removed");
    let _ = fs::remove_dir(home().join("crashes"));
    assert!(message.contains("found") && saved.starts_with(b"ab"));
}

/// Each target begins with real inputs.
#[test]
fn the_corpus_is_there_and_small() {
    for target in TARGETS {
        let corpus = target.corpus().expect("it can be read");
        assert!(corpus.len() > 2, "{}", target.name);
        let size: usize = corpus.iter().map(Vec::len).sum();
        assert!(size < 256 * 1024, "{}: {size} bytes", target.name);
    }
}
