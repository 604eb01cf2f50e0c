//! `x LIKE ANY (array)` and `x LIKE ALL (array)`, with every operator that matches patterns: all pairs of all rows are matched at once,
//! then each row's answers are taken together. A NULL among the patterns leaves the answer open unless another decides it.

use super::table::{Overload, Type, function};
use crate::error::Result;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray, UInt32Array};
use arrow::compute::kernels::comparison::{ilike, like, nilike, nlike};
use arrow::compute::{not, take};
use datafusion::logical_expr::ScalarUDF;
use std::sync::Arc;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![function("tw_like_any", &ANY), function("tw_like_all", &ALL)]
}

const ANY: [Overload; 1] = [Overload { takes: &[Type::Text, Type::Texts, Type::Text], gives: Type::Boolean, run: |c| matched(c, true) }];
const ALL: [Overload; 1] = [Overload { takes: &[Type::Text, Type::Texts, Type::Text], gives: Type::Boolean, run: |c| matched(c, false) }];

/// `decisive`: the answer of one pair that settles the row's.
fn matched(columns: &[ArrayRef], decisive: bool) -> Result<ArrayRef> {
    let (lists, signs) = (columns[1].as_list::<i32>(), columns[2].as_string::<i32>());
    if lists.is_empty() {
        return Ok(Arc::new(BooleanArray::from(Vec::<bool>::new())));
    }
    let offsets = lists.value_offsets();
    let rows: UInt32Array = (0..lists.len()).flat_map(|row| std::iter::repeat_n(row as u32, lists.value_length(row) as usize)).collect();
    let texts = take(&columns[0], &rows, None)?;
    let patterns = lists.values().slice(offsets[0] as usize, rows.len());
    let pairs = compared(signs.value(0), texts.as_string::<i32>(), patterns.as_string::<i32>())?;
    let answer = |row: usize| {
        let mut open = false;
        for pair in (offsets[row] - offsets[0]) as usize..(offsets[row + 1] - offsets[0]) as usize {
            match pairs.is_valid(pair).then(|| pairs.value(pair)) {
                Some(value) if value == decisive => return Some(decisive),
                Some(_) => {}
                None => open = true,
            }
        }
        (!open).then_some(!decisive)
    };
    Ok(Arc::new((0..lists.len()).map(answer).collect::<BooleanArray>()))
}

fn compared(sign: &str, texts: &StringArray, patterns: &StringArray) -> Result<BooleanArray> {
    let regular = |flags: &str| super::regular::matches(&[Arc::new(texts.clone()) as ArrayRef, Arc::new(patterns.clone())], flags);
    Ok(match sign {
        "~~" => like(texts, patterns)?,
        "!~~" => nlike(texts, patterns)?,
        "~~*" => ilike(texts, patterns)?,
        "!~~*" => nilike(texts, patterns)?,
        "~" => regular("")?,
        "~*" => regular("i")?,
        "!~" => not(&regular("")?)?,
        _ => not(&regular("i")?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ListBuilder, StringBuilder};

    #[test]
    fn one_pair_decides_and_null_leaves_open() {
        let ask = |patterns: &[Option<&str>], sign: &str, decisive: bool| {
            let mut lists = ListBuilder::new(StringBuilder::new());
            patterns.iter().for_each(|p| lists.values().append_option(*p));
            lists.append(true);
            let text = |t: &str| Arc::new(StringArray::from(vec![t])) as ArrayRef;
            let answer = matched(&[text("abc"), Arc::new(lists.finish()), text(sign)], decisive).unwrap();
            answer.as_boolean().iter().next().unwrap()
        };
        assert_eq!(ask(&[Some("x%"), Some("a%")], "~~", true), Some(true));
        assert_eq!(ask(&[Some("x%"), None], "~~", true), None);
        assert_eq!(ask(&[Some("x%"), Some("a%")], "~~", false), Some(false));
        assert_eq!(ask(&[], "~~", false), Some(true));
        assert_eq!(ask(&[Some("X"), Some("y")], "!~*", false), Some(true));
    }
}
