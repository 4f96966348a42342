//! What a token says, judged. The signature is judged apart.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::error::JwtError;
use crate::settings::Policy;

/// Bytes of a subject, a name or a group. OpenID Connect allows a subject 255.
const MAX_TEXT: usize = 256;

/// Groups of one caller.
const MAX_GROUPS: usize = 1000;

/// The last second of the year 9999: a date after it is in other units, or an attempt.
const MAX_DATE: i64 = 253_402_300_799;

/// Who a genuine token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `iss`, as in the settings.
    pub issuer: String,
    /// `sub`: what the issuer calls the caller for ever. Only with `issuer` does it name one caller. 1 to 256 bytes.
    pub subject: String,
    /// The issuer's `principal_claim`: what people call the caller. 1 to 256 bytes.
    pub name: String,
    /// The issuer's `groups_claim`: sorted, each once, 1 to 256 bytes each; none when the claim is absent.
    pub groups: Vec<String>,
    /// `exp`, without leeway.
    pub expires_at: DateTime<Utc>,
}

impl Claims {
    /// Judges `claims` by what `policy` asks of its issuer; the caller has compared `iss`.
    pub(crate) fn read(claims: &Map<String, Value>, policy: &Policy, now: DateTime<Utc>) -> Result<Self, JwtError> {
        judge_audience(claims.get("aud"), &policy.audience)?;
        let expires_at = judge_dates(claims, policy, now)?;
        Ok(Self {
            issuer: policy.issuer.clone(),
            subject: text(claims, "sub")?,
            name: read_name(claims, &policy.principal_claim)?,
            groups: read_groups(claims, &policy.groups_claim)?,
            expires_at,
        })
    }
}

fn judge_audience(aud: Option<&Value>, accepted: &[String]) -> Result<(), JwtError> {
    let named = match aud {
        Some(Value::Array(many)) => many.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    let well_formed = named.iter().all(Value::is_string);
    let ours = named.iter().filter_map(Value::as_str).any(|name| accepted.iter().any(|ours| ours == name));
    if well_formed && ours { Ok(()) } else { Err(JwtError::Audience) }
}

fn judge_dates(claims: &Map<String, Value>, policy: &Policy, now: DateTime<Utc>) -> Result<DateTime<Utc>, JwtError> {
    let expires_at = date(claims, "exp")?.ok_or_else(|| JwtError::claim("exp", "is missing"))?;
    if expires_at + policy.leeway <= now {
        return Err(JwtError::Expired);
    }
    let is_to_come = |date: Option<DateTime<Utc>>| date.is_some_and(|date| date - policy.leeway > now);
    if is_to_come(date(claims, "nbf")?) {
        return Err(JwtError::NotYet);
    }
    if is_to_come(date(claims, "iat")?) {
        return Err(JwtError::IssuedLater);
    }
    Ok(expires_at)
}

/// A date in whole seconds since 1970, or none.
fn date(claims: &Map<String, Value>, name: &str) -> Result<Option<DateTime<Utc>>, JwtError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_i64().filter(|seconds| (1..=MAX_DATE).contains(seconds));
    let date = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    date.map(Some).ok_or_else(|| JwtError::claim(name, "is not a whole number of seconds between 1970 and 9999"))
}

fn read_name(claims: &Map<String, Value>, claim: &str) -> Result<String, JwtError> {
    // An address that anybody could have typed in must not make them its owner.
    if claim == "email" && claims.get("email_verified") != Some(&Value::Bool(true)) {
        return Err(JwtError::claim("email", "does not count, for `email_verified` is not true"));
    }
    text(claims, claim)
}

fn read_groups(claims: &Map<String, Value>, claim: &str) -> Result<Vec<String>, JwtError> {
    let wrong = || JwtError::claim(claim, "is not a list of at most 1000 texts of 1 to 256 bytes");
    let listed = match claims.get(claim) {
        _ if claim.is_empty() => return Ok(Vec::new()),
        None => return Ok(Vec::new()),
        Some(Value::Array(listed)) if listed.len() <= MAX_GROUPS => listed,
        Some(_) => return Err(wrong()),
    };
    let groups: Option<BTreeSet<&str>> = listed.iter().map(|group| group.as_str().filter(|g| is_plain(g))).collect();
    Ok(groups.ok_or_else(wrong)?.into_iter().map(str::to_owned).collect())
}

fn text(claims: &Map<String, Value>, name: &str) -> Result<String, JwtError> {
    let value = claims.get(name).ok_or_else(|| JwtError::claim(name, "is missing"))?;
    let text = value.as_str().filter(|text| is_plain(text));
    text.map(str::to_owned)
        .ok_or_else(|| JwtError::claim(name, "is not a text of 1 to 256 bytes without control characters"))
}

fn is_plain(text: &str) -> bool {
    (1..=MAX_TEXT).contains(&text.len()) && !text.chars().any(char::is_control)
}
