//! How `COPY` writes and reads rows.

use crate::error::{Error, Kind, Result};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CopyFormat {
    #[default]
    Text,
    Csv,
    Binary,
}

/// Columns whose values CSV quotes although they need none; NULL it never does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ForceQuote {
    #[default]
    Nothing,
    All,
    Columns(Vec<String>),
}

/// The options of one COPY; `None`: the format's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyOptions {
    pub format: CopyFormat,
    pub header: bool,
    pub delimiter: Option<u8>,
    pub null: Option<String>,
    pub quote: Option<u8>,
    pub escape: Option<u8>,
    pub force_quote: ForceQuote,
}

impl CopyOptions {
    pub fn delimiter(&self) -> u8 {
        self.delimiter.unwrap_or(if self.format == CopyFormat::Csv { b',' } else { b'\t' })
    }

    pub fn null(&self) -> &str {
        self.null.as_deref().unwrap_or(if self.format == CopyFormat::Csv { "" } else { "\\N" })
    }

    pub fn quote(&self) -> u8 {
        self.quote.unwrap_or(b'"')
    }

    pub fn escape(&self) -> u8 {
        self.escape.unwrap_or(self.quote())
    }

    /// Error: options that do not go together.
    pub fn check(&self) -> Result<()> {
        let csv_only = |given: bool, name: &str| if given { Err(Error::not_supported(format!("COPY {name} available only in CSV mode"))) } else { Ok(()) };
        let syntax = |message: &str| Err(Error::new(Kind::Syntax, message));
        let invalid = |message: String| Err(Error::new(Kind::InvalidParameter, message));
        match self.format {
            CopyFormat::Binary if self.delimiter.is_some() => return syntax("cannot specify DELIMITER in BINARY mode"),
            CopyFormat::Binary if self.null.is_some() => return syntax("cannot specify NULL in BINARY mode"),
            CopyFormat::Binary if self.header => return syntax("cannot specify HEADER in BINARY mode"),
            CopyFormat::Csv => {}
            _ => {
                csv_only(self.quote.is_some(), "quote")?;
                csv_only(self.escape.is_some(), "escape")?;
                csv_only(self.force_quote != ForceQuote::Nothing, "force quote")?;
            }
        }
        let (delimiter, null) = (self.delimiter(), self.null());
        if matches!(delimiter, b'\n' | b'\r') || null.contains(['\n', '\r']) {
            return invalid("COPY delimiter and null representation cannot use newline or carriage return".into());
        }
        if self.format == CopyFormat::Text && (delimiter.is_ascii_alphanumeric() || matches!(delimiter, b'\\' | b'.')) {
            return invalid(format!("COPY delimiter cannot be \"{}\"", delimiter as char));
        }
        if self.format == CopyFormat::Csv && self.quote() == delimiter {
            return invalid("COPY delimiter and quote must be different".into());
        }
        if null.as_bytes().contains(&delimiter) {
            return invalid("COPY delimiter character must not appear in the NULL specification".into());
        }
        Ok(())
    }
}
