//! Values as Postgres prints them, and texts as Postgres reads them.
