//! By which interface, and with how many fields, an appliance is asked.
//!
//! Owns the order in which ways are tried, what makes the first page be asked
//! for in another way, and what of it is remembered. Leaves out asking
//! (`pages`). Once a page was read, nothing is changed any more.

use super::{Api, reading::Stopped};
use time::{Duration, OffsetDateTime};

use crate::{
    appliance::{Error, Refusal, Width},
    inventory,
    session::{self, Session},
    site::{ApiChoice, Stream},
};

/// A way of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub api: Api,
    /// How much of each record; over REST it is always all of it.
    pub width: Width,
}

/// For so long an appliance that did not know all fields is not asked for them again: it may be upgraded.
const NARROW_FOR: Duration = Duration::days(7);

/// How a site was read last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    way: Way,
    /// Whether it may have learnt the other fields since.
    stale: bool,
}

impl Known {
    /// The fields are those of devices: of other lists it says nothing which of theirs are known.
    fn of(reading: inventory::Reading, stream: Stream, now: OffsetDateTime) -> Self {
        let api = if reading.api == ApiChoice::Rest { Api::Rest } else { Api::Graphql };
        let width = if reading.wide || stream != Stream::Assets { Width::Wide } else { Width::Narrow };
        // A clock that was set back is no reason to wait longer.
        let fresh = (Duration::ZERO..NARROW_FOR).contains(&(now - reading.at));
        Self { way: Way { api, width }, stale: width == Width::Narrow && !fresh }
    }

    /// The way to begin with.
    pub(super) fn first(self) -> Way {
        if self.stale { Way { width: Width::Wide, ..self.way } } else { self.way }
    }

    /// Whether it is worth keeping that this way answered.
    pub(super) fn is_news(self, way: Way) -> bool {
        self.stale || self.way != way
    }
}

/// How the site was read last time, if that is known.
pub(super) async fn remembered(session: &Session<'_>, stream: Stream) -> Result<Option<Known>, session::Error> {
    let reading = session.inventory().reading(&session.site().name).await?;
    Ok(reading.map(|reading| Known::of(reading, stream, session.now())))
}

/// Keeps how the site's devices were read.
pub(super) async fn remember(session: &Session<'_>, stream: Stream, way: Way) -> Result<(), inventory::Error> {
    if stream != Stream::Assets {
        return Ok(());
    }
    let api = match way.api {
        Api::Graphql => ApiChoice::Graphql,
        Api::Rest => ApiChoice::Rest,
    };
    let reading = inventory::Reading { api, wide: way.width == Width::Wide, at: session.now() };
    session.inventory().record_reading(&session.site().name, reading).await
}

/// The way of a run, and the others that are left.
pub(super) struct Ways {
    now: Way,
    /// The width to begin with over GraphQL.
    width: Width,
    /// Whether the other width was tried already.
    widths_tried: bool,
    other: Option<Api>,
    failed: Option<(Api, Error)>,
}

impl Ways {
    /// `rest`: whether REST has what is wanted. `remembered`: the way to begin with.
    pub(super) fn new(choice: ApiChoice, rest: bool, remembered: Option<Way>) -> Self {
        let first = remembered.map_or(Api::Graphql, |way| way.api);
        let (api, other) = match (choice, first) {
            (ApiChoice::Rest, _) => (Api::Rest, None),
            (ApiChoice::Auto, Api::Rest) if rest => (Api::Rest, Some(Api::Graphql)),
            (ApiChoice::Auto, _) => (Api::Graphql, rest.then_some(Api::Rest)),
            (ApiChoice::Graphql, _) => (Api::Graphql, None),
        };
        let width = remembered.map_or(Width::Wide, |way| way.width);
        Self { now: Way { api, width }, width, widths_tried: false, other, failed: None }
    }

    /// The way to ask now.
    pub(super) fn now(&self) -> Way {
        self.now
    }

    /// Something was read in this way: it stays.
    pub(super) fn settled(&mut self) {
        self.widths_tried = true;
        self.other = None;
    }

    /// Another way after the first page could not be read in this one; where
    /// there is none, why the run stops.
    pub(super) fn after(&mut self, error: Error) -> Result<(), Stopped> {
        if self.now.api == Api::Graphql && !self.widths_tried && error.is_validation() {
            self.widths_tried = true;
            self.now.width = if self.width == Width::Wide { Width::Narrow } else { Width::Wide };
            tracing::info!(
                error = &error as &dyn std::error::Error,
                width = self.now.width.as_str(),
                "asking for other fields"
            );
            return Ok(());
        }
        match (self.failed.take(), self.other.take()) {
            (None, Some(other)) if other_may_do(&error) => {
                tracing::info!(
                    error = &error as &dyn std::error::Error,
                    "{} cannot be read; trying {other}",
                    self.now.api
                );
                self.failed = Some((self.now.api, error));
                self.now = Way { api: other, width: self.width };
                Ok(())
            }
            (Some((Api::Graphql, graphql)), _) => Err(Stopped::NeitherApi { graphql: Box::new(graphql), rest: error }),
            (Some((Api::Rest, rest)), _) => Err(Stopped::NeitherApi { graphql: Box::new(error), rest }),
            (None, _) => Err(Stopped::Page { api: self.now.api, page: 1, records: 0, source: error }),
        }
    }
}

