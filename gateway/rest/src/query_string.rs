//! The query string of a URL, read strictly: what is wrong is told by the name of the parameter.

use std::fmt;
use std::str::FromStr;

use axum::http::Uri;
use serde::de::value::MapDeserializer;
use serde::de::{DeserializeOwned, Deserializer, Error, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

/// Reads the query string of a URL as `T`, whose fields are texts, flags and counts. The error is for whoever sent it.
pub(crate) fn read<T: DeserializeOwned>(uri: &Uri) -> Result<T, String> {
    let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|error| error.body_text())?;
    let words = pairs.0.into_iter().map(|(name, value)| (name, Word(value)));
    serde_path_to_error::deserialize(MapDeserializer::<_, Wrong>::new(words)).map_err(|error| {
        let name = clip(&error.path().to_string());
        match error.into_inner() {
            wrong @ Wrong::Value(_) => format!("`{name}` {wrong}"),
            Wrong::Other(why) if name != "." => format!("`{name}`: {why}"),
            wrong => wrong.to_string(),
        }
    })
}

/// What is wrong.
#[derive(Debug)]
enum Wrong {
    /// No parameter has this name.
    Unknown {
        name: String,
        known: &'static [&'static str],
    },
    /// A parameter is there twice: readers differ in which of them counts.
    Twice(&'static str),
    /// A parameter that must be there is not.
    Missing(&'static str),
    /// A value is of another kind: what it must be.
    Value(String),
    Other(String),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, known: [] } => write!(f, "there is no parameter `{name}`: there are none"),
            Self::Unknown { name, known } => {
                write!(f, "there is no parameter `{name}`: there are `{}`", known.join("`, `"))
            }
            Self::Twice(name) => write!(f, "the parameter `{name}` is there twice"),
            Self::Missing(name) => write!(f, "the parameter `{name}` is missing"),
            Self::Value(must) => write!(f, "must be {must}"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Wrong {}

impl Error for Wrong {
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self::Other(why.to_string())
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::Unknown { name: clip(field), known: expected }
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::Twice(field)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }
}

/// A value, which is read as what its field is.
struct Word(String);

impl Word {
    fn count<T: FromStr + fmt::Display + Copy>(&self, most: T) -> Result<T, Wrong> {
        self.0.parse().map_err(|_| {
            let is_whole = !self.0.is_empty() && self.0.bytes().all(|b| b.is_ascii_digit());
            Wrong::Value(if is_whole { format!("at most {most}") } else { "a whole number from 0".to_owned() })
        })
    }
}

impl IntoDeserializer<'_, Wrong> for Word {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Word {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_string(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_bool(self.0.parse().map_err(|_| Wrong::Value("true or false".to_owned()))?)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_u32(self.count(u32::MAX)?)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_u64(self.count(u64::MAX)?)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u128 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

/// A hostile name must not fill an answer.
fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        sql: String,
        limit: Option<u64>,
        wait: Option<u32>,
        #[serde(default)]
        create: bool,
    }

    fn asked(query: &str) -> Result<Asked, String> {
        read(&format!("/v1/query?{query}").parse().expect("a URL"))
    }

    #[test]
    fn what_is_right_is_read() {
        let all = Asked { sql: "SELECT 'é'".to_owned(), limit: Some(7), wait: Some(0), create: true };
        assert_eq!(asked("sql=SELECT+'%C3%A9'&limit=7&wait=0&create=true"), Ok(all));
        let least = Asked { sql: String::new(), limit: None, wait: None, create: false };
        assert_eq!(asked("sql="), Ok(least));
    }

    #[test]
    fn what_is_wrong_is_told_by_the_name_of_the_parameter() {
        for (query, said) in [
            ("sql=x&limit=-1", "`limit` must be a whole number from 0"),
            ("sql=x&limit=", "`limit` must be a whole number from 0"),
            ("sql=x&limit=ten", "`limit` must be a whole number from 0"),
            ("sql=x&wait=4294967296", "`wait` must be at most 4294967295"),
            ("sql=x&create=yes", "`create` must be true or false"),
            ("sql=x&sql=y", "the parameter `sql` is there twice"),
            ("limit=1", "the parameter `sql` is missing"),
            ("sql=x&lmit=1", "there is no parameter `lmit`: there are `sql`, `limit`, `wait`, `create`"),
        ] {
            assert_eq!(asked(query), Err(said.to_owned()), "{query}");
        }
        let long = asked(&format!("sql=x&{}=1", "é".repeat(500).replace('é', "%C3%A9"))).expect_err("refused");
        assert!(long.chars().count() < 200, "{long}");
    }
}
