//! Names -> logical plan. One [`Binder`] serves the server: it holds the functions and rules; what the names mean
//! comes with each call ([`Names`]), so a statement binds against one catalog whatever DDL does meanwhile.
//!
//! ```text
//! tree --name_columns, forms--> tree --SqlToRel--> plan --parameters, subqueries--> plan --PostgresTypes, TypeCoercion, Zones, …--> plan --settle--> bound
//! ```
//!
//! A bound plan is type-coerced and not optimized: views are planned from it, SELECTs go on to [`Binder::run`].

use super::errors::{translate, untranslated};
use super::forms;
use super::functions;
use super::functions::catalog::Known;
use super::functions::clock;
use super::interrupt::Interruptible;
use super::names::{name_columns, shown, tell_columns_apart};
use super::operators::Operators;
use super::over;
use super::parameters;
use super::parse::{self, source::Source};
use super::recursive::mutual::Mutual;
use super::recursive::{self, Pieces};
use super::relations::Windows;
use super::semantics::PostgresTypes;
use super::style;
use super::types;
use super::whole_rows;
use super::zones::{self, Zones};
use crate::error::{Error, Kind, Result};
use crate::types::text::{Zone, list_of};
use crate::types::time::AS_OF_PROCTIME;
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, Schema, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::metadata::{FieldMetadata, ScalarAndMetadata};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ParamValues, ScalarValue, TableReference};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::context::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, SessionStateBuilder};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    AggregateUDF, Cast, Expr, ExprSchemable, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource, TableType, WindowUDF,
};
use datafusion::optimizer::analyzer::{resolve_grouping_function::ResolveGroupingFunction, type_coercion::TypeCoercion};
use datafusion::optimizer::simplify_expressions::{ExprSimplifier, SimplifyContext};
use datafusion::optimizer::{Analyzer, AnalyzerRule, Optimizer};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use datafusion::sql::planner::{NullOrdering, ParserOptions, PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// Views inside views that binding enters.
const VIEW_DEPTH: usize = 32;

/// What a name in FROM stands for.
pub enum Named {
    Relation(Arc<dyn TableSource>),
    /// Bound again in the place of its name ([`Inside`]); `columns` rename the query's.
    View {
        query: String,
        columns: Vec<String>,
        path: Vec<String>,
        /// OID of the role with whose rights it reads.
        owner: u32,
        /// In which its literals are read.
        zone: Zone,
    },
}

/// A view, as far as names in its query go.
#[derive(Clone, Copy)]
pub struct Inside<'a> {
    /// Schemas in which names that have none are looked for.
    pub path: &'a [String],
    /// OID of the role with whose rights it reads.
    pub owner: u32,
}

