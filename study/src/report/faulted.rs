//! What a study in a cluster says beside its blocks: the answers under faults that Istio injects, and
//! whether traces arrived in Jaeger.

use super::page::escaped;
use crate::cluster::Shipped;
use crate::faults::Faulted;

/// What the faults are and what they are not.
const FAULTS: &str = "Istio injects each fault into half of the calls, in the sidecar of the caller, which is \
    the proxy's pod. An abort is answered 500; a delay lasts 5 s, longer than the policy's time limit of 3 s. \
    The policies count injected faults as evidence (count_injected) and open for 5 s. One run, without \
    intervals.";

/// Whoever gave an answer that was not good.
fn others(one: &Faulted) -> String {
    let others = one.bad.iter().map(|(what, calls)| format!("{calls} {what}"));
    let others: Vec<String> = others.collect();
    if others.is_empty() { "none".to_owned() } else { others.join(", ") }
}

/// For a terminal; empty where there was nothing of the kind.
pub(super) fn text(faults: &[Faulted], shipped: &[Shipped]) -> String {
    let mut text = String::new();
    if !faults.is_empty() {
        text += &format!("\nFaults that Istio injects\n{FAULTS}\n");
    }
    for one in faults {
        text += &format!(
            "{:<8}{:<24} {} of {} good, {} turned away by a breaker; others: {}\n",
            one.fault,
            one.arm,
            one.good,
            one.calls,
            one.rejected(),
            others(one)
        );
    }
    for one in shipped {
        text += &format!(
            "traces: {}: {} of {} last ones are in Jaeger, of {} spans\n",
            one.arm, one.whole, one.asked, one.spans
        );
    }
    text
}

/// A chapter of the page; empty where there was nothing of the kind.
pub(super) fn page(faults: &[Faulted], shipped: &[Shipped]) -> String {
    let mut page = String::new();
    if !faults.is_empty() {
        let rows = faults.iter().map(|one| {
            format!(
                "<tr><td>{}</td><td class=\"words\">{}</td><td>{}</td><td>{}</td><td>{}</td>\
                 <td class=\"words\">{}</td></tr>\n",
                escaped(&one.fault),
                escaped(&one.arm),
                one.calls,
                one.good,
                one.rejected(),
                escaped(&others(one))
            )
        });
        page += &format!(
            "<h2>Faults that Istio injects</h2>\n<p>{FAULTS}</p>\n<div class=\"wide\"><table><tr><th>fault</th>\
             <th class=\"words\">arm</th><th>calls</th><th>good</th><th>turned away</th>\
             <th class=\"words\">not good</th></tr>\n{}</table></div>\n",
            rows.collect::<String>()
        );
    }
    if !shipped.is_empty() {
        page += &format!("<h2>Traces in Jaeger</h2>\n<p>{}</p>\n", escaped(&arrived(shipped)));
    }
    page
}

/// A part of a document's section; empty where there was nothing of the kind.
pub(super) fn markdown(faults: &[Faulted], shipped: &[Shipped]) -> String {
    let mut text = String::new();
    if !faults.is_empty() {
        text += &format!(
            "\n{FAULTS}\n\n| fault | arm | calls | good | turned away by a breaker | not good |\n|---|---|---|---|---|---|\n"
        );
    }
    for one in faults {
        let (rejected, others) = (one.rejected(), others(one));
        text += &format!(
            "| {} | `{}` | {} | {} | {rejected} | {others} |\n",
            one.fault, one.arm, one.calls, one.good
        );
    }
    if !shipped.is_empty() {
        text += &format!("\n{}\n", arrived(shipped));
    }
    text
}

/// In a sentence.
fn arrived(shipped: &[Shipped]) -> String {
    let of = shipped.iter().map(|one| {
        format!("{} of {} of {} ({} spans each)", one.whole, one.asked, one.arm, one.spans)
    });
    format!(
        "Of the last traces of each arm these are whole in Jaeger: {}.",
        of.collect::<Vec<_>>().join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Quantiles;

    #[test]
    fn faults_and_traces_are_told_in_every_form() {
        let bad = [("status 500".to_owned(), 11), ("status 503 by echo/breaker".to_owned(), 200)];
        let faults = [Faulted {
            arm: "mesh-filter".into(),
            fault: "abort".into(),
            calls: 400,
            good: 189,
            bad: bad.into(),
            latency: Quantiles::default(),
        }];
        let shipped = [Shipped { arm: "mesh-filter".into(), asked: 5, whole: 4, spans: 11 }];
        for told in [text(&faults, &shipped), page(&faults, &shipped), markdown(&faults, &shipped)]
        {
            for wanted in
                ["mesh-filter", "189", "400", "200", "11 status 500", "4 of 5", "11 spans"]
            {
                assert!(told.contains(wanted), "{wanted} is not in {told}");
            }
        }
        for nothing in [text(&[], &[]), page(&[], &[]), markdown(&[], &[])] {
            assert_eq!(nothing, "");
        }
    }
}
