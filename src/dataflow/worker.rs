//! A worker thread: its share of every operator of every view, one epoch at a time.
//!
//! All workers get the same commands in the same order. Within a step a worker walks the views in creation order and their nodes in
//! topological order; where a node wants its input by key, the workers meet at the [`Exchange`]. Which nodes run is decided from the
//! step's plan alone, so that all workers agree and meet at the same exchanges even where one of them has no rows.
//!
//! ```text
//!   scheduler --Step--> worker: feeds -> node -> node -> exchange -> node -> Materialize --run--> scheduler
//! ```

use super::exchange::{Exchange, Partitioner};
use super::operator::{BuildContext, Distribution, EvalErrors, Fragment, FragmentNode, Input, LateRows, Operator, Output, Sunk};
use crate::error::{Error, Result};
use crate::state::checkpoint::{Generation, HandOver, Ops};
use crate::state::kept::{self, Kept};
use crate::state::run::Run;
use crate::types::delta::Delta;
use crate::types::ids::ObjectId;
use crate::types::records::Records;
use crate::types::time::Step;
use crossbeam_channel::{Receiver, Sender};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the scheduler tells every worker, in the same order.
pub enum Command {
    /// Build the operators of a view; it takes part in steps that name it.
    Add {
        view: ObjectId,
        fragment: Arc<Fragment>,
        fresh: bool,
        reply: Sender<Result<()>>,
    },
    Remove {
        view: ObjectId,
    },
    Step {
        step: Arc<Step>,
        plan: Arc<StepPlan>,
        feeds: Vec<(ObjectId, Vec<Delta>)>,
        reply: Sender<StepResult>,
    },
    /// Hand over the state of now; the reply comes when the last piece is in it, while steps go on.
    Checkpoint {
        generation: Generation,
        reply: Sender<Ops>,
    },
    Committed {
        generation: Generation,
    },
    /// Give back about this many bytes.
    Evict {
        bytes: usize,
    },
}

/// What every worker must agree on about one step.
#[derive(Debug, Default)]
pub struct StepPlan {
    /// Views that take part, each after those it reads.
    pub views: Vec<ObjectId>,
    /// Relations for which some worker is fed rows.
    pub fed: BTreeSet<ObjectId>,
    /// Sources whose watermark moves in this step.
    pub moved: BTreeSet<ObjectId>,
    /// Views with operators whose time has come: their timers are run.
    pub due: BTreeSet<ObjectId>,
    /// Relations whose deltas the scheduler wants back (for views that are being built on them).
    pub taps: BTreeSet<ObjectId>,
}

/// One worker's part of a step.
#[derive(Debug)]
pub struct StepResult {
    pub worker: usize,
    pub changes: Vec<ViewChange>,
    pub taps: Vec<(ObjectId, Vec<Delta>)>,
    /// Of each view with a timer, when it is next due on this worker (clock, µs; `i64::MAX`: nothing waits).
    pub due: Vec<(ObjectId, i64)>,
    /// Bytes of state held after the step.
    pub memory: usize,
    /// Bytes of all rows that operators gave out in the step.
    pub made: usize,
    pub result: Result<()>,
}

#[derive(Debug)]
pub struct ViewChange {
    pub view: ObjectId,
    pub run: Option<Run>,
    pub late: Vec<LateRows>,
    pub errors: Vec<EvalErrors>,
    pub sunk: Option<Sunk>,
    /// What a sink is to publish.
    pub records: Records,
}

struct Node {
    operator: Box<dyn Operator>,
    inputs: Vec<Input>,
    distribution: Vec<Distribution>,
    partitioners: Vec<Option<Partitioner>>,
    watermarks: Vec<ObjectId>,
    has_timer: bool,
    name: &'static str,
}

struct View {
    nodes: Vec<Node>,
    /// Has not run yet: its first step runs every node, even without input (constants, global aggregates).
    new: bool,
}

/// One worker's state; [`Worker::run`] is the thread.
pub struct Worker {
    context: BuildContext,
    exchange: Arc<Exchange>,
    turn: u64,
    views: HashMap<ObjectId, View>,
    /// What the checkpoint that has begun has been given so far, and who waits for it.
    handing_over: Option<(HandOver, Sender<Ops>)>,
    /// How long the last step took: under load a checkpoint gets as much, so that it does not fall behind what it is to free.
    stepped: Duration,
}

/// Operations handed over at once, about a millisecond's work: what an epoch may have to wait for.
const PIECE: usize = 2048;

impl Worker {
    pub fn new(context: BuildContext, exchange: Arc<Exchange>) -> Self {
        Worker { context, exchange, turn: 0, views: HashMap::new(), handing_over: None, stepped: Duration::ZERO }
    }

