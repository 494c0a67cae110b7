//! Programs and files that arms are made of: where they are, and how they are to be had.

use anyhow::{Result, anyhow};
use std::path::{Path, PathBuf};

/// What is known by name. Any other name is looked for as a program of that name.
const KNOWN: [(&str, &str, &str); 10] = [
    ("bimetal", "BIMETAL", "cargo build --release --package bimetal-proxy"),
    ("app", "BIMETAL_STUDY_APP", "cargo build --release --package bimetal-study-app"),
    ("filter", "BIMETAL_FILTER", "cargo xtask wasm"),
    ("noop_filter", "BIMETAL_NOOP_FILTER", "cargo xtask wasm"),
    (
        "noop_module",
        "BIMETAL_NOOP_MODULE",
        "cargo build --release --package bimetal-study-noop-module",
    ),
    ("envoy", "ENVOY", "cargo xtask tools envoy"),
    ("k6", "K6", "cargo xtask tools k6"),
    ("nginx", "NGINX", "cargo xtask tools nginx"),
    ("haproxy", "HAPROXY", "cargo xtask tools haproxy"),
    ("kubectl", "KUBECTL", "the installation of Kubernetes' own client"),
];

/// The path of a tool: what its variable names, else a program on `PATH`.
///
/// # Errors
/// It is not there; the message says which command gets it.
pub fn find(name: &str) -> Result<PathBuf> {
    let (variable, how) = about(name);
    find_in(name, std::env::var_os(&variable).map(PathBuf::from), std::env::var_os("PATH"))
        .ok_or_else(|| {
            anyhow!("{name} is not here: get it by `{how}`, or name it by {variable}=/path/to/it")
        })
}

/// The variable that names a tool, and the command that gets it.
fn about(name: &str) -> (String, String) {
    let known = KNOWN.iter().find(|(known, ..)| *known == name);
    match known {
        Some((_, variable, how)) => ((*variable).to_owned(), (*how).to_owned()),
        None => {
            let variable =
                name.to_uppercase().replace(|one: char| !one.is_ascii_alphanumeric(), "_");
            (variable, format!("cargo xtask tools {name}"))
        }
    }
}

fn find_in(
    name: &str,
    given: Option<PathBuf>,
    path: Option<std::ffi::OsString>,
) -> Option<PathBuf> {
    if let Some(given) = given {
        return given.canonicalize().ok().filter(|path| path.is_file());
    }
    let folders = path.as_deref().map(std::env::split_paths).into_iter().flatten();
    folders.map(|folder| folder.join(name)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_wins_over_the_path_and_must_name_a_file() {
        let sh = find_in("sh", None, Some("/nowhere:/bin".into())).unwrap();
        assert_eq!(sh, Path::new("/bin/sh"));
        let given = find_in("sh", Some(sh.clone()), None).unwrap();
        assert_eq!(given, sh.canonicalize().unwrap());
        assert_eq!(find_in("sh", Some("/no/such".into()), Some("/bin".into())), None);
        assert_eq!(find_in("sh", Some("/bin".into()), None), None);
    }

    #[test]
    fn what_is_missing_is_told_with_the_command_that_gets_it() {
        let told = find("no-such-proxy").unwrap_err().to_string();
        assert!(told.contains("cargo xtask tools no-such-proxy"), "{told}");
        assert!(told.contains("NO_SUCH_PROXY=/path/to/it"), "{told}");
        assert_eq!(about("filter").1, "cargo xtask wasm");
    }
}
