//! [`nearest`]: the known word a mistyped one probably meant.

/// The nearest of `known`, if it is near: at most a third of the letters differ, and at least two may.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(2);
    let scored = known.into_iter().map(|candidate| (distance(word, candidate), candidate));
    let starts = |candidate: &str| word.len() >= 3 && candidate.starts_with(word);
    scored
        .filter(|(distance, candidate)| {
            (*distance <= limit && *distance < candidate.chars().count()) || starts(candidate)
        })
        .min_by_key(|(distance, candidate)| (!starts(candidate), *distance))
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        let mut next = vec![left];
        for (above, y) in row.iter().skip(1).zip(&b) {
            let change = diagonal.saturating_add(usize::from(x != *y));
            left = change.min(above.saturating_add(1)).min(left.saturating_add(1));
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        let known = ["get", "describe", "logs", "exec", "delete", "restart", "image ls"];
        assert_eq!(nearest("gte", known), Some("get"));
        assert_eq!(nearest("descirbe", known), Some("describe"));
        assert_eq!(nearest("log", known), Some("logs"));
        assert_eq!(nearest("rest", known), Some("restart"));
        assert_eq!(nearest("frobnicate", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
