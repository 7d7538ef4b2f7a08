//! The level that a log line states about itself.
//!
//! Reads the first bytes of a message, and only forms by which programs *state*
//! a level: klog's letter, a key (`level=error`, `"severity":"ERROR"`), or a
//! word in front of the text (`ERROR …`, `[error] …`, `warn: …`). A message that
//! merely speaks of errors has none. Runs once per line.

use memchr::memchr2_iter;
use periscope_store::batch::Level;

/// How far into a message a level is looked for.
const WINDOW_BYTES: usize = 200;

/// How many words may come before the level: times, hosts, processes, threads.
const LEADING_WORDS: usize = 8;

/// Level that a message states, [`Level::None`] if it states none.
pub(crate) fn level(message: &[u8]) -> Level {
    let window = &message[..message.len().min(WINDOW_BYTES)];
    match window.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => Level::None,
        Some(b'{') => keyed(window, true),
        Some(_) => match leading(window) {
            Level::None => keyed(window, false),
            found => found,
        },
    }
}

/// Level of a word in any case.
fn of_word(word: &[u8]) -> Level {
    let mut lower = [0; 11];
    let Some(lower) = lower.get_mut(..word.len()) else { return Level::None };
    lower.copy_from_slice(word);
    lower.make_ascii_lowercase();
    match &*lower {
        b"trace" | b"trc" | b"debug" | b"debu" | b"dbug" | b"dbg" | b"verbose" => Level::Debug,
        b"info" | b"inf" | b"information" | b"notice" => Level::Info,
        b"warning" | b"warn" | b"wrn" => Level::Warning,
        b"error" | b"erro" | b"err" | b"eror" | b"severe" => Level::Error,
        b"fatal" | b"ftl" | b"critical" | b"crit" | b"alert" | b"emergency" | b"emerg"
        | b"panic" | b"dpanic" => Level::Fatal,
        _ => Level::None,
    }
}

/// Level of klog's head, `E1122 12:28:03.000000 …`.
fn klog(text: &[u8]) -> Level {
    let [letter, m1, m2, d1, d2, b' ', h1, h2, b':', ..] = text else { return Level::None };
    if ![m1, m2, d1, d2, h1, h2].iter().all(|byte| byte.is_ascii_digit()) {
        return Level::None;
    }
    match letter {
        b'I' => Level::Info,
        b'W' => Level::Warning,
        b'E' => Level::Error,
        b'F' => Level::Fatal,
        _ => Level::None,
    }
}

/// Level of a word in front of the text, behind nothing but times, numbers,
/// names with digits and what stands in brackets.
fn leading(window: &[u8]) -> Level {
    // .NET's word for it, and Go's last one: neither is a level elsewhere.
    if window.starts_with(b"fail: ") {
        return Level::Error;
    }
    if window.starts_with(b"fatal error: ") {
        return Level::Fatal;
    }
    let mut start = 0;
    for _ in 0..LEADING_WORDS {
        start = skip_blanks(window, start);
        let rest = &window[start..];
        let end = start + rest.iter().take_while(|byte| !is_blank(**byte)).count();
        if start == end {
            break;
        }
        let found = match klog(rest) {
            Level::None => stated(window, start, end),
            found => found,
        };
        if found != Level::None || !may_precede(&window[start..end]) {
            return found;
        }
        start = end;
    }
    Level::None
}

/// Level that the token at these places states: `ERROR`, `error:`, `[error]`,
/// `<error>`, `util.py[DEBUG]:`, `INFO[0000]`, `12:28:03|warn|x`, or `error`
/// between tabs or in colour.
fn stated(window: &[u8], start: usize, end: usize) -> Level {
    let mut at = start;
    for part in window[start..end].split(|byte| is_mark(*byte)) {
        let found = of_word(part);
        if found != Level::None {
            let after = window.get(at + part.len()).copied();
            let before = at.checked_sub(1).map(|before| window[before]);
            let shouted = part.iter().all(u8::is_ascii_uppercase);
            let marked = after.is_some_and(|after| is_mark(after) || after == ESCAPE);
            let tabbed = before == Some(b'\t') && after == Some(b'\t');
            if shouted || marked || tabbed {
                return found;
            }
        }
        at += part.len() + 1;
    }
    Level::None
}

/// Whether a level may come after this token.
fn may_precede(token: &[u8]) -> bool {
    const DATE_WORDS: [&[u8]; 22] = [
        b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun", b"Jan", b"Feb", b"Mar", b"Apr",
        b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec", b"UTC", b"GMT", b"Z",
    ];
    let (first, last) = (token.first(), token.last());
    matches!(first, Some(b'[' | b'<'))
        || matches!(last, Some(b']' | b'>'))
        || token.iter().any(u8::is_ascii_digit)
        || !token.iter().any(u8::is_ascii_alphabetic)
        || DATE_WORDS.contains(&token)
}

