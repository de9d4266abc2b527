//! What a hook is told: once, in two forms.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::{Event, said};
use crate::{
    clock::rfc3339,
    credential::{Generation, Record},
    site::{Robot, RobotId, Site},
    x509::Certificate,
};

/// The variables that every hook finds beside its facts. There is no `HOME`: it
/// would be another one by hand than by schedule. (`ssh` does not look at it.)
pub const ENVIRONMENT: [(&str, &str); 2] = [("LANG", "C.UTF-8"), ("PATH", "/usr/local/bin:/usr/bin:/bin")];

/// The version of the document; raised when a fact changes its meaning or goes away.
const SCHEMA: u32 = 1;

/// The characters of a message that are told.
const MESSAGE_CHARS: usize = 1024;

/// What a hook is told of one robot. The names of the fields are the names of
/// the facts; docs/HOOKS.md says what each means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Facts {
    event: Event,
    test: bool,
    robot: String,
    site: String,
    name: String,
    url: String,
    generation: Option<u32>,
    registered_name: Option<String>,
    role: Option<&'static str>,
    fingerprint_sha256: Option<String>,
    not_before: Option<String>,
    not_after: Option<String>,
    due_at: Option<String>,
    previous_generation: Option<u32>,
    export_dir: Option<String>,
    key_file: Option<String>,
    certificate_file: Option<String>,
    combined_file: Option<String>,
    code: Option<String>,
    hint: Option<String>,
    message: Option<String>,
}

impl Facts {
    /// The facts of a robot of `site` and, if it has one, of its credential.
    #[must_use]
    pub fn new(event: Event, site: &Site, robot: &Robot, record: Option<&Record>) -> Self {
        let certificate = record.and_then(|record| record.certificate.as_ref());
        let validity = certificate.map(Certificate::validity);
        let due_at = |certificate: &Certificate| {
            rfc3339(robot.renewal.window(certificate.validity(), certificate.fingerprint()).due_at)
        };
        Self {
            event,
            test: false,
            robot: RobotId { site: site.name.clone(), robot: robot.name.clone() }.to_string(),
            site: site.name.to_string(),
            name: robot.name.to_string(),
            url: site.endpoint.to_string(),
            generation: record.map(|record| record.id.generation.number()),
            registered_name: record.map(|record| record.registered_name.to_string()),
            role: record.map(|record| record.role.as_str()),
            fingerprint_sha256: certificate.map(|certificate| certificate.fingerprint().to_string()),
            not_before: validity.map(|validity| rfc3339(validity.not_before)),
            not_after: validity.map(|validity| rfc3339(validity.not_after)),
            due_at: certificate.map(due_at),
            previous_generation: None,
            export_dir: None,
            key_file: None,
            certificate_file: None,
            combined_file: None,
            code: None,
            hint: None,
            message: None,
        }
    }

    /// The same as a test: nothing has happened.
    #[must_use]
    pub fn test(mut self) -> Self {
        self.test = true;
        self
    }

    /// The files handed out: the absolute directory, and the names of key,
    /// certificate and both in one. A path that is not UTF-8 is not told.
    #[must_use]
    pub fn exported(mut self, dir: &Path, [key, certificate, combined]: [&str; 3]) -> Self {
        let told = |path: &Path| path.to_str().map(str::to_owned);
        self.export_dir = told(dir);
        self.key_file = told(&dir.join(key));
        self.certificate_file = told(&dir.join(certificate));
        self.combined_file = told(&dir.join(combined));
        self
    }

    /// The generation that was in use before.
    #[must_use]
    pub fn previous(mut self, generation: Option<Generation>) -> Self {
        self.previous_generation = generation.map(Generation::number);
        self
    }

    /// What happened: a word for programs, what to do, and why; the sentences
    /// are our own, never an appliance's. The message is one line that says whose,
    /// what to do and why, in this order; at most 1,024 characters of it are told.
    #[must_use]
    pub fn because(mut self, code: &str, hint: &str, why: &str) -> Self {
        self.code = Some(said::line(code, MESSAGE_CHARS));
        self.hint = Some(said::line(hint, MESSAGE_CHARS));
        self.message = Some(said::line(&format!("{}: {hint}: {why}", self.robot), MESSAGE_CHARS));
        self
    }

    /// The whole environment of the hook: [`ENVIRONMENT`], and each known fact
    /// under its name in capitals after `ROBOCRED_`. `ROBOCRED_TEST` is 1 or not set.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let mut environment: Vec<_> = ENVIRONMENT.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let Value::Object(facts) = self.to_value() else { return environment };
        for (name, value) in facts {
            let told = match value {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                Value::Bool(true) => "1".to_owned(),
                _ => continue,
            };
            environment.push((format!("ROBOCRED_{}", name.to_uppercase()), told));
        }
        environment
    }

    /// The JSON document on the hook's standard input: one line, `"schema":1`,
    /// every fact under its name, unknown ones null.
    #[must_use]
    pub fn document(&self) -> String {
        let mut document = self.to_value();
        document["schema"] = SCHEMA.into();
        format!("{document}\n")
    }

    fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("text, numbers and booleans under fixed names")
    }
}
