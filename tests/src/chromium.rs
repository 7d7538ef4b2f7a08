//! A headless Chromium that opens one page, without a network, and tells all that the
//! page does: errors, requests, dialogues.
//!
//! It is driven by its own protocol over two pipes (`--remote-debugging-pipe`): messages
//! of JSON with a NUL byte after each, no port and no library between.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Time that anything in the browser may take.
const DEADLINE: Duration = Duration::from_mins(1);

/// Colours that the reader of a page has chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Black on white.
    Light,
    /// White on black.
    Dark,
    /// The same, but on paper.
    Paper,
}

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    session: String,
    next: u64,
    events: Vec<Value>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts a browser with an empty page, `width` by `height` pixels large.
    ///
    /// # Errors
    ///
    /// If there is no program `chromium`, or it does not answer.
    pub fn start(width: u32, height: u32) -> Result<Self> {
        let profile = tempfile::tempdir().context("a folder for the browser")?;
        // The protocol is on files 3 and 4, which only a shell can give it.
        let script = "exec chromium --headless --no-sandbox --disable-gpu --no-first-run \
                      --disable-background-networking --disable-component-update \
                      --disable-dev-shm-usage --hide-scrollbars --force-device-scale-factor=1 \
                      --host-resolver-rules='MAP * ~NOTFOUND' --remote-debugging-pipe \
                      --user-data-dir=\"$0\" about:blank 3<&0 4>&1 1>/dev/null";
        let mut child = Command::new("bash")
            .args(["-c", script])
            .arg(profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("starting chromium")?;
        let input = child.stdin.take().context("no pipe to the browser")?;
        let output = child.stdout.take().context("no pipe from the browser")?;
        let mut browser = Self {
            child,
            input,
            messages: listen(output),
            session: String::new(),
            next: 0,
            events: Vec::new(),
            _profile: profile,
        };
        browser.attach()?;
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        browser.call("Emulation.setDeviceMetricsOverride", &size)?;
        Ok(browser)
    }

    fn attach(&mut self) -> Result<()> {
        let targets = self.call("Target.getTargets", &json!({}))?;
        let infos = targets["targetInfos"].as_array().cloned().unwrap_or_default();
        let page = infos.iter().find(|info| info["type"] == "page").context("no page")?;
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let attached = self.call("Target.attachToTarget", &attach)?;
        attached["sessionId"].as_str().context("no session")?.clone_into(&mut self.session);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), &json!({}))?;
        }
        Ok(())
    }

    /// Opens a file and waits until it is loaded; tells how long that took.
    ///
    /// # Errors
    ///
    /// If it does not load in a minute.
    pub fn open(&mut self, path: &Path) -> Result<Duration> {
        let path: PathBuf = path.canonicalize().context("finding the page")?;
        self.events.clear();
        let began = Instant::now();
        let url = format!("file://{}", path.display());
        let opened = self.call("Page.navigate", &json!({ "url": url }))?;
        ensure!(opened.get("errorText").is_none(), "{}: {}", path.display(), opened["errorText"]);
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.receive(began + DEADLINE)?;
            self.events.push(event);
        }
        Ok(began.elapsed())
    }

    /// Evaluates an expression of JavaScript in the page.
    ///
    /// # Errors
    ///
    /// If it throws.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let call = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", &call)?;
        ensure!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        Ok(answer["result"]["value"].clone())
    }

    /// Presses, moves and releases the mouse: from one place of the page to another.
    ///
    /// # Errors
    ///
    /// If the browser is gone.
    pub fn drag(&mut self, (x, y): (f64, f64), (to_x, to_y): (f64, f64)) -> Result<()> {
        for (kind, x, y) in [
            ("mousePressed", x, y),
            ("mouseMoved", f64::midpoint(x, to_x), f64::midpoint(y, to_y)),
            ("mouseMoved", to_x, to_y),
            ("mouseReleased", to_x, to_y),
        ] {
            let buttons = i32::from(kind != "mouseReleased");
            let event = json!({
                "type": kind, "x": x, "y": y, "button": "left", "buttons": buttons, "clickCount": 1,
            });
            self.call("Input.dispatchMouseEvent", &event)?;
        }
        Ok(())
    }

    /// Chooses colours, as the reader's system would.
    ///
    /// # Errors
    ///
    /// If the browser is gone.
    pub fn choose(&mut self, scheme: Scheme) -> Result<()> {
        let (media, value) = match scheme {
            Scheme::Light => ("screen", "light"),
            Scheme::Dark => ("screen", "dark"),
            Scheme::Paper => ("print", "dark"),
        };
        let features = json!([{ "name": "prefers-color-scheme", "value": value }]);
        let chosen = json!({ "media": media, "features": features });
        self.call("Emulation.setEmulatedMedia", &chosen).map(drop)
    }

    /// What the page shows now, as a PNG.
    ///
    /// # Errors
    ///
    /// If the browser is gone.
    pub fn screenshot(&mut self) -> Result<Vec<u8>> {
        let answer = self.call("Page.captureScreenshot", &json!({ "format": "png" }))?;
        let data = answer["data"].as_str().context("no picture")?;
        STANDARD.decode(data).context("a picture that is no base64")
    }

    /// The page as it is printed, as a PDF.
    ///
    /// # Errors
    ///
    /// If the browser is gone.
    pub fn print(&mut self) -> Result<Vec<u8>> {
        let answer = self.call("Page.printToPDF", &json!({}))?;
        let data = answer["data"].as_str().context("no document")?;
        STANDARD.decode(data).context("a document that is no base64")
    }

    /// What the page should not have done since it was opened: errors and warnings of
    /// the console, exceptions, dialogues, requests for anything but the page.
    ///
    /// # Errors
    ///
    /// If the browser is gone.
    pub fn complaints(&mut self) -> Result<Vec<String>> {
        // What happened before the answer to this has been told by then.
        self.evaluate("1")?;
        Ok(self.events.iter().filter_map(complaint).collect())
    }

    fn call(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.next += 1;
        let id = self.next;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        write!(self.input, "{message}\0").context("the browser is gone")?;
        self.input.flush().context("the browser is gone")?;
        let end = Instant::now() + DEADLINE;
        loop {
            let answer = self.receive(end).with_context(|| format!("waiting for {method}"))?;
            if answer["id"] == id {
                ensure!(answer.get("error").is_none(), "{method}: {}", answer["error"]);
                return Ok(answer["result"].clone());
            }
            self.events.push(answer);
        }
    }

    fn receive(&mut self, end: Instant) -> Result<Value> {
        match self.messages.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(message) => Ok(message),
            Err(RecvTimeoutError::Timeout) => bail!("the browser says nothing"),
            Err(RecvTimeoutError::Disconnected) => {
                bail!("the browser ended\nhint: apt-get install chromium")
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // One that has ended already is no trouble.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(output: ChildStdout) -> Receiver<Value> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let messages = BufReader::new(output).split(0).map_while(Result::ok);
        for message in messages {
            if let Ok(value) = serde_json::from_slice(&message)
                && sender.send(value).is_err()
            {
                return;
            }
        }
    });
    receiver
}

fn complaint(event: &Value) -> Option<String> {
    let params = &event["params"];
    let is_bad = match event["method"].as_str()? {
        "Runtime.exceptionThrown" | "Page.javascriptDialogOpening" => true,
        "Runtime.consoleAPICalled" => params["type"] == "error" || params["type"] == "warning",
        "Log.entryAdded" => {
            params["entry"]["level"] == "error" || params["entry"]["level"] == "warning"
        }
        "Network.requestWillBeSent" => params["type"] != "Document",
        _ => false,
    };
    is_bad.then(|| event.to_string())
}
