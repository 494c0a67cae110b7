//! A call may have several tries: the limit and the clock are the call's, the latency and the
//! answer are the last try's.

use crate::row::prelude::*;

row! { the_latency_of_a_second_try_is_its_own, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    400    Broken(Reset)                => Failure;
    400    HandedOver(Complete)         => Nothing;
    900    head(200)                    => Answered;
    900    Look                         => Shows(900);
    1_000  Ended                        => Success;
}

row! { a_second_try_can_be_slow_itself, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    400    Broken(Reset)                => Failure;
    400    HandedOver(Complete)         => Nothing;
    901    head(200).ends()             => Slow;
}

row! { the_limit_is_the_calls, given().limit(1_000);
    0      HandedOver(Complete)         => Nothing;
    400    Broken(Connect)              => Failure;
    400    HandedOver(Complete)         => Nothing;
    400    Look                         => Due(1_000);
    1_000  Broken(Timeout)              => Failure;
}

row! { an_abort_of_a_second_try_is_a_timeout_at_the_calls_limit, given().limit(1_000);
    0      HandedOver(Complete)         => Nothing;
    400    Broken(Connect)              => Failure;
    400    HandedOver(Complete)         => Nothing;
    1_000  ClientGone                   => Failure;
}

row! { an_abort_of_a_second_try_is_neutral_before_the_calls_limit, given().limit(1_000);
    0      HandedOver(Complete)         => Nothing;
    400    Broken(Connect)              => Failure;
    400    HandedOver(Complete)         => Nothing;
    999    ClientGone                   => Neutral;
}

row! { an_abort_of_a_second_try_that_waited_too_long_itself_is_slow,
    given().limit(2_000).slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    400    Broken(Connect)              => Failure;
    400    HandedOver(Complete)         => Nothing;
    901    ClientGone                   => Slow;
}

row! { the_headers_of_a_first_try_do_not_hide_the_second_from_the_limit, given().limit(1_000);
    0      HandedOver(Complete)         => Nothing;
    100    head(503)                    => Failure;
    100    HandedOver(Complete)         => Nothing;
    100    Look                         => Due(1_000);
    1_000  ClientGone                   => Failure;
}

row! { waiting_between_two_tries_is_not_the_upstreams_time, given().limit(1_000).slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    100    Broken(Connect)              => Failure;
    100    Queued                       => Stands;
    5_000  Look                         => NeverDue;
    5_000  HandedOver(Complete)         => Runs;
    5_000  Look                         => Due(5_900);
    5_500  head(200).ends()             => Success;
}

row! { waiting_after_a_503_is_not_the_upstreams_time, given().limit(1_000).slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    100    head(503).retry_after("5")   => FailureFor(5);
    100    Queued                       => Stands;
    5_100  HandedOver(Complete)         => Runs;
    5_100  Look                         => Due(6_000);
    5_500  head(200).ends()             => Success;
}

row! { a_second_try_may_wait_for_the_client, given().limit(1_000);
    0      HandedOver(WaitsForClient)   => Stands;
    300    Broken(Connect)              => Failure;
    300    HandedOver(WaitsForClient)   => Nothing;
    9_000  ClientGone                   => Neutral;
}

row! { a_second_try_that_is_lost_in_its_upload_is_neutral, given();
    0      HandedOver(Complete)         => Nothing;
    100    Broken(Reset)                => Failure;
    100    HandedOver(WaitsForUpstream) => Nothing;
    200    Broken(Reset)                => Neutral;
}

row! { good_headers_of_a_first_try_are_void, given();
    0      HandedOver(WaitsForClient)   => Stands;
    100    head(200)                    => Answered;
    200    Broken(Reset)                => Failure;
    200    HandedOver(WaitsForClient)   => Nothing;
    300    Ended                        => Nothing;
    400    Broken(Reset)                => Neutral;
}

row! { a_second_try_reads_its_own_grpc_web_body, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind("application/grpc-web") => Answered;
    150    body(b"\x80\0\0\0\x11grpc-status: 1") => Nothing;
    200    Broken(Reset)                => Failure;
    200    HandedOver(Complete)         => Nothing;
    200    Look                         => WantsNoBody;
    300    head(200).kind("application/grpc-web") => Answered;
    400    body(b"\x80\0\0\0\x10grpc-status: 0\r\n") => Success;
}

row! { each_try_settles_once, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(503)                    => Failure;
    150    Broken(Reset)                => Nothing;
    200    HandedOver(Complete)         => Nothing;
    300    head(502)                    => Failure;
    350    Broken(Reset)                => Nothing;
    400    HandedOver(Complete)         => Nothing;
    500    head(200).ends()             => Success;
}
