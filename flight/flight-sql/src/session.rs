//! Sessions: options that hold for later calls. They are in a cookie that the client sends back, signed, so that any
//! gateway knows them and none keeps them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use arrow::array::timezone::Tz;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use lakegate_catalog::{Caller, Namespace, Protocol};
use lakegate_flight_wire::{
    CloseSessionResult, CloseSessionStatus, GetSessionOptionsResult, OptionValue, Purpose, Seal, SessionOptionValue,
    SetSessionOptionError, SetSessionOptionErrorValue, SetSessionOptionsRequest, SetSessionOptionsResult,
};
use lakegate_query::{Params, QueryRequest};
use prost::Message;
use tonic::Response;
use tonic::metadata::MetadataMap;

use crate::service::{Streamed, once};
use crate::status::{Failure, Result};

/// The cookie's name; clients of several languages look for this one.
const COOKIE: &str = "arrow_flight_session_id";

/// The one catalog that there is.
pub(crate) const CATALOG: &str = "lake";

/// The options of a session, by name, as text.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Session {
    #[prost(btree_map = "string, string", tag = "1")]
    options: BTreeMap<String, String>,
}

/// What is wrong with an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Name,
    Value,
}

impl Session {
    /// The session that a request belongs to; a new one without options when it has no cookie. Errors: `invalid_handle`,
    /// `expired_handle`, `denied`.
    pub(crate) fn of(seal: &Seal, caller: &Caller, metadata: &MetadataMap) -> Result<Self> {
        let Some(cookie) = cookie(metadata) else { return Ok(Self::default()) };
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(cookie).unwrap_or_default();
        Ok(seal.open(Purpose::Session, caller, &sealed)?)
    }

    /// The namespace of names that have one part.
    pub(crate) fn namespace(&self) -> Option<Namespace> {
        self.options.get("schema").and_then(|name| Namespace::new(name).ok())
    }

    /// Whether columns keep types that not every client reads.
    pub(crate) fn keeps_types(&self) -> bool {
        self.options.get("plain_types").is_some_and(|plain| plain == "false")
    }

    /// A request for a statement under these options.
    pub(crate) fn request(&self, sql: &str, params: Params) -> QueryRequest {
        QueryRequest {
            sql: sql.to_owned(),
            params,
            limit: self.options.get("row_limit").and_then(|limit| limit.parse().ok()),
            timeout: self.options.get("query_timeout").and_then(|timeout| span(timeout)),
            namespace: self.namespace(),
            time_zone: self.options.get("time_zone").cloned(),
            keep_types: self.keeps_types(),
            protocol: Protocol::Flight,
            ..QueryRequest::default()
        }
    }

    /// Sets one option, or unsets it.
    fn set(&mut self, name: &str, value: Option<OptionValue>, longest: Duration) -> Result<(), Wrong> {
        let known = ["catalog", "schema", "time_zone", "row_limit", "query_timeout", "plain_types"];
        if !known.contains(&name) {
            return Err(Wrong::Name);
        }
        let text = match value {
            Some(OptionValue::Text(text)) if text.is_empty() && name == "schema" => {
                self.options.remove(name);
                return Ok(());
            }
            None => {
                self.options.remove(name);
                return Ok(());
            }
            Some(OptionValue::Text(text)) => text,
            Some(OptionValue::Truth(truth)) => truth.to_string(),
            Some(OptionValue::Whole(whole)) => whole.to_string(),
            Some(OptionValue::Real(_) | OptionValue::Texts(_)) => return Err(Wrong::Value),
        };
        let good = match name {
            "catalog" => text == CATALOG,
            "schema" => Namespace::new(&text).is_ok(),
            "time_zone" => text.parse::<Tz>().is_ok(),
            "row_limit" => text.parse::<u64>().is_ok_and(|limit| limit <= 1 << 53),
            "query_timeout" => span(&text).is_some_and(|timeout| timeout <= longest),
            _ => text.parse::<bool>().is_ok(),
        };
        if !good {
            return Err(Wrong::Value);
        }
        self.options.insert(name.to_owned(), text);
        Ok(())
    }

    fn shown(&self) -> HashMap<String, SessionOptionValue> {
        let text = |text: &str| SessionOptionValue { option_value: Some(OptionValue::Text(text.to_owned())) };
        let set = self.options.iter().map(|(name, value)| (name.clone(), text(value)));
        // What is not set is told too: drivers ask where they are.
        [("catalog".to_owned(), text(CATALOG)), ("schema".to_owned(), text(""))].into_iter().chain(set).collect()
    }
}

