//! Peers at the same work, in turn and round by round, so that what the neighbours do hits all alike.

use super::peer::{Job, Pair, Peer};
use super::process::Process;
use super::program::Program;
use super::report::{Row, digits};
use super::{Bench, Outcome};

/// What is done by whom.
pub struct Contest<'a> {
    /// Unit of the cost.
    pub unit: &'static str,
    /// The cost of one piece of work that takes a microsecond of CPU, in that unit.
    pub scale: f64,
    /// What the pieces are, per second.
    pub pieces: &'static str,
    /// What a pair is made to do.
    pub work: &'a Work<'a>,
}

/// Has a pair work for about so many seconds.
pub type Work<'a> = dyn Fn(&Pair, u64) -> Outcome<Done> + 'a;

/// Work that was done.
pub struct Done {
    pub pieces: f64,
    /// The seconds that it really took.
    pub seconds: f64,
}

/// What one peer needed.
pub struct Measured {
    peer: Peer,
    name: String,
    /// One for each round, in the unit of the contest.
    costs: Outcome<Vec<f64>>,
    rates: Vec<f64>,
}

impl Measured {
    fn cost(&self) -> Option<f64> {
        self.costs.as_ref().ok().map(|costs| median(costs.clone()))
    }
}

impl Contest<'_> {
    /// Starts each peer for its job, and measures.
    pub fn hold(&self, bench: &Bench, peers: Vec<(Peer, Job)>) -> Vec<Measured> {
        let name = |peer: Peer| peer.name();
        self.named(bench, peers.into_iter().map(|(peer, job)| (name(peer), peer, job)).collect())
    }

    /// The same, under names of the caller's.
    pub fn named(&self, bench: &Bench, peers: Vec<(String, Peer, Job)>) -> Vec<Measured> {
        let mut pairs = Vec::new();
        let mut measured = Vec::new();
        for (name, peer, job) in peers {
            let pair = peer.start(bench, job).and_then(|pair| self.warm(pair));
            let costs = pair.as_ref().map(|_| Vec::new()).map_err(String::clone);
            pairs.push(pair.ok());
            measured.push(Measured { peer, name, costs, rates: Vec::new() });
        }
        for round in 1..=bench.arguments.rounds {
            for (pair, measured) in pairs.iter().zip(&mut measured) {
                let (Some(pair), Ok(costs)) = (pair, &mut measured.costs) else { continue };
                match self.once(pair, bench.arguments.seconds) {
                    Ok((cost, rate, parts)) => {
                        let name = &measured.name;
                        let unit = self.unit;
                        let (pieces, digits) = (self.pieces, digits(rate));
                        eprintln!(
                            "round {round}: {name:<26} {cost:>7.2} {unit} ({parts}), {rate:.digits$} {pieces}"
                        );
                        costs.push(cost);
                        measured.rates.push(rate);
                    }
                    Err(why) => measured.costs = Err(why),
                }
            }
        }
        measured
    }

    /// Connections are made and caches filled before anything counts.
    fn warm(&self, pair: Pair) -> Outcome<Pair> {
        // On a busy machine the first second may go by before anything is answered.
        (self.work)(&pair, 1).or_else(|_| (self.work)(&pair, 2))?;
        Ok(pair)
    }

    /// Cost, pieces per second, and how the cost divides over the processes.
    fn once(&self, pair: &Pair, seconds: u64) -> Outcome<(f64, f64, String)> {
        let before: Vec<f64> = pair.processes.iter().map(Process::cpu_us).collect();
        let Done { pieces, seconds } = (self.work)(pair, seconds)?;
        let spent = pair.processes.iter().zip(before);
        let parts: Vec<f64> =
            spent.map(|(process, before)| (process.cpu_us() - before) / pieces * self.scale).collect();
        let each: Vec<String> = parts.iter().map(|part| format!("{part:.2}")).collect();
        Ok((parts.iter().sum(), pieces / seconds, each.join(" + ")))
    }

    /// What each needed, and the ratios to the best of each program that ours is held against: (program, at most).
    pub fn rows(&self, measured: &[Measured], targets: &[(Program, f64)]) -> Vec<Row> {
        let mut rows: Vec<Row> = measured
            .iter()
            .map(|one| match &one.costs {
                Ok(costs) => {
                    let rate = median(one.rates.clone());
                    Row::samples(&one.name, self.unit, costs)
                        .beside(format!("{rate:.*} {}", digits(rate), self.pieces), rate)
                }
                Err(why) => Row::missing(&one.name, self.unit, None, why.clone()),
            })
            .collect();
        for (program, at_most) in targets {
            let name = format!("times {}'s best", program.name());
            rows.push(match (best(measured, Program::Outrigger), best(measured, *program)) {
                (Some(ours), Some(best)) => Row::at_most(&name, "x", ours / best, *at_most),
                _ => Row::missing(&name, "x", Some(*at_most), "not measured".into()),
            });
        }
        rows
    }

    /// The second in terms of the first.
    pub fn ratio(&self, measured: &[Measured], name: &str, at_most: f64) -> Row {
        match measured {
            [one, other] => match (one.cost(), other.cost()) {
                (Some(one), Some(other)) => Row::at_most(name, "x", other / one, at_most),
                _ => Row::missing(name, "x", at_most, "not measured".into()),
            },
            _ => Row::missing(name, "x", at_most, "not two".into()),
        }
    }
}

/// The best that a program reached, by medians.
fn best(measured: &[Measured], program: Program) -> Option<f64> {
    measured.iter().filter(|one| one.peer.program == program).filter_map(Measured::cost).reduce(f64::min)
}

/// The middle one; the mean of the middle two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    match (values.get(low), values.get(high)) {
        (Some(low), Some(high)) => (low + high) / 2.0,
        _ => f64::NAN,
    }
}
