//! One order for all (promise 1): whatever any two subscribers saw of a channel must fit into one sequence.

use std::collections::HashMap;
use std::hash::Hash;

/// Two things of which one sequence has the first before the second, and another the second before the first, directly
/// or by way of others; nothing where all sequences fit into one. A sequence names nothing twice.
#[must_use]
pub fn disagreement<T: Copy + Eq + Hash>(sequences: &[Vec<T>]) -> Option<(T, T)> {
    let mut after: HashMap<T, Vec<T>> = HashMap::new();
    let mut before: HashMap<T, usize> = HashMap::new();
    for sequence in sequences {
        for item in sequence {
            before.entry(*item).or_default();
        }
        for pair in sequence.windows(2) {
            let next = after.entry(pair[0]).or_default();
            if !next.contains(&pair[1]) {
                next.push(pair[1]);
                *before.entry(pair[1]).or_default() += 1;
            }
        }
    }
    // Kahn's sort: what is left over stands in, or behind, a circle.
    let mut free: Vec<T> = before.iter().filter(|(_, count)| **count == 0).map(|(item, _)| *item).collect();
    while let Some(item) = free.pop() {
        before.remove(&item);
        for next in after.get(&item).into_iter().flatten() {
            let count = before.get_mut(next)?;
            *count -= 1;
            if *count == 0 {
                free.push(*next);
            }
        }
    }
    let left = |item: &T| before.contains_key(item);
    let places = |sequence: &Vec<T>| -> HashMap<T, usize> {
        sequence.iter().filter(|item| left(item)).enumerate().map(|(at, item)| (*item, at)).collect()
    };
    let placed: Vec<HashMap<T, usize>> = sequences.iter().map(places).collect();
    let edges = after.iter().filter(|(item, _)| left(item));
    let edges =
        edges.flat_map(|(item, next)| next.iter().filter(|next| left(next)).map(|next| (*item, *next)));
    let mut last = None;
    for (one, other) in edges {
        let turned = |places: &HashMap<T, usize>| {
            places.get(&one).zip(places.get(&other)).is_some_and(|(one, other)| one > other)
        };
        if placed.iter().any(turned) {
            return Some((one, other));
        }
        last = Some((one, other));
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_with_holes_fit_into_one() {
        assert_eq!(disagreement(&[vec![1, 2, 4], vec![2, 3, 4], vec![1, 3]]), None);
        assert_eq!(disagreement::<u8>(&[]), None);
    }

    #[test]
    fn two_that_were_swapped_are_found() {
        assert!(matches!(disagreement(&[vec![1, 2, 3, 4], vec![1, 3, 2, 4]]), Some((2, 3) | (3, 2))));
    }

    #[test]
    fn a_circle_of_three_is_found_though_no_two_disagree_alone() {
        assert!(disagreement(&[vec![1, 2], vec![2, 3], vec![3, 1]]).is_some());
    }
}
