//! Datasets that come to be.

use lakegate_catalog::{
    Action, Caller, Catalog, Column, Dataset, DatasetId, DatasetName, ErrorKind, Lack, NewDataset, PrincipalId, Role,
};
use lakegate_formats::{FormatError, MAX_COLUMNS};
use lakegate_lake::Lake;

use crate::error::{IngestError, Result};

/// Refuses a dataset that is too wide or has no columns.
pub fn check_width(columns: &[Column]) -> Result<()> {
    match columns.len() {
        0 => Err(FormatError::NoColumns.into()),
        1..=MAX_COLUMNS => Ok(()),
        more => Err(IngestError::TooManyColumns(more)),
    }
}

/// Whether the caller may create this dataset; makes the namespace for an owner of the instance. Answers who will own the
/// dataset.
pub async fn allow_create(catalog: &dyn Catalog, caller: &Caller, name: &DatasetName) -> Result<PrincipalId> {
    let principal = caller.principal().ok_or(IngestError::Anonymous)?;
    let lack = if catalog.role_on_namespace(caller, name.namespace()).await? < Some(Role::Owner) {
        Some(Lack::Role { role: Role::Owner, on: format!("namespace `{}`", name.namespace()) })
    } else {
        Some(Lack::Action(Action::Manage)).filter(|_| !caller.may(Action::Manage))
    };
    if let Some(lack) = lack {
        return Err(IngestError::Denied { what: "creating datasets".to_owned(), lack });
    }
    if catalog.role_on_instance(caller).await? == Some(Role::Owner) {
        catalog.ensure_namespace(name.namespace()).await?;
    }
    Ok(principal.id)
}

/// Creates a dataset without rows. The table first: a dataset that is listed can always be read.
pub async fn create_dataset(
    catalog: &dyn Catalog,
    lake: &Lake,
    new: NewDataset,
    owner: PrincipalId,
) -> Result<Dataset> {
    lake.create(new.id, &new.schema).await?;
    register(catalog, lake, new, owner).await
}

/// Lists a dataset whose table exists. When the catalog refuses it, the table goes again; when the
/// catalog did not answer, the dataset may be there, so its table stays.
pub(crate) async fn register(
    catalog: &dyn Catalog,
    lake: &Lake,
    new: NewDataset,
    owner: PrincipalId,
) -> Result<Dataset> {
    let id = new.id;
    match catalog.create_dataset(new, owner).await {
        Ok(dataset) => Ok(dataset),
        Err(error) => {
            if !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Internal) {
                abandon(lake, id).await;
            }
            Err(error.into())
        }
    }
}

/// Removes the table of a dataset that did not come to be.
pub(crate) async fn abandon(lake: &Lake, id: DatasetId) {
    if let Err(error) = lake.remove(id).await {
        tracing::warn!(dataset = %id, %error, "files of a dataset that was not created stay behind");
    }
}
