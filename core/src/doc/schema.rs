//! JSON Schema (2020-12) of a document, made from its table.

use super::problem::decimal;
use super::table::{Field, Form, Keyword, Kind, MAX_ITEMS, Need, Object, Rule, Support};
use super::units::{DURATION_FORM, DURATION_UNITS, SIZE_FORM, SIZE_UNITS, with_unit};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde_json::{Map, Value, json};

/// The schema of a document that is described by `object`.
///
/// What no host supports yet is in it by name, because `unsupported: skip` makes it valid; its
/// description says so. Rules between distant fields are not in it: the checker knows more.
pub fn schema(object: &'static Object, title: &str) -> Value {
    let mut schema = of_object(object);
    schema.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    schema.insert("title".into(), title.into());
    Value::Object(schema)
}

fn of_object(object: &'static Object) -> Map<String, Value> {
    let own = object.fields.iter().map(|field| (field.name.into(), of_field(field)));
    let others = object.fields.iter().flat_map(|field| {
        field.aliases.iter().map(|alias| {
            let mut schema = of_field(field);
            schema.remove("default");
            schema.insert("description".into(), format!("The same as `{}`.", field.name).into());
            (String::from(*alias), schema)
        })
    });
    let properties: Map<_, _> =
        own.chain(others).map(|(name, schema)| (name, Value::Object(schema))).collect();
    let required: Vec<_> = object
        .fields
        .iter()
        .filter(|field| matches!(field.need, Need::Required))
        .map(|field| field.name)
        .collect();
    let mut schema = Map::new();
    schema.insert("type".into(), "object".into());
    schema.insert("description".into(), object.doc.into());
    schema.insert("properties".into(), properties.into());
    schema.insert("additionalProperties".into(), false.into());
    if !required.is_empty() {
        schema.insert("required".into(), required.into());
    }
    let rules = object.rules.iter().map(|rule| of_rule(*rule));
    let aliased = object.fields.iter().filter(|field| !field.aliases.is_empty());
    let once = aliased.map(|field| at_most_one(&[&[field.name], field.aliases].concat()));
    let rules: Vec<_> = rules.chain(once).collect();
    if !rules.is_empty() {
        schema.insert("allOf".into(), rules.into());
    }
    schema
}

fn of_rule(rule: Rule) -> Value {
    match rule {
        Rule::AtLeastOne(names) => json!({"anyOf": each(names)}),
        Rule::ExactlyOne(names) => json!({"oneOf": each(names)}),
        Rule::AtMostOne(names) => at_most_one(names),
    }
}

fn at_most_one(names: &[&str]) -> Value {
    let none = json!({"not": {"anyOf": each(names)}});
    json!({"oneOf": each(names).into_iter().chain([none]).collect::<Vec<_>>()})
}

fn each(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| json!({"required": [name]})).collect()
}

fn of_field(field: &'static Field) -> Map<String, Value> {
    let mut schema = of_kind(&field.kind);
    let mut doc = String::from(field.doc);
    doc.push_str(&support_note(field.support));
    match field.need {
        Need::Default(json) => {
            if let Ok(default) = serde_json::from_str(json) {
                schema.insert("default".into(), default);
            }
        }
        Need::Computed(what) => doc.push_str(&format!(" Default: {what}.")),
        Need::Required | Need::Optional => {}
    }
    schema.insert("description".into(), doc.into());
    schema
}

fn support_note(support: Support) -> String {
    match support {
        Support::Every => String::new(),
        Support::Board => " Needs a `board`.".into(),
        Support::Later => " No host supports it yet.".into(),
        Support::Only(hosts) => {
            let names: Vec<_> = hosts.iter().map(|host| host.name()).collect();
            format!(" Only on host {}.", names.join(", "))
        }
    }
}

