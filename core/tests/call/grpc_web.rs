//! gRPC-Web: the status stands in the last frame of the body, flag 0x80; unseen is neutral.

use crate::row::{Given, In, Out, play, prelude::*};

const BINARY: &str = "application/grpc-web+proto";
const TEXT: &str = "application/grpc-web-text";

/// A frame: its flags, its length, its bytes.
pub(crate) fn frame(flags: u8, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    lying(flags, bytes.len() as u32, bytes)
}

/// A frame whose length is not that of its bytes.
fn lying(flags: u8, length: u32, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    [&[flags], &length.to_be_bytes()[..], bytes.as_ref()].concat()
}

row! { the_status_in_the_last_frame_is_a_failure, given();
    0      HandedOver(Complete)         => Nothing;
    0      Look                         => WantsNoBody;
    100    head(200).kind(BINARY)       => Answered;
    100    Look                         => WantsBody;
    200    body(frame(0, "a message"))  => Nothing;
    200    Look                         => WantsBody;
    300    body(frame(0x80, "grpc-status: 14\r\n")) => Failure;
    300    Look                         => WantsNoBody;
    400    Ended                        => Nothing;
}

row! { ok_in_the_last_frame_is_a_success, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    500    head(200).kind(BINARY)       => Answered;
    9_000  body(frame(0x80, "grpc-status: 0\r\n")) => Success;
    9_001  Broken(Reset)                => Nothing;
}

row! { ok_in_the_last_frame_of_late_headers_is_slow, given().slower_than(500);
    0      HandedOver(Complete)         => Nothing;
    501    head(200).kind(BINARY)       => Answered;
    600    body(frame(0x80, "grpc-status: 0\r\n")) => Slow;
}

row! { the_status_may_come_with_messages_in_one_piece, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind(BINARY)       => Answered;
    200    body([frame(0, "one"), frame(0, ""), frame(0x80, "grpc-status: 14\r\n")].concat())
                                        => Failure;
}

// In headers.

row! { a_grpc_web_status_in_headers_settles_there, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind(BINARY).status("14").ends() => Failure;
}

row! { a_grpc_web_text_status_in_headers_settles_there, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind(TEXT).status("0").ends() => Success;
    100    Look                         => WantsNoBody;
}

row! { an_http_error_of_type_grpc_web_is_a_failure_at_its_headers, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(503).kind(TEXT)         => Failure;
    100    Look                         => WantsNoBody;
}

// Never seen.

row! { a_body_that_ends_without_a_status_is_neutral, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind(BINARY)       => Answered;
    200    body(frame(0, "a message"))  => Nothing;
    300    Ended                        => Neutral;
}

row! { trailers_of_another_name_only_are_neutral, given().slower_than(50);
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind(BINARY)       => Answered;
    200    body(frame(0x80, "grpc-message: bad\r\nx-grpc-status: 14\r\n")) => Nothing;
    300    Trailers(None)               => Neutral;
}

row! { behind_a_piece_that_was_not_seen_there_is_no_status, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind(BINARY)       => Answered;
    200    body(frame(0, "a message"))  => Nothing;
    200    Unseen                       => Nothing;
    200    body(frame(0x80, "grpc-status: 14\r\n")) => Nothing;
    300    Ended                        => Neutral;
}

row! { an_empty_body_is_neutral, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind(BINARY).ends() => Neutral;
}

row! { trailers_that_are_compressed_are_neutral, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind(BINARY)       => Answered;
    200    body(frame(0x81, "grpc-status: 14\r\n")) => Nothing;
    300    Ended                        => Neutral;
}

row! { a_message_that_reads_like_a_status_is_none, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind(BINARY)       => Answered;
    200    body(frame(0, "grpc-status: 14\r\n")) => Nothing;
    200    body(frame(1, "grpc-status: 14\r\n")) => Nothing;
    200    body(frame(1, b"\x80\0\0\0\x10grpc-status: 14\n")) => Nothing;
    300    body(frame(0x80, "grpc-status: 0\r\n")) => Success;
}

row! { a_reset_before_the_last_frame_is_a_failure, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind(TEXT)         => Answered;
    200    body("AAAAAAJoaQ==")         => Nothing;
    300    Broken(Reset)                => Failure;
}

// Lengths that lie.

row! { a_message_that_claims_too_much_hides_the_status, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind(BINARY)       => Answered;
    200    body(lying(0, u32::MAX, "a message")) => Nothing;
    200    body(frame(0x80, "grpc-status: 14\r\n")) => Nothing;
    300    Ended                        => Neutral;
}

row! { a_message_that_claims_too_little_is_no_status, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind(BINARY)       => Answered;
    200    body(lying(0, 1, "abc"))     => Nothing;
    200    body(frame(0x80, "grpc-status: 14\r\n")) => Nothing;
    300    Ended                        => Neutral;
}

row! { trailers_that_claim_too_much_give_the_status_at_the_end_of_its_line, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind(BINARY)       => Answered;
    200    body(lying(0x80, u32::MAX, "grpc-status: 14\r\n")) => Failure;
}

row! { trailers_that_claim_too_much_and_break_off_within_the_line_are_neutral, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind(BINARY)       => Answered;
    200    body(lying(0x80, 99, "grpc-status: 14")) => Nothing;
    300    Ended                        => Neutral;
}

