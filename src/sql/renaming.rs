//! What is kept as text follows a relation that gets another name. In `FROM orders` the new name takes the place of the old one, which stays as
//! an alias unless there is one: `FROM purchases AS orders`. Whatever else the text says of `orders` means the same as before, and the
//! plan is the same.

use super::parse;
use super::parse::source::Source;
use super::types::folded;
use super::walk::{self, Rewrite};
use crate::error::Result;
use datafusion::sql::sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, Query, Spanned, TableFactor};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

/// What stands in the place of a name (schema, if it is written, and name); `None`: the name means another relation, or none.
pub type NewName<'a> = dyn Fn(Option<&str>, &str) -> Option<String> + 'a;

/// A query under new names.
pub fn in_query(text: &str, new_name: &NewName<'_>) -> Result<String> {
    let source = Source::new(text);
    let mut names = Names { source: &source, new_name, queries: Vec::new(), edits: Vec::new() };
    walk::rewrite(&mut parse::query(text)?, &mut names);
    let mut edits = names.edits;
    edits.sort_unstable();
    edits.dedup();
    let mut text = text.to_owned();
    for (from, to, new) in edits.into_iter().rev() {
        text.replace_range(from..to, &new);
    }
    Ok(text)
}

/// A CREATE statement whose object, or the one that it is on, has a new name: the first name behind one of `words` that has one.
pub fn in_create(text: &str, words: &[&str], new_name: &NewName<'_>) -> String {
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location() else { return text.to_owned() };
    let tokens: Vec<TokenWithSpan> = tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
    let source = Source::new(text);
    let is_one = |token: &Token| matches!(token, Token::Word(w) if w.quote_style.is_none() && words.iter().any(|word| w.value.eq_ignore_ascii_case(word)));
    for (at, _) in tokens.iter().enumerate().filter(|(_, t)| is_one(&t.token)) {
        let parts = name_at(&tokens[at + 1..]);
        let Some((last, first)) = parts.last().zip(parts.first()) else { continue };
        let schema = parts.len().checked_sub(2).map(|i| folded(&parts[i]));
        if let Some(new) = new_name(schema.as_deref(), &folded(last)) {
            let (from, to) = (source.byte(first.span.start), source.byte(last.span.end));
            return format!("{}{new}{}", &text[..from], &text[to..]);
        }
    }
    text.to_owned()
}

/// `a.b.c` at the beginning of `tokens`.
fn name_at(tokens: &[TokenWithSpan]) -> Vec<Ident> {
    let mut parts = Vec::new();
    for pair in tokens.chunks(2) {
        let Token::Word(word) = &pair[0].token else { break };
        parts.push(Ident { value: word.value.clone(), quote_style: word.quote_style, span: pair[0].span });
        if pair.get(1).is_none_or(|next| next.token != Token::Period) {
            break;
        }
    }
    parts
}

struct Names<'a> {
    source: &'a Source,
    new_name: &'a NewName<'a>,
    /// Of the queries around: names that WITH gives, and where they begin to be seen.
    queries: Vec<Vec<(String, Location)>>,
    /// From byte, to byte, what stands there instead.
    edits: Vec<(usize, usize, String)>,
}

impl Names<'_> {
    fn rename(&mut self, parts: &[&Ident], alias_at: Option<Location>) {
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return };
        let name = folded(last);
        let schema = parts.len().checked_sub(2).map(|i| folded(parts[i]));
        let given = |(with, since): &(String, Location)| *with == name && *since <= last.span.start;
        if schema.is_none() && self.queries.iter().flatten().any(given) {
            return;
        }
        let Some(new) = (self.new_name)(schema.as_deref(), &name) else { return };
        self.edits.push((self.source.byte(first.span.start), self.source.byte(last.span.end), new));
        if let Some(place) = alias_at {
            let (at, old) = (self.source.byte(place), last.to_string());
            match self.edits.last_mut().filter(|(_, to, _)| *to == at) {
                Some((_, _, new)) => new.push_str(&format!(" AS {old}")),
                None => self.edits.push((at, at, format!(" AS {old}"))),
            }
        }
    }
}

