//! The twelve steps against one appliance.

use std::time::{Duration, Instant};

use super::{Check, ControlUse, Ended, Kind, Name, Report, Verified, kind_of, probe, verified};
use crate::{
    appliance::{self, Answer, Authority, Backoff, Connection, Listing, Login, Phase, Probe},
    clock::{Agreement, rfc3339},
    credential::{Control, Record},
    inventory::Observation,
    session::{self, Loaded, Session},
    site::{RobotId, Role, TrustPolicy},
    trust::{Judge, Presented},
};

/// How long a control that was refused is good for.
const CONTROL_REST: time::Duration = time::Duration::DAY;

/// The steps so far. Once one has failed the rest are skipped.
struct Steps {
    robot: RobotId,
    checks: Vec<Check>,
    failure: Option<Kind>,
    proof: Option<Verified>,
    since: Instant,
}

impl Steps {
    fn new(robot: &RobotId) -> Self {
        Self { robot: robot.clone(), checks: Vec::new(), failure: None, proof: None, since: Instant::now() }
    }

    fn add(&mut self, name: Name, ended: Ended, detail: impl Into<String>) {
        let took = self.since.elapsed();
        self.timed(name, ended, took, detail, None);
    }

    fn timed(&mut self, name: Name, ended: Ended, took: Duration, detail: impl Into<String>, hint: Option<String>) {
        let millis = (ended != Ended::Skip).then(|| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        tracing::info!(step = name.as_str(), %ended, millis, "verified");
        self.checks.push(Check { name: name.as_str(), ended, millis, detail: detail.into(), hint });
        self.since = Instant::now();
    }

    fn fail(&mut self, name: Name, kind: Kind, detail: impl Into<String>, hint: Option<String>) {
        let took = self.since.elapsed();
        self.timed(name, Ended::Fail, took, detail, hint);
        self.failure = self.failure.or(Some(kind));
    }

    fn fail_with(&mut self, name: Name, error: &session::Error) {
        self.fail(name, kind_of(error), chain(error), error.hint());
    }

    fn refused_hint(&self) -> String {
        format!(
            "the robot may have been removed there, or the appliance restored from a backup: look at its list of robots; if it is gone, `robocred rotate {} --force` makes a new credential for it",
            self.robot
        )
    }

    fn into_report(mut self) -> Report {
        for name in Name::ALL.iter().skip(self.checks.len()) {
            self.add(*name, Ended::Skip, "not reached");
        }
        Report { checks: self.checks, failure: self.failure, skew: None, proof: self.proof }
    }
}

/// An error with its sources on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

pub(super) async fn run(session: &Session<'_>, record: &Record, control: ControlUse) -> Report {
    let mut steps = Steps::new(&record.id.robot);
    steps.add(Name::Config, Ended::Pass, configured(session));
    let Some(loaded) = local(session, record, &mut steps).await else { return steps.into_report() };
    let Some((connection, presented)) = reach(session, &loaded, &mut steps).await else { return steps.into_report() };
    let login = read(session, &loaded, connection).await;
    let skew = clock(session, login.as_ref().ok(), &mut steps);
    observe(session, &presented, login.as_ref().ok(), skew).await;
    if let Some(probe) = judge_read(&login, &mut steps) {
        let discriminates = judge_control(session, probe, control, &mut steps).await;
        role(session, record, &loaded, &mut steps).await;
        if steps.failure.is_none() && discriminates {
            steps.proof = Some(verified(record, &loaded, session.now()));
        }
    }
    Report { skew, ..steps.into_report() }
}

fn configured(session: &Session<'_>) -> String {
    let site = session.site();
    let trust = match &site.trust {
        Some(TrustPolicy::Pins(pins)) if pins.len() == 1 => "one pinned key".to_owned(),
        Some(TrustPolicy::Pins(pins)) => format!("{} pinned keys", pins.len()),
        Some(TrustPolicy::CaFile(path)) => format!("the CA file {}", path.display()),
        Some(TrustPolicy::System) => "the system's roots".to_owned(),
        None => "nothing yet".to_owned(),
    };
    format!("{} trusted by {trust}", site.endpoint)
}

/// Key, pair, validity: what can be said without the network.
async fn local(session: &Session<'_>, record: &Record, steps: &mut Steps) -> Option<Loaded> {
    let loaded = match session.load(record).await {
        Ok(loaded) => loaded,
        Err(error @ session::Error::Pair { .. }) => {
            steps.add(Name::Key, Ended::Pass, format!("in the {} store", session.secrets().kind()));
            steps.fail_with(Name::Pair, &error);
            return None;
        }
        Err(error) => {
            steps.fail_with(Name::Key, &error);
            return None;
        }
    };
    steps.add(Name::Key, Ended::Pass, format!("in the {} store", session.secrets().kind()));
    steps.add(Name::Pair, Ended::Pass, format!("certificate {}", loaded.certificate.fingerprint()));
    let now = session.now();
    let validity = loaded.certificate.validity();
    let hint = Some(format!("run `robocred provision {}`: it makes a new credential", record.id.robot));
    if !validity.contains(now) && now > validity.not_after {
        steps.fail(
            Name::Validity,
            Kind::Expired,
            format!("expired at {} (now {})", rfc3339(validity.not_after), rfc3339(now)),
            hint,
        );
        return None;
    }
    if now < validity.not_before {
        let hint = Some("compare this machine's clock with the appliance's".to_owned());
        let detail = format!("not valid before {} (now {})", rfc3339(validity.not_before), rfc3339(now));
        steps.fail(Name::Validity, Kind::Other, detail, hint);
        return None;
    }
    steps.add(Name::Validity, Ended::Pass, format!("until {}", rfc3339(validity.not_after)));
    Some(loaded)
}

/// Resolve, connect, TLS, trust: a connection that has sent no HTTP yet.
async fn reach(session: &Session<'_>, loaded: &Loaded, steps: &mut Steps) -> Option<(Connection, Presented)> {
    let judge = match loaded.identity(session.site()).and_then(|identity| session.judge(Some(&identity))) {
        Ok(judge) => judge,
        Err(error) => {
            steps.fail_with(Name::Resolve, &error);
            return None;
        }
    };
    match session.connect(&judge).await {
        Ok(connection) => {
            let presented = reached(&connection, &judge, steps);
            Some((connection, presented))
        }
        Err(error) => {
            let phase = error.phase();
            let refused = error.certificate_refused();
            let shown = session::refusal_in(&error).is_some();
            let order = [(Name::Resolve, Phase::Resolve), (Name::Connect, Phase::Connect), (Name::Tls, Phase::Tls)];
            for (name, own) in order {
                let here = own == phase || (own == Phase::Connect && phase == Phase::Proxy);
                if here && !(own == Phase::Tls && (shown || refused.is_some())) {
                    let error = session.explain(error);
                    steps.fail_with(name, &error);
                    return None;
                }
                steps.add(name, Ended::Pass, "");
            }
            if let Some(alert) = refused {
                // The server was accepted by us; it is the one that refused.
                steps.add(Name::Trust, Ended::Pass, "");
                steps.add(Name::Clock, Ended::Unknown, "the appliance said nothing");
                let detail = format!("the appliance refused the certificate in the handshake (TLS alert {alert:?})");
                steps.fail(Name::Read, Kind::Refused, detail, Some(steps.refused_hint()));
            } else {
                steps.fail_with(Name::Trust, &session.explain(error));
            }
            None
        }
    }
}

fn reached(connection: &Connection, judge: &Judge, steps: &mut Steps) -> Presented {
    let phases = connection.phases();
    steps.timed(Name::Resolve, Ended::Pass, phases.resolve, "", None);
    steps.timed(Name::Connect, Ended::Pass, phases.connect + phases.proxy.unwrap_or_default(), "", None);
    let version = connection.tls_version().map_or_else(String::new, |version| format!("{version:?}"));
    steps.timed(Name::Tls, Ended::Pass, phases.tls, version, None);
    let presented = judge.presented().unwrap_or_else(|| unreachable!("a handshake ended well without a certificate"));
    if presented.warnings.is_empty() {
        steps.add(Name::Trust, Ended::Pass, presented.spki_pin.to_string());
    } else {
        let said: Vec<_> = presented.warnings.iter().map(ToString::to_string).collect();
        let took = steps.since.elapsed();
        steps.timed(
            Name::Trust,
            Ended::Warn,
            took,
            said.join("; "),
            Some("the pinned key decides; this is for information".to_owned()),
        );
    }
    presented
}

/// Logs in until the answer tells, first on the fresh connection, for at most the time of a foreground read.
async fn read(session: &Session<'_>, loaded: &Loaded, connection: Connection) -> Result<Login, session::Error> {
    let api = session.read_api(&loaded.identity(session.site())?)?;
    let began = Instant::now();
    let mut tries = 0;
    let mut login = api.log_in_on(connection).await;
    loop {
        let Answer::Unclear(error) = &login.answer else { return probe::telling(session, &api, login).await };
        let pause = error.is_transient().then(|| Backoff::READS.pause(tries, began.elapsed(), error.retry_after()));
        let Some(pause) = pause.flatten() else { return Ok(login) };
        tokio::time::sleep(pause).await;
        tries += 1;
        login = api.log_in().await;
    }
}

fn clock(session: &Session<'_>, login: Option<&Login>, steps: &mut Steps) -> Option<time::Duration> {
    let server = login.and_then(|login| login.server_time);
    let Some(server) = server else {
        steps.timed(Name::Clock, Ended::Unknown, Duration::ZERO, "the appliance did not tell its time", None);
        return None;
    };
    let skew = server - session.now();
    let seconds = skew.whole_seconds();
    if Agreement::of(skew) == Agreement::Close {
        steps.timed(Name::Clock, Ended::Pass, Duration::ZERO, format!("{seconds} s apart"), None);
    } else {
        let hint = Some("set both clocks by one time server: certificates are judged by the appliance's".to_owned());
        steps.timed(
            Name::Clock,
            Ended::Warn,
            Duration::ZERO,
            format!("the appliance's clock is {seconds} s ahead of ours"),
            hint,
        );
    }
    Some(skew)
}

/// The probe that was accepted, if one was.
fn judge_read(login: &Result<Login, session::Error>, steps: &mut Steps) -> Option<Probe> {
    match login.as_ref().map(|login| (&login.answer, login.probe)) {
        Ok((Answer::Accepted, probe)) => {
            steps.add(Name::Read, Ended::Pass, format!("accepted ({})", probe_word(probe)));
            return Some(probe);
        }
        Ok((Answer::Refused(refusal), _)) => {
            let detail = format!("the appliance refused the credential ({refusal})");
            steps.fail(Name::Read, Kind::Refused, detail, Some(steps.refused_hint()));
        }
        Ok((Answer::Unclear(error), _)) => {
            let kind = match error {
                appliance::Error::Connect(_) | appliance::Error::Exchange(_) | appliance::Error::Busy { .. } => {
                    Kind::Unreachable
                }
                _ => Kind::Other,
            };
            steps.fail(Name::Read, kind, chain(error), error.hint());
        }
        Err(error) => steps.fail_with(Name::Read, error),
    }
    None
}

const CHECKS_NOTHING: &str = "the appliance accepts a certificate it was never given: an accepted read proves nothing";

fn checks_nothing_hint() -> String {
    "ask who changed the appliance's (or its proxy's) client certificate settings; until then anybody can read from it"
        .to_owned()
}

/// Whether the appliance is known to refuse an unregistered certificate.
async fn judge_control(session: &Session<'_>, probe: Probe, used: ControlUse, steps: &mut Steps) -> bool {
    let now = session.now();
    let site = &session.site().name;
    if used == ControlUse::AlreadyRefused && probe == Probe::Graphql {
        steps.add(Name::Control, Ended::Pass, "this certificate was refused before it was registered");
        return true;
    }
    let row = session.inventory().site(site).await.ok().flatten();
    let recent = row
        .filter(|row| row.seen.probe.as_deref() == Some(probe_word(probe)))
        .and_then(|row| Some((row.control_at?, row.seen.control?)))
        .filter(|(at, _)| now - *at < CONTROL_REST);
    if let (ControlUse::Daily, Some((at, Control::Refused))) = (used, recent) {
        steps.add(
            Name::Control,
            Ended::Skip,
            format!("an unregistered certificate was refused at {}; --control asks again", rfc3339(at)),
        );
        return true;
    }
    match probe::control(session, probe).await {
        Ok(control) => {
            let probe = Some(probe_word(probe).to_owned());
            let seen = Observation { control: Some(control), probe, ..Observation::default() };
            keep(session, &seen).await;
            match control {
                Control::Refused => steps.add(Name::Control, Ended::Pass, "an unregistered certificate is refused"),
                Control::Accepted => {
                    steps.fail(Name::Control, Kind::Control, CHECKS_NOTHING, Some(checks_nothing_hint()));
                }
                Control::Unknown => {
                    steps.add(Name::Control, Ended::Unknown, "no clear answer to an unregistered certificate");
                }
            }
            control == Control::Refused
        }
        Err(error) => {
            steps.fail_with(Name::Control, &error);
            false
        }
    }
}

/// Passes only when the role is read back; an appliance that does not tell fails nothing.
async fn role(session: &Session<'_>, record: &Record, loaded: &Loaded, steps: &mut Steps) {
    if record.role != Role::Admin {
        steps.add(Name::Role, Ended::Unknown, "a reader cannot read its role back");
        return;
    }
    let listing = match loaded.identity(session.site()).and_then(|identity| session.robots_api(Some(&identity))) {
        Ok(api) => api.list(Authority::Certificate).await,
        Err(error) => return steps.fail_with(Name::Role, &error),
    };
    let own = match &listing {
        Listing::Robots(robots) => robots.iter().find(|robot| {
            robot.fingerprint == Some(loaded.certificate.fingerprint())
                || (robot.fingerprint.is_none() && robot.name == record.registered_name.as_str())
        }),
        _ => None,
    };
    match own.and_then(|robot| robot.role.as_deref()) {
        Some(role) if role == record.role.on_the_wire() => {
            steps.add(Name::Role, Ended::Pass, format!("{role}, read back"));
        }
        Some(role) => {
            let detail = format!("registered as {role}, wanted {}", record.role.on_the_wire());
            steps.fail(Name::Role, Kind::Other, detail, Some("correct the robot's role on the appliance".to_owned()));
        }
        None => steps.add(Name::Role, Ended::Unknown, "the appliance does not show it"),
    }
}

fn probe_word(probe: Probe) -> &'static str {
    match probe {
        Probe::Graphql => "GraphQL",
        Probe::RestList => "REST listing",
        Probe::RestNil => "REST, one device",
    }
}

async fn observe(session: &Session<'_>, presented: &Presented, login: Option<&Login>, skew: Option<time::Duration>) {
    let seen = Observation {
        server_pin: Some(presented.spki_pin),
        server_time: login.and_then(|login| login.server_time),
        clock_skew: skew,
        ..Observation::default()
    };
    keep(session, &seen).await;
}

/// Keeps what was seen. It grants nothing, so where it cannot be kept the
/// verification goes on, and says so.
async fn keep(session: &Session<'_>, seen: &Observation) {
    if let Err(error) = session.inventory().observe(&session.site().name, seen, session.now()).await {
        tracing::warn!(%error, "what was seen of the appliance could not be kept");
    }
}
