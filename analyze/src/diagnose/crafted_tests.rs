//! Files that were made to break the analysis: they cost their own node's
//! answers at most.

use periscope_store::batch::{Batch, Outcome, ProbeOutcome, ProbeSample, ProbeTarget, Stream};
use periscope_store::time::parse_rfc3339;
use periscope_store::writer::{Poll, Writer};

use super::fixture::{self, Opened, SECOND, START};
use super::library::built_in;
use super::run::{Answer, Limits, State, Survey, run};
use super::views::VIEWS;

const TWO_NODES: &str = "
    nodes = ['node-1', 'node-2']
    probe = [
        { pattern = 'ooofffooo' },
        { node = 'node-2', pattern = 'ooofffooo' },
    ]
    object = [{ node = 'node-2', json = '{\"kind\": \"Pod\", \"metadata\": {\"name\": \"p\"}}' }]
    setting = [{ node = 'node-2', scope = 'kubelet', name = 'clusterDNS', value = '[1]', source = 's' }]
";

/// Reads every view, asks every diagnostic, and gives the outages.
fn ask_everything(connection: &mut Opened) -> Answer {
    for (view, _) in VIEWS {
        let mut statement = connection.prepare(&format!("SELECT * FROM {view}")).unwrap();
        let mut rows = statement.raw_query();
        while rows.next().unwrap_or_else(|error| panic!("{view}: {error}")).is_some() {}
    }
    let survey = Survey::read(connection).unwrap();
    let mut outages = None;
    for diagnostic in built_in().unwrap() {
        let answer = run(connection, &diagnostic, &survey, Limits::default());
        assert_eq!(answer.error, None, "{}", diagnostic.id);
        if diagnostic.id == "outage-windows" {
            outages = Some(answer);
        }
    }
    outages.unwrap()
}

fn nodes_of(answer: &Answer) -> Vec<&str> {
    answer.findings.iter().map(|finding| finding.node.as_deref().unwrap()).collect()
}

#[test]
fn attributes_that_are_no_json_are_missing_and_no_error() {
    for attributes in ["{\"kind\"", "", "[]", "5", "null", "{\"url\": {}, \"interval_ns\": \"x\"}"]
    {
        let sql = format!(
            "UPDATE raw_stream SET attributes = '{attributes}'
             WHERE node_id = (SELECT id FROM raw_node WHERE name = 'node-2')"
        );
        let bundle = toml::from_str(TWO_NODES).unwrap();
        let mut connection = fixture::open_crafted(&bundle, &sql);
        let answer = ask_everything(&mut connection);
        assert_eq!(nodes_of(&answer), ["node-1", "node-2"], "{attributes}");
        let message = &answer.findings[0].message;
        assert!(message.starts_with("mcr (https://mcr.example/) was down"), "{message}");
    }
}

#[test]
fn objects_and_sessions_of_nonsense_are_no_error() {
    let bundle = toml::from_str(TWO_NODES).unwrap();
    let sql = "
        INSERT INTO raw_object SELECT batch_id, 1, '', kind, '', 'q', '', '{' FROM raw_object;
        UPDATE raw_object SET json = '{\"status\": {\"containerStatuses\": [
            {\"restartCount\": 9223372036854775807}, {\"restartCount\": 9223372036854775807}]}}'
            WHERE name = 'p';
        UPDATE raw_setting SET value = '[\"';
        UPDATE raw_session SET config = '{', boot_id = '', ended_ns = 9223372036854775807;
        UPDATE raw_batch SET started_ns = -9223372036854775808, row_count = 9223372036854775807;
        INSERT INTO raw_batch SELECT id - 1, session_id, collector, seq + 1, round, started_ns,
            ended_ns, outcome, message, row_count FROM raw_batch;
        INSERT INTO raw_issue SELECT id, 0, '', 'dropped', 9223372036854775807, '', '' FROM raw_batch;
        INSERT INTO raw_redaction SELECT id, 0, '', '', 9223372036854775807 FROM raw_batch;";
    let answer = ask_everything(&mut fixture::open_crafted(&bundle, sql));
    assert_eq!(nodes_of(&answer), ["node-1", "node-2"]);
}

/// A node that is well known, and one with two sessions of three samples whose
/// numbers are all `extreme` or next to it.
fn beside_extremes(extreme: i64, interval_ns: i64) -> Opened {
    fixture::open_files(|folder| {
        let bundle = toml::from_str("probe = [{ pattern = 'ooofffooo' }]").unwrap();
        fixture::write(&bundle, folder).unwrap();
        let start = parse_rfc3339(START).unwrap();
        for number in 1..3 {
            let path = folder.join(format!("node-2-{number}.db"));
            let session = fixture::session(number, 0, start);
            let mut writer = Writer::create(&path, &fixture::node("node-2"), &session).unwrap();
            let mut batch = Batch::new("probe");
            let stream = batch.stream(Stream::probe(&ProbeTarget {
                name: "mcr".to_owned(),
                kind: "internet".to_owned(),
                url: "https://mcr.example/".to_owned(),
                interval_ns,
                timeout_ns: interval_ns,
            }));
            for (seq, outcome) in [ProbeOutcome::Ok, ProbeOutcome::Fail, ProbeOutcome::Ok]
                .into_iter()
                .cycle()
                .take(9)
                .enumerate()
            {
                let near = extreme.saturating_add(seq as i64).saturating_sub(4);
                let sample = ProbeSample {
                    seq: near as u64,
                    ts_ns: near,
                    mono_ns: if seq % 2 == 0 { near } else { near.wrapping_neg() },
                    outcome,
                    duration_us: near as u64,
                    ..ProbeSample::default()
                };
                batch.probe(stream, &sample);
            }
            let poll = Poll {
                seq: 0,
                round: 0,
                started_ns: start,
                ended_ns: start + SECOND,
                outcome: Outcome::Complete,
                message: None,
            };
            writer.commit(batch, &poll).unwrap();
            writer.seal().unwrap();
        }
    })
}

#[test]
fn extreme_numbers_are_no_error() {
    for extreme in [i64::MIN, -1, i64::MAX / 1_000, i64::MAX / 2, i64::MAX] {
        for interval_ns in [i64::MIN, 0, i64::MAX] {
            let mut connection = beside_extremes(extreme, interval_ns);
            let answer = ask_everything(&mut connection);
            let of_first = nodes_of(&answer).iter().filter(|node| **node == "node-1").count();
            assert_eq!(of_first, 1, "{extreme} {interval_ns}");
            assert_eq!(answer.nodes[0].state, State::Finding { findings: 1 });
        }
    }
}
