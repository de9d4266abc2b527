//! The GraphQL documents this program can send: all of them.

use super::pages::{List, Width};

/// A compiled-in GraphQL document. None is a mutation (a test reads them all).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Query {
    /// One asset's id: what a probe asks for.
    FirstAsset,
    /// The appliances that an Enterprise Manager is paired with.
    PairedIcps,
    /// A page of a list.
    Page {
        /// Of which.
        list: List,
        /// How much of each record.
        width: Width,
        /// The free-form details too.
        details: bool,
    },
}

/// A page of one list: the way on first, so that it can be read before the records are.
macro_rules! page {
    ($list:literal, $filter:literal, $sort:literal, $($fields:expr),+) => {
        concat!(
            "query Page($first: Int, $after: String, $filter: ", $filter, ", $sort: [", $sort, "!]!) {\n  ",
            $list, "(first: $first, after: $after, filter: $filter, sort: $sort) {\n",
            "    pageInfo { endCursor hasNextPage }\n    totalCount\n    nodes {\n", $("      ", $fields, "\n"),+, "    }\n  }\n}"
        )
    };
}

macro_rules! assets {
    ($($fields:expr),+) => { page!("assets", "AssetExpressionsParams", "AssetSortParams", $($fields),+) };
}
macro_rules! plugins {
    ($($fields:expr),+) => { page!("plugins", "PluginExpressionsParams", "PluginSortParams", $($fields),+) };
}
macro_rules! events {
    ($($fields:expr),+) => { page!("events", "EventsExpressionsParams", "EventsSortParams", $($fields),+) };
}
macro_rules! findings {
    ($($fields:expr),+) => { page!("findings", "FindingsObjExpressionsParams", "FindingsObjSortParams", $($fields),+) };
}

/// What every recording of an asset has, but for its risk.
#[rustfmt::skip]
macro_rules! asset { () => {
"id name type superType category criticality purdueLevel hidden
      vendor family model firmwareVersion serial os location description slot
      runStatus runStatusTime firstSeen lastSeen lastUpdate
      backplane { id name size }
      ips { nodes } macs { nodes }
      segments { nodes { id name type key systemName vlan description assetType subnet } }
      customField1 customField2 customField3 customField4 customField5
      customField6 customField7 customField8 customField9 customField10"
}; }

/// What newer releases have besides.
#[rustfmt::skip]
macro_rules! asset_newer { () => {
"extendedRunStatus lastHit lastSnapshot lifecycleStatus hardwareState discontinuedDate replacementProduct
      directIps { nodes } directMacs { nodes } subnets { nodes } tags { nodes }"
}; }

macro_rules! risk {
    ($($more:literal)?) => { concat!("risk { totalRisk unresolvedEvents ", $($more, " ",)? "}") };
}

macro_rules! plugin {
    () => {
        "id name source family severity vprScore comment owner totalAffectedAssets"
    };
}

/// The text of a plugin, in the fields that all releases have and `$more`.
#[rustfmt::skip]
macro_rules! plugin_details { ($more:literal) => { concat!(
"details { description solution seeAlso pluginType pluginPubDate pluginModDate vulnPubDate vulnModDate
        refs { name value url } cvssVector cvssV3Vector cvssV3TemporalVector
        cvssBaseScore cvssV3BaseScore cvssTemporalScore cvssV3TemporalScore ", $more, " }"
) }; }

/// What older recordings of a plugin's details have besides.
macro_rules! plugin_older {
    () => {
        plugin_details!("cpe cvssImpactScore")
    };
}

/// What newer releases have instead.
#[rustfmt::skip]
macro_rules! plugin_newer { () => { plugin_details!(
"cpes cves cvssTemporalVector stigSeverity scriptVersion
        exploitAvailable exploitabilityEase exploitedByMalware exploitFrameworkCore exploitFrameworkCanvas
        exploitFrameworkD2Elliot exploitFrameworkExploithub exploitFrameworkMetasploit canvasPackage exploithubSku
        metasploitName d2ElliotName threatRecency threatIntensity exploitCodeMaturity ageOfVuln productCoverage"
) }; }

#[rustfmt::skip]
macro_rules! event { () => {
"id logId hitId type category severity time resolved resolvedTs resolvedUser comment completion continuous
      srcIP dstIP srcMac dstMac protocol protocolRaw protocolNiceName port
      eventType { type group description category }
      policy { id title level key }
      srcNames { nodes } dstNames { nodes }
      srcAssets { nodes { id name } } dstAssets { nodes { id name } }"
}; }

