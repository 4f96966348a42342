//! Receipts: what a push answers, and what it can be asked about later.

use lakegate_catalog::DatasetId;

/// What a push stored. It names dataset, version and row count, so that the table's log can confirm it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The dataset.
    pub dataset: DatasetId,
    /// The version that holds the rows.
    pub version: u64,
    /// The rows that the push added.
    pub rows: u64,
}

impl Receipt {
    /// The text that a client keeps: at most 120 characters of ASCII.
    pub fn encode(self) -> String {
        format!("r1_{}_{:x}_{:x}", self.dataset.as_uuid().simple(), self.version, self.rows)
    }

    /// Reads the text; `None` for any other spelling than the one that is handed out.
    pub fn decode(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("r1_")?.split('_');
        let dataset = parts.next()?.parse().ok()?;
        let version = u64::from_str_radix(parts.next()?, 16).ok()?;
        let rows = u64::from_str_radix(parts.next()?, 16).ok()?;
        let receipt = Self { dataset, version, rows };
        (parts.next().is_none() && receipt.encode() == text).then_some(receipt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_reads_back_and_nothing_else_does() {
        let receipt = Receipt { dataset: DatasetId::generate(), version: 12, rows: u64::MAX };
        let text = receipt.encode();
        assert!(text.len() <= 120, "{text}");
        assert_eq!(Receipt::decode(&text), Some(receipt));
        for bad in ["", "r1_", "r1_x_1_1", &text.to_uppercase(), &format!("{text}_1"), &format!("{text}0_")] {
            assert_eq!(Receipt::decode(bad), None, "{bad}");
        }
    }
}
