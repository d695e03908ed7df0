-- Hybrid search in one statement: z(passage) + z(best sentence) + bm25_weight * z(BM25), then the page's boost. A
-- lesson tells a story around its cells, so for a question asked elsewhere it stands behind pages that explain.
-- Exact on purpose: at this size a scan is quicker than an approximate index, and misses nothing.
WITH question AS (
    SELECT %(vector)s::public.vector AS vector
),
wanted AS (
    SELECT lexeme AS term FROM unnest(to_tsvector('english', %(text)s))
),
size AS (
    SELECT count(*)::float8 AS passages, avg(words)::float8 AS words FROM tlab_kb.passage
),
rarity AS (
    SELECT wanted.term,
           ln(1 + (size.passages - count(posting.passage) + 0.5) / (count(posting.passage) + 0.5)) AS idf
    FROM wanted CROSS JOIN size LEFT JOIN tlab_kb.posting USING (term)
    GROUP BY wanted.term, size.passages
),
lexical AS (
    SELECT posting.passage,
           sum(rarity.idf * posting.frequency * (%(k1)s + 1)
               / (posting.frequency + %(k1)s * (1 - %(b)s + %(b)s * passage.words / size.words))) AS bm25,
           sum(rarity.idf) / (SELECT sum(idf) FROM rarity) AS coverage
    FROM tlab_kb.posting
    JOIN rarity USING (term)
    JOIN tlab_kb.passage ON passage.id = posting.passage
    CROSS JOIN size
    GROUP BY posting.passage
),
sentences AS (
    SELECT passage,
           max(1 - (embedding OPERATOR(public.<=>) question.vector)) AS best,
           json_agg(json_build_object('body', body, 'cosine', 1 - (embedding OPERATOR(public.<=>) question.vector))
                    ORDER BY position) FILTER (WHERE position > 0) AS found
    FROM tlab_kb.sentence CROSS JOIN question
    GROUP BY passage
),
scored AS (
    SELECT passage.*,
           1 - (passage.embedding OPERATOR(public.<=>) question.vector) AS passage_cosine,
           sentences.best AS sentence_cosine,
           sentences.found,
           coalesce(lexical.bm25, 0) AS bm25,
           coalesce(lexical.coverage, 0) AS coverage
    FROM tlab_kb.passage
    CROSS JOIN question
    JOIN sentences ON sentences.passage = passage.id
    LEFT JOIN lexical ON lexical.passage = passage.id
),
ranked AS (
    SELECT scored.*,
           (passage_cosine - avg(passage_cosine) OVER ()) / greatest(stddev_pop(passage_cosine) OVER (), 1e-9)
           + (sentence_cosine - avg(sentence_cosine) OVER ()) / greatest(stddev_pop(sentence_cosine) OVER (), 1e-9)
           + %(bm25_weight)s * (bm25 - avg(bm25) OVER ()) / greatest(stddev_pop(bm25) OVER (), 1e-9)
           + CASE WHEN page = %(page)s THEN %(boost)s
                  WHEN kind = 'lesson' THEN -%(lesson_handicap)s
                  ELSE 0 END AS score
    FROM scored
)
SELECT kind, document, page, title, section, anchor, found, score, passage_cosine, sentence_cosine, bm25, coverage
FROM ranked
ORDER BY score DESC, id
LIMIT %(limit)s
