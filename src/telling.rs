//! Telling people, through the hooks of the configuration: what failed, and
//! what will need one of them soon. Each thing once.
//!
//! Owns what is said (what to do first, then why), what counts as said
//! already, and the run of the hook. Leaves out what has failed and when
//! somebody looks: that is known to whoever calls (`rotate`, `ingest`, a watch
//! over its children). All words are ours, never an appliance's. To be called
//! without the lock of a site, because a hook takes its time.
//!
//! A failure is told once for each task and code until that task has ended
//! well for the robot ([`Telling::mended`]); an end that comes nearer once for
//! each generation and [`Stage`]. A hook that fails has told nobody, and is
//! run again by the next call; so is one whose end could not be written down.

use time::{Duration, OffsetDateTime};

use crate::{
    config::Config,
    credential::{Delivery, Record, State},
    document::Time,
    export,
    hook::{self, Event, Facts},
    inventory::{self, AttentionCode, Inventory, Task},
    renewal::RenewalWindow,
    site::{Robot, RobotId, Site},
    status::Line,
};

/// Whom to tell, and where it is written down that they were told.
#[derive(Clone, Copy, Debug)]
pub struct Telling<'a> {
    /// Whose hooks are run.
    pub config: &'a Config,
    /// Where it is written down; `None` where there is no inventory to open,
    /// which is itself to be told: then each call tells.
    pub inventory: Option<&'a Inventory>,
    /// The time.
    pub now: OffsetDateTime,
}

/// What has become of the telling.
#[derive(Debug)]
#[must_use]
pub enum Told {
    /// Nothing is to be told, or no hook is configured for it.
    Nobody,
    /// It was told before.
    Before,
    /// The hook has just ended well.
    Now,
    /// The hook failed: nobody knows.
    InVain(hook::Error),
}

/// How far a credential is on the way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Its rotation will need a support token, or needs one now.
    Token,
    /// The rotation was due long before, and this many days are left.
    Days(std::cmp::Reverse<u8>),
    /// It has ended.
    Expired,
}

/// How many days before the end somebody is told again that nothing was done.
const DAYS: [u8; 4] = [30, 14, 7, 1];

impl Stage {
    /// The stage of a credential; `None` if nobody needs to be told. Days
    /// count only from the opening of the window on: before that nothing was left undone.
    #[must_use]
    pub fn of(window: RenewalWindow, token_needed: bool, now: OffsetDateTime) -> Option<Self> {
        if window.is_expired(now) {
            return Some(Self::Expired);
        }
        let begun = |days: &u8| {
            let from = window.not_after.saturating_sub(Duration::days((*days).into()));
            from > window.due_at && now >= from
        };
        let days = DAYS.into_iter().filter(begun).min().map(|days| Self::Days(std::cmp::Reverse(days)));
        days.or(token_needed.then_some(Self::Token))
    }

    fn word(self) -> String {
        match self {
            Self::Token => "token".to_owned(),
            Self::Days(days) => days.0.to_string(),
            Self::Expired => "expired".to_owned(),
        }
    }

    fn read(word: &str) -> Option<Self> {
        match word {
            "token" => Some(Self::Token),
            "expired" => Some(Self::Expired),
            days => days.parse().ok().map(|days| Self::Days(std::cmp::Reverse(days))),
        }
    }
}

/// What a person should know of the end of a robot's credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How far it is.
    pub stage: Stage,
    /// A word for programs: `token-needed`, `ends-soon` or `expired`.
    pub code: &'static str,
    /// What to do.
    pub hint: String,
    /// What was found.
    pub why: String,
}

/// What a person should know of the end of this robot's credential; `None` if nothing. Pure.
#[must_use]
pub fn notice(line: &Line, now: OffsetDateTime) -> Option<Notice> {
    line.record.as_ref().filter(|record| record.state == State::Active)?;
    let (id, window) = (&line.id, line.window?);
    let token = line.attention.iter().find(|raised| raised.code == AttentionCode::TokenNeeded);
    let stage = Stage::of(window, token.is_some(), now)?;
    let rotate = || format!("run `robocred rotate {id}` and do what it says");
    let hint = if token.is_some() { get_token(id) } else { rotate() };
    let day = Time(window.not_after).day();
    let (code, why) = match (stage, token) {
        (Stage::Expired, _) => ("expired", format!("its certificate has expired on {day}")),
        (_, Some(raised)) => (AttentionCode::TokenNeeded.as_str(), raised.message.clone()),
        (_, None) => ("ends-soon", format!("its certificate ends on {day}, and nothing has replaced it")),
    };
    Some(Notice { stage, code, hint, why })
}

