//! [`Random`]: a small generator whose seed is printed, so that a failure can be looked for again.

pub struct Random(u64);

impl Random {
    /// From `GATEPOST_SEED`, or a fresh seed, which is printed.
    pub fn seeded() -> Self {
        let seed = std::env::var("GATEPOST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            now.as_secs() ^ u64::from(now.subsec_nanos()) << 20
        });
        println!("seed {seed} (GATEPOST_SEED={seed} repeats it)");
        Self(seed | 1)
    }

    /// Evenly from `0..bound` (xorshift64*).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % bound
    }
}
