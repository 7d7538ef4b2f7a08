//! A line as text, JSON or bytes.

use std::fmt::Write as _;
use std::io::Write;

use anyhow::Result;
use regex::bytes::Regex;
use serde_json::{Map, Value};

use super::LogFormat;
use super::merge::Line;
use super::select::Level;
use crate::manners;
use crate::output;
use crate::zone::Zone;

/// Colours of streams: what a terminal calls them, none that levels have.
const COLORS: [&str; 10] = ["32", "34", "35", "36", "92", "94", "95", "96", "38;5;172", "38;5;108"];

/// Bytes of a time that are shown: up to milliseconds.
const TIME_BYTES: usize = 23;

/// Writes lines.
pub(super) struct Printer<'a> {
    out: &'a mut dyn Write,
    format: LogFormat,
    colored: bool,
    regex: Option<Regex>,
    zone: Zone,
}

impl<'a> Printer<'a> {
    pub(super) fn new(
        out: &'a mut dyn Write,
        format: LogFormat,
        colored: bool,
        regex: Option<Regex>,
    ) -> Self {
        Self { out, format, colored, regex, zone: manners::zone() }
    }

    /// Writes a line that was asked for.
    pub(super) fn line(&mut self, line: &Line) -> Result<()> {
        self.write(line, true)
    }

    /// Writes a line that is near one.
    pub(super) fn context(&mut self, line: &Line) -> Result<()> {
        self.write(line, false)
    }

    /// Writes what stands between lines that are not next to each other.
    pub(super) fn separator(&mut self) -> Result<()> {
        if self.format == LogFormat::Text {
            writeln!(self.out, "--")?;
        }
        Ok(())
    }

    /// Hands over what is left.
    pub(super) fn finish(self) -> Result<()> {
        self.out.flush()?;
        Ok(())
    }

    fn write(&mut self, line: &Line, is_match: bool) -> Result<()> {
        match self.format {
            LogFormat::Text => self.text(line, is_match),
            LogFormat::Json => {
                serde_json::to_writer(&mut self.out, &json(line))?;
                Ok(writeln!(self.out)?)
            }
            LogFormat::Raw => {
                self.out.write_all(&line.message)?;
                Ok(self.out.write_all(b"\n")?)
            }
        }
    }

    fn text(&mut self, line: &Line, is_match: bool) -> Result<()> {
        let time = match line.ts.get(..TIME_BYTES) {
            Some(time) => format!("{time}Z"),
            None => line.ts.clone(),
        };
        let time = self.zone.time(&time);
        let node = line.node.as_deref().unwrap_or("-");
        let (node, label) = (output::one_line(node), output::one_line(&label(line)));
        let sign = if is_match { ':' } else { '-' };
        if !self.colored {
            let message = output::one_line(&String::from_utf8_lossy(&line.message));
            return Ok(writeln!(self.out, "{time} {node} {label}{sign} {message}")?);
        }
        let color = COLORS[line.stream_id.rem_euclid(COLORS.len() as i64) as usize];
        let message = self.painted(line, is_match);
        writeln!(
            self.out,
            "\x1b[2m{time}\x1b[0m {node} \x1b[{color}m{label}\x1b[0m{sign} {message}"
        )?;
        Ok(())
    }

    /// The message in the colour of its level, what matches standing out.
    fn painted(&self, line: &Line, is_match: bool) -> String {
        let base = match line.level() {
            Some(Level::Fatal | Level::Error) => "31",
            Some(Level::Warning) => "33",
            Some(Level::Debug) => "2",
            _ => "0",
        };
        let mut text = format!("\x1b[{base}m");
        let mut from = 0;
        let show = |bytes: &[u8]| output::one_line(&String::from_utf8_lossy(bytes));
        let matches = self.regex.iter().filter(|_| is_match);
        for found in matches.flat_map(|regex| regex.find_iter(&line.message)) {
            if found.is_empty() {
                continue;
            }
            let before = show(&line.message[from..found.start()]);
            let _ = write!(text, "{before}\x1b[1;7m{}\x1b[0;{base}m", show(found.as_bytes()));
            from = found.end();
        }
        text.push_str(&show(&line.message[from..]));
        text.push_str("\x1b[0m");
        text
    }
}

/// What a line is of: a container, a unit or a file.
fn label(line: &Line) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    match line.source.as_str() {
        "container" => {
            format!("{}/{}/{}", text(&line.namespace), text(&line.pod), text(&line.container))
        }
        "unit" => text(&line.unit),
        _ => text(&line.path),
    }
}

fn json(line: &Line) -> Value {
    let mut object = Map::new();
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            object.insert(name.to_owned(), value);
        }
    };
    let text = |text: &Option<String>| text.clone().map(Value::from);
    add("ts", Some(line.ts.clone().into()));
    add("node", text(&line.node));
    add("source", Some(line.source.clone().into()));
    add("namespace", text(&line.namespace));
    add("pod", text(&line.pod));
    add("container", text(&line.container));
    add("restart", line.restart.map(Value::from));
    add("unit", text(&line.unit));
    add("path", text(&line.path));
    add("output", text(&line.output));
    add("level", text(&line.level));
    add("message", Some(String::from_utf8_lossy(&line.message).into()));
    add("partial", line.partial.then_some(true.into()));
    add("inferred_time", line.inferred_time.then_some(true.into()));
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line {
            ts: "2026-11-22T12:28:03.123456789Z".to_owned(),
            node: Some("node-a".to_owned()),
            source: "unit".to_owned(),
            unit: Some("kubelet.service".to_owned()),
            level: Some("error".to_owned()),
            message: b"one \x1b[2Jtwo\nthree \xff".to_vec(),
            ..Line::default()
        }
    }

    fn written(format: LogFormat, colored: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let regex = Some(Regex::new("two").expect("sound"));
        let mut printer = Printer::new(&mut out, format, colored, regex);
        printer.line(&line()).expect("written");
        printer.separator().expect("written");
        printer.context(&line()).expect("written");
        out
    }

    #[test]
    fn a_line_cannot_command_the_terminal() {
        insta::assert_snapshot!(String::from_utf8(written(LogFormat::Text, false)).expect("text"));
        let colored = String::from_utf8(written(LogFormat::Text, true)).expect("text");
        assert!(colored.contains("\x1b[1;7mtwo\x1b[0;31m"), "{colored:?}");
        assert!(!colored.contains("\x1b[2J"), "{colored:?}");
    }

    #[test]
    fn programs_get_every_byte_or_every_field() {
        let raw = written(LogFormat::Raw, false);
        assert_eq!(raw, [&line().message[..], b"\n", &line().message[..], b"\n"].concat());
        let json = String::from_utf8(written(LogFormat::Json, false)).expect("text");
        let first: Value =
            serde_json::from_str(json.lines().next().expect("a line")).expect("JSON");
        assert_eq!(first["message"], "one \u{1b}[2Jtwo\nthree \u{fffd}");
        assert_eq!(first.get("pod"), None);
    }
}
