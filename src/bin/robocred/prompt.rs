//! Questions to the person at the terminal.
//!
//! Asked on standard error, answered on the terminal, and only where
//! [`Invocation::interactive`] says that a person is there; otherwise the
//! answer is an error that says which flag to use instead. Nothing typed at a
//! hidden prompt is shown or kept elsewhere.

#[cfg(unix)]
mod hidden;

use std::io::{self, BufRead, Write};

use robocred::{
    clock::rfc3339,
    site::SiteName,
    x509::{Facts, Fingerprint, SpkiPin},
};
use zeroize::Zeroizing;

use crate::{
    error::{CommandError, Kind},
    invocation::Invocation,
    output::clean,
    token::{LARGEST, Words},
};

/// Asks for a secret of `site` without showing it.
pub fn secret(invocation: &Invocation, site: &SiteName, words: &Words) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let (name, flags) = (words.name, words.flags.join(" or "));
    if !invocation.interactive {
        let kept = words.kept_by.map(|command| format!(", or keep it with `robocred {command} {site}`"));
        return Err(CommandError::new(Kind::Person, format!("{} for {site} is needed", words.one))
            .hint(format!("give it with {flags}{}", kept.unwrap_or_default())));
    }
    let question = format!("{}{} for {site} (not shown): ", name[..1].to_uppercase(), &name[1..]);
    hidden::line(&question, LARGEST).map_err(|error| {
        CommandError::new(Kind::Failed, format!("no {name} was typed"))
            .because(&error)
            .hint(format!("run the command again, or give it with {flags}"))
    })
}

#[cfg(not(unix))]
mod hidden {
    use super::{Zeroizing, io};

    /// Asks and reads one line that is not shown.
    pub fn line(question: &str, _longest: usize) -> io::Result<Zeroizing<Vec<u8>>> {
        rpassword::prompt_password(question).map(|typed| Zeroizing::new(typed.into_bytes()))
    }
}

/// Asks whether the key that the server of `site` presented is the right one.
pub fn confirm_server(invocation: &Invocation, site: &SiteName, facts: &Facts) -> Result<bool, CommandError> {
    let presented = facts.spki_pin;
    if !invocation.interactive {
        return Err(CommandError::new(
            Kind::Untrusted,
            format!("the server of {site} is not known; it presented {presented}"),
        )
        .hint(format!("compare it with the appliance's own certificate, then use --pin '{presented}'")));
    }
    let mut tell = io::stderr();
    let shown = writeln!(
        tell,
        "The server of {site} is not known. It presents\n  {}, valid until {}\n  certificate (SHA-256)  {}\n  \
         public key             {presented}\nCompare this with the appliance's own certificate, not over the same network.",
        clean::line(&facts.subject),
        rfc3339(facts.validity.not_after),
        colons(facts.fingerprint)
    );
    shown.and_then(|()| ask_for_pin(presented, &mut io::stdin().lock(), &mut tell)).map_err(|error| terminal(&error))
}

/// Asks whether to go on; with --non-interactive the command line itself is the yes.
pub fn confirm(invocation: &Invocation, question: &str) -> Result<bool, CommandError> {
    if invocation.unasked {
        return Ok(true);
    }
    if !invocation.interactive {
        return Err(CommandError::new(Kind::Person, format!("a yes is needed, and nobody is there: {question}"))
            .hint("run it on a terminal, or say with --non-interactive that it may act without asking"));
    }
    ask(question, &mut io::stdin().lock(), &mut io::stderr()).map_err(|error| terminal(&error))
}

/// The end of input is a no: nobody is there who agreed.
fn ask(question: &str, answers: &mut impl BufRead, tell: &mut impl Write) -> io::Result<bool> {
    loop {
        write!(tell, "{} (yes or no) ", clean::line(question))?;
        tell.flush()?;
        match answer(answers)?.as_deref() {
            None | Some("no" | "n") => return Ok(false),
            Some("yes") => return Ok(true),
            Some(_) => writeln!(tell, "Please type yes or no.")?,
        }
    }
}

