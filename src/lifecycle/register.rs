//! Making the appliance know a certificate, and finding out whether it does.
//! Durable before: the key, and the intent (state `sending`).

use time::OffsetDateTime;

use super::{Drive, Error, Moment, PATIENCE, Run, registrar::Registrar};
use crate::{
    appliance::{self, Answer, Difference, Listing, NewRobot, NotDone, Outcome, Probe, Reply},
    clock,
    credential::{
        Control, Generation, Record, State,
        plan::{Need, POST_TAKES, ProbeAnswer},
    },
    inventory::{AttentionCode, Change, Observation},
    session::Loaded,
    verify::{self, Verdict},
    x509::Certificate,
};

impl<'a> Drive<'a> {
    pub(super) async fn register(&self, generation: Generation, run: &mut Run<'a>) -> Result<(), Error> {
        (self.progress)(Moment::Registering);
        let record = self.record(generation).await?;
        let loaded = self.session.load(&record).await?;
        let tries = record.attempt.as_ref().map_or(0, |attempt| attempt.tries);
        let control = match record.attempt.as_ref() {
            Some(attempt) => attempt.control,
            None => match self.before_the_first(&record, &loaded, run).await {
                Err(error) => return self.unless_passed_over(&record, error, run).await,
                Ok(Control::Accepted) => return Ok(()),
                Ok(control) => {
                    run.control_asked = true;
                    control
                }
            },
        };
        // The plan asks for this step only with a registrar at hand; another robot's refusal may have come between.
        let Some(mut registrar) = self.registrar(&run.registrars).await? else {
            return Err(self.needs(Need::Token).await?);
        };
        fail::fail_point!("register.before-intent");
        self.advance(&record, Change::SendBegun { control }).await?;
        fail::fail_point!("register.intent");
        run.in_doubt_since.get_or_insert(self.session.now());
        run.probes = crate::credential::plan::Probes::default();
        let sent = NewRobot { name: &record.registered_name, role: record.role, certificate: &loaded.certificate };
        let mut outcome = registrar.register(&self.session, &sent).await?;
        // Nothing was done for who may not: the next one sends within the same try. After an earlier try in doubt a
        // try of its own would be spent on the refusal in every run, and the token never be asked.
        while let Outcome::NotDone(reason) = &outcome
            && self.may_not(&registrar, reason, &record, run).await?
            && let Some(next) = self.next_registrar(run).await?
        {
            registrar = next;
            outcome = registrar.register(&self.session, &sent).await?;
        }
        fail::fail_point!("register.answered");
        match outcome {
            Outcome::NotDone(reason) => self.not_done(&record, tries, reason, &registrar, run).await,
            Outcome::Unknown(reason) => {
                run.doubt = Some(reason.to_string());
                Ok(())
            }
            Outcome::Answered(reply) => {
                if registrar.is_admin() {
                    self.admin_registers(true).await?;
                }
                run.answered = true;
                run.doubt = Some("it was answered as a success, and the certificate is not accepted yet".to_owned());
                self.compare(&record, &sent, &reply, run).await
            }
        }
    }

    /// What is asked before a name is sent for the first time: the list, where
    /// there is one, and the control. `Accepted` means that the certificate
    /// turned out to be registered and was recorded so.
    async fn before_the_first(&self, record: &Record, loaded: &Loaded, run: &mut Run<'a>) -> Result<Control, Error> {
        self.name_is_free(record, loaded, run).await?;
        fail::fail_point!("register.listed");
        let api = self.session.read_api(&loaded.identity(self.session.site())?)?;
        let login = api.probe(Probe::Graphql).await;
        fail::fail_point!("register.control");
        if let Some(theirs) = login.server_time {
            self.valid_there(loaded, theirs).await?;
        }
        match login.answer {
            Answer::Refused(_) => Ok(Control::Refused),
            Answer::Accepted => match verify::control(&self.session, Probe::Graphql).await? {
                Control::Refused => {
                    // An earlier try took effect after all.
                    self.advance(record, Change::SendBegun { control: Control::Refused }).await?;
                    self.accepted(record, None).await?;
                    Ok(Control::Accepted)
                }
                Control::Accepted | Control::Unknown => Err(self.needs(Need::ControlAccepted).await?),
            },
            // It listed its robots a moment ago: hanging up may be how it refuses. Asked again when it matters.
            Answer::Unclear(error) if error.is_cut() => Ok(Control::Unknown),
            Answer::Unclear(error @ (appliance::Error::Connect(_) | appliance::Error::Exchange(_))) => {
                Err(self.unasked(error))
            }
            Answer::Unclear(_) => Ok(Control::Unknown),
        }
    }

