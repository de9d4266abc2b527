//! Ingest over real TLS: every device once, and nothing that looks whole and is not.

mod command;
mod events;
mod failures;
mod files;
mod findings;
mod hostile;
mod recorded;
mod same_as_pytenable;
mod since;
mod sinks;
mod walk;

use std::{
    cell::RefCell,
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use robocred::{
    appliance::{Authority, NewRobot as Registering, Outcome, SupportToken},
    clock::{Clock as _, FixedClock, SystemClock},
    credential::{Control, Record, SecretRef},
    ingest::{Api, Destination, Error, PAGE_SIZE, Progress, Request, Run, ingest},
    inventory::{Change, Inventory, NewGeneration, NewRobot, Origin},
    secrets::{MemoryStore, Secrets},
    session::Session,
    simulator::{self, Behaviours, Fault, FaultKind, Options, Simulator},
    site::{ApiChoice, Registrar, RobotId, Role, Site, Stream, TrustPolicy},
    x509::{Certificate, KeyAlgorithm, PrivateKey, Profile, Validity},
};
use serde_json::Value as Json;
use time::{Duration, OffsetDateTime, macros::datetime};

const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);
const API_KEY: &str = "a-simulated-api-key";
const BOTH: [Api; 2] = [Api::Graphql, Api::Rest];

fn path_of(api: Api) -> &'static str {
    match api {
        Api::Graphql => "/graphql",
        Api::Rest => "/v1/assets",
    }
}

/// What was written, readable afterwards.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// An appliance, and a robot that is registered on it.
struct Plant {
    simulator: Simulator,
    site: Site,
    inventory: Inventory,
    secrets: Secrets,
    record: Record,
    folder: tempfile::TempDir,
}

impl Plant {
    async fn with(devices: usize, behaviours: Behaviours) -> Self {
        let api_key = Some(API_KEY.to_owned());
        Self::started(Options { devices, behaviours, api_key, ..Options::default() }).await
    }

    async fn started(options: Options) -> Self {
        Self::years_away(options, Duration::ZERO).await
    }

    /// An appliance whose clock is ahead of ours, and a robot that its clock finds valid.
    async fn years_away(options: Options, ahead: Duration) -> Self {
        let token = SupportToken::parse(options.token.clone().into_bytes().into()).unwrap();
        let simulator = simulator::start(options).await.unwrap();
        simulator.set_clock_ahead(ahead.whole_seconds());
        let id: RobotId = "plant/reader".parse().unwrap();
        let site = Site {
            name: id.site.clone(),
            endpoint: simulator.url().parse().unwrap(),
            trust: Some(TrustPolicy::Pins(vec![simulator.pin()])),
            registrar: Registrar::Token,
            proxy: None,
            em: None,
            robots: vec![],
        };
        let folder = tempfile::tempdir().unwrap();
        let inventory = Inventory::open(&folder.path().join("state"), "tester", NOW).await.unwrap();
        let secrets = Secrets::new(MemoryStore::default());

        let lock = inventory.lock_site(&id.site, None, NOW).await.unwrap();
        let new = NewRobot {
            id: id.clone(),
            base_name: id.robot.clone(),
            role: Role::Reader,
            endpoint: site.endpoint.clone(),
            origin: Origin::Provisioned,
        };
        inventory.adopt_robot(&lock, &new, NOW).await.unwrap();
        let new = NewGeneration {
            robot: id,
            role: Role::Reader,
            key_algorithm: KeyAlgorithm::EcdsaP256,
            profile: Profile::Client,
            forced: false,
        };
        let planned = inventory.plan_generation(&lock, &new, NOW).await.unwrap();
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let validity = Validity::of_days(SystemClock.now() + ahead, 30).unwrap();
        let certificate = Certificate::self_signed(&key, "reader", validity, Profile::Client).unwrap();
        secrets.put(&planned.secret, "test", key.expose_der()).await.unwrap();
        let session = Session::open(&site, &inventory, &secrets, &SystemClock).unwrap();
        let robot = Registering { name: &planned.registered_name, role: Role::Reader, certificate: &certificate };
        let outcome = session.robots_api(None).unwrap().register(Authority::Token(&token), &robot).await;
        assert!(matches!(outcome, Outcome::Answered(_)), "{outcome:?}");
        let changes = [
            Change::KeyStored { certificate },
            Change::SendBegun { control: Control::Refused },
            Change::Accepted { remote_id: None },
            Change::Promoted { passed: Vec::new() },
        ];
        for change in changes {
            inventory.advance(&lock, &planned.id, change, NOW).await.unwrap();
        }
        let record = inventory.records(&planned.id.robot).await.unwrap().remove(0);
        Self { simulator, site, inventory, secrets, record, folder }
    }

