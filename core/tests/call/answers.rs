//! Plain answers: whose they are, when they settle, what is slow, what is ignored.

use crate::row::prelude::*;

// When it settles.

row! { a_good_answer_settles_at_its_end, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    100    head(200)                    => Answered;
    100    Look                         => WantsNoBody;
    100    Look                         => WantsNoTrailers;
    200    Body(vec![0; 9])             => Nothing;
    60_000 Ended                        => Success;
}

row! { trailers_end_an_answer_as_well, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200)                    => Answered;
    200    Trailers(None)               => Success;
}

row! { an_answer_without_a_body_settles_at_its_headers, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(204).ends()             => Success;
}

row! { a_failure_settles_at_its_headers, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    9_000  head(500)                    => Failure;
    9_001  Broken(Reset)                => Nothing;
    9_002  Ended                        => Nothing;
}

row! { an_answer_that_is_not_listed_is_a_success, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(404)                    => Answered;
    200    Ended                        => Success;
}

row! { an_end_without_an_answer_says_nothing, given();
    0      HandedOver(Complete)         => Nothing;
    100    Ended                        => Nothing;
    200    Broken(Reset)                => Failure;
}

row! { only_what_bounds_time_asks_for_the_time, given();
    0      Look                         => Untimed;
    0      Dropped                      => Neutral;
}

row! { a_limit_asks_for_the_time, given().limit(2_000);
    0      Look                         => Timed;
    0      Dropped                      => Neutral;
}

row! { slower_than_asks_for_the_time, given().slower_than(500);
    0      Look                         => Timed;
    0      Dropped                      => Neutral;
}

// Slow.

row! { exactly_slower_than_is_not_slow, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    500    head(200).ends()             => Success;
}

row! { strictly_slower_is_slow, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    501    head(200).ends()             => Slow;
}

row! { a_long_body_is_not_slow, given().slower_than(500).limit(2_000);
    0      HandedOver(Complete)         => Nothing;
    500    head(200)                    => Answered;
    500    Look                         => NeverDue;
    90_000 Ended                        => Success;
}

row! { the_latency_that_the_host_knows_decides_late, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    100    head(200).took(501)          => Answered;
    200    Ended                        => Slow;
}

row! { the_latency_that_the_host_knows_decides_in_time, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    9_000  head(200).took(0)            => Answered;
    9_100  Ended                        => Success;
}

// Whose answer.

row! { a_503_of_somebody_else_is_neutral, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    9_000  head(503).retry_after("9").by(Other) => Neutral;
    9_100  Ended                        => Nothing;
}

row! { a_503_of_somebody_else_is_neutral_where_injected_faults_count, given().counts_injected();
    0      HandedOver(Complete)         => Nothing;
    100    head(503).by(Other)          => Neutral;
}

row! { a_200_of_somebody_else_is_neutral, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    9_000  head(200).took(9_000).by(Other) => Neutral;
    9_100  Broken(Reset)                => Nothing;
}

row! { a_grpc_status_of_somebody_else_is_neutral, given();
    0      HandedOver(Complete)         => Nothing;
    100    grpc(200).status("14").ends().by(Other) => Neutral;
}

row! { a_grpc_web_body_of_somebody_else_is_not_read, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind("application/grpc-web").by(Other) => Neutral;
    100    Look                         => WantsNoBody;
    200    body(b"\x80\0\0\0\x10grpc-status: 14\n") => Nothing;
}

row! { an_upgrade_of_somebody_else_is_neutral, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(101).by(Other)          => Neutral;
    100    Switched                     => Nothing;
}

row! { an_injected_fault_is_neutral, given();
    0      HandedOver(Complete)         => Nothing;
    0      head(503).ends().by(Injected) => Neutral;
}

row! { an_injected_fault_that_counts_is_a_failure, given().counts_injected();
    0      HandedOver(Complete)         => Nothing;
    0      head(503).by(Injected)       => Failure;
    1      ClientGone                   => Nothing;
}

row! { an_injected_status_that_counts_and_is_no_failure_is_a_success, given().counts_injected();
    0      HandedOver(Complete)         => Nothing;
    0      head(404).ends().by(Injected) => Success;
}

