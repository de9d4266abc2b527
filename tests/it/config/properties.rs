//! What holds for every name and every text.

use proptest::prelude::*;

use super::{edit::Fixture, *};

/// Names as they are allowed; those that end like a generation are left out.
fn name() -> impl Strategy<Value = String> {
    "[A-Za-z0-9._-]{1,56}".prop_filter("allowed", |name| name.parse::<robocred::site::SiteName>().is_ok())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_added_is_loaded_again(names in prop::collection::btree_set((name(), name()), 1..6)) {
        let fixture = Fixture::empty();
        for (site, robot) in &names {
            let mut editor = Editor::open(&fixture.file).unwrap();
            // One address for each site, so that robots may have the same names.
            let url = format!("https://s{}", names.iter().position(|(other, _)| other == site).unwrap());
            editor.add_site(&site.parse().unwrap(), &url.parse().unwrap()).unwrap();
            editor.add_robot(&id(&format!("{site}/{robot}")), Role::Reader).unwrap();
            let saved = editor.save().unwrap();
            prop_assert_eq!(&Config::load_file(&fixture.file).unwrap(), &saved);
        }
        let config = Config::load_file(&fixture.file).unwrap();
        for (site, robot) in &names {
            let id = id(&format!("{site}/{robot}"));
            prop_assert!(config.robot(&id).is_some());
        }
        let robots: usize = config.sites.iter().map(|site| site.robots.len()).sum();
        prop_assert_eq!(robots, names.len());
    }

    #[test]
    fn no_text_makes_loading_panic(text in any::<String>()) {
        drop(Config::from_text(Path::new(FILE), Some(&text)));
    }

    /// Closer to the real thing: the sample with pieces cut out, doubled or replaced.
    #[test]
    fn no_damage_to_a_good_file_makes_loading_or_editing_panic(
        at in 0..SAMPLE.len(), length in 0..60usize, put in "(\\PC|[\\[\\]{}=\"'.,#\n]){0,12}"
    ) {
        let start = SAMPLE.floor_char_boundary(at);
        let end = SAMPLE.floor_char_boundary((at + length).min(SAMPLE.len())).max(start);
        let text = format!("{}{put}{}", &SAMPLE[..start], &SAMPLE[end..]);
        if Config::from_text(Path::new(FILE), Some(&text)).is_ok() {
            let fixture = Fixture::with(&text);
            let robot = id("plant-new/r");
            let mut editor = Editor::open(&fixture.file).unwrap();
            editor.add_site(&robot.site, &"https://new.example".parse().unwrap()).unwrap();
            editor.add_robot(&robot, Role::Reader).unwrap();
            let saved = editor.save().unwrap();
            prop_assert_eq!(Config::load_file(&fixture.file).unwrap(), saved);
        }
    }
}
