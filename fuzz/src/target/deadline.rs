//! Whatever a caller says of its time: it is read as the texts say, and what goes on is never more.

use crate::Behaviour;
use bimetal_core::Duration;
use bimetal_core::deadline::{DeadlinePolicy, GrpcTimeout};

/// Words of both fields. The first line is `grpc-timeout`, the second one `x-request-deadline-ms`.
pub(super) const WORDS: &[&str] = &[
    "\n",
    "H",
    "M",
    "S",
    "m",
    "u",
    "n",
    "0",
    "1",
    "99999999",
    "100000000",
    "-",
    "-1",
    "+1",
    "1.5",
    " ",
    "18446744073709551615",
    "18446744073709551616",
    "1e9",
    "\u{661}",
    "1,2",
];

/// The two fields of a request.
pub(super) fn fields(bytes: &[u8]) -> Behaviour {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let (grpc, millis) = (lines.next(), lines.next());
    let policy = |grpc, millis| DeadlinePolicy {
        accepts_grpc_timeout: grpc,
        accepts_deadline_ms: millis,
        margin: Duration::from_millis(5),
        forwards: true,
    };
    let both = policy(true, true).left(grpc, millis);
    let alone = [policy(true, false).left(grpc, millis), policy(false, true).left(grpc, millis)];
    assert_eq!(both, alone.iter().flatten().min().copied(), "the shorter one counts");
    assert_eq!(alone[0].map(Duration::as_nanos), grpc.and_then(grpc_timeout));
    assert_eq!(alone[1].map(Duration::as_nanos), millis.and_then(whole_millis));
    assert_eq!(policy(false, false).left(grpc, millis), None);
    if let Some(left) = both {
        let told = GrpcTimeout(left).to_string();
        let again = policy(true, false).left(Some(told.as_bytes()), None).map(Duration::as_nanos);
        let again = again.unwrap_or_else(|| panic!("{told} cannot be read"));
        // Rounded down to the finest unit that eight digits hold.
        assert!(again <= left.as_nanos(), "{told} is more than {left:?}");
        let all_hours = 99_999_999_u64.saturating_mul(3_600_000_000_000);
        let lost = left.as_nanos().min(all_hours) - again;
        assert!(u128::from(lost) * 1_600 <= u128::from(left.as_nanos()), "{told} of {left:?}");
        let usable = policy(true, true).check(left, Duration::ZERO);
        assert_eq!(usable.is_ok(), left > Duration::from_millis(5));
    }
    let size = |time: Option<Duration>| time.map(|time| time.as_nanos().checked_ilog10());
    Behaviour::of((size(alone[0]), size(alone[1]), grpc.map(|text| text.len().min(10))))
}

/// gRPC over HTTP/2, "Requests": `Timeout` is at most eight digits and a unit. In nanoseconds.
fn grpc_timeout(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let units = [
        ("H", 3_600_000_000_000),
        ("M", 60_000_000_000),
        ("S", 1_000_000_000),
        ("m", 1_000_000),
        ("u", 1_000),
        ("n", 1),
    ];
    let (digits, unit) =
        units.iter().find_map(|(name, nanos)| Some((text.strip_suffix(name)?, nanos)))?;
    let is_number =
        (1..=8).contains(&digits.len()) && digits.bytes().all(|one| one.is_ascii_digit());
    let count: u64 = digits.parse().ok().filter(|_| is_number)?;
    Some(count.saturating_mul(*unit))
}

/// Whole milliseconds; what is negative is over, and what is beyond all ranges the longest time.
fn whole_millis(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let (is_past, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    if digits.is_empty() || !digits.bytes().all(|one| one.is_ascii_digit()) {
        return None;
    }
    let millis: u128 = digits.parse().unwrap_or(u128::MAX);
    Some(if is_past {
        0
    } else {
        u64::try_from(millis.saturating_mul(1_000_000)).unwrap_or(u64::MAX)
    })
}
