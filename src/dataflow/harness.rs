//! Runs one spec the way the engine does, and harder: random deltas cut into epochs, several workers, random checkpoints that are committed late or
//! never, restarts that replay, caches of any size. After every epoch the output so far must equal what a naive reference computes from the
//! input so far, and a replayed epoch must give again what it gave. A failure prints its seed; `TIDEWATER_SEED` repeats it.

use super::check::checked;
use super::operator::{BuildContext, Distribution, Operator, Output, Spec};
use crate::state::checkpoint::{Generation, HandOver, Ops, space};
use crate::state::committed::Committed;
use crate::state::kept;
use crate::state::memory::MemoryStore;
use crate::state::store::{Durability, Store};
use crate::types::delta::Delta;
use crate::types::ids::{ObjectId, owner, virtual_node};
use crate::types::key::{Codec, Rows, hash};
use crate::types::time::{Epoch, Step, WATERMARK_NONE, Watermarks};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int16Array, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::datatypes::{DataType, Decimal128Type, Field, Float64Type, Int16Type, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// The one source whose watermark moves.
pub const SOURCE: ObjectId = ObjectId(1);

/// A value that can be ordered and compared. Timestamps are `Int` µs, decimals `Int` at their scale.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i128),
    /// Bits of a double.
    Float(u64),
    Text(String),
    List(Vec<Value>),
}

pub type Row = Vec<Value>;
/// A Z-set without zeros.
pub type Bag = BTreeMap<Row, i64>;

/// What comes in in one epoch, by port, and where the watermark of [`SOURCE`] is at its end; the clock stands there too.
#[derive(Clone, Debug)]
pub struct EpochInput {
    pub ports: Vec<Vec<(Row, i64)>>,
    pub watermark: i64,
}

/// The sum of all changes on one port.
pub fn total(epochs: &[EpochInput], port: usize) -> Bag {
    let mut bag = Bag::new();
    epochs.iter().flat_map(|e| &e.ports[port]).for_each(|(row, weight)| add(&mut bag, row.clone(), *weight));
    bag
}

pub fn add(bag: &mut Bag, row: Row, weight: i64) {
    let sum = bag.get(&row).copied().unwrap_or(0) + weight;
    if sum == 0 {
        bag.remove(&row);
    } else {
        bag.insert(row, sum);
    }
}

pub fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(fields.iter().map(|(name, t)| Field::new(*name, t.clone(), true)).collect::<Vec<_>>()))
}

pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

/// A spec under test with what feeds it.
pub struct Trial {
    pub spec: Arc<dyn Spec>,
    /// Schema of each port, and whether it never retracts.
    pub inputs: Vec<(SchemaRef, bool)>,
    /// Check that nothing is left in the store when everything was retracted (append-only input: when its last epoch has closed everything).
    pub forgets: bool,
}

/// How one run differs from another.
#[derive(Clone, Copy, Debug)]
struct Setting {
    seed: u64,
    workers: usize,
    cache_entries: Option<usize>,
    restarts: bool,
}

impl Trial {
    /// Runs `input(seed)` under many settings and compares with `expected` (over the epochs so far) after each epoch.
    pub fn check(&self, input: &dyn Fn(&mut StdRng) -> Vec<EpochInput>, expected: &dyn Fn(&[EpochInput]) -> Bag) {
        let seeds: Vec<u64> = match std::env::var("TIDEWATER_SEED") {
            Ok(seed) => vec![seed.parse().expect("TIDEWATER_SEED is a number")],
            Err(_) => (1..=12).collect(),
        };
        for seed in seeds {
            let mut epochs = input(&mut StdRng::seed_from_u64(seed));
            if self.forgets && self.inputs.iter().any(|(_, append_only)| !append_only) {
                epochs.push(negation(&epochs));
            }
            let expected: Vec<Bag> = (0..epochs.len()).map(|n| expected(&epochs[..=n])).collect();
            for (workers, cache_entries, restarts) in [(1, None, false), (1, Some(64), true), (1, Some(1), true), (3, Some(1), true), (3, None, true)] {
                let setting = Setting { seed, workers, cache_entries, restarts };
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Machine::new(self, setting).run(&epochs, &expected)));
                if let Err(panic) = result {
                    eprintln!("TIDEWATER_SEED={seed} fails: {setting:?}");
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }

    /// One worker, no restart: the output of each epoch, as `late` and rows in text. For examples.
    pub fn outputs(&self, epochs: &[EpochInput]) -> Vec<(Bag, Bag)> {
        let mut machine = Machine::new(self, Setting { seed: 0, workers: 1, cache_entries: None, restarts: false });
        (0..epochs.len()).map(|n| machine.step(epochs, n)).collect()
    }
}

fn negation(epochs: &[EpochInput]) -> EpochInput {
    let ports = (0..epochs[0].ports.len()).map(|port| total(epochs, port).into_iter().map(|(row, weight)| (row, -weight)).collect());
    EpochInput { ports: ports.collect(), watermark: epochs[epochs.len() - 1].watermark }
}

struct Machine<'a> {
    trial: &'a Trial,
    setting: Setting,
    random: StdRng,
    store: MemoryStore,
    committed: Arc<Committed>,
    operators: Vec<Box<dyn Operator>>,
    generation: Generation,
    /// The checkpoint that is being handed over, with the epochs it contains.
    under_way: Option<(HandOver, usize)>,
    /// Checkpoints handed over and not committed: generation, epochs contained, operations.
    waiting: Vec<(Generation, usize, Ops)>,
    durable_epochs: usize,
}

