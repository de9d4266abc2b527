//! A probe that discriminates: accepted counts only where the same request
//! with an unregistered certificate is refused.

use time::OffsetDateTime;

use crate::{
    appliance::{Answer, Error, Login, Probe, ReadApi, Refusal},
    credential::Control,
    session::{self, Loaded, Session},
};

/// What the appliance said to a certificate that may or may not be registered.
#[derive(Debug)]
pub enum Verdict {
    /// Accepted, where an unregistered one is refused.
    Accepted(Probe),
    /// Refused.
    Refused(Refusal),
    /// It accepts unregistered certificates too.
    Indiscriminate,
    /// No answer that tells.
    Unclear(Error),
}

/// A verdict with what was learnt on the way.
#[derive(Debug)]
pub struct Asked {
    /// The verdict.
    pub verdict: Verdict,
    /// The appliance's clock, if it told.
    pub server_time: Option<OffsetDateTime>,
    /// What the control said, if it was asked.
    pub control: Control,
}

/// Asks whether the pair is registered.
///
/// `control` is what the GraphQL probe said to an unregistered certificate;
/// where another probe decides, or nothing was known, a throwaway certificate
/// asks that one once. Network.
///
/// # Errors
/// Only what happens before the network: policy, crypto.
pub async fn ask(session: &Session<'_>, loaded: &Loaded, control: Control) -> Result<Asked, session::Error> {
    let api = session.read_api(&loaded.identity(session.site())?)?;
    let login = telling(session, &api, api.log_in().await).await?;
    let server_time = login.server_time;
    let asked = |verdict, control| Asked { verdict, server_time, control };
    Ok(match login.answer {
        Answer::Refused(refusal) => asked(Verdict::Refused(refusal), control),
        Answer::Unclear(error) => asked(Verdict::Unclear(error), control),
        Answer::Accepted => {
            let known = if login.probe == Probe::Graphql { control } else { Control::Unknown };
            let control = match known {
                Control::Unknown => self::control(session, login.probe).await?,
                known => known,
            };
            match control {
                Control::Refused => asked(Verdict::Accepted(login.probe), control),
                Control::Accepted => asked(Verdict::Indiscriminate, control),
                Control::Unknown => {
                    let reason = "the same request with an unregistered certificate had no clear answer".to_owned();
                    asked(Verdict::Unclear(Error::Unexpected { reason }), control)
                }
            }
        }
    })
}

/// A login that tells one certificate from another: where "there is nothing"
/// is said to an unregistered one too, it is no acceptance, and what GraphQL
/// says counts. Network.
///
/// # Errors
/// Only what happens before the network.
pub(super) async fn telling(session: &Session<'_>, api: &ReadApi, login: Login) -> Result<Login, session::Error> {
    let doubtful = login.probe == Probe::RestNil && matches!(login.answer, Answer::Accepted);
    if !doubtful || control(session, Probe::RestNil).await? != Control::Accepted {
        return Ok(login);
    }
    let graphql = api.probe(Probe::Graphql).await;
    Ok(if matches!(graphql.answer, Answer::Refused(_)) { graphql } else { login })
}

/// Asks `probe` with a certificate that is registered nowhere, right after
/// another one was accepted by it. Network.
///
/// # Errors
/// Only what happens before the network.
pub async fn control(session: &Session<'_>, probe: Probe) -> Result<Control, session::Error> {
    let throwaway = Loaded::throwaway(session.now())?;
    let api: ReadApi = session.read_api(&throwaway.identity(session.site())?)?;
    let hung_up = |login: &Login| matches!(&login.answer, Answer::Unclear(error) if error.is_cut());
    let mut login = api.probe(probe).await;
    if hung_up(&login) {
        login = api.probe(probe).await;
    }
    Ok(match login.answer {
        Answer::Accepted => Control::Accepted,
        // Hung up on twice, right after another certificate was answered: that is a refusal too.
        _ if hung_up(&login) => Control::Refused,
        Answer::Refused(_) => Control::Refused,
        Answer::Unclear(_) => Control::Unknown,
    })
}
