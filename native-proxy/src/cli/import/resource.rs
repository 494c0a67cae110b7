//! Resources in files, as kubectl reads and prints them.

use super::fields::{Field, Kind};
use super::{Import, Remark};
use serde_json::Value;

/// A resource of Istio that policies can be made of.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) spec: Value,
}

impl Resource {
    /// Kind, namespace and name.
    pub(super) fn title(&self) -> String {
        format!("{} {}/{}", self.kind.name(), self.namespace, self.name)
    }
}

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) resources: Vec<Resource>,
    /// What else is in it.
    pub(super) others: Vec<Remark>,
}

/// Reads one or several documents of YAML, or JSON; also a `List` of resources.
///
/// # Errors
/// It is neither, or something in it is no resource; the message names the file.
pub(super) fn read(text: &str, file: &str, namespace: &str) -> Result<Found, String> {
    let documents: Vec<Value> = match serde_json::from_str(text) {
        Ok(document) => vec![document],
        Err(_) => serde_saphyr::from_multiple(text)
            .map_err(|error| format!("{file}: not readable as YAML: {error}"))?,
    };
    let mut found = Found::default();
    for document in documents.iter().filter(|document| !document.is_null()) {
        take(document, file, namespace, &mut found)?;
    }
    Ok(found)
}

fn take(document: &Value, file: &str, namespace: &str, found: &mut Found) -> Result<(), String> {
    let told = || format!("{file}: a document has no `apiVersion` and `kind`: it is no resource");
    let version = document["apiVersion"].as_str().ok_or_else(told)?;
    let kind = document["kind"].as_str().ok_or_else(told)?;
    if kind.ends_with("List") {
        let items = document["items"]
            .as_array()
            .ok_or_else(|| format!("{file}: a {kind} has no `items`"))?;
        return items.iter().try_for_each(|item| take(item, file, namespace, found));
    }
    let metadata = &document["metadata"];
    let name = metadata["name"].as_str().unwrap_or("unnamed").to_owned();
    let namespace = metadata["namespace"].as_str().unwrap_or(namespace).to_owned();
    let is_istios = version.starts_with("networking.istio.io/");
    let Some(known) = Kind::named(kind).filter(|_| is_istios) else {
        let what = "is not looked at: policies are made of DestinationRules and VirtualServices"
            .to_owned();
        found.others.push(Remark {
            resource: format!("{kind} {namespace}/{name}"),
            field: String::new(),
            what,
        });
        return Ok(());
    };
    let spec = document["spec"].clone();
    let resource = Resource { kind: known, namespace, name, spec };
    let is_named = match known {
        Kind::DestinationRule => resource.spec["host"].is_string(),
        Kind::VirtualService => {
            resource.spec["hosts"].as_array().is_some_and(|hosts| !hosts.is_empty())
        }
    };
    // One that another VirtualService delegates to has no hosts of its own.
    if !is_named && known == Kind::DestinationRule {
        return Err(format!("{file}: {} has no spec.host", resource.title()));
    }
    found.resources.push(resource);
    Ok(())
}

/// Tells of every field that nothing becomes of, and of those that nobody knows.
pub(super) fn leftovers(resource: &Resource, import: &mut Import) {
    visit(resource, &resource.spec, "", "", import);
}

/// `path` has the numbers of list items, `general` has `[]` in their place.
fn visit(resource: &Resource, value: &Value, path: &str, general: &str, import: &mut Import) {
    if let Some(field) = Field::of(resource.kind, general) {
        if field.to.is_empty() {
            import.remark(resource, path, field.said);
        }
        return;
    }
    if !general.is_empty() && !Field::is_above(resource.kind, general) {
        import.remark(resource, path, "nothing is known of this field");
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let under = |path: &str| {
                    if path.is_empty() { name.clone() } else { format!("{path}.{name}") }
                };
                visit(resource, field, &under(path), &under(general), import);
            }
        }
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                visit(
                    resource,
                    item,
                    &format!("{path}[{number}]"),
                    &format!("{general}[]"),
                    import,
                );
            }
        }
        _ => {}
    }
}
