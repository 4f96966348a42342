//! Pages of long lists.

use serde::{Deserialize, Serialize};

use crate::error::{CatalogError, Result};

/// Which part of a list the caller wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// At most this many items, 1 to [`Page::MAX`].
    pub limit: usize,
    /// `next` of the page before, opaque to callers; `None` starts at the beginning.
    pub cursor: Option<String>,
}

impl Page {
    /// The largest page.
    pub const MAX: usize = 1_000;

    /// Bytes after which a page of records that may be long ends, though it has fewer items than it may: with the item that
    /// reaches them. A page is then in memory, and on its way between processes, as a few MiB at most.
    pub const MAX_BYTES: u64 = 4 << 20;

    /// The first page of at most `limit` items.
    pub fn first(limit: usize) -> Self {
        Self { limit: limit.clamp(1, Self::MAX), cursor: None }
    }

    /// The key after which this page starts, for implementations whose cursor is the key's text;
    /// `parse` reads it. Errors: `Invalid` when the cursor is not one that a listing gave.
    pub fn after<K>(&self, parse: impl FnOnce(&str) -> Option<K>) -> Result<Option<K>> {
        let Some(cursor) = &self.cursor else {
            return Ok(None);
        };
        parse(cursor).map(Some).ok_or_else(|| CatalogError::Invalid {
            what: "cursor".into(),
            value: cursor.chars().take(80).collect(),
            why: "send the `next` of the page before, unchanged".to_owned(),
        })
    }

    /// `limit` within its bounds.
    pub fn size(&self) -> usize {
        self.limit.clamp(1, Self::MAX)
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::first(100)
    }
}

/// One page of a list, in a stable order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing<T> {
    /// The items.
    pub items: Vec<T>,
    /// The cursor of the next page; `None` at the end.
    pub next: Option<String>,
}

impl<T> Listing<T> {
    /// Makes a page from up to `limit + 1` items in order: the extra one only says that there is more.
    /// `key` gives the cursor of an item: the place after which the next page starts.
    pub fn from_overfull(mut items: Vec<T>, limit: usize, key: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(key) } else { None };
        Self { items, next }
    }

    /// As [`Listing::from_overfull`], of items that may be long, each with its bytes: the page ends at [`Page::MAX_BYTES`],
    /// too. What follows the item that reaches them may be left out of `items`; a page that ends there always has a `next`,
    /// though nothing may follow.
    pub fn of_long(items: Vec<(T, u64)>, limit: usize, key: impl Fn(&T) -> String) -> Self {
        let (there, mut bytes, mut kept) = (items.len(), 0_u64, Vec::new());
        for (item, size) in items {
            if kept.len() == limit || bytes >= Page::MAX_BYTES {
                break;
            }
            bytes = bytes.saturating_add(size);
            kept.push(item);
        }
        let more = there > kept.len() || bytes >= Page::MAX_BYTES;
        let next = if more { kept.last().map(key) } else { None };
        Self { items: kept, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_long_items_ends_early_and_leaves_none_out() {
        let sizes = [1, Page::MAX_BYTES - 1, 5, Page::MAX_BYTES * 3, 7, 8];
        let (mut seen, mut pages) = (Vec::new(), Vec::new());
        loop {
            let rest = sizes.iter().enumerate().skip(seen.len()).map(|(n, size)| (n, *size)).take(4).collect();
            let page = Listing::of_long(rest, 3, usize::to_string);
            pages.push(page.items.len());
            seen.extend(page.items);
            match page.next {
                Some(next) => assert_eq!(next, seen.last().map(usize::to_string).unwrap_or_default()),
                None => break,
            }
        }
        assert_eq!((seen, pages), ((0..6).collect(), vec![2, 2, 2]));
        let full = Listing::of_long(vec![(0, Page::MAX_BYTES)], 3, usize::to_string);
        assert_eq!((full.items.len(), full.next.as_deref()), (1, Some("0")), "more may have been left out");
    }
}
