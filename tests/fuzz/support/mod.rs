//! The fuzz driver: a corpus, mutations that follow from one printed number, and a memory of what
//! failed.
//!
//! First every input of `corpus/<target>/` runs as it is, then mutations of them. An input that
//! reaches something new (the check names what it reached) joins the pool of the run. One that
//! panics is written to the corpus, so that it runs first from then on.
//!
//! `FUZZ_SEED` and `FUZZ_ITERATIONS` change a run; the same numbers give the same run. A panic
//! that takes the process along (a stack overflow) leaves no file: run again with
//! `FUZZ_TRACE=FILE`, which keeps the input at hand in that file.
#![allow(dead_code, reason = "each test uses its part of it")]

pub(crate) mod cbor;
pub(crate) mod mutate;
pub(crate) mod random;

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mutate::{BYTES_MAX, Material};
use random::Random;

/// The seed when none is given: the same run for everybody.
const SEED: u64 = 20_260_101;
/// Larger inputs run as they are, and are not mutated.
const MUTATED_BYTES_MAX: usize = 8 * 1024;
/// Inputs that reached something new, beside the corpus.
const POOL_MAX: usize = 2_000;
/// Without optimisation everything takes this much longer.
const DEBUG_DIVISOR: u64 = 20;

/// How inputs of a target are built, tried in turn with plain mutations.
pub(crate) type Structure = fn(&mut Random, &mut Vec<u8>, &[u8]);

/// One thing to fuzz.
pub(crate) struct Target<'a> {
    /// Folder of its corpus.
    pub(crate) name: &'a str,
    /// Mutations per run in a release build.
    pub(crate) iterations: u64,
    /// Words of its grammar.
    pub(crate) words: &'a [&'a [u8]],
    /// Inputs that stand elsewhere in the tree.
    pub(crate) seeds: Vec<Vec<u8>>,
    /// A mutation that knows the format.
    pub(crate) structure: Option<Structure>,
}

impl Target<'_> {
    /// Runs the check, which panics where a promise is broken, and else names what it reached.
    pub(crate) fn run(self, check: impl Fn(&[u8]) -> String) {
        let seed = number("FUZZ_SEED").unwrap_or(SEED);
        let scale = if cfg!(debug_assertions) { DEBUG_DIVISOR } else { 1 };
        let iterations = number("FUZZ_ITERATIONS").unwrap_or(self.iterations / scale);
        println!("{}: FUZZ_SEED={seed} FUZZ_ITERATIONS={iterations}", self.name);
        let mut run = Run::new(self.name, check);
        let mut pool = self.seeds.clone();
        pool.extend(corpus(self.name));
        assert!(!pool.is_empty(), "{}: nothing to mutate", self.name);
        for (position, input) in pool.iter().enumerate() {
            run.once(input, &format!("input {position} as it stands"));
        }
        pool.retain(|input| input.len() <= MUTATED_BYTES_MAX);
        let kept = pool.len();
        let mut random = Random::new(seed);
        for iteration in 0..iterations {
            let mut input = random.pick(&pool).clone();
            let other = random.pick(&pool).clone();
            match self.structure {
                Some(structure) if random.below(3) > 0 => {
                    structure(&mut random, &mut input, &other);
                }
                _ => {
                    let material = Material { words: self.words, other: &other };
                    mutate::mutate(&mut random, &mut input, &material);
                }
            }
            input.truncate(BYTES_MAX);
            let new = run.once(&input, &format!("iteration {iteration} of seed {seed}"));
            if new && input.len() <= MUTATED_BYTES_MAX && pool.len() < kept + POOL_MAX {
                pool.push(input);
            }
        }
        run.report(kept);
    }
}

/// What a run has seen.
struct Run<'a, C> {
    name: &'a str,
    check: C,
    reached: BTreeSet<String>,
    slowest: (Duration, usize),
    began: Instant,
    trace: Option<PathBuf>,
}

impl<'a, C: Fn(&[u8]) -> String> Run<'a, C> {
    fn new(name: &'a str, check: C) -> Self {
        let trace = std::env::var_os("FUZZ_TRACE").map(PathBuf::from);
        let (slowest, began) = ((Duration::ZERO, 0), Instant::now());
        Self { name, check, reached: BTreeSet::new(), slowest, began, trace }
    }

    /// True if the input reached something new.
    fn once(&mut self, input: &[u8], what: &str) -> bool {
        if let Some(trace) = &self.trace {
            fs::write(trace, input).expect("FUZZ_TRACE names a file that can be written");
        }
        let started = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| (self.check)(input))) {
            Ok(reached) => {
                self.slowest = self.slowest.max((started.elapsed(), input.len()));
                self.reached.insert(reached)
            }
            Err(panic) => {
                let place = keep(self.name, input);
                println!("{}: {what} failed; it is kept as {}", self.name, place.display());
                resume_unwind(panic);
            }
        }
    }

    fn report(&self, kept: usize) {
        let (time, length) = self.slowest;
        println!(
            "{}: {kept} inputs to begin with, {} different ends, {} ms; slowest {} us with \
             {length} bytes",
            self.name,
            self.reached.len(),
            self.began.elapsed().as_millis(),
            time.as_micros(),
        );
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// A place below this folder.
pub(crate) fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz")
}

/// The corpus of a target, in order of names.
pub(crate) fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = fuzz_folder().join("corpus").join(name);
    let Ok(entries) = fs::read_dir(&folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("an entry is readable").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a corpus file is readable")).collect()
}

/// Writes a failed input into the corpus.
fn keep(name: &str, input: &[u8]) -> PathBuf {
    let folder = fuzz_folder().join("corpus").join(name);
    // FNV-1a: the same input gets the same name.
    let digest = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| {
        (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let path = folder.join(format!("failed-{digest:016x}"));
    fs::create_dir_all(&folder).expect("the corpus can be written");
    fs::write(&path, input).expect("the corpus can be written");
    path
}

/// Words without digits and quoted parts: equal for inputs that end in the same place.
pub(crate) fn shape(message: &str) -> String {
    let mut quoted = false;
    let keep = |character: &char| {
        if *character == '`' {
            quoted = !quoted;
        }
        !quoted && !character.is_ascii_digit()
    };
    message.chars().filter(keep).take(120).collect()
}

/// The bytes that a line of hex digits stands for.
pub(crate) fn bytes_of_hex(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex digits"))
        .collect()
}
