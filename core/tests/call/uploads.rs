//! Requests on their way: the upstream's clock stands while the call waits for its own client, and
//! runs while the upstream takes nothing or owes the answer.

use crate::row::prelude::*;

// Clients with a slow uplink.

row! { an_upload_of_one_byte_a_second_is_not_slow, given().limit(2_000).slower_than(500);
    0      HandedOver(WaitsForClient)  => Stands;
    1_000  Request(WaitsForUpstream)   => Runs;
    1_000  Request(WaitsForClient)     => Stands;
    2_000  Request(WaitsForUpstream)   => Runs;
    2_000  Request(WaitsForClient)     => Stands;
    3_000  Look                        => NeverDue;
    3_000  Request(WaitsForUpstream)   => Runs;
    3_000  Request(WaitsForClient)     => Stands;
    60_000 Request(Complete)           => Runs;
    60_000 Look                        => Due(62_000);
    60_500 head(200)                   => Answered;
    60_500 Look                        => Shows(500);
    90_000 Ended                       => Success;
}

row! { after_a_slow_upload_a_late_answer_is_still_slow, given().limit(2_000).slower_than(500);
    0      HandedOver(WaitsForClient)  => Stands;
    60_000 Request(Complete)           => Runs;
    60_501 head(200)                   => Answered;
    60_501 Ended                       => Slow;
}

row! { the_waits_of_the_upstream_within_an_upload_add_up, given().limit(2_000).slower_than(500);
    0      HandedOver(WaitsForUpstream) => Nothing;
    200    Request(WaitsForClient)      => Stands;
    5_000  Request(WaitsForUpstream)    => Runs;
    5_200  Request(WaitsForClient)      => Stands;
    9_000  Look                         => Shows(400);
    9_000  Request(Complete)            => Runs;
    9_000  Look                         => Due(10_600);
    9_101  head(200)                    => Answered;
    9_101  Look                         => Shows(501);
    9_101  Ended                        => Slow;
}

row! { an_upload_that_stops_has_no_deadline, given().limit(2_000).slower_than(500);
    0      HandedOver(WaitsForClient)  => Stands;
    100    Request(WaitsForUpstream)   => Runs;
    150    Request(WaitsForClient)     => Stands;
    90_000 Look                        => Shows(50);
    90_000 Look                        => NeverDue;
    90_000 Dropped                     => Neutral;
}

row! { a_timeout_while_the_client_stops_is_not_the_upstreams, given().limit(2_000);
    0      HandedOver(WaitsForClient)  => Stands;
    15_000 Broken(Timeout)             => Neutral;
}

row! { a_timeout_after_a_slow_upload_is_the_upstreams, given().limit(2_000);
    0      HandedOver(WaitsForClient)  => Stands;
    15_000 Request(Complete)           => Runs;
    15_000 Look                        => Due(17_000);
    17_000 Broken(Timeout)             => Failure;
}

row! { saying_twice_that_the_client_is_waited_for_changes_nothing, given().limit(2_000);
    0      HandedOver(WaitsForClient)  => Stands;
    500    Request(WaitsForClient)     => Nothing;
    1_000  Request(Complete)           => Runs;
    1_400  Request(Complete)           => Nothing;
    1_400  Look                        => Due(3_000);
    1_500  head(200).ends()            => Success;
}

// Upstreams that take nothing.

row! { an_upstream_that_takes_no_upload_fails_at_the_limit, given().limit(2_000).slower_than(500);
    0      HandedOver(WaitsForUpstream) => Nothing;
    0      Look                         => Due(2_000);
    2_000  Broken(Timeout)              => Failure;
}

row! { an_upstream_that_stops_taking_an_upload_fails_at_the_limit, given().limit(2_000);
    0      HandedOver(WaitsForClient)   => Stands;
    7_000  Request(WaitsForUpstream)    => Runs;
    7_000  Look                         => Due(9_000);
    8_500  Request(WaitsForUpstream)    => Nothing;
    8_500  Look                         => Due(9_000);
    9_000  Broken(Timeout)              => Failure;
}

row! { connecting_is_the_upstreams_time, given().limit(2_000).slower_than(500);
    0      HandedOver(WaitsForUpstream) => Nothing;
    400    Request(Complete)            => Nothing;
    501    head(200)                    => Answered;
    501    Ended                        => Slow;
}

row! { no_connection_is_a_failure_whoever_is_waited_for, given();
    0      HandedOver(WaitsForClient)   => Stands;
    300    Broken(Connect)              => Failure;
}

