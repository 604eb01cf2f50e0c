//! Primary keys: what an INSERT does with rows whose key is there already (an error, nothing, or an update), and that an
//! UPDATE of keys leaves them unique. Runs in the serial writer, so what is found to be there stays there.

use super::Context;
use super::assign::{checked, values_text};
use super::change::{assignments, joined, new_rows, old_columns, replaced, with_column_type};
use super::insert::is_default;
use super::scope::{Reader, Scope};
use super::select::{collect, with_session_values};
use super::target::Target;
use crate::error::{About, Error, Kind, Result};
use crate::node::engine_api::Snapshot;
use crate::sql::ast::Statement;
use crate::sql::bind::Parameters;
use crate::sql::parse;
use crate::sql::types::folded;
use crate::types::delta::Delta;
use crate::types::key::{Codec, Rows};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, ConflictTarget, Ident, OnConflictAction, OnInsert, SelectItem, SetExpr};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Column of row numbers in the relations that DO UPDATE sees.
const ROW: &str = "tw_row";
/// What DO UPDATE calls the row that was to be inserted.
const EXCLUDED: &str = "excluded";

/// What a statement does, and the rows it gives to RETURNING.
#[derive(Clone)]
pub(super) struct Resolved {
    pub(super) delta: Delta,
    pub(super) after: RecordBatch,
}

/// `ON CONFLICT`, read and checked.
pub(super) enum OnConflict {
    Fail,
    Nothing,
    Update(Box<DoUpdate>),
}

pub(super) struct DoUpdate {
    statement: Arc<Statement>,
    alias: String,
    assigned: Vec<(usize, ast::Expr)>,
    selection: Option<ast::Expr>,
    parameters: Vec<ScalarValue>,
}

impl OnConflict {
    pub(super) fn read(
        context: &Context,
        statement: &Arc<Statement>,
        target: &Target,
        alias: &str,
        on: Option<&OnInsert>,
        parameters: &[ScalarValue],
    ) -> Result<OnConflict> {
        let Some(OnInsert::OnConflict(on)) = on else { return Ok(OnConflict::Fail) };
        check_target(statement, target, on.conflict_target.as_ref())?;
        match &on.action {
            OnConflictAction::DoNothing => Ok(OnConflict::Nothing),
            OnConflictAction::DoUpdate(_) if on.conflict_target.is_none() => {
                Err(Error::new(Kind::Syntax, "ON CONFLICT DO UPDATE requires inference specification or constraint name")
                    .with_hint("For example, ON CONFLICT (column_name)."))
            }
            OnConflictAction::DoUpdate(update) => Ok(OnConflict::Update(Box::new(DoUpdate {
                statement: statement.clone(),
                alias: alias.to_owned(),
                assigned: assignments(statement, target, &update.assignments)?,
                selection: update.selection.clone().map(|e| with_session_values(context, e)).transpose()?,
                parameters: parameters.to_vec(),
            }))),
        }
    }
}

/// The only constraint there is, is the primary key.
fn check_target(statement: &Statement, target: &Target, conflict: Option<&ConflictTarget>) -> Result<()> {
    let key: HashSet<usize> = target.table.primary_key.iter().copied().collect();
    match conflict {
        None => Ok(()),
        Some(ConflictTarget::Columns(columns)) => {
            let named: HashSet<usize> = columns.iter().map(|c| target.column(statement, c)).collect::<Result<_>>()?;
            if named == key && !key.is_empty() {
                return Ok(());
            }
            Err(Error::new(Kind::InvalidColumnReference, "there is no unique or exclusion constraint matching the ON CONFLICT specification"))
        }
        Some(ConflictTarget::OnConstraint(name)) => {
            let name = name.0.last().and_then(|p| p.as_ident()).map(folded).unwrap_or_default();
            if name == constraint(target) && !key.is_empty() {
                return Ok(());
            }
            Err(Error::new(Kind::UndefinedObject, format!("constraint \"{name}\" for table \"{}\" does not exist", target.name())))
        }
    }
}

fn constraint(target: &Target) -> String {
    format!("{}_pkey", target.name())
}

pub(super) fn duplicate(target: &Target, rows: &RecordBatch, row: usize) -> Error {
    let key = &target.table.primary_key;
    let names: Vec<&str> = key.iter().map(|&i| target.columns()[i].name.as_str()).collect();
    let values = values_text(rows, key, row).unwrap_or_default();
    Error::new(Kind::UniqueViolation, format!("duplicate key value violates unique constraint \"{}\"", constraint(target)))
        .with_detail(format!("Key ({})=({values}) already exists.", names.join(", ")))
        .about(About { schema: Some(target.object.schema.clone()), table: Some(target.name().to_owned()), column: None, constraint: Some(constraint(target)) })
}

/// The key of each row, as columns and as bytes.
pub(super) fn keys(target: &Target, rows: &RecordBatch) -> Result<(RecordBatch, Rows)> {
    let columns = rows.project(&target.table.primary_key)?;
    let types: Vec<DataType> = columns.schema().fields().iter().map(|f| f.data_type().clone()).collect();
    let mut encoded = Rows::default();
    Codec::new(&types)?.encode(columns.columns(), &mut encoded)?;
    Ok((columns, encoded))
}

/// Rows of the table that have one of these keys, and which key is whose.
async fn existing(target: &Target, wanted: &RecordBatch, snapshot: &dyn Snapshot) -> Result<(RecordBatch, HashMap<Vec<u8>, usize>)> {
    let found = snapshot.rows_by_key(target.object.id, wanted).await?;
    let (_, found_keys) = keys(target, &found)?;
    let places = found_keys.iter().enumerate().map(|(i, key)| (key.to_vec(), i)).collect();
    Ok((found, places))
}

