//! Which functions a statement may call.

use std::collections::BTreeSet;

/// The names of the functions that there are, aliases too. Whoever plans statements makes it once.
#[derive(Clone, Debug, Default)]
pub struct Functions {
    names: BTreeSet<String>,
    aggregates: BTreeSet<String>,
}

impl Functions {
    /// The functions with these names, and the aggregate functions with those.
    pub fn new(names: impl IntoIterator<Item = String>, aggregates: impl IntoIterator<Item = String>) -> Self {
        let aggregates: BTreeSet<String> = aggregates.into_iter().collect();
        let names = names.into_iter().chain(aggregates.iter().cloned()).collect();
        Self { names, aggregates }
    }

    /// The name closest to `name` when there is no function `name`; `Ok` when there is one.
    pub fn find(&self, name: &str) -> Result<(), Option<&str>> {
        if self.names.contains(name) {
            return Ok(());
        }
        let distance = |other: &str| strsim::levenshtein(name, other);
        let closest = self.names.iter().map(|other| (distance(other), other.as_str())).min();
        Err(closest.filter(|(distance, _)| *distance <= 3).map(|(_, other)| other))
    }

    pub(crate) fn is_aggregate(&self, name: &str) -> bool {
        self.aggregates.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_get_the_closest_known_one() {
        let functions = Functions::new(["lower".to_owned(), "upper".to_owned()], ["sum".to_owned()]);
        assert_eq!(functions.find("lower"), Ok(()));
        assert_eq!(functions.find("sum"), Ok(()));
        assert_eq!(functions.find("lowre"), Err(Some("lower")));
        assert_eq!(functions.find("qqqqqqqqqqqqqqqq"), Err(None));
    }
}