/// The catalog as a statement sees it.
pub trait Names: Send + Sync {
    /// What a name, with or without its schema, stands for. `inside`: the view that the name stands in; `None`: in the statement itself.
    /// Error: it exists but cannot be read (55000), or may not be (42501).
    fn find(&self, schema: Option<&str>, name: &str, inside: Option<Inside<'_>>) -> Result<Option<Named>>;

    /// The columns of what a name stands for.
    fn columns(&self, schema: Option<&str>, name: &str, inside: Option<Inside<'_>>) -> Result<Option<Vec<String>>> {
        Ok(match self.find(schema, name, inside)? {
            Some(Named::Relation(source)) => Some(source.schema().fields().iter().map(|f| f.name().clone()).collect()),
            Some(Named::View { columns, .. }) => Some(columns),
            None => None,
        })
    }

    /// The OIDs of the type of a relation's rows, and of arrays of them.
    fn row_type(&self, _schema: Option<&str>, _name: &str) -> Option<(u32, u32)> {
        None
    }

    /// What functions about the catalog know; `None`: there are no such functions here.
    fn known(&self) -> Option<Arc<Known>> {
        None
    }

    /// The same, if the statement has asked for it.
    fn known_so_far(&self) -> Option<Arc<Known>> {
        None
    }

    /// The plan of `query` over the bindings of a WITH MUTUALLY RECURSIVE, which no node of DataFusion stands for.
    fn mutual_recursion(&self, _recursion: Mutual, _query: LogicalPlan) -> Result<LogicalPlan> {
        Err(Error::not_supported("WITH MUTUALLY RECURSIVE is not supported here"))
    }
}

/// A statement's parameters.
pub enum Parameters<'a> {
    /// Describe: the types that the client declared, the others are inferred.
    Declared(&'a [Option<FieldRef>]),
    /// Execute.
    Values(&'a [ScalarValue]),
    /// The same with their types, as the client was told them: a `json` is a text that says so.
    Typed(&'a [ScalarValue], &'a [Option<FieldRef>]),
}

/// What Describe needs, and what runs.
pub struct Bound {
    pub plan: LogicalPlan,
    /// Types of `$1`, `$2`, …
    pub parameters: Vec<FieldRef>,
}

impl Bound {
    /// The result's columns under the names that clients see.
    pub fn columns(&self) -> Vec<FieldRef> {
        self.plan.schema().fields().iter().map(|f| Arc::new(f.as_ref().clone().with_name(shown(f.name())))).collect()
    }
}

/// See the module.
pub struct Binder {
    state: SessionState,
}

impl Binder {
    /// `behind_coercion`: rules that need coerced types. `optimizer`: what rewrites the plans of SELECTs.
    pub fn new(behind_coercion: Vec<Arc<dyn AnalyzerRule + Send + Sync>>, optimizer: Optimizer, runtime: Arc<RuntimeEnv>, partitions: usize) -> Result<Binder> {
        let mut config =
            SessionConfig::new().with_target_partitions(partitions.max(1)).with_information_schema(false).with_create_default_catalog_and_schema(false);
        config.options_mut().sql_parser.map_string_types_to_utf8view = false;
        config.options_mut().sql_parser.parse_float_as_decimal = true;
        // What every sort sets aside for merging files: small, for readers share a small memory (`node::session::runtime`).
        config.options_mut().execution.sort_spill_reservation_bytes = 2 << 20;
        config.options_mut().execution.time_zone = Some("UTC".to_owned());
        let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> =
            vec![Arc::new(ResolveGroupingFunction::new()), Arc::new(PostgresTypes), Arc::new(TypeCoercion::new()), Arc::new(Zones)];
        rules.extend(behind_coercion);
        let mut builder = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .with_relation_planners(vec![Arc::new(Windows), Arc::new(super::multisets::Multisets)])
            .with_type_planner(Arc::new(Types));
        builder = builder.with_physical_optimizer_rule(Arc::new(Yielding)).with_physical_optimizer_rule(Arc::new(Interruptible));
        // Before DataFusion's own, which know no types of quoted literals.
        builder.expr_planners().get_or_insert_default().insert(0, Arc::new(Operators));
        // In the place of DataFusion's own rules, not behind them: types are resolved before they are coerced.
        *builder.analyzer() = Some(Analyzer::with_rules(rules));
        *builder.optimizer() = Some(optimizer);
        let mut state = builder.build();
        for function in functions::scalars() {
            datafusion::logical_expr::registry::FunctionRegistry::register_udf(&mut state, function).map_err(untranslated)?;
        }
        for function in functions::aggregates() {
            datafusion::logical_expr::registry::FunctionRegistry::register_udaf(&mut state, function).map_err(untranslated)?;
        }
        for function in functions::windows() {
            datafusion::logical_expr::registry::FunctionRegistry::register_udwf(&mut state, function).map_err(untranslated)?;
        }
        Ok(Binder { state })
    }

    /// Binds a query. `source` is the text its spans count in.
    pub fn query(&self, names: &dyn Names, mut query: Box<ast::Query>, parameters: Parameters<'_>, source: Option<&Source>) -> Result<Bound> {
        let original = query.clone();
        recursive::check::check(query.as_ref(), source, &|name| self.state.aggregate_functions().contains_key(name))?;
        name_columns(&mut query);
        forms::rewrite(&mut query);
        let written = parameters::cast_types(&original);
        self.bind(names, &query, parameters, &written).map_err(|e| translate(e, source, original.as_ref()))
    }

    /// `written`: types of parameters that the query's own text tells.
    fn bind(&self, names: &dyn Names, query: &ast::Query, parameters: Parameters<'_>, written: &HashMap<String, FieldRef>) -> DataFusionResult<Bound> {
        let context = Context { binder: self, names, depth: 0, inside: None };
        let (types, values) = match parameters {
            Parameters::Declared(types) => (types.to_vec(), None),
            Parameters::Values(values) => (values.iter().map(|v| Some(field_of(v))).collect::<Vec<_>>(), Some(values)),
            Parameters::Typed(values, types) => {
                let marks = |i: usize| types.get(i).and_then(Option::as_ref).map(|t| t.metadata().clone()).unwrap_or_default();
                let marked = |(i, v): (usize, &ScalarValue)| Some(Arc::new(field_of(v).as_ref().clone().with_metadata(marks(i))));
                (values.iter().enumerate().map(marked).collect(), Some(values))
            }
        };
        let marks: Vec<_> = types.iter().map(|t| t.as_ref().map(|t| FieldMetadata::from(t.metadata())).filter(|m| !m.is_empty())).collect();
        let plan = self.plan(&context, query, types.clone())?;
        let inferred = inferred(&plan, types, written)?;
        let plan = match values {
            Some(values) => {
                let values = values.iter().zip(marks).map(|(v, marks)| ScalarAndMetadata::new(v.clone(), marks)).collect();
                plan.replace_params_with_values(&ParamValues::List(values))?
            }
            // A second time, so that what is around a parameter sees the type that the first time found.
            None if !inferred.is_empty() => self.plan(&context, query, inferred.iter().cloned().map(Some).collect())?,
            None => plan,
        };
        let plan = printed(settle(self.analyze(plan)?)?, names)?;
        Ok(Bound { plan, parameters: inferred })
    }

    fn plan(&self, context: &Context<'_>, query: &ast::Query, parameters: Vec<Option<FieldRef>>) -> DataFusionResult<LogicalPlan> {
        let mut query = Cow::Borrowed(query);
        loop {
            let error = match self.plan_once(context, &query, parameters.clone()) {
                Ok(plan) => return Ok(plan),
                Err(error) => error,
            };
            let columns = |query: &ast::Query| {
                let plan = context.uncoerced(query.clone(), &mut PlannerContext::new()).ok()?;
                Some(plan.schema().fields().iter().map(|f| f.name().clone()).collect())
            };
            let Some(name) = whole_rows::missing(&error).map(str::to_owned) else { return Err(error) };
            if !whole_rows::rewrite(query.to_mut(), &name, context.names, context.inside, &columns).map_err(|e| DataFusionError::External(Box::new(e)))? {
                return Err(error);
            }
        }
    }

    fn plan_once(&self, context: &Context<'_>, query: &ast::Query, parameters: Vec<Option<FieldRef>>) -> DataFusionResult<LogicalPlan> {
        let mut planner_context = PlannerContext::new().with_prepare_param_data_types(parameters);
        let mut query = query.clone();
        recursive::lift(&mut query);
        match query.with.take_if(|w| w.recursive) {
            Some(with) if recursive::mutual::is_mutual(&with) => {
                let recursion = recursive::mutual::bind(with, context, &mut planner_context)?;
                let query = context.uncoerced(query, &mut planner_context)?;
                return context.names.mutual_recursion(recursion, query).map_err(|e| DataFusionError::External(Box::new(e)));
            }
            Some(with) => recursive::bind(with, context, &mut planner_context)?,
            None => {}
        }
        let plan = context.uncoerced(query, &mut planner_context)?;
        over::check(&plan)?;
        Ok(plan)
    }

    fn analyze(&self, plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
        let plan = super::subqueries::unnested(plan)?;
        self.state.analyzer().execute_and_check(plan, self.state.config_options(), |_, _| {})
    }

    /// Coerces types in a plan that was built by hand.
    pub fn coerce(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        self.analyze(plan).map_err(untranslated)
    }

    /// One expression over columns of `schema` (DEFAULT, generated columns, watermarks, RETURNING), coerced.
    pub fn expression(&self, names: &dyn Names, expr: ast::Expr, schema: &DFSchema) -> Result<Expr> {
        let raw = self.uncoerced(names, expr, schema)?;
        let coerced = super::semantics::expression(raw, schema).and_then(|typed| {
            let context = SimplifyContext::builder().with_schema(Arc::new(schema.clone())).with_config_options(self.state.config_options().clone()).build();
            zones::expression(ExprSimplifier::new(context).coerce(typed.data, schema)?, schema)
        });
        coerced.map_err(untranslated)
    }

    /// The same for use in a plan that goes through [`Binder::coerce`].
    pub fn uncoerced(&self, names: &dyn Names, mut expr: ast::Expr, schema: &DFSchema) -> Result<Expr> {
        forms::rewrite(&mut expr);
        let context = Context { binder: self, names, depth: 0, inside: None };
        SqlToRel::new_with_options(&context, options()).sql_to_expr(expr, schema, &mut PlannerContext::new()).map_err(untranslated)
    }

    /// Optimizes and starts a bound plan whose scans have providers. `now`: the statement's time, µs.
    pub async fn run(&self, plan: LogicalPlan, now: i64) -> Result<(SchemaRef, SendableRecordBatchStream)> {
        let run = async {
            let plan = clock::fix(plan, now)?;
            let plan = self.state.optimizer().optimize(plan, &self.state, |_, _| {})?;
            let physical = self.state.query_planner().create_physical_plan(&plan, &self.state).await?;
            let schema = physical.schema();
            Ok((schema, execute_stream(physical, self.state.task_ctx())?))
        };
        run.await.map_err(untranslated)
    }

    /// The plan that [`Binder::run`] would run, for EXPLAIN.
    pub fn optimized(&self, plan: LogicalPlan, now: i64) -> Result<LogicalPlan> {
        clock::fix(plan, now).and_then(|plan| self.state.optimizer().optimize(plan, &self.state, |_, _| {})).map_err(untranslated)
    }

    pub fn state(&self) -> &SessionState {
        &self.state
    }
}

fn options() -> ParserOptions {
    ParserOptions::new()
        .with_parse_float_as_decimal(true)
        .with_enable_ident_normalization(true)
        .with_map_string_types_to_utf8view(false)
        .with_collect_spans(true)
        .with_default_null_ordering(NullOrdering::NullsMax)
}

fn field_of(value: &ScalarValue) -> FieldRef {
    Arc::new(Field::new("", value.data_type(), true))
}

/// Types of all parameters; those that nothing around them tells are text, as in Postgres.
fn inferred(plan: &LogicalPlan, declared: Vec<Option<FieldRef>>, written: &HashMap<String, FieldRef>) -> DataFusionResult<Vec<FieldRef>> {
    let mut found = plan.get_parameter_fields()?;
    cast_parameters(plan, &mut found)?;
    let highest = found.keys().filter_map(|k| k.trim_start_matches('$').parse::<usize>().ok()).max().unwrap_or(0);
    let text: FieldRef = Arc::new(Field::new("", DataType::Utf8, true));
    Ok((0..highest.max(declared.len()))
        .map(|i| {
            let declared = declared.get(i).cloned().flatten();
            let name = format!("${}", i + 1);
            let found = || found.get(&name).cloned().flatten();
            let field = declared.or_else(found).or_else(|| written.get(&name).cloned()).unwrap_or_else(|| text.clone());
            let settled = types::settled(field.data_type());
            if settled == *field.data_type() { field } else { Arc::new(field.as_ref().clone().with_data_type(settled)) }
        })
        .collect())
}

/// `$1::int4` says what `$1` is, and so does `LIMIT $1`.
fn cast_parameters(plan: &LogicalPlan, found: &mut HashMap<String, Option<FieldRef>>) -> DataFusionResult<()> {
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            for count in [&limit.skip, &limit.fetch].into_iter().flatten() {
                if let Expr::Placeholder(placeholder) = count.as_ref() {
                    let known = found.entry(placeholder.id.clone()).or_default();
                    known.get_or_insert_with(|| Arc::new(Field::new("", DataType::Int64, true)));
                }
            }
        }
        let schema = merge_schema(&node.inputs());
        node.apply_expressions(|expr| {
            expr.apply(|e| {
                if let Expr::ScalarFunction(call) = e
                    && call.func.name() == functions::array::LIKE
                    && let [Expr::Placeholder(placeholder), value] = call.args.as_slice()
                    && let Ok((_, item)) = value.to_field(&schema)
                {
                    let known = found.entry(placeholder.id.clone()).or_default();
                    known.get_or_insert_with(|| Arc::new(list_of("", item.as_ref().clone())));
                }
                for (placeholder, field) in parameters::beside_others(e, &schema) {
                    found.entry(placeholder).or_default().get_or_insert(field);
                }
                if let Expr::Cast(Cast { expr, field }) = e
                    && let Expr::Placeholder(placeholder) = expr.as_ref()
                {
                    let known = found.entry(placeholder.id.clone()).or_default();
                    let plain = Field::new("", field.data_type().clone(), true);
                    known.get_or_insert_with(|| if types::is_any_numeric(field) { Arc::new(plain) } else { field.clone() });
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

/// Result columns of types that Postgres does not have are cast to the nearest.
fn settle(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let odd = plan.schema().fields().iter().any(|f| types::settled(f.data_type()) != *f.data_type());
    if !odd {
        return Ok(plan);
    }
    with_columns(plan, |field, column| {
        let settled = types::settled(field.data_type());
        if settled == *field.data_type() { Err(column) } else { Ok(Expr::Cast(Cast::new(Box::new(column), settled))) }
    })
}

/// `plan` with some columns of its result replaced under their names; `Err`: one that stays.
fn with_columns(plan: LogicalPlan, replace: impl Fn(&Field, Expr) -> std::result::Result<Expr, Expr>) -> DataFusionResult<LogicalPlan> {
    let column = |(qualifier, field): (Option<&TableReference>, &FieldRef)| {
        let replaced = replace(field, Expr::Column((qualifier, field).into()));
        replaced.map_or_else(|column| column, |expr| expr.alias_qualified(qualifier.cloned(), field.name()))
    };
    let list: Vec<Expr> = plan.schema().iter().map(column).collect();
    LogicalPlanBuilder::from(plan).project(list)?.build()
}

/// Oids that are names of things come with these names where they are printed: as columns of the result, and cast to text.
fn printed(plan: LogicalPlan, names: &dyn Names) -> DataFusionResult<LogicalPlan> {
    let Some(named) = names.known_so_far().and_then(|known| functions::catalog::function(functions::catalog::NAMED, known)) else { return Ok(plan) };
    let plan = plan
        .transform_up_with_subqueries(|node| {
            let schema = merge_schema(&node.inputs());
            let saver = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = saver.save(&expr);
                let texts = expr.transform_up(|e| Ok(functions::cast::with_names(e, &schema, &named)))?;
                Ok(texts.update_data(|e| name.restore(e)))
            })
        })?
        .data;
    if plan.schema().fields().iter().all(|f| functions::catalog::reg_of(f).is_none()) {
        return Ok(plan);
    }
    with_columns(plan, |field, column| if functions::catalog::reg_of(field).is_some() { Ok(named.call(vec![column])) } else { Err(column) })
}

/// Joins hand their thread back from time to time: one that makes millions of rows of each that it reads could neither be cancelled nor let others run.
#[derive(Debug)]
struct Yielding;

impl PhysicalOptimizerRule for Yielding {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let multiplies = node.name().contains("Join") || node.name().contains("Unnest");
            Ok(if multiplies { Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>) } else { Transformed::no(node) })
        })
        .map(|t| t.data)
    }

    fn name(&self) -> &str {
        "yielding"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The binder's view of the names of one statement.
struct Context<'a> {
    binder: &'a Binder,
    names: &'a dyn Names,
    /// Views entered so far.
    depth: usize,
    /// The innermost one.
    inside: Option<Inside<'a>>,
}

impl Pieces for Context<'_> {
    fn piece(&self, mut query: ast::Query, context: &PlannerContext) -> DataFusionResult<LogicalPlan> {
        tell_columns_apart(&mut query);
        let plan = self.uncoerced(query, &mut context.clone())?;
        // What a parameter is may only be known from the whole query.
        let unknown = !plan.get_parameter_fields()?.is_empty();
        match self.binder.analyze(plan.clone()) {
            Err(_) if unknown => Ok(plan),
            analyzed => analyzed,
        }
    }

    fn work_table(&self, name: &str, schema: Schema) -> DataFusionResult<Arc<dyn TableSource>> {
        self.create_cte_work_table(name, Arc::new(schema))
    }
}

impl Context<'_> {
    fn uncoerced(&self, query: ast::Query, context: &mut PlannerContext) -> DataFusionResult<LogicalPlan> {
        SqlToRel::new_with_options(self, options()).sql_statement_to_plan_with_context(ast::Statement::Query(Box::new(query)), context)
    }

