//! The status page in a real browser: what is drawn where, and what a hostile
//! text may not do.

mod browser;
mod reports;

use std::{env, fs, path::PathBuf};

use robocred::{
    credential::State,
    inventory::AttentionCode,
    status::{Report, Standing, page},
};
use serde_json::Value;
use time::Duration;

use browser::Browser;
use reports::{NOW, html, left, line, ordinary, raised, record, report};

/// What somebody might try who can choose a text that reaches the page.
const HOSTILE: &str = "</title></style></svg></section>\"'><script>document.title='owned'</script>\
    <img src=x onerror=\"document.title='owned'\"><svg onload=\"document.title='owned'\"><style>*{display:none}</style>\
    <iframe src=\"http://elsewhere.test/\"></iframe><a href=\"javascript:document.title='owned'\">x</a>\
    <form action=\"http://elsewhere.test/\"><base href=\"http://elsewhere.test/\">\
    <link rel=stylesheet href=\"http://elsewhere.test/x.css\"><meta http-equiv=refresh content=\"0;url=http://elsewhere.test/\">\
    \u{202e}drawkcab\u{2066}\0&lt;b&gt; `<b onclick=1>` 🤖 漢字 שלום";

fn hostile() -> Report {
    let mut stuck =
        line("plant/-._x", Standing::NeedsPerson, Some(record("plant/-._x", 1, State::Active, Some((-300, 65)))));
    let long = HOSTILE.repeat(100_000 / HOSTILE.len());
    stuck.attention = vec![
        raised("plant/-._x", AttentionCode::Frozen, HOSTILE, HOSTILE),
        raised("plant/-._x", AttentionCode::HookFailed, &long, &long),
    ];
    stuck.leftovers = vec![left("plant/-._x", 1, HOSTILE), left("plant/-._x", 2, &"W".repeat(100_000))];
    let calm = line("plant/calm", Standing::Active, Some(record("plant/calm", 1, State::Active, Some((-1, 364)))));
    Report { warnings: vec![HOSTILE.to_owned(), long], ..report(vec![stuck, calm]) }
}

/// Where a picture is kept for a person to look at: in `ROBOCRED_TEST_PICTURES`, if that is set.
fn keep(name: &str, picture: &[u8]) {
    if let Some(folder) = env::var_os("ROBOCRED_TEST_PICTURES").map(PathBuf::from) {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("page-{name}.png")), picture).unwrap();
    }
}

#[test]
fn a_hostile_text_is_only_text() {
    let Some(mut browser) = Browser::start() else { return };
    browser.screen(1280, 800, "light");
    for policy in [None, Some(page::policy())] {
        browser.show(&html(&hostile()), policy.as_deref());
        let title = browser.ask("document.title");
        assert_eq!(title, "1 of 2 robots needs a person · robocred");
        // Nothing but what the page is made of: no element of theirs, no attribute that could act.
        let theirs = "document.querySelectorAll('script,img,iframe,form,base,link,object,embed,b b,[style]').length
            + [...document.querySelectorAll('*')].filter(e => [...e.attributes].some(a => a.name.startsWith('on'))).length";
        assert_eq!(browser.ask(theirs), 0);
        assert_eq!(browser.ask("document.querySelectorAll('style').length"), 1);
        assert_eq!(
            browser.ask("[...document.querySelectorAll('a')].every(a => a.getAttribute('href').startsWith('#r'))"),
            true
        );
        let shown = browser.ask("document.querySelector('.wanted bdi').textContent");
        let shown = shown.as_str().unwrap();
        assert!(
            shown.starts_with("</title></style></svg></section>\"'><script>document.title='owned'</script>"),
            "{shown}"
        );
        assert!(shown.ends_with("\u{fffd}drawkcab\u{fffd}\u{fffd}&lt;b&gt; <b onclick=1> 🤖 漢字 שלום"), "{shown}");
        assert_eq!(browser.ask("document.documentElement.scrollWidth <= innerWidth"), true);
        assert_eq!(browser.ask("document.querySelectorAll('.robots li svg').length"), 2);
    }
    assert_eq!((browser.complaints.as_slice(), browser.requests.as_slice()), (&[][..], &[][..]));
}

