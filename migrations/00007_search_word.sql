-- The words of the catalogue as they are written, so that the beginning of one finds it. Owned by app/catalog.

-- +goose Up

-- Words stay: one that no product has any more finds nothing.
CREATE TABLE search_word (word text COLLATE "C" PRIMARY KEY);

-- +goose StatementBegin
CREATE FUNCTION add_search_words() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_word
    SELECT DISTINCT word FROM written, unnest(tsvector_to_array(to_tsvector('simple', name || ' ' || description))) AS word
     WHERE length(word) BETWEEN 3 AND 100
     ORDER BY word  -- two at once can't deadlock
        ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
-- +goose StatementEnd

CREATE TRIGGER search_words_of_new AFTER INSERT ON product
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION add_search_words();
CREATE TRIGGER search_words_of_changed AFTER UPDATE ON product
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION add_search_words();

INSERT INTO search_word
SELECT DISTINCT word FROM product, unnest(tsvector_to_array(to_tsvector('simple', name || ' ' || description))) AS word
 WHERE length(word) BETWEEN 3 AND 100
 ORDER BY word;

-- +goose Down
DROP TRIGGER search_words_of_changed ON product;
DROP TRIGGER search_words_of_new ON product;
DROP FUNCTION add_search_words;
DROP TABLE search_word;
