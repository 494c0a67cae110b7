//! The dashboard's page in a headless Chromium.

mod browser;
#[path = "../proxy_support/mod.rs"]
mod proxy_support;

use browser::Browser;
use proxy_support::{Running, Upstream, get, ok, wait_for};
use std::path::{Path, PathBuf};

const TOKEN: &str = "only-operators-know";

/// A file with the token, for one test.
struct TokenFile(PathBuf);

impl TokenFile {
    fn new(test: &str) -> Self {
        let name = format!("bimetal-dashboard-{test}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, TOKEN).unwrap();
        Self(path)
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

fn start(upstream: &Upstream, token: &TokenFile, scope: &str) -> Running {
    let rest = format!(
        "policies: [{{name: shop, scope: '{scope}', breaker: {{trip: {{consecutive_failures: 3}}, \
         open: {{base: 60s, jitter: 0}}}}, timeout: {{request: 3s}}, concurrency: {{max: 8}}}}]"
    );
    let file = proxy_support::file(upstream.address, &rest);
    let admin = "admin: {address: '127.0.0.1:0'";
    Running::with(&file.replace(admin, &format!("{admin}, token_file: '{}'", token.0.display())))
}

fn open(proxy: &Running, query: &str) -> Option<Browser> {
    let mut browser = Browser::open(&format!("http://{}/{query}", proxy.admin))?;
    browser
        .wait("document.querySelector('#link.live') && document.querySelector('#traffic table')");
    Some(browser)
}

/// An upstream that fails for paths below `/bad`.
fn upstream() -> Upstream {
    Upstream::start(|mut peer| {
        while let Some((head, _)) = peer.request() {
            let is_bad = head.starts_with("get /bad");
            peer.send(if is_bad {
                "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"
            } else {
                "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
            });
        }
    })
}

#[test]
fn a_breaker_that_opens_is_seen_and_a_button_resets_it() {
    let (upstream, token) = (upstream(), TokenFile::new("reset"));
    let proxy = start(&upstream, &token, "policy");
    assert_eq!(proxy.ask(&get("/good")).status, 200);
    let Some(mut browser) = open(&proxy, "") else { return };
    browser.wait("document.querySelector('#breakers .state.closed')");
    assert_eq!(
        browser.eval("document.querySelector('#history').innerText"),
        "Nothing since the proxy began."
    );
    for _ in 0..3 {
        proxy.ask(&get("/bad"));
    }
    assert_eq!(proxy.ask(&get("/good")).status, 503);
    browser.wait("document.querySelector('#breakers .state.open')");
    let row = browser.eval("document.querySelector('#breakers tbody tr').innerText");
    let row = row.as_str().unwrap();
    assert!(row.contains("3 consecutive failures") && row.contains("in "), "{row}");
    browser
        .wait("document.querySelector('#history').innerText.includes('closed to open for 60 s')");
    browser.wait("document.querySelector('#edges').innerText.includes('127.0.0.1')");
    // Without the right token nothing happens, and the page says why.
    browser.click("#breakers button");
    browser
        .wait("document.querySelector('#control').open && document.activeElement.id === 'token'");
    browser.type_text("wrong");
    browser.click("#control button[value=reset]");
    browser.wait("document.querySelector('#say').textContent.startsWith('401')");
    browser.wait("document.querySelector('#breakers .state.open')");
    browser.eval(
        "document.querySelector('#token').value = ''; document.querySelector('#token').focus()",
    );
    browser.type_text(TOKEN);
    browser.click("#control button[value=reset]");
    browser.wait("document.querySelector('#say').textContent === 'done: reset'");
    browser.wait("document.querySelector('#breakers .state.closed')");
    assert_eq!(proxy.ask(&get("/good")).status, 200);
    browser.wait("document.querySelector('#history').innerText.includes('reset was ordered')");
    // The refusal is told by the browser's own log too; nothing else is.
    browser.complaints.retain(|one| !one.contains("401"));
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn it_is_used_by_the_keyboard_alone() {
    let (upstream, token) = (upstream(), TokenFile::new("keys"));
    let proxy = start(&upstream, &token, "policy");
    assert_eq!(proxy.ask(&get("/good")).status, 200);
    let Some(mut browser) = open(&proxy, "") else { return };
    browser.wait("document.querySelector('#breakers button')");
    browser.press("/", "/");
    browser.wait("document.activeElement.id === 'scope'");
    let mut steps = 0;
    while browser.eval("document.activeElement.matches('#breakers button')") != true {
        browser.press("Tab", "");
        steps += 1;
        assert!(steps < 10, "the button is not reached");
    }
    browser.press("Enter", "\r");
    browser.wait("document.querySelector('#control').open");
    browser.type_text(TOKEN);
    browser.press("Tab", "");
    browser.press("Tab", "");
    browser.wait("document.activeElement.value === 'force_open'");
    browser.press("Enter", "\r");
    browser.wait("document.querySelector('#breakers .held')?.textContent === 'forced open'");
    assert_eq!(proxy.ask(&get("/good")).status, 503);
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn what_clients_chose_stays_text() {
    let (upstream, token) = (Upstream::answering(ok("fine")), TokenFile::new("hostile"));
    let proxy = start(&upstream, &token, "header:x-tenant");
    let hostile = [
        "<img src=x onerror=alert(1)>",
        "</script><script>document.title='pwned'</script>",
        "\" onmouseover=\"document.title='pwned'",
        "javascript:document.title='pwned'",
        "__proto__",
        "constructor",
        "{{7*7}}${7*7}",
        "&lt;b&gt;",
    ];
    for name in hostile {
        let request = format!("GET / HTTP/1.1\r\nhost: test\r\nx-tenant: {name}\r\n\r\n");
        assert_eq!(proxy.ask(&request).status, 200);
    }
    let Some(mut browser) = open(&proxy, "?policy=%3Cb%3E&scope=%22%3E%3Cscript%3E") else {
        return;
    };
    // What stands in the address is text too; a policy that is not there is not chosen.
    browser.eval("document.querySelector('#scope').value = ''; document.querySelector('#scope').dispatchEvent(new Event('input'))");
    browser.wait("document.querySelectorAll('#breakers tbody tr').length === 8");
    let shown = browser.eval("[...document.querySelectorAll('#breakers td[data-label=scope]')].map((cell) => cell.textContent)");
    for name in hostile {
        assert!(shown.as_array().unwrap().iter().any(|one| one == name), "{name}: {shown}");
    }
    assert_eq!(browser.eval("document.title"), "Bimetal");
    assert_eq!(
        browser.eval("document.querySelectorAll('#breakers img, #breakers script').length"),
        0
    );
    assert_eq!(browser.complaints, [""; 0]);
    // Were there a hole, the browser would not run what comes through it.
    let injected = browser.eval("(() => { try { document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=1\">'); return 'markup'; } catch (error) { return error.name; } })()");
    assert_eq!(injected, "TypeError");
    let script = browser.eval("(() => { const node = document.createElement('script'); try { node.textContent = 'document.title = 1'; document.body.append(node); } catch {} return document.title; })()");
    assert_eq!(script, "Bimetal");
    let elsewhere =
        browser.eval("fetch('http://127.0.0.1:9/').then(() => 'sent', (error) => error.name)");
    assert_eq!(elsewhere, "TypeError");
    assert!(
        browser.complaints.iter().any(|one| one.contains("Content Security Policy")),
        "{:?}",
        browser.complaints
    );
}

#[test]
fn a_thousand_scopes_are_shown_and_filtered() {
    let (upstream, token) = (Upstream::answering(ok("fine")), TokenFile::new("many"));
    let proxy = start(&upstream, &token, "header:x-tenant");
    let mut client = proxy.client();
    for number in 0..1_000 {
        let request =
            format!("GET / HTTP/1.1\r\nhost: test\r\nx-tenant: tenant-{number:04}\r\n\r\n");
        assert_eq!(client.ask(&request).status, 200);
    }
    let Some(mut browser) = open(&proxy, "?measure") else { return };
    browser.wait("document.querySelectorAll('#breakers tbody tr').length === 1000");
    browser.click("#scope");
    browser.type_text("tenant-00");
    browser.wait("document.querySelectorAll('#breakers tbody tr').length === 100");
    assert_eq!(browser.eval("location.search.includes('scope=tenant-00')"), true);
    browser.wait("performance.getEntriesByName('bimetal-frame').length >= 3");
    let costs =
        browser.eval("performance.getEntriesByName('bimetal-frame').map((one) => one.duration)");
    println!("frames of a page with 1,000 scopes, in ms: {costs}");
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn it_fits_a_phone_and_the_dark_and_tells_when_nobody_answers() {
    let (upstream, token) = (upstream(), TokenFile::new("phone"));
    let proxy = start(&upstream, &token, "policy");
    for path in ["/good", "/bad", "/bad", "/bad", "/good"] {
        proxy.ask(&get(path));
    }
    let Some(mut browser) = open(&proxy, "") else { return };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    browser.wait("document.querySelector('#breakers .state.open')");
    browser.picture(&picture(folder, "dashboard.png"));
    let ground = "getComputedStyle(document.body).backgroundColor";
    browser.scheme("light");
    let light = browser.eval(ground);
    browser.scheme("dark");
    let dark = browser.eval(ground);
    assert_ne!(light, dark);
    browser.size(390, 844, true);
    browser.wait("document.documentElement.scrollWidth <= 390 && document.querySelector('#breakers .state.open')");
    browser.picture(&picture(folder, "dashboard-phone.png"));
    drop(proxy);
    // The admin thread lives as long as the process: what ends is what it could tell.
    let said = wait_for("word", || {
        let said = browser.eval("document.querySelector('#link').textContent");
        (said != "live").then_some(said)
    });
    assert_eq!(said, "a worker is busy");
}

/// Where a picture goes: with `BIMETAL_UPDATE` into the documentation.
fn picture(folder: &Path, name: &str) -> PathBuf {
    match std::env::var_os("BIMETAL_UPDATE") {
        Some(_) => Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/images").join(name),
        None => folder.join(name),
    }
}
