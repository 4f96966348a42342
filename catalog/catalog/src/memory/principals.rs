//! [`Principals`] in memory.

use std::ops::Bound;

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound as _, Utc};

use super::{MemoryCatalog, State, already_exists, not_found, now};
use crate::error::Result;
use crate::ids::{PrincipalId, TokenId};
use crate::page::{Listing, Page};
use crate::principal::{Authenticated, NewPrincipal, NewToken, Principal, Principals, TokenRecord};
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
        state.check_not_last_owner(id)?;
        state.principals.remove(&name);
        state.tokens.retain(|_, token| token.principal != id);
        state.grants.retain(|(principal, _), _| *principal != id);
        Ok(())
    }

    async fn create_token(&self, token: NewToken) -> Result<TokenRecord> {
        self.state.lock().create_token(token)
    }

    async fn authenticate(&self, hash: &TokenHash, now: DateTime<Utc>) -> Result<Option<Authenticated>> {
        let state = self.state.lock();
        let token = state.tokens.get(hash).filter(|token| token.expires_at.is_none_or(|end| now < end));
        Ok(token.and_then(|token| {
            let principal = state.principal(token.principal).ok()?.clone();
            Some(Authenticated { principal, expires_at: token.expires_at })
        }))
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
        if state.tokens.len() == before { Err(not_found("token", &id)) } else { Ok(()) }
    }
}

impl State {
    pub(super) fn create_principal(&mut self, new: NewPrincipal) -> Result<Principal> {
        new.check()?;
        if self.principals.contains_key(&new.name) {
            return Err(already_exists("principal", &new.name));
        }
        let NewPrincipal { name, kind } = new;
        let principal = Principal { id: PrincipalId::generate(), name, kind, created_at: now() };
        self.principals.insert(principal.name.clone(), principal.clone());
        Ok(principal)
    }

    pub(super) fn create_token(&mut self, new: NewToken) -> Result<TokenRecord> {
        new.check()?;
        self.principal(new.principal)?;
        if self.tokens.contains_key(&new.hash) {
            return Err(already_exists("token", &new.name));
        }
        let record = TokenRecord {
            id: TokenId::generate(),
            principal: new.principal,
            name: new.name,
            created_at: now(),
            expires_at: new.expires_at.map(|time| time.trunc_subsecs(6)),
        };
        self.tokens.insert(new.hash, record.clone());
        Ok(record)
    }
}
