// SPDX-License-Identifier: GPL-2.0
//! A run: threads that give inputs to the kernel, and a watch over them.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::Mutex;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use vdpa_test::kmsg::Kmsg;
use vdpa_test::ktap::note;
use vdpa_test::trouble::is_trouble;

use crate::corpus::Corpus;
use crate::coverage::Coverage;
use crate::journal::{self, Journal};
use crate::kcov::Kcov;
use crate::options::{Limit, Options};
use crate::random::Random;
use crate::report::part;

/// What is given to the kernel at once, as text for people and for a replay.
pub trait Input: Clone + Send + Sync {
    /// Lines, each with its end.
    fn to_text(&self) -> String;

    /// Fails with a message for the user.
    fn from_text(text: &str) -> Result<Self, String>;
}

/// Gives inputs to the kernel. Stays on the thread that made it.
pub trait Worker {
    type Input: Input;

    /// Returns how many messages that were.
    fn run(&mut self, input: &Self::Input) -> u64;

    /// What the kernel did wrong since the last call.
    fn findings(&mut self) -> Vec<String>;
}

/// What is fuzzed.
pub trait Target: Sync {
    /// What an input consists of, in the plural.
    const UNIT: &'static str;

    type Input: Input;
    type Worker: Worker<Input = Self::Input>;

    fn generate(&self, random: &mut Random) -> Self::Input;

    /// Something near `base`, maybe with a part of `other`.
    fn mutate(&self, random: &mut Random, base: &Self::Input, other: &Self::Input) -> Self::Input;

    /// An input of an older run, changed so that it does the same here.
    fn adapt(&self, input: Self::Input) -> Self::Input;

    fn worker(&self) -> Self::Worker;

    /// A worker has done its work.
    fn finish(&self, worker: Self::Worker);
}

/// A thread whose input takes longer is stuck. An emulated debug kernel is slow.
const PATIENCE: Duration = Duration::from_secs(90);

/// More findings are not told.
const ENOUGH: usize = 10;

#[derive(Default)]
struct Progress {
    messages: AtomicU64,
    inputs: AtomicU64,
    /// Of the thread beside.
    steps: AtomicU64,
    /// The number that the kernel knows the thread by.
    task: AtomicU64,
}

/// A run with what its threads share.
pub struct Session<'a, T: Target> {
    pub options: &'a Options,
    target: &'a T,
    coverage: Option<&'a Coverage>,
    corpus: Corpus<T::Input>,
    findings: Mutex<Vec<String>>,
    stop: AtomicBool,
    progress: Vec<Progress>,
    start: Instant,
}

impl<'a, T: Target> Session<'a, T> {
    pub fn new(options: &'a Options, target: &'a T, coverage: Option<&'a Coverage>) -> Self {
        Session {
            options,
            target,
            coverage,
            corpus: Corpus::default(),
            findings: Mutex::new(Vec::new()),
            stop: AtomicBool::new(false),
            // The last is that of the thread beside.
            progress: (0..=options.threads).map(|_| Progress::default()).collect(),
            start: Instant::now(),
        }
    }

    /// Goes on from inputs that were good in another run.
    pub fn with_corpus(mut self, corpus: Corpus<T::Input>) -> Self {
        self.corpus = corpus;
        self
    }

    /// The inputs that were good.
    pub fn into_corpus(self) -> Corpus<T::Input> {
        self.corpus
    }

