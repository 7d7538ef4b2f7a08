-- What a live file holds beside the schema: the agent's own memory of how far
-- it read. It is no step of the schema. The writer makes these tables with the
-- file and drops them when it seals it, so no file that is sent has them.

CREATE TABLE raw_live (
    generation INTEGER NOT NULL -- counts live files; of two, the higher is newer
) STRICT;

CREATE TABLE raw_position (
    collector TEXT NOT NULL, -- collector that reads the source
    source TEXT NOT NULL, -- stream, file or journal that it reads
    value TEXT NOT NULL, -- JSON of the collector's own: what to go on with
    PRIMARY KEY (collector, source)
) STRICT, WITHOUT ROWID;
