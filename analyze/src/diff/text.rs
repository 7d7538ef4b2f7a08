//! Differences as text, sized to the terminal.

use std::io::{self, Write};

use comfy_table::CellAlignment;

use super::Style;
use super::model::{
    Change, Connection, Differences, FindingChange, Findings, Named, Reached, Section, State,
    Unknown,
};
use crate::manners;
use crate::output::{one_line, printable, some, table};
use crate::prose::{self, write_wrapped};
use crate::report::{to_percent, told};

/// Longest value that is shown whole, in characters.
const SHOWN_CHARACTERS: usize = 400;

/// Writes all differences.
pub(super) fn write(all: &Differences, style: Style, out: &mut impl Write) -> io::Result<()> {
    let compared = all.nodes.compared.len();
    let mut writer = Writer { out, style, width: prose::width(), compared };
    writer.head(all)?;
    if let Some(findings) = &all.findings {
        writer.findings(findings)?;
    }
    let is_silent = |section: &&Section| section.changes.is_empty() && section.unknown.is_empty();
    for section in all.sections.iter().filter(|section| !is_silent(section)) {
        writer.section(section)?;
    }
    if let Some(connections) = &all.connections {
        writer.connections(connections)?;
    }
    let silent: Vec<_> = all.sections.iter().filter(is_silent).collect();
    if !silent.is_empty() {
        writeln!(writer.out, "\nNO DIFFERENCE\n")?;
        for section in silent {
            let alike = match section.alike {
                0 => "nothing on either side".to_owned(),
                count => format!("{count} alike"),
            };
            writeln!(writer.out, "  {}: {alike}", section.title)?;
        }
    }
    Ok(())
}

/// How many changes there are of each state: `2 new, 1 gone`.
pub(super) fn counts(states: &(impl Iterator<Item = State> + Clone)) -> String {
    let text = |state: State| {
        let count = states.clone().filter(|other| *other == state).count();
        (count > 0).then(|| format!("{count} {}", state.name()))
    };
    let all = [State::New, State::Gone, State::Changed, State::Unknown];
    let texts: Vec<String> = all.into_iter().filter_map(text).collect();
    if texts.is_empty() { "no difference".to_owned() } else { texts.join(", ") }
}

/// What a change says after its item: what it was and what it is.
pub(super) fn values(change: &Change) -> String {
    let shown = |text: &String| if text.is_empty() { "(empty)".to_owned() } else { cut(text) };
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => format!("{} → {}", shown(before), shown(after)),
        (Some(text), None) | (None, Some(text)) if !text.is_empty() => cut(text),
        _ => String::new(),
    }
}

