//! Answers that come while the request is still going out, and resets around them.

use crate::row::prelude::*;

row! { an_early_200_stops_the_clock_for_good, given().limit(2_000).slower_than(500);
    0      HandedOver(WaitsForClient)   => Stands;
    5_000  Request(WaitsForUpstream)    => Runs;
    5_100  head(200)                    => Answered;
    5_100  Look                         => NeverDue;
    6_000  Request(WaitsForUpstream)    => Nothing;
    9_000  Request(Complete)            => Nothing;
    9_000  Look                         => NeverDue;
    9_000  Look                         => Shows(100);
    60_000 Ended                        => Success;
}

row! { an_early_200_that_is_whole_is_a_success_though_the_upload_is_open, given();
    0      HandedOver(WaitsForClient)   => Stands;
    100    head(200)                    => Answered;
    200    Ended                        => Success;
}

row! { an_early_200_and_then_a_reset_is_a_failure, given();
    0      HandedOver(WaitsForClient)   => Stands;
    100    Request(WaitsForUpstream)    => Runs;
    150    head(200)                    => Answered;
    200    Broken(Reset)                => Failure;
}

row! { an_early_413_that_is_whole_is_judged_by_its_status, given();
    0      HandedOver(WaitsForClient)   => Stands;
    100    Request(WaitsForUpstream)    => Runs;
    150    head(413)                    => Answered;
    200    Ended                        => Success;
}

row! { an_early_413_and_then_a_reset_is_no_failure_of_the_upstream, given();
    0      HandedOver(WaitsForClient)   => Stands;
    100    Request(WaitsForUpstream)    => Runs;
    150    head(413)                    => Answered;
    200    Broken(Reset)                => Neutral;
}

row! { an_early_redirect_and_then_a_reset_is_no_failure_of_the_upstream, given();
    0      HandedOver(WaitsForUpstream) => Nothing;
    150    head(307)                    => Answered;
    200    Broken(Reset)                => Neutral;
}

row! { an_early_413_and_a_reset_while_the_client_is_waited_for_is_neutral, given();
    0      HandedOver(WaitsForClient)   => Stands;
    150    head(413)                    => Answered;
    200    Broken(Reset)                => Neutral;
}

row! { an_early_413_that_the_policy_calls_a_failure_settles_at_its_headers, given().fails(413);
    0      HandedOver(WaitsForClient)   => Stands;
    150    head(413)                    => Failure;
    200    Broken(Reset)                => Nothing;
}

row! { an_early_503_settles_at_its_headers, given().slower_than(500);
    0      HandedOver(WaitsForClient)   => Stands;
    9_000  head(503).retry_after("4")   => FailureFor(4);
    9_100  Broken(Reset)                => Nothing;
}

row! { a_413_and_a_reset_after_the_request_was_complete_is_a_failure, given();
    0      HandedOver(WaitsForClient)   => Stands;
    100    Request(Complete)            => Runs;
    150    head(413)                    => Answered;
    200    Broken(Reset)                => Failure;
}

row! { an_answer_lost_while_the_upload_goes_out_is_neutral, given();
    0      HandedOver(WaitsForUpstream) => Nothing;
    100    Broken(Reset)                => Neutral;
}

row! { an_answer_lost_while_the_client_is_waited_for_is_neutral, given();
    0      HandedOver(WaitsForClient)   => Stands;
    100    Request(WaitsForUpstream)    => Runs;
    101    Request(WaitsForClient)      => Stands;
    9_000  Broken(Reset)                => Neutral;
}

row! { a_reset_after_an_informational_head_within_an_upload_is_neutral, given();
    0      HandedOver(WaitsForClient)   => Stands;
    100    Informational                => Nothing;
    200    Request(WaitsForUpstream)    => Runs;
    300    Broken(Reset)                => Neutral;
}

row! { a_reset_when_the_request_is_complete_is_a_failure, given();
    0      HandedOver(WaitsForClient)   => Stands;
    100    Request(Complete)            => Runs;
    200    Broken(Reset)                => Failure;
}

row! { a_reset_of_a_request_without_a_body_is_a_failure, given();
    0      HandedOver(Complete)         => Nothing;
    200    Broken(Reset)                => Failure;
}

row! { a_reset_after_good_headers_is_a_failure, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200)                    => Answered;
    9_000  Broken(Reset)                => Failure;
}

row! { a_timeout_within_the_body_while_the_client_is_waited_for_is_neutral, given().limit(2_000);
    0      HandedOver(WaitsForClient)   => Stands;
    100    head(200)                    => Answered;
    60_000 Broken(Timeout)              => Neutral;
}

row! { a_client_that_leaves_its_upload_after_an_early_answer_is_neutral,
    given().limit(2_000).slower_than(500);
    0      HandedOver(WaitsForClient)   => Stands;
    100    head(200)                    => Answered;
    60_000 ClientGone                   => Neutral;
}
