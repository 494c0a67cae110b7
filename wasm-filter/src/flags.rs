//! What Envoy's response flags mean to a breaker: one table.
//!
//! Envoy sets a bit for each thing that went wrong with a request (`response.flags`; the bits are
//! the order of `CoreResponseFlag` in Envoy's `stream_info.h`, seen in 1.33 to 1.40). Several can be
//! set. The table stands in the order in which they decide: the first row whose bit is set wins.

use bimetal_core::outcome::Transport;

/// What a set of flags says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The upstream failed.
    Broken(Transport),
    /// No traffic for too long. Envoy answers 504 where it waited for the upstream and 408 where
    /// it waited for the client, so the status decides.
    Idle,
    /// The client went away.
    ClientGone,
    /// A fault filter made the answer.
    Injected,
    /// Nothing about the upstream: the request never got there, or somebody else ended it.
    NotEvidence,
    /// Only goes with another flag, and adds nothing to it.
    Companion,
}

/// One flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Its place in `response.flags`: bit 0 is the lowest.
    pub bit: u8,
    /// Its name in access logs.
    pub name: &'static str,
    /// What it means.
    pub meaning: Meaning,
}

const fn flag(bit: u8, name: &'static str, meaning: Meaning) -> Flag {
    Flag { bit, name, meaning }
}

/// Every flag, in the order in which they decide.
pub const FLAGS: [Flag; 30] = [
    // A fault filter's answer never was upstream, whatever else is said of it.
    flag(10, "FI", Meaning::Injected),
    // An upstream failure comes before a client that left: Envoy may close the client's
    // connection because of it.
    flag(5, "UF", Meaning::Broken(Transport::Connect)),
    // No healthy host in the cluster: nobody there to connect to.
    flag(1, "UH", Meaning::Broken(Transport::Connect)),
    // The upstream's name did not resolve: as good as unreachable.
    flag(26, "DF", Meaning::Broken(Transport::Connect)),
    flag(6, "UC", Meaning::Broken(Transport::Reset)),
    flag(4, "UR", Meaning::Broken(Transport::Reset)),
    // Envoy's codec reset the upstream's stream, because of what came from there.
    flag(3, "LR", Meaning::Broken(Transport::Reset)),
    // The upstream does not speak HTTP properly: its answer cannot be used.
    flag(23, "UPE", Meaning::Broken(Transport::Reset)),
    flag(2, "UT", Meaning::Broken(Transport::Timeout)),
    // The whole exchange took longer than it may towards the upstream.
    flag(19, "UMSDR", Meaning::Broken(Transport::Timeout)),
    // Envoy's own limit on connections or requests: the policy decides by `transport: [overflow]`.
    flag(7, "UO", Meaning::Broken(Transport::Overflow)),
    flag(14, "DC", Meaning::ClientGone),
    // An HTTP/2 client reset its stream: the same as a closed connection in HTTP/1.
    flag(28, "DR", Meaning::ClientGone),
    flag(16, "SI", Meaning::Idle),
    // The answer of an earlier filter, or of the router before it had an upstream.
    flag(8, "NR", Meaning::NotEvidence),
    flag(24, "NC", Meaning::NotEvidence),
    flag(11, "RL", Meaning::NotEvidence),
    flag(13, "RLSE", Meaning::NotEvidence),
    flag(12, "UAEX", Meaning::NotEvidence),
    flag(20, "RFCF", Meaning::NotEvidence),
    flag(21, "NFCF", Meaning::NotEvidence),
    flag(0, "LH", Meaning::NotEvidence),
    // The client's request was wrong.
    flag(17, "IH", Meaning::NotEvidence),
    flag(18, "DPE", Meaning::NotEvidence),
    // The client's connection was as old as it may be: says nothing of who was slow.
    flag(22, "DT", Meaning::NotEvidence),
    // Envoy sheds load: as our own rejections.
    flag(25, "OM", Meaning::NotEvidence),
    flag(27, "DO", Meaning::NotEvidence),
    flag(29, "UDO", Meaning::NotEvidence),
    // Stands beside the flag of the last try, or beside an answer that came through.
    flag(15, "URX", Meaning::Companion),
    // The request was held back before it was sent; see `delayed`.
    flag(9, "DI", Meaning::Companion),
];