row! { a_prefix_that_breaks_off_is_neutral, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind(BINARY)       => Answered;
    200    body(b"\x80\0\0")            => Nothing;
    300    Ended                        => Neutral;
}

row! { a_value_with_a_gap_in_it_is_unknown, given().fails_grpc(&[2]);
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind(BINARY)       => Answered;
    200    body(frame(0x80, "grpc-status: 1 4\r\n")) => Failure;
}

row! { a_value_with_a_bare_cr_in_it_is_unknown, given().fails_grpc(&[2]);
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind(BINARY)       => Answered;
    200    body(frame(0x80, "grpc-status: 1\r4\r\n")) => Failure;
}

// Base64, each part padded by itself.

row! { text_parts_are_padded_each_by_itself, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind(TEXT)         => Answered;
    200    body("AAAAAAJoaQ==")         => Nothing;
    300    body("gAAAABFncnBjLXN0YXR1czogMTQNCg==") => Failure;
}

row! { text_parts_may_come_in_one_piece, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind(TEXT)         => Answered;
    200    body("AAAAAAJoaQ==gAAAAA9ncnBjLXN0YXR1czowDQo=") => Success;
}

row! { text_may_be_one_part, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind("application/grpc-web-text+proto") => Answered;
    200    body("AAAAAAJoaYAAAAARZ3JwYy1zdGF0dXM6IDE0DQo=") => Failure;
}

row! { text_that_is_no_base64_is_neutral, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind(TEXT)         => Answered;
    200    body(frame(0x80, "grpc-status: 14\r\n")) => Nothing;
    300    Ended                        => Neutral;
}

row! { base64_in_a_binary_body_is_neutral, given();
    0      HandedOver(Complete)         => Nothing;
    100    head(200).kind(BINARY)       => Answered;
    200    body("gAAAABFncnBjLXN0YXR1czogMTQNCg==") => Nothing;
    300    Ended                        => Neutral;
}

/// Every form of the trailers, and what it says.
const FORMS: [(&str, Out); 16] = [
    ("grpc-status: 14\r\n", Failure),
    ("grpc-status:14\r\n", Failure),
    ("grpc-status:\t 14 \r\n", Failure),
    ("grpc-status: 14\n", Failure),
    ("grpc-status: 14", Failure),
    ("grpc-status: 14\r\n\r\n", Failure),
    ("GRPC-Status: 14\r\n", Failure),
    ("grpc-message: a: b\r\nx:\r\ngrpc-status: 14\r\n", Failure),
    ("grpc-status-details-bin: CAA\r\ngrpc-status: 14\r\n", Failure),
    ("x-grpc-status: 0\r\ngrpc-status: 14\r\n", Failure),
    ("grpc-message: grpc-status: 14\r\ngrpc-status: 0\r\n", Success),
    ("grpc-statu: 14\r\ngrpc-status: 0\r\n", Success),
    // UNKNOWN is not listed.
    ("grpc-status: 46\r\n", Success),
    ("grpc-status: 14x\r\n", Success),
    ("grpc-status: +14\r\n", Success),
    ("grpc-status:\r\n", Success),
];

/// Values that are UNKNOWN.
const UNKNOWN: [&str; 6] = ["", "x", "-1", "+1", "17", "99999999999"];

fn answer(given: Given, kind: &str, pieces: &[&[u8]], says: Out) {
    let mut steps = vec![(0, HandedOver(Complete), Nothing)];
    steps.push((100, head(200).kind(kind).into(), Answered));
    let last = pieces.len() - 1;
    steps.extend(pieces.iter().enumerate().map(|(place, piece)| {
        let out = if place == last { says } else { Nothing };
        (200, In::Body(piece.to_vec()), out)
    }));
    play(given, &steps);
}

#[test]
fn the_trailers_may_have_any_form() {
    for (lines, says) in FORMS {
        println!("{lines:?}");
        answer(given(), BINARY, &[&frame(0x80, lines)], says);
    }
}

#[test]
fn a_value_that_is_no_status_is_unknown() {
    for value in UNKNOWN {
        println!("{value:?}");
        let lines = format!("grpc-status: {value}\r\n");
        answer(given().fails_grpc(&[2]), BINARY, &[&frame(0x80, lines)], Failure);
    }
}

/// A message and trailers. The status must come with the last byte, so its line is the last.
fn whole(lines: &str) -> Vec<u8> {
    [frame(0, "hi"), frame(0x80, lines)].concat()
}

#[test]
fn a_body_may_be_cut_at_every_byte() {
    let message = "grpc-message: x\r\nGrpc-Status: 14\r\n";
    let bodies: [(&str, Vec<u8>); 4] = [
        (BINARY, whole("grpc-status: 14\r\n")),
        (BINARY, whole(message)),
        (TEXT, b"AAAAAAJoaQ==gAAAABFncnBjLXN0YXR1czogMTQNCg".to_vec()),
        (TEXT, b"AAAAAAJoaYAAAAARZ3JwYy1zdGF0dXM6IDE0DQo".to_vec()),
    ];
    for (kind, body) in &bodies {
        for cut in 0..body.len() {
            let (first, rest) = body.split_at(cut);
            answer(given(), kind, &[first, rest], Failure);
        }
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        answer(given(), kind, &bytes, Failure);
    }
}
