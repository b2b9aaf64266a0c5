-- The titles of the lines that were there before. Owned by app/checkout.

-- Each batch is a transaction of its own, found by the primary key, and goes around rows that somebody holds: nobody waits
-- for it. It comes back for those.
-- +goose NO TRANSACTION
-- +goose Up
-- +goose StatementBegin
DO $$
DECLARE
    last_order uuid;
    last_sku   bigint;
BEGIN
    WHILE EXISTS (SELECT FROM order_line WHERE title IS NULL) LOOP
        last_order := '00000000-0000-0000-0000-000000000000';
        last_sku := 0;
        WHILE last_order IS NOT NULL LOOP
            WITH page AS (
                SELECT order_id, sku_id FROM order_line WHERE (order_id, sku_id) > (last_order, last_sku)
                 ORDER BY order_id, sku_id LIMIT 1000
            ), free AS (
                SELECT l.order_id, l.sku_id FROM page JOIN order_line l USING (order_id, sku_id)
                 WHERE l.title IS NULL FOR UPDATE OF l SKIP LOCKED
            ), filled AS (
                UPDATE order_line l SET title = l.name FROM free WHERE (l.order_id, l.sku_id) = (free.order_id, free.sku_id)
            )
            SELECT order_id, sku_id INTO last_order, last_sku FROM page ORDER BY order_id DESC, sku_id DESC LIMIT 1;
            COMMIT;
        END LOOP;
        PERFORM pg_sleep(0.1);  -- for whoever holds the last ones
    END LOOP;
END $$;
-- +goose StatementEnd
ALTER TABLE order_line VALIDATE CONSTRAINT order_line_title;

-- +goose Down
