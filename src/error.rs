//! The one error of the house. Its kind tells the caller what to do and gives the SQLSTATE; its texts
//! are for the person who typed the statement or runs the server.

use std::fmt;

/// What went wrong, as far as the caller can act on it. Each kind has one SQLSTATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Syntax,
    UndefinedTable,
    UndefinedColumn,
    UndefinedFunction,
    UndefinedObject,
    UndefinedParameter,
    AmbiguousColumn,
    Grouping,
    DatatypeMismatch,
    CannotCoerce,
    DuplicateTable,
    DuplicateSchema,
    ReservedName,
    DuplicateColumn,
    DuplicateObject,
    DuplicateAlias,
    WrongObjectType,
    InvalidObjectDefinition,
    InvalidColumnReference,
    InvalidRecursion,
    Windowing,
    DependentObjectsExist,
    InvalidSchemaName,
    InvalidCatalogName,
    DivisionByZero,
    NumericOutOfRange,
    StringTruncation,
    InvalidDatetime,
    DatetimeOverflow,
    IntervalOverflow,
    InvalidFrameSize,
    InvalidLimit,
    InvalidText,
    InvalidBinary,
    BadCopy,
    InvalidEncoding,
    InvalidParameter,
    InvalidLogarithm,
    InvalidPower,
    WidthBucket,
    InvalidRegularExpression,
    InvalidEscapeSequence,
    Substring,
    ArraySubscript,
    CardinalityViolation,
    UniqueViolation,
    NotNullViolation,
    CheckViolation,
    InFailedTransaction,
    NoActiveTransaction,
    ActiveTransaction,
    IdleInTransaction,
    InvalidSavepoint,
    ReadOnlyTransaction,
    InvalidStatementName,
    InvalidCursorName,
    DuplicateStatement,
    DuplicateCursor,
    SerializationFailure,
    QueryCanceled,
    AdminShutdown,
    Protocol,
    NotSupported,
    /// A statement was prepared before its relations changed.
    StalePlan,
    TooManyConnections,
    LimitExceeded,
    OutOfMemory,
    DiskFull,
    TooComplex,
    ProgramLimit,
    TooManyColumns,
    NotReady,
    /// An epoch from which nothing can be gone on.
    NotRetained,
    InUse,
    ObjectInUse,
    CannotConnectNow,
    InvalidPassword,
    InvalidAuthorization,
    InvalidGrant,
    InsufficientPrivilege,
    Io,
    Connector,
    ConfigFile,
    DataCorrupted,
    /// Nothing is wrong: what a NOTICE has.
    Notice,
    /// Our own mistake; the message says what invariant broke.
    Internal,
}

impl Kind {
    /// The five-character SQLSTATE that Postgres clients act on.
    pub fn sqlstate(self) -> &'static str {
        match self {
            Kind::Syntax => "42601",
            Kind::UndefinedTable => "42P01",
            Kind::UndefinedColumn => "42703",
            Kind::UndefinedFunction => "42883",
            Kind::UndefinedObject => "42704",
            Kind::UndefinedParameter => "42P02",
            Kind::AmbiguousColumn => "42702",
            Kind::Grouping => "42803",
            Kind::DatatypeMismatch => "42804",
            Kind::CannotCoerce => "42846",
            Kind::DuplicateTable => "42P07",
            Kind::DuplicateSchema => "42P06",
            Kind::ReservedName => "42939",
            Kind::DuplicateColumn => "42701",
            Kind::DuplicateObject => "42710",
            Kind::WrongObjectType => "42809",
            Kind::InvalidObjectDefinition => "42P17",
            Kind::InvalidColumnReference => "42P10",
            Kind::InvalidRecursion => "42P19",
            Kind::Windowing => "42P20",
            Kind::DependentObjectsExist => "2BP01",
            Kind::InvalidSchemaName => "3F000",
            Kind::InvalidCatalogName => "3D000",
            Kind::DivisionByZero => "22012",
            Kind::NumericOutOfRange => "22003",
            Kind::StringTruncation => "22001",
            Kind::InvalidDatetime => "22007",
            Kind::DatetimeOverflow => "22008",
            Kind::IntervalOverflow => "22015",
            Kind::InvalidFrameSize => "22013",
            Kind::InvalidText => "22P02",
            Kind::InvalidBinary => "22P03",
            Kind::BadCopy => "22P04",
            Kind::InvalidEncoding => "22021",
            Kind::InvalidParameter => "22023",
            Kind::InvalidLogarithm => "2201E",
            Kind::InvalidPower => "2201F",
            Kind::InvalidRegularExpression => "2201B",
            Kind::InvalidEscapeSequence => "22019",
            Kind::Substring => "22011",
            Kind::CardinalityViolation => "21000",
            Kind::UniqueViolation => "23505",
            Kind::NotNullViolation => "23502",
            Kind::CheckViolation => "23514",
            Kind::InvalidStatementName => "26000",
            Kind::InvalidCursorName => "34000",
            Kind::DuplicateStatement => "42P05",
            Kind::DuplicateCursor => "42P03",
            Kind::QueryCanceled => "57014",
            Kind::AdminShutdown => "57P01",
            Kind::Protocol => "08P01",
            Kind::NotSupported | Kind::StalePlan => "0A000",
            Kind::TooManyConnections => "53300",
            Kind::LimitExceeded => "53400",
            Kind::OutOfMemory => "53200",
            Kind::DiskFull => "53100",
            Kind::TooComplex => "54001",
            Kind::ProgramLimit => "54000",
            Kind::TooManyColumns => "54011",
            Kind::NotReady => "55000",
            Kind::NotRetained => "72000",
            Kind::InUse | Kind::ObjectInUse => "55006",
            Kind::CannotConnectNow => "57P03",
            Kind::Notice => "00000",
            other => other.state_of_clause().or_else(|| other.state_of_session()).unwrap_or_else(|| other.state_of_server()),
        }
    }

    /// Of clauses and functions that few statements have.
    fn state_of_clause(self) -> Option<&'static str> {
        Some(match self {
            Kind::DuplicateAlias => "42712",
            Kind::InvalidLimit => "2201W",
            Kind::WidthBucket => "2201G",
            Kind::ArraySubscript => "2202E",
            _ => return None,
        })
    }

    /// Of what goes wrong with transactions, and with who may.
    fn state_of_session(self) -> Option<&'static str> {
        Some(match self {
            Kind::InvalidPassword => "28P01",
            Kind::InvalidAuthorization => "28000",
            Kind::InvalidGrant => "0LP01",
            Kind::InsufficientPrivilege => "42501",
            Kind::InFailedTransaction => "25P02",
            Kind::NoActiveTransaction => "25P01",
            Kind::ActiveTransaction => "25001",
            Kind::IdleInTransaction => "25P03",
            Kind::ReadOnlyTransaction => "25006",
            Kind::InvalidSavepoint => "3B001",
            Kind::SerializationFailure => "40001",
            _ => return None,
        })
    }

    /// Of what goes wrong around statements, not in them.
    fn state_of_server(self) -> &'static str {
        match self {
            Kind::Io => "58030",
            Kind::Connector => "HV000",
            Kind::ConfigFile => "F0000",
            Kind::DataCorrupted => "XX001",
            _ => "XX000",
        }
    }
}