    /// Whether the threads are to end.
    pub fn is_over(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// Something that must not be; ends the run.
    pub fn found(&self, what: String) {
        self.stop.store(true, Relaxed);
        let mut findings = self.findings.lock().unwrap();
        if findings.len() < ENOUGH {
            findings.push(what);
        }
    }

    fn messages(&self) -> u64 {
        self.progress.iter().map(|p| p.messages.load(Relaxed)).sum()
    }

    /// Where a run is, in one line.
    pub fn summary(&self) -> String {
        let seconds = self.start.elapsed().as_secs_f64();
        let messages = self.messages();
        let inputs: u64 = self.progress.iter().map(|p| p.inputs.load(Relaxed)).sum();
        let rate = messages as f64 / seconds.max(0.001);
        let unit = T::UNIT;
        let mut text =
            format!("{seconds:.0} s: {messages} {unit} in {inputs} inputs, {rate:.0} a second");
        if let Some(coverage) = self.coverage {
            let (reached, all) = coverage.count();
            text += &format!(", coverage {}", part(reached, all));
        }
        if self.options.guided {
            text += &format!(", corpus {}", self.corpus.len());
        }
        text
    }

    /// Runs to the end, and meanwhile calls `beside` again and again in a thread of its own.
    /// Returns what was found.
    pub fn run(&self, beside: impl FnMut() + Send) -> Vec<String> {
        thread::scope(|scope| {
            let spawn = |n| scope.spawn(move || self.work(n));
            let mut threads: Vec<_> = (0..self.options.threads).map(spawn).collect();
            threads.push(scope.spawn(move || self.work_beside(beside)));
            self.watch(&threads);
            for t in threads {
                if let Err(payload) = t.join() {
                    let text = payload.downcast_ref::<String>().cloned();
                    self.found(text.unwrap_or("a thread panicked".into()));
                }
            }
        });
        self.findings.lock().unwrap().clone()
    }

    /// How many messages are a thread's share.
    fn share(&self, thread: usize) -> u64 {
        match self.options.limit {
            Limit::Messages(all) => {
                let threads = self.options.threads as u64;
                all / threads + u64::from((thread as u64) < all % threads)
            }
            Limit::Time(_) => u64::MAX,
        }
    }

    /// The progress of this thread, under its number.
    fn begin(&self, thread: usize) -> &Progress {
        // SAFETY: A system call without arguments.
        let task = unsafe { libc::gettid() };
        self.progress[thread].task.store(task as u64, Relaxed);
        &self.progress[thread]
    }

    fn work(&self, thread: usize) {
        let progress = self.begin(thread);
        let mut worker = self.target.worker();
        let kcov = self.coverage.map(|c| (c, Kcov::start().expect("KCOV")));
        let mut journal = self.journal(thread);
        let stream = self.options.stream + thread as u64;
        let mut random = Random::new(self.options.seed, stream);
        let mut give = |input: T::Input, random: &mut Random| {
            let text = input.to_text();
            if let Some(journal) = &mut journal {
                journal.write(&text).expect("journal");
            }
            if let Some((_, kcov)) = &kcov {
                kcov.clear();
            }
            progress.messages.fetch_add(worker.run(&input), Relaxed);
            let number = progress.inputs.fetch_add(1, Relaxed);
            if let Some((coverage, kcov)) = &kcov {
                if coverage.add(kcov.trace()) && self.options.guided {
                    self.corpus.add(input, random);
                }
            }
            for what in worker.findings() {
                self.found_by(thread, number, &what, &text);
            }
        };
        if let Some(file) = self.options.replay.get(thread) {
            for input in self.replayed(file) {
                (0..self.options.repeat).for_each(|_| give(input.clone(), &mut random));
            }
        } else {
            while !self.is_over() && progress.messages.load(Relaxed) < self.share(thread) {
                let input = self.choose(&mut random);
                give(input, &mut random);
            }
        }
        drop(kcov);
        self.target.finish(worker);
    }

    fn work_beside(&self, mut step: impl FnMut()) {
        let progress = self.begin(self.options.threads);
        let kcov = self.coverage.map(|c| (c, Kcov::start().expect("KCOV")));
        while !self.is_over() {
            step();
            progress.steps.fetch_add(1, Relaxed);
            if let Some((coverage, kcov)) = &kcov {
                coverage.add_beside(kcov.trace());
                kcov.clear();
            }
        }
    }

    fn choose(&self, random: &mut Random) -> T::Input {
        if self.options.guided && !random.one_in(3) {
            let (base, other) = (self.corpus.pick(random), self.corpus.pick(random));
            if let (Some(base), Some(other)) = (base, other) {
                return self.target.mutate(random, &base, &other);
            }
        }
        self.target.generate(random)
    }

    fn replayed(&self, file: &Path) -> Vec<T::Input> {
        let text = fs::read_to_string(file).map_err(|e| e.to_string());
        let inputs = text.and_then(|t| journal::read(&t));
        let inputs = inputs.unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        inputs.into_iter().map(|i| self.target.adapt(i)).collect()
    }

    fn journal(&self, thread: usize) -> Option<Journal> {
        let folder = self.options.out.as_deref().filter(|_| self.options.journal);
        folder.map(|f| Journal::create(f, thread).expect("journal"))
    }

    fn found_by(&self, thread: usize, number: u64, what: &str, text: &str) {
        let seed = self.options.seed;
        let mut report = format!("{what} (seed {seed}, thread {thread}, input {number})");
        if let Some(out) = &self.options.out {
            let file = out.join(format!("finding-{thread}-{number}"));
            if fs::write(&file, text).is_ok() {
                report += &format!("\nThe input: {}", file.display());
            }
        }
        self.found(report);
    }

    /// Until all have ended.
    fn watch(&self, threads: &[ScopedJoinHandle<'_, ()>]) {
        let mut log = Kmsg::from_now();
        let mut told = Instant::now();
        let mut moved = vec![(0, Instant::now()); threads.len()];
        while threads.iter().any(|t| !t.is_finished()) {
            thread::sleep(Duration::from_millis(100));
            for line in log.lines().iter().filter(|l| is_trouble(l)) {
                let seed = self.options.seed;
                self.found(format!(
                    "a report in the kernel's log (seed {seed}): {line}"
                ));
            }
            for (n, handle) in threads.iter().enumerate() {
                let progress = &self.progress[n];
                let done = progress.inputs.load(Relaxed) + progress.steps.load(Relaxed);
                if moved[n].0 != done || handle.is_finished() {
                    moved[n] = (done, Instant::now());
                } else if moved[n].1.elapsed() > PATIENCE {
                    self.stuck(n);
                }
            }
            if threads[..self.options.threads]
                .iter()
                .all(|t| t.is_finished())
            {
                self.stop.store(true, Relaxed);
            }
            if told.elapsed() > Duration::from_secs(10) {
                note(self.summary());
                told = Instant::now();
            }
            if matches!(self.options.limit, Limit::Time(t) if self.start.elapsed() > t) {
                self.stop.store(true, Relaxed);
            }
        }
    }

    /// Ends the process: nobody can wait for such a thread.
    fn stuck(&self, thread: usize) {
        let task = self.progress[thread].task.load(Relaxed);
        let stack = fs::read_to_string(format!("/proc/self/task/{task}/stack"));
        let seed = self.options.seed;
        note(format!(
            "thread {thread} (seed {seed}) is stuck at:\n{}",
            stack.unwrap_or_default()
        ));
        println!("Bail out! a thread is stuck in the kernel");
        std::process::exit(1);
    }
}
