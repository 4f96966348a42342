//! The formats that bodies come in and answers go out in.

use std::fmt;

/// A format of request and response bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// JSON: an array of objects, one object, or objects one after the other.
    Json,
    /// One JSON object per line.
    NdJson,
    /// RFC 4180 with a header row.
    Csv,
    /// The Arrow IPC stream format.
    ArrowStream,
    /// The Arrow IPC file format.
    ArrowFile,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 6] = [Self::Json, Self::NdJson, Self::Csv, Self::ArrowStream, Self::ArrowFile, Self::Parquet];

    /// Whether rows are text, without types of their own.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Json | Self::NdJson | Self::Csv)
    }

    /// The media type, without parameters.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::NdJson => "application/x-ndjson",
            Self::Csv => "text/csv",
            Self::ArrowStream => "application/vnd.apache.arrow.stream",
            Self::ArrowFile => "application/vnd.apache.arrow.file",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// What an answer is labelled as: for rows that are text, also that they are in UTF-8. JSON always is, and has no such
    /// parameter.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::NdJson => "application/x-ndjson; charset=utf-8",
            Self::Csv => "text/csv; charset=utf-8",
            other => other.media_type(),
        }
    }

    /// The format of a media type, whatever its case and parameters. Also knows the other names in
    /// use for NDJSON (`application/ndjson`, `application/jsonl`, `application/x-jsonlines`).
    pub fn from_media_type(text: &str) -> Option<Self> {
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" => Some(Self::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
                Some(Self::NdJson)
            }
            "text/csv" => Some(Self::Csv),
            "application/vnd.apache.arrow.stream" => Some(Self::ArrowStream),
            "application/vnd.apache.arrow.file" => Some(Self::ArrowFile),
            "application/vnd.apache.parquet" => Some(Self::Parquet),
            _ => None,
        }
    }

    /// The format of a `?format=` word: `json`, `ndjson`, `csv`, `arrow`, `arrow-file` or `parquet`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The `?format=` word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::NdJson => "ndjson",
            Self::Csv => "csv",
            Self::ArrowStream => "arrow",
            Self::ArrowFile => "arrow-file",
            Self::Parquet => "parquet",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_media_types_read_back() {
        for format in Format::ALL {
            assert_eq!(Format::from_name(format.name()), Some(format));
            assert_eq!(Format::from_media_type(format.media_type()), Some(format));
            assert_eq!(Format::from_media_type(format.content_type()), Some(format));
        }
        assert_eq!(Format::from_media_type("Text/CSV ; header=absent"), Some(Format::Csv));
        assert_eq!(Format::from_media_type("text/plain"), None);
        assert_eq!(Format::from_name("JSON"), None);
    }
}
