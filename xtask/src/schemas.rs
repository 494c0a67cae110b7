//! JSON Schemas of the kinds that chart and `istio/` use, for kubeconform: made from what their projects publish
//! as Go modules, since those have a checksum and come from wherever Go gets its modules.
//!
//! Each is strict: a field that the project does not know is a mistake.

use crate::tools::go_module;
use crate::{place, say};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Kubernetes itself: module, version, and the description of its interface.
const KUBERNETES: (&str, &str, &str) =
    ("k8s.io/kubernetes", "v1.33.4", "api/openapi-spec/swagger.json");

/// Its kinds that are used: group (empty for the oldest), version, kind.
const KINDS: [(&str, &str, &str); 12] = [
    ("", "v1", "ConfigMap"),
    ("", "v1", "Namespace"),
    ("", "v1", "Service"),
    ("", "v1", "ServiceAccount"),
    ("apps", "v1", "DaemonSet"),
    ("apps", "v1", "Deployment"),
    ("autoscaling", "v2", "HorizontalPodAutoscaler"),
    ("batch", "v1", "Job"),
    ("networking.k8s.io", "v1", "Ingress"),
    ("networking.k8s.io", "v1", "NetworkPolicy"),
    ("policy", "v1", "PodDisruptionBudget"),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding"),
];

/// Who publishes definitions of custom resources: module, version, and a file or a folder of them.
const CUSTOM: [(&str, &str, &str); 3] = [
    ("istio.io/api", "v1.30.8", "kubernetes/customresourcedefinitions.gen.yaml"),
    (
        "sigs.k8s.io/gateway-api",
        "v1.4.1",
        "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
    ),
    (
        "github.com/prometheus-operator/prometheus-operator",
        "v0.85.0",
        "example/prometheus-operator-crd",
    ),
];

/// Istio itself, whose samples the importer reads in its tests.
const SAMPLES: (&str, &str, &str) =
    ("istio.io/istio", "v0.0.0-20260306174214-6991a379e1fc", "samples");

