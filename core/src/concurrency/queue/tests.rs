use super::*;
use alloc::vec;

const POLICY: QueuePolicy = QueuePolicy { max: 3, max_wait: Duration::from_millis(100) };

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// A queue in which those numbers came at those times.
fn queue(came: &[(u32, u64)]) -> Queue {
    let mut queue = Queue::default();
    for (number, millis) in came {
        queue.enter(at(*millis), &POLICY, *number, at(*millis) + POLICY.max_wait);
    }
    queue
}

fn woken(queue: &mut Queue) -> Vec<u32> {
    core::iter::from_fn(|| queue.take_woken()).collect()
}

#[test]
fn the_oldest_is_served_first() {
    let mut queue = queue(&[(1, 0), (2, 10), (3, 20)]);
    assert!(queue.call_next(at(30)) && queue.call_next(at(40)));
    assert_eq!(woken(&mut queue), [1, 2]);
    let standing = [1, 2, 3, 4].map(|number| queue.standing(number));
    let wanted = [Standing::Called, Standing::Called, Standing::Waits, Standing::Gone];
    assert_eq!((standing, queue.len()), (wanted, 1));
}

#[test]
fn a_queue_that_was_not_empty_for_as_long_as_one_may_wait_serves_the_newest_first() {
    let mut queue = queue(&[(1, 0), (2, 50), (3, 90)]);
    assert!(!queue.is_overloaded(at(99)) && queue.call_next(at(99)));
    assert!(queue.is_overloaded(at(100)) && queue.call_next(at(100)));
    assert_eq!(woken(&mut queue), [1, 3]);
    // Once nobody waits it is over.
    assert!(queue.call_next(at(110)));
    queue.enter(at(120), &POLICY, 4, at(220));
    queue.enter(at(121), &POLICY, 5, at(221));
    assert!(!queue.is_overloaded(at(130)) && queue.call_next(at(130)));
    assert_eq!(woken(&mut queue), [2, 4]);
}

#[test]
fn a_full_queue_drops_the_oldest_and_serves_the_newest_first() {
    let mut queue = queue(&[(1, 0), (2, 1), (3, 2), (4, 3)]);
    assert_eq!((queue.len(), woken(&mut queue)), (3, vec![1]));
    assert_eq!(queue.standing(1), Standing::Gone);
    assert!(queue.call_next(at(4)));
    assert_eq!(woken(&mut queue), [4]);
    // A policy with less room, and one without any.
    queue.enter(at(5), &QueuePolicy { max: 1, ..POLICY }, 5, at(105));
    queue.enter(at(6), &QueuePolicy { max: 0, ..POLICY }, 6, at(106));
    assert_eq!((queue.len(), woken(&mut queue)), (1, vec![2, 3, 5]));
}

#[test]
fn whose_time_is_over_is_woken_and_not_served() {
    let mut queue = queue(&[(1, 0), (2, 10)]);
    queue.enter(at(20), &POLICY, 3, at(30));
    assert!(queue.call_next(at(60)));
    assert_eq!(woken(&mut queue), [1]);
    assert!(!queue.call_next(at(110)));
    assert_eq!((woken(&mut queue), queue.len()), (vec![3, 2], 0));
    assert!(!queue.call_next(at(110)));
}

#[test]
fn who_leaves_is_forgotten_and_leaves_a_slot_that_was_kept() {
    let mut queue = queue(&[(1, 0), (2, 10), (3, 20)]);
    assert!(queue.call_next(at(30)));
    assert_eq!(
        [queue.leave(1), queue.leave(2), queue.leave(2), queue.leave(9)],
        [true, false, false, false]
    );
    assert_eq!((queue.len(), queue.until(3), queue.is_idle()), (1, Some(at(120)), false));
    assert!(!queue.leave(3) && queue.is_idle());
}

#[test]
fn numbers_may_begin_anew() {
    let mut queue = queue(&[(u32::MAX - 1, 0), (u32::MAX, 1), (0, 2)]);
    assert_eq!(queue.until(u32::MAX), Some(at(101)));
    assert_eq!(queue.until(0), Some(at(102)));
    assert!(!queue.leave(u32::MAX) && queue.standing(u32::MAX) == Standing::Gone);
    assert_eq!(queue.standing(0), Standing::Waits);
}
