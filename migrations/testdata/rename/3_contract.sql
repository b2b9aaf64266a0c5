-- Contract of EXPAND: no release reads or writes order_line.name any more. Owned by app/checkout.

-- +goose Up
DROP TRIGGER equal_title ON order_line;
ALTER TABLE order_line DROP COLUMN name;
DROP FUNCTION equal_title;

-- +goose Down
-- What the old release reads comes back, as far as it can be known.
ALTER TABLE order_line ADD COLUMN name text;
