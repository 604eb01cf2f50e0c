//! Random numbers by a seed that is printed: `TIDEWATER_SEED=…` repeats a run.

pub struct Random(u64);

impl Random {
    pub fn from_environment() -> Random {
        let given = std::env::var("TIDEWATER_SEED").ok().and_then(|s| s.parse().ok());
        let seed = given.unwrap_or_else(|| std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64);
        println!("TIDEWATER_SEED={seed}");
        Random(seed)
    }

    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// A number from 0 to `bound - 1`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