/// What becomes of the rows of an INSERT.
pub(super) async fn resolve(context: &Context, target: &Target, rows: RecordBatch, on: OnConflict, snapshot: &dyn Snapshot) -> Result<Resolved> {
    if target.table.primary_key.is_empty() || rows.num_rows() == 0 {
        return Ok(Resolved { delta: Delta::inserts(rows.clone()), after: rows });
    }
    let (key_columns, encoded) = keys(target, &rows)?;
    let (found, places) = existing(target, &key_columns, snapshot).await?;
    let mut seen: HashSet<&[u8]> = HashSet::new();
    let mut fresh: Vec<u32> = Vec::new();
    // (row there, row that was to be inserted)
    let mut conflicts: Vec<(u32, u32)> = Vec::new();
    for (i, key) in encoded.iter().enumerate() {
        let repeated = !seen.insert(key);
        let there = places.get(key).copied();
        if !repeated && there.is_none() {
            fresh.push(i as u32);
            continue;
        }
        match (&on, there) {
            (OnConflict::Fail, _) => return Err(duplicate(target, &rows, i)),
            (OnConflict::Nothing, _) => {}
            (OnConflict::Update(_), Some(there)) if !repeated => conflicts.push((there as u32, i as u32)),
            (OnConflict::Update(_), _) => {
                return Err(Error::new(Kind::CardinalityViolation, "ON CONFLICT DO UPDATE command cannot affect row a second time")
                    .with_hint("Ensure that no rows proposed for insertion within the same command have duplicate constrained values."));
            }
        }
    }
    let inserted = take_record_batch(&rows, &UInt32Array::from(fresh))?;
    let OnConflict::Update(update) = on else { return Ok(Resolved { delta: Delta::inserts(inserted.clone()), after: inserted }) };
    if conflicts.is_empty() {
        return Ok(Resolved { delta: Delta::inserts(inserted.clone()), after: inserted });
    }
    let there = take_record_batch(&found, &conflicts.iter().map(|c| c.0).collect::<UInt32Array>())?;
    let proposed = take_record_batch(&rows, &conflicts.iter().map(|c| c.1).collect::<UInt32Array>())?;
    let (old, new) = updated(context, target, *update, there, proposed, snapshot).await?;
    check_new_keys(target, &old, &new, snapshot).await?;
    let delta = Delta::concat(&rows.schema(), &[Delta::inserts(inserted.clone()), replaced(&old, &new)?])?;
    Ok(Resolved { delta, after: concat_batches(&rows.schema(), [&inserted, &new])? })
}

/// `DO UPDATE`: the rows that its WHERE lets through, before and after.
async fn updated(
    context: &Context,
    target: &Target,
    update: DoUpdate,
    there: RecordBatch,
    proposed: RecordBatch,
    snapshot: &dyn Snapshot,
) -> Result<(RecordBatch, RecordBatch)> {
    let mut query = parse::query(&joined(&update.alias, EXCLUDED, ROW))?;
    let computed: Vec<usize> = update.assigned.iter().filter(|(_, v)| !is_default(v)).map(|(c, _)| *c).collect();
    let mut items = old_columns(target, &update.alias);
    for (i, (column, value)) in update.assigned.iter().filter(|(_, v)| !is_default(v)).enumerate() {
        let expr = with_column_type(value.clone(), &target.columns()[*column]);
        items.push(SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', format!("tw_value_{i}")) });
    }
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = items;
        select.selection = update.selection;
    }
    let query = with_session_values(context, query)?;
    let plan = {
        let catalog = context.engine.catalog();
        let relation = |id| context.engine.relation(id);
        let scope =
            Scope::new(&catalog, &relation, Reader::Session(context)).with_local(EXCLUDED, numbered(&proposed)?).with_local(&update.alias, numbered(&there)?);
        let bound = context.binder.query(&scope, query, Parameters::Values(&update.parameters), Some(&update.statement.source))?;
        new_rows(context, target, bound.plan, target.columns().len(), &update.assigned, &computed)?
    };
    let result = collect(context, plan, snapshot).await?;
    let width = target.columns().len();
    let old = RecordBatch::try_new(target.schema(), result.columns()[..width].to_vec())?;
    let new = checked(target, &result.project(&(width..2 * width).collect::<Vec<_>>())?)?;
    Ok((old, new))
}

/// The rows with their numbers.
fn numbered(rows: &RecordBatch) -> Result<RecordBatch> {
    let mut fields: Vec<Field> = rows.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    fields.push(Field::new(ROW, DataType::Int64, false));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new((0..rows.num_rows() as i64).collect::<Int64Array>()) as ArrayRef);
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// After an update of `old` rows to `new` ones, keys are unique still. Error: 23505.
pub(super) async fn check_new_keys(target: &Target, old: &RecordBatch, new: &RecordBatch, snapshot: &dyn Snapshot) -> Result<()> {
    if target.table.primary_key.is_empty() || new.num_rows() == 0 {
        return Ok(());
    }
    let (_, old_keys) = keys(target, old)?;
    let gone: HashSet<&[u8]> = old_keys.iter().collect();
    let (new_columns, new_keys) = keys(target, new)?;
    let (_, there) = existing(target, &new_columns, snapshot).await?;
    let mut seen: HashSet<&[u8]> = HashSet::new();
    for (i, key) in new_keys.iter().enumerate() {
        if !seen.insert(key) || (there.contains_key(key) && !gone.contains(key)) {
            return Err(duplicate(target, new, i));
        }
    }
    Ok(())
}
