//! What we tell clients we are: they choose their catalog statements by it, so it is pinned to one PostgreSQL version.

/// `server_version`.
pub const SERVER_VERSION: &str = concat!("15.8 (Tidewater ", env!("CARGO_PKG_VERSION"), ")");
/// `server_version_num`.
pub const SERVER_VERSION_NUM: &str = "150008";
/// `version()`; some clients refuse a server whose text does not begin with PostgreSQL.
pub const VERSION_TEXT: &str = concat!("PostgreSQL 15.8 (Tidewater ", env!("CARGO_PKG_VERSION"), ") on ", env!("CARGO_PKG_NAME"), ", 64-bit");
