//! The page, in a browser that WebDriver drives.

#![expect(clippy::print_stderr, reason = "who runs a test reads what it says")]

use std::{env, fs, path::Path};

use fantoccini::{
    Client, ClientBuilder, Locator,
    key::Key,
    wd::{Capabilities, WebDriverCompatibleCommand},
};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use url::{ParseError, Url};

use crate::{
    harness::{LIMIT, Node, Peer, Room, Running, now, register, registration, stamped},
    http::{actor, start},
};

/// A browser that shows the page of a node.
struct Browser {
    client: Client,
    _driver: Running,
}

/// A command of the driver that only Chromium has.
#[derive(Debug)]
struct Own {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Own {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

impl Browser {
    /// Opens the page. `None` if there is no browser here.
    async fn open(room: &Room, node: &Node<'_>) -> Option<Self> {
        let runs = |words: &[&str]| {
            let tried = room.other_command(words[0]).args(&words[1..]).output();
            tried.is_ok_and(|it| it.status.success())
        };
        if !runs(&["chromedriver", "--version"]) {
            eprintln!("skipped: `chromedriver` cannot be started");
            return None;
        }
        // A browser outlives its driver that is killed, but not the namespace of both.
        let within = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
        let mut command = if runs(&[&within[..], &["true"]].concat()) {
            let mut command = room.other_command(within[0]);
            command.args(&within[1..]).arg("chromedriver");
            command
        } else {
            room.other_command("chromedriver")
        };
        command.arg("--port=0");
        let mut driver = Running::start(command);
        let said = driver.line_with("started successfully on port");
        let port: String = said.chars().filter(char::is_ascii_digit).collect();
        let profile = format!("--user-data-dir={}", room.file("profile").display());
        // Root has no sandbox, and a container little shared memory.
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            &profile,
        ];
        let mut capabilities = Capabilities::new();
        capabilities.insert("goog:chromeOptions".to_owned(), json!({"args": args}));
        capabilities.insert("goog:loggingPrefs".to_owned(), json!({"browser": "ALL"}));
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let at = format!("http://127.0.0.1:{port}");
        let client = builder.capabilities(capabilities).connect(&at).await.unwrap();
        let browser = Self { client, _driver: driver };
        browser.client.set_window_size(1280, 800).await.unwrap();
        let port = node.http()[1].rsplit('/').next().unwrap();
        browser.client.goto(&format!("http://127.0.0.1:{port}/")).await.unwrap();
        browser.comes_to("document.getElementById('state').textContent", "live").await;
        Some(browser)
    }

    /// Returns the value of an expression.
    async fn eval(&self, expression: &str) -> Value {
        self.client.execute(&format!("return {expression}"), vec![]).await.unwrap()
    }

    /// Waits until an expression has a value.
    async fn comes_to(&self, expression: &str, expected: impl Into<Value>) {
        let (deadline, expected) = (now() + LIMIT, expected.into());
        // The page looks for itself, and says what it sees at last.
        let look = format!(
            "const began = Date.now();
             return new Promise((done) => {{
               const look = () => {{
                 const value = {expression};
                 if (value === arguments[0] || Date.now() > began + 10000) done(value);
                 else setTimeout(look, 20);
               }};
               look();
             }});"
        );
        loop {
            let value = self.client.execute(&look, vec![expected.clone()]).await.unwrap();
            if value == expected {
                return;
            }
            assert!(now() < deadline, "{expression} is {value}, and not {expected}");
        }
    }

    async fn own(&self, path: &'static str, body: Value) -> Value {
        self.client.issue_cmd(Own { path, body }).await.unwrap()
    }

    async fn prefer(&self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        let params = json!({"features": features});
        self.own(
            "goog/cdp/execute",
            json!({"cmd": "Emulation.setEmulatedMedia", "params": params}),
        )
        .await;
    }

    async fn type_keys(&self, selector: &str, keys: &str) {
        self.client.find(Locator::Css(selector)).await.unwrap().send_keys(keys).await.unwrap();
    }

    async fn click(&self, selector: &str) {
        self.client.find(Locator::Css(selector)).await.unwrap().click().await.unwrap();
    }

    /// Keeps a picture, for whoever wants to look.
    async fn picture(&self, name: &str) {
        let picture = self.client.screenshot().await.unwrap();
        assert!(picture.starts_with(b"\x89PNG"), "it is a picture");
        if let Some(folder) = env::var_os("CALLSIGN_SCREENSHOTS") {
            fs::write(Path::new(&folder).join(format!("{name}.png")), picture).unwrap();
        }
    }

