//! [`BTreeSet`]: sorted values, none twice.

use std::borrow::Borrow;

/// A set with the methods of [`std::collections::BTreeSet`] that are used here.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BTreeSet<T> {
    values: Vec<T>,
}

impl<T> BTreeSet<T> {
    /// Empty.
    #[must_use]
    pub const fn new() -> Self {
        Self { values: Vec::new() }
    }

    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.values.clear();
    }

    /// All values in order.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.values.iter()
    }

    /// The least.
    pub fn first(&self) -> Option<&T> {
        self.values.first()
    }

    /// The greatest.
    pub fn last(&self) -> Option<&T> {
        self.values.last()
    }

    /// Takes the least out.
    pub fn pop_first(&mut self) -> Option<T> {
        (!self.values.is_empty()).then(|| self.values.remove(0))
    }

    /// Removes what `keep` refuses.
    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.values.retain(keep);
    }
}

#[inline(never)]
fn find<T: Borrow<Q>, Q: Ord + ?Sized>(values: &[T], value: &Q) -> Result<usize, usize> {
    values.binary_search_by(|known| known.borrow().cmp(value))
}

impl<T: Ord> BTreeSet<T> {
    /// Whether it is in the set.
    pub fn contains<Q: Ord + ?Sized>(&self, value: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        find(&self.values, value).is_ok()
    }

    /// The value as it is kept.
    pub fn get<Q: Ord + ?Sized>(&self, value: &Q) -> Option<&T>
    where
        T: Borrow<Q>,
    {
        self.values.get(find(&self.values, value).ok()?)
    }

    /// Puts it in; whether it was not there.
    pub fn insert(&mut self, value: T) -> bool {
        match find(&self.values, &value) {
            Ok(_) => false,
            Err(at) => {
                self.values.insert(at, value);
                true
            }
        }
    }

    /// Takes it out; whether it was there.
    pub fn remove<Q: Ord + ?Sized>(&mut self, value: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.take(value).is_some()
    }

    /// Takes it out.
    pub fn take<Q: Ord + ?Sized>(&mut self, value: &Q) -> Option<T>
    where
        T: Borrow<Q>,
    {
        let at = find(&self.values, value).ok()?;
        Some(self.values.remove(at))
    }

    /// What is in this set alone.
    pub fn difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a T> {
        self.values.iter().filter(|value| !other.contains(*value))
    }

    /// What is in both.
    pub fn intersection<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a T> {
        self.values.iter().filter(|value| other.contains(*value))
    }

    /// Whether all of it is in the other set too.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.values.iter().all(|value| other.contains(value))
    }
}

impl<T> Default for BTreeSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for BTreeSet<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl<T: Ord> Extend<T> for BTreeSet<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        for value in values {
            self.insert(value);
        }
    }
}

impl<T: Ord> FromIterator<T> for BTreeSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut set = Self::new();
        set.extend(values);
        set
    }
}

impl<T: Ord, const N: usize> From<[T; N]> for BTreeSet<T> {
    fn from(values: [T; N]) -> Self {
        values.into_iter().collect()
    }
}

impl<T> IntoIterator for BTreeSet<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a BTreeSet<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
