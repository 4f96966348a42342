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
}
