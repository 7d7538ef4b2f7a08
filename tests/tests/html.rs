//! The report as a page, in a browser: it opens, filters and zooms, complains of nothing,
//! asks nobody for anything, and shows hostile texts as texts.
//!
//! `PERISCOPE_PICTURES=FOLDER` keeps what it looks like.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use periscope_tests::chromium::{Browser, Scheme};
use periscope_tests::{fleet, programs};
use serde_json::Value;

const WIDTH: u32 = 1_280;
const HEIGHT: u32 = 900;

/// The page of a bundle, beside it.
fn page(folder: &Path) -> PathBuf {
    let page = folder.join("report.html");
    let mut report = programs::analyze().expect("built");
    report.arg("report").arg(folder).args(["--format", "html", "-o"]).arg(&page);
    let finished = programs::finish(&mut report).expect("ran");
    assert_eq!(finished.status, Some(1), "{finished:?}");
    page
}

/// A bundle of a fleet, and its page.
fn fleet_page(nodes: usize) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    fleet::write(folder.path(), nodes).expect("written");
    let page = page(folder.path());
    (folder, page)
}

fn number(browser: &mut Browser, expression: &str) -> f64 {
    let value = browser.evaluate(expression).expect(expression);
    value.as_f64().unwrap_or_else(|| panic!("{expression} is {value}"))
}

fn count(browser: &mut Browser, expression: &str) -> i64 {
    let value = browser.evaluate(expression).expect(expression);
    value.as_i64().unwrap_or_else(|| panic!("{expression} is {value}"))
}

/// Types into a field, as its reader would.
fn fill(browser: &mut Browser, field: &str, text: &str) {
    let script = format!(
        "{{ const field = document.querySelector('{field}'); field.value = {}; \
         field.dispatchEvent(new Event('input', {{ bubbles: true }})); 1 }}",
        Value::from(text)
    );
    browser.evaluate(&script).expect("filled");
}

fn keep(browser: &mut Browser, name: &str) {
    let Some(folder) = std::env::var_os("PERISCOPE_PICTURES") else { return };
    for (scheme, word) in [(Scheme::Light, "light"), (Scheme::Dark, "dark")] {
        browser.choose(scheme).expect("chosen");
        let picture = browser.screenshot().expect("a picture");
        fs::write(Path::new(&folder).join(format!("{name}-{word}.png")), picture).expect("kept");
    }
}

const VISIBLE: &str =
    "Array.from(document.querySelectorAll('.finding')).filter(f => !f.hidden).length";
const ROWS: &str =
    "Array.from(document.querySelectorAll('.track[data-node]')).filter(f => !f.hidden).length";

#[test]
fn a_page_opens_filters_and_zooms() {
    let (_folder, page) = fleet_page(3);
    let mut browser = Browser::start(WIDTH, HEIGHT).expect("a browser");
    browser.open(&page).expect("open");
    assert_eq!(browser.complaints().expect("asked"), Vec::<String>::new());

    let all = count(&mut browser, VISIBLE);
    assert!(all >= 5, "{all} findings");
    assert_eq!(count(&mut browser, ROWS), 3);
    keep(&mut browser, "report-3");

    fill(&mut browser, "#node", "vmss000002");
    assert_eq!(count(&mut browser, ROWS), 1);
    let of_node = count(&mut browser, VISIBLE);
    assert!(of_node < all, "{of_node} of {all}");
    fill(&mut browser, "#node", "");

    fill(&mut browser, "#text", "mcr DOWN");
    let of_text = count(&mut browser, VISIBLE);
    assert!(of_text > 0 && of_text < all, "{of_text} of {all}");
    fill(&mut browser, "#text", "no such words");
    assert_eq!(count(&mut browser, VISIBLE), 0);
    fill(&mut browser, "#text", "");

    browser.evaluate("document.querySelector('[value=error]').click()").expect("clicked");
    let lesser = count(&mut browser, VISIBLE);
    assert!(lesser < all, "{lesser} of {all}");
    let told = browser.evaluate("document.querySelector('#told').textContent").expect("told");
    assert_eq!(told, Value::from(format!("{lesser} of {all} findings")));
    browser.evaluate("document.querySelector('[value=error]').click()").expect("clicked");

    zooms(&mut browser);
    for (scheme, colour) in [
        (Scheme::Light, "rgb(255, 255, 255)"),
        (Scheme::Dark, "rgb(15, 19, 24)"),
        (Scheme::Paper, "rgb(255, 255, 255)"),
    ] {
        browser.choose(scheme).expect("chosen");
        let shown = "getComputedStyle(document.body).backgroundColor";
        assert_eq!(browser.evaluate(shown).expect("a colour"), Value::from(colour), "{scheme:?}");
    }
    let printed = browser.print().expect("printed");
    assert!(printed.starts_with(b"%PDF"));
    if let Some(folder) = std::env::var_os("PERISCOPE_PICTURES") {
        fs::write(Path::new(&folder).join("report-3.pdf"), printed).expect("kept");
    }
    assert_eq!(browser.complaints().expect("asked"), Vec::<String>::new());
}