    /// A certificate that is expired, or not valid yet, by the appliance's clock
    /// would be registered and never accepted.
    async fn valid_there(&self, loaded: &Loaded, theirs: OffsetDateTime) -> Result<(), Error> {
        if loaded.certificate.validity().contains(theirs) {
            return Ok(());
        }
        let error = Error::Clock { theirs, ours: self.session.now() };
        self.raise(AttentionCode::ClockSkew, &error.to_string(), error.hint().as_deref()).await?;
        Err(error)
    }

    fn unasked(&self, error: appliance::Error) -> Error {
        match error {
            appliance::Error::Connect(error) => self.session.explain(error).into(),
            error => Error::Unasked(error),
        }
    }

    async fn name_is_free(&self, record: &Record, loaded: &Loaded, run: &mut Run<'a>) -> Result<(), Error> {
        let Some(registrar) = self.registrar(&run.registrars).await? else { return Ok(()) };
        let name = &record.registered_name;
        let listing = registrar.list(&self.session).await?;
        let can_list = match listing {
            Listing::Robots(robots) => {
                let own = loaded.certificate.fingerprint();
                let others =
                    |robot: &&appliance::RemoteRobot| robot.name == name.as_str() && robot.fingerprint != Some(own);
                if let Some(taken) = robots.iter().find(others) {
                    return Err(self.taken(record, taken).await?);
                }
                Some(true)
            }
            Listing::Refused(appliance::Refusal::Status(status)) if status == 401 && !registrar.is_admin() => {
                self.refused(&registrar, &mut run.registrars).await?;
                let reason = NotDone::TokenRefused { status, message: None };
                return Err(Error::NotRegistered { name: name.clone(), reason });
            }
            // Only 401 speaks of the token itself; 403 may be what this appliance says instead of 404.
            Listing::Unsupported | Listing::Refused(_) => Some(false),
            Listing::NotDone(NotDone::Connect(error)) => return Err(self.session.explain(error).into()),
            Listing::NotDone(reason) => return Err(Error::NotRegistered { name: name.clone(), reason }),
            Listing::Failed(_) => None,
        };
        if can_list != Some(true) {
            (self.notice)(&format!(
                "this appliance cannot list its robots: if somebody else already uses the name {name}, that robot may have been replaced"
            ));
        }
        let seen = Observation { can_list, ..Observation::default() };
        self.session.inventory().observe(&self.session.site().name, &seen, self.session.now()).await?;
        Ok(())
    }

    /// Whose a name on the appliance is: another robot of ours, or somebody else's.
    async fn taken(&self, asked: &Record, robot: &appliance::RemoteRobot) -> Result<Error, Error> {
        let (name, next) = (&asked.registered_name, asked.id.generation != Generation::FIRST);
        let ours = self.session.inventory().all_records().await?.into_iter().find(|record| {
            record.id.robot.site == self.id.site
                && robot.fingerprint.is_some()
                && record.certificate.as_ref().map(Certificate::fingerprint) == robot.fingerprint
        });
        Ok(match ours {
            Some(record) => Error::NameOurs { name: name.clone(), robot: record.id.robot, next },
            None => Error::NameTaken { name: name.clone(), next },
        })
    }

    /// A name with a number that is taken is passed over: nothing was sent, and the next number has another. Once in
    /// a run, so that no list can lead it on for ever. The name of the first generation is a person's choice.
    async fn unless_passed_over(&self, record: &Record, error: Error, run: &mut Run<'_>) -> Result<(), Error> {
        if !matches!(error, Error::NameTaken { next: true, .. } | Error::NameOurs { next: true, .. }) {
            return Err(error);
        }
        let reason = error.to_string();
        self.raise(AttentionCode::ReplyDiffers, &reason, error.hint().as_deref()).await?;
        // Its key first: a run that is killed in between makes another one and comes here again.
        self.session.secrets().remove(&record.secret).await.map_err(Error::Store)?;
        self.advance(record, Change::GivenUp { reason: reason.clone() }).await?;
        (self.notice)(&format!("{reason}: the next number is taken"));
        // What was wanted now is still wanted.
        run.renewed = false;
        match run.passed_over.replace(error) {
            None => Ok(()),
            Some(_) => Err(run.passed_over.take().unwrap_or(Error::NothingActive)),
        }
    }