    /// Serves commands until the channel closes.
    pub fn run(mut self, commands: Receiver<Command>) {
        while let Some(command) = self.next(&commands) {
            self.serve(command);
        }
    }

    /// The next command. What a checkpoint is owed goes before it for as long as the last step took, and while there is none.
    fn next(&mut self, commands: &Receiver<Command>) -> Option<Command> {
        let began = Instant::now();
        while self.hand_over(PIECE) {
            if began.elapsed() >= self.stepped
                && let Ok(command) = commands.try_recv()
            {
                return Some(command);
            }
        }
        commands.recv().ok()
    }

    /// A reply that nobody waits for any more is not an error: the scheduler has gone.
    fn serve(&mut self, command: Command) {
        match command {
            Command::Add { view, fragment, fresh, reply } => {
                let _ = reply.send(self.add(view, &fragment, fresh));
            }
            Command::Remove { view } => {
                self.hand_over(usize::MAX);
                self.views.remove(&view);
            }
            Command::Step { step, plan, feeds, reply } => {
                let began = Instant::now();
                let result = self.step(&step, &plan, feeds);
                self.stepped = began.elapsed();
                let _ = reply.send(result);
            }
            Command::Checkpoint { generation, reply } => {
                self.hand_over(usize::MAX);
                self.state(&mut |kept| kept.checkpoint(generation));
                self.handing_over = Some((HandOver::default(), reply));
            }
            Command::Committed { generation } => self.state(&mut |kept| kept.committed(generation)),
            Command::Evict { bytes } => kept::evict(bytes, |each| self.state(each)),
        }
    }

    /// Visits what all operators keep.
    fn state(&mut self, each: &mut dyn FnMut(&mut dyn Kept)) {
        self.views.values_mut().flat_map(|v| &mut v.nodes).for_each(|n| n.operator.state(each));
    }

    fn add(&mut self, view: ObjectId, fragment: &Fragment, fresh: bool) -> Result<()> {
        let context = BuildContext { fresh, ..self.context.clone() };
        let nodes = fragment.nodes.iter().map(|n| Node::build(n, &context)).collect::<Result<Vec<_>>>()?;
        self.views.insert(view, View { nodes, new: fresh });
        Ok(())
    }

    /// Hands over about so many operations; false: no checkpoint is owed any.
    fn hand_over(&mut self, operations: usize) -> bool {
        let Some((handed_over, reply)) = self.handing_over.take() else { return false };
        match handed_over.piece(operations, |piece| self.state(&mut |kept| kept.hand_over(piece))) {
            ControlFlow::Continue(rest) => self.handing_over = Some((rest, reply)),
            ControlFlow::Break(ops) => drop(reply.send(ops)),
        }
        true
    }

    fn step(&mut self, step: &Step, plan: &StepPlan, feeds: Vec<(ObjectId, Vec<Delta>)>) -> StepResult {
        let mut run = StepRun {
            step,
            plan,
            worker: self.context.worker,
            exchange: &self.exchange,
            turn: &mut self.turn,
            relations: feeds.into_iter().collect(),
            active: plan.fed.clone(),
            made: 0,
            result: Ok(()),
        };
        let mut changes = Vec::new();
        for id in &plan.views {
            let Some(view) = self.views.get_mut(id) else { continue };
            changes.extend(run.view(*id, view));
        }
        let StepRun { mut relations, made, result, .. } = run;
        let taps = plan.taps.iter().filter_map(|r| relations.remove(r).map(|d| (*r, d))).collect();
        let memory = kept::memory(|each| self.state(each));
        StepResult { worker: self.context.worker, changes, taps, due: self.due(), memory, made, result }
    }

    fn due(&self) -> Vec<(ObjectId, i64)> {
        let next = |view: &View| view.nodes.iter().filter(|n| n.has_timer).map(|n| n.operator.due().unwrap_or(i64::MAX)).min();
        self.views.iter().filter_map(|(id, view)| Some((*id, next(view)?))).collect()
    }
}

impl Node {
    fn build(node: &FragmentNode, context: &BuildContext) -> Result<Node> {
        let distribution = node.spec.distribution();
        if distribution.len() != node.inputs.len() {
            return Err(Error::internal(format!("{} has {} inputs, wants {}", node.spec.name(), node.inputs.len(), distribution.len())));
        }
        if node.inputs.iter().any(|i| matches!(i, Input::Port(_))) {
            return Err(Error::internal(format!("{} reads a port outside of an operator that feeds it", node.spec.name())));
        }
        Ok(Node {
            operator: node.spec.build(context)?,
            inputs: node.inputs.clone(),
            partitioners: distribution.iter().map(|_| None).collect(),
            distribution,
            watermarks: node.spec.watermarks(),
            has_timer: node.spec.has_timer(),
            name: node.spec.name(),
        })
    }
}

