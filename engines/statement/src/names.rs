//! Names in the statement: which relation each stands for.

use lakegate_catalog::DatasetName;
use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};

use crate::allow::refuse;
use crate::error::{Result, StatementError};
use crate::moment::Moment;

/// A relation outside of the statement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// The rows of a dataset, or what is known of its versions.
    Dataset {
        /// The dataset.
        name: DatasetName,
        /// The table's name in the statement, such as `flights@v12`.
        table: String,
        /// What of it.
        part: Part,
    },
    /// A view of `information_schema`.
    InformationSchema(View),
    /// What the instance knows of its own doings.
    System(SystemView),
}

/// What of a dataset a statement names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Its rows, at a version if the statement names one.
    Rows(Option<Moment>),
    /// `$versions`.
    Versions,
}

/// The views of `information_schema` that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum View {
    /// Namespaces.
    Schemata,
    /// Datasets.
    Tables,
    /// Their columns.
    Columns,
}

/// The relations of the namespace `system`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SystemView {
    /// Who did what.
    Audit,
    /// Queries that have ended.
    Queries,
    /// Jobs.
    Jobs,
}

impl SystemView {
    /// All of them, by name.
    pub const ALL: [Self; 3] = [Self::Audit, Self::Jobs, Self::Queries];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|view| view.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Queries => "queries",
            Self::Jobs => "jobs",
        }
    }
}

impl View {
    fn named(name: &str) -> Option<Self> {
        [Self::Schemata, Self::Tables, Self::Columns].into_iter().find(|view| view.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Schemata => "schemata",
            Self::Tables => "tables",
            Self::Columns => "columns",
        }
    }
}

impl Relation {
    /// The rows of a dataset whose version the statement does not name.
    pub(crate) fn newest(name: DatasetName) -> Self {
        Self::Dataset { table: name.dataset().to_owned(), name, part: Part::Rows(None) }
    }
}

/// An unquoted identifier folds to lower case.
pub(crate) fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// The relation that a name of two parts stands for, or of three with the catalog.
pub(crate) fn relation(name: &ObjectName) -> Result<Relation> {
    let parts = idents(name).ok_or_else(|| dataset_name(name))?;
    let parts: Vec<String> = parts.iter().map(|part| folded(part)).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (["lake", namespace, table] | [namespace, table]) = parts[..] else { return Err(dataset_name(name)) };
    let (dataset, part) = part_of(table)?;
    let not_found = || StatementError::DatasetNotFound { name: clip(&format!("{namespace}.{dataset}")) };
    if namespace == "information_schema" {
        refuse("an older version of information_schema", part != Part::Rows(None))?;
        return View::named(dataset).map(Relation::InformationSchema).ok_or_else(not_found);
    }
    if namespace == "system" {
        refuse("an older version of a relation of system", part != Part::Rows(None))?;
        return SystemView::named(dataset).map(Relation::System).ok_or_else(not_found);
    }
    let name = DatasetName::new(namespace, dataset).map_err(|_| not_found())?;
    Ok(Relation::Dataset { name, table: table.to_owned(), part })
}

/// The dataset that a name without version or `$` stands for.
pub(crate) fn dataset(name: &ObjectName) -> Result<DatasetName> {
    match relation(name)? {
        Relation::Dataset { name, part: Part::Rows(None), .. } => Ok(name),
        _ => Err(StatementError::NotSupported(
            "SHOW and DESCRIBE of anything else than a dataset as it is now".to_owned(),
        )),
    }
}

/// Splits `t@v12` and `t$versions`.
fn part_of(table: &str) -> Result<(&str, Part)> {
    if let Some((dataset, moment)) = table.split_once('@') {
        if dataset.contains('$') {
            return Err(StatementError::AsOf(format!("`{}` is the same at any version", clip(dataset))));
        }
        return Ok((dataset, Part::Rows(Some(Moment::parse(moment)?))));
    }
    match table.split_once('$') {
        None => Ok((table, Part::Rows(None))),
        Some((dataset, "versions")) => Ok((dataset, Part::Versions)),
        Some((_, other)) => Err(StatementError::NotSupported(format!("`${}` (there is `$versions`)", clip(other)))),
    }
}

pub(crate) fn clip(text: &str) -> String {
    text.chars().take(150).collect()
}

pub(crate) fn dataset_name(name: &ObjectName) -> StatementError {
    StatementError::DatasetName { name: clip(&name.to_string()) }
}

pub(crate) fn idents(name: &ObjectName) -> Option<Vec<&Ident>> {
    name.0.iter().map(|part| if let ObjectNamePart::Identifier(ident) = part { Some(ident) } else { None }).collect()
}