row! { an_injected_delay_is_not_slow, given().counts_injected().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    9_000  head(404).ends().by(Injected) => Success;
}

row! { an_injected_grpc_fault_that_counts_is_a_failure_by_its_grpc_status,
    given().counts_injected();
    0      HandedOver(Complete)         => Nothing;
    0      grpc(200).status("14").ends().by(Injected) => Failure;
}

row! { an_injected_status_that_is_ignored_is_neutral, given().counts_injected().ignores(503);
    0      HandedOver(Complete)         => Nothing;
    0      head(503).ends().by(Injected) => Neutral;
}

// Streams that may never end.

row! { server_sent_events_settle_at_their_headers, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    500    head(200).kind("text/event-stream") => Success;
    9_000  ClientGone                   => Nothing;
}

row! { server_sent_events_are_known_in_any_case_and_with_parameters, given();
    0      HandedOver(Complete)         => Nothing;
    500    head(200).kind("Text/Event-Stream ; charset=utf-8") => Success;
    9_000  Broken(Reset)                => Nothing;
}

row! { late_server_sent_events_are_slow, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    501    head(200).kind("text/event-stream") => Slow;
}

row! { an_error_in_the_form_of_events_is_a_failure, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(503).kind("text/event-stream") => Failure;
}

row! { an_upgrade_settles_at_its_headers, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    500    head(101)                    => Success;
    500    Switched                     => Nothing;
    9_000  Broken(Reset)                => Nothing;
}

row! { a_late_upgrade_is_slow, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    501    head(101)                    => Slow;
}

row! { a_connect_tunnel_settles_when_it_is_one, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    500    head(200)                    => Answered;
    500    Switched                     => Success;
    9_000  ClientGone                   => Nothing;
}

row! { a_late_connect_tunnel_is_slow, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    501    head(200)                    => Answered;
    501    Switched                     => Slow;
}

row! { a_connect_that_is_refused_by_the_upstream_is_an_ordinary_answer, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(403)                    => Answered;
    200    Ended                        => Success;
}

// Retry-After.

row! { retry_after_comes_with_a_failure, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(503).retry_after("120") => FailureFor(120);
}

row! { retry_after_may_have_blanks_around_it, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(503).retry_after(" 120 ") => FailureFor(120);
}

row! { retry_after_as_a_date_is_left_alone, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(503).retry_after("Wed, 21 Oct 2026 07:28:00 GMT") => Failure;
}

row! { retry_after_with_a_sign_is_no_number, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(503).retry_after("+120") => Failure;
}

row! { retry_after_of_a_good_answer_says_nothing, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).retry_after("120").ends() => Success;
}

row! { retry_after_of_a_late_answer_says_nothing, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    501    head(202).retry_after("120").ends() => Slow;
}

// Ignored, and not listed.

row! { a_status_that_is_ignored_is_neutral, given().ignores(503);
    0      HandedOver(Complete)         => Nothing;
    100    head(503).retry_after("9").ends() => Neutral;
}

row! { a_status_that_is_ignored_is_neutral_with_a_body_and_late,
    given().ignores(429).slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    9_000  head(429)                    => NoEvidence;
    9_100  Ended                        => NoEvidence;
}

row! { a_transport_failure_that_is_ignored_is_neutral, given().ignores_transport(Reset);
    0      HandedOver(Complete)         => Nothing;
    100    Broken(Reset)                => Neutral;
}

row! { a_transport_failure_that_is_not_listed_is_neutral, given().fails_transport(&[Timeout]);
    0      HandedOver(WaitsForUpstream) => Nothing;
    100    Broken(Connect)              => Neutral;
}

row! { an_overflow_is_neutral_by_default, given();
    0      HandedOver(WaitsForUpstream) => Nothing;
    100    Broken(Overflow)             => Neutral;
}

row! { an_overflow_that_is_listed_is_a_failure, given().fails_transport(&[Overflow]);
    0      HandedOver(WaitsForClient)   => Stands;
    100    Broken(Overflow)             => Failure;
}