/// A fingerprint as browsers and appliances show it.
fn colons(fingerprint: Fingerprint) -> String {
    let octets: Vec<_> = fingerprint.as_bytes().iter().map(|octet| format!("{octet:02X}")).collect();
    octets.join(":")
}

fn terminal(error: &io::Error) -> CommandError {
    CommandError::new(Kind::Failed, "cannot ask on the terminal").because(error)
}

/// A typed pin says more than a yes, and must then be the presented one. The end
/// of input is a no: nobody is there who agreed.
fn ask_for_pin(presented: SpkiPin, answers: &mut impl BufRead, tell: &mut impl Write) -> io::Result<bool> {
    loop {
        write!(tell, "Is it the right one? (yes, no, or the pin that the appliance shows) ")?;
        tell.flush()?;
        match answer(answers)?.as_deref() {
            None | Some("no" | "n") => return Ok(false),
            Some("yes") => return Ok(true),
            Some(typed) => {
                let pin = typed.parse::<SpkiPin>().or_else(|_| format!("sha256//{typed}").parse());
                match pin {
                    Ok(pin) if pin == presented => return Ok(true),
                    Ok(_) => {
                        writeln!(tell, "That is another key.")?;
                        return Ok(false);
                    }
                    Err(_) => writeln!(tell, "Please type yes, no, or the whole pin.")?,
                }
            }
        }
    }
}

/// One line without the white space around it; `None` at the end of input.
fn answer(answers: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    let read = answers.read_line(&mut line)?;
    Ok((read > 0).then(|| line.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use robocred::x509::{Certificate, KeyAlgorithm, PrivateKey, Profile, Validity};

    use super::*;
    use crate::{
        cli::{Color, LogFormat},
        opened,
        output::Output,
        token::{API_KEY, TOKEN},
    };

    #[test]
    fn nobody_is_asked_where_nobody_is() {
        let alone = Invocation {
            config: None,
            state_dir: None,
            store: None,
            output: Output::new(false, false, Color::Never, LogFormat::Text),
            speech: Vec::new(),
            interactive: false,
            unasked: false,
        };
        let site = "plant-a".parse().unwrap();
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let validity = Validity::of_days(opened::now(), 1).unwrap();
        let server = Certificate::self_signed(&key, "appliance", validity, Profile::Client).unwrap();
        let pin = server.spki_pin();
        let check = |error: CommandError, kind, hint: &str| {
            assert_eq!(error.kind(), kind);
            assert!(error.for_people(None).contains(hint), "{error:?}");
        };
        check(confirm(&alone, "Sure?").unwrap_err(), Kind::Person, "--non-interactive");
        assert!(confirm(&Invocation { unasked: true, ..alone.clone() }, "Sure?").unwrap());
        check(secret(&alone, &site, &TOKEN).unwrap_err(), Kind::Person, "`robocred token set plant-a`");
        check(secret(&alone, &site, &API_KEY).unwrap_err(), Kind::Person, "--key-file or --key-stdin");
        check(confirm_server(&alone, &site, server.facts()).unwrap_err(), Kind::Untrusted, &format!("--pin '{pin}'"));
    }

    #[test]
    fn only_a_yes_goes_on() {
        for (typed, expected) in [("yes\n", true), ("no\n", false), ("n\n", false), ("y\nyes\n", true), ("", false)] {
            assert_eq!(ask("Sure?", &mut typed.as_bytes(), &mut Vec::new()).unwrap(), expected, "{typed:?}");
        }
    }

    #[test]
    fn a_typed_pin_must_be_the_presented_one() {
        let presented = SpkiPin::of_spki(b"the server's");
        let other = SpkiPin::of_spki(b"another");
        let check = |typed: &str, expected: bool| {
            let typed = format!("{typed}\n");
            let answer = ask_for_pin(presented, &mut typed.as_bytes(), &mut Vec::new()).unwrap();
            assert_eq!(answer, expected, "{typed:?}");
        };
        check("yes", true);
        check("no", false);
        check(&presented.to_string(), true);
        check(&presented.to_base64(), true);
        check(&other.to_string(), false);
        // Neither an answer nor a pin: asked again, then the input ends.
        check("y", false);
        check("", false);
    }
}