/// Writes them to `tools/schemas` of the target folder, unless they are there; `KIND-GROUP-VERSION.json`, as
/// kubeconform names them.
///
/// # Errors
/// There is no Go, or a module has not what was in it.
pub fn schemas() -> Result<PathBuf> {
    let folder = place::made("tools/schemas")?;
    let mark = folder.join("made-from.txt");
    let wanted = format!("{KUBERNETES:?} {KINDS:?} {CUSTOM:?} {SAMPLES:?}");
    if std::fs::read_to_string(&mark).is_ok_and(|made| made == wanted) {
        return Ok(folder);
    }
    let since = Instant::now();
    say::begins("schemas", "what Kubernetes, Istio and others know of their kinds");
    let (module, version, file) = KUBERNETES;
    let swagger = read(&go_module(module, version)?.join(file))?;
    let swagger: Value = serde_json::from_str(&swagger).context("Kubernetes' description")?;
    let mut all = built_in(&swagger["definitions"])?;
    for (module, version, inside) in CUSTOM {
        for file in files(&go_module(module, version)?.join(inside))? {
            all.extend(custom(&read(&file)?).with_context(|| file.display().to_string())?);
        }
    }
    for (name, schema) in all {
        let file = folder.join(name);
        std::fs::write(&file, schema.to_string())
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    let (module, version, inside) = SAMPLES;
    let samples = folder.join("istio-samples.yaml");
    std::fs::write(&samples, gathered(&go_module(module, version)?.join(inside))?)
        .with_context(|| format!("cannot write {}", samples.display()))?;
    std::fs::write(&mark, wanted).context("cannot say what the schemas are made from")?;
    say::ended("schemas", "written", since.elapsed());
    Ok(folder)
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// All YAML files below a folder as one, each a document or several.
fn gathered(folder: &Path) -> Result<String> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort_unstable();
    let mut all = String::new();
    for path in paths {
        if path.is_dir() {
            all += &gathered(&path)?;
        } else if path.extension().is_some_and(|end| end == "yaml") {
            let text = read(&path)?;
            // Of the others there are many, and some are templates of other programs.
            if ["kind: DestinationRule", "kind: VirtualService"]
                .iter()
                .any(|kind| text.contains(kind))
            {
                all += &format!("---\n{text}\n");
            }
        }
    }
    Ok(all)
}

/// The file, or all YAML files of the folder.
fn files(place: &Path) -> Result<Vec<PathBuf>> {
    if place.is_file() {
        return Ok(vec![place.to_path_buf()]);
    }
    let entries =
        std::fs::read_dir(place).with_context(|| format!("cannot list {}", place.display()))?;
    let files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(files.into_iter().filter(|file| file.extension().is_some_and(|end| end == "yaml")).collect())
}

/// As kubeconform names a schema: of a group its first word.
fn file_name(group: &str, version: &str, kind: &str) -> String {
    let group = group.split('.').next().filter(|word| !word.is_empty());
    let group = group.map(|word| format!("-{word}")).unwrap_or_default();
    format!("{}{group}-{version}.json", kind.to_lowercase())
}

/// One schema for each of [`KINDS`], with the definitions that it refers to.
fn built_in(definitions: &Value) -> Result<BTreeMap<String, Value>> {
    let all = definitions.as_object().context("Kubernetes' description has no definitions")?;
    let mut schemas = BTreeMap::new();
    for (group, version, kind) in KINDS {
        let wanted = json!({ "group": group, "kind": kind, "version": version });
        let is_it = |one: &Value| {
            let names = one["x-kubernetes-group-version-kind"].as_array();
            names.is_some_and(|names| names.len() == 1 && names[0] == wanted)
        };
        let Some((name, _)) = all.iter().find(|(_, one)| is_it(one)) else {
            bail!("Kubernetes' description has no {group}/{version} {kind}");
        };
        let mut used = BTreeSet::new();
        references(name, definitions, &mut used);
        let own: BTreeMap<_, _> =
            used.iter().map(|name| (name, definition(name, &all[name]))).collect();
        let schema = json!({ "$ref": format!("#/definitions/{name}"), "definitions": own });
        schemas.insert(file_name(group, version, kind), schema);
    }
    Ok(schemas)
}

/// The names of a definition and of all that it refers to.
fn references(name: &str, definitions: &Value, used: &mut BTreeSet<String>) {
    if !used.insert(name.to_owned()) {
        return;
    }
    let mut names = Vec::new();
    visit(&definitions[name], &mut |value| {
        let name = value["$ref"].as_str().and_then(|to| to.strip_prefix("#/definitions/"));
        names.extend(name.map(str::to_owned));
    });
    for name in names {
        references(&name, definitions, used);
    }
}

/// A definition, made strict. Two of them are said to be texts and are numbers too.
fn definition(name: &str, own: &Value) -> Value {
    let is_number_too =
        ["intstr.IntOrString", "resource.Quantity"].iter().any(|end| name.ends_with(end));
    if is_number_too {
        return json!({ "type": ["string", "number"] });
    }
    strict(own.clone())
}

/// Calls `each` with a value and all within it.
fn visit(value: &Value, each: &mut impl FnMut(&Value)) {
    each(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| visit(item, each)),
        Value::Object(fields) => fields.values().for_each(|field| visit(field, each)),
        _ => {}
    }
}

/// The same schema, which takes no field that it does not name.
fn strict(mut schema: Value) -> Value {
    let is_open = schema["x-kubernetes-preserve-unknown-fields"] == true;
    if let Some(fields) = schema.as_object_mut() {
        if fields.get("properties").is_some_and(Value::is_object) && !is_open {
            fields.entry("additionalProperties").or_insert(json!(false));
        }
        for (name, field) in fields.iter_mut() {
            match name.as_str() {
                // A map of names to schemas, of which a name may be any of these words.
                "properties" => {
                    for property in field.as_object_mut().into_iter().flatten() {
                        *property.1 = strict(property.1.take());
                    }
                }
                "items" | "additionalProperties" => *field = strict(field.take()),
                // In `anyOf` and its like only a part of the fields is named.
                _ => {}
            }
        }
    }
    schema
}

