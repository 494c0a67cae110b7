//! The known name that a mistyped one is nearest to.

use super::problem::quoted;
use super::table::Object;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Longest key that is compared: the work grows with the length, which a stranger chooses.
const LONGEST: usize = 64;

/// What a problem says of a key that `object` does not know.
pub(super) fn unknown(key: &str, object: &Object) -> String {
    let names = object.fields.iter().map(|field| field.name);
    let nearest = names.clone().map(|name| (distance(key, name), name)).min();
    match nearest {
        Some((steps, name)) if steps <= 1 + name.len() / 3 => {
            format!("unknown field; the nearest known one is {}", quoted(name))
        }
        _ => format!("unknown field; known are {}", names.collect::<Vec<_>>().join(", ")),
    }
}

/// How many letters must be inserted, removed or changed to turn one name into the other
/// (Levenshtein); a key that is far too long is as far from all.
fn distance(key: &str, name: &str) -> usize {
    if key.len() > LONGEST {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=name.len()).collect();
    for (above, letter) in key.bytes().enumerate() {
        let mut diagonal = above;
        let mut left = above + 1;
        let mut cells = row.iter_mut();
        if let Some(first) = cells.next() {
            *first = left;
        }
        for (cell, other) in cells.zip(name.bytes()) {
            let changed = diagonal + usize::from(letter != other);
            diagonal = *cell;
            left = changed.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}
