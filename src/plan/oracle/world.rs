//! The relations of the oracle, and random input for them: inserts, updates, deletes, events out of order, some of them late.
//!
//! | relation | id | kind |
//! | --- | --- | --- |
//! | a (id, g, v, s, f) | 1 | table with primary key id |
//! | b (k, w, u) | 2 | table without a key: equal rows repeat |
//! | e (auction, price, kind, ts, wm, wm2, pt) | 3 | append-only source with a watermark on ts; pt is the clock at which a row is taken in |
//! | p (seller, name, ts, wm, wm2) | 4 | append-only source with a watermark on ts |
//!
//! `wm` holds the source's watermark before the epoch in which the row came, `wm2` the least of both sources: so a batch query can say which rows were late.

use crate::plan::{EventTime, Relation, TimeKind};
use crate::types::delta::Delta;
use crate::types::ids::{CLOCK, ObjectId};
use crate::types::time::{WATERMARK_NONE, Watermarks};
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::collections::BTreeMap;
use std::sync::Arc;

pub const A: ObjectId = ObjectId(1);
pub const B: ObjectId = ObjectId(2);
pub const E: ObjectId = ObjectId(3);
pub const P: ObjectId = ObjectId(4);
/// Of the judge alone: rows of e in time with their sessions; late rows of e.
pub const SESSIONS: ObjectId = ObjectId(5);
pub const LATE: ObjectId = ObjectId(6);
const SECOND: i64 = 1_000_000;
/// Where event time begins; before all windows that matter.
const START: i64 = 1_700_000_000 * SECOND;
/// How far the watermark is behind the newest event.
const LAG: i64 = 5 * SECOND;

/// A small generator of our own: the same numbers on every machine.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'t, T: ?Sized>(&mut self, from: &[&'t T]) -> &'t T {
        from[self.below(from.len() as u64) as usize]
    }
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

pub fn relations() -> Vec<Arc<Relation>> {
    let schema = |fields: &[(&str, DataType, bool)]| -> SchemaRef {
        Arc::new(Schema::new(fields.iter().map(|(n, t, null)| Field::new(*n, t.clone(), *null)).collect::<Vec<_>>()))
    };
    let (int, text) = (DataType::Int64, DataType::Utf8);
    let time = |column, id| vec![EventTime { column, sources: vec![id], kind: TimeKind::Event }];
    let relation = |id, name: &str, schema, append_only, key, event_time| {
        let processing_time = if id == E { vec![6] } else { Vec::new() };
        Arc::new(Relation { id, name: name.to_string(), schema, append_only, key, event_time, processing_time })
    };
    vec![
        relation(
            A,
            "a",
            schema(&[
                ("id", int.clone(), false),
                ("g", int.clone(), true),
                ("v", int.clone(), true),
                ("s", text.clone(), true),
                ("f", DataType::Float64, true),
            ]),
            false,
            vec![0],
            vec![],
        ),
        relation(B, "b", schema(&[("k", int.clone(), true), ("w", int.clone(), true), ("u", text.clone(), true)]), false, vec![], vec![]),
        relation(
            E,
            "e",
            schema(&[
                ("auction", int.clone(), true),
                ("price", int.clone(), true),
                ("kind", text.clone(), true),
                ("ts", timestamp(), true),
                ("wm", timestamp(), true),
                ("wm2", timestamp(), true),
                ("pt", timestamp(), true),
            ]),
            true,
            vec![],
            time(3, E),
        ),
        relation(
            P,
            "p",
            schema(&[("seller", int, true), ("name", text, true), ("ts", timestamp(), true), ("wm", timestamp(), true), ("wm2", timestamp(), true)]),
            true,
            vec![],
            time(2, P),
        ),
    ]
}

/// What only the judge has.
pub fn judges() -> Vec<Arc<Relation>> {
    let of_e = relations().into_iter().find(|r| r.id == E).expect("e is a relation");
    let relation = |id, name: &str, schema| {
        Arc::new(Relation { id, name: name.to_string(), schema, append_only: true, key: vec![], event_time: vec![], processing_time: vec![] })
    };
    vec![relation(SESSIONS, "e_sessions", super::sessions::schema(&of_e.schema)), relation(LATE, "e_late", of_e.schema.clone())]
}

type ARow = (i64, Option<i64>, Option<i64>, Option<String>, Option<f64>);
type BRow = (Option<i64>, Option<i64>, Option<String>);

/// What one epoch takes in.
#[derive(Clone)]
pub struct Cut {
    /// About as far as the events are.
    pub clock: i64,
    pub deltas: BTreeMap<ObjectId, Vec<Delta>>,
    pub before: Watermarks,
    pub after: Watermarks,
}

pub struct World {
    pub random: Random,
    a: BTreeMap<i64, ARow>,
    b: Vec<BRow>,
    newest: BTreeMap<ObjectId, i64>,
    watermarks: Watermarks,
    clock: i64,
    schemas: BTreeMap<ObjectId, SchemaRef>,
}

impl World {
    pub fn new(seed: u64) -> World {
        let schemas = relations().iter().map(|r| (r.id, r.schema.clone())).collect();
        World {
            random: Random::new(seed),
            a: BTreeMap::new(),
            b: Vec::new(),
            newest: [(E, START), (P, START)].into(),
            watermarks: Watermarks::default(),
            clock: START,
            schemas,
        }
    }

