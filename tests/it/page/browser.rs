//! A real browser without a window, driven over its `DevTools` protocol.
//!
//! It speaks over two pipes, so that there is no port to find. The page is
//! handed to it as the answer to its one request, with the headers that a
//! server would send; whatever else it asks for is refused and kept.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use base64ct::{Base64, Encoding as _};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::judges;

/// Where the page is, for the browser.
const URL: &str = "http://page.test/";

/// How long any one answer may take.
const DEADLINE: Duration = Duration::from_mins(1);

pub struct Browser {
    process: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    last: u64,
    /// What the browser complained about: the policy, errors of a script, messages.
    pub complaints: Vec<String>,
    /// What was asked for besides the page.
    pub requests: Vec<String>,
    /// The page and its policy, where the browser asks for them.
    page: (String, Option<String>),
    _profile: TempDir,
}

impl Browser {
    /// `None`, said loudly, if there is no browser.
    pub fn start() -> Option<Self> {
        if !judges::need("chromium", "chromium") {
            return None;
        }
        let profile = TempDir::new().unwrap();
        // The protocol's pipes are the descriptors 3 and 4, which only a shell can give without unsafe code.
        let mut process = Command::new("sh")
            .arg("-c")
            .arg("exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null")
            .arg(judges::find("chromium").unwrap())
            // Tests may run as root and in containers, where its sandbox cannot; only pages of ours are shown.
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-component-update"])
            .args(["--remote-debugging-pipe", "--force-color-profile=srgb"])
            .arg(format!("--user-data-dir={}", Path::display(profile.path())))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (commands, replies) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let (send, messages) = channel();
        thread::spawn(move || {
            for message in BufReader::new(replies).split(0) {
                let message = message.ok().and_then(|message| serde_json::from_slice(&message).ok());
                if message.is_none_or(|message| send.send(message).is_err()) {
                    break;
                }
            }
        });
        let mut browser = Self {
            process,
            commands,
            messages,
            session: None,
            last: 0,
            complaints: Vec::new(),
            requests: Vec::new(),
            page: (String::new(), None),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }))["targetId"].clone();
        let attach = json!({ "targetId": target, "flatten": true });
        browser.session = browser.call("Target.attachToTarget", &attach)["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser.call("Fetch.enable", &json!({ "patterns": [{ "urlPattern": "*" }] }));
        Some(browser)
    }

    /// Sends one command and waits for its answer.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: &Value) -> Value {
        let id = self.send(method, params);
        self.until(method, |message| {
            (message["id"] == id).then(|| {
                assert!(message["error"].is_null(), "{method}: {message}");
                message["result"].clone()
            })
        })
    }

    fn send(&mut self, method: &str, params: &Value) -> u64 {
        self.last += 1;
        let mut command = json!({ "id": self.last, "method": method, "params": params });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&command).unwrap();
        bytes.push(0);
        self.commands.write_all(&bytes).unwrap();
        self.last
    }

    #[track_caller]
    fn until<T>(&mut self, what: &str, found: impl Fn(&Value) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = match self.messages.recv_timeout(left) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => panic!("the browser did not answer {what} within {DEADLINE:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the browser ended before it answered {what}"),
            };
            self.heard(&message);
            if let Some(found) = found(&message) {
                return found;
            }
        }
    }

    /// Answers requests and keeps complaints.
    fn heard(&mut self, message: &Value) {
        let params = &message["params"];
        match message["method"].as_str().unwrap_or_default() {
            "Fetch.requestPaused" => {
                let (url, request) = (params["request"]["url"].as_str().unwrap(), &params["requestId"]);
                if url == URL {
                    let (page, policy) = &self.page;
                    let mut headers = vec![json!({ "name": "Content-Type", "value": "text/html; charset=utf-8" })];
                    headers.extend(
                        policy.iter().map(|policy| json!({ "name": "Content-Security-Policy", "value": policy })),
                    );
                    let body = Base64::encode_string(page.as_bytes());
                    let answer =
                        json!({ "requestId": request, "responseCode": 200, "responseHeaders": headers, "body": body });
                    self.send("Fetch.fulfillRequest", &answer);
                } else {
                    self.requests.push(url.to_owned());
                    self.send("Fetch.failRequest", &json!({ "requestId": request, "errorReason": "Failed" }));
                }
            }
            "Log.entryAdded" => self.complaints.push(params["entry"]["text"].to_string()),
            "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" => self.complaints.push(params.to_string()),
            _ => {}
        }
    }

    /// Shows the page, as a server would answer with it and the policy.
    #[track_caller]
    pub fn show(&mut self, page: &str, policy: Option<&str>) {
        self.page = (page.to_owned(), policy.map(str::to_owned));
        let frame = self.call("Page.navigate", &json!({ "url": URL }));
        assert!(frame["errorText"].is_null(), "{frame}");
        self.until("loading the page", |message| (message["method"] == "Page.loadEventFired").then_some(()));
    }

    /// The screen that the page is shown on; `print` is paper.
    pub fn screen(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let (media, scheme) = if scheme == "print" { ("print", "dark") } else { ("", scheme) };
        let scheme = json!({ "media": media, "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", &scheme);
    }

    /// What an expression of ours is worth in the page; the page's policy does not hold for it.
    #[track_caller]
    pub fn ask(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let reply = self.call("Runtime.evaluate", &params);
        assert!(reply["exceptionDetails"].is_null(), "{reply}");
        reply["result"]["value"].clone()
    }

    /// What is seen, as PNG.
    pub fn picture(&mut self) -> Vec<u8> {
        let reply = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        Base64::decode_vec(reply["data"].as_str().unwrap()).unwrap()
    }

    /// How many pixels of a picture have each colour, most first: `["#ffffff", 12345]`. Leaves the page.
    pub fn colours(&mut self, picture: &[u8]) -> Vec<(String, u64)> {
        self.show("<!doctype html><title>blank</title><link rel=icon href=data:,>", None);
        let counted = self.ask(&format!(
            "(async () => {{
                const image = new Image();
                image.src = 'data:image/png;base64,{}';
                await image.decode();
                const canvas = new OffscreenCanvas(image.width, image.height).getContext('2d');
                canvas.drawImage(image, 0, 0);
                const counts = new Map();
                const pixels = new Uint32Array(canvas.getImageData(0, 0, image.width, image.height).data.buffer);
                for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
                const name = pixel => '#' + [0, 8, 16].map(bits => (pixel >> bits & 255).toString(16).padStart(2, '0')).join('');
                return [...counts].sort((a, b) => b[1] - a[1]).map(([pixel, count]) => [name(pixel), count]);
            }})()",
            Base64::encode_string(picture)
        ));
        serde_json::from_value(counted).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.session = None;
        if self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            // Asked to end, it takes its own children along; the closed pipe ends it where it does not hear that.
            let mut bye = serde_json::to_vec(&json!({ "id": 0, "method": "Browser.close" })).unwrap();
            bye.push(0);
            let _ = self.commands.write_all(&bye);
            let deadline = Instant::now() + Duration::from_secs(10);
            while self.messages.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok() {}
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}
