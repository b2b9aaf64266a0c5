package catalog

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A search is answered block by block. PostgreSQL has no index that finds words
// in the order of ids: it either reads all that has them, which is too much where
// the words are common, or walks the ids until a page is full, which is too much
// where they are rare, and it guesses wrongly for two words that are common but
// never together. So the number of a product's block, 4,096 ids, is one more word
// of its document, as is its category (migrations/00008_search_index.sql): a block
// is one look into the index, bounded whatever the words are, and as many blocks
// are looked at as a page takes. Blocks without a product are left out.
//
// The first word, the other words, the last and the block are conditions of their
// own: of those, GIN skips from one to the next, where it walks all of the rarest
// word for a condition that has them together. OFFSET 0 keeps PostgreSQL from
// choosing between the two bad ways after all.
//
// Parameters: $1 after, $2 limit, $3 the category as a word, "" for all; and the
// fields of [search] in their order.
const searchProducts = `-- name: catalog.search
WITH RECURSIVE named AS MATERIALIZED (
    (SELECT product_id AS id FROM sku WHERE code ~>=~ $4 AND code ~<~ $5 LIMIT 500)
    UNION
    (SELECT id FROM product WHERE slug = $6)
), begun AS MATERIALIZED (
    SELECT websearch_to_tsquery('english', string_agg(word, ' or ')) AS words
      FROM (SELECT word FROM search_word
             WHERE $9 AND word >= $10 AND word < $10 || chr(1114111) AND NOT EXISTS (SELECT FROM search_word WHERE word = $10)
             ORDER BY word LIMIT 20) AS w
), asked AS MATERIALIZED (
    SELECT websearch_to_tsquery('english', $7) AS first, websearch_to_tsquery('english', $8) AS others,
           coalesce(websearch_to_tsquery('english', $10) || words, websearch_to_tsquery('english', $10)) AS last
      FROM begun
), page (block, ids) AS (
    SELECT (SELECT id >> 12 FROM product WHERE id > $1 ORDER BY id LIMIT 1), '{}'::bigint[]
    UNION ALL
    SELECT (SELECT id >> 12 FROM product WHERE id >= (block + 1) << 12 ORDER BY id LIMIT 1),
           ids || ARRAY(
               SELECT id FROM (
                   (SELECT id FROM product
                     WHERE numnode(first) + numnode(others) + numnode(last) > 0
                       AND ` + document + ` @@ here
                       AND ` + document + ` @@ CASE WHEN numnode(first) = 0 THEN here ELSE first END
                       AND ` + document + ` @@ CASE WHEN numnode(others) = 0 THEN here ELSE others END
                       AND ` + document + ` @@ CASE WHEN numnode(last) = 0 THEN here WHEN $9 THEN last ELSE last && here END
                    OFFSET 0)
                   UNION
                   (SELECT id FROM named JOIN product USING (id)
                     WHERE id >> 12 = block AND ($3::text = '' OR '@' || category_id::text = $3::text))
               ) AS found
                WHERE id > $1 ORDER BY id LIMIT $2 - cardinality(ids))
      FROM page, asked, LATERAL (SELECT ('#' || block || CASE WHEN $3::text = '' THEN '' ELSE '&' || $3::text END)::tsquery AS here) AS b
     WHERE block IS NOT NULL AND cardinality(ids) < $2
)` + selectHits + `(SELECT unnest(ids) AS id FROM (SELECT ids FROM page ORDER BY cardinality(ids) DESC LIMIT 1) AS full_page)` + joinHits

// document is the expression of the index product_search_block.
const document = `(search || array_to_tsvector(ARRAY['#' || (id >> 12)::text, '@' || category_id::text]))`

// search is what a text asks for.
type search struct {
	codeFrom, codeTo string // SKUs: from, and before
	slug             string
	first, others    string
	plain            bool   // words only; then last may be the beginning of one
	last             string // the last word, or all that is not plain
}

// searchFor reads a text. Where it has the form of a SKU it asks for that as well;
// where it has a digit or a hyphen, for all SKUs that begin so. Where all of it is
// plain words and the catalogue does not have the last, that is taken for the
// beginning of a word.
func searchFor(text string) search {
	s := search{last: text}
	if code := strings.ToUpper(text); codeForm.MatchString(code) {
		s.codeFrom, s.codeTo = code, code+"-" // sorts behind the code, and before all that begin so
		if strings.ContainsAny(code, "-0123456789") {
			s.codeTo = code + "_" // sorts behind them
		}
		s.slug = strings.ToLower(code)
	}
	words := strings.Fields(strings.ToLower(text))
	for _, w := range words {
		if w == "or" || strings.ContainsFunc(w, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			return s
		}
	}
	n := len(words)
	if n == 0 || utf8.RuneCountInString(words[n-1]) < shortestBeginning {
		return s
	}
	s.plain, s.last = true, words[n-1]
	if n > 1 {
		s.first, s.others = words[0], strings.Join(words[1:n-1], " ")
	}
	return s
}

// shortestBeginning is in characters. Fewer are the beginning of too much.
const shortestBeginning = 3

// codeForm is that of a SKU's code or its beginning, in capital letters.
var codeForm = regexp.MustCompile(`^[A-Z0-9][A-Z0-9-]{2,63}$`)
