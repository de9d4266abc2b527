//! What a person types into the form of a connector that reads from the appliance.

use std::path::{Path, PathBuf};

use super::FILES;
use crate::{
    credential::Record,
    site::{Endpoint, TrustPolicy},
};

/// A connector that logs in as a robot, whose form is publicly described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connector {
    /// Lucidum's "Tenable OT" connector
    /// (<https://docs.lucidum.io/lucidum-help-center/latest/public/tenable-ot>).
    Lucidum,
    /// Axonius' "Tenable.OT (Indegy)" adapter
    /// (<https://docs.axonius.com/docs/indegy-industrial-cybersecurity-suite>).
    Axonius,
}

impl Connector {
    /// Every connector that is known.
    pub const ALL: [Self; 2] = [Self::Lucidum, Self::Axonius];

    /// The product's own name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lucidum => "Lucidum",
            Self::Axonius => "Axonius",
        }
    }
}

/// The values of a connector's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// The appliance's address.
    pub url: String,
    /// The robot's name on the appliance.
    pub robot_name: String,
    /// The file to upload as private key.
    pub private_key_file: PathBuf,
    /// The file to upload as certificate.
    pub certificate_file: PathBuf,
    /// Whether the connector can verify the server with what it has.
    pub verify_ssl: bool,
}

impl Form {
    /// The form for the files in `dir`.
    #[must_use]
    pub fn new(endpoint: &Endpoint, trust: Option<&TrustPolicy>, record: &Record, dir: &Path) -> Self {
        Self {
            url: endpoint.to_string(),
            robot_name: record.registered_name.to_string(),
            private_key_file: dir.join(FILES[0]),
            certificate_file: dir.join(FILES[1]),
            // A connector knows the public roots and nothing of our pins.
            verify_ssl: matches!(trust, Some(TrustPolicy::System)),
        }
    }

    /// The fields that have to be filled in, in the order and by the labels of
    /// the connector's own documentation.
    #[must_use]
    pub fn fields(&self, connector: Connector) -> [(&'static str, String); 5] {
        let url = self.url.clone();
        let robot = self.robot_name.clone();
        let key = self.private_key_file.display().to_string();
        let certificate = self.certificate_file.display().to_string();
        let verify = if self.verify_ssl { "on" } else { "off" }.to_owned();
        match connector {
            Connector::Lucidum => [
                ("URL", url),
                ("Robot Name", robot),
                ("Private Key File", key),
                ("Certificate File", certificate),
                ("Verify SSL", verify),
            ],
            Connector::Axonius => [
                ("Indegy Domain", url),
                ("Robot Name", robot),
                ("Certificate file", certificate),
                ("Private key file", key),
                ("Verify SSL", verify),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connector_is_told_in_its_own_words() {
        let form = Form {
            url: "https://10.20.0.5".into(),
            robot_name: "lucidum-g2".into(),
            private_key_file: "/srv/key.pem".into(),
            certificate_file: "/srv/cert.pem".into(),
            verify_ssl: false,
        };
        let said = |connector| form.fields(connector).map(|(label, value)| format!("{label}: {value}"));
        assert_eq!(
            said(Connector::Lucidum),
            [
                "URL: https://10.20.0.5",
                "Robot Name: lucidum-g2",
                "Private Key File: /srv/key.pem",
                "Certificate File: /srv/cert.pem",
                "Verify SSL: off",
            ]
        );
        assert_eq!(
            said(Connector::Axonius),
            [
                "Indegy Domain: https://10.20.0.5",
                "Robot Name: lucidum-g2",
                "Certificate file: /srv/cert.pem",
                "Private key file: /srv/key.pem",
                "Verify SSL: off",
            ]
        );
    }
}
