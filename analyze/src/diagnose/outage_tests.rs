//! Compares `probe_incident` with the same definition written as a loop, over
//! patterns made by chance.

use periscope_store::time::parse_rfc3339;

use super::fixture;

/// An incident: slot of its first failure, failures, samples, verdict, what
/// nobody saw, and whether it was flapping.
type Incident = (usize, usize, usize, &'static str, &'static str, bool);

/// Samples of one segment: the slot each was taken in, and whether it was up.
type Segment = Vec<(usize, bool)>;

/// Parts a pattern where nothing is known: more than 2.5 intervals without a
/// sample, or a new session.
fn segments(pattern: &str) -> Vec<Segment> {
    let mut segments = vec![Segment::new()];
    let mut slot = 0;
    for sign in pattern.chars() {
        match sign {
            '|' => segments.push(Segment::new()),
            'o' | 'f' => {
                let current = segments.last_mut().unwrap();
                match current.last() {
                    Some((before, _)) if slot - before > 2 => {
                        segments.push(vec![(slot, sign == 'o')]);
                    }
                    _ => current.push((slot, sign == 'o')),
                }
                slot += 1;
            }
            _ => slot += 1,
        }
    }
    segments
}

/// Whether samples `first..=last`, all up, lie inside 21 samples that change
/// ten times or more.
fn is_flapping(segment: &Segment, first: usize, last: usize) -> bool {
    let changes = |from: usize, to: usize| {
        (from + 1..=to).filter(|at| segment[*at].1 != segment[at - 1].1).count()
    };
    (last.saturating_sub(19)..first)
        .any(|from| changes(from, (from + 20).min(segment.len() - 1)) >= 10)
}

fn incidents(segment: &Segment) -> Vec<Incident> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(skip) = segment[at..].iter().position(|(_, up)| !up) {
        let start = at + skip;
        let (mut end, mut flapping) = (start, false);
        loop {
            while segment.get(end + 1).is_some_and(|(_, up)| !up) {
                end += 1;
            }
            let Some(length) = segment[end + 1..].iter().position(|(_, up)| !up) else { break };
            let bridged = is_flapping(segment, end + 1, end + length);
            if length >= 2 && !bridged {
                break;
            }
            flapping |= bridged;
            end += length + 1;
        }
        let inside = &segment[start..=end];
        let fails = inside.iter().filter(|(_, up)| !up).count();
        let longest = inside.split(|(_, up)| *up).map(<[_]>::len).max().unwrap();
        let verdict = if flapping || longest >= 2 { "outage" } else { "blip" };
        let censored = match (start == 0, end + 1 == segment.len()) {
            (true, true) => "both",
            (true, false) => "start",
            (false, true) => "end",
            (false, false) => "no",
        };
        found.push((segment[start].0, fails, inside.len(), verdict, censored, flapping));
        at = end + 1;
    }
    found
}

/// Compares the view and the loop on all patterns, each a target of one bundle.
fn check(patterns: &[String]) {
    let probes: Vec<_> = patterns
        .iter()
        .enumerate()
        .map(|(number, pattern)| format!("{{ target = '{number}', pattern = '{pattern}' }}"))
        .collect();
    let text = format!("probe = [{}]", probes.join(", "));
    let connection = fixture::open(&toml::from_str(&text).unwrap());
    let start = parse_rfc3339(fixture::START).unwrap();
    let sql =
        "SELECT target, (ts_ns - ?) / 10000000000, fails, samples, verdict, censored, flapping
        FROM probe_incident ORDER BY CAST(target AS INT), ts_ns";
    let mut statement = connection.prepare(sql).unwrap();
    let mut found = vec![Vec::new(); patterns.len()];
    let mut rows = statement.query([start]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let target: String = row.get(0).unwrap();
        let texts: (String, String) = (row.get(4).unwrap(), row.get(5).unwrap());
        let counts: [i64; 3] = [1, 2, 3].map(|at| row.get(at).unwrap());
        let flapping: bool = row.get(6).unwrap();
        found[target.parse::<usize>().unwrap()].push((counts, texts, flapping));
    }
    for (pattern, found) in patterns.iter().zip(found) {
        let expected: Vec<_> = segments(pattern)
            .iter()
            .flat_map(incidents)
            .map(|(slot, fails, samples, verdict, censored, flapping)| {
                let counts = [slot, fails, samples].map(|count| i64::try_from(count).unwrap());
                (counts, (verdict.to_owned(), censored.to_owned()), flapping)
            })
            .collect();
        assert_eq!(found, expected, "{pattern}");
    }
}

#[test]
fn the_view_and_a_loop_find_the_same_incidents() {
    let (mut seed, mut patterns) = (7_u64, Vec::new());
    let mut chance = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for _ in 0..400 {
        // How often a sample is unlike the one before differs from pattern to
        // pattern, so that both long outages and flapping come up.
        let (restless, mut up) = (chance(8) + 1, true);
        let mut pattern = String::new();
        for _ in 0..80 {
            if chance(9) < restless {
                up = !up;
            }
            pattern.push(match chance(40) {
                0 => '_',
                1 => 's',
                2 if chance(4) == 0 => '|',
                _ if up => 'o',
                _ => 'f',
            });
            if chance(60) == 0 {
                pattern.push_str("___");
            }
        }
        patterns.push(pattern);
    }
    check(&patterns);
    let all = patterns.iter().flat_map(|pattern| segments(pattern));
    let flapping = all.flat_map(|segment| incidents(&segment)).filter(|found| found.5).count();
    assert!(flapping > 20, "chance made {flapping} flapping incidents only");
}

#[test]
fn ten_changes_within_21_samples_are_flapping_and_nine_are_not() {
    let count = |pattern: &str| segments(pattern).iter().flat_map(incidents).count();
    // Ten changes, the last one 19 samples after the first.
    let ten = "ooffooffooffooffoofffooo".to_owned();
    assert_eq!(count(&ten), 1);
    // The same, one sample longer.
    let slower = "ooffooffooffooffooffffooo".to_owned();
    assert_eq!(count(&slower), 5);
    check(&[ten, slower]);
}
