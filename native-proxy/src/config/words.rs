//! Keys that YAML 1.1 reads otherwise than we do: kubectl, helm and istioctl have it, so a manifest
//! is another when it arrives. Values need no such look: we read them as those do.

use bimetal_core::doc::{Path, Problems};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle};

/// What YAML 1.1 takes for a boolean (yaml.org/type/bool), but for those that we do too.
fn boolean(word: &str) -> Option<bool> {
    let (first, rest) = word.split_at_checked(1)?;
    // `yes`, `Yes` and `YES`, not `yES`.
    let is_one_case = rest.bytes().all(|byte| byte.is_ascii_lowercase())
        || word.bytes().all(|byte| byte.is_ascii_uppercase());
    match (is_one_case, first.to_ascii_lowercase().as_str(), rest.to_ascii_lowercase().as_str()) {
        (true, "y", "" | "es") | (true, "o", "n") => Some(true),
        (true, "n", "" | "o") | (true, "o", "ff") => Some(false),
        _ => None,
    }
}

/// Where the walk is.
#[derive(Debug)]
enum Level {
    List(usize),
    /// The key whose value comes next; none where a key comes.
    Map(Option<String>),
}

/// Keys without quotes that arrive as booleans, each by the path of its map.
pub(crate) fn read_otherwise(text: &str) -> Problems {
    let mut problems = Problems::default();
    let mut levels: Vec<Level> = Vec::new();
    for event in Parser::new_from_str(text) {
        // What is not readable is told elsewhere.
        let Ok((event, _)) = event else { break };
        match event {
            Event::SequenceStart(..) => levels.push(Level::List(0)),
            Event::MappingStart(..) => levels.push(Level::Map(None)),
            Event::SequenceEnd | Event::MappingEnd => {
                levels.pop();
                next(&mut levels, None);
            }
            Event::Alias(..) => next(&mut levels, None),
            Event::Scalar(word, style, _, tag) => {
                let read = boolean(&word).filter(|_| style == ScalarStyle::Plain && tag.is_none());
                let is_key = matches!(levels.last(), Some(Level::Map(None)));
                // The one key that both hosts take under either name.
                let is_known = word == "on" && is_in(&levels, "fallback");
                if let Some(read) = read.filter(|_| is_key && !is_known) {
                    at(&levels, &Path::ROOT, &mut |path| {
                        problems.add(path, told(&word, read));
                    });
                }
                next(&mut levels, Some(&word));
            }
            _ => {}
        }
    }
    problems
}

/// Whether the walk is in the map that stands at `parent`.
fn is_in(levels: &[Level], parent: &str) -> bool {
    matches!(levels, [.., Level::Map(Some(key)), Level::Map(None)] if key == parent)
}

fn told(word: &str, read: bool) -> String {
    format!(
        "the key {word} has no quotes: kubectl and helm read YAML 1.1, which makes it {read}; write \
         \"{word}\""
    )
}

/// One value, or key, was there.
fn next(levels: &mut [Level], word: Option<&str>) {
    match levels.last_mut() {
        Some(Level::List(index)) => *index += 1,
        Some(Level::Map(key)) => {
            *key = match key {
                Some(_) => None,
                None => Some(word.unwrap_or_default().to_owned()),
            };
        }
        None => {}
    }
}

fn at(levels: &[Level], path: &Path<'_>, told: &mut dyn FnMut(&Path<'_>)) {
    match levels {
        [Level::List(index), rest @ ..] => at(rest, &path.index(*index), told),
        [Level::Map(Some(key)), rest @ ..] => at(rest, &path.key(key), told),
        _ => told(path),
    }
}

#[cfg(test)]
mod tests {
    use super::read_otherwise;

    #[test]
    fn keys_that_arrive_as_booleans_are_found() {
        let text = "policies:\n- name: a\n  match: {hosts: [a, no], headers: {x: yes, N: 'y', on: a}}\n  \
                    fallback: {on: [rejected], Off: 1}\n";
        let problems = read_otherwise(text);
        let word = |what: &str| what.split(' ').nth(2).unwrap().to_owned();
        let found: Vec<_> =
            problems.iter().map(|one| (one.path.as_str(), word(&one.what))).collect();
        let headers = "policies[0].match.headers";
        let fallback = "policies[0].fallback";
        let wanted = [(headers, "N".into()), (headers, "on".into()), (fallback, "Off".into())];
        assert_eq!(found, wanted);
        let behind = read_otherwise("a: [&one 1, *one, {no: 1}]\nb: *one\noff: 1");
        let found: Vec<_> = behind.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(found, ["a[2]", "document"], "an alias is a value");
        let told = read_otherwise("a: {Yes: b}").iter().next().unwrap().what.to_string();
        assert_eq!(
            told,
            "the key Yes has no quotes: kubectl and helm read YAML 1.1, which makes it true; write \
             \"Yes\""
        );
    }

    #[test]
    fn other_keys_are_not() {
        for text in ["{yES: 1, oN: 2, !!str no: 3, \"on\": 4, 'off': 5}", "a: |\n  no: 1\n", "a: ["]
        {
            assert!(read_otherwise(text).is_empty(), "{text}");
        }
    }
}