    /// Learns from a POST that was not done for the sake of who sent it; whether that was an admin robot.
    async fn may_not(
        &self,
        registrar: &Registrar<'a>,
        reason: &NotDone,
        record: &Record,
        run: &mut Run<'a>,
    ) -> Result<bool, Error> {
        let admin_refused = is_refused_admin(registrar, reason);
        if admin_refused || reason.ends_token() {
            self.refused(registrar, &mut run.registrars).await?;
        }
        if !admin_refused {
            return Ok(false);
        }
        // 401 and an alert speak of this certificate; 403 of what it may.
        if let NotDone::CertificateRefused { refusal: appliance::Refusal::Status(status), .. } = reason
            && *status == 403
        {
            self.admin_registers(false).await?;
        }
        (self.notice)(&format!(
            "the appliance does not let {} register {} ({reason}): a support token is needed",
            who(registrar),
            record.registered_name
        ));
        Ok(true)
    }

    /// Who registers instead, while there is time for another POST.
    async fn next_registrar(&self, run: &Run<'a>) -> Result<Option<Registrar<'a>>, Error> {
        let now = self.session.now();
        if now + POST_TAKES > run.patience_ends(now) {
            return Ok(None);
        }
        self.registrar(&run.registrars).await
    }

    async fn not_done(
        &self,
        record: &Record,
        tries: u32,
        reason: NotDone,
        registrar: &Registrar<'a>,
        run: &mut Run<'a>,
    ) -> Result<(), Error> {
        let name = record.registered_name.clone();
        if matches!(reason, NotDone::NameTaken { .. }) && tries > 0 {
            // It may be our own earlier try that holds the name: the probe decides. After a success
            // in the appliance's own words it is ours, and only not accepted yet.
            run.probes.name_taken = !run.answered;
            run.doubt = Some(reason.to_string());
            return Ok(());
        }
        // After an earlier try without an answer this one settles nothing: the row stays `sending`.
        if tries == 0 {
            self.advance(record, Change::NotDone { reason: kept(&reason) }).await?;
            fail::fail_point!("register.not-done");
        }
        match reason {
            // A person is asked for a token.
            reason if is_refused_admin(registrar, &reason) => Ok(()),
            NotDone::Connect(error) => Err(self.session.explain(error).into()),
            // Said by an appliance that does not list its robots.
            NotDone::NameTaken { .. } if record.id.generation != Generation::FIRST => {
                let keyed = self.record(record.id.generation).await?;
                self.unless_passed_over(&keyed, Error::NameTaken { name, next: true }, run).await
            }
            reason => Err(Error::NotRegistered { name, reason }),
        }
    }

    /// A success that differs from what was sent: noted, and the probe decides;
    /// only another certificate is a stop.
    async fn compare(
        &self,
        record: &Record,
        sent: &NewRobot<'_>,
        reply: &Reply,
        run: &mut Run<'_>,
    ) -> Result<(), Error> {
        run.remote_id = reply.remote_id.as_ref().map(ToString::to_string);
        let differences = appliance::differences(sent, reply);
        if differences.is_empty() {
            return Ok(());
        }
        let said: Vec<_> = differences.iter().map(words).collect();
        let hint = "compare the robot on the appliance with what was asked for";
        self.raise(AttentionCode::ReplyDiffers, &said.join("; "), Some(hint)).await?;
        for difference in differences {
            if let Difference::Certificate { sent: own, replied } = difference {
                // Whatever stands under that name is not ours to use; the next run takes another.
                self.leave_behind(record, "the appliance says that it registered another certificate").await?;
                let (sent_text, replied) = (own.to_string(), replied.to_string());
                return Err(Error::OtherCertificate { name: sent.name.clone(), sent: sent_text, replied });
            }
        }
        Ok(())
    }

    pub(super) async fn probe(
        &self,
        generation: Generation,
        at: OffsetDateTime,
        run: &mut Run<'_>,
    ) -> Result<(), Error> {
        (self.progress)(Moment::Probing);
        if let Ok(pause) = std::time::Duration::try_from(at - self.session.now()) {
            // A clock that was set back meanwhile must not keep us.
            tokio::time::sleep(clock::pause(pause).min(PATIENCE)).await;
        }
        run.in_doubt_since.get_or_insert(self.session.now());
        let record = self.record(generation).await?;
        let loaded = self.session.load(&record).await?;
        let control = run.control(&record);
        fail::fail_point!("probe.before");
        let now = self.session.now();
        let patience = std::time::Duration::try_from(run.patience_ends(now) - now).unwrap_or_default();
        let patience = clock::pause(patience);
        let Ok(asked) = tokio::time::timeout(patience, verify::ask(&self.session, &loaded, control)).await else {
            run.doubt = Some("the appliance does not answer".to_owned());
            run.probes.last = Some(ProbeAnswer::Unreachable);
            return Ok(());
        };
        let asked = asked?;
        run.skew = asked.server_time.map(|theirs| theirs - self.session.now());
        run.probes.last = Some(match asked.verdict {
            Verdict::Accepted(_) => {
                fail::fail_point!("probe.accepted");
                self.accepted(&record, run.remote_id.take()).await?;
                fail::fail_point!("probe.recorded");
                return Ok(());
            }
            Verdict::Refused(_) => {
                run.skew.get_or_insert(time::Duration::ZERO);
                ProbeAnswer::Refused
            }
            Verdict::Indiscriminate => ProbeAnswer::Indiscriminate,
            Verdict::Unclear(appliance::Error::Connect(error)) => match self.session.explain(error) {
                error @ crate::session::Error::Untrusted { .. } => return Err(error.into()),
                error => {
                    run.doubt = Some(error.to_string());
                    ProbeAnswer::Unreachable
                }
            },
            Verdict::Unclear(error) => {
                run.doubt = Some(error.to_string());
                ProbeAnswer::Unreachable
            }
        });
        Ok(())
    }

    async fn accepted(&self, record: &Record, remote_id: Option<String>) -> Result<(), Error> {
        self.advance(record, Change::Accepted { remote_id }).await?;
        Ok(())
    }

    pub(super) async fn give_up(&self, generation: Generation, run: &mut Run<'_>) -> Result<(), Error> {
        let record = self.record(generation).await?;
        let reason = match record.state {
            _ if run.probes.name_taken => {
                "the appliance says the name is taken after an earlier try had no answer, and does not accept its certificate"
            }
            State::Registered if run.proof_refused => {
                "it was registered, and the appliance does not accept it any more"
            }
            _ => "it may be registered, and its key is not in the secret store or its certificate has ended",
        };
        self.leave_behind(&record, reason).await?;
        // The patience goes on: an appliance that never accepts would leave name after name behind.
        run.probes = crate::credential::plan::Probes::default();
        run.proof_refused = false;
        run.answered = false;
        // What was wanted now is still wanted.
        run.renewed = false;
        Ok(())
    }

    /// Gives a generation up and lists its name for a person.
    async fn leave_behind(&self, record: &Record, reason: &str) -> Result<(), Error> {
        let hint = format!("remove {} on the appliance if it is listed there", record.registered_name);
        self.raise(AttentionCode::RetireManual, reason, Some(&hint)).await?;
        // Already so where a run was killed between the two.
        let abandoned = match record.state {
            State::Abandoned => record.clone(),
            _ => self.advance(record, Change::GivenUp { reason: reason.to_owned() }).await?,
        };
        fail::fail_point!("give-up.between");
        self.advance(&abandoned, Change::LeftBehind { reason: reason.to_owned() }).await?;
        Ok(())
    }
}

/// Whether a POST was not done because an admin robot may not, or is not known any more.
fn is_refused_admin(registrar: &Registrar<'_>, reason: &NotDone) -> bool {
    registrar.is_admin() && matches!(reason, NotDone::CertificateRefused { .. })
}

fn who(registrar: &Registrar<'_>) -> String {
    match registrar {
        Registrar::Admin(robot, _) => robot.to_string(),
        Registrar::Given(_) | Registrar::Stored(_) => "the support token".to_owned(),
    }
}

/// What the inventory keeps of a reason: nothing of what the appliance wrote.
fn kept(reason: &NotDone) -> String {
    match reason {
        NotDone::TokenRefused { status, .. } => format!("the support token was refused (status {status})"),
        NotDone::Rejected { status, .. } => format!("the request was not accepted (status {status})"),
        NotDone::NameTaken { .. } => "the name is taken".to_owned(),
        reason => reason.to_string(),
    }
}

fn words(difference: &Difference) -> String {
    match difference {
        Difference::Name { sent, replied } => format!("sent the name {sent}, the appliance says {replied}"),
        Difference::Role { sent, replied } => format!("sent the role {sent}, the appliance says {replied}"),
        Difference::Certificate { sent, replied } => {
            format!("sent the certificate {sent}, the appliance says {replied}")
        }
    }
}
