-- Step 1: everything a node file holds. The same tables make up a merged file.
--
-- Names start with raw_ because analysts do not read these tables: they read
-- the views and virtual tables of sql/views, which carry the plain names.
-- Ids are the first 63 bits of a SHA-256 over what they identify
-- (store/src/identity.rs), so that a merge is a union.
-- Every *_ns is nanoseconds: since 1970-01-01T00:00:00Z, or a duration.

CREATE TABLE raw_node (
    id INTEGER PRIMARY KEY, -- identity of (name, machine_id)
    name TEXT NOT NULL, -- name of the node in Kubernetes, else its host name
    machine_id TEXT NOT NULL -- /etc/machine-id, empty if the node has none
) STRICT;

CREATE TABLE raw_session (
    id INTEGER PRIMARY KEY, -- identity of (node, boot, started_ns, process)
    node_id INTEGER NOT NULL, -- raw_node that the agent ran on
    run_id TEXT NOT NULL, -- name of the run that this session belongs to
    cluster TEXT, -- host name of the API server, NULL if the node knows none
    agent_version TEXT NOT NULL, -- version of the agent that wrote the rows
    boot_id TEXT NOT NULL, -- /proc/sys/kernel/random/boot_id, may be empty
    started_ns INTEGER NOT NULL, -- wall clock when the agent's process began
    ended_ns INTEGER NOT NULL, -- wall clock of the last commit
    config TEXT NOT NULL -- JSON: configuration that held, without secrets
) STRICT;

CREATE TABLE raw_batch (
    id INTEGER PRIMARY KEY, -- identity of (session, collector, seq)
    session_id INTEGER NOT NULL, -- raw_session that made the batch
    collector TEXT NOT NULL, -- name of the collector, as in the agent's list
    seq INTEGER NOT NULL, -- number of the batch in its session and collector
    round INTEGER NOT NULL, -- number of the poll; a long poll has many batches
    started_ns INTEGER NOT NULL, -- wall clock when reading began
    ended_ns INTEGER NOT NULL, -- wall clock when reading ended
    outcome TEXT NOT NULL -- how it went; 'partial': see raw_issue
        CHECK (outcome IN ('complete', 'partial', 'absent', 'failed')),
    message TEXT, -- why it is absent or failed, NULL otherwise
    row_count INTEGER NOT NULL -- rows of all tables and chunks in this batch
) STRICT;

CREATE TABLE raw_issue (
    batch_id INTEGER NOT NULL, -- raw_batch that met the issue
    ord INTEGER NOT NULL, -- position in its batch, from 0
    source TEXT NOT NULL, -- file, unit, chain or request that it is about
    kind TEXT NOT NULL -- what became of the data; first two are no loss
        CHECK (kind IN ('absent', 'excluded', 'unreadable', 'truncated',
                        'dropped', 'damaged')),
    amount INTEGER, -- how much was lost, NULL if nobody can know
    unit TEXT, -- what amount counts: 'bytes', 'lines', 'rules', 'entries', …
    message TEXT NOT NULL, -- one sentence for a person
    PRIMARY KEY (batch_id, ord)
) STRICT, WITHOUT ROWID;

CREATE TABLE raw_stream (
    id INTEGER PRIMARY KEY, -- identity of (node, kind, name, attributes)
    node_id INTEGER NOT NULL, -- raw_node that the stream belongs to
    kind TEXT NOT NULL -- what its rows are; decides how chunks are read
        CHECK (kind IN ('container', 'unit', 'file', 'probe', 'host')),
    name TEXT NOT NULL, -- short name within its kind
    attributes TEXT NOT NULL -- JSON object: what else tells it apart
) STRICT;

CREATE TABLE raw_chunk (
    id INTEGER PRIMARY KEY, -- identity of (batch, ordinal), or of chunks it is of
    kind TEXT NOT NULL, -- kind of all its streams
    codec INTEGER NOT NULL, -- how data is laid out (store/src/codec)
    row_count INTEGER NOT NULL, -- rows of all runs
    raw_bytes INTEGER NOT NULL, -- size of its columns before compression
    data BLOB NOT NULL -- columns, each compressed on its own
) STRICT;

CREATE TABLE raw_chunk_run (
    chunk_id INTEGER NOT NULL, -- raw_chunk that holds the rows
    ord INTEGER NOT NULL, -- position of the run in its chunk, from 0
    batch_id INTEGER, -- raw_batch that saw these rows, NULL if they do not count
    stream_id INTEGER NOT NULL, -- raw_stream of these rows
    row_count INTEGER NOT NULL, -- rows in the run; runs lie one after another
    first_ns INTEGER NOT NULL, -- smallest time of a row
    last_ns INTEGER NOT NULL, -- largest time of a row
    failed_count INTEGER NOT NULL, -- rows with outcome 'fail', 0 for logs
    max_gap_ns INTEGER NOT NULL, -- largest step between two rows of the run
    PRIMARY KEY (chunk_id, ord)
) STRICT, WITHOUT ROWID;

CREATE TABLE raw_chunk_filter (
    chunk_id INTEGER PRIMARY KEY, -- raw_chunk that it says something of
    data BLOB NOT NULL -- what cannot be in it (store/src/codec/filter.rs); may be empty
) STRICT;

