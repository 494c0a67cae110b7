//! What must hold of the compiled module, one function a promise.

mod budget;
mod configuration;
mod failing;
mod hostile;
mod leases;
mod lives;
mod memory;
mod random;
mod sharing;

use crate::machine::{Machine, Vm, policy};
use crate::process::Process;
use serde_json::Value;

/// An error is a trap, or a host that could not be built; what is found wrong is a panic.
pub(crate) type TestResult = wasmtime::Result<()>;

type Case = fn(&Machine) -> TestResult;

/// Lists functions under their names.
macro_rules! cases {
    ($($module:ident: $($case:ident),+;)+) => {
        &[$($((stringify!($case), $module::$case as Case)),+),+]
    };
}

/// Every case by its name.
pub(crate) const ALL: &[(&str, Case)] = cases! {
    configuration:
        a_good_document_is_in_force,
        a_wrong_document_is_refused_and_the_one_in_force_stays,
        a_refusal_in_one_vm_is_nothing_to_another,
        a_serialised_message_is_told_what_to_do,
        an_update_keeps_the_breaker_and_the_calls_under_way;
    sharing:
        three_vms_trip_one_breaker_and_a_fourth_learns_on_its_tick,
        vms_share_where_the_host_keeps_no_counter,
        counters_that_are_reset_hide_no_trip,
        stale_tokens_lose_no_failure,
        a_token_that_is_always_stale_stops_nobody,
        another_vm_writes_between_read_and_write,
        four_vms_at_once,
        whatever_lies_under_our_key;
    leases:
        four_vms_have_one_rate_limit,
        four_vms_have_one_limit_of_calls,
        a_vm_that_traps_keeps_no_slots;
    failing:
        each_host_call_in_turn,
        each_host_call_in_turn_while_configuring,
        no_property_is_there,
        no_map_is_there,
        a_host_without_random_numbers;
    lives:
        contexts_that_die_early,
        events_out_of_order,
        an_id_that_the_host_never_gave_ends_one_vm_alone;
    hostile:
        headers_of_every_kind,
        blocks_of_headers_that_lie,
        documents_of_every_kind;
    budget:
        a_call_makes_few_host_calls,
        a_tick_costs_the_same_for_many_scopes;
    memory:
        a_hundred_thousand_requests_in_flat_memory,
        a_table_larger_than_memory_refuses_scopes_and_ends_nobody;
    random:
        any_sequence_of_events_keeps_the_books;
};

/// A VM with a document in force, and its root.
fn plugin(
    machine: &Machine,
    process: &Process,
    number: u32,
    more: Value,
) -> wasmtime::Result<(Vm, u32)> {
    let mut vm = machine.vm(process, number)?;
    let (root, taken) = vm.configure(&policy(more))?;
    assert!(taken, "the document was refused: {:?}", process.errors());
    Ok((vm, root))
}

/// Each admitted call was settled once, by the metrics. In shadow mode a call that would have been
/// rejected is admitted too, but nobody waits for its result.
fn balanced(process: &Process, about: &str) {
    // What never happened has no metric.
    let counted = |parts: &[&str]| process.find_metric(parts).unwrap_or(0);
    let admitted = counted(&["decision=.=admitted", "requests_total"]);
    let unheld = counted(&["decision=.=breaker", "shadow_total"]);
    let settled = counted(&["outcomes_total"]);
    let outstanding = counted(&["calls_outstanding"]);
    let books = (admitted - unheld, outstanding);
    assert_eq!(books, (settled, 0), "{about}: admitted, outstanding; settled, 0");
}

fn counted(process: &Process) -> i64 {
    process.metric(&["decision_errors_total"])
}
