//! Spans under the origin's own loads: by the number of users, and by the size of the message.

use super::charts::{Axes, Line, lines};
use super::page::escaped;
use super::pictures::Hues;
use super::spans::table;
use crate::spans::ROOT;
use crate::stages::{Stage, Staged};
use anyhow::Result;
use std::collections::BTreeMap;

/// Mean trace time by the number of users, from k6's stages.
pub(super) fn by_users(traced: &[&Staged], hues: &Hues<'_>) -> Result<String> {
    let points = |arm: &str| -> Vec<(f64, f64)> {
        let own = traced.iter().filter(|one| one.arm == arm);
        own.filter_map(|one| match one.stage {
            Stage::Users(users) => Some((f64::from(users), one.spans.get(ROOT)?.mean_us / 1e3)),
            _ => None,
        })
        .collect()
    };
    let mut arms: Vec<&str> = traced.iter().map(|one| one.arm.as_str()).collect();
    arms.sort_unstable();
    arms.dedup();
    arms.retain(|arm| !points(arm).is_empty());
    if arms.is_empty() {
        return Ok(String::new());
    }
    let title = "Mean trace time by users";
    let all: Vec<Line> =
        arms.iter().map(|arm| Line { points: points(arm), hue: hues.of(arm) }).collect();
    let axes = Axes {
        across: "users of k6",
        up: "mean trace, milliseconds",
        name: &|users| format!("{users:.0}"),
        marked: true,
    };
    let mut users: Vec<f64> =
        arms.iter().flat_map(|arm| points(arm)).map(|(users, _)| users).collect();
    users.sort_by(f64::total_cmp);
    users.dedup();
    let heads: String = users.iter().map(|users| format!("<th>{users:.0} users</th>")).collect();
    let rows: String = arms
        .iter()
        .map(|arm| {
            let own = points(arm);
            let cells: String = users
                .iter()
                .map(|users| {
                    let found = own.iter().find(|(own, _)| own == users);
                    let value = found.map(|(_, ms)| format!("{ms:.3}")).unwrap_or_default();
                    format!("<td>{value}</td>")
                })
                .collect();
            format!("<tr><td>{}</td>{cells}</tr>\n", escaped(arm))
        })
        .collect();
    Ok(format!(
        "<h3>{title}</h3>\n<p class=\"faint\">In ms, over a whole stage of the origin's, run once: no intervals.</p>\n\
         {}<div class=\"wide\">{}</div>\n<div class=\"wide\"><table><tr><th>arm</th>{heads}</tr>\n{rows}</table></div>\n",
        hues.legend(&arms),
        lines(&all, &axes, title)?
    ))
}

/// Mean of each span by the size of the message, from k6's stages: a table for each arm.
pub(super) fn by_payload(traced: &[&Staged]) -> String {
    let mut by_arm: BTreeMap<&str, BTreeMap<u32, BTreeMap<String, f64>>> = BTreeMap::new();
    for one in traced {
        if let Stage::Payload(kb) = one.stage {
            let means = one.spans.iter().map(|(name, span)| (name.clone(), span.mean_us));
            by_arm.entry(&one.arm).or_default().insert(kb, means.collect());
        }
    }
    let tables = by_arm.into_iter().map(|(arm, sizes)| {
        let columns: Vec<_> =
            sizes.into_iter().map(|(kb, means)| (format!("{kb} KB"), means)).collect();
        format!("<h3>Mean of each span by payload: {}, us</h3>\n{}", escaped(arm), table(&columns))
    });
    tables.collect()
}
