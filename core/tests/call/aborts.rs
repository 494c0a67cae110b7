//! Clients that leave: who kept whom waiting is what the upstream's clock shows.
//!
//! At or after the limit on that clock it is a timeout; after `slower_than` it is slow; any other
//! abort is neutral.

use crate::row::prelude::*;

// In our queue.

row! { an_abort_in_our_queue_is_neutral_however_late, given().limit(2_000).slower_than(500);
    0      Queued                       => Stands;
    60_000 ClientGone                   => Neutral;
}

row! { an_abort_in_our_queue_after_the_request_was_complete_is_neutral,
    given().limit(2_000).slower_than(500);
    0      Queued                       => Stands;
    1_000  Request(Complete)            => Nothing;
    60_000 ClientGone                   => Neutral;
}

row! { an_abort_after_our_queue_counts_from_the_hand_over, given().limit(2_000).slower_than(500);
    0      Queued                       => Stands;
    9_000  HandedOver(Complete)         => Runs;
    9_500  ClientGone                   => Neutral;
}

// Connecting.

row! { an_abort_while_we_connect_is_neutral_at_slower_than, given().limit(2_000).slower_than(500);
    0      HandedOver(WaitsForUpstream) => Nothing;
    500    ClientGone                   => Neutral;
}

row! { an_abort_while_we_connect_is_slow_after_slower_than, given().limit(2_000).slower_than(500);
    0      HandedOver(WaitsForUpstream) => Nothing;
    501    ClientGone                   => Slow;
}

row! { an_abort_while_we_connect_is_a_timeout_at_the_limit, given().limit(2_000).slower_than(500);
    0      HandedOver(WaitsForUpstream) => Nothing;
    2_000  ClientGone                   => Failure;
}

// In the client's own upload.

row! { an_abort_within_the_own_upload_is_neutral, given().limit(2_000).slower_than(500);
    0      HandedOver(WaitsForClient)   => Stands;
    400    ClientGone                   => Neutral;
}

row! { an_abort_within_the_own_upload_is_neutral_long_after_the_limit,
    given().limit(2_000).slower_than(500);
    0      HandedOver(WaitsForClient)   => Stands;
    1_000  Request(WaitsForUpstream)    => Runs;
    1_001  Request(WaitsForClient)      => Stands;
    90_000 ClientGone                   => Neutral;
}

row! { an_abort_within_the_own_upload_is_slow_where_the_upstream_had_blocked_it,
    given().limit(2_000).slower_than(500);
    0      HandedOver(WaitsForUpstream) => Nothing;
    501    Request(WaitsForClient)      => Stands;
    90_000 ClientGone                   => Slow;
}

// While the upstream takes nothing of the upload.

row! { an_abort_while_the_upstream_blocks_is_neutral_until_slower_than,
    given().limit(2_000).slower_than(500);
    0      HandedOver(WaitsForClient)   => Stands;
    7_000  Request(WaitsForUpstream)    => Runs;
    7_500  ClientGone                   => Neutral;
}

row! { an_abort_while_the_upstream_blocks_is_slow_just_before_the_limit,
    given().limit(2_000).slower_than(500);
    0      HandedOver(WaitsForClient)   => Stands;
    7_000  Request(WaitsForUpstream)    => Runs;
    8_999  ClientGone                   => Slow;
}

row! { an_abort_while_the_upstream_blocks_is_a_timeout_at_the_limit,
    given().limit(2_000).slower_than(500);
    0      HandedOver(WaitsForClient)   => Stands;
    7_000  Request(WaitsForUpstream)    => Runs;
    9_000  ClientGone                   => Failure;
}

// The request is complete, no headers yet.

row! { an_abort_before_slower_than_is_neutral, given().limit(2_000).slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    499    ClientGone                   => Neutral;
}

row! { an_abort_exactly_at_slower_than_is_neutral, given().limit(2_000).slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    500    ClientGone                   => Neutral;
}

row! { an_abort_after_slower_than_is_slow, given().limit(2_000).slower_than(500);
    0      HandedOver(WaitsForClient)   => Stands;
    8_000  Request(Complete)            => Runs;
    8_501  ClientGone                   => Slow;
}

row! { an_abort_just_before_the_limit_is_neutral_where_nothing_is_slow, given().limit(2_000);
    0      HandedOver(Complete)         => Nothing;
    1_999  ClientGone                   => Neutral;
}

row! { an_abort_exactly_at_the_limit_is_a_timeout, given().limit(2_000);
    0      HandedOver(Complete)         => Nothing;
    2_000  ClientGone                   => Failure;
}

row! { an_abort_after_the_limit_is_a_timeout, given().limit(2_000).slower_than(500);
    0      HandedOver(WaitsForClient)   => Stands;
    8_000  Request(Complete)            => Runs;
    10_001 ClientGone                   => Failure;
}

row! { an_abort_at_the_limit_is_neutral_where_timeouts_are_no_failures,
    given().limit(2_000).fails_transport(&[Connect, Reset]);
    0      HandedOver(Complete)         => Nothing;
    2_000  ClientGone                   => Neutral;
}

row! { an_abort_is_neutral_where_nobody_keeps_a_limit, given();
    0         HandedOver(Complete)      => Nothing;
    3_600_000 Look                      => NeverDue;
    3_600_000 ClientGone                => Neutral;
}

// Within the answer.

row! { an_abort_within_the_body_of_a_good_answer_is_neutral, given().limit(2_000).slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    500    head(200)                    => Answered;
    60_000 Body(vec![0; 9])             => Nothing;
    90_000 ClientGone                   => Neutral;
}

row! { an_abort_within_the_body_of_a_late_answer_is_slow, given().limit(2_000).slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    501    head(200)                    => Answered;
    502    ClientGone                   => Slow;
}

row! { an_abort_after_headers_that_came_after_the_limit_is_no_timeout, given().limit(2_000);
    0      HandedOver(Complete)         => Nothing;
    2_100  head(200)                    => Answered;
    9_000  ClientGone                   => Neutral;
}

row! { an_abort_within_an_answer_that_is_ignored_is_neutral_though_it_was_late,
    given().slower_than(500).ignores(429);
    0      HandedOver(Complete)         => Nothing;
    9_000  head(429)                    => NoEvidence;
    9_100  ClientGone                   => NoEvidence;
}

row! { an_abort_before_the_grpc_status_is_neutral, given().limit(2_000).slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    100    grpc(200)                    => Answered;
    9_000  ClientGone                   => Neutral;
}

row! { an_abort_before_the_grpc_status_of_a_late_answer_is_slow, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    501    grpc(200)                    => Answered;
    9_000  ClientGone                   => Slow;
}

row! { an_abort_after_a_failure_says_nothing_more, given().limit(2_000).slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    100    head(503)                    => Failure;
    9_000  ClientGone                   => Nothing;
}

row! { an_abort_is_measured_by_the_latency_that_the_host_knows, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    9_000  head(200).took(500)          => Answered;
    9_100  ClientGone                   => Neutral;
}

// Dropped without a word.

row! { a_call_that_is_dropped_is_neutral, given().limit(2_000).slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    9_000  Dropped                      => Neutral;
}

row! { a_call_that_is_dropped_within_a_late_answer_is_neutral, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    501    head(200)                    => Answered;
    9_000  Dropped                      => Neutral;
}

row! { a_call_that_is_dropped_before_it_was_handed_over_is_neutral, given();
    0      Dropped                      => Neutral;
}