fn get_token(id: &RobotId) -> String {
    format!("get a support token from the vendor, which takes days, and run `robocred token set {}`", id.site)
}

/// Whether a robot's run by schedule has left nothing open: not what only rests
/// until it is tried again.
#[must_use]
pub fn is_settled(line: &Line) -> bool {
    let delivered = line.record.as_ref().is_some_and(|record| {
        record.state == State::Active && record.delivery != Delivery::Open && record.deliver_after.is_none()
    });
    let open = |record: &Record| record.state.is_pending() || record.state == State::Retiring;
    delivered && !line.previous.iter().any(open)
}

/// What a hook is told of the credential in use.
#[must_use]
pub fn facts(records: &[Record], (site, robot): (&Site, &Robot), event: Event) -> Facts {
    let newest =
        |state: State| records.iter().filter(|record| record.state == state).max_by_key(|record| record.id.generation);
    let active = newest(State::Active);
    let previous = newest(State::Previous).map(|record| record.id.generation);
    let facts = Facts::new(event, site, robot, active).previous(previous);
    match (active, &robot.export) {
        (Some(_), Some(target)) => facts.exported(&target.dir, export::FILES),
        _ => facts,
    }
}

impl Telling<'_> {
    /// Runs the failure hook of a robot for a task of it that has failed with
    /// `code`: a word of `error.code`, or one of
    /// `watch::outcome` for a child of which nothing else is known.
    ///
    /// # Errors
    /// Those of the inventory, where it cannot say what was told or cannot keep it.
    pub async fn failed(&self, id: &RobotId, task: Task, code: &str) -> Result<Told, inventory::Error> {
        let key = format!("{task}:{code}");
        let mut told = self.told(id, Event::Failure).await?.unwrap_or_default();
        if told.split(' ').any(|told| told == key) {
            return Ok(Told::Before);
        }
        let (mut hint, reason) = words(id, task, code);
        if code == "person" && self.raised(id, AttentionCode::TokenNeeded).await? {
            hint = get_token(id);
        }
        let (code, why) = match task {
            Task::Rotate => (code, format!("its rotation failed: {reason}")),
            Task::Ingest => (AttentionCode::IngestFailed.as_str(), format!("its ingest failed: {reason}")),
        };
        if !told.is_empty() {
            told.push(' ');
        }
        told.push_str(&key);
        self.tell(id, Event::Failure, code, (&hint, &why), &told).await
    }

    /// Forgets which failures of a task were told of a robot: it has ended well, and the next one is news.
    ///
    /// # Errors
    /// Those of the inventory.
    pub async fn mended(&self, id: &RobotId, task: Task) -> Result<(), inventory::Error> {
        let (Some(inventory), Some(told)) = (self.inventory, self.told(id, Event::Failure).await?) else {
            return Ok(());
        };
        let of_task = format!("{task}:");
        let kept: Vec<&str> = told.split(' ').filter(|told| !told.starts_with(&of_task)).collect();
        let kept = kept.join(" ");
        if kept == told {
            return Ok(());
        }
        inventory.told(id, Event::Failure.as_str(), Some(&*kept).filter(|kept| !kept.is_empty()), self.now).await
    }

    /// Runs the expiring hook of a robot if the end of its credential has come a [`Stage`] nearer.
    ///
    /// # Errors
    /// As [`Telling::failed`].
    pub async fn expiring(&self, line: &Line) -> Result<Told, inventory::Error> {
        let (Some(notice), Some(record)) = (notice(line, self.now), &line.record) else { return Ok(Told::Nobody) };
        let generation = record.id.generation.number().to_string();
        let told = self.told(&line.id, Event::Expiring).await?;
        let before = told.as_deref().and_then(|told| told.split_once(':')).filter(|(told, _)| *told == generation);
        if before.and_then(|(_, stage)| Stage::read(stage)) >= Some(notice.stage) {
            return Ok(Told::Before);
        }
        let told = format!("{generation}:{}", notice.stage.word());
        self.tell(&line.id, Event::Expiring, notice.code, (&notice.hint, &notice.why), &told).await
    }

    /// Runs the hook, and keeps that it was told.
    async fn tell(
        &self,
        id: &RobotId,
        event: Event,
        code: &str,
        (hint, why): (&str, &str),
        told: &str,
    ) -> Result<Told, inventory::Error> {
        let Some((site, robot)) = self.config.robot(id) else { return Ok(Told::Nobody) };
        let Some(command) = event.command(&robot.hooks) else { return Ok(Told::Nobody) };
        let records = match self.inventory {
            Some(inventory) => inventory.records(id).await?,
            None => Vec::new(),
        };
        let facts = facts(&records, (site, robot), event).because(code, hint, why);
        if let Err(error) = hook::run(command, &facts, hook::LIMIT).await {
            return Ok(Told::InVain(error));
        }
        if let Some(inventory) = self.inventory {
            inventory.told(id, event.as_str(), Some(told), self.now).await?;
        }
        Ok(Told::Now)
    }

    async fn told(&self, id: &RobotId, event: Event) -> Result<Option<String>, inventory::Error> {
        match self.inventory {
            Some(inventory) => inventory.was_told(id, event.as_str()).await,
            None => Ok(None),
        }
    }

    async fn raised(&self, id: &RobotId, code: AttentionCode) -> Result<bool, inventory::Error> {
        let Some(inventory) = self.inventory else { return Ok(false) };
        Ok(inventory.attention().await?.iter().any(|raised| raised.robot == *id && raised.code == code))
    }
}

