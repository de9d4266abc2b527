//! How hooks end, and what they have said by then.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};

use robocred::hook::{self, Error, Event, MOST_OUTPUT};
use tokio::sync::oneshot;

use super::{AMPLE, bare, run, shell};

#[tokio::test]
async fn a_hook_that_ends_well() {
    let check = async |script: &str, said: &str| assert_eq!(run(script).await.unwrap(), said, "{script}");
    check("exit 0", "").await;
    check("cat > /dev/null; echo out; echo err >&2; printf 'no end'", "out\nerr\nno end").await;
    check("exec <&-; echo unread", "unread").await;
    check(r"printf '\033[31mred\033[0m\r\n\tdone\007'", "\u{fffd}[31mred\u{fffd}[0m\n done\u{fffd}").await;
    check("exec >&- 2>&-; true", "").await;
}

#[tokio::test]
async fn a_hook_that_ends_badly() {
    let error = run("echo out; echo err >&2; exit 3").await.unwrap_err();
    assert_eq!(error.to_string(), "the hook /bin/sh ended with exit code 3");
    assert_eq!((error.said(), error.exit_code()), ("out\nerr", Some(3)));
    assert!(matches!(error, Error::Failed { .. }) && error.hint().contains("hook test"), "{error:?}");

    let error = run("echo last words; kill -9 $$").await.unwrap_err();
    assert_eq!(error.to_string(), "the hook /bin/sh was ended by signal 9");
    assert_eq!((error.said(), error.exit_code()), ("last words", None));
    assert!(matches!(error, Error::Killed { signal: 9, .. }), "{error:?}");
}

#[tokio::test]
async fn much_output_is_read_to_its_end_and_its_end_is_kept() {
    let script = "head -c 10000000 /dev/zero | tr '\\0' x; echo; echo the end";
    let said = run(script).await.unwrap();
    assert!(said.starts_with('…') && said.ends_with("x\nthe end"), "{} bytes", said.len());
    // Of what was kept, the last line end is not shown.
    assert_eq!(said.len(), MOST_OUTPUT - 1 + '…'.len_utf8());
}

#[tokio::test]
async fn a_program_that_cannot_be_started() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(place("plain"), "#!/bin/sh\ntouch ran\n").unwrap();
    // Made by another process: a file that this one had just written could not be run while it forks.
    let made = Command::new("/bin/sh")
        .args(["-c", "echo '#!/no/such/shell' > orphan; printf '\\1\\2' > binary; chmod +x orphan binary"])
        .current_dir(dir.path())
        .status()
        .unwrap();
    assert!(made.success());
    let check = async |argv: &[&str], hint: &str| {
        let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
        let error = hook::run(&argv, &bare(Event::Deploy), AMPLE).await.unwrap_err();
        assert!(
            matches!(&error, Error::Start { program, .. } if *program == Path::new(argv.first().map_or("", |first| first)))
        );
        assert!(error.to_string().ends_with("could not be started"), "{error}");
        assert!(error.hint().contains(hint), "{argv:?}: {}", error.hint());
        assert_eq!((error.said(), error.exit_code()), ("", None));
    };
    check(&[&place("missing")], "exists").await;
    check(&[&place("orphan")], "(#!)").await;
    check(&[&place("plain")], "chmod +x").await;
    check(&[&place("binary")], "#!/bin/sh").await;
    check(&["true"], "/absolute/program").await;
    check(&["./plain"], "/absolute/program").await;
    check(&[""], "/absolute/program").await;
    check(&[], "/absolute/program").await;
    assert!(!dir.path().join("ran").exists());
}

/// A pipe with a name: everything that a hook starts inherits its end of it, so
/// that the other end is closed exactly when all of that is gone.
struct Living {
    fifo: PathBuf,
    gone: mpsc::Receiver<()>,
    _dir: tempfile::TempDir,
}

impl Living {
    /// Also the moment at which everything has been started.
    fn watch() -> (Self, oneshot::Receiver<()>) {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let (started, running) = oneshot::channel();
        let (ended, gone) = mpsc::channel();
        let path = fifo.clone();
        thread::spawn(move || {
            let mut fifo = fs::File::open(path).unwrap();
            let _ = fifo.read_exact(&mut [0]);
            let _ = started.send(());
            let _ = fifo.read_to_end(&mut Vec::new());
            let _ = ended.send(());
        });
        (Self { fifo, gone, _dir: dir }, running)
    }

    /// A script that starts a process, which starts another, and goes on with `more`.
    fn script(&self, more: &str) -> Vec<String> {
        let fifo = self.fifo.display();
        shell(&format!("exec 9> '{fifo}'; sh -c 'sleep 1000 & echo >&9; sleep 1000' & echo started $$; {more}"))
    }

    #[track_caller]
    fn assert_gone(&self) {
        self.gone.recv_timeout(Duration::from_secs(20)).expect("a process of the hook is still there");
    }
}

/// Whether there is a process of that number, also one that nobody waited for.
fn there(pid: &str) -> bool {
    Command::new("/bin/sh").args(["-c", &format!("kill -0 {pid} 2> /dev/null")]).status().unwrap().success()
}

#[tokio::test]
async fn a_hook_that_hangs_is_ended_with_everything_it_started() {
    // Enough for each script to come to where it hangs.
    const LIMIT: Duration = Duration::from_secs(2);
    let check = async |more: &str, last: &str| {
        let (living, _) = Living::watch();
        let error = hook::run(&living.script(more), &bare(Event::Deploy), LIMIT).await.unwrap_err();
        living.assert_gone();
        assert_eq!(error.to_string(), "the hook /bin/sh was ended after 2s");
        assert!(matches!(error, Error::TimedOut { limit: LIMIT, .. }), "{error:?}");
        assert!(error.hint().contains("end at once"), "{}", error.hint());
        let said = error.said();
        let (first, rest) = said.split_once('\n').unwrap_or((said, ""));
        assert_eq!(rest, last, "{more}");
        let pid = first.strip_prefix("started ").unwrap();
        assert!(!there(pid), "nobody waited for {pid}");
    };
    tokio::join!(
        check("sleep 1000", ""),
        check("trap 'echo asked to end; exit 0' TERM; sleep 1000 & wait", "asked to end"),
        check("trap '' TERM; sleep 1000", ""),
        check("exec > /dev/null 2>&1; sleep 1000", ""),
        check("sleep 1000 & exec sleep 1000", ""),
    );
}

#[tokio::test]
async fn a_hook_is_ended_when_nobody_waits_for_it_any_more() {
    let (living, running) = Living::watch();
    let (argv, facts) = (living.script("sleep 1000"), bare(Event::Deploy));
    tokio::select! {
        ended = hook::run(&argv, &facts, AMPLE) => panic!("{ended:?}"),
        started = running => started.unwrap(),
    }
    living.assert_gone();
}

#[tokio::test]
async fn what_goes_on_behind_a_hook_neither_holds_us_nor_is_ended() {
    let pid = run("sleep 1000 & echo $!").await.unwrap();
    assert!(there(&pid), "{pid} was ended");
    assert!(Command::new("/bin/sh").args(["-c", &format!("kill {pid}")]).status().unwrap().success());
}
