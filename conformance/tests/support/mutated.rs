//! The native proxy with deliberate mistakes in it, built from a copy of its source.
//!
//! The proxy's own code knows nothing of them. Each mistake is one line of its source rewritten, so
//! that it happens when a variable of the environment names it. A line that is not there any more,
//! or is there twice, is an error: the mistake has to be placed anew.

use bimetal_conformance::real::tools::build;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The variable that names the mistake to make.
pub(crate) const VARIABLE: &str = "BIMETAL_MUTANT";
/// The name of the binary, which must not take the place of the real one.
const BINARY: &str = "bimetal-mutants";

/// One mistake: where the proxy's source gets another line.
#[derive(Debug)]
pub(crate) struct Rewrite {
    /// The mistake's name.
    pub(crate) name: &'static str,
    /// File in the proxy's folder.
    pub(crate) file: &'static str,
    /// What stands there, exactly once; `$` in `after` stands for it.
    pub(crate) before: &'static str,
    /// What stands there instead; `MUTANT` is whether the mistake is to be made.
    pub(crate) after: &'static str,
}

/// Builds a proxy that can make all of `rewrites` and gives its path.
pub(crate) fn build_with(rewrites: &[Rewrite]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // Below the target folder, so that the packages of others are built only once for both.
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let copy = temporary.join("conformance/mutants");
    for member in ["core", "native-proxy"] {
        copy_folder(&root.join(member), &copy.join(member), member, rewrites)
            .unwrap_or_else(|error| panic!("copying {member}: {error}"));
    }
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap();
    write(&copy.join("Cargo.toml"), read("Cargo.toml").as_bytes().to_vec(), |text| {
        let mut manifest: toml::Table = text.parse().unwrap();
        let workspace = manifest["workspace"].as_table_mut().unwrap();
        workspace.insert("members".to_owned(), vec!["core", "native-proxy"].into());
        workspace.remove("default-members");
        manifest.to_string()
    })
    .unwrap();
    write(&copy.join("Cargo.lock"), read("Cargo.lock").into_bytes(), |text| text).unwrap();
    build(&copy, BINARY, temporary.parent()).unwrap()
}

fn copy_folder(from: &Path, to: &Path, name: &str, rewrites: &[Rewrite]) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let inside = format!("{name}/{}", entry.file_name().to_string_lossy());
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target, &inside, rewrites)?;
            continue;
        }
        let here =
            rewrites.iter().filter(|rewrite| inside == format!("native-proxy/{}", rewrite.file));
        write(&target, fs::read(entry.path())?, |mut text| {
            for Rewrite { name, before, after, .. } in here {
                assert_eq!(
                    text.matches(before).count(),
                    1,
                    "{inside}: {before:?} must be there once"
                );
                let asked = format!("(std::env::var({VARIABLE:?}).as_deref() == Ok({name:?}))");
                text = text.replace(before, &after.replace('$', before).replace("MUTANT", &asked));
            }
            match inside.as_str() {
                "native-proxy/Cargo.toml" => {
                    text.replace("name = \"bimetal\"\n", &format!("name = {BINARY:?}\n"))
                }
                _ => text,
            }
        })?;
    }
    Ok(())
}

/// Writes a file anew only where that changes it: else cargo would build it again.
fn write(file: &Path, content: Vec<u8>, change: impl FnOnce(String) -> String) -> io::Result<()> {
    let content = match String::from_utf8(content) {
        Ok(text) => change(text).into_bytes(),
        Err(binary) => binary.into_bytes(),
    };
    match fs::read(file) {
        Ok(old) if old == content => Ok(()),
        _ => fs::write(file, content),
    }
}