/// What to do about a failure, and what it is.
fn words(id: &RobotId, task: Task, code: &str) -> (String, &'static str) {
    let run = format!("robocred {task} {id}");
    let verify = format!("run `robocred verify {id}`, which says which step fails");
    match code {
        "config" => (
            format!("run `{run}` and mend what it names"),
            "the configuration, or a file or directory that it names, cannot be used",
        ),
        "refused" => (verify, "the appliance refused the support token, the robot or its certificate"),
        "unreachable" => {
            (verify, "the appliance could not be reached; nothing is lost, and it is tried again by schedule")
        }
        "untrusted" => (
            format!(
                "find out whether the appliance's key was changed on purpose, then run `robocred trust {} --show`",
                id.site
            ),
            "the appliance shows a key that is not trusted; nothing was sent to it",
        ),
        "store" => (
            "unlock or start the secret store, then run `robocred doctor` as the user that robocred runs as".to_owned(),
            "the secret store could not be used",
        ),
        "proof" => (verify, "the new credential could not be proven; an old one is kept"),
        "hook" => (
            format!("mend the deploy hook, try it with `robocred hook test {id} deploy`, then run `{run}`"),
            "the credential works, and its deploy hook failed",
        ),
        "expired" => (format!("run `{run}` with a support token at hand"), "its credential has expired"),
        "person" => ("run `robocred status`, which says what is wanted of you".to_owned(), "a person is needed"),
        "crashed" => (format!("run `{run}`, and look at the log of the service"), "the program that does it crashed"),
        "hung" => (
            format!("run `{run}` and see where it stays, and look at the log of the service"),
            "the program that does it did not end in time",
        ),
        "no-progress" => (
            format!("run `{run}`, and look at the log of the service"),
            "the program that does it said that all is well, and the same is still due",
        ),
        "hindered" => (
            "run `robocred doctor` on the machine of the service, and look at its log".to_owned(),
            "nothing can be begun there, because the state directory or its inventory cannot be used",
        ),
        "garbled" => (
            "restart the service, which may be of another version than the program".to_owned(),
            "the program that does it said what could not be understood",
        ),
        _ => (format!("run `{run}`, which can be repeated, and see what it says"), "something on the way failed"),
    }
}

#[cfg(test)]
mod tests;