/// The counterpart of the test above: what the policy stops where escaping is missing, and that this would be seen.
#[test]
fn what_is_not_escaped_would_be_stopped_and_seen() {
    let Some(mut browser) = Browser::start() else { return };
    let raw = "<script>document.title='owned'</script><img src=http://elsewhere.test/x onerror=\"document.title='owned'\">\
        <p id=styled style=\"display:none\">x</p><style>h1{display:none}</style>";
    let page = html(&ordinary()).replace("</header>", &format!("{raw}</header>"));
    browser.show(&page, None);
    let title = browser.ask("document.title");
    assert!(title.as_str().unwrap().ends_with("· robocred"), "{title}");
    assert_eq!(
        browser.ask("['#styled', 'h1'].map(e => getComputedStyle(document.querySelector(e)).display)"),
        serde_json::json!(["block", "block"])
    );
    for stopped in ["inline script", "inline style", "image"] {
        let said =
            browser.complaints.iter().any(|text| text.contains("Content Security Policy") && text.contains(stopped));
        assert!(said, "{stopped}: {:#?}", browser.complaints);
    }
    assert_eq!(browser.requests, Vec::<String>::new());
    // Without the policy all of it acts, so the browser would have done it.
    let (before, after) = page.split_once("<meta http-equiv=\"Content-Security-Policy\"").unwrap();
    let (_, after) = after.split_once('>').unwrap();
    browser.show(&format!("{before}{after}"), None);
    assert_eq!(browser.ask("document.title"), "owned");
    assert_eq!(browser.ask("getComputedStyle(document.querySelector('#styled')).display"), "none");
    assert!(browser.requests.contains(&"http://elsewhere.test/x".to_owned()), "{:?}", browser.requests);
}

#[test]
fn every_robot_stands_there_in_words_and_in_its_place() {
    let Some(mut browser) = Browser::start() else { return };
    browser.screen(1280, 800, "light");
    let report = ordinary();
    browser.show(&html(&report), Some(&page::policy()));
    let text = browser.ask("document.body.innerText");
    let text = text.as_str().unwrap();
    for line in &report.lines {
        assert!(text.contains(line.id.robot.as_str()) && text.contains(line.standing.as_str()), "{}: {text}", line.id);
        let record = line.record.iter().chain(&line.previous);
        assert!(record.map(|record| record.registered_name.as_str()).all(|name| text.contains(name)), "{}", line.id);
        assert!(line.window.is_none_or(|window| text.contains(&window.due_at.date().to_string())), "{}", line.id);
        for raised in &line.attention {
            assert!(text.contains(&raised.message), "{}: {text}", raised.message);
        }
    }
    assert!(report.warnings.iter().all(|warning| text.contains(warning)));
    for words in ["200 days", "84 days left", "358 days left", "ended 3 days ago", "rotate last done 2026-11-23"] {
        assert_eq!(text.contains(words), words != "200 days", "{words}: {text}");
    }

    // Where things are, in pixels of the drawing, by robot.
    let places = browser.ask(
        "[...document.querySelectorAll('.robots li')].map(li => {
            const svg = li.querySelector('svg').getBoundingClientRect();
            const place = e => { const r = e.getBoundingClientRect(); return [r.left - svg.left, r.right - svg.left] };
            const of = what => [...li.querySelectorAll(what)].map(place);
            const now = li.querySelector('use[href=\"#now\"]').getBoundingClientRect();
            return { width: svg.width, now: (now.left + now.right) / 2 - svg.left, life: of('rect.life'), open: of('rect.open'),
                     other: of('rect.other'), hollow: of('rect.hollow'), told: li.querySelector('svg').getAttribute('aria-label') };
        })",
    );
    let number = |value: &Value| value.as_f64().unwrap();
    let width = number(&places[0]["width"]);
    assert!(width > 600.0, "{places}");
    // One scale for all: a day in pixels by the longest bar that is whole, and now in one place.
    let (now, day) = (number(&places[0]["now"]), {
        let life = &places[1]["life"][0];
        (number(&life[1]) - number(&life[0])) / 364.0
    });
    let check = |robot: usize, what: &str, at: usize, from: f64, to: f64| {
        let place = &places[robot][what][at];
        let (left, right) = (number(&place[0]), number(&place[1]));
        let (from, to) = ((now + from * day).max(0.0), (now + to * day).min(width));
        let near = (left - from).abs() < 1.0 && (right - to).abs() < 1.0;
        assert!(near, "{}: {what} at {left}..{right}, wanted {from}..{to}", report.lines[robot].id);
    };
    for robot in 0..report.lines.len() {
        assert!(
            (number(&places[robot]["now"]) - now).abs() < 0.5 && places[robot]["width"] == places[0]["width"],
            "{robot}"
        );
    }
    check(1, "life", 0, -6.0, 358.0);
    check(1, "other", 0, -250.0, 8.0);
    check(0, "other", 0, -270.0, 94.0);
    check(3, "life", 0, -280.0, 84.0);
    check(6, "hollow", 0, 0.0, 364.0);
    check(8, "life", 0, -10_000.0, 10_000.0);
    for (robot, line) in report.lines.iter().enumerate() {
        if let Some(window) = line.window.filter(|_| !places[robot]["open"][0].is_null()) {
            let days = |moment| (moment - NOW) / Duration::DAY;
            check(robot, "open", 0, days(window.due_at), days(window.not_after));
        }
        let told = places[robot]["told"].as_str().unwrap();
        assert!(told.starts_with(&format!("{}: {}", line.id, line.standing.as_str())), "{told}");
    }
    assert_eq!((browser.complaints.as_slice(), browser.requests.as_slice()), (&[][..], &[][..]));
}

