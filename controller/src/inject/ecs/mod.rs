//! Injection into ECS services that carry the tag `outrigger:inject`: a meshed revision of their task definition is made, and
//! they are moved to it, one at a time.
//!
//! `look` reads what ECS has (`view`), `memory` outlives the controller, `plan` decides (pure), and `orders` carries it out. What
//! is to be remembered is on disk before anything is done, so that a controller that dies goes on where it was.

mod look;
pub mod memory;
mod motion;
mod orders;
pub mod plan;
mod raw;
mod refuse;
mod stand;
pub mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use outrigger_inject::TemplateError;
use outrigger_inject::ecs::{Names, Options, Resources, TEMPLATE_FILES, Templates};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use look::Looker;
use memory::Memory;
use orders::PrepareError;
use plan::{Action, Leave, Limits, Plan, State, plan};
use view::{TAG, View};

use crate::board::Board;
use crate::inject::moves::Moves;
use crate::problems::Problems;
use crate::settings::{InjectSetting, NamesSetting, ResourcesSetting, Settings};
use crate::source::ecs::client::{Api, CallError};
use crate::source::ecs::record::Seen;
use crate::source::file::watch::MeshFile;
use crate::status::{Injection, Problem};

/// Who has found a problem, and its kind.
const KIND: &str = "injection";
/// The longest pause after failures.
const LONGEST: Duration = Duration::from_secs(300);

/// How often ECS is asked.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// While a service is in motion, or one waits.
    pub busy: Duration,
    /// Else; what the source sees of tags and revisions is looked at at once.
    pub calm: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { busy: Duration::from_secs(5), calm: Duration::from_secs(60) }
    }
}

/// Meshes tagged services.
pub struct Mover {
    /// The API, whose pace it shares with the source.
    pub api: Api,
    /// Which services are tagged.
    pub seen: watch::Receiver<Seen>,
    /// The mesh file has a say in capture and ports.
    pub file: watch::Receiver<MeshFile>,
    /// What the sidecars are told; mesh and namespace are filled in here.
    pub options: Options,
    /// Plan, or act.
    pub leave: Leave,
    /// How long is waited.
    pub limits: Limits,
    /// How often ECS is asked.
    pub pace: Pace,
    /// The state directory.
    pub state: PathBuf,
    /// What is wrong.
    pub problems: Problems,
    /// How services stand.
    pub moves: Moves,
}

/// So long a service waits that the controller's role may not move; the others have their turn meanwhile.
const DENIED: Duration = Duration::from_secs(60);

/// What ECS answers may lag behind what it has taken, in seconds; it is seconds in practice.
const UNSEEN: u64 = 60;

/// As the settings say; none where they say `off`.
///
/// # Errors
/// A template cannot be used.
pub fn mover(
    settings: &Settings,
    board: &Board,
    api: Api,
    seen: watch::Receiver<Seen>,
    pin: String,
) -> Result<Option<Mover>, TemplateError> {
    let leave = match settings.inject {
        InjectSetting::Off => return Ok(None),
        InjectSetting::Plan => Leave::Plan,
        InjectSetting::On => Leave::Act,
    };
    let options = Options {
        control: settings.control_url.clone(),
        pin,
        image: settings.sidecar_image.clone(),
        resources: match settings.inject_resources {
            ResourcesSetting::Share => Resources::Share,
            ResourcesSetting::Subtract => Resources::Subtract,
            ResourcesSetting::Add => Resources::Add,
        },
        names: match settings.inject_names {
            NamesSetting::Hosts => Names::Hosts,
            NamesSetting::Zone => Names::Zone,
        },
        templates: templates(settings.templates.as_deref())?,
        ..Options::default()
    };
    Ok(Some(Mover {
        api,
        seen,
        file: board.file.clone(),
        options,
        leave,
        limits: Limits { patience: settings.inject_patience, unseen: UNSEEN },
        pace: Pace::default(),
        state: settings.state.clone(),
        problems: board.problems.clone(),
        moves: board.moves.clone(),
    }))
}

