//! Arithmetic of stretches of time.

/// A stretch of time in nanoseconds since 1970; its end is no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    /// Its begin.
    pub(crate) from_ns: i64,
    /// Its end, never before its begin.
    pub(crate) until_ns: i64,
}

impl Span {
    /// A span, or an instant if the end is before the begin.
    pub(crate) fn new(from_ns: i64, until_ns: i64) -> Self {
        Self { from_ns, until_ns: until_ns.max(from_ns) }
    }

    /// What of it lies in another, `None` if nothing does.
    pub(crate) fn within(self, other: Self) -> Option<Self> {
        let from_ns = self.from_ns.max(other.from_ns);
        let until_ns = self.until_ns.min(other.until_ns);
        (from_ns <= until_ns).then_some(Self { from_ns, until_ns })
    }

    /// How long it is.
    pub(crate) fn length_ns(self) -> i64 {
        self.until_ns.saturating_sub(self.from_ns)
    }
}

/// The same time in spans that do not touch, by time.
pub(crate) fn union(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut all: Vec<Span> = Vec::new();
    for span in spans {
        match all.last_mut() {
            Some(last) if span.from_ns <= last.until_ns => {
                last.until_ns = last.until_ns.max(span.until_ns);
            }
            _ => all.push(span),
        }
    }
    all
}

/// What of a span is in none of `holes`, which are as [`union`] gives them.
pub(crate) fn without(span: Span, holes: &[Span]) -> Vec<Span> {
    let mut left = Vec::new();
    let mut from_ns = span.from_ns;
    for hole in holes {
        if hole.until_ns <= from_ns || hole.from_ns >= span.until_ns {
            continue;
        }
        if hole.from_ns > from_ns {
            left.push(Span::new(from_ns, hole.from_ns));
        }
        from_ns = hole.until_ns;
    }
    if from_ns < span.until_ns {
        left.push(Span::new(from_ns, span.until_ns));
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(pairs: &[(i64, i64)]) -> Vec<Span> {
        pairs.iter().map(|&(from, until)| Span::new(from, until)).collect()
    }

    #[test]
    fn spans_unite_and_part() {
        let all = union(spans(&[(5, 7), (1, 3), (2, 4), (7, 9)]));
        assert_eq!(all, spans(&[(1, 4), (5, 9)]));
        assert_eq!(without(Span::new(0, 10), &all), spans(&[(0, 1), (4, 5), (9, 10)]));
        assert_eq!(without(Span::new(2, 3), &all), []);
        assert_eq!(without(Span::new(2, 6), &all), spans(&[(4, 5)]));
        assert_eq!(without(Span::new(0, 1), &[]), spans(&[(0, 1)]));
        assert_eq!(Span::new(3, 1), Span::new(3, 3), "no span ends before it begins");
    }

    #[test]
    fn the_ends_of_time_do_no_harm() {
        let all = Span::new(i64::MIN, i64::MAX);
        assert_eq!(all.length_ns(), i64::MAX);
        assert_eq!(without(all, &spans(&[(0, 1)])).len(), 2);
        assert_eq!(all.within(Span::new(1, 2)), Some(Span::new(1, 2)));
        assert_eq!(Span::new(0, 1).within(Span::new(2, 3)), None);
    }
}