    /// `foreign`: its zone is not the reader's.
    fn view(&self, query: &str, columns: &[String], inside: Inside<'_>, foreign: bool) -> Result<LogicalPlan> {
        if self.depth >= VIEW_DEPTH {
            return Err(Error::new(Kind::TooComplex, "views are nested too deeply"));
        }
        let mut query = parse::query(query)?;
        name_columns(&mut query);
        forms::rewrite(&mut query);
        let inner = Context { binder: self.binder, names: self.names, depth: self.depth + 1, inside: Some(inside) };
        let plan = self.binder.plan(&inner, &query, vec![]).map_err(untranslated)?;
        // Literals get their values here, in the view's own zone; what it converts as it is read is in the reader's.
        let plan = if foreign { PostgresTypes.analyze(plan, self.binder.state.config_options()).map_err(untranslated)? } else { plan };
        let list: Vec<Expr> = plan.schema().columns().into_iter().zip(columns).map(|(column, name)| Expr::Column(column).alias(name)).collect();
        LogicalPlanBuilder::from(plan).project(list).and_then(|b| b.build()).map_err(untranslated)
    }
}

/// A view in the place of a table: DataFusion puts its plan there.
#[derive(Debug)]
struct ViewSource {
    plan: LogicalPlan,
    schema: SchemaRef,
}