/// Where a change is: nothing for what belongs to the cluster, or if one pair is compared.
pub(super) fn on(nodes: &[String], compared: usize) -> String {
    match nodes {
        [] => String::new(),
        [_] if compared == 1 => String::new(),
        nodes if nodes.len() == compared => format!(" (on all {compared} nodes)"),
        nodes => format!(" (on {})", some(nodes)),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A share, outages and a median, as the cells of a side.
pub(super) fn cells(reached: Option<Reached>) -> [String; 3] {
    let Some(reached) = reached else { return ["–", "–", "–"].map(str::to_owned) };
    let or = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    [
        or(reached.availability.map(to_percent)),
        reached.outages.to_string(),
        or(reached.median_ms.map(|ms| format!("{ms:.1} ms"))),
    ]
}

struct Writer<'a, W: Write> {
    out: &'a mut W,
    style: Style,
    width: usize,
    /// Nodes that are compared.
    compared: usize,
}

impl<W: Write> Writer<'_, W> {
    fn head(&mut self, all: &Differences) -> io::Result<()> {
        writeln!(self.out, "PERISCOPE DIFF\n")?;
        self.side("A        ", &all.a)?;
        self.side("B        ", &all.b)?;
        let compared: Vec<String> =
            all.nodes.compared.iter().map(super::model::Pair::name).collect();
        let text = match compared.as_slice() {
            [] => "none of one name\nhint: --node-a and --node-b compare two nodes".to_owned(),
            names => format!("{} ({})", names.len(), some(names)),
        };
        for (at, line) in text.lines().enumerate() {
            write_wrapped(
                self.out,
                if at == 0 { "Compared " } else { "         " },
                line,
                self.width,
            )?;
        }
        for (head, nodes) in
            [("Only in A  ", &all.nodes.only_a), ("Only in B  ", &all.nodes.only_b)]
        {
            if !nodes.is_empty() {
                write_wrapped(self.out, head, &some(nodes), self.width)?;
            }
        }
        if let Some(zone) = manners::zone_note() {
            writeln!(self.out, "Times    {zone}")?;
        }
        Ok(())
    }

    fn side(&mut self, head: &str, side: &Named) -> io::Result<()> {
        let time = |time: &Option<String>| time.as_deref().map_or("–".to_owned(), told);
        let nodes = crate::report::model::plural(side.nodes as i64, "node");
        let text = format!(
            "{}: {nodes}, run {}, {} to {}",
            printable(&side.bundle),
            some(&side.runs),
            time(&side.from),
            time(&side.until)
        );
        write_wrapped(self.out, head, &text, self.width)?;
        for text in &side.left_out {
            write_wrapped(self.out, "         ", &printable(text), self.width)?;
        }
        Ok(())
    }

    /// A sign, in colour if these are wanted.
    fn sign(&self, state: State) -> String {
        let color = match state {
            State::New => "32",
            State::Gone => "31",
            State::Changed => "33",
            State::Unknown => "2",
        };
        manners::painted(self.style.colored, color, &state.sign().to_string())
    }

    fn findings(&mut self, findings: &Findings) -> io::Result<()> {
        let states = findings.changes.iter().map(|change| change.state);
        writeln!(self.out, "\nFINDINGS: {}, {} alike\n", counts(&states), findings.alike)?;
        for change in findings.changes.iter().take(self.style.shown) {
            self.finding(change)?;
        }
        self.more(findings.changes.len().saturating_sub(self.style.shown))
    }

    fn finding(&mut self, change: &FindingChange) -> io::Result<()> {
        let node = change.node.as_deref().unwrap_or("all nodes");
        let head = format!(
            "  {} {} {} on {}: ",
            self.sign(change.state),
            change.severity,
            change.diagnostic,
            printable(node)
        );
        let message = |text: &str| manners::zoned(&printable(text)).replace('\n', " ");
        match (&change.before, &change.after) {
            (Some(before), Some(after)) => {
                write_wrapped(self.out, &head, &message(&after.message), self.width)?;
                write_wrapped(self.out, "      before: ", &message(&before.message), self.width)?;
            }
            (Some(said), None) | (None, Some(said)) => {
                write_wrapped(self.out, &head, &message(&said.message), self.width)?;
            }
            (None, None) => {}
        }
        match &change.unknown {
            Some(unsure) => {
                let text = format!("not known in {}: {}", unsure.side, printable(&unsure.reason));
                write_wrapped(self.out, "      ", &text.replace('\n', " "), self.width)
            }
            None => Ok(()),
        }
    }

    fn section(&mut self, section: &Section) -> io::Result<()> {
        let states = section.changes.iter().map(|change| change.state);
        let title = section.title.to_uppercase();
        writeln!(self.out, "\n{title}: {}, {} alike\n", counts(&states), section.alike)?;
        for change in section.changes.iter().take(self.style.shown) {
            self.change(change)?;
        }
        self.more(section.changes.len().saturating_sub(self.style.shown) + section.more)?;
        section.unknown.iter().try_for_each(|unknown| self.unknown(unknown))
    }

    fn change(&mut self, change: &Change) -> io::Result<()> {
        let head = format!("  {} ", self.sign(change.state));
        let (item, values) = (one_line(&change.item), one_line(&values(change)));
        let text = if values.is_empty() { item } else { format!("{item}: {values}") };
        let text = format!("{text}{}", on(&change.nodes, self.compared));
        write_wrapped(self.out, &head, &text, self.width)
    }

    fn unknown(&mut self, unknown: &Unknown) -> io::Result<()> {
        let text = format!(
            "not known in {}: {} that the other side has, as {}{}",
            unknown.unsure.side,
            unknown.items,
            printable(&unknown.unsure.reason).replace('\n', " "),
            on(&unknown.nodes, self.compared)
        );
        write_wrapped(self.out, &format!("  {} ", self.sign(State::Unknown)), &text, self.width)
    }

    fn more(&mut self, count: usize) -> io::Result<()> {
        if count == 0 {
            return Ok(());
        }
        writeln!(self.out, "  and {count} more: --all shows them")
    }

    fn connections(&mut self, connections: &[Connection]) -> io::Result<()> {
        let count = connections.iter().filter(|row| row.differs).count();
        writeln!(self.out, "\nCONNECTIONS: {count} of {} differ\n", connections.len())?;
        if connections.is_empty() {
            return writeln!(self.out, "No probe samples of nodes that are compared.");
        }
        let mut rows =
            table(["", "node", "target", "available A", "B", "outages A", "B", "median A", "B"]);
        for row in connections.iter().take(self.style.shown) {
            let ([share_a, out_a, median_a], [share_b, out_b, median_b]) =
                (cells(row.a), cells(row.b));
            let sign = if row.differs { State::Changed.sign().to_string() } else { String::new() };
            let names = [sign, printable(&row.node), printable(&row.target)];
            let numbers = [share_a, share_b, out_a, out_b, median_a, median_b];
            rows.add_row(names.into_iter().chain(numbers));
        }
        for at in 3..9 {
            if let Some(column) = rows.column_mut(at) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        writeln!(self.out, "{rows}")?;
        self.more(connections.len().saturating_sub(self.style.shown))
    }
}