/// One schema for each version of each custom resource in a file.
fn custom(text: &str) -> Result<BTreeMap<String, Value>> {
    let mut schemas = BTreeMap::new();
    for part in text.split("\n---") {
        let resource: Value = serde_saphyr::from_str(part).context("not readable as YAML")?;
        if resource["kind"] != "CustomResourceDefinition" {
            continue;
        }
        let spec = &resource["spec"];
        let (group, kind) = (&spec["group"], &spec["names"]["kind"]);
        let (group, kind) = (group.as_str().context("group")?, kind.as_str().context("kind")?);
        for version in spec["versions"].as_array().into_iter().flatten() {
            let mut schema = strict(version["schema"]["openAPIV3Schema"].clone());
            for name in ["apiVersion", "kind"] {
                schema["properties"][name] = json!({ "type": "string" });
            }
            schema["properties"]["metadata"] = json!({ "type": "object" });
            let version = version["name"].as_str().context("version")?;
            schemas.insert(file_name(group, version, kind), schema);
        }
    }
    Ok(schemas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_kubeconform_asks_for() {
        assert_eq!(file_name("", "v1", "Service"), "service-v1.json");
        assert_eq!(file_name("apps", "v1", "Deployment"), "deployment-apps-v1.json");
        let route = file_name("gateway.networking.k8s.io", "v1", "HTTPRoute");
        assert_eq!(route, "httproute-gateway-v1.json");
    }

    #[test]
    fn a_schema_takes_only_what_it_names() {
        let open = json!({ "properties": {}, "x-kubernetes-preserve-unknown-fields": true });
        let schema = strict(json!({
            "properties": {
                "items": { "type": "array", "items": { "properties": { "a": {} } } },
                "open": open,
                "map": { "type": "object", "additionalProperties": { "properties": { "b": {} } } },
            },
            "oneOf": [{ "properties": { "map": {} } }],
        }));
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["items"]["items"]["additionalProperties"], false);
        assert_eq!(schema["properties"]["open"], open);
        assert_eq!(
            schema["properties"]["map"]["additionalProperties"]["additionalProperties"],
            false
        );
        assert_eq!(schema["oneOf"][0]["additionalProperties"], Value::Null);
    }

    #[test]
    fn a_kind_brings_what_it_refers_to_and_no_more() {
        let definitions = json!({
            "a": { "properties": { "b": { "$ref": "#/definitions/b" } } },
            "b": { "items": { "$ref": "#/definitions/a" } },
            "c": {},
        });
        let mut used = BTreeSet::new();
        references("a", &definitions, &mut used);
        assert_eq!(used.into_iter().collect::<Vec<_>>(), ["a", "b"]);
        let quantity = definition("io.k8s.apimachinery.pkg.api.resource.Quantity", &json!({}));
        assert_eq!(quantity["type"], json!(["string", "number"]));
    }

    #[test]
    fn a_custom_resource_has_a_schema_for_each_version() {
        let text = "kind: CustomResourceDefinition\nspec:\n  group: a.example\n  names: {kind: Thing}\n  versions:\n  \
             - name: v1\n    schema: {openAPIV3Schema: {properties: {spec: {properties: {x: {}}}}}}\n---\nkind: Other\n";
        let schemas = custom(text).unwrap();
        let thing = &schemas["thing-a-v1.json"];
        assert_eq!(schemas.len(), 1);
        assert_eq!(thing["properties"]["spec"]["additionalProperties"], false);
        assert_eq!(thing["properties"]["kind"]["type"], "string");
    }
}
