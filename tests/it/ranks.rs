//! Who may know whom: every `use crate::…` line of the library against one
//! table. The table is the documentation (docs/ARCHITECTURE.md).

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Rank of each top-level module; a module imports only from lower ranks or
/// from its own folder. `simulator` stands aside.
const RANKS: &[(&str, u32)] = &[
    ("clean", 0),
    ("clock", 0),
    ("document", 1),
    ("whole_file", 0),
    ("x509", 0),
    ("renewal", 1),
    ("site", 2),
    ("credential", 3),
    ("config", 4),
    ("secrets", 4),
    ("trust", 4),
    ("appliance", 4),
    ("hook", 4),
    ("inventory", 4),
    ("anchor", 5),
    ("session", 5),
    ("verify", 6),
    ("status", 6),
    ("export", 7),
    ("ingest", 7),
    ("lifecycle", 8),
    ("telling", 8),
    ("watch", 9),
];

/// What `simulator` may import, and nobody but tests and commands imports it.
const SIMULATOR_MAY_USE: &[&str] = &["x509", "clock"];

/// Crates that one place knows, and where that is (invariants 5 and 6).
const CRATE_HOMES: &[(&str, &[&str])] = &[
    ("sqlx", &["src/inventory"]),
    ("hyper", &["src/appliance", "src/simulator", "src/watch/http"]),
    ("clap", &["src/bin"]),
    ("keyring_core", &["src/secrets/keyring.rs"]),
    ("axum", &["src/simulator"]),
    ("async_graphql", &["src/simulator"]),
    ("rcgen", &["src/x509", "src/simulator"]),
    ("toml_edit", &["src/config"]),
    ("rustls_native_certs", &["src/trust"]),
    ("csv", &["src/ingest/sinks"]),
    ("parquet", &["src/ingest/sinks"]),
    ("flate2", &["src/ingest/sinks/compress.rs", "src/appliance/inflate.rs", "src/simulator/replies.rs"]),
    ("zstd", &["src/ingest/sinks/compress.rs"]),
    ("memchr", &["src/ingest"]),
    ("tempfile", &["src/ingest"]),
];

/// Words that may appear only in the named places.
const WORD_HOMES: &[(&str, &[&str])] = &[
    ("danger::", &["src/trust/pinned.rs", "src/trust/observe.rs", "src/simulator/tls.rs"]),
    (".dangerous()", &["src/trust/pinned.rs", "src/trust/observe.rs", "src/simulator/tls.rs"]),
    ("OffsetDateTime::now_utc", &["src/clock.rs"]),
    ("println!", &["src/bin"]),
    ("eprintln!", &["src/bin"]),
    ("std::env::var", &["src/config", "src/bin"]),
    // Compiled with a feature of the tests only.
    ("env::var_os", &["src/config", "src/bin", "src/clock/test_clock.rs"]),
    ("process::exit", &["src/bin"]),
];

fn sources(under: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(under).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn library() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    sources(&root.join("src"), &mut found);
    assert!(found.len() > 20, "the sources were not found");
    found
        .into_iter()
        .filter(|path| !path.ends_with("tests.rs") && !path.iter().any(|part| part == "tests"))
        .map(|path| {
            let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
            let text = fs::read_to_string(&path).unwrap();
            // Unit tests at the foot of a file may reach further.
            let text = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            (name, text)
        })
        .collect()
}

/// `src/x509/key.rs` → `x509`, `src/clock.rs` → `clock`.
fn module_of(file: &str) -> &str {
    let rest = file.strip_prefix("src/").unwrap();
    rest.split('/').next().unwrap().trim_end_matches(".rs")
}

/// The first path segments after `crate::`, also in `use crate::{a::…, b::…}`.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let before = text[..at].lines().last().unwrap_or_default().trim_start();
        if before.starts_with("//") || text[..at].ends_with('$') {
            continue;
        }
        let rest = &text[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 1;
            let mut word = String::new();
            let mut at_start = true;
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => at_start = true,
                    c if at_start && depth == 1 && (c.is_alphanumeric() || c == '_') => word.push(c),
                    _ if !word.is_empty() => {
                        found.push(std::mem::take(&mut word));
                        at_start = false;
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found
}

#[test]
fn modules_import_only_downwards() {
    let rank = |module: &str| RANKS.iter().find(|(name, _)| *name == module).map(|(_, rank)| *rank);
    let mut wrong = Vec::new();
    for (file, text) in library() {
        if file.starts_with("src/bin/") || file == "src/lib.rs" {
            continue;
        }
        let module = module_of(&file);
        for import in imports(&text) {
            let allowed = if import == module {
                true
            } else if module == "simulator" {
                SIMULATOR_MAY_USE.contains(&import.as_str())
            } else {
                match (rank(module), rank(&import)) {
                    (Some(own), Some(other)) => other < own,
                    _ => false,
                }
            };
            if !allowed {
                wrong.push(format!("{file} imports {import}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_crate_is_known_in_one_place() {
    let mut wrong = Vec::new();
    for (file, text) in library() {
        for (name, homes) in CRATE_HOMES {
            let used = text.lines().any(|line| {
                let line = line.trim_start();
                !line.starts_with("//")
                    && (line.contains(&format!("{name}::")) || line.starts_with(&format!("use {name}")))
                    && !line.contains(&format!("_{name}::"))
            });
            if used && !homes.iter().any(|home| file.starts_with(home)) {
                wrong.push(format!("{file} knows {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_word_stands_only_in_its_place() {
    let mut wrong = Vec::new();
    for (file, text) in library() {
        for (word, homes) in WORD_HOMES {
            let used = text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(word));
            if used && !homes.iter().any(|home| file.starts_with(home)) {
                wrong.push(format!("{file} says {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_stay_readable() {
    for (file, _) in library() {
        let lines = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file)).unwrap().lines().count();
        assert!(lines <= 600, "{file} has {lines} lines; split it by subject");
    }
}

/// Invariant 3: the exposing methods are called in few, named places.
#[test]
fn token_and_api_key_are_exposed_in_named_places_only() {
    const MAY: &[&str] = &[
        "src/appliance/token.rs",
        "src/appliance/text.rs",
        "src/appliance/api_key.rs",
        "src/bin/robocred/commands/token.rs",
        "src/bin/robocred/commands/apikey.rs",
    ];
    let mut calls = 0;
    for (file, text) in library() {
        let count = text.matches(".expose_token()").count() + text.matches(".expose_key()").count();
        assert!(count == 0 || MAY.iter().any(|home| file.starts_with(home)), "{file} exposes a token or key");
        calls += count;
    }
    assert!(calls > 0, "the exposing method was renamed and this test looks for nothing");
}

#[test]
fn key_bytes_are_exposed_in_named_places_only() {
    const MAY: &[&str] = &[
        "src/x509/",
        "src/trust/",
        "src/lifecycle/make.rs",
        "src/lifecycle/import.rs",
        "src/export/",
        "src/session",
        "src/simulator/",
    ];
    let mut calls = 0;
    for (file, text) in library() {
        let count = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .filter(|line| line.contains(".expose_der()"))
            .count();
        assert!(count == 0 || MAY.iter().any(|home| file.starts_with(home)), "{file} exposes key bytes");
        calls += count;
    }
    assert!(calls > 0, "the exposing method was renamed and this test looks for nothing");
}
