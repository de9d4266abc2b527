//! The GraphQL documents this program can send: all of them.

/// A compiled-in GraphQL document. None is a mutation (a test reads them all).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Query {
    /// One asset's id: what a probe asks for.
    FirstAsset,
    /// A page of assets.
    Assets,
}

impl Query {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::FirstAsset, Self::Assets];

    /// The document.
    ///
    /// One unknown field fails a whole query, so only fields are asked for that
    /// recorded replies hold; `osDetails` and `plugins` are left out because
    /// they can exhaust an appliance, the free-form `details` because it is
    /// more than metadata.
    #[must_use]
    pub const fn document(self) -> &'static str {
        match self {
            Self::FirstAsset => "query FirstAsset { assets(first: 1) { nodes { id } } }",
            Self::Assets => {
                "query Assets($first: Int, $after: String, $filter: AssetExpressionsParams, $sort: [AssetSortParams!]!) {
  assets(first: $first, after: $after, filter: $filter, sort: $sort) {
    pageInfo { endCursor hasNextPage }
    totalCount
    nodes {
      id name type superType category criticality purdueLevel hidden
      vendor family model firmwareVersion serial os location description slot
      runStatus runStatusTime firstSeen lastSeen lastUpdate
      risk { totalRisk unresolvedEvents }
      backplane { id name size }
      ips { nodes } macs { nodes }
      segments { nodes { id name type key systemName vlan description assetType subnet } }
      customField1 customField2 customField3 customField4 customField5
      customField6 customField7 customField8 customField9 customField10
    }
  }
}"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_is_one_query() {
        for query in Query::ALL {
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
        }
    }
}
