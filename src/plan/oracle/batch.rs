//! The judge: DataFusion runs the bound plan, as it is, over all input so far.

use super::engine::{Rows, texts};
use super::sessions::{self, Sessions};
use super::world::{Cut, E, LATE, SESSIONS, judges, relations};
use crate::error::Result;
use crate::plan::arithmetic::checked;
use crate::plan::asof::batch::in_batch;
use crate::plan::null_safe::with_unmixed_keys;
use crate::plan::relation::{RelationSource, attach};
use crate::sql::functions::{aggregates, scalars, session_window, windows};
use crate::types::ids::ObjectId;
use arrow::array::{RecordBatch, UInt32Array};
use datafusion::common::tree_node::Transformed;
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::{MemTable, TableProvider};
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::Optimizer;
use datafusion::physical_plan::collect;
use datafusion::prelude::{SessionConfig, SessionContext};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub struct Judge {
    context: SessionContext,
    runtime: tokio::runtime::Runtime,
    /// All deltas so far.
    input: BTreeMap<ObjectId, Vec<RecordBatch>>,
    sessions: Sessions,
}

impl Judge {
    pub fn new() -> Judge {
        let mut config = SessionConfig::new().with_target_partitions(1);
        config.options_mut().sql_parser.map_string_types_to_utf8view = false;
        // DataFusion's own rules mix keys of joins (see `null_safe`).
        let rules = with_unmixed_keys(Optimizer::new().rules);
        let state = SessionStateBuilder::new_with_default_features().with_config(config).with_optimizer_rules(rules).build();
        let context = SessionContext::new_with_state(state);
        scalars().into_iter().for_each(|f| context.register_udf(f.as_ref().clone()));
        aggregates().into_iter().for_each(|f| context.register_udaf(f.as_ref().clone()));
        windows().into_iter().for_each(|f| context.register_udwf(f.as_ref().clone()));
        session_window::functions().into_iter().for_each(|f| context.register_udwf(f.as_ref().clone()));
        for relation in relations().into_iter().chain(judges()) {
            context.register_table(relation.name.as_str(), Arc::new(EmptyTable::new(relation.schema.clone()))).unwrap();
        }
        Judge { context, runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(), input: BTreeMap::new(), sessions: Sessions::default() }
    }

    /// The query over relations of ours, type-coerced.
    pub fn bind(&self, sql: &str) -> Result<LogicalPlan> {
        let state = self.context.state();
        let plan = self.runtime.block_on(state.create_logical_plan(sql))?;
        let sources: HashMap<String, Arc<RelationSource>> =
            relations().into_iter().chain(judges()).map(|r| (r.name.clone(), Arc::new(RelationSource::new(r)))).collect();
        let plan = plan.transform_up_with_subqueries(|node| {
            let LogicalPlan::TableScan(mut scan) = node else { return Ok(Transformed::no(node)) };
            let Some(source) = sources.get(scan.table_name.table()) else { return Ok(Transformed::no(LogicalPlan::TableScan(scan))) };
            scan.source = source.clone();
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        })?;
        // What DataFusion cannot run is joins here too; PostgreSQL judges those (`tests/slt/subqueries.slt`, `tests/it/judge.rs`).
        let plan = crate::sql::subqueries::unnested(plan.data)?;
        Ok(state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?)
    }

    pub fn take(&mut self, cut: &Cut) {
        for (id, deltas) in &cut.deltas {
            let rows = self.input.entry(*id).or_default();
            for delta in deltas {
                add(rows, delta.batch(), &(0..delta.rows()).map(|i| delta.weight(i)).collect::<Vec<_>>());
            }
        }
        self.sessions.take(cut);
        let of_e = relations().into_iter().find(|r| r.id == E).expect("e is a relation");
        self.input.insert(SESSIONS, self.sessions.rows(&sessions::schema(&of_e.schema)));
        self.input.insert(LATE, self.sessions.late.clone());
    }

    /// The query's rows over all input taken so far.
    pub fn answer(&self, plan: &LogicalPlan) -> Result<Rows> {
        let plan = attach(checked(in_batch(plan.clone())?)?, &mut |relation| {
            let batches = self.input.get(&relation.id).cloned().unwrap_or_default();
            Ok(Arc::new(MemTable::try_new(relation.schema.clone(), vec![batches])?) as Arc<dyn TableProvider>)
        })?;
        let batches = self.runtime.block_on(async {
            let state = self.context.state();
            let physical = state.create_physical_plan(&plan).await?;
            collect(physical, self.context.task_ctx()).await
        })?;
        let mut rows = Rows::new();
        batches.iter().flat_map(texts).for_each(|text| *rows.entry(text).or_default() += 1);
        Ok(rows)
    }
}

/// Inserts are appended; a retraction takes one equal row out.
fn add(rows: &mut Vec<RecordBatch>, batch: &RecordBatch, weights: &[i64]) {
    for (i, weight) in weights.iter().enumerate() {
        let row = arrow::compute::take_record_batch(batch, &UInt32Array::from(vec![i as u32])).unwrap();
        match weight {
            1 => rows.push(row),
            -1 => {
                let at = rows.iter().position(|r| *r == row).expect("a retracted row was inserted before");
                rows.swap_remove(at);
            }
            other => panic!("input rows have weight 1 or -1, not {other}"),
        }
    }
}
