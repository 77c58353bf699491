//! How many other threads are where a thread is: on its object, or so many slots further on.

use super::subject::{Region, Subject, Touch, Whose};

/// How many threads besides the one that does `of` do `by` on the object `distance` slots behind
/// the one that `of` is on, on average. Threads are numbered from 0, and any of them may have
/// either role.
pub fn meet(subject: &Subject, region: &Region, of: &Touch, by: &Touch, distance: isize) -> f64 {
    let others = subject.others(of.actor, by.actor);
    let threads = subject.threads.max(2);
    // The chance that a given other thread does `by`.
    let chance = (others / (threads - 1) as f64).min(1.0);
    if of.whose == Whose::Any || by.whose == Whose::Any {
        return others.min(1.0);
    }
    let count = region.objects.unwrap_or(1).max(1);
    if distance.unsigned_abs() >= count {
        return 0.0;
    }
    let n = count as isize;
    let there = |index: isize| (0..n).contains(&index);
    match (of.whose, by.whose) {
        (Whose::Any, _) | (_, Whose::Any) => others.min(1.0),
        (_, Whose::Each) => others,
        (_, Whose::Random) => others / count as f64,
        (Whose::At(i), Whose::At(j)) => {
            let next = (i % count) as isize + distance;
            if next == (j % count) as isize {
                others
            } else {
                0.0
            }
        }
        (Whose::At(i), Whose::Own(shift)) => {
            let at = (i % count) as isize + distance;
            if there(at) {
                owners(at as usize, shift, threads, count) * chance
            } else {
                0.0
            }
        }
        (Whose::Own(shift), Whose::At(j)) => {
            let at = (j % count) as isize - distance;
            if there(at) {
                others * owners(at as usize, shift, threads, count) / threads as f64
            } else {
                0.0
            }
        }
        (Whose::Random | Whose::Each, Whose::At(j)) => {
            if there((j % count) as isize - distance) {
                others / count as f64
            } else {
                0.0
            }
        }
        (Whose::Random | Whose::Each, Whose::Own(_)) => others / count as f64,
        (Whose::Own(a), Whose::Own(b)) => {
            let ahead =
                ((a % count) as isize + distance - (b % count) as isize).rem_euclid(n) as usize;
            let found = if count < threads {
                threads as f64 / count as f64 - if ahead == 0 { 1.0 } else { 0.0 }
            } else if ahead != 0 && (ahead < threads || count - ahead < threads) {
                1.0
            } else {
                0.0
            };
            found * chance
        }
    }
}

/// Threads whose own object, `shift` further on, is `index`.
fn owners(index: usize, shift: usize, threads: usize, count: usize) -> f64 {
    let first = (index + count - shift % count) % count;
    match threads.checked_sub(1 + first) {
        Some(left) => (1 + left / count) as f64,
        None => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::subject::{Actor, Elements, Packing};

    fn world(threads: usize, objects: usize) -> (Subject, Region) {
        let subject = Subject {
            layout: "l".into(),
            threads,
            actors: vec![Actor {
                name: "all".into(),
                threads: threads as f64,
                group: 0,
                group_threads: threads as f64,
            }],
            regions: Vec::new(),
        };
        let region = Region {
            name: "r".into(),
            of_struct: true,
            bytes: 8,
            objects: Some(objects),
            packing: Packing::Pages,
            at: 0,
            fields: Vec::new(),
            touches: Vec::new(),
        };
        (subject, region)
    }

    fn touch(whose: Whose) -> Touch {
        Touch {
            actor: 0,
            field: 0,
            start: 0,
            end: 8,
            elements: Elements::All,
            whose,
            loads: 0.0,
            stores: 1.0,
        }
    }

    /// The same by counting threads, where no thread draws.
    fn counted(threads: usize, n: usize, of: Whose, by: Whose, distance: isize) -> f64 {
        let on = |whose, thread: usize| match whose {
            Whose::At(i) => i % n,
            Whose::Own(shift) => (thread + shift) % n,
            _ => unreachable!(),
        };
        let mut found = 0;
        for me in 0..threads {
            for other in (0..threads).filter(|other| *other != me) {
                let next = on(of, me) as isize + distance;
                found += usize::from(next == on(by, other) as isize);
            }
        }
        found as f64 / threads as f64
    }

    #[test]
    fn meetings_are_those_that_counting_finds() {
        for (threads, n) in [(2, 2), (4, 4), (8, 4), (4, 16), (6, 1)] {
            let (subject, region) = world(threads, n);
            let all = [Whose::At(0), Whose::At(1), Whose::Own(0), Whose::Own(1)];
            for of in all {
                for by in all {
                    for distance in [0, 1, -1] {
                        let (u, v) = (touch(of), touch(by));
                        let meets = meet(&subject, &region, &u, &v, distance);
                        let counted = counted(threads, n, of, by, distance);
                        // Round the end of a ring there is no neighbour, and a thread that is at
                        // home where it looks does not meet itself: no more than that may differ.
                        let what = format!("{of:?} {by:?} {distance} {threads}/{n}");
                        assert!((meets - counted).abs() <= 1.0, "{what}: {meets} {counted}");
                        if counted == 0.0 && n > 2 {
                            assert!(meets <= 1.0, "{what}: {meets}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_thread_on_its_own_object_meets_others_only_next_door() {
        let (subject, region) = world(8, 8);
        let own = touch(Whose::Own(0));
        assert_eq!(meet(&subject, &region, &own, &own, 0), 0.0);
        assert_eq!(meet(&subject, &region, &own, &own, 1), 1.0);
        let next = touch(Whose::Own(1));
        assert_eq!(meet(&subject, &region, &own, &next, 0), 1.0);
    }

    #[test]
    fn one_object_is_where_all_meet() {
        let (subject, region) = world(8, 1);
        for whose in [
            Whose::At(0),
            Whose::Own(0),
            Whose::Random,
            Whose::Each,
            Whose::Any,
        ] {
            let touch = touch(whose);
            assert!(
                meet(&subject, &region, &touch, &touch, 0) >= 1.0,
                "{whose:?}"
            );
        }
    }
}