impl TableSource for ViewSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, name: TableReference) -> DataFusionResult<Arc<dyn TableSource>> {
        // An empty schema: none was written where two names must stand.
        let (schema, table) = (name.schema().filter(|s| !s.is_empty()), name.table());
        let external = |e: Error| DataFusionError::External(Box::new(e));
        match self.names.find(schema, table, self.inside).map_err(external)? {
            Some(Named::Relation(source)) => Ok(source),
            Some(Named::View { .. }) if name.catalog() == Some(AS_OF_PROCTIME) => Err(external(
                Error::not_supported(format!("\"{table}\" is a view without rows of its own, which FOR SYSTEM_TIME AS OF PROCTIME() cannot look up"))
                    .with_hint("make it a materialized view"),
            )),
            Some(Named::View { query, columns, path, owner, zone }) => {
                let foreign = zone != style::current().timezone;
                let plan = style::within(zone, || self.view(&query, &columns, Inside { path: &path, owner }, foreign)).map_err(external)?;
                let schema = plan.schema().inner().clone();
                Ok(Arc::new(ViewSource { plan, schema }))
            }
            None => {
                let shown = if name.catalog().is_some() { table.to_owned() } else { name.to_string() };
                Err(external(Error::new(Kind::UndefinedTable, format!("relation \"{shown}\" does not exist"))))
            }
        }
    }

    fn get_table_function_source(&self, name: &str, arguments: Vec<Expr>) -> DataFusionResult<Arc<dyn TableSource>> {
        let external = |e: Error| DataFusionError::External(Box::new(e));
        let Some(function) = self.binder.state.table_functions().get(&name.to_lowercase()) else {
            // A relation of the system that is asked for as a function.
            return match self.names.find(Some("pg_catalog"), name, self.inside).map_err(external)? {
                Some(Named::Relation(source)) if arguments.is_empty() => Ok(source),
                None if self.get_function_meta(name).is_some() => {
                    // A value as a relation of one row.
                    let value = self.get_function_meta(name).map(|f| f.call(arguments).alias(name));
                    let plan = LogicalPlanBuilder::empty(true).project(value)?.build()?;
                    let schema = plan.schema().inner().clone();
                    Ok(Arc::new(ViewSource { plan, schema }) as Arc<dyn TableSource>)
                }
                _ => Err(DataFusionError::Plan(format!("table function '{name}' not found"))),
            };
        };
        let context = SimplifyContext::builder().with_config_options(self.binder.state.config_options().clone()).build();
        let simplifier = ExprSimplifier::new(context);
        let schema = DFSchema::empty();
        // Quoted bounds are of the first one's type, a quoted step is an interval.
        let of = arguments.first().map(|a| a.get_type(&schema)).transpose()?;
        let quoted = |(i, argument): (usize, Expr)| match (&argument, &of) {
            (Expr::Literal(ScalarValue::Utf8(Some(text)), _), Some(DataType::Timestamp(..))) => {
                let field = if i == 2 { DataType::Interval(IntervalUnit::MonthDayNano) } else { of.clone().unwrap_or(DataType::Null) };
                super::semantics::constant(text, &Field::new("", field, true))
            }
            _ => Ok(argument),
        };
        let arguments = arguments.into_iter().enumerate().map(quoted).collect::<DataFusionResult<Vec<_>>>()?;
        let constant = |a: Expr| {
            let typed = super::semantics::expression(a, &schema)?.data;
            simplifier.coerce(typed, &schema).and_then(|e| simplifier.simplify(e))
        };
        let arguments = arguments.into_iter().map(constant).collect::<DataFusionResult<Vec<_>>>()?;
        if let Some(plan) = short_series(name, &arguments)? {
            let schema = plan.schema().inner().clone();
            return Ok(Arc::new(ViewSource { plan, schema }));
        }
        let of = arguments.first().map(|a| a.get_type(&schema)).transpose()?;
        let arguments: Vec<Expr> = arguments.into_iter().map(series_bound).collect();
        let provider = function.create_table_provider_with_args(datafusion::catalog::TableFunctionArgs::new(&arguments, &self.binder.state))?;
        let source = datafusion::datasource::provider_as_source(provider);
        let Some(of) = of.filter(|_| name.eq_ignore_ascii_case("generate_series")) else { return Ok(source) };
        // The series has the type of its bounds.
        let plan = LogicalPlanBuilder::scan("series", source, None)?;
        let column = plan.schema().columns().swap_remove(0);
        let plan = plan.project([Expr::Cast(Cast::new(Box::new(Expr::Column(column)), of)).alias("generate_series")])?.build()?;
        let schema = plan.schema().inner().clone();
        Ok(Arc::new(ViewSource { plan, schema }))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> DataFusionResult<Arc<dyn TableSource>> {
        let table = datafusion::datasource::cte_worktable::CteWorkTable::new(name, schema);
        Ok(datafusion::datasource::provider_as_source(Arc::new(table)))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.binder.state.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        self.binder.state.relation_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(Types))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        // DataFusion's functions of these names change the first element only.
        if functions::catalog::is_function(unqualified(name)) {
            return functions::catalog::function(unqualified(name), self.names.known()?);
        }
        let name = match unqualified(name) {
            "array_remove" => "array_remove_all",
            "array_replace" => "array_replace_all",
            // Arrays begin at 1.
            "array_upper" => "array_length",
            other => other,
        };
        self.binder.state.scalar_functions().get(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.binder.state.higher_order_functions().get(unqualified(name)).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        let name = match unqualified(name) {
            "every" => "bool_and",
            "variance" => "var_samp",
            other => other,
        };
        self.binder.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.binder.state.window_functions().get(unqualified(name)).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.binder.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.binder.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.binder.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.binder.state.window_functions().keys().cloned().collect()
    }
}