/// What `flags` mean; `None` where nothing in them says anything.
///
/// A bit that this table does not know is one that Envoy learned later. It says nothing here: a
/// breaker that trips on something it does not understand would be the outage.
pub fn meaning(flags: u64) -> Option<Meaning> {
    let set = FLAGS.iter().filter(|flag| flags >> flag.bit & 1 == 1);
    set.map(|flag| flag.meaning).find(|meaning| *meaning != Meaning::Companion)
}

/// Whether a fault filter held the request back (`DI`): what took long is not the upstream's.
pub const fn delayed(flags: u64) -> bool {
    flags >> 9 & 1 == 1
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end by a panic")]
mod tests {
    use super::*;

    #[test]
    fn every_bit_is_decided_once() {
        let mut bits: Vec<u8> = FLAGS.iter().map(|flag| flag.bit).collect();
        bits.sort_unstable();
        assert_eq!(bits, (0..30).collect::<Vec<u8>>());
        let mut names: Vec<&str> = FLAGS.iter().map(|flag| flag.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FLAGS.len());
    }

    /// Values as they are in access logs and in `envoy-facts`: by hand, not from the table.
    #[test]
    fn known_values() {
        use Meaning::*;
        for (value, expected) in [
            (0x2, Broken(Transport::Connect)),
            (0x4, Broken(Transport::Timeout)),
            (0x8, Broken(Transport::Reset)),
            (0x10, Broken(Transport::Reset)),
            (0x20, Broken(Transport::Connect)),
            (0x40, Broken(Transport::Reset)),
            (0x80, Broken(Transport::Overflow)),
            (0x100, NotEvidence),
            (0x400, Injected),
            (0x800, NotEvidence),
            (0x4000, ClientGone),
            (0x1_0000, Idle),
            (0x1000_0000, ClientGone),
        ] {
            assert_eq!(meaning(value), Some(expected), "{value:#x}");
        }
    }

    #[test]
    fn companions_decide_nothing() {
        assert_eq!(meaning(0), None);
        assert_eq!(meaning(0x8000), None);
        assert_eq!(meaning(0x200), None);
        assert!(delayed(0x200) && !delayed(!0x200));
        assert_eq!(meaning(0x8000 | 0x40), Some(Meaning::Broken(Transport::Reset)));
    }

    #[test]
    fn unknown_bits_say_nothing() {
        assert_eq!(meaning(1 << 30 | 1 << 63), None);
    }

    #[test]
    fn an_upstream_failure_comes_before_a_client_that_left() {
        assert_eq!(meaning(0x4000 | 0x40), Some(Meaning::Broken(Transport::Reset)));
        assert_eq!(meaning(0x400 | 0x4), Some(Meaning::Injected));
    }

    /// The page that people read says the same, in the same order.
    #[test]
    fn the_documentation_has_the_same_table() {
        let page = include_str!("../../docs/filter.md");
        let (_, table) = page.split_once("| flag | means |").unwrap();
        let (table, _) = table.split_once("\n\n").unwrap();
        let rows = table.lines().skip(2).map(|row| {
            let mut cells = row.trim_matches('|').splitn(2, '|');
            (cells.next().unwrap(), cells.next().unwrap())
        });
        let documented: Vec<(&str, &str)> = rows
            .flat_map(|(flags, text)| flags.split(',').map(move |flag| (flag.trim(), text)))
            .collect();
        let names: Vec<&str> = documented.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, FLAGS.map(|flag| flag.name));
        for (flag, (_, text)) in FLAGS.iter().zip(documented) {
            let word = match flag.meaning {
                Meaning::Broken(how) => how.name(),
                Meaning::Idle => "408",
                Meaning::ClientGone => "the client left",
                Meaning::Injected => "injected",
                Meaning::NotEvidence => "not evidence",
                Meaning::Companion => "nothing by itself",
            };
            assert!(text.contains(word), "{}: {text}", flag.name);
        }
    }
}