CREATE TABLE raw_setting (
    batch_id INTEGER NOT NULL, -- raw_batch that saw the setting
    ord INTEGER NOT NULL, -- position in its batch, from 0
    scope TEXT NOT NULL, -- family: 'dns.node', 'kubelet', 'provision', …
    name TEXT NOT NULL, -- name as its source spells it
    value TEXT, -- value as text, NULL if set to nothing
    source TEXT NOT NULL, -- file, command line or object that sets it
    PRIMARY KEY (batch_id, ord)
) STRICT, WITHOUT ROWID;

CREATE TABLE raw_iptables_chain (
    batch_id INTEGER NOT NULL, -- raw_batch that saw the chain
    ord INTEGER NOT NULL, -- position in its batch, from 0
    family TEXT NOT NULL, -- 'ipv4' or 'ipv6'
    backend TEXT NOT NULL, -- 'nf_tables', 'legacy' or 'unknown'
    table_name TEXT NOT NULL, -- 'filter', 'nat', 'mangle', 'raw', 'security'
    chain TEXT NOT NULL, -- name of the chain
    policy TEXT, -- policy of a built-in chain, NULL for any other
    packets INTEGER, -- packets that met the policy
    bytes INTEGER, -- bytes that met the policy
    PRIMARY KEY (batch_id, ord)
) STRICT, WITHOUT ROWID;

CREATE TABLE raw_iptables_rule (
    batch_id INTEGER NOT NULL, -- raw_batch that saw the rule
    ord INTEGER NOT NULL, -- position in its batch, from 0
    family TEXT NOT NULL, -- 'ipv4' or 'ipv6'
    backend TEXT NOT NULL, -- 'nf_tables', 'legacy' or 'unknown'
    table_name TEXT NOT NULL, -- 'filter', 'nat', 'mangle', 'raw', 'security'
    chain TEXT NOT NULL, -- chain that the rule is in
    position INTEGER NOT NULL, -- place in its chain, from 1 as iptables counts
    packets INTEGER, -- packets that matched
    bytes INTEGER, -- bytes that matched
    source TEXT, -- -s, with its ! if negated
    destination TEXT, -- -d, with its ! if negated
    protocol TEXT, -- -p, with its ! if negated
    in_interface TEXT, -- -i, with its ! if negated
    out_interface TEXT, -- -o, with its ! if negated
    destination_port TEXT, -- --dport or --dports, with its ! if negated
    target TEXT, -- -j or -g: what the rule does
    comment TEXT, -- --comment, unquoted
    rule TEXT NOT NULL, -- whole rule as iptables-save prints it, no counters
    PRIMARY KEY (batch_id, ord)
) STRICT, WITHOUT ROWID;

CREATE TABLE raw_object (
    batch_id INTEGER NOT NULL, -- raw_batch that saw the object
    ord INTEGER NOT NULL, -- position in its batch, from 0
    api_version TEXT NOT NULL, -- group and version, as in the object
    kind TEXT NOT NULL, -- kind, as in the object
    namespace TEXT, -- namespace, NULL for cluster-wide objects
    name TEXT NOT NULL, -- name of the object
    uid TEXT, -- uid that the API server gave it
    json TEXT NOT NULL, -- the object as JSON, redacted
    PRIMARY KEY (batch_id, ord)
) STRICT;

CREATE TABLE raw_certificate (
    batch_id INTEGER NOT NULL, -- raw_batch that saw the certificate
    ord INTEGER NOT NULL, -- position in its batch, from 0
    origin TEXT NOT NULL -- whether a file holds it or a server showed it
        CHECK (origin IN ('file', 'server')),
    source TEXT NOT NULL, -- path of the file, or name of the probe target
    position INTEGER NOT NULL, -- place in its file or chain, from 1
    subject TEXT NOT NULL, -- whom it names
    issuer TEXT NOT NULL, -- who signed it
    serial TEXT NOT NULL, -- serial number in hexadecimal
    not_before_ns INTEGER NOT NULL, -- when it begins to hold
    not_after_ns INTEGER NOT NULL, -- when it ends to hold, at most the year 2262
    alternative_names TEXT NOT NULL, -- JSON list of names and addresses it is for
    is_authority INTEGER NOT NULL, -- 1 if it may sign others, else 0
    public_key TEXT NOT NULL, -- kind and size of its key, such as 'RSA 2048'
    fingerprint TEXT NOT NULL, -- SHA-256 of it all in hexadecimal
    verified INTEGER, -- 1 if the chain was trusted, 0 if not; NULL for files
    verification TEXT, -- why the chain was not trusted
    PRIMARY KEY (batch_id, ord)
) STRICT, WITHOUT ROWID;

CREATE TABLE raw_redaction (
    batch_id INTEGER NOT NULL, -- raw_batch in which secrets were masked
    ord INTEGER NOT NULL, -- position in its batch, from 0
    rule TEXT NOT NULL, -- name of the rule that matched
    source TEXT NOT NULL, -- where: stream, file or object
    amount INTEGER NOT NULL, -- how many times
    PRIMARY KEY (batch_id, ord)
) STRICT, WITHOUT ROWID;

CREATE INDEX raw_batch_session ON raw_batch (session_id, collector, round);
CREATE INDEX raw_chunk_run_batch ON raw_chunk_run (batch_id);
CREATE INDEX raw_chunk_run_stream ON raw_chunk_run (stream_id, first_ns,
                                                    last_ns, chunk_id);