/// `SetSessionOptions`: the answer brings the cookie of the session as it is then. `longest` is the deadline that a query may
/// have at most.
pub(crate) fn set(
    seal: &Seal,
    caller: &Caller,
    metadata: &MetadataMap,
    body: &[u8],
    longest: Duration,
) -> Result<Response<Streamed<arrow_flight::Result>>> {
    let mut session = Session::of(seal, caller, metadata)?;
    let request = SetSessionOptionsRequest::decode(body)?;
    let mut errors = HashMap::new();
    for (name, value) in request.session_options {
        if let Err(wrong) = session.set(&name, value.option_value, longest) {
            let value = match wrong {
                Wrong::Name => SetSessionOptionErrorValue::InvalidName,
                Wrong::Value => SetSessionOptionErrorValue::InvalidValue,
            };
            errors.insert(name, SetSessionOptionError { value: value as i32 });
        }
    }
    let sealed = BASE64_URL_SAFE_NO_PAD.encode(seal.close(Purpose::Session, caller, &session));
    answer(&SetSessionOptionsResult { errors }, Some(&format!("{COOKIE}={sealed}; Path=/; HttpOnly")))
}

/// `GetSessionOptions`.
pub(crate) fn get(
    seal: &Seal,
    caller: &Caller,
    metadata: &MetadataMap,
) -> Result<Response<Streamed<arrow_flight::Result>>> {
    let session_options = Session::of(seal, caller, metadata)?.shown();
    answer(&GetSessionOptionsResult { session_options }, None)
}

/// `CloseSession`: the client forgets the cookie; there is nothing else to close.
pub(crate) fn close() -> Result<Response<Streamed<arrow_flight::Result>>> {
    let closed = CloseSessionResult { status: CloseSessionStatus::Closed as i32 };
    answer(&closed, Some(&format!("{COOKIE}=; Path=/; Max-Age=0")))
}

fn answer(message: &impl Message, cookie: Option<&str>) -> Result<Response<Streamed<arrow_flight::Result>>> {
    let mut response = once(arrow_flight::Result { body: message.encode_to_vec().into() });
    if let Some(cookie) = cookie {
        response.metadata_mut().insert("set-cookie", cookie.parse().map_err(Failure::defect)?);
    }
    Ok(response)
}

/// The session's cookie among those of a request.
fn cookie(metadata: &MetadataMap) -> Option<&str> {
    let all = metadata.get_all("cookie").iter().filter_map(|value| value.to_str().ok());
    let pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let ours = pairs.filter(|(name, value)| *name == COOKIE && !value.is_empty());
    // Of several the last one counts.
    ours.map(|(_, value)| value.trim_matches('"')).reduce(|_, later| later)
}

/// `500ms`, `30s`, `5m`, `1h`.
fn span(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(millis).filter(|total| *total > 0).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Option<OptionValue> {
        Some(OptionValue::Text(text.to_owned()))
    }

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn options_are_checked_when_they_are_set() {
        let mut session = Session::default();
        for (name, value) in [
            ("catalog", text("lake")),
            ("schema", text("demo")),
            ("time_zone", text("Europe/Berlin")),
            ("row_limit", Some(OptionValue::Whole(10))),
            ("query_timeout", text("5s")),
            ("plain_types", Some(OptionValue::Truth(false))),
        ] {
            assert_eq!(session.set(name, value, HOUR), Ok(()), "{name}");
        }
        let request = session.request("SELECT 1", Params::None);
        assert_eq!((request.limit, request.timeout), (Some(10), Some(Duration::from_secs(5))));
        assert_eq!(request.namespace.map(|name| name.to_string()).as_deref(), Some("demo"));
        assert!(session.keeps_types());
        for (name, value) in [
            ("catalog", text("other")),
            ("schema", text("No Such")),
            ("time_zone", text("Mars/Base")),
            ("row_limit", text("-1")),
            ("query_timeout", text("soon")),
            ("plain_types", Some(OptionValue::Real(1.0))),
        ] {
            assert_eq!(session.set(name, value, HOUR), Err(Wrong::Value), "{name}");
        }
        assert_eq!(session.set("nothing", text("x"), HOUR), Err(Wrong::Name));
        assert_eq!(session.set("schema", None, HOUR), Ok(()));
        assert_eq!(session.namespace(), None);
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut metadata = MetadataMap::new();
        metadata.append("cookie", "a=b; arrow_flight_session_id=xyz".parse().expect("ascii"));
        assert_eq!(cookie(&metadata), Some("xyz"));
        metadata.append("cookie", "arrow_flight_session_id=".parse().expect("ascii"));
        assert_eq!(cookie(&metadata), Some("xyz"));
    }
}
