-- Searches that stay fast with a million products, and that find a SKU. Owned by app/catalog.

-- CONCURRENTLY, which can't be in a transaction, since nobody should wait meanwhile. What a run that was broken off has
-- left is invalid, and made anew: https://www.postgresql.org/docs/current/sql-createindex.html
-- +goose NO TRANSACTION
-- +goose Up

-- Every product belongs to a block of 4,096 ids, whose number is one more word of its document, and so is its category's
-- id. A search goes block by block and stops when its page is full, so no word is too common for it: see
-- app/catalog/search.go. product_search stays for the release before this one.
DROP INDEX CONCURRENTLY IF EXISTS product_search_block;
CREATE INDEX CONCURRENTLY product_search_block ON product
    USING gin ((search || array_to_tsvector(ARRAY['#' || (id >> 12)::text, '@' || category_id::text])));

-- For the beginning of a code, whatever the database's collation:
-- https://www.postgresql.org/docs/current/indexes-opclass.html
DROP INDEX CONCURRENTLY IF EXISTS sku_code_prefix;
CREATE INDEX CONCURRENTLY sku_code_prefix ON sku (code text_pattern_ops) INCLUDE (product_id);

-- +goose Down
DROP INDEX CONCURRENTLY IF EXISTS sku_code_prefix;
DROP INDEX CONCURRENTLY IF EXISTS product_search_block;