    /// The next epoch's input.
    pub fn cut(&mut self) -> Cut {
        let before = self.watermarks.clone();
        self.clock += self.random.below(14) as i64 * (SECOND / 2);
        self.watermarks.0.insert(CLOCK, self.clock - 1);
        let mut deltas = BTreeMap::new();
        for (id, delta) in [(A, self.table_a()), (B, self.table_b()), (E, self.source_e()), (P, self.source_p())] {
            if delta.is_empty() || self.random.one_in(6) && matches!(id, E | P) {
                continue;
            }
            deltas.insert(id, split(delta, &mut self.random));
        }
        for id in [E, P] {
            if !self.random.one_in(3) {
                let watermark = self.watermarks.0.entry(id).or_insert(WATERMARK_NONE);
                *watermark = (*watermark).max(self.newest[&id] - LAG);
            }
        }
        Cut { clock: self.clock, deltas, before, after: self.watermarks.clone() }
    }

    fn table_a(&mut self) -> Delta {
        let mut rows: Vec<(ARow, i64)> = Vec::new();
        for _ in 0..self.random.below(6) {
            let id = self.random.below(12) as i64;
            if let Some(old) = self.a.remove(&id) {
                rows.push((old, -1));
                if self.random.one_in(2) {
                    continue;
                }
            }
            let row = (id, self.maybe(4), self.maybe(20), self.text(), self.maybe(9).map(|v| v as f64 / 4.0));
            self.a.insert(id, row.clone());
            rows.push((row, 1));
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|(r, _)| r.0).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|(r, _)| r.1).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|(r, _)| r.2).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|(r, _)| r.3.clone()).collect::<StringArray>()),
            Arc::new(rows.iter().map(|(r, _)| r.4).collect::<Float64Array>()),
        ];
        self.delta(A, columns, rows.iter().map(|(_, w)| *w).collect())
    }

    fn table_b(&mut self) -> Delta {
        let mut rows: Vec<(BRow, i64)> = Vec::new();
        for _ in 0..self.random.below(6) {
            if !self.b.is_empty() && self.random.one_in(2) {
                let at = self.random.below(self.b.len() as u64) as usize;
                rows.push((self.b.swap_remove(at), -1));
            } else {
                let row = (self.maybe(5), self.maybe(6), self.text());
                self.b.push(row.clone());
                rows.push((row, 1));
            }
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|(r, _)| r.0).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|(r, _)| r.1).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|(r, _)| r.2.clone()).collect::<StringArray>()),
        ];
        self.delta(B, columns, rows.iter().map(|(_, w)| *w).collect())
    }

    fn source_e(&mut self) -> Delta {
        let n = self.random.below(7) as usize;
        let times = self.times(E, n);
        let columns: Vec<ArrayRef> = vec![
            Arc::new((0..n).map(|_| self.maybe(4)).collect::<Int64Array>()),
            Arc::new((0..n).map(|_| self.maybe(50)).collect::<Int64Array>()),
            Arc::new((0..n).map(|_| self.text()).collect::<StringArray>()),
            Arc::new(TimestampMicrosecondArray::from(times)),
        ];
        self.source(E, columns, n)
    }

    fn source_p(&mut self) -> Delta {
        let n = self.random.below(5) as usize;
        let times = self.times(P, n);
        let columns: Vec<ArrayRef> = vec![
            Arc::new((0..n).map(|_| self.maybe(4)).collect::<Int64Array>()),
            Arc::new((0..n).map(|_| self.text()).collect::<StringArray>()),
            Arc::new(TimestampMicrosecondArray::from(times)),
        ];
        self.source(P, columns, n)
    }

    fn source(&mut self, id: ObjectId, mut columns: Vec<ArrayRef>, n: usize) -> Delta {
        // Long ago stands for "no promise yet".
        let known = |w: i64| if w == WATERMARK_NONE { 0 } else { w };
        for watermark in [self.watermarks.of(&[id]), self.watermarks.of(&[E, P])] {
            columns.push(Arc::new(TimestampMicrosecondArray::from(vec![known(watermark); n])));
        }
        if id == E {
            columns.push(Arc::new(TimestampMicrosecondArray::from(vec![self.clock; n])));
        }
        self.delta(id, columns, vec![1; n])
    }

    /// Event times: mostly near the newest, some far behind, rarely NULL.
    fn times(&mut self, id: ObjectId, n: usize) -> Vec<Option<i64>> {
        let time = |_| {
            if self.random.one_in(25) {
                return None;
            }
            let newest = self.newest.get_mut(&id)?;
            if self.random.one_in(8) {
                return Some(*newest - self.random.below(40) as i64 * SECOND);
            }
            *newest += self.random.below(3) as i64 * SECOND;
            Some(*newest - self.random.below(5) as i64 * SECOND - self.random.below(2) as i64 * 500_000)
        };
        (0..n).map(time).collect()
    }

    fn delta(&self, id: ObjectId, columns: Vec<ArrayRef>, weights: Vec<i64>) -> Delta {
        Delta::new(RecordBatch::try_new(self.schemas[&id].clone(), columns).unwrap(), weights)
    }

    fn maybe(&mut self, n: u64) -> Option<i64> {
        if self.random.one_in(8) { None } else { Some(self.random.below(n) as i64 - 1) }
    }

    fn text(&mut self) -> Option<String> {
        if self.random.one_in(8) { None } else { Some(self.random.pick(&["x", "y", "z", "xy", ""]).to_string()) }
    }
}

/// A delta comes in one or two pieces.
fn split(delta: Delta, random: &mut Random) -> Vec<Delta> {
    let at = random.below(delta.rows() as u64 + 1) as usize;
    [delta.slice(0, at), delta.slice(at, delta.rows() - at)].into_iter().filter(|d| !d.is_empty()).collect()
}
