#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use super::*;

/// The same steps on std's map and on ours, in an order that repeats keys.
#[test]
fn a_map_does_what_stds_does() {
    let mut theirs = std::collections::BTreeMap::new();
    let mut ours = BTreeMap::new();
    let mut seed = 7_u32;
    for step in 0..4000 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let key = (seed >> 16) as u8 % 64;
        match step % 5 {
            0 | 1 => assert_eq!(ours.insert(key, step), theirs.insert(key, step)),
            2 => assert_eq!(ours.remove(&key), theirs.remove(&key)),
            3 => {
                *ours.entry(key).and_modify(|value| *value += 1).or_insert(step) -= 2;
                *theirs.entry(key).and_modify(|value| *value += 1).or_insert(step) -= 2;
            }
            _ => assert_eq!((ours.get(&key), ours.contains_key(&key)), (theirs.get(&key), theirs.contains_key(&key))),
        }
        assert!(ours.iter().eq(theirs.iter()), "step {step}");
    }
    ours.retain(|key, _| key % 2 == 0);
    theirs.retain(|key, _| key % 2 == 0);
    assert!(ours.iter().eq(theirs.iter()) && ours.keys().eq(theirs.keys()) && ours.values().eq(theirs.values()));
    assert_eq!((ours.first_key_value(), ours.last_key_value()), (theirs.first_key_value(), theirs.last_key_value()));
    assert_eq!((ours.pop_first(), ours.pop_last(), ours.len()), (theirs.pop_first(), theirs.pop_last(), theirs.len()));
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
}

#[test]
fn of_equal_keys_the_last_one_counts() {
    let map = BTreeMap::from([("b", 1), ("a", 2), ("b", 3)]);
    assert_eq!(map.iter().collect::<Vec<_>>(), [(&"a", &2), (&"b", &3)]);
    assert_eq!(map["b"], 3);
    assert_eq!(map.get("c"), None);
}

#[test]
fn a_set_is_sorted_and_has_nothing_twice() {
    let mut set = BTreeSet::from(["c", "a", "c", "b"]);
    assert!(!set.insert("a") && set.insert("d") && set.remove("b") && !set.remove("x"));
    assert_eq!(set.iter().collect::<Vec<_>>(), [&"a", &"c", &"d"]);
    let other = BTreeSet::from(["c", "e"]);
    assert_eq!(set.difference(&other).collect::<Vec<_>>(), [&"a", &"d"]);
    assert_eq!(set.intersection(&other).collect::<Vec<_>>(), [&"c"]);
    assert!(!set.is_subset(&other) && BTreeSet::from(["c"]).is_subset(&set));
}