/// The built-in templates, and those of a folder in their place.
fn templates(folder: Option<&Path>) -> Result<Templates, TemplateError> {
    let mut texts = [const { None }; TEMPLATE_FILES.len()];
    for (text, name) in texts.iter_mut().zip(TEMPLATE_FILES) {
        let Some(file) = folder.map(|folder| folder.join(name)) else { break };
        *text = match std::fs::read_to_string(&file) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                return Err(TemplateError::Parse {
                    file: file.display().to_string(),
                    what: error.to_string(),
                });
            }
        };
    }
    Templates::read(&texts.each_ref().map(Option::as_deref))
}

/// Why nothing more was done now.
#[derive(Debug, thiserror::Error)]
enum MoveError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("{file} cannot be {what} ({error}): without it, nobody knows how often a service was moved, so none is: mend it", file = memory::FILE)]
    State { what: &'static str, error: io::Error },
}

/// Services that AWS does not let be moved: its words, and when it said them.
type Denied = BTreeMap<String, (String, Instant)>;

/// Nothing was ordered yet.
fn not_begun(memory: &Memory) -> bool {
    let going = |motion: &memory::Motion| motion.stage == memory::Stage::Going && motion.ordered.is_none();
    memory.motion.as_ref().is_none_or(going)
}

/// A tagged service, its tag, and its revision: a change of these is looked at at once.
type Signs = (bool, BTreeMap<String, (String, String)>);

impl Mover {
    /// Runs until dropped.
    pub async fn run(mut self) {
        let mut looker = Looker::default();
        let (mut memory, mut denied) = (None, Denied::new());
        let mut failures = 0_u32;
        loop {
            let signs = self.signs();
            let now = Instant::now();
            let pause = match self.turn(&mut looker, &mut memory, &mut denied).await {
                Ok(Turn::Acted) => Duration::ZERO,
                Ok(Turn::Busy) => self.pace.busy,
                Ok(Turn::Calm) => self.pace.calm,
                Err(error) => {
                    failures = failures.saturating_add(1);
                    self.fail(&error);
                    self.wait(&signs, now + (self.pace.busy * failures).min(LONGEST)).await;
                    continue;
                }
            };
            failures = 0;
            self.wait(&signs, now + pause).await;
        }
    }

    /// One look, one plan, at most one act.
    async fn turn(
        &self,
        looker: &mut Looker,
        kept: &mut Option<Memory>,
        denied: &mut Denied,
    ) -> Result<Turn, MoveError> {
        let memory = match kept {
            Some(memory) => memory,
            None => kept
                .insert(Memory::load(&self.state).map_err(|error| MoveError::State { what: "read", error })?),
        };
        let wanted = self.wanted(memory);
        if self.seen.borrow().listed.is_none() {
            return Ok(Turn::Calm);
        }
        if wanted.is_empty() {
            self.moves.set(Vec::new());
            self.problems.set(KIND, BTreeSet::new());
            return Ok(Turn::Calm);
        }
        let Some(mesh) = self.file.borrow().mesh.clone() else { return Ok(Turn::Busy) };
        let mut view = looker.look(&self.api, &wanted, &self.options, &mesh).await?;
        denied.retain(|_, (_, at)| at.elapsed() < DENIED);
        view.denied = denied.iter().map(|(service, (why, _))| (service.clone(), why.clone())).collect();
        let Plan { memory: next, action, standings } =
            plan(&view, memory, self.leave, self.limits, unix_now());
        self.keep(memory, next)?;
        self.tell(standings.iter().map(|standing| Injection {
            service: standing.service.clone(),
            state: standing.state.as_str(),
            revision: standing.revision.clone(),
            what: standing.what.clone(),
        }));
        let busy =
            memory.motion.is_some() || standings.iter().any(|standing| standing.state == State::Waiting);
        let Some(action) = action else { return Ok(if busy { Turn::Busy } else { Turn::Calm }) };
        let (mut next, service) = (memory.clone(), action.service().to_owned());
        match self.carry_out(action, &view, looker, &mesh, &mut next).await {
            // It keeps nobody waiting.
            Err(MoveError::Call(error)) if error.denied && not_begun(&next) => {
                plan::put_off(&mut next);
                denied.insert(service, (error.to_string(), Instant::now()));
            }
            done => done?,
        }
        self.keep(memory, next)?;
        Ok(Turn::Acted)
    }