/// A series between constants that is short: its elements, which a view can read as well.
fn short_series(name: &str, arguments: &[Expr]) -> DataFusionResult<Option<LogicalPlan>> {
    let constants: Option<Vec<ScalarValue>> = arguments.iter().map(|a| if let Expr::Literal(value, _) = a { Some(value.clone()) } else { None }).collect();
    // DataFusion's own series of instants take their steps in UTC, and it has none of numerics.
    let only_here = |c: &[ScalarValue]| c.iter().any(|v| matches!(v, ScalarValue::Decimal128(..) | ScalarValue::TimestampMicrosecond(_, Some(_))));
    if !name.eq_ignore_ascii_case("generate_series") || !constants.as_ref().is_some_and(|c| functions::series::is_short(c) || only_here(c)) {
        return Ok(None);
    }
    let options = datafusion::common::UnnestOptions::new().with_preserve_nulls(false);
    let array = functions::series::series().call(arguments.to_vec()).alias("generate_series");
    let rows = LogicalPlanBuilder::empty(true).project([array])?.unnest_column_with_options("generate_series", options)?;
    // On its own a small bigint would be an integer again.
    let wide = constants.is_some_and(|c| c.iter().any(|v| matches!(v, ScalarValue::Int64(_))));
    let column = Expr::Column("generate_series".into());
    let rows = if wide { rows.project([Expr::Cast(Cast::new(Box::new(column), DataType::Int64)).alias("generate_series")])? } else { rows };
    rows.build().map(Some)
}

/// DataFusion's series count in bigint and nanoseconds.
fn series_bound(bound: Expr) -> Expr {
    match bound {
        Expr::Literal(ScalarValue::Int32(Some(v)), _) => Expr::Literal(ScalarValue::Int64(Some(v.into())), None),
        Expr::Literal(ScalarValue::TimestampMicrosecond(Some(v), zone), _) => Expr::Literal(ScalarValue::TimestampNanosecond(v.checked_mul(1000), zone), None),
        other => other,
    }
}

/// `pg_catalog.f` is `f`.
fn unqualified(name: &str) -> &str {
    name.strip_prefix("pg_catalog.").unwrap_or(name)
}

/// Types in expressions are those of column definitions.
#[derive(Debug)]
struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> DataFusionResult<Option<FieldRef>> {
        types::cast_field(sql_type).map(|field| Some(Arc::new(field))).map_err(|e| DataFusionError::External(Box::new(e)))
    }
}
