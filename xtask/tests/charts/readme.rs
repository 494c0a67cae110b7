//! The chart's README lists every value: made from `values.yaml` and the schema, and held to them.
//!
//! `BIMETAL_UPDATE=1 cargo test -p xtask --test charts` writes it anew.

use super::root;
use serde_json::Value;
use std::fmt::Write;

const FILE: &str = "charts/bimetal/README.md";

const HEAD: &str = "\
# The chart `bimetal`

An echo server behind a proxy, protected by one policy in the proxy, in its sidecar, in both, or by Istio alone;
and what one watches and loads them with.

```sh
helm install echo charts/bimetal --set mode=native
```

[docs/kubernetes.md](../../docs/kubernetes.md) leads from nothing to a breaker that has tripped; `values.yaml` explains the values at more length. This page is made from it and from `values.schema.json`.

## Values

| value | default | meaning |
|---|---|---|
";

/// One line for each value that can be set, in the order of `values.yaml`.
fn page() -> String {
    let text = std::fs::read_to_string(root().join("charts/bimetal/values.yaml")).unwrap();
    let values: Value = serde_saphyr::from_str(&text).unwrap();
    let schema = std::fs::read(root().join("charts/bimetal/values.schema.json")).unwrap();
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    let mut page = HEAD.to_owned();
    for name in order(&text) {
        rows(&mut page, &name, &values[&name], &schema["properties"][&name]);
    }
    page
}

/// The keys at the beginning of a line.
fn order(text: &str) -> Vec<String> {
    let key = |line: &str| {
        let (name, _) = line.split_once(':')?;
        let is_name = name.chars().all(|one| one.is_ascii_alphanumeric());
        (is_name && !name.is_empty()).then(|| name.to_owned())
    };
    text.lines().filter_map(key).collect()
}

fn rows(page: &mut String, path: &str, value: &Value, schema: &Value) {
    let parts = schema["properties"].as_object();
    match (parts, value.as_object()) {
        // What only passes things on, or is a document of its own, is one value.
        (Some(parts), Some(given)) if !given.is_empty() => {
            for (name, part) in parts.iter().filter(|(name, _)| given.contains_key(*name)) {
                rows(page, &format!("{path}.{name}"), &given[name], part);
            }
        }
        _ => {
            let meaning = schema["description"].as_str();
            let meaning = meaning.unwrap_or_else(|| panic!("{path} has no description"));
            let default = match value {
                Value::Array(items) if !items.is_empty() => "see `values.yaml`".to_owned(),
                Value::Object(items) if items.len() > 1 => "see `values.yaml`".to_owned(),
                Value::String(text) if text.is_empty() => String::new(),
                other => format!("`{other}`"),
            };
            let choices = schema["enum"].as_array().into_iter().flatten();
            let choices: Vec<_> =
                choices.filter_map(Value::as_str).filter(|one| !one.is_empty()).collect();
            let choices = match choices[..] {
                [] => String::new(),
                _ => format!(
                    " One of {}.",
                    choices.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ")
                ),
            };
            writeln!(page, "| `{path}` | {default} | {meaning}{choices} |").unwrap();
        }
    }
}

#[test]
fn the_readme_lists_every_value() {
    let file = root().join(FILE);
    let page = page();
    if std::env::var_os("BIMETAL_UPDATE").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let told = "values have changed: BIMETAL_UPDATE=1 cargo test -p xtask --test charts";
    assert!(std::fs::read_to_string(&file).is_ok_and(|text| text == page), "{told}");
}

/// A value that the schema does not know cannot be set; one that it knows and the values do not have
/// cannot be found.
#[test]
fn schema_and_values_have_the_same_keys() {
    let text = std::fs::read_to_string(root().join("charts/bimetal/values.yaml")).unwrap();
    let values: Value = serde_saphyr::from_str(&text).unwrap();
    let schema = std::fs::read(root().join("charts/bimetal/values.schema.json")).unwrap();
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    compare("", &values, &schema);
    assert_eq!(order(&text).len(), values.as_object().unwrap().len());
}

fn compare(path: &str, values: &Value, schema: &Value) {
    let (Some(values), Some(parts)) = (values.as_object(), schema["properties"].as_object()) else {
        return;
    };
    for (name, value) in values {
        let path = format!("{path}.{name}");
        assert!(parts.contains_key(name), "the schema has no {path}");
        // The policy language's own schema is held by another test.
        if name != "policies" {
            compare(&path, value, &parts[name]);
        }
    }
    // A fault is empty unless it is asked for; `global` is helm's.
    let is_open = path == ".fault";
    for name in parts.keys().filter(|name| !is_open && *name != "global") {
        assert!(values.contains_key(name), "values.yaml has no {path}.{name}");
    }
}

/// What `docs/kubernetes.md` says of values is true of the schema, and its way from nothing has ten commands that name
/// what the chart makes.
#[test]
fn the_page_on_kubernetes_names_what_there_is() {
    let page = std::fs::read_to_string(root().join("docs/kubernetes.md")).unwrap();
    let schema = std::fs::read(root().join("charts/bimetal/values.schema.json")).unwrap();
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    let is_letter = |one: char| one.is_ascii_alphanumeric() || one == '.';
    let mut seen = 0;
    for code in page.split('`').skip(1).step_by(2) {
        for word in code.split([',', ' ']) {
            let path = word.split(['=', '[']).next().unwrap();
            let (first, rest) = path.split_once('.').unwrap_or((path, ""));
            let Some(part) = schema["properties"].get(first).filter(|_| !rest.is_empty()) else {
                continue;
            };
            if !path.chars().all(is_letter) || path.ends_with(".yaml") {
                continue;
            }
            seen += 1;
            // What the schema leaves open (`k6.env`) may have any key.
            let found = rest.split('.').try_fold(part, |part, name| {
                part["properties"]
                    .get(name)
                    .or_else(|| part.get("additionalProperties").filter(|more| more.is_object()))
            });
            let is_open = part["properties"][rest.split('.').next().unwrap()]["properties"]
                .is_null()
                && part["properties"].get(rest.split('.').next().unwrap()).is_some();
            assert!(found.is_some() || is_open, "there is no value {path}");
        }
    }
    assert!(seen > 25, "{seen}");
    let commands = page.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(commands.lines().count(), 10, "{commands}");
    assert!(commands.contains("deploy/echo-bimetal-proxy"));
}
