//! The archives, read back by others' eyes: `tar`, `flate2`, and crane where it is at hand.

use super::archive::{bytes, hex};
use super::*;
use crate::{process, tools};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;

/// Path → (content, mode, owner, time) of each entry.
type Entries = BTreeMap<String, (Vec<u8>, u32, u64, u64)>;

fn unpack(tar: &[u8]) -> Entries {
    let mut archive = tar::Archive::new(tar);
    let mut entries = Entries::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let header = entry.header().clone();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let about = (header.mode().unwrap(), header.uid().unwrap(), header.mtime().unwrap());
        entries.insert(path, (content, about.0, about.1, about.2));
    }
    entries
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

fn json(entries: &Entries, path: &str) -> Value {
    serde_json::from_slice(&entries[path].0).unwrap()
}

fn blob(digest: &Value) -> String {
    format!("blobs/{}", digest.as_str().unwrap().replace(':', "/"))
}

/// Follows index → manifest → config and layer, checking each digest and size on the way.
fn check_layout(archive: &[u8]) -> (Value, Entries) {
    let entries = unpack(archive);
    for (path, (content, ..)) in &entries {
        if let Some(digest) = path.strip_prefix("blobs/sha256/") {
            assert_eq!(digest, hex(content), "{path} is not what its name says");
        }
    }
    assert_eq!(json(&entries, "oci-layout")["imageLayoutVersion"], "1.0.0");
    let index = json(&entries, "index.json");
    let manifest = json(&entries, &blob(&index["manifests"][0]["digest"]));
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 1);
    for descriptor in [&index["manifests"][0], &manifest["config"], &layers[0]] {
        let content = &entries[&blob(&descriptor["digest"])].0;
        assert_eq!(descriptor["size"], content.len(), "{descriptor}");
    }
    let config = json(&entries, &blob(&manifest["config"]["digest"]));
    let layer = gunzip(&entries[&blob(&layers[0]["digest"])].0);
    assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", hex(&layer)));
    // What `docker load` reads names the same blobs.
    let docker = json(&entries, "manifest.json");
    assert_eq!(docker[0]["Config"], blob(&manifest["config"]["digest"]));
    assert_eq!(docker[0]["Layers"][0], blob(&layers[0]["digest"]));
    (config, unpack(&layer))
}

#[test]
fn the_program_image_holds_one_program_and_runs_it_as_nobody() {
    let (archive, digest) = bytes(&program_recipe(b"a program", b"a bill").unwrap()).unwrap();
    assert!(digest.starts_with("sha256:"), "{digest}");
    let (config, files) = check_layout(&archive);
    assert_eq!(config["config"]["User"], USER);
    assert_eq!(config["config"]["Entrypoint"][0], "/bimetal");
    assert_eq!(config["os"], "linux");
    assert_eq!(files.keys().collect::<Vec<_>>(), ["bimetal"]);
    assert_eq!(files["bimetal"], (b"a program".to_vec(), 0o755, 0, 0));
}

#[test]
fn images_say_what_they_are_and_name_their_bill() {
    for (recipe, title) in [
        (program_recipe(b"a program", b"a bill").unwrap(), "bimetal"),
        (filter_recipe(b"\0asm", b"a bill").unwrap(), "bimetal filter"),
    ] {
        let (config, _) = check_layout(&bytes(&recipe).unwrap().0);
        let labels = &config["config"]["Labels"];
        assert_eq!(labels["org.opencontainers.image.title"], title);
        assert_eq!(labels["org.opencontainers.image.version"], TAG);
        assert_eq!(labels["org.opencontainers.image.licenses"], "Apache-2.0");
        assert!(labels["org.opencontainers.image.description"].is_string());
        assert_eq!(labels["bimetal.sbom"], format!("sha256:{}", hex(b"a bill")));
    }
}

#[test]
fn a_program_that_is_too_large_is_no_image() {
    judge_size(20_000_000, "release").unwrap();
    let error = judge_size(20_000_001, "release").unwrap_err().to_string();
    assert!(error.contains("20000001 bytes"), "{error}");
    judge_size(200_000_000, "dev").unwrap();
}

#[test]
fn the_filter_image_holds_the_module_at_its_root() {
    let (archive, _) = bytes(&filter_recipe(b"\0asm", b"a bill").unwrap()).unwrap();
    let (_, files) = check_layout(&archive);
    assert_eq!(files.keys().collect::<Vec<_>>(), ["plugin.wasm"]);
    assert_eq!(files["plugin.wasm"].0, b"\0asm");
    let index = json(&unpack(&archive), "index.json");
    let manifest = json(&unpack(&archive), &blob(&index["manifests"][0]["digest"]));
    let kind = "application/vnd.oci.image.layer.v1.tar+gzip";
    assert_eq!(manifest["layers"][0]["mediaType"], kind);
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let recipe = program_recipe(b"a program", b"a bill").unwrap();
    let first = bytes(&recipe).unwrap();
    assert!((0..20).all(|_| bytes(&recipe).unwrap() == first));
    let other = |program: &'static [u8], bill: &[u8]| {
        bytes(&program_recipe(program, bill).unwrap()).unwrap().1
    };
    assert_ne!(other(b"another program", b"a bill"), first.1);
    assert_ne!(other(b"a program", b"another bill"), first.1);
}

#[test]
fn crane_finds_nothing_wrong() {
    let Some(crane) = tools::named("crane").unwrap().find() else {
        println!("skipped: crane is not here (cargo xtask tools crane)");
        return;
    };
    let folder = place::made("xtask/tests").unwrap();
    let program = program_recipe(b"a program", b"a bill").unwrap();
    let filter = filter_recipe(b"\0asm", b"a bill").unwrap();
    for (recipe, file) in [(&program, "program.tar"), (&filter, "filter.tar")] {
        let image = write(recipe, &folder.join(file)).unwrap();
        let path = image.archive.to_str().unwrap();
        let told = process::answer(&crane, &["validate", "--tarball", path]);
        assert!(told.is_some_and(|told| told.starts_with("PASS")), "{path}");
    }
    // A blob that is not what its name says must not pass.
    let broken = folder.join("broken.tar");
    let mut bytes = bytes(&program).unwrap().0;
    let layer = bytes.windows(2).position(|two| two == [0x1f, 0x8b]).unwrap();
    bytes[layer + 12] ^= 0xff;
    std::fs::write(&broken, bytes).unwrap();
    assert_eq!(process::answer(&crane, &["validate", "--tarball", broken.to_str().unwrap()]), None);
}

#[test]
fn a_dynamic_program_is_told_from_a_static_one() {
    // The test program itself is linked dynamically, as Cargo does unless told otherwise.
    let own = std::env::current_exe().unwrap();
    assert_eq!(program::wants_loader(&own).unwrap(), !cfg!(target_feature = "crt-static"));
    let text = place::root().join("Cargo.toml");
    assert!(program::wants_loader(&text).is_err());
}