    async fn of(devices: usize) -> Self {
        Self::with(devices, Behaviours::default()).await
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("data")
    }

    fn request(&self, api: impl Into<Option<Api>>) -> Request {
        Request {
            api: match api.into() {
                None => ApiChoice::Auto,
                Some(Api::Graphql) => ApiChoice::Graphql,
                Some(Api::Rest) => ApiChoice::Rest,
            },
            include_hidden: true,
            ..Request::of(self.record.clone(), Destination::Dir(self.dir()))
        }
    }

    async fn ingest(&self, request: &Request) -> Result<Run, Error> {
        self.ingest_into(request, Written::default()).await
    }

    async fn ingest_into(&self, request: &Request, out: impl std::io::Write + Send + 'static) -> Result<Run, Error> {
        self.ingest_at(NOW, request, out).await
    }

    /// As [`Self::ingest_into`], by a clock of ours that shows `now`.
    async fn ingest_at(
        &self,
        now: OffsetDateTime,
        request: &Request,
        out: impl std::io::Write + Send + 'static,
    ) -> Result<Run, Error> {
        let clock = FixedClock(now);
        let session = Session::open(&self.site, &self.inventory, &self.secrets, &clock).unwrap();
        ingest(&session, request, Box::new(out), &|_| ()).await
    }

    /// Keeps the appliance's API key for the site.
    async fn keep_api_key(&self) {
        let slot = SecretRef::api_key(self.inventory.store_id(), &self.site.name);
        self.secrets.put(&slot, "test", API_KEY.as_bytes()).await.unwrap();
        let lock = self.inventory.lock_site(&self.site.name, None, NOW).await.unwrap();
        self.inventory.set_api_key(&lock, None, NOW).await.unwrap();
    }

    /// Replies with this to the `nth` request from now on.
    fn answer(&self, api: Api, nth: usize, content_type: &'static str, body: &str) {
        let kind = FaultKind::Answer { status: 200, content_type, body: body.as_bytes().to_vec() };
        self.simulator.inject(Fault { path: Some(path_of(api).to_owned()), nth, kind });
    }

    /// How many requests for data the appliance has seen, all of them by our robot.
    fn asked(&self, api: Api) -> usize {
        let requests = self.simulator.requests();
        let reads = requests.iter().filter(|request| request.path == path_of(api));
        reads.inspect(|request| assert_eq!(request.authenticated_as.as_deref(), Some("robot:reader"))).count()
    }

    #[track_caller]
    fn assert_nothing_left(&self) {
        assert_eq!(names(&self.dir()), [""; 0], "something is left");
    }
}