    /// What is remembered is on disk first.
    fn keep(&self, memory: &mut Memory, next: Memory) -> Result<(), MoveError> {
        if *memory != next {
            next.save(&self.state).map_err(|error| MoveError::State { what: "written", error })?;
            *memory = next;
        }
        Ok(())
    }

    async fn carry_out(
        &self,
        action: Action,
        view: &View,
        looker: &Looker,
        mesh: &outrigger_model::Mesh,
        memory: &mut Memory,
    ) -> Result<(), MoveError> {
        let Some(service) = view.services.get(action.service()) else { return Ok(()) };
        let given = match &action {
            Action::Prepare { from, .. } => {
                let Some(raw) = looker.raw(from) else { return Ok(()) };
                let wanted =
                    view.revisions.get(from).map(|revision| revision.wanted.clone()).unwrap_or_default();
                let namespace = view::last_part(&service.cluster).to_owned();
                let options = Options { namespace, mesh: mesh.clone(), ..self.options.clone() };
                match orders::prepare(&self.api, raw, &options).await {
                    Ok(to) => {
                        plan::begin(memory, service, from, &to, &wanted, unix_now());
                        return Ok(());
                    }
                    Err(PrepareError::Call(error)) if !error.refused => return Err(error.into()),
                    Err(refused) => {
                        memory.tried_mut(&service.arn, from, &wanted).failed = Some(refused.to_string());
                        return Ok(());
                    }
                }
            }
            Action::Order { to, breaker, .. } => orders::update(&self.api, service, Some(to), *breaker).await,
            Action::Settle { breaker, .. } => orders::update(&self.api, service, None, Some(*breaker)).await,
        };
        match given {
            Ok(()) => {
                tracing::info!(service = service.label(), order = ?action, "ECS has taken an order");
                memory.motion.as_mut().into_iter().for_each(|motion| motion.ordered = Some(unix_now()));
                Ok(())
            }
            Err(error) if error.refused => {
                plan::refused(memory, &error.to_string());
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Services to ask for, by cluster: tagged ones, and remembered ones, whose tag may have gone.
    fn wanted(&self, memory: &Memory) -> BTreeMap<String, BTreeSet<String>> {
        let seen = self.seen.borrow();
        let tagged = seen.services.values().filter(|service| service.tags.contains_key(TAG));
        let tagged = tagged.map(|service| (service.cluster.clone(), service.arn.clone()));
        let moving = memory.motion.iter().map(|motion| &motion.service);
        let remembered = memory.tries.keys().chain(moving);
        let remembered = remembered.filter_map(|arn| Some((view::cluster_of(arn)?, arn.clone())));
        let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (cluster, arn) in tagged.chain(remembered) {
            wanted.entry(cluster).or_default().insert(arn);
        }
        wanted
    }

    fn signs(&mut self) -> Signs {
        let seen = self.seen.borrow_and_update();
        let tagged = seen.services.iter().filter_map(|(arn, service)| {
            Some((arn.clone(), (service.tags.get(TAG)?.clone(), service.definition.clone())))
        });
        (seen.listed.is_some(), tagged.collect())
    }

    /// Until then, or until a tag or a tagged service's revision changes.
    async fn wait(&mut self, signs: &Signs, until: Instant) {
        while let Ok(Ok(())) = timeout_at(until, self.seen.changed()).await {
            if self.signs() != *signs {
                return;
            }
        }
        // A source that has ended wakes nobody.
        tokio::time::sleep_until(until).await;
    }

    fn tell(&self, standings: impl Iterator<Item = Injection>) {
        let all: Vec<Injection> = standings.collect();
        let refused = all.iter().filter(|injection| injection.state == State::Refused.as_str());
        let problems = refused.map(|injection| Problem {
            kind: KIND,
            subject: injection.service.clone(),
            what: injection.what.clone(),
        });
        self.problems.set(KIND, problems.collect());
        self.moves.set(all);
    }

    fn fail(&self, error: &MoveError) {
        let problem = Problem {
            kind: KIND,
            subject: "services with the tag outrigger:inject".into(),
            what: error.to_string(),
        };
        self.problems.set(KIND, [problem].into());
    }
}

/// What came of one turn.
enum Turn {
    /// Something was done: look again at once.
    Acted,
    /// Something is awaited.
    Busy,
    /// Nothing is.
    Calm,
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