impl<'a> Machine<'a> {
    fn new(trial: &'a Trial, setting: Setting) -> Self {
        let store = MemoryStore::new();
        let committed = Committed::new(Arc::new(store.clone()), Generation(0));
        let mut machine = Machine {
            trial,
            setting,
            random: StdRng::seed_from_u64(setting.seed),
            store,
            committed,
            operators: Vec::new(),
            generation: Generation(0),
            under_way: None,
            waiting: Vec::new(),
            durable_epochs: 0,
        };
        machine.build(true);
        machine
    }

    fn build(&mut self, fresh: bool) {
        let context = |worker: usize| BuildContext {
            store: Arc::clone(&self.committed),
            worker,
            workers: self.setting.workers,
            cache_entries: self.setting.cache_entries,
            fresh,
            checks: true,
        };
        let build = |worker: usize| checked(&*self.trial.spec, self.trial.inputs.clone(), self.trial.spec.build(&context(worker)).unwrap());
        self.operators = (0..self.setting.workers).map(build).collect();
    }

    fn run(mut self, epochs: &[EpochInput], expected: &[Bag]) {
        let mut outputs: Vec<Bag> = Vec::new();
        let mut sums = vec![Bag::new()];
        let (mut next, mut restarts) = (0, 0);
        while next < epochs.len() {
            let (output, _) = self.step(epochs, next);
            if let Some(before) = outputs.get(next) {
                assert_eq!(*before, output, "replay of epoch {next}");
            } else {
                let mut sum = sums[next].clone();
                output.iter().for_each(|(row, weight)| add(&mut sum, row.clone(), *weight));
                assert_eq!(sum, expected[next], "output after epoch {next}; its input: {:?}", epochs[next]);
                outputs.push(output);
                sums.push(sum);
            }
            next += 1;
            self.checkpoints(next);
            if self.setting.restarts && restarts < 4 && self.random.random_bool(0.15) {
                restarts += 1;
                next = self.restart();
            }
        }
        if self.trial.forgets {
            self.checkpoint(next);
            self.hand_over(usize::MAX);
            self.commit();
            let left = [space::KEYED, space::KEYED_WINDOWED, space::MULTISET, space::MULTISET_WINDOWED].map(|s| self.store.entries(&[s]));
            assert_eq!(left, [0; 4], "entries left after everything was retracted");
        }
    }

    fn step(&mut self, epochs: &[EpochInput], n: usize) -> (Bag, Bag) {
        let watermarks = |watermark: i64| Watermarks([(SOURCE, watermark)].into_iter().filter(|(_, w)| *w != WATERMARK_NONE).collect());
        let before = n.checked_sub(1).map_or(WATERMARK_NONE, |n| epochs[n].watermark);
        let step = Step { epoch: Epoch(n as u64 + 1), clock: epochs[n].watermark.max(0), before: watermarks(before), after: watermarks(epochs[n].watermark) };
        let mut inputs = self.spread(&epochs[n]);
        let (mut rows, mut late) = (Bag::new(), Bag::new());
        for (operator, inputs) in self.operators.iter_mut().zip(&mut inputs) {
            let mut out = Output::default();
            operator.apply(&step, inputs, &mut out).unwrap();
            out.deltas.iter().for_each(|d| add_delta(&mut rows, d));
            for part in &out.late {
                assert_eq!(part.rows.rows(), part.window_end.len());
                add_delta(&mut late, &part.rows);
            }
            if self.random.random_bool(0.2) {
                let bytes = kept::memory(|each| operator.state(each)) / 2;
                kept::evict(bytes, |each| operator.state(each));
            }
        }
        (rows, late)
    }