#[test]
fn it_can_be_read_on_a_desk_and_on_a_phone_in_light_and_dark() {
    let Some(mut browser) = Browser::start() else { return };
    let policy = page::policy();
    let shown = [("ordinary", ordinary()), ("hostile", hostile()), ("none", report(vec![]))];
    for (name, report) in &shown {
        for (screen, width, height) in [("desk", 1280, 800), ("phone", 360, 780)] {
            for (scheme, ground, now) in
                [("light", "#ffffff", "#7a32c8"), ("dark", "#12161c", "#c39bff"), ("print", "#ffffff", "#7a32c8")]
            {
                let name = format!("{name}-{screen}-{scheme}");
                browser.screen(width, height, scheme);
                browser.show(&html(report), Some(&policy));
                let overflow = browser.ask(
                    "[document.documentElement.scrollWidth - innerWidth,
                      ...[...document.querySelectorAll('body *')].filter(e => !e.closest('.shared')).map(e => e.getBoundingClientRect().right - innerWidth)]
                        .reduce((a, b) => Math.max(a, b))",
                );
                assert!(overflow.as_f64().unwrap() <= 0.0, "{name} is {overflow} pixels too wide");
                let stacked = browser.ask(
                    "[...document.querySelectorAll('.robots li')].map(li => {
                        const [words, bars] = [...li.children].map(e => e.getBoundingClientRect());
                        return words.bottom <= bars.top;
                    })",
                );
                let stacked = stacked.as_array().unwrap();
                assert!(stacked.iter().all(|stacked| *stacked == (screen == "phone")), "{name}: {stacked:?}");
                let top = browser.picture();
                keep(&name, &top);
                if report.lines.is_empty() {
                    continue;
                }
                browser.ask("document.querySelector('.axis').previousElementSibling.scrollIntoView()");
                let robots = browser.picture();
                keep(&format!("{name}-robots"), &robots);
                let colours = browser.colours(&robots);
                assert_eq!(colours[0].0, ground, "{name}");
                assert!(colours.len() > 50, "{name} is nearly blank: {} colours", colours.len());
                let line = colours.iter().find(|(colour, _)| colour == now).map_or(0, |(_, pixels)| *pixels);
                assert!(line > 50, "{name}: {line} pixels of the line of now");
            }
        }
    }
    assert_eq!((browser.complaints.as_slice(), browser.requests.as_slice()), (&[][..], &[][..]));
}
