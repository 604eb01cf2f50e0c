//! Options whose values nobody is to see, and options whose value is a secret of the catalog.

/// Whether an option of that name holds what nobody is to see.
pub fn is_secret(name: &str) -> bool {
    const TELLING: [&str; 7] = ["password", "passphrase", "secret", "token", "private", "credential", "jaas"];
    let name = name.to_lowercase();
    TELLING.iter().any(|word| name.contains(word)) || name.ends_with("key.pem")
}

/// What the value of an option begins with if it is the name of a secret. No text of SQL holds a zero byte.
const MARK: &str = "\0secret ";

/// The value of an option that was written `option = SECRET name`.
pub fn reference(name: &str) -> String {
    format!("{MARK}{name}")
}

/// The secret that the value of an option names; `None`: it is a value.
pub fn referred(value: &str) -> Option<&str> {
    value.strip_prefix(MARK)
}
