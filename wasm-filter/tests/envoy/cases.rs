//! What must hold in Envoy, one function a promise.

mod deadline;
mod decision;
mod discovered;
mod flood;
mod hops;
mod leases;
mod load;
mod mesh;
mod names;
mod outcome;
mod place;
mod plugin;
mod queue;
mod time;
mod update;

use crate::matrix;
use crate::rig::{Rig, TestResult, Tools, same};
use serde_json::{Value, json};

type Case = fn(&Tools) -> TestResult;

/// Lists functions under their names.
macro_rules! cases {
    ($($module:ident: $($case:ident),+;)+) => {
        &[$($((stringify!($case), $module::$case as Case)),+),+]
    };
}

/// Every case by its name.
pub(crate) const ALL: &[(&str, Case)] = cases! {
    matrix:
        the_fault_matrix_with_one_worker,
        the_fault_matrix_with_four_workers;
    load:
        updates_under_load_with_one_worker,
        updates_under_load_with_four_workers,
        updates_by_filter_discovery_under_load,
        weights_of_clusters_that_change_under_load,
        twenty_thousand_requests_with_faults_in_bounded_memory;
    flood:
        a_flood_of_resets_settles_every_call;
    decision:
        trips_rejects_and_recovers,
        a_rejection_says_which_rule_and_why,
        a_fallback_replaces_status_headers_and_body,
        rejections_are_no_evidence,
        debug_headers_on_every_answer,
        hostile_header_bytes_do_not_trap,
        scopes_by_destination,
        workers_trip_as_one;
    update:
        a_wrong_document_is_refused_at_the_start,
        a_wrong_update_changes_nothing,
        a_good_update_keeps_the_breaker,
        a_changed_breaker_starts_anew,
        a_listener_that_warms_judges_nothing,
        plugins_of_two_names_are_apart,
        an_update_loses_no_call_under_way;
    outcome:
        connect_refused_is_a_failure,
        broken_answers_are_failures,
        a_hang_ends_with_the_policy_timeout,
        a_client_cannot_replace_the_plan,
        a_client_that_leaves_is_neutral,
        a_client_that_leaves_a_slow_upstream_is_slow,
        a_slow_answer_is_slow,
        a_grpc_failure_in_headers_alone,
        an_event_stream_is_good_at_its_headers,
        an_http2_upstream_that_speaks_http1,
        a_grpc_failure_in_trailers;
    time:
        slow_uploads_are_within_the_timeout,
        slow_uploads_are_not_slow_answers,
        clients_that_leave_within_their_own_uploads_open_nothing,
        a_long_answer_is_not_cut,
        a_shorter_limit_of_the_route_stays,
        a_longer_limit_of_the_route_gives_way,
        a_probe_whose_client_holds_back_gives_its_slot_back;
    deadline:
        a_caller_without_time_reaches_nobody,
        a_call_ends_with_its_callers_time,
        a_huge_time_is_no_limit,
        a_callers_time_ends_within_its_upload,
        a_call_that_is_given_up_late_is_slow,
        each_worker_ends_its_own_calls;
    queue:
        bodies_wait_with_their_calls,
        a_call_that_waits_in_vain_is_turned_away,
        clients_that_leave_while_they_wait_are_forgotten,
        calls_wait_over_an_update,
        who_is_turned_away_stops_nobody_else,
        everybody_is_served_in_the_end;
    leases:
        four_workers_have_one_rate_limit,
        four_workers_have_one_limit_of_calls;
    names:
        labels_are_neither_forged_nor_equal,
        routes_of_two_virtual_hosts_are_apart,
        a_path_is_judged_in_every_spelling;
    mesh:
        injected_faults_are_no_evidence,
        injected_faults_count_when_asked,
        an_injected_delay_is_not_slow,
        retries_of_the_route_are_one_outcome,
        a_redirect_that_envoy_follows_is_two_calls,
        answers_of_other_filters_are_no_evidence;
    place:
        a_browser_reads_rejections_behind_cors,
        a_browser_reads_rejections_before_cors_by_the_policy,
        a_grpc_web_client_reads_rejections_on_both_sides_of_its_filter,
        an_upstream_filter_sees_answers_of_each_try_alone,
        an_upstream_filter_keeps_no_limit;
    hops:
        a_callers_retries_of_rejections_end_where_they_are_marked,
        rejections_of_the_next_hop_are_failures_unless_ignored,
        the_first_hop_waits_as_long_as_the_second;
    plugin:
        the_capabilities_in_the_documentation_suffice,
        without_random_numbers_it_works_and_says_so,
        a_struct_is_told_what_to_do;
};

fn slow_policy() -> Value {
    json!({"breaker": {"trip": {"slow_rate": {"threshold": 1, "slower_than": "150ms",
        "window": {"calls": 10}, "minimum_calls": 10}}}})
}

fn trip(rig: &Rig) -> TestResult {
    rig.upstream.fail(3);
    for _ in 0..3 {
        same(rig.get("/flaky")?.header("x-bimetal-rule"), "")?;
    }
    Ok(())
}
