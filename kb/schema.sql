-- The index. Everything here is derived from the book's pages and can be rebuilt from them at any time.
CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;
CREATE SCHEMA IF NOT EXISTS tlab_kb;

-- One row: which layout of tables this is, and how often the index has changed (caches compare the revision).
CREATE TABLE IF NOT EXISTS tlab_kb.state (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    layout   integer NOT NULL,
    revision bigint  NOT NULL DEFAULT 0
);

-- A passage is about a paragraph. Its digest covers all that is stored of it, so an unchanged passage keeps its row.
CREATE TABLE IF NOT EXISTS tlab_kb.passage (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest    text    NOT NULL UNIQUE,
    kind      text    NOT NULL,
    document  text    NOT NULL,
    page      text    NOT NULL,
    title     text    NOT NULL,
    section   text    NOT NULL,
    anchor    text    NOT NULL,
    words     integer NOT NULL DEFAULT 0,
    embedding public.vector(384) NOT NULL
);

-- Position 0 is the passage's heading, which is matched but never quoted.
CREATE TABLE IF NOT EXISTS tlab_kb.sentence (
    passage   bigint  NOT NULL REFERENCES tlab_kb.passage ON DELETE CASCADE,
    position  integer NOT NULL,
    body      text    NOT NULL,
    embedding public.vector(384) NOT NULL,
    PRIMARY KEY (passage, position)
);

-- Word stems for BM25.
CREATE TABLE IF NOT EXISTS tlab_kb.posting (
    term      text    NOT NULL,
    passage   bigint  NOT NULL REFERENCES tlab_kb.passage ON DELETE CASCADE,
    frequency integer NOT NULL,
    PRIMARY KEY (term, passage)
);
CREATE INDEX IF NOT EXISTS posting_passage ON tlab_kb.posting (passage);
