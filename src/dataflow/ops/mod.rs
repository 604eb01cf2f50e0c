//! The operators, one file each. This is the list.