    /// Each worker's share of an epoch, in random batches.
    fn spread(&mut self, epoch: &EpochInput) -> Vec<Vec<Vec<Delta>>> {
        let distribution = self.trial.spec.distribution();
        let mut shares = vec![vec![Vec::new(); epoch.ports.len()]; self.setting.workers];
        for (port, rows) in epoch.ports.iter().enumerate() {
            let schema = &self.trial.inputs[port].0;
            let mut rest = &rows[..];
            while !rest.is_empty() {
                let (part, later) = rest.split_at(self.random.random_range(1..=rest.len()));
                rest = later;
                let delta = to_delta(schema, part);
                for (worker, share) in split(&delta, &distribution[port], self.setting.workers, &mut self.random).into_iter().enumerate() {
                    if !share.is_empty() {
                        shares[worker][port].push(share);
                    }
                }
            }
        }
        shares
    }

    fn checkpoints(&mut self, epochs: usize) {
        if self.random.random_bool(0.4) {
            self.checkpoint(epochs);
        }
        let piece = self.random.random_range(1..30);
        self.hand_over(piece);
        if self.random.random_bool(0.5) {
            self.commit();
        }
    }

    fn checkpoint(&mut self, epochs: usize) {
        self.hand_over(usize::MAX);
        self.generation = Generation(self.generation.0 + 1);
        self.operators.iter_mut().for_each(|o| o.state(&mut |kept| kept.checkpoint(self.generation)));
        self.under_way = Some((HandOver::default(), epochs));
    }

    fn hand_over(&mut self, piece: usize) {
        let Some((handed_over, epochs)) = self.under_way.take() else { return };
        match handed_over.piece(piece, |piece| self.operators.iter_mut().for_each(|o| o.state(&mut |kept| kept.hand_over(piece)))) {
            ControlFlow::Continue(rest) => self.under_way = Some((rest, epochs)),
            ControlFlow::Break(ops) => self.waiting.push((self.generation, epochs, ops)),
        }
    }

    fn commit(&mut self) {
        for (generation, epochs, ops) in self.waiting.drain(..) {
            self.committed.commit(generation, ops, Durability::Synced).unwrap();
            self.operators.iter_mut().for_each(|o| o.state(&mut |kept| kept.committed(generation)));
            self.durable_epochs = epochs;
        }
    }

    /// Memory is gone; the epoch to go on with is the one behind the last commit.
    fn restart(&mut self) -> usize {
        self.under_way = None;
        self.waiting.clear();
        self.generation = self.committed.read().0;
        self.committed = Committed::new(Arc::new(self.store.clone()), self.generation);
        self.build(false);
        self.durable_epochs
    }
}

fn split(delta: &Delta, distribution: &Distribution, workers: usize, random: &mut StdRng) -> Vec<Delta> {
    let target: Vec<usize> = match distribution {
        Distribution::Any => (0..delta.rows()).map(|_| random.random_range(0..workers)).collect(),
        Distribution::Single => vec![owner(virtual_node(hash(&[])), workers); delta.rows()],
        Distribution::Hash(columns) => {
            let columns: Vec<ArrayRef> = columns.iter().map(|c| delta.column(*c).clone()).collect();
            let types: Vec<DataType> = columns.iter().map(|c| c.data_type().clone()).collect();
            let mut rows = Rows::default();
            Codec::new(&types).unwrap().encode(&columns, &mut rows).unwrap();
            rows.iter().map(|row| owner(virtual_node(hash(row)), workers)).collect()
        }
    };
    let share = |worker: usize| (0..delta.rows()).filter(|i| target[*i] == worker).map(|i| i as u32).collect::<Vec<_>>();
    (0..workers).map(|worker| delta.take(&UInt32Array::from(share(worker))).unwrap()).collect()
}

pub fn to_delta(schema: &SchemaRef, rows: &[(Row, i64)]) -> Delta {
    let columns = schema.fields().iter().enumerate().map(|(i, f)| to_array(f.data_type(), rows.iter().map(|(row, _)| &row[i]))).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let batch = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).unwrap();
    Delta::new(batch, rows.iter().map(|(_, weight)| *weight).collect::<Vec<_>>())
}

fn to_array<'v>(data_type: &DataType, values: impl Iterator<Item = &'v Value>) -> ArrayRef {
    let int = |v: &Value| if let Value::Int(i) = v { Some(*i) } else { None };
    match data_type {
        DataType::Int16 => Arc::new(values.map(|v| int(v).map(|i| i as i16)).collect::<Int16Array>()),
        DataType::Int32 => Arc::new(values.map(|v| int(v).map(|i| i as i32)).collect::<Int32Array>()),
        DataType::Int64 => Arc::new(values.map(|v| int(v).map(|i| i as i64)).collect::<Int64Array>()),
        DataType::Timestamp(..) => Arc::new(values.map(|v| int(v).map(|i| i as i64)).collect::<TimestampMicrosecondArray>()),
        DataType::Decimal128(p, s) => Arc::new(values.map(int).collect::<Decimal128Array>().with_precision_and_scale(*p, *s).unwrap()),
        DataType::Float64 => Arc::new(values.map(|v| if let Value::Float(bits) = v { Some(f64::from_bits(*bits)) } else { None }).collect::<Float64Array>()),
        DataType::Boolean => Arc::new(values.map(|v| if let Value::Bool(b) = v { Some(*b) } else { None }).collect::<BooleanArray>()),
        DataType::Utf8 => Arc::new(values.map(|v| if let Value::Text(t) = v { Some(t.clone()) } else { None }).collect::<StringArray>()),
        other => panic!("no values of {other} in tests"),
    }
}