/// Whether the other interface may answer where this one fails like this: it
/// is not there, or it does not let this robot in, or talks nonsense.
fn other_may_do(error: &Error) -> bool {
    let talks = match error {
        // The certificate itself is refused, whatever is asked for.
        Error::Refused(Refusal::Alert(_)) => false,
        Error::Refused(_) | Error::Graphql { .. } | Error::Status { .. } | Error::Unexpected { .. } => true,
        _ => false,
    };
    error.is_not_there() || (talks && !error.is_transient())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graphql(code: &str) -> Error {
        Error::Graphql { codes: vec![code.to_owned()], message: String::new() }
    }

    fn unsupported() -> Error {
        Error::Unsupported { what: "status 404".to_owned() }
    }

    const HTML: fn() -> Error = || Error::Refused(Refusal::HtmlPage);

    /// The ways that are asked, each failing with the next error, as `graphql wide`; `*` where it is given up.
    fn asked(choice: ApiChoice, rest: bool, remembered: Option<Way>, errors: Vec<Error>) -> String {
        let mut ways = Ways::new(choice, rest, remembered);
        let shown = |way: Way| match way.api {
            Api::Graphql => format!("graphql {}", way.width.as_str()),
            Api::Rest => "rest".to_owned(),
        };
        let mut asked = vec![shown(ways.now())];
        for error in errors {
            match ways.after(error) {
                Ok(()) => asked.push(shown(ways.now())),
                Err(Stopped::NeitherApi { .. }) => return asked.join(", ") + ", neither",
                Err(_) => return asked.join(", ") + ", *",
            }
        }
        asked.join(", ")
    }

    #[test]
    fn fewer_fields_are_remembered_for_a_week() {
        use time::macros::datetime;
        let at = datetime!(2026-11-22 12:00 UTC);
        let check = |wide, stream, later: Duration, first: Width, again: bool| {
            let reading = inventory::Reading { api: ApiChoice::Graphql, wide, at };
            let known = Known::of(reading, stream, at + later);
            let way = |width| Way { api: Api::Graphql, width };
            let what = format!("wide {wide}, {stream}, {later} later");
            assert_eq!(known.first(), way(first), "{what}");
            // The same answer as before is kept only where it was asked for anew.
            assert_eq!(known.is_news(known.way), again, "{what}");
        };
        let (day, second) = (Duration::DAY, Duration::SECOND);
        check(false, Stream::Assets, Duration::ZERO, Width::Narrow, false);
        check(false, Stream::Assets, 7 * day - second, Width::Narrow, false);
        check(false, Stream::Assets, 7 * day, Width::Wide, true);
        check(false, Stream::Assets, -second, Width::Wide, true);
        check(false, Stream::Events, 7 * day, Width::Wide, false);
        check(true, Stream::Assets, 365 * day, Width::Wide, false);
    }

    #[test]
    fn what_is_asked_after_what() {
        use ApiChoice::{Auto, Graphql, Rest};
        let way = |api, width| Some(Way { api, width });
        let validation = || graphql("GRAPHQL_VALIDATION_FAILED");
        let check = |choice, rest, remembered, errors: Vec<Error>, expected: &str| {
            let what = format!("{choice} {rest} {remembered:?} {errors:?}");
            assert_eq!(asked(choice, rest, remembered, errors), expected, "{what}");
        };
        check(Auto, true, None, vec![], "graphql wide");
        check(Auto, true, None, vec![HTML()], "graphql wide, rest");
        check(Auto, true, None, vec![unsupported(), unsupported()], "graphql wide, rest, neither");
        check(Auto, true, None, vec![validation()], "graphql wide, graphql narrow");
        check(Auto, true, None, vec![graphql("BAD_USER_INPUT"), validation()], "graphql wide, graphql narrow, rest");
        check(Auto, true, None, vec![graphql("INTERNAL_SERVER_ERROR")], "graphql wide, *");
        check(Auto, true, None, vec![Error::Truncated], "graphql wide, *");
        // The certificate is refused, whatever is asked for.
        let alert = || Error::Refused(Refusal::Alert(rustls::AlertDescription::UnknownCA));
        check(Auto, true, None, vec![alert()], "graphql wide, *");
        // What is there over GraphQL only.
        check(Auto, false, None, vec![HTML()], "graphql wide, *");
        check(Auto, false, way(Api::Rest, Width::Wide), vec![HTML()], "graphql wide, *");
        check(Auto, false, None, vec![validation(), validation()], "graphql wide, graphql narrow, *");
        // What was asked for and nothing else.
        check(Graphql, true, None, vec![HTML()], "graphql wide, *");
        check(Graphql, true, way(Api::Rest, Width::Wide), vec![HTML()], "graphql wide, *");
        check(Graphql, true, None, vec![validation(), HTML()], "graphql wide, graphql narrow, *");
        check(Rest, true, None, vec![unsupported()], "rest, *");
        check(Rest, true, way(Api::Graphql, Width::Wide), vec![validation()], "rest, *");
        // What answered last time, and the rest anew where it answers no more.
        check(Auto, true, way(Api::Rest, Width::Wide), vec![unsupported()], "rest, graphql wide");
        check(
            Auto,
            true,
            way(Api::Rest, Width::Wide),
            vec![HTML(), validation()],
            "rest, graphql wide, graphql narrow",
        );
        check(Auto, true, way(Api::Rest, Width::Wide), vec![HTML(), HTML()], "rest, graphql wide, neither");
        check(Auto, true, way(Api::Graphql, Width::Narrow), vec![], "graphql narrow");
        check(Auto, true, way(Api::Graphql, Width::Narrow), vec![validation()], "graphql narrow, graphql wide");
        check(
            Auto,
            true,
            way(Api::Graphql, Width::Narrow),
            vec![validation(), validation()],
            "graphql narrow, graphql wide, rest",
        );
    }
}
