//! The rooms: which code is changed, and which tests must notice.

/// One room. Its file names the code and the tests.
#[derive(Debug)]
pub struct Room {
    /// Its name on the command line.
    pub name: &'static str,
    /// What the code in it is for.
    pub about: &'static str,
    /// The package that it is a part of.
    pub package: &'static str,
    /// Its file, from the repository's root.
    pub file: &'static str,
    /// Variables that its tests are run with.
    pub variables: &'static [(&'static str, &'static str)],
}

/// All rooms, those that take least time first.
pub const ROOMS: [Room; 7] = [
    Room {
        name: "worker",
        about: "a worker of the proxy: settings, counts, log, beginning and drain",
        package: "bimetal-proxy",
        file: ".cargo/mutants/worker.toml",
        variables: &[],
    },
    Room {
        name: "config",
        about: "the proxy's file: what is read, refused, warned of and filled in",
        package: "bimetal-proxy",
        file: ".cargo/mutants/config.toml",
        variables: &[],
    },
    Room {
        name: "upstream",
        about: "the ways to upstreams: names, addresses, pools, connections",
        package: "bimetal-proxy",
        file: ".cargo/mutants/upstream.toml",
        variables: &[],
    },
    Room {
        name: "call",
        about: "one request in the proxy: hops, decisions, answers",
        package: "bimetal-proxy",
        file: ".cargo/mutants/call.toml",
        variables: &[],
    },
    Room {
        name: "breaker",
        about: "the breaker and its windows, in the core",
        package: "bimetal-core",
        file: ".cargo/mutants.toml",
        // The first hundred histories of the simulation find what ten thousand find.
        variables: &[("BIMETAL_SEEDS", "100")],
    },
    Room {
        name: "filter",
        about: "Envoy's filter, on a host of paper",
        package: "bimetal-filter",
        file: ".cargo/mutants/filter.toml",
        variables: &[],
    },
    Room {
        name: "framing",
        about: "the bytes before HTTP is parsed",
        package: "bimetal-proxy",
        file: ".cargo/mutants/framing.toml",
        variables: &[],
    },
];

impl Room {
    /// The names of all rooms.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ROOMS.iter().map(|room| room.name)
    }

    /// The rooms of these names, in the order of [`ROOMS`]; all where there is no name.
    pub fn chosen(names: &[String]) -> Vec<&'static Room> {
        let is_chosen = |room: &&Room| names.is_empty() || names.iter().any(|n| n == room.name);
        ROOMS.iter().filter(is_chosen).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{ROOMS, Room};
    use crate::place;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct File {
        examine_globs: Vec<String>,
        additional_cargo_args: Vec<String>,
    }

    #[test]
    fn rooms_are_chosen_by_name() {
        let names = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            Room::chosen(&names).iter().map(|room| room.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&["framing", "config"]), ["config", "framing"]);
        assert_eq!(names(&[]), Room::names().collect::<Vec<_>>());
    }

    #[test]
    fn the_file_of_a_room_names_code_and_tests_that_there_are() {
        for room in &ROOMS {
            let text = std::fs::read_to_string(place::root().join(room.file)).unwrap();
            let file: File = toml::from_str(&text).unwrap();
            let mut folder = String::new();
            for glob in &file.examine_globs {
                let code = glob.split('*').next().unwrap_or_default();
                assert!(place::root().join(code).exists(), "{}: {glob}", room.file);
                folder = glob.split("/src/").next().unwrap_or_default().to_owned();
            }
            for test in &file.additional_cargo_args {
                if let Some(name) = test.strip_prefix("--test=") {
                    let tests = place::root().join(&folder).join("tests");
                    let one = tests.join(format!("{name}.rs"));
                    let many = tests.join(name).join("main.rs");
                    assert!(one.exists() || many.exists(), "{}: {test}", room.file);
                }
            }
        }
    }
}