const ESCAPE: u8 = 0x1b;

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | ESCAPE)
}

fn is_mark(byte: u8) -> bool {
    matches!(byte, b'[' | b']' | b'<' | b'>' | b'|' | b':')
}

/// Place of the next byte that is neither blank nor part of a colour (`ESC[31m`).
fn skip_blanks(window: &[u8], mut at: usize) -> usize {
    while let Some(byte) = window.get(at).filter(|byte| is_blank(**byte)) {
        at += 1;
        if *byte == ESCAPE {
            let colour = &window[at..];
            let length = colour.iter().take_while(|byte| !byte.is_ascii_alphabetic()).count();
            at += (length + 1).min(colour.len());
        }
    }
    at
}

/// Level of a key: `level=error`, `lvl="warn"`, or in JSON `"severity": "ERROR"`
/// and pino's `"level":50`.
fn keyed(window: &[u8], json: bool) -> Level {
    const KEYS: [(&[u8], usize); 3] = [(b"level", 2), (b"lvl", 1), (b"severity", 2)];
    // All keys hold a v, a rare letter.
    for v in memchr2_iter(b'v', b'V', window) {
        for (key, v_at) in KEYS {
            let Some(start) = v.checked_sub(v_at) else { continue };
            let Some((found, rest)) = window[start..].split_at_checked(key.len()) else { continue };
            if !found.eq_ignore_ascii_case(key) {
                continue;
            }
            let level = if json {
                json_value(&window[..start], rest)
            } else {
                logfmt_value(&window[..start], rest)
            };
            if level != Level::None {
                return level;
            }
        }
    }
    Level::None
}

/// Level behind a key of JSON; `"log.level"` is ECS.
fn json_value(before: &[u8], rest: &[u8]) -> Level {
    let quoted = match before {
        [.., b'\\', b'"'] => false,
        [.., b'"'] => true,
        _ => before.ends_with(b"\"log."),
    };
    let Some(rest) = rest.strip_prefix(b"\"").filter(|_| quoted) else { return Level::None };
    let Some(value) = rest.trim_ascii_start().strip_prefix(b":") else { return Level::None };
    let value = value.trim_ascii_start();
    match value.strip_prefix(b"\"") {
        Some(value) => of_word(word(value)),
        None => match value {
            [b'1' | b'2', b'0', b',' | b'}', ..] => Level::Debug,
            [b'3', b'0', b',' | b'}', ..] => Level::Info,
            [b'4', b'0', b',' | b'}', ..] => Level::Warning,
            [b'5', b'0', b',' | b'}', ..] => Level::Error,
            [b'6', b'0', b',' | b'}', ..] => Level::Fatal,
            _ => Level::None,
        },
    }
}

/// Level behind a key of logfmt.
fn logfmt_value(before: &[u8], rest: &[u8]) -> Level {
    let begins = matches!(before.last(), None | Some(b' ' | b'\t' | b',' | b'|' | b'[' | b'{'));
    match rest.strip_prefix(b"=").filter(|_| begins) {
        Some(value) => of_word(word(value.strip_prefix(b"\"").unwrap_or(value))),
        None => Level::None,
    }
}