/// The names in a folder, hidden ones too; none if there is no folder.
fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The records of a file, each a JSON object on a line of its own, and their ids.
fn lines(text: &str) -> Vec<Json> {
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ids(records: &[Json]) -> HashSet<String> {
    records.iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect()
}

fn manifest(run: &Run) -> Json {
    serde_json::from_slice(&fs::read(run.manifest.as_ref().unwrap()).unwrap()).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    robocred::x509::Fingerprint::of(bytes).to_string()
}

/// A page of GraphQL as the appliance might send it.
fn graphql_page(nodes: &str, info: &str, total: u64) -> String {
    format!(r#"{{"data":{{"assets":{{"pageInfo":{info},"totalCount":{total},"nodes":[{nodes}]}}}}}}"#)
}

#[tokio::test]
async fn every_device_is_read_once_by_both_interfaces() {
    for devices in [0, 1, 1000, 2500] {
        let plant = Plant::of(devices).await;
        let visible = plant.simulator.visible_devices();
        assert!(devices < 1000 || visible < devices, "nothing is hidden and this shows nothing");
        let mut seen = Vec::new();
        for (api, hidden) in BOTH.into_iter().flat_map(|api| [(api, true), (api, false)]) {
            let what = format!("{devices} devices, {api}, hidden {hidden}");
            let expected = if hidden { devices } else { visible };
            let request = Request { include_hidden: hidden, ..plant.request(api) };
            let (before, connected) = (plant.asked(api), plant.simulator.connections());
            let run = plant.ingest(&request).await.unwrap();
            let asked = plant.asked(api) - before;

            assert_eq!(run.incomplete, None, "{what}");
            assert_eq!((run.api, run.records, run.duplicates), (api, expected as u64, 0), "{what}");
            let pages = expected.div_ceil(PAGE_SIZE as usize);
            match api {
                Api::Graphql => {
                    assert_eq!(run.total_reported, Some(expected as u64), "{what}");
                    assert_eq!((run.pages, asked), (pages.max(1) as u64, pages.max(1)), "{what}");
                }
                Api::Rest => {
                    assert_eq!(run.total_reported, None, "{what}");
                    // The empty page that ends it, and a second look at each, or at nothing. Behind a page that
                    // is not full, the next one is expected too far on, and asked for again.
                    let too_far = usize::from(!expected.is_multiple_of(PAGE_SIZE as usize));
                    let extra = 1 + too_far + pages.max(1);
                    assert_eq!((run.pages, asked), (pages as u64 + 1, pages + extra), "{what}");
                }
            }
            assert_eq!(plant.simulator.connections() - connected, 1, "{what}");

            let text = fs::read_to_string(run.path.as_ref().unwrap()).unwrap();
            let records = lines(&text);
            let ids = ids(&records);
            assert_eq!((records.len(), ids.len()), (expected, expected), "{what}");
            assert!(hidden || records.iter().all(|record| record["hidden"] == false), "{what}");
            assert_eq!((run.written, run.sha256), (text.len() as u64, sha256(text.as_bytes())), "{what}");
            assert!(run.bytes > run.written / 50, "{what}: {} bytes of replies", run.bytes);
            seen.push(ids);
        }
        assert_eq!((&seen[0], &seen[1]), (&seen[2], &seen[3]), "the interfaces differ");
        assert!(names(&plant.dir()).iter().all(|name| !name.starts_with('.')), "a part file is left");
    }
}

#[tokio::test]
async fn the_manifest_and_the_inventory_tell_what_was_read() {
    let plant = Plant::of(30).await;
    let run = plant.ingest(&plant.request(None)).await.unwrap();
    let dir = plant.dir();
    assert_eq!(names(&dir), ["assets-20261122T120000Z.manifest.json", "assets-20261122T120000Z.ndjson", "latest"]);
    assert_eq!(run.path, Some(dir.join("assets-20261122T120000Z.ndjson")));
    assert_eq!(run.manifest, Some(dir.join("assets-20261122T120000Z.manifest.json")));

    let fingerprint = plant.record.certificate.as_ref().unwrap().fingerprint();
    assert_eq!(run.fingerprint, Some(fingerprint));
    let mut manifest = manifest(&run);
    assert!(manifest["seconds"].take().as_f64().is_some_and(|seconds| seconds > 0.0));
    let expected = serde_json::json!({
        "schema": 1, "tool": "robocred", "version": env!("CARGO_PKG_VERSION"),
        "robot": "plant/reader", "url": plant.simulator.url(), "generation": 1,
        "credential": "certificate", "fingerprint_sha256": fingerprint.to_string(),
        "stream": "assets", "api": "graphql", "selection": "wide", "with_details": false, "include_hidden": true,
        "since": null, "format": "ndjson", "compress": "none", "page_size": 200, "smallest_page_size": 200,
        "started_at": "2026-11-22T12:00:00Z", "ended_at": "2026-11-22T12:00:00Z", "seconds": null,
        "passes": 1, "pages": 1, "bytes": run.bytes,
        "records": 30, "duplicates": 0, "unchanged": 0, "gone": 0, "replaced": 0, "flagged": 0, "total_reported": 30,
        "complete": true, "reason": null,
        "file": "assets-20261122T120000Z.ndjson", "file_bytes": run.written, "sha256": run.sha256,
    });
    assert_eq!(manifest, expected);

    let runs = plant.inventory.runs().await.unwrap();
    assert_eq!(runs.len(), 1);
    let row = &runs[0];
    assert_eq!((row.stream, row.records, row.complete), (Stream::Assets, 30, true));
    assert_eq!((Some(&row.path), row.completed_at), (run.path.as_ref(), Some(NOW)));
}

#[tokio::test]
async fn servers_that_clip_pages_and_say_little_are_read_to_the_end() {
    use robocred::simulator::EndCursor;
    for end_cursor in [EndCursor::LastRow, EndCursor::Null, EndCursor::Empty] {
        let plant = Plant::with(300, Behaviours { page_limit: Some(70), end_cursor, ..Behaviours::default() }).await;
        for (api, pages) in [(Api::Graphql, 5), (Api::Rest, 6)] {
            let run = plant.ingest(&plant.request(api)).await.unwrap();
            assert_eq!((run.records, run.pages, run.complete()), (300, pages, true), "{api} {end_cursor:?}");
        }
    }
}

#[tokio::test]
async fn progress_is_told_after_each_page() {
    let plant = Plant::of(450).await;
    let clock = FixedClock(NOW);
    let session = Session::open(&plant.site, &plant.inventory, &plant.secrets, &clock).unwrap();
    let told = RefCell::new(Vec::<Progress>::new());
    let progress = |now| told.borrow_mut().push(now);
    let run = ingest(&session, &plant.request(Api::Graphql), Box::new(Vec::new()), &progress).await.unwrap();
    let told = told.into_inner();
    let steps: Vec<_> = told.iter().map(|step| (step.pages, step.records, step.total)).collect();
    assert_eq!(steps, [(1, 200, Some(450)), (2, 400, Some(450)), (3, 450, Some(450))]);
    assert_eq!(told.last().map(|step| step.bytes), Some(run.bytes));
}

#[tokio::test]
async fn records_are_the_servers_own_bytes_each_on_one_line() {
    let plant = Plant::of(1).await;
    let sent = r#"{"id": "b", "risk":{"totalRisk":1.50}, "name":"\u00e9 \"x\"\\", "new":[1e2]}"#;
    let spread = "{\r\n  \"id\": 7,\n  \"name\": \"two words\"\n}";
    plant.answer(Api::Graphql, 1, "application/json", &graphql_page(&format!("{sent},{spread}"), "{}", 2));
    let run = plant.ingest(&plant.request(Api::Graphql)).await.unwrap();
    assert!(run.complete());
    let text = fs::read_to_string(run.path.unwrap()).unwrap();
    assert_eq!(text, format!("{sent}\n{{\"id\":7,\"name\":\"two words\"}}\n"));
}

#[tokio::test]
async fn the_writer_gets_the_data_and_no_file_is_made() {
    let plant = Plant::of(250).await;
    let out = Written::default();
    let request = Request { to: Destination::Stdout, ..plant.request(None) };
    let run = plant.ingest_into(&request, out.clone()).await.unwrap();
    let out = out.bytes();
    assert_eq!((run.path, run.manifest, run.incomplete), (None, None, None));
    assert_eq!(lines(&String::from_utf8(out.clone()).unwrap()).len(), 250);
    assert_eq!((run.written, run.sha256), (out.len() as u64, sha256(&out)));
    assert!(!plant.dir().exists());
    assert_eq!(plant.inventory.runs().await.unwrap()[0].path, Path::new("-"));

    let file = plant.ingest(&plant.request(None)).await.unwrap();
    assert_eq!(fs::read(file.path.unwrap()).unwrap(), out);
}
