//! Killed at any moment, whatever was acknowledged is there.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use robocred::inventory::audit::verify;

use super::*;

const DIR: &str = "ROBOCRED_TEST_INVENTORY";

/// This test binary as another process that locks a site and commits until it is killed.
pub(super) struct Child {
    process: std::process::Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Child {
    pub(super) fn start(dir: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "inventory::crash::commits_until_killed", "--ignored", "--nocapture"])
            .env(DIR, dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The next entry of the audit that the child was told is durable.
    pub(super) fn acknowledged(&mut self) -> i64 {
        loop {
            let line = self.lines.next().expect("the child ended by itself").unwrap();
            if let Some((_, seq)) = line.split_once("acknowledged ") {
                return seq.parse().unwrap();
            }
        }
    }

    /// Kills it, and reads what it had still said.
    pub(super) fn kill(mut self) -> i64 {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let rest = self.lines.by_ref().map_while(Result::ok);
        let said = rest.filter_map(|line| line.split_once("acknowledged ").and_then(|(_, seq)| seq.parse().ok()));
        said.last().unwrap_or_default()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
#[ignore = "the other process of the tests around it"]
async fn commits_until_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let inventory = open(Path::new(&dir)).await;
    let lock = lock(&inventory, "plant").await;
    let robot = robot("plant/lucidum");
    adopt(&inventory, &lock, &robot).await;
    loop {
        let id = inventory.plan_generation(&lock, &next_of(&robot), NOW).await.unwrap().id;
        for change in way_to(State::Active) {
            inventory.advance(&lock, &id, change, NOW).await.unwrap();
            println!("acknowledged {}", inventory.audit_head().await.unwrap().seq);
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut least = 0;
    for round in 0..6 {
        let mut child = Child::start(dir.path());
        for _ in 0..(5 + 3 * round) {
            least = child.acknowledged();
        }
        // Killed while it works; what it had said until then counts too.
        least = least.max(child.kill());

        let inventory = open(dir.path()).await;
        let entries = inventory.audit().await.unwrap();
        let head = verify(&entries).unwrap();
        assert!(head.seq >= least, "{least} was acknowledged, {} is there", head.seq);
        let records = inventory.all_records().await.unwrap();
        assert!(records.iter().filter(|record| record.state == State::Active).count() <= 1);
        assert!(records.iter().filter(|record| record.state.is_pending()).count() <= 1);
        // A change and its entry are there together or not at all.
        for record in &records {
            let newest =
                entries.iter().rfind(|entry| entry.generation == Some(record.id.generation.number().into())).unwrap();
            let planned = newest.action == "planned" && record.state == State::Planned;
            assert!(planned || newest.detail.contains(&format!("\"to\":\"{}\"", record.state)), "{newest:?}");
        }
        // So that the next round can plan again.
        let lock = lock(&inventory, "plant").await;
        if let Some(pending) = records.iter().find(|record| record.state.is_pending()) {
            let end = match pending.state {
                State::Registered => Change::Promoted { passed: Vec::new() },
                _ => Change::GivenUp { reason: "killed".to_owned() },
            };
            inventory.advance(&lock, &pending.id, end, NOW).await.unwrap();
        }
    }
}
