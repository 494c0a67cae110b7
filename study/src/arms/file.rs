//! An arm's file.

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// How deep arms may be like one another.
const DEEPEST: usize = 8;

/// One arm, as its file says. Text may hold placeholders, see `fill.rs` beside this.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// The file's name without its end.
    #[serde(skip)]
    pub name: String,
    /// What it is, in a line for people.
    pub about: String,
    /// An arm from which everything is taken that this file does not say.
    pub like: Option<String>,
    /// An arm between this one and the server: what this one sends goes through it.
    pub behind: Option<String>,
    /// The same, read.
    #[serde(skip)]
    pub next: Option<Box<Arm>>,
    /// The arm below it on the ladder of cost.
    pub over: Option<String>,
    /// What it has that the arm below has not.
    pub step: Option<String>,
    /// Tools that it cannot be without.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Texts for placeholders of the processes.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
    /// Values that are the fields of the `cluster` in a file of JSON beside the arms, each ending in a
    /// comma: what istiod makes of a rule, as `cargo xtask study translate` keeps it.
    #[serde(default)]
    pub clusters: BTreeMap<String, String>,
    /// Its processes in the order of their start. Calls go to the port `entry`; without processes
    /// they go straight to the server.
    #[serde(default)]
    pub processes: Vec<Process>,
    /// Threads of its processes whose CPU time is no part of a call's, and is told beside it: one
    /// that writes traces, say.
    #[serde(default)]
    pub apart: Vec<String>,
    /// Whether its processes write every call's spans as lines of OTLP/JSON; the server behind it
    /// then does so too.
    #[serde(default)]
    pub traced: bool,
    /// A page of metrics that tells how many calls were admitted and settled: `http://…`, or of a
    /// release a port of the proxy's pod and a path, `9001/metrics`.
    pub metrics: Option<String>,
    /// Values of the chart, for an arm that is a release of it in a cluster.
    #[serde(default)]
    pub release: serde_json::Value,
    /// Whether calls to a release go to its server, past its proxy.
    #[serde(default)]
    pub straight: bool,
}

/// One process of an arm.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// The program.
    pub program: String,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// Variables of its environment; an empty one is not set.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Files that are written into its folder before.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

/// Every arm of a folder, by name; folders within are not looked into.
///
/// # Errors
/// A file cannot be read, says something unknown, or is like, behind or over an arm that is not there.
pub fn all(folder: &Path) -> Result<BTreeMap<String, Arm>> {
    let mut written = BTreeMap::new();
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("no arms in {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|end| end != "yaml") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let mut arm: Arm = serde_saphyr::from_str(&text)
            .map_err(|error| anyhow!("{}: {error}", path.display()))?;
        for (value, file) in &arm.clusters {
            let text =
                fields(&folder.join(file)).with_context(|| format!("arm {name}: {value}"))?;
            arm.values.insert(value.clone(), text);
        }
        written.insert(name.clone(), Arm { name, ..arm });
    }
    let whole = written.keys().map(|name| Ok((name.clone(), placed(&written, name, DEEPEST)?)));
    let whole: BTreeMap<String, Arm> = whole.collect::<Result<_>>()?;
    for arm in whole.values() {
        let below = |arm: &&Arm| arm.over.as_ref().and_then(|over| whole.get(over));
        // One step more than there are arms is one arm twice.
        if std::iter::successors(Some(arm), below).nth(whole.len()).is_some() {
            bail!("arm {}: the arms below it form a cycle", arm.name);
        }
        if let Some(over) = arm.over.as_ref().filter(|over| !whole.contains_key(*over)) {
            bail!("arm {} is over {over}, which is not there", arm.name);
        }
    }
    Ok(whole)
}

/// The fields of the `cluster` in a file, as a part of a list of fields.
fn fields(file: &Path) -> Result<String> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let kept: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))?;
    let cluster = kept["cluster"].as_object();
    let cluster = cluster.with_context(|| format!("{} has no cluster", file.display()))?;
    let fields = cluster.iter().map(|(field, value)| format!("\"{field}\": {value}, "));
    Ok(fields.collect())
}

/// An arm with those behind it.
fn placed(written: &BTreeMap<String, Arm>, name: &str, deepest: usize) -> Result<Arm> {
    let mut arm = whole(written, name, DEEPEST)?;
    if let Some(behind) = &arm.behind {
        if deepest == 0 {
            bail!("arm {name} is behind itself");
        }
        let next = placed(written, behind, deepest - 1)
            .with_context(|| format!("{behind} is behind arm {name}"))?;
        arm.next = Some(Box::new(next));
    }
    Ok(arm)
}

/// An arm with what it takes from the arms it is like. Values are taken one by one, and so are
/// needs and a release's values; everything else as a whole.
fn whole(written: &BTreeMap<String, Arm>, name: &str, deepest: usize) -> Result<Arm> {
    let own = written.get(name).ok_or_else(|| anyhow!("there is no arm {name}"))?.clone();
    let Some(like) = &own.like else {
        return Ok(own);
    };
    if deepest == 0 {
        bail!("arm {name} is like itself");
    }
    let other =
        whole(written, like, deepest - 1).with_context(|| format!("arm {name} is like {like}"))?;
    let mut values = other.values;
    values.extend(own.values);
    let mut release = other.release;
    merge(&mut release, &own.release);
    let mut needs = other.needs;
    for need in own.needs {
        if !needs.contains(&need) {
            needs.push(need);
        }
    }
    Ok(Arm {
        values,
        needs,
        processes: if own.processes.is_empty() { other.processes } else { own.processes },
        metrics: own.metrics.or(other.metrics),
        traced: own.traced || other.traced,
        straight: own.straight || other.straight,
        release,
        apart: if own.apart.is_empty() { other.apart } else { own.apart },
        behind: own.behind.or(other.behind),
        ..own
    })
}

