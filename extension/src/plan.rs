//! What of a question of the host is asked inside: one SELECT over one table.

use std::fmt::Write;

/// A condition that the host offers, as `sqlite3_index_constraint` has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Term {
    /// Number of the column, negative for the rowid.
    pub(crate) column: i32,
    /// How it compares, as `SQLITE_INDEX_CONSTRAINT_…`.
    pub(crate) operator: u8,
    /// Whether its right side is known by then.
    pub(crate) is_usable: bool,
    /// Whether texts compare by their bytes.
    pub(crate) is_binary: bool,
}

/// A column by which the host wants rows in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) column: i32,
    pub(crate) is_descending: bool,
}

/// How a question is answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// The statement inside.
    pub(crate) sql: String,
    /// Which conditions are its parameters, in order, and whether the host need not look
    /// at them again.
    pub(crate) used: Vec<(usize, bool)>,
    /// Whether rows come in the order that is wanted.
    pub(crate) is_ordered: bool,
    /// What it costs, in rows.
    pub(crate) cost: f64,
    /// How many rows come of it.
    pub(crate) rows: f64,
}

/// How a condition is written, and whether only here is known what it means.
fn operator(term: Term) -> Option<(&'static str, bool)> {
    let compared = |text| term.is_binary.then_some((text, false));
    match term.operator {
        2 => compared("= ?"),
        4 => compared("> ?"),
        8 => compared("<= ?"),
        16 => compared("< ?"),
        32 => compared(">= ?"),
        72 => compared("IS ?"),
        64 => Some(("MATCH ?", true)),
        67 => Some(("REGEXP ?", true)),
        65 => Some(("LIKE ?", false)),
        66 => Some(("GLOB ?", false)),
        // Both have a right side, which is NULL.
        70 => Some(("IS NOT ?", false)),
        71 => Some(("IS ?", false)),
        _ => None,
    }
}

/// `SQLITE_INDEX_CONSTRAINT_LIMIT`.
const LIMIT: u8 = 73;

/// Plans a question over a table with these columns, of which `wanted` are wanted, a bit
/// each; the last bit stands for all from there on.
pub(crate) fn plan(
    table: &str,
    columns: &[String],
    rows: f64,
    terms: &[Term],
    order: &[Order],
    wanted: u64,
) -> Plan {
    let name = |column: i32| usize::try_from(column).ok().and_then(|at| columns.get(at));
    let mut sql = "SELECT ".to_owned();
    for (at, column) in columns.iter().enumerate() {
        let is_wanted = wanted >> at.min(63) & 1 != 0;
        let comma = if at > 0 { ", " } else { "" };
        let cell = if is_wanted { quoted(column) } else { "NULL".to_owned() };
        sql.extend([comma, &cell]);
    }
    // Writing to a String cannot fail.
    let _ = write!(sql, " FROM {}", quoted(table));
    let mut used = Vec::new();
    for (at, term) in terms.iter().enumerate().filter(|(_, term)| term.is_usable) {
        let (Some(column), Some((text, is_owned))) = (name(term.column), operator(*term)) else {
            continue;
        };
        let word = if used.is_empty() { "WHERE" } else { "AND" };
        let _ = write!(sql, " {word} {} {text}", quoted(column));
        used.push((at, is_owned));
    }
    // The first rows can be found without all others; all of them the host sorts as fast.
    let has_limit = terms.iter().any(|term| term.operator == LIMIT);
    let names: Option<Vec<_>> = order.iter().map(|order| name(order.column)).collect();
    let is_ordered = has_limit && !order.is_empty() && names.is_some();
    if let (true, Some(names)) = (is_ordered, names) {
        for (at, (column, order)) in names.iter().zip(order).enumerate() {
            let word = if at == 0 { " ORDER BY" } else { "," };
            let direction = if order.is_descending { " DESC" } else { "" };
            let _ = write!(sql, "{word} {}{direction}", quoted(column));
        }
        // A limit that is never reached: the host stops when it has enough.
        let _ = write!(sql, " LIMIT {}", i64::MAX);
    }
    let share = 4_f64.powi(-(used.len() as i32));
    // Never below half of all: rows of views have no numbers of their own, by which the
    // host could tell those apart that two conditions joined by OR both find. So it must
    // not look for them one by one.
    let cost = (rows + 1_000.0) * share.mul_add(0.3, 0.7);
    Plan { sql, used, is_ordered, cost, rows: rows.mul_add(share, 1.0) }
}

/// A name as SQL takes any.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(terms: &[Term], order: &[Order], wanted: u64) -> Plan {
        let columns = ["node", "ts", "a\"b"].map(str::to_owned);
        plan("log", &columns, 1e6, terms, order, wanted)
    }

    fn term(column: i32, operator: u8) -> Term {
        Term { column, operator, is_usable: true, is_binary: true }
    }

    #[test]
    fn conditions_become_parameters() {
        let unusable = Term { is_usable: false, ..term(0, 2) };
        let folded = Term { is_binary: false, ..term(0, 2) };
        let terms =
            [unusable, term(1, 32), folded, term(-1, 2), term(2, 64), term(0, 68), term(0, 71)];
        let plan = ask(&terms, &[], 0b010);
        assert_eq!(
            plan.sql,
            "SELECT NULL, \"ts\", NULL FROM \"log\" WHERE \"ts\" >= ? AND \"a\"\"b\" MATCH ? \
             AND \"node\" IS ?"
        );
        assert_eq!(plan.used, [(1, false), (4, true), (6, false)]);
    }

    #[test]
    fn order_is_kept_for_the_first_rows_only() {
        let order =
            [Order { column: 1, is_descending: true }, Order { column: 0, is_descending: false }];
        assert!(!ask(&[], &order, 1).is_ordered);
        let plan = ask(&[term(-1, LIMIT)], &order, 1);
        assert!(plan.is_ordered && plan.used.is_empty());
        let end = "FROM \"log\" ORDER BY \"ts\" DESC, \"node\" LIMIT 9223372036854775807";
        assert!(plan.sql.ends_with(end), "{}", plan.sql);
        assert!(
            !ask(&[term(-1, LIMIT)], &[Order { column: -1, is_descending: false }], 1).is_ordered
        );
    }

    #[test]
    fn two_searches_cost_more_than_a_scan() {
        let all = ask(&[], &[], 1).cost;
        for count in 1..9 {
            let some = ask(&vec![term(0, 2); count], &[], 1);
            assert!(some.cost < all && some.cost * 2.0 > all * 1.3, "{count}");
        }
    }
}