fn idents(name: &ObjectName) -> Vec<&Ident> {
    name.0.iter().filter_map(|part| part.as_ident()).collect()
}

impl Rewrite for Names<'_> {
    fn enter_query(&mut self, query: &mut Query) {
        let mut names = Vec::new();
        if let Some(with) = &query.with {
            for cte in &with.cte_tables {
                let since = if with.recursive { Location { line: 0, column: 0 } } else { cte.closing_paren_token.0.span.start };
                names.push((folded(&cte.alias.name), since));
            }
        }
        self.queries.push(names);
    }

    fn leave_query(&mut self) {
        self.queries.pop();
    }

    fn table_factor(&mut self, factor: &mut TableFactor) {
        let end = factor.span().end;
        let TableFactor::Table { name, alias, args, version, .. } = factor else { return };
        let Some(arguments) = args else {
            let behind_name = idents(name).last().map(|ident| ident.span.end);
            let place = if version.is_some() { Some(end) } else { behind_name };
            return self.rename(&idents(name), place.filter(|_| alias.is_none()));
        };
        // TUMBLE(orders, …)
        match arguments.args.first() {
            Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(ident)))) => self.rename(&[ident], None),
            Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::CompoundIdentifier(parts)))) => self.rename(&parts.iter().collect::<Vec<_>>(), None),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(text: &str) -> String {
        let new_name = |schema: Option<&str>, name: &str| (name == "orders" && schema.is_none_or(|s| s == "public")).then(|| "purchases".to_owned());
        in_query(text, &new_name).unwrap()
    }

    #[test]
    fn the_old_name_stays_as_an_alias() {
        assert_eq!(renamed("SELECT orders.id FROM Orders WHERE orders.id > 1"), "SELECT orders.id FROM purchases AS Orders WHERE orders.id > 1");
        assert_eq!(renamed("SELECT o.id FROM public.orders o JOIN t ON true"), "SELECT o.id FROM purchases o JOIN t ON true");
        assert_eq!(
            renamed("SELECT * FROM t, \"orders\"\nWHERE EXISTS (SELECT 1 FROM orders AS x)"),
            "SELECT * FROM t, purchases AS \"orders\"\nWHERE EXISTS (SELECT 1 FROM purchases AS x)"
        );
        assert_eq!(renamed("SELECT * FROM other.orders"), "SELECT * FROM other.orders");
        assert_eq!(renamed("SELECT 'from orders' FROM t"), "SELECT 'from orders' FROM t");
    }

    #[test]
    fn names_of_with_are_others() {
        let text = "WITH orders AS (SELECT * FROM orders) SELECT * FROM orders, public.orders AS p";
        assert_eq!(renamed(text), "WITH orders AS (SELECT * FROM purchases AS orders) SELECT * FROM orders, purchases AS p");
        let text = "SELECT * FROM (WITH orders AS (SELECT 1) SELECT * FROM orders) x, orders";
        assert_eq!(renamed(text), "SELECT * FROM (WITH orders AS (SELECT 1) SELECT * FROM orders) x, purchases AS orders");
        let recursive = "WITH RECURSIVE orders AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM orders WHERE n < 3) SELECT * FROM orders";
        assert_eq!(renamed(recursive), recursive);
    }

    #[test]
    fn relations_of_windows_and_names_of_statements() {
        assert_eq!(renamed("SELECT * FROM TUMBLE(orders, at, INTERVAL '1 minute')"), "SELECT * FROM TUMBLE(purchases, at, INTERVAL '1 minute')");
        let new_name = |_: Option<&str>, name: &str| (name == "orders").then(|| "\"New\"".to_owned());
        assert_eq!(
            in_create("create table if not exists public.Orders (orders int)", &["table", "exists"], &new_name),
            "create table if not exists \"New\" (orders int)"
        );
        assert_eq!(in_create("create index orders_key on orders (a)", &["on"], &new_name), "create index orders_key on \"New\" (a)");
    }
}