fn of_kind(kind: &'static Kind) -> Map<String, Value> {
    let schema = match kind {
        Kind::Any => json!({}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Number { min, max, zero_allowed: true } => {
            json!({"type": "number", "minimum": min, "maximum": max})
        }
        Kind::Number { min, max, zero_allowed: false } if *min == 0.0 => {
            json!({"type": "number", "exclusiveMinimum": min, "maximum": max,
                   "$comment": format!("more than 0, up to {}", decimal(*max))})
        }
        Kind::Number { min, max, .. } => {
            json!({"type": "number", "minimum": min, "maximum": max})
        }
        Kind::Duration { min, max } => {
            with_units(&DURATION_UNITS, DURATION_FORM, min.as_nanos(), max.as_nanos())
        }
        Kind::Size { min, max } => with_units(&SIZE_UNITS, SIZE_FORM, *min, *max),
        Kind::Keywords(keywords) => of_keywords(keywords),
        Kind::Text(form) => {
            let mut schema = of_form(form);
            schema.insert("type".into(), "string".into());
            if form.pattern.is_none() {
                schema.insert("$comment".into(), form.allowed.into());
            }
            return schema;
        }
        Kind::Token(form) | Kind::TokenOf { form, .. } => {
            json!({"type": ["string", "integer"], "pattern": form.pattern.unwrap_or(""),
                   "$comment": form.allowed})
        }
        Kind::Object(object) => return of_object(object),
        Kind::List { of, min } => {
            json!({"type": "array", "items": of_kind(of), "minItems": min, "maxItems": MAX_ITEMS})
        }
        Kind::OneOrList(of) => {
            json!({"anyOf": [of_kind(of), {"type": "array", "items": of_kind(of),
                   "minItems": 1, "maxItems": MAX_ITEMS}]})
        }
        Kind::Map { key, of } => {
            json!({"type": "object", "propertyNames": of_form(key),
                   "additionalProperties": of_kind(of), "maxProperties": MAX_ITEMS})
        }
        Kind::OrObject { plain, object } => {
            let object = match object {
                Some(object) => Value::Object(of_object(object)),
                None => json!({"type": "object", "$comment": "no host supports it yet"}),
            };
            json!({"anyOf": [of_kind(plain), object]})
        }
    };
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

/// What a schema can say of a form.
fn of_form(form: &Form) -> Map<String, Value> {
    let mut schema = Map::new();
    if let Some(pattern) = form.pattern {
        schema.insert("pattern".into(), pattern.into());
    }
    if let Some(longest) = form.longest {
        schema.insert("maxLength".into(), longest.into());
    }
    schema
}

fn with_units(units: &[(&'static str, u64)], form: &str, min: u64, max: u64) -> Value {
    let names: Vec<_> = units.iter().map(|(name, _)| *name).collect();
    let (min, min_unit) = with_unit(min, units);
    let (max, max_unit) = with_unit(max, units);
    json!({
        "type": "string",
        "pattern": format!("^[0-9]+([.][0-9]+)?({})$", names.join("|")),
        "$comment": format!("{form}, within {min}{min_unit}–{max}{max_unit}"),
    })
}

fn of_keywords(keywords: &'static [Keyword]) -> Value {
    let plain: Vec<_> =
        keywords.iter().map(|keyword| keyword.name).filter(|name| !name.ends_with(':')).collect();
    let mut schema = json!({"type": "string"});
    let open: Vec<_> =
        keywords.iter().map(|keyword| keyword.name).filter(|name| name.ends_with(':')).collect();
    let choice = if open.is_empty() {
        json!({"enum": plain})
    } else {
        let pattern = format!("^({})[A-Za-z0-9!#$%&'*+.^_`|~-]+$", open.join("|"));
        json!({"anyOf": [{"enum": plain}, {"pattern": pattern}]})
    };
    if let (Value::Object(schema), Value::Object(choice)) = (&mut schema, choice) {
        schema.extend(choice);
        let notes: Vec<_> = keywords
            .iter()
            .filter(|keyword| !matches!(keyword.support, Support::Every))
            .map(|keyword| format!("{}:{}", keyword.name, support_note(keyword.support)))
            .collect();
        if !notes.is_empty() {
            schema.insert("$comment".into(), notes.join(" ").into());
        }
    }
    schema
}