/// A worded error: lower case, no full stop, naming the object, as Postgres words its own.
#[derive(Debug)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: Kind,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    position: Option<usize>,
    context: Option<String>,
    about: About,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What an error is about, where a program may want to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    pub schema: Option<String>,
    pub table: Option<String>,
    pub column: Option<String>,
    pub constraint: Option<String>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error {
            inner: Box::new(Inner {
                kind,
                message: message.into(),
                detail: None,
                hint: None,
                position: None,
                context: None,
                about: About::default(),
                source: None,
            }),
        }
    }

    /// `0A000`: a clear refusal. Say in the hint what to write instead.
    pub fn not_supported(message: impl Into<String>) -> Self {
        Self::new(Kind::NotSupported, message)
    }

    /// Our own broken invariant.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.inner.detail = Some(detail.into());
        self
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.inner.hint = Some(hint.into());
        self
    }

    /// `position`: 1-based, in characters of the statement text, as the wire's `P` field wants it.
    pub fn at(mut self, position: usize) -> Self {
        self.inner.position.get_or_insert(position);
        self
    }

    /// What was being done: `COPY t, line 3, column n: "x"`.
    pub fn in_context(mut self, context: impl Into<String>) -> Self {
        self.inner.context.get_or_insert(context.into());
        self
    }

    pub fn about(mut self, about: About) -> Self {
        self.inner.about = about;
        self
    }

    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// The same with other texts: what nobody is to see taken out of them.
    pub fn with_texts(mut self, change: impl Fn(&str) -> String) -> Self {
        let inner = &mut self.inner;
        inner.message = change(&inner.message);
        for text in [&mut inner.detail, &mut inner.hint, &mut inner.context].into_iter().flatten() {
            *text = change(text);
        }
        self
    }

    pub fn kind(&self) -> Kind {
        self.inner.kind
    }

    pub fn message(&self) -> &str {
        &self.inner.message
    }

    pub fn detail(&self) -> Option<&str> {
        self.inner.detail.as_deref()
    }

    pub fn hint(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }

    pub fn position(&self) -> Option<usize> {
        self.inner.position
    }

    pub fn is_about(&self) -> &About {
        &self.inner.about
    }

    pub fn context(&self) -> Option<&str> {
        self.inner.context.as_deref()
    }

    pub fn sqlstate(&self) -> &'static str {
        self.inner.kind.sqlstate()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)?;
        if let Some(detail) = &self.inner.detail {
            write!(f, " ({detail})")?;
        }
        if let Some(hint) = &self.inner.hint {
            write!(f, "; hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_ref().map(|e| e.as_ref() as _)
    }
}

/// Arrow's kernels fail on a user's values (overflow, division by zero, a text that is no number) or on
/// our own mistakes; the variant tells which.
impl From<arrow::error::ArrowError> for Error {
    fn from(e: arrow::error::ArrowError) -> Self {
        use arrow::error::ArrowError as A;
        let kind = match &e {
            A::DivideByZero => return Error::new(Kind::DivisionByZero, "division by zero"),
            A::ArithmeticOverflow(_) => Kind::NumericOutOfRange,
            A::CastError(_) | A::ParseError(_) => Kind::InvalidText,
            A::ComputeError(_) | A::InvalidArgumentError(_) => Kind::InvalidParameter,
            _ => Kind::Internal,
        };
        Error::new(kind, e.to_string()).caused_by(e)
    }
}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        let kind = if e.kind() == std::io::ErrorKind::StorageFull { Kind::DiskFull } else { Kind::Io };
        Error::new(kind, e.to_string()).caused_by(e)
    }
}
