-- A line's name becomes its title: the new form beside the old one. Owned by app/checkout.

-- +goose Up
ALTER TABLE order_line ADD COLUMN title text;

-- The old release writes name alone, and the new one title alone: each finds what the other has written.
-- +goose StatementBegin
CREATE FUNCTION equal_title() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.name IS DISTINCT FROM OLD.name THEN
        NEW.title := NEW.name;
    ELSE
        NEW.title := coalesce(NEW.title, NEW.name);
        NEW.name := NEW.title;
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER equal_title BEFORE INSERT OR UPDATE ON order_line FOR EACH ROW EXECUTE FUNCTION equal_title();

-- The new release writes no name: the trigger does, before the check of NOT NULL.
-- Whoever reads title finds one in every row, once the next migrations have filled it.
ALTER TABLE order_line ADD CONSTRAINT order_line_title CHECK (title IS NOT NULL) NOT VALID;

-- +goose Down
ALTER TABLE order_line DROP CONSTRAINT order_line_title;
DROP TRIGGER equal_title ON order_line;
DROP FUNCTION equal_title;
ALTER TABLE order_line DROP COLUMN title;