/// Puts `more` into `values`, leaf by leaf. Nothing (`null`) says nothing.
pub fn merge(values: &mut serde_json::Value, more: &serde_json::Value) {
    use serde_json::Value;
    match (values, more) {
        (_, Value::Null) => {}
        (Value::Object(values), Value::Object(more)) => {
            for (key, value) in more {
                merge(values.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (values, more) => *values = more.clone(),
    }
}

impl Arm {
    /// Everything that it needs, with what is behind it.
    pub fn tools(&self) -> Vec<&str> {
        let behind = self.next.as_deref().map(Self::tools).unwrap_or_default();
        self.needs.iter().map(String::as_str).chain(behind).collect()
    }
}

/// The policy of every arm with a policy, in one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The whole document.
    pub document: String,
    /// Its list of policies.
    pub list: String,
}

/// The policy that lies beside the arms.
///
/// # Errors
/// The file is not there or is no JSON.
pub fn policy(folder: &Path) -> Result<Policy> {
    let file = folder.join("shared/policy.json");
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let document: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))?;
    Ok(Policy { list: document["policies"].to_string(), document: document.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arms(texts: &[(&str, &str)]) -> Result<BTreeMap<String, Arm>> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in texts {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        all(folder.path())
    }

    const BASE: &str = "about: a base\nneeds: [sh]\nvalues: {a: '1', b: '2'}\n\
                        processes: [{program: '${sh}'}]\nmetrics: http://here\n";

    #[test]
    fn an_arm_takes_what_it_does_not_say_itself() {
        let found = arms(&[
            ("base.yaml", BASE),
            ("last.yaml", "about: last\nneeds: [ls]\n"),
            ("own.yaml", "about: own\nlike: base\nbehind: last\nover: base\nneeds: [cat, sh]\nvalues: {b: '3'}\n"),
            ("notes.txt", "no arm"),
        ])
        .unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["base", "last", "own"]);
        let own = &found["own"];
        assert_eq!((own.name.as_str(), own.about.as_str()), ("own", "own"));
        assert_eq!(own.needs, ["sh", "cat"]);
        assert_eq!((own.values["a"].as_str(), own.values["b"].as_str()), ("1", "3"));
        assert_eq!(own.processes, found["base"].processes);
        assert_eq!(own.metrics.as_deref(), Some("http://here"));
        assert_eq!(own.next.as_ref().unwrap().name, "last");
        assert_eq!(own.tools(), ["sh", "cat", "ls"]);
    }

    #[test]
    fn an_arm_takes_the_fields_of_a_kept_cluster() {
        let kept =
            r#"{"istiod": "1", "cluster": {"a": {"b": 1}, "c": "2s"}, "where": {"name": "x"}}"#;
        let own =
            "about: own\nvalues: {limits: 'old', other: 'o'}\nclusters: {limits: kept.json}\n";
        let found = arms(&[("own.yaml", own), ("kept.json", kept)]).unwrap();
        assert_eq!(found["own"].values["limits"], r#""a": {"b":1}, "c": "2s", "#);
        assert_eq!(found["own"].values["other"], "o");
        let like = "about: like\nlike: own\n";
        let found = arms(&[("own.yaml", own), ("like.yaml", like), ("kept.json", kept)]).unwrap();
        assert_eq!(found["like"].values, found["own"].values);
        for (kept, told) in [("{", "no JSON"), ("{}", "has no cluster")] {
            let error = arms(&[("own.yaml", own), ("kept.json", kept)]).unwrap_err();
            assert!(format!("{error:#}").contains(told), "{error:#}");
        }
        let error = format!("{:#}", arms(&[("own.yaml", own)]).unwrap_err());
        assert!(error.contains("arm own: limits") && error.contains("cannot read"), "{error}");
    }

    #[test]
    fn a_release_takes_the_values_that_it_does_not_say_leaf_by_leaf() {
        let base =
            "about: a base\nrelease: {mode: none, mesh: {inject: 'false', concurrency: 1}}\n";
        let own = "about: own\nlike: base\nrelease: {mesh: {inject: 'true'}}\n";
        let bare = "about: bare\nlike: base\nstraight: true\n";
        let found = arms(&[("base.yaml", base), ("own.yaml", own), ("bare.yaml", bare)]).unwrap();
        let release = &found["own"].release;
        assert_eq!(release["mode"], "none");
        assert_eq!(release["mesh"], serde_json::json!({"inject": "true", "concurrency": 1}));
        assert_eq!(found["bare"].release, found["base"].release);
        assert!(found["bare"].straight && !found["own"].straight);
    }

    #[test]
    fn what_an_arm_cannot_be_is_told_with_its_file() {
        for (texts, told) in [
            (&[("a.yaml", "about: a\nlike: b\n")][..], "there is no arm b"),
            (&[("a.yaml", "about: a\nlike: a\n")], "like itself"),
            (&[("a.yaml", "about: a\nover: b\n")], "over b, which is not there"),
            (&[("a.yaml", "about: a\nover: a\n")], "form a cycle"),
            (
                &[("a.yaml", "about: a\nover: b\n"), ("b.yaml", "about: b\nover: a\n")],
                "form a cycle",
            ),
            (&[("a.yaml", "about: a\nbehind: b\n")], "there is no arm b"),
            (&[("a.yaml", "about: a\nbehind: a\n")], "behind itself"),
            (&[("a.yaml", "about: a\nprogramm: x\n")], "programm"),
            (&[("a.yaml", "step: nothing\n")], "about"),
        ] {
            let error = format!("{:#}", arms(texts).unwrap_err());
            assert!(error.contains(told) && error.contains('a'), "{error}");
        }
    }
}
