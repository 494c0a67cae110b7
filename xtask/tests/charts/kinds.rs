//! Every object of the chart and of `istio/` is one that Kubernetes, Istio, the Gateway API and the Prometheus
//! operator know, field by field.
//!
//! Needs helm, kubeconform and their schemas (`cargo xtask tools helm kubeconform`, `cargo xtask schemas`); without
//! one of them each test is skipped.

use super::pods::EVERYTHING;
use super::{root, template, tool};
use std::path::PathBuf;

/// Where `cargo xtask schemas` puts them.
fn schemas() -> Option<PathBuf> {
    let given = std::env::var_os("KUBERNETES_SCHEMAS").map(PathBuf::from);
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let folder = given
        .unwrap_or_else(|| target.unwrap_or_else(|| root().join("target")).join("tools/schemas"));
    let is_there = folder.join("deployment-apps-v1.json").is_file();
    if !is_there {
        println!("skipped: the schemas of Kubernetes are not here (cargo xtask schemas)");
    }
    is_there.then_some(folder)
}

/// What kubeconform says of a file: whether all is well, and its words.
fn judge(file: &str) -> Option<(bool, String)> {
    let place = format!("{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", schemas()?.display());
    let output = tool(
        "KUBECONFORM",
        "kubeconform",
        &["-strict", "-summary", "-schema-location", &place, file],
    )?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    Some((output.status.success(), told + &String::from_utf8_lossy(&output.stderr)))
}

/// Judges what the chart renders with these values.
fn rendered(name: &str, values: &[&str]) -> Option<(bool, String)> {
    let set: Vec<_> = values.iter().flat_map(|value| ["--set", value]).collect();
    let output = template(&set)?;
    let file =
        std::env::temp_dir().join(format!("bimetal-kinds-{}-{name}.yaml", std::process::id()));
    std::fs::write(&file, output.stdout).unwrap();
    let judged = judge(file.to_str().unwrap());
    std::fs::remove_file(&file).unwrap();
    judged
}

#[test]
fn every_kind_and_field_of_the_chart_is_known() {
    let faults = ["fault.abort.percentage.value=20", "fault.abort.httpStatus=500"];
    let extension = ["wasm.kind=TrafficExtension"];
    for (name, more) in [
        ("all", &[][..]),
        ("istio", &["mode=istio"]),
        ("fault", &faults),
        ("extension", &extension),
    ] {
        let values = [&EVERYTHING[..], more].concat();
        let Some((is_good, told)) = rendered(name, &values) else { return };
        assert!(is_good, "{name}: {told}");
    }
}

#[test]
fn an_unknown_field_is_noticed() {
    let Some((is_good, told)) = rendered("bad", &["proxy.resources.requets.cpu=1"]) else { return };
    assert!(!is_good && told.contains("requets"), "{told}");
}

#[test]
fn the_manifests_of_istio_are_known() {
    for entry in std::fs::read_dir(root().join("istio")).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        // What is no resource: the page about them, and a patch.
        if !name.ends_with(".yaml") || name == "sidecar-patch.yaml" {
            continue;
        }
        let Some((is_good, told)) = judge(file.to_str().unwrap()) else { return };
        assert!(is_good, "{name}: {told}");
    }
}