fn zooms(browser: &mut Browser) {
    let width = "document.querySelector('.track .zoom').viewBox.baseVal.width";
    assert_eq!(count(browser, width), 10_000);
    browser.evaluate("document.querySelector('[data-zoom=in]').click()").expect("clicked");
    assert_eq!(count(browser, width), 5_000);
    browser.evaluate("document.querySelector('[data-zoom=all]').click()").expect("clicked");
    assert_eq!(count(browser, width), 10_000);

    browser.evaluate("document.querySelector('#timeline').scrollIntoView()").expect("scrolled");
    keep(browser, "timeline-3");
    let place = browser
        .evaluate(
            "(() => { const box = document.querySelectorAll('.track .zoom')[1].getBoundingClientRect(); \
             return [box.left, box.top + box.height / 2, box.width]; })()",
        )
        .expect("a place");
    let at = |index: usize| place[index].as_f64().expect("a number");
    let (left, y, length) = (at(0), at(1), at(2));
    browser.drag((left + length * 0.25, y), (left + length * 0.75, y)).expect("dragged");
    let zoomed = number(browser, width);
    assert!((zoomed - 5_000.0).abs() < 50.0, "{zoomed}");
    let range = browser.evaluate("document.querySelector('#range').textContent").expect("told");
    assert!(range.as_str().is_some_and(|range| range.contains("2026-11-22T12:")), "{range}");
    browser.evaluate("document.querySelector('[data-zoom=all]').click()").expect("clicked");
}

#[test]
fn hostile_texts_are_texts() {
    let folder = tempfile::tempdir().expect("a folder");
    fleet::write_hostile(folder.path()).expect("written");
    let page = page(folder.path());
    let mut browser = Browser::start(WIDTH, HEIGHT).expect("a browser");
    browser.open(&page).expect("open");
    browser
        .evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        .expect("opened");
    assert_eq!(browser.complaints().expect("asked"), Vec::<String>::new());
    for (what, selector) in [
        ("scripts", "document.scripts.length"),
        ("titles", "document.querySelectorAll('head title').length"),
    ] {
        assert_eq!(count(&mut browser, selector), 1, "{what}");
    }
    let foreign =
        "document.querySelectorAll('img, iframe, [onerror], [onload], [onclick], [style]').length";
    assert_eq!(count(&mut browser, foreign), 0);
    let text = browser.evaluate("document.body.textContent").expect("a text");
    let text = text.as_str().expect("a text");
    assert!(text.contains("<img src=https://evil.example/x onerror=alert('target')>"), "shown");
    assert!(!text.contains('\u{202e}'), "no text turns the direction of others");
    keep(&mut browser, "hostile");

    // The policy holds whatever else is wrong: a script that comes later does not run.
    browser
        .evaluate(
            "{ const script = document.createElement('script'); \
             script.textContent = 'window.ran = 1'; document.body.append(script); 1 }",
        )
        .expect("appended");
    assert_eq!(browser.evaluate("window.ran === undefined").expect("asked"), Value::Bool(true));
    let complaints = browser.complaints().expect("asked").join("\n");
    assert!(complaints.contains("Content Security Policy"), "{complaints}");
}

#[test]
fn five_hundred_nodes_are_one_usable_page() {
    let (_folder, page) = fleet_page(500);
    let bytes = fs::metadata(&page).expect("a file").len();
    assert!(bytes < 10_000_000, "{bytes} bytes");
    let mut browser = Browser::start(WIDTH, HEIGHT).expect("a browser");
    let loaded = browser.open(&page).expect("open");
    let paint = number(
        &mut browser,
        "new Promise(done => new PerformanceObserver((list, observer) => { \
         const paint = list.getEntriesByName('first-contentful-paint')[0]; \
         if (paint) { observer.disconnect(); done(paint.startTime); } \
         }).observe({ type: 'paint', buffered: true }))",
    );
    println!("{bytes} bytes, first paint after {paint:.0} ms, loaded after {loaded:?}");
    assert!(paint < 2_000.0, "first paint after {paint} ms");
    assert!(loaded < Duration::from_secs(10), "loaded after {loaded:?}");
    assert_eq!(count(&mut browser, ROWS), 500);
    keep(&mut browser, "report-500");
    browser.evaluate("document.querySelector('#timeline').scrollIntoView()").expect("scrolled");
    keep(&mut browser, "timeline-500");
    browser.evaluate("document.querySelector('#connections').scrollIntoView()").expect("scrolled");
    keep(&mut browser, "connections-500");

    let filtered = number(
        &mut browser,
        "(() => { const began = performance.now(); const field = document.querySelector('#node'); \
         field.value = 'vmss000123'; field.dispatchEvent(new Event('input', { bubbles: true })); \
         document.body.offsetHeight; return performance.now() - began; })()",
    );
    println!("filtered in {filtered:.0} ms");
    assert!(filtered < 1_000.0, "filtered in {filtered} ms");
    assert_eq!(count(&mut browser, ROWS), 1);
    assert_eq!(browser.complaints().expect("asked"), Vec::<String>::new());
}
