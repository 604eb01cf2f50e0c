//! An array that grows by pages. One that doubles holds what it had twice while it is copied, and then twice what it needs: with a table of most of the memory, that is the memory. Here
//! growing costs a page, nothing moves, and each byte is touched for the first time once.

use std::ops::{Index, IndexMut};

const SHIFT: usize = 10;
const PAGE: usize = 1 << SHIFT;

/// See the module.
pub(super) struct Paged<T> {
    /// All full but the last; the first one grows by doubling, for most tables are small.
    pages: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Paged { pages: Vec::new(), len: 0 }
    }
}

impl<T> Paged<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, item: T) {
        match self.pages.last_mut() {
            Some(page) if page.len() < PAGE => page.push(item),
            last => {
                let mut page = last.map_or_else(Vec::new, |_| Vec::with_capacity(PAGE));
                page.push(item);
                self.pages.push(page);
            }
        }
        self.len += 1;
    }
}

impl<T> Index<usize> for Paged<T> {
    type Output = T;

    #[inline]
    fn index(&self, i: usize) -> &T {
        &self.pages[i >> SHIFT][i & (PAGE - 1)]
    }
}

impl<T> IndexMut<usize> for Paged<T> {
    #[inline]
    fn index_mut(&mut self, i: usize) -> &mut T {
        &mut self.pages[i >> SHIFT][i & (PAGE - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_stand_where_they_were_put() {
        let mut items = Paged::default();
        (0..3 * PAGE + 5).for_each(|i| items.push(i));
        assert_eq!(items.len(), 3 * PAGE + 5);
        items[PAGE] = 7;
        assert!((0..items.len()).all(|i| items[i] == if i == PAGE { 7 } else { i }));
        assert!(items.pages.iter().all(|page| page.capacity() <= PAGE), "no page is larger than a page");
    }
}