    async fn close(self) {
        let logged = self.own("se/log", json!({"type": "browser"})).await;
        assert_eq!(logged, json!([]), "the console has nothing to say");
        self.client.close().await.unwrap();
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}

/// The names of the rows that are there.
const NAMES: &str = "[...document.querySelectorAll('#rows .row')].map((it) => it.firstElementChild.textContent).join(' ')";
const COUNT: &str = "document.getElementById('count').textContent";
const ROWS: &str = "document.querySelectorAll('#rows .row').length";
const FOCUS: &str = "document.activeElement.id";

#[test]
fn a_browser_shows_who_is_there_as_it_changes() {
    let room = Room::new();
    let node = start(&room, "[declared]\nfar = \"/ip4/192.0.2.7/tcp/80\"\n");
    run(async {
        let Some(browser) = Browser::open(&room, &node).await else { return };
        browser.comes_to(NAMES, "far").await;
        // No UUID has letters like these.
        let quotes = actor(&node, "quotes");
        let web = actor(&node, "web");
        let state = "document.querySelector('#rows .row:nth-child(2) > :nth-child(2)').textContent";
        browser.comes_to(NAMES, "far quotes web").await;
        browser.comes_to(state, "ready").await;

        // The filter works as one types, by the keyboard alone.
        browser.type_keys("body", "/").await;
        browser.comes_to(FOCUS, "filter").await;
        browser.type_keys("#filter", "quot").await;
        browser.comes_to(NAMES, "quotes").await;
        browser.comes_to(COUNT, "1 of 3").await;
        browser.type_keys("#filter", "x").await;
        browser.comes_to(COUNT, "0 of 3").await;
        browser.type_keys("#filter", &Key::Escape.to_string()).await;
        browser.comes_to(NAMES, "far quotes web").await;

        // The arrows choose, and the details follow.
        let title = "document.querySelector('#details h2')?.textContent ?? ''";
        browser.type_keys("#list", &Key::Down.to_string()).await;
        browser.comes_to(title, "far").await;
        browser.type_keys("#list", &Key::Down.to_string()).await;
        browser.comes_to(title, "quotes").await;
        browser
            .comes_to(
                "document.querySelector('[aria-selected=true].row > span').textContent",
                "quotes",
            )
            .await;
        browser.picture("list-light").await;

        // Whoever is killed is gone.
        quotes.kill();
        browser.comes_to(NAMES, "far web").await;
        browser.comes_to("document.getElementById('details').textContent", "It is gone.").await;
        browser.click("#tab-list").await;
        for (tab, key) in [
            ("trees", Key::Right),
            ("timeline", Key::Right),
            ("list", Key::Right),
            ("timeline", Key::Left),
        ] {
            browser.type_keys("nav [aria-selected=true]", &key.to_string()).await;
            browser.comes_to(FOCUS, format!("tab-{tab}")).await;
            browser.comes_to(&format!("document.getElementById('{tab}').hidden"), false).await;
        }
        let last = "document.querySelector('#timeline li').textContent";
        let said = browser.eval(last).await.to_string();
        assert!(said.contains("went") && said.contains("quotes"), "{said}");
        browser.picture("timeline-light").await;

        let paper = "getComputedStyle(document.body).backgroundColor";
        let light = browser.eval(paper).await;
        browser.prefer("dark").await;
        assert_ne!(browser.eval(paper).await, light, "there is a dark scheme");
        browser.picture("timeline-dark").await;
        drop(web);
        browser.close().await;
    });
    node.stop().succeeds();
}

#[test]
fn a_browser_scrolls_twenty_thousand_instances() {
    let room = Room::new();
    let node = start(&room, "");
    let mut registrant = Peer::greet(node.endpoint());
    for batch in 0..20 {
        for number in 0..1000 {
            let name = format!("many-{:05}", batch * 1000 + number);
            let endpoint = stamped(&format!("/ip4/192.0.2.{}/tcp/{}", batch + 1, 1000 + number));
            let (method, body) = register(&registration(&name, vec![endpoint]));
            registrant.begin(method, &body);
        }
        for _ in 0..1000 {
            registrant.answer().1.unwrap();
        }
    }
    run(async {
        let Some(browser) = Browser::open(&room, &node).await else { return };
        browser.comes_to(COUNT, "20000 actors").await;
        let first = "document.querySelector('#rows .row > span').textContent";
        let last =
            "[...document.querySelectorAll('#rows .row')].at(-1).firstElementChild.textContent";
        let is_windowed = async || {
            let rows = browser.eval(ROWS).await.as_u64().unwrap();
            assert!((10..100).contains(&rows), "{rows} rows are drawn");
        };
        browser.comes_to(first, "many-00000").await;
        is_windowed().await;
        browser.type_keys("#list", &Key::End.to_string()).await;
        browser.comes_to(last, "many-19999").await;
        is_windowed().await;
        browser
            .comes_to("document.querySelector('#rows .row').getAttribute('aria-setsize')", "20000")
            .await;
        // From one end to the other in steps.
        for step in 0..50 {
            browser
                .eval(&format!("document.getElementById('list').scrollTop = {step} * 12800"))
                .await;
        }
        is_windowed().await;
        browser.picture("many-light").await;
        browser.prefer("dark").await;
        browser.picture("many-dark").await;
        browser.type_keys("#filter", "many-1234").await;
        browser.comes_to(COUNT, "10 of 20000").await;
        browser.comes_to(ROWS, 10).await;
        drop(registrant);
        browser.comes_to(COUNT, "0 of 0").await;
        browser.close().await;
    });
    node.stop().succeeds();
}