macro_rules! event_more {
    () => {
        "hasDetails payloadSize srcInterface { id mac family } dstInterface { id mac family }"
    };
}

macro_rules! finding {
    () => {
        "id status firstHit lastHit fixedAt port protocol svcName output"
    };
}

macro_rules! finding_of {
    () => {
        "asset { id name type } plugin { id name severity }"
    };
}

/// The device and the plugin of a finding, with `$more` of the plugin.
#[rustfmt::skip]
macro_rules! finding_of_more { ($($more:expr)?) => { concat!(
"asset { id name type criticality location purdueLevel }
      plugin { id name severity family source vprScore comment owner ", $($more, " ",)? "}"
) }; }

impl Query {
    /// The document.
    ///
    /// One unknown field fails a whole query, so the narrow documents ask only
    /// for what recorded replies hold. `osDetails` and an asset's `plugins`
    /// are in none of them because they can exhaust an appliance, the
    /// free-form `details` only where asked for because they are more than metadata.
    #[must_use]
    pub const fn document(self) -> &'static str {
        use Width::{Narrow, Wide};
        match self {
            Self::FirstAsset => "query FirstAsset { assets(first: 1) { nodes { id } } }",
            Self::PairedIcps => {
                "query PairedIcps($first: Int, $after: String) {
  emPairedIcps(first: $first, after: $after) {
    pageInfo { endCursor hasNextPage }
    totalCount
    nodes { status site { machineId name host } version { version } }
  }
}"
            }
            Self::Page { list, width, details } => match (list, width, details) {
                (List::Assets, Narrow, false) => assets!(asset!(), risk!()),
                (List::Assets, Narrow, true) => assets!(asset!(), risk!(), "details"),
                (List::Assets, Wide, false) => assets!(asset!(), risk!("pluginCount"), asset_newer!()),
                (List::Assets, Wide, true) => assets!(asset!(), risk!("pluginCount"), asset_newer!(), "details"),
                (List::AssetIds, ..) => assets!("id"),
                (List::Plugins, _, false) => plugins!(plugin!()),
                (List::Plugins, Narrow, true) => plugins!(plugin!(), plugin_older!()),
                (List::Plugins, Wide, true) => plugins!(plugin!(), plugin_newer!()),
                (List::Events, Narrow, _) => events!(event!()),
                (List::Events, Wide, _) => events!(event!(), event_more!()),
                (List::Findings, Narrow, _) => findings!(finding!(), finding_of!()),
                (List::Findings, Wide, false) => findings!(finding!(), finding_of_more!()),
                (List::Findings, Wide, true) => findings!(finding!(), finding_of_more!(plugin_older!())),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the free-form object is asked for, and there is one.
    fn wants_details(query: Query) -> bool {
        match query {
            Query::Page { list: List::Assets | List::Plugins, details, .. }
            | Query::Page { list: List::Findings, width: Width::Wide, details } => details,
            _ => false,
        }
    }

    #[test]
    fn every_document_is_one_query() {
        let mut all = vec![Query::FirstAsset, Query::PairedIcps];
        for list in List::ALL {
            for width in [Width::Wide, Width::Narrow] {
                all.extend([false, true].map(|details| Query::Page { list, width, details }));
            }
        }
        for query in all {
            let document = query.document();
            let words: Vec<&str> =
                document.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
            assert_eq!(words[0], "query", "{query:?}");
            // One operation: everything is inside the first pair of outermost braces.
            let mut depth = 0_i32;
            let mut operations = 0;
            for c in document.chars() {
                match c {
                    '{' => {
                        operations += i32::from(depth == 0);
                        depth += 1;
                    }
                    '}' => depth -= 1,
                    _ => {}
                }
            }
            assert_eq!((operations, depth), (1, 0), "{query:?}");
            assert!(!words.contains(&"mutation") && !words.contains(&"subscription"), "{query:?}");
            assert!(!document.contains(['"', '#']), "{query:?}: text that could hide an operation");
            for (word, wanted) in [("osDetails", false), ("revisions", false), ("details", wants_details(query))] {
                assert_eq!(words.contains(&word), wanted, "{query:?}: {word}");
            }
            let nested = words.iter().filter(|word| **word == "plugins").count();
            assert_eq!(nested, usize::from(matches!(query, Query::Page { list: List::Plugins, .. })), "{query:?}");
            if matches!(query, Query::Page { .. }) {
                let place = |word| words.iter().position(|found| *found == word);
                assert!(place("pageInfo") < place("totalCount") && place("totalCount") < place("nodes"), "{query:?}");
            }
        }
    }
}