fn value(column: &ArrayRef, i: usize) -> Value {
    if column.is_null(i) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Int16 => Value::Int(column.as_primitive::<Int16Type>().value(i).into()),
        DataType::Int32 => Value::Int(column.as_primitive::<Int32Type>().value(i).into()),
        DataType::Int64 => Value::Int(column.as_primitive::<Int64Type>().value(i).into()),
        DataType::Timestamp(..) => Value::Int(column.as_primitive::<TimestampMicrosecondType>().value(i).into()),
        DataType::Decimal128(..) => Value::Int(column.as_primitive::<Decimal128Type>().value(i)),
        DataType::Float64 => Value::Float(column.as_primitive::<Float64Type>().value(i).to_bits()),
        DataType::Boolean => Value::Bool(column.as_boolean().value(i)),
        DataType::Utf8 => Value::Text(column.as_string::<i32>().value(i).to_string()),
        DataType::List(_) => {
            let elements = column.as_list::<i32>().value(i);
            Value::List((0..elements.len()).map(|k| value(&elements, k)).collect())
        }
        other => panic!("no values of {other} in tests"),
    }
}

pub fn add_delta(bag: &mut Bag, delta: &Delta) {
    for i in 0..delta.rows() {
        add(bag, delta.batch().columns().iter().map(|c| value(c, i)).collect(), delta.weight(i));
    }
}

/// A value of this type out of about `domain` different ones, sometimes NULL.
pub fn random_value(random: &mut StdRng, data_type: &DataType, domain: i128) -> Value {
    if random.random_bool(0.1) {
        return Value::Null;
    }
    let n = random.random_range(0..domain);
    match data_type {
        DataType::Boolean => Value::Bool(n % 2 == 0),
        DataType::Float64 => {
            Value::Float([n as f64 / 10.0, -(n as f64) * 1e17, 1e-3 * n as f64][random.random_range(0..3usize)].to_bits() & !(u64::from(n == 0) << 63))
        }
        DataType::Utf8 => Value::Text(format!("t{n}")),
        _ => Value::Int(n - domain / 3),
    }
}

/// Epochs of random rows on each port: inserts and, unless the port is append-only, retractions of rows that are there.
pub fn random_epochs(random: &mut StdRng, inputs: &[(SchemaRef, bool)], domain: i128) -> Vec<EpochInput> {
    let mut live: Vec<Vec<Row>> = vec![Vec::new(); inputs.len()];
    let epochs = random.random_range(4..12);
    let epoch = |_| {
        let mut ports = Vec::new();
        for ((schema, append_only), live) in inputs.iter().zip(&mut live) {
            let mut rows = Vec::new();
            for _ in 0..random.random_range(0..25) {
                if !append_only && !live.is_empty() && random.random_bool(0.45) {
                    let row = live.swap_remove(random.random_range(0..live.len()));
                    rows.push((row, -1));
                } else {
                    let row: Row = schema.fields().iter().map(|f| random_value(random, f.data_type(), domain)).collect();
                    let times = if random.random_bool(0.1) { 2 } else { 1 };
                    live.extend(std::iter::repeat_n(row.clone(), times));
                    rows.push((row, times as i64));
                }
            }
            ports.push(rows);
        }
        EpochInput { ports, watermark: WATERMARK_NONE }
    };
    (0..epochs).map(epoch).collect()
}

/// Store reads of one epoch's look-ups after `rows` rows went in and everything was committed and evicted: work that follows a small delta must not
/// grow with the state (design, "The oracle").
pub fn reads_after(trial: &Trial, rows: &[Vec<(Row, i64)>], delta: &[Vec<(Row, i64)>]) -> u64 {
    let setting = Setting { seed: 1, workers: 1, cache_entries: Some(1), restarts: false };
    let mut machine = Machine::new(trial, setting);
    let epochs = [rows, delta].map(|ports| EpochInput { ports: ports.to_vec(), watermark: WATERMARK_NONE });
    machine.step(&epochs, 0);
    machine.checkpoint(1);
    machine.hand_over(usize::MAX);
    machine.commit();
    machine.restart();
    let before = machine.store.accesses().reads;
    machine.step(&epochs, 1);
    machine.store.accesses().reads - before
}