/// Letters that a text begins with.
fn word(text: &[u8]) -> &[u8] {
    let length = text.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    &text[..length]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: Level, messages: &[&str]) {
        for message in messages {
            assert_eq!(level(message.as_bytes()), expected, "{message}");
        }
    }

    #[test]
    fn klog_states_it_by_a_letter() {
        check(Level::Info, &["I1122 12:28:03.000000       1 server.go:123] Starting"]);
        check(Level::Warning, &["W1122 12:28:03.000000       1 reflector.go:1] failed to list"]);
        check(
            Level::Error,
            &[
                "E1122 12:28:03.000000       1 leaderelection.go:330] error retrieving lock",
                "Nov 22 12:28:03 aks-pool-1 kubelet[812]: E1122 12:28:03.000000     812 kubelet.go:1] x",
            ],
        );
        check(Level::Fatal, &["F1122 12:28:03.000000       1 main.go:9] cannot start"]);
        check(Level::None, &["E1122 is an error code", "X1122 12:28:03.000000 x", "E1122 12"]);
    }

    #[test]
    fn a_key_states_it() {
        check(
            Level::Error,
            &[
                "level=error msg=\"x\"",
                r#"time="2026-11-22T12:28:03.000000042Z" level=error msg="loading cni conf""#,
                "ts=2026-11-22T12:28:03Z caller=main.go:1 lvl=eror msg=x",
                "time=x,level=\"error\"",
                r#"{"level":"error","ts":"2026-11-22T12:28:03Z","msg":"x"}"#,
                r#"{"ts":1795350483.1,"caller":"a/b.go:1","Level" : "Error"}"#,
                r#"{"time":"2026-11-22T12:28:03Z","severity":"ERROR","message":"x"}"#,
                r#"{"@timestamp":"x","log.level":"ERROR"}"#,
                r#"{"level":50,"time":1795350483000}"#,
                r#"  {"level":"error"}"#,
            ],
        );
        check(Level::Warning, &[r#"{"level":"warn"}"#, "lvl=warn", "severity=Warning x"]);
        check(Level::Debug, &[r#"{"level":20}"#, "level=trace"]);
        check(Level::Fatal, &[r#"{"level":"fatal"}"#, "level=panic msg=x"]);
        check(Level::Info, &[r#"{"level":"info","msg":"error"}"#, "level=info msg=\"an ERROR\""]);
        check(
            Level::None,
            &[
                "--log-level=error is set",
                "loglevel=error",
                "the level was an error",
                "level=",
                "level=5",
                r#"{"msg":"{\"level\":\"error\"}"}"#,
                r#"{"level":3}"#,
                r#"{"level":"#,
                r#"{"waterlevel":"error"}"#,
                "velvet, severity unknown",
            ],
        );
    }

    #[test]
    fn a_word_in_front_states_it() {
        check(
            Level::Error,
            &[
                "ERROR cannot connect",
                "ERROR",
                "ERROR:root:cannot connect",
                "Error: cannot connect",
                "error: cannot connect",
                "[ERROR] plugin/errors: 2 example.org. A: read udp: i/o timeout",
                "[error] x",
                "<error> x",
                "2026/11/22 12:28:03 [error] 29#29: *1 open() failed",
                "2026-11-22 12:28:03.123 ERROR 1 --- [main] c.e.App : x",
                "12:28:03.123 [main thread] ERROR com.example - x",
                "2026-11-22T12:28:03.123Z\terror\tcontroller/a.go:1\tx",
                "2026-11-22T12:28:03.123456Z ERROR Daemon x",
                "2026-11-22 12:28:03.123 UTC [1] ERROR:  relation does not exist",
                "Sun Nov 22 12:28:03 UTC 2026 ERROR x",
                "12:28:03|ERROR|x",
                "[12:28:03 ERR] x",
                "\u{1b}[31merror\u{1b}[39m: x",
                "\u{1b}[2m2026-11-22T12:28:03Z\u{1b}[0m \u{1b}[31mERROR\u{1b}[0m x",
                "ERR x",
                "fail: Microsoft.AspNetCore.Server.Kestrel[13]",
            ],
        );
        check(
            Level::Warning,
            &[
                "WARN: x",
                "WARNING: x",
                "warning: x",
                "[2026-11-22 12:28:03.123][1][warning][main] [source/server/server.cc:1] x",
                "[WARN] x",
                "WARN[0001] x",
            ],
        );
        check(
            Level::Info,
            &[
                "[INFO] Reloading",
                "info: Microsoft.Hosting.Lifetime[14]",
                "[2026/11/22 12:28:03] [ info] [engine] started",
                "2026-11-22T12:28:03.123456Z INFO Daemon Azure Linux Agent",
                "NOTICE: x",
            ],
        );
        check(Level::Debug, &["2026-11-22 12:28:03,123 - util.py[DEBUG]: Cloud-init v. 25.1"]);
        check(
            Level::Fatal,
            &[
                "panic: runtime error: index out of range",
                "fatal error: all goroutines are asleep - deadlock!",
                "FATAL x",
                "CRITICAL: x",
            ],
        );
    }

    #[test]
    fn to_speak_of_errors_is_not_to_state_one() {
        check(
            Level::None,
            &[
                "",
                "   ",
                "\u{1b}",
                "\u{1b}[31",
                "no error found",
                "0 errors, 3 warnings",
                "10 error records",
                "error",
                "error while connecting",
                "Error from server",
                "errors: 0",
                "information about errors",
                "Reconciling ERROR state",
                "fatal for others",
                "the FATAL: word comes late",
                "panic({0x1234, 0x5678})",
                "error=nil",
                "warn_once",
                "10.0.0.1 - - [22/Nov/2026:12:28:03 +0000] \"GET /ERROR HTTP/1.1\" 500",
                "GET /error 200",
                "http: TLS handshake error from 10.244.0.1:1234: EOF",
            ],
        );
        let far = format!("{} level=error", "x".repeat(WINDOW_BYTES));
        check(Level::None, &[&far]);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_much(bytes: Vec<u8>, text in "[A-Z ={}\":lev\\[\\]\t\u{1b}]{0,40}") {
            level(&bytes);
            level(text.as_bytes());
        }
    }
}
