-- What other hosts are told at once: that the catalogue has changed, and that a shelf is empty, low, or full again.
-- A notification is a hint, and nobody waits for one: https://www.postgresql.org/docs/current/sql-notify.html

-- +goose Up
-- +goose StatementBegin
CREATE FUNCTION notify_catalogue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('catalogue', '');  -- equal ones of one transaction are sent once
    RETURN NULL;
END $$;
-- +goose StatementEnd

CREATE TRIGGER notify AFTER INSERT OR UPDATE OR DELETE ON category   FOR EACH STATEMENT EXECUTE FUNCTION notify_catalogue();
CREATE TRIGGER notify AFTER INSERT OR UPDATE OR DELETE ON product    FOR EACH STATEMENT EXECUTE FUNCTION notify_catalogue();
CREATE TRIGGER notify AFTER INSERT OR UPDATE OR DELETE ON sku        FOR EACH STATEMENT EXECUTE FUNCTION notify_catalogue();
CREATE TRIGGER notify AFTER INSERT OR UPDATE OR DELETE ON sale       FOR EACH STATEMENT EXECUTE FUNCTION notify_catalogue();
CREATE TRIGGER notify AFTER INSERT OR UPDATE OR DELETE ON sale_price FOR EACH STATEMENT EXECUTE FUNCTION notify_catalogue();

-- +goose StatementBegin
CREATE FUNCTION notify_stock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('stock', NEW.sku_id || ' ' || NEW.available);
    RETURN NULL;
END $$;
-- +goose StatementEnd

-- Only where customers see another availability (inventory.Level): COMMIT of a transaction that notifies takes a lock
-- that all those share, and the hot row changes thousands of times.
CREATE TRIGGER notify AFTER UPDATE OF available ON stock FOR EACH ROW
    WHEN ((OLD.available > 0) <> (NEW.available > 0) OR (OLD.available > 10) <> (NEW.available > 10))
    EXECUTE FUNCTION notify_stock();

-- +goose Down
DROP TRIGGER notify ON stock;
DROP TRIGGER notify ON sale_price;
DROP TRIGGER notify ON sale;
DROP TRIGGER notify ON sku;
DROP TRIGGER notify ON product;
DROP TRIGGER notify ON category;
DROP FUNCTION notify_stock, notify_catalogue;