/// One worker within one step.
struct StepRun<'a> {
    step: &'a Step,
    plan: &'a StepPlan,
    worker: usize,
    exchange: &'a Exchange,
    turn: &'a mut u64,
    /// Deltas of relations: fed ones, and views that have run.
    relations: BTreeMap<ObjectId, Vec<Delta>>,
    /// Relations that may have rows on some worker.
    active: BTreeSet<ObjectId>,
    /// Bytes of all rows that operators gave out.
    made: usize,
    /// The first failure. After it the step goes on with empty inputs, for the other workers wait at the exchanges.
    result: Result<()>,
}

impl StepRun<'_> {
    fn view(&mut self, id: ObjectId, view: &mut View) -> Option<ViewChange> {
        let mut active: Vec<bool> = Vec::with_capacity(view.nodes.len());
        let mut outputs: Vec<Vec<Delta>> = Vec::with_capacity(view.nodes.len());
        let mut change = ViewChange { view: id, run: None, late: Vec::new(), errors: Vec::new(), sunk: None, records: Records::default() };
        let new = std::mem::take(&mut view.new);
        for node in &mut view.nodes {
            let runs = new
                || (node.has_timer && self.plan.due.contains(&id))
                || node.watermarks.iter().any(|s| self.plan.moved.contains(s))
                || node.inputs.iter().any(|i| match i {
                    Input::Node(n) => active[n.0 as usize],
                    Input::Relation(r) => self.active.contains(r),
                    Input::Port(_) => false,
                });
            active.push(runs);
            outputs.push(if runs { self.node(node, &outputs, &mut change) } else { Vec::new() });
        }
        if active.last().copied().unwrap_or(false) {
            self.active.insert(id);
            self.relations.insert(id, outputs.pop().unwrap_or_default());
        }
        let said = change.run.is_some() || change.sunk.is_some() || !change.late.is_empty() || !change.errors.is_empty();
        said.then_some(change)
    }

    /// Gathers the node's input, through the exchange where it must be by key, and applies it.
    fn node(&mut self, node: &mut Node, outputs: &[Vec<Delta>], change: &mut ViewChange) -> Vec<Delta> {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for port in 0..node.inputs.len() {
            let deltas = match &node.inputs[port] {
                Input::Node(n) => outputs[n.0 as usize].clone(),
                Input::Relation(r) => self.relations.get(r).cloned().unwrap_or_default(),
                Input::Port(_) => Vec::new(),
            };
            inputs.push(self.distribute(node, port, deltas));
        }
        if self.result.is_err() {
            return Vec::new();
        }
        let mut out = Output::default();
        let applied = std::panic::catch_unwind(AssertUnwindSafe(|| node.operator.apply(self.step, &mut inputs, &mut out)));
        match applied {
            Ok(Ok(())) => {}
            Ok(Err(e)) => self.result = Err(e),
            Err(panic) => {
                let what = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
                self.result = Err(Error::internal(format!("operator {} panicked: {}", node.name, what.unwrap_or_default())));
            }
        }
        change.run = out.run.or(change.run.take());
        change.sunk = out.sunk.or(change.sunk.take());
        change.records.append(out.records);
        change.late.append(&mut out.late);
        change.errors.append(&mut out.errors);
        self.made += out.deltas.iter().map(Delta::size).sum::<usize>();
        out.deltas
    }

    fn distribute(&mut self, node: &mut Node, port: usize, deltas: Vec<Delta>) -> Vec<Delta> {
        let columns: &[usize] = match &node.distribution[port] {
            Distribution::Any => return deltas,
            Distribution::Hash(columns) => columns,
            Distribution::Single => &[],
        };
        let workers = self.exchange.workers();
        if workers == 1 {
            return deltas;
        }
        let parts = match deltas.first() {
            None => Ok(vec![Vec::new(); workers]),
            Some(first) => match &mut node.partitioners[port] {
                Some(partitioner) => partitioner.split(deltas),
                unset => Partitioner::new(&first.schema(), columns, workers).and_then(|p| unset.insert(p).split(deltas)),
            },
        };
        let parts = parts.unwrap_or_else(|e| {
            self.result = Err(e);
            vec![Vec::new(); workers]
        });
        *self.turn += 1;
        self.exchange.swap(self.worker, *self.turn, parts)
    }
}
