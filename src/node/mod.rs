//! Ties the rooms into one program.
