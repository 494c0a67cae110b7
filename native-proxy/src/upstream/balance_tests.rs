use super::*;
use std::cell::RefCell;

/// Candidates as a test says.
#[derive(Default)]
struct Table {
    loads: RefCell<Vec<usize>>,
    shares: Vec<f64>,
    avoided: Vec<usize>,
}

impl Table {
    fn of(loads: &[usize]) -> Self {
        Self { loads: loads.to_vec().into(), ..Self::default() }
    }
}

impl Candidates for Table {
    fn count(&self) -> usize {
        self.loads.borrow().len()
    }

    fn load(&self, index: usize) -> usize {
        self.loads.borrow()[index]
    }

    fn share(&self, index: usize) -> f64 {
        self.shares.get(index).copied().unwrap_or(1.0)
    }

    fn is_avoided(&self, index: usize) -> bool {
        self.avoided.contains(&index)
    }
}

const CALLS: usize = 10_000;

/// How many of `CALLS` each gets.
fn counts(balance: Balance, table: &Table) -> Vec<usize> {
    let mut chooser = Chooser::new(balance, 7);
    let mut counts = vec![0; table.count()];
    for _ in 0..CALLS {
        counts[chooser.choose(table).unwrap()] += 1;
    }
    counts
}

#[test]
fn of_equals_each_gets_its_part() {
    for balance in Balance::ALL {
        for count in [1, 2, 3, 7] {
            let counts = counts(balance, &Table::of(&vec![0; count]));
            let part = CALLS / count;
            let is_fair = |got: &usize| got.abs_diff(part) < part / 10 + 1;
            assert!(counts.iter().all(is_fair), "{} {counts:?}", balance.name());
        }
        assert_eq!(Chooser::new(balance, 1).choose(&Table::default()), None);
    }
}

#[test]
fn round_robin_takes_each_in_turn() {
    let mut chooser = Chooser::new(Balance::RoundRobin, 1);
    let table = Table::of(&[9, 0, 4]);
    let order: Vec<_> = (0..6).filter_map(|_| chooser.choose(&table)).collect();
    assert_eq!(order, [0, 1, 2, 0, 1, 2]);
}

/// envoyproxy/envoy 11004, 39737 and grpc/grpc-java 12237: where both draws may be the same one, one that
/// hangs gets calls by winning against itself.
#[test]
fn the_most_loaded_one_gets_no_call_at_all() {
    let counts = counts(Balance::LeastRequest, &Table::of(&[3, 900, 3, 4]));
    assert_eq!(counts[1], 0);
    assert!(counts[3] < counts[0], "{counts:?}");
}

/// Calls that end after a while: to the endpoint that takes ten times as long go far fewer. In turn it would
/// get a third, and 33 at once.
#[test]
fn a_slow_one_gets_as_many_as_it_can_serve() {
    let table = Table::of(&[0, 0, 0]);
    let mut chooser = Chooser::new(Balance::LeastRequest, 3);
    let (mut counts, mut ends) = ([0; 3], Vec::new());
    for now in 0..6_000_u64 {
        ends.retain(|(at, index): &(u64, usize)| {
            if *at == now {
                table.loads.borrow_mut()[*index] -= 1;
            }
            *at != now
        });
        let chosen = chooser.choose(&table).unwrap();
        table.loads.borrow_mut()[chosen] += 1;
        counts[chosen] += 1;
        ends.push((now + if chosen == 2 { 100 } else { 10 }, chosen));
        assert!(table.loads.borrow()[2] < 20, "{:?}", table.loads);
    }
    assert!(counts[2] * 4 < counts[0] && counts[2] * 4 < counts[1], "{counts:?}");
}

#[test]
fn one_that_is_avoided_gets_none_while_there_are_others() {
    for balance in Balance::ALL {
        let mut table = Table::of(&[0, 5, 9]);
        table.avoided = vec![0, 2];
        assert_eq!(counts(balance, &table), [0, CALLS, 0]);
        table.avoided = vec![0, 1, 2];
        assert!(counts(balance, &table)[0] > 0);
    }
}

/// envoyproxy/envoy 19526 and 29259: endpoints that began slowly got nothing, some for good.
#[test]
fn one_that_returns_gets_its_share_and_the_others_the_rest_alike() {
    for balance in Balance::ALL {
        let mut table = Table::of(&[0; 4]);
        table.shares = vec![0.1, 1.0, 1.0, 1.0];
        let counts = counts(balance, &table);
        let part = CALLS / 4;
        assert!((part / 20..part / 4).contains(&counts[0]), "{} {counts:?}", balance.name());
        let rest = (CALLS - counts[0]) / 3;
        let is_fair = |got: &usize| got.abs_diff(rest) < rest / 10;
        assert!(counts[1..].iter().all(is_fair), "{} {counts:?}", balance.name());
    }
}

#[test]
fn where_all_return_at_once_each_gets_its_part() {
    for balance in Balance::ALL {
        let mut table = Table::of(&[0; 3]);
        table.shares = vec![0.1; 3];
        let counts = counts(balance, &table);
        assert!(counts.iter().all(|got| got.abs_diff(CALLS / 3) < 400), "{counts:?}");
    }
}