// Expect: 100-continue.

row! { our_patience_with_expect_100_is_nobodys_time, given().limit(800).slower_than(500);
    0      HandedOver(WaitsForClient)   => Stands;
    1_000  Look                         => NeverDue;
    1_000  Request(WaitsForUpstream)    => Runs;
    1_100  Request(Complete)            => Nothing;
    1_100  Look                         => Due(1_800);
    1_500  head(200)                    => Answered;
    1_500  Ended                        => Success;
}

row! { a_100_is_no_answer_and_the_upload_goes_on, given().limit(800).slower_than(500);
    0      HandedOver(WaitsForClient)   => Stands;
    300    Informational                => Nothing;
    300    Request(WaitsForClient)      => Nothing;
    9_000  Request(Complete)            => Runs;
    9_500  head(200)                    => Answered;
    9_500  Ended                        => Success;
}

row! { a_client_that_leaves_within_our_patience_is_neutral, given().limit(800).slower_than(500);
    0      HandedOver(WaitsForClient)   => Stands;
    900    ClientGone                   => Neutral;
}

// Informational heads.

row! { informational_heads_for_ever_buy_no_time, given().limit(2_000);
    0      HandedOver(Complete)         => Nothing;
    500    Informational                => Nothing;
    1_000  Informational                => Nothing;
    1_500  Informational                => Nothing;
    1_999  Informational                => Nothing;
    1_999  Look                         => Due(2_000);
    2_000  Broken(Timeout)              => Failure;
}

row! { informational_heads_do_not_hide_a_black_hole_from_an_abort, given().limit(2_000);
    0      HandedOver(Complete)         => Nothing;
    1_900  Informational                => Nothing;
    2_000  ClientGone                   => Failure;
}

row! { an_informational_head_is_not_the_answer_of_an_upstream_that_then_breaks, given();
    0      HandedOver(Complete)         => Nothing;
    100    Informational                => Nothing;
    200    Broken(Reset)                => Failure;
}

row! { latency_counts_to_the_headers_and_not_to_an_informational_head, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    100    Informational                => Nothing;
    501    head(200).ends()             => Slow;
}

// Our queues.

row! { time_in_our_queue_is_not_the_upstreams, given().limit(2_000).slower_than(500);
    0      Queued                       => Stands;
    9_000  Look                         => NeverDue;
    9_000  HandedOver(Complete)         => Runs;
    9_000  Look                         => Due(11_000);
    9_500  head(200)                    => Answered;
    9_500  Ended                        => Success;
}

row! { a_call_that_leaves_our_queue_may_still_wait_for_its_client, given().limit(2_000);
    0      Queued                       => Stands;
    3_000  HandedOver(WaitsForClient)   => Nothing;
    9_000  Request(Complete)            => Runs;
    9_000  Look                         => Due(11_000);
    11_000 Broken(Timeout)              => Failure;
}

row! { a_request_that_is_complete_within_our_queue_starts_no_clock, given().slower_than(500);
    0      Queued                       => Stands;
    1_000  Request(Complete)            => Nothing;
    9_000  Look                         => Shows(0);
    9_000  HandedOver(Complete)         => Runs;
    9_500  head(200)                    => Answered;
    9_500  Ended                        => Success;
}

row! { a_reset_while_our_queue_has_the_whole_request_is_neutral, given();
    0      Queued                       => Stands;
    1_000  Request(Complete)            => Nothing;
    2_000  Broken(Reset)                => Neutral;
}

// Clocks that misbehave.

row! { a_clock_that_goes_backwards_shows_no_time, given().limit(2_000).slower_than(500);
    10_000 HandedOver(Complete)         => Nothing;
    9_000  Look                         => Shows(0);
    9_000  Request(WaitsForClient)      => Stands;
    5_000  Request(Complete)            => Runs;
    5_000  Look                         => Due(7_000);
    5_500  head(200)                    => Answered;
    4_000  Ended                        => Success;
}

row! { a_limit_beyond_the_end_of_time_is_due_at_its_end,
    given().limit(2_000).before_the_end_of_time(1_000);
    0      HandedOver(Complete)         => Nothing;
    0      Look                         => Due(1_000);
    5_000  Look                         => Shows(1_000);
    5_000  ClientGone                   => Neutral;
}

row! { a_limit_at_the_end_of_time_is_reached_there,
    given().limit(1_000).before_the_end_of_time(1_000);
    0      HandedOver(Complete)         => Nothing;
    5_000  ClientGone                   => Failure;
}
