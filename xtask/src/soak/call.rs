//! One call of the soak: what is done to it, and what a client may see of it then.

use fastrand::Rng;

/// What happens to a call: by the upstream, and for the last three by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing.
    Good,
    /// An answer 404: of the client's making, so no failure.
    NotFound,
    /// An answer 500.
    Error,
    /// The answer comes within the limit, but not at once.
    Late,
    /// No headers within the policy's limit.
    TooLate,
    /// The connection is reset before the answer.
    ResetBefore,
    /// The connection is reset within the answer's body.
    ResetWithin,
    /// The answer ends before the length it promised.
    Truncated,
    /// A body of many pieces, in both directions.
    Large,
    /// The client leaves before the answer.
    LeavesBefore,
    /// The client leaves within the answer's body.
    LeavesWithin,
    /// The client leaves within its own request's body.
    LeavesSending,
}

/// What a client saw of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A whole answer with this status; not a breaker's.
    Answer(u16),
    /// A breaker's rejection.
    Rejected,
    /// An answer with this status whose body broke off.
    Broken(u16),
    /// The connection ended without an answer.
    Nothing,
    /// It did not stay to see.
    Left,
}

/// What a call counts as in the host, as far as its client can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Admitted, and a success.
    Success,
    /// Admitted, and a failure.
    Failure,
    /// Turned away.
    Rejected,
    /// The client left: admitted or turned away, with any outcome.
    Unknown,
}

impl Fate {
    /// How often each comes, in a thousand calls; what is left is [`Fate::Good`].
    const SHARES: [(Self, u32); 11] = [
        (Self::NotFound, 20),
        (Self::Error, 50),
        (Self::Late, 20),
        (Self::TooLate, 2),
        (Self::ResetBefore, 20),
        (Self::ResetWithin, 10),
        (Self::Truncated, 10),
        (Self::Large, 5),
        (Self::LeavesBefore, 10),
        (Self::LeavesWithin, 10),
        (Self::LeavesSending, 10),
    ];

    /// One drawn at random. A call of a sick tenant is an error more often than not.
    pub fn draw(rng: &mut Rng, tenant: &Tenant) -> Self {
        if matches!(tenant, Tenant::Sick(_)) && rng.u32(..10) < 7 {
            return Self::Error;
        }
        let mut lot = rng.u32(..1000);
        for (fate, share) in Self::SHARES {
            match lot.checked_sub(share) {
                Some(rest) => lot = rest,
                None => return fate,
            }
        }
        Self::Good
    }

    /// The headers by which the echo server is asked for it.
    pub const fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Good | Self::Large | Self::LeavesSending => &[],
            Self::NotFound => &[("x-fault-status", "404")],
            Self::Error => &[("x-fault-status", "500")],
            Self::Late => &[("x-fault-delay-ms", "5")],
            Self::TooLate => &[("x-fault-delay-ms", "2000")],
            Self::ResetBefore => &[("x-fault-abort", "true")],
            Self::ResetWithin => &[
                ("x-fault-reset", "after_headers"),
                ("x-fault-body-bytes", "100000"),
                ("x-fault-body-delay-ms", "2"),
            ],
            Self::Truncated => {
                &[("x-fault-body-bytes", "5000"), ("x-fault-truncate-after", "2000")]
            }
            Self::LeavesBefore => &[("x-fault-delay-ms", "100")],
            Self::LeavesWithin => {
                &[("x-fault-body-bytes", "1000000"), ("x-fault-body-delay-ms", "20")]
            }
        }
    }

    /// Whether the client goes before the call is over.
    pub const fn leaves(self) -> bool {
        matches!(self, Self::LeavesBefore | Self::LeavesWithin | Self::LeavesSending)
    }

    /// What the host must have counted, given what the client saw; `None` where nothing explains
    /// what it saw.
    pub fn explains(self, seen: Seen) -> Option<Count> {
        match (self, seen) {
            (_, Seen::Rejected) => Some(Count::Rejected),
            (fate, _) if fate.leaves() => Some(Count::Unknown),
            (Self::Good | Self::Late | Self::Large, Seen::Answer(200))
            | (Self::NotFound, Seen::Answer(404)) => Some(Count::Success),
            (Self::Error, Seen::Answer(500))
            | (Self::TooLate, Seen::Answer(504))
            | (Self::ResetBefore, Seen::Answer(503))
            | (Self::ResetWithin | Self::Truncated, Seen::Broken(200)) => Some(Count::Failure),
            // The headers may be lost with the connection that was to bring them: the upstream's,
            // or the client's, where they had not gone out when the body broke off.
            (Self::ResetWithin, Seen::Answer(503))
            | (Self::ResetWithin, Seen::Nothing)
            | (Self::Truncated, Seen::Nothing) => Some(Count::Failure),
            _ => None,
        }
    }
}

/// Whose call it is: the breaker's scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tenant {
    /// One of forty that call often.
    Usual(u32),
    /// One of four whose calls fail more often than not.
    Sick(u32),
    /// One that calls once and is never seen again: the table of scopes must make room.
    Passing(u64),
}

impl Tenant {
    /// One drawn at random: a call in a hundred is a passing one's.
    pub fn draw(rng: &mut Rng) -> Self {
        match rng.u32(..100) {
            0 => Self::Passing(rng.u64(..)),
            1..20 => Self::Sick(rng.u32(..4)),
            _ => Self::Usual(rng.u32(..40)),
        }
    }

    /// Its name.
    pub fn name(&self) -> String {
        match self {
            Self::Usual(number) => format!("usual-{number}"),
            Self::Sick(number) => format!("sick-{number}"),
            Self::Passing(number) => format!("passing-{number:x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fate_comes_about_as_often_as_it_should() {
        let mut rng = Rng::with_seed(1);
        let mut good = 0;
        let mut errors = [0; 2];
        for _ in 0..10_000 {
            good += u32::from(Fate::draw(&mut rng, &Tenant::Usual(1)) == Fate::Good);
            errors[0] += u32::from(Fate::draw(&mut rng, &Tenant::Usual(1)) == Fate::Error);
            errors[1] += u32::from(Fate::draw(&mut rng, &Tenant::Sick(1)) == Fate::Error);
        }
        assert!((8_100..8_600).contains(&good), "{good}");
        assert!((400..600).contains(&errors[0]) && errors[1] > 6_500, "{errors:?}");
    }

    #[test]
    fn nothing_explains_a_strange_answer() {
        assert_eq!(Fate::Good.explains(Seen::Answer(200)), Some(Count::Success));
        for seen in [Seen::Answer(503), Seen::Broken(200), Seen::Nothing] {
            assert_eq!(Fate::Good.explains(seen), None);
        }
        assert_eq!(Fate::Error.explains(Seen::Answer(200)), None);
        assert_eq!(Fate::LeavesBefore.explains(Seen::Left), Some(Count::Unknown));
        assert_eq!(Fate::Error.explains(Seen::Rejected), Some(Count::Rejected));
    }
}
