//! [`Principals`] in memory.

use std::ops::Bound;

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound as _, Utc};

use super::{MemoryCatalog, State, already_exists, not_found, now};
use crate::access::Identity;
use crate::error::Result;
use crate::event::Change;
use crate::grant::Grantee;
use crate::group::Group;
use crate::ids::{PrincipalId, TokenId};
use crate::page::{Listing, Page};
use crate::password::{Attempt, Failures, PasswordHash};
use crate::principal::{ExternalId, NewPrincipal, NewToken, Principal, Principals, TokenRecord};
use crate::token::TokenHash;

#[async_trait]
impl Principals for MemoryCatalog {
    async fn create_principal(&self, principal: NewPrincipal) -> Result<Principal> {
        self.state.lock().create_principal(principal)
    }

    async fn principal(&self, id: PrincipalId) -> Result<Option<Principal>> {
        Ok(self.state.lock().principal(id).ok().cloned())
    }

    async fn principal_by_name(&self, name: &str) -> Result<Option<Principal>> {
        Ok(self.state.lock().principals.get(name).cloned())
    }

    async fn list_principals(&self, page: &Page) -> Result<Listing<Principal>> {
        let start = page.after(NewPrincipal::name_from)?.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.state.lock();
        let range = state.principals.range((start, Bound::Unbounded));
        let items = range.map(|(_, principal)| principal.clone()).take(page.size() + 1).collect();
        Ok(Listing::from_overfull(items, page.size(), |principal: &Principal| principal.name.clone()))
    }

    async fn delete_principal(&self, id: PrincipalId) -> Result<()> {
        let mut state = self.state.lock();
        let name = state.principal(id)?.name.clone();
        state.check_not_last_owner(Grantee::Principal(id))?;
        state.principals.remove(&name);
        state.external.retain(|_, principal| *principal != id);
        state.passwords.remove(&id);
        state.tokens.retain(|_, token| token.principal != id);
        state.members.retain(|(_, principal)| *principal != id);
        state.grants.retain(|(grantee, _), _| *grantee != Grantee::Principal(id));
        state.tell(Change::RightsChanged);
        Ok(())
    }

    async fn create_token(&self, token: NewToken) -> Result<TokenRecord> {
        self.state.lock().create_token(token)
    }

    async fn authenticate(&self, hash: &TokenHash, now: DateTime<Utc>) -> Result<Option<Identity>> {
        let state = self.state.lock();
        let token = state.tokens.get(hash).filter(|token| token.expires_at.is_none_or(|end| now < end));
        Ok(token.and_then(|token| {
            let principal = state.principal(token.principal).ok()?.clone();
            let groups = state.groups_of(principal.id);
            Some(Identity { principal, groups, scope: token.scope.clone(), expires_at: token.expires_at })
        }))
    }

    async fn identify_external(&self, external: &ExternalId, groups: &[String]) -> Result<Option<Identity>> {
        let state = self.state.lock();
        let Some(principal) = state.external.get(external).and_then(|id| state.principal(*id).ok()).cloned() else {
            return Ok(None);
        };
        let member = |group: &&Group| groups.contains(&group.name) || state.members.contains(&(group.id, principal.id));
        let groups = state.groups.values().filter(member).cloned().collect();
        Ok(Some(Identity { groups, ..Identity::from(principal) }))
    }

    async fn set_password(&self, id: PrincipalId, password: Option<PasswordHash>) -> Result<()> {
        let mut state = self.state.lock();
        let name = state.principal(id)?.name.clone();
        state.failures.remove(&name);
        match password {
            Some(password) => drop(state.passwords.insert(id, password)),
            None => drop(state.passwords.remove(&id)),
        }
        Ok(())
    }

    async fn attempt_login(&self, name: &str, now: DateTime<Utc>) -> Result<Attempt> {
        if !NewPrincipal::valid_name(name) {
            return Ok(Attempt::Unknown);
        }
        let mut state = self.state.lock();
        state.failures.retain(|_, (at, _)| now - *at < Failures::AGE);
        let (at, failures) = state.failures.entry(name.to_owned()).or_insert((now, Failures::default()));
        if let Some(until) = failures.locked(now) {
            return Ok(Attempt::Locked { until });
        }
        (*at, *failures) = (now, failures.one_more(now));
        let Some(principal) = state.principals.get(name).cloned() else { return Ok(Attempt::Unknown) };
        let password = state.passwords.get(&principal.id).cloned();
        Ok(password.map_or(Attempt::Unknown, |password| Attempt::Check { principal, password }))
    }

    async fn finish_login(&self, name: &str) -> Result<()> {
        self.state.lock().failures.remove(name);
        Ok(())
    }

    async fn list_tokens(&self, principal: PrincipalId) -> Result<Vec<TokenRecord>> {
        let state = self.state.lock();
        let mut tokens: Vec<_> = state.tokens.values().filter(|token| token.principal == principal).cloned().collect();
        tokens.sort_by_key(|token| (token.created_at, token.id));
        Ok(tokens)
    }

    async fn token(&self, id: TokenId) -> Result<Option<TokenRecord>> {
        Ok(self.state.lock().tokens.values().find(|token| token.id == id).cloned())
    }

    async fn revoke_token(&self, id: TokenId) -> Result<()> {
        let mut state = self.state.lock();
        let before = state.tokens.len();
        state.tokens.retain(|_, token| token.id != id);
        if state.tokens.len() == before {
            return Err(not_found("token", &id));
        }
        state.tell(Change::RightsChanged);
        Ok(())
    }
}

impl State {
    pub(super) fn create_principal(&mut self, new: NewPrincipal) -> Result<Principal> {
        new.check()?;
        if self.principals.contains_key(&new.name) {
            return Err(already_exists("principal", &new.name));
        }
        if let Some(taken) = new.external.as_ref().filter(|external| self.external.contains_key(external)) {
            return Err(already_exists("external id", &taken.subject));
        }
        let NewPrincipal { name, kind, external } = new;
        let principal = Principal { id: PrincipalId::generate(), name, kind, created_at: now() };
        self.external.extend(external.map(|external| (external, principal.id)));
        self.principals.insert(principal.name.clone(), principal.clone());
        Ok(principal)
    }

    pub(super) fn create_token(&mut self, new: NewToken) -> Result<TokenRecord> {
        new.check()?;
        self.principal(new.principal)?;
        let ended = now() - TokenRecord::KEPT;
        let over = |token: &TokenRecord| token.expires_at.is_some_and(|end| end < ended);
        self.tokens.retain(|_, token| token.principal != new.principal || !over(token));
        if self.tokens.contains_key(&new.hash) {
            return Err(already_exists("token", &new.name));
        }
        let record = TokenRecord {
            id: TokenId::generate(),
            principal: new.principal,
            name: new.name,
            created_at: now(),
            expires_at: new.expires_at.map(|time| time.trunc_subsecs(6)),
            scope: new.scope,
        };
        self.tokens.insert(new.hash, record.clone());
        Ok(record)
    }
}
