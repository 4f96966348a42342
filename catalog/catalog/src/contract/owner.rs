//! What [`crate::Catalog`] promises of the instance: its first owner, its lake and its key.

use std::sync::Arc;

use chrono::Utc;
use futures::future::join_all;

use super::{new_user, refused, user};
use crate::grant::{Role, Scope};
use crate::principal::NewToken;
use crate::{ApiToken, Catalog, InstanceKey, LakeId, ensure_owner};

/// The suite of the instance.
pub async fn owner(make: impl AsyncFn() -> Arc<dyn Catalog>) {
    an_empty_instance_gets_one_owner(make().await).await;
    a_refused_owner_leaves_nothing(make().await).await;
    the_first_lake_is_remembered(make().await).await;
    the_first_key_is_remembered(make().await).await;
}

async fn an_empty_instance_gets_one_owner(catalog: Arc<dyn Catalog>) {
    user(&catalog, "bystander").await;
    let token = ensure_owner(catalog.as_ref(), "owner").await.expect("answer").expect("the first");
    let owner = catalog.authenticate(&token.hash(), Utc::now()).await.expect("answer").expect("the token works");
    assert_eq!(owner.expires_at, None);
    let owner = owner.principal;
    assert_eq!(owner.name, "owner");
    assert_eq!(catalog.role_on_instance(&owner.clone().into()).await.expect("answer"), Some(Role::Owner));
    assert_eq!(catalog.list_tokens(owner.id).await.expect("answer").len(), 1);
    for name in ["owner", "another"] {
        assert!(ensure_owner(catalog.as_ref(), name).await.expect("answer").is_none(), "{name}");
    }
    assert!(catalog.principal_by_name("another").await.expect("answer").is_none());
    assert_eq!(catalog.list_tokens(owner.id).await.expect("answer").len(), 1);
}

async fn a_refused_owner_leaves_nothing(catalog: Arc<dyn Catalog>) {
    let ann = user(&catalog, "ann").await;
    let taken = ApiToken::generate().hash();
    let new =
        NewToken { principal: ann.id, name: "t".to_owned(), hash: taken, expires_at: None, scope: Default::default() };
    catalog.create_token(new).await.expect("kept");
    let fresh = ApiToken::generate().hash();
    refused(catalog.create_first_owner(new_user("ann"), &fresh).await, "already_exists");
    refused(catalog.create_first_owner(new_user("No"), &fresh).await, "invalid_name");
    refused(catalog.create_first_owner(new_user("owner"), &taken).await, "already_exists");
    assert!(catalog.principal_by_name("owner").await.expect("answer").is_none());
    assert!(catalog.grants_on(&Scope::Instance).await.expect("answer").is_empty());
    assert_eq!(catalog.authenticate(&fresh, Utc::now()).await.expect("answer"), None);
}

async fn the_first_lake_is_remembered(catalog: Arc<dyn Catalog>) {
    assert_eq!(catalog.lake().await.expect("answer"), None);
    let callers: Vec<_> = (0..6).map(|_| Arc::clone(&catalog)).collect();
    let remembered = join_all(callers.iter().map(|catalog| catalog.remember_lake(LakeId::generate()))).await;
    let first = *remembered[0].as_ref().expect("answer");
    for answer in &remembered {
        assert_eq!(answer.as_ref().expect("answer"), &first);
    }
    assert_eq!(catalog.remember_lake(LakeId::generate()).await.expect("answer"), first);
    assert_eq!(catalog.lake().await.expect("answer"), Some(first));
}

async fn the_first_key_is_remembered(catalog: Arc<dyn Catalog>) {
    let callers: Vec<_> = (0..6).map(|_| Arc::clone(&catalog)).collect();
    let remembered = join_all(callers.iter().map(|catalog| catalog.remember_key(InstanceKey::generate()))).await;
    let first = *remembered[0].as_ref().expect("answer");
    for answer in &remembered {
        assert_eq!(answer.as_ref().expect("answer"), &first);
    }
    assert_eq!(catalog.remember_key(InstanceKey::generate()).await.expect("answer"), first);
}
