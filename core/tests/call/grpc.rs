//! gRPC over HTTP/2: the call ends at its `grpc-status`, in headers or in trailers.

use crate::row::prelude::*;

row! { trailers_only_settles_at_the_headers, given();
    0      HandedOver(Complete)         => Nothing;
    100    grpc(200).status("14").ends() => Failure;
}

row! { trailers_only_with_ok_is_a_success, given();
    0      HandedOver(Complete)         => Nothing;
    100    grpc(200).status("0").ends() => Success;
}

row! { trailers_only_with_a_status_that_is_not_listed_is_a_success, given();
    0      HandedOver(Complete)         => Nothing;
    100    grpc(200).status("5").ends() => Success;
}

row! { trailers_only_with_ok_is_slow_where_it_is_late, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    501    grpc(200).status("0").ends() => Slow;
}

row! { trailers_only_may_carry_retry_after, given();
    0      HandedOver(Complete)         => Nothing;
    100    grpc(200).status("14").retry_after("3").ends() => FailureFor(3);
}

row! { a_status_in_the_trailers_is_a_failure, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    0      Look                         => WantsNoTrailers;
    100    grpc(200)                    => Answered;
    100    Look                         => WantsNoBody;
    100    Look                         => WantsTrailers;
    9_000  trailers("14")               => Failure;
}

row! { ok_in_the_trailers_is_a_success, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    500    grpc(200)                    => Answered;
    9_000  trailers("0")                => Success;
}

row! { ok_in_the_trailers_of_late_headers_is_slow, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    501    grpc(200)                    => Answered;
    9_000  trailers("0")                => Slow;
}

row! { a_failure_in_the_trailers_of_late_headers_is_a_failure, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    501    grpc(200)                    => Answered;
    9_000  trailers("13")               => Failure;
}

// The status is missing.

row! { trailers_without_a_status_are_neutral, given();
    0      HandedOver(Complete)         => Nothing;
    100    grpc(200)                    => Answered;
    200    Trailers(None)               => Neutral;
}

row! { an_end_without_trailers_is_neutral, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    501    grpc(200)                    => Answered;
    600    Ended                        => Neutral;
}

row! { headers_that_end_without_a_status_are_neutral, given();
    0      HandedOver(Complete)         => Nothing;
    100    grpc(200).ends()             => Neutral;
}

row! { a_reset_before_the_status_is_a_failure, given();
    0      HandedOver(Complete)         => Nothing;
    100    grpc(200)                    => Answered;
    200    Broken(Reset)                => Failure;
}

row! { a_reset_of_a_stream_whose_request_is_open_is_a_failure_after_good_headers, given();
    0      HandedOver(WaitsForClient)   => Stands;
    100    grpc(200)                    => Answered;
    9_000  Broken(Reset)                => Failure;
}

// What is no number is UNKNOWN (2), and so is what is beyond the table.

row! { a_status_that_is_no_number_is_unknown, given().fails_grpc(&[2]);
    0      HandedOver(Complete)         => Nothing;
    100    grpc(200)                    => Answered;
    200    trailers("UNAVAILABLE")      => Failure;
}

row! { a_status_that_is_no_number_is_unknown_in_headers_too, given().fails_grpc(&[2]);
    0      HandedOver(Complete)         => Nothing;
    100    grpc(200).status("").ends()  => Failure;
}

row! { unknown_is_judged_as_the_policy_says, given().fails_grpc(&[14]);
    0      HandedOver(Complete)         => Nothing;
    100    grpc(200)                    => Answered;
    200    trailers("14x")              => Success;
}

row! { a_status_below_zero_is_unknown, given().fails_grpc(&[2]);
    0      HandedOver(Complete)         => Nothing;
    100    grpc(200).status("-1").ends() => Failure;
}

row! { a_status_with_a_sign_is_unknown, given().fails_grpc(&[2]);
    0      HandedOver(Complete)         => Nothing;
    100    grpc(200).status("+14").ends() => Failure;
}

row! { a_status_above_16_is_unknown, given().fails_grpc(&[2]);
    0      HandedOver(Complete)         => Nothing;
    100    grpc(200)                    => Answered;
    200    trailers("17")               => Failure;
}

row! { a_status_above_16_is_none_of_those_that_share_its_low_bits, given().fails_grpc(&[1, 14]);
    0      HandedOver(Complete)         => Nothing;
    100    grpc(200)                    => Answered;
    200    trailers("46")               => Success;
}

row! { a_status_too_large_for_a_number_is_unknown, given().fails_grpc(&[2]);
    0      HandedOver(Complete)         => Nothing;
    100    grpc(200)                    => Answered;
    200    trailers("99999999999999999999") => Failure;
}

row! { status_16_is_itself, given().fails_grpc(&[16]);
    0      HandedOver(Complete)         => Nothing;
    100    grpc(200)                    => Answered;
    200    trailers("16")               => Failure;
}

// HTTP says it first.

row! { an_http_error_of_type_grpc_is_a_failure_at_its_headers, given();
    0      HandedOver(Complete)         => Nothing;
    100    grpc(503)                    => Failure;
    200    trailers("0")                => Nothing;
}

row! { an_http_error_is_a_failure_whatever_the_grpc_status, given();
    0      HandedOver(Complete)         => Nothing;
    100    grpc(503).status("0").ends() => Failure;
}

row! { a_404_of_type_grpc_without_a_status_is_neutral, given();
    0      HandedOver(Complete)         => Nothing;
    100    grpc(404).ends()             => Neutral;
}

row! { a_grpc_status_that_is_ignored_is_neutral, given().ignores_grpc(14);
    0      HandedOver(Complete)         => Nothing;
    100    grpc(200)                    => Answered;
    200    trailers("14")               => Neutral;
}

// What is gRPC and what is not.

row! { the_media_type_is_known_with_its_format_in_any_case_and_with_parameters, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind("Application/GRPC+proto ; charset=utf-8").status("14").ends() => Failure;
}

row! { a_grpc_status_on_a_plain_answer_means_nothing, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind("application/json").status("14") => Answered;
    200    trailers("14")               => Success;
}

row! { a_media_type_that_only_begins_like_grpc_is_plain, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind("application/grpcx").status("14").ends() => Success;
}

row! { without_a_media_type_an_answer_is_plain, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).status("14").ends() => Success;
}
