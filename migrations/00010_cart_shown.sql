-- The total that a customer was last shown, so that a checkout can refuse a
-- dearer one. Owned by app/cart.

-- +goose Up
ALTER TABLE cart
    ADD COLUMN shown_minor    bigint,   -- the total that its owner was last shown; NULL: none
    ADD COLUMN shown_currency char(3),
    ADD COLUMN refused_key    text,     -- a checkout was refused since, and told a dearer total under this key
    ADD CONSTRAINT cart_shown CHECK ((shown_minor IS NULL) = (shown_currency IS NULL)) NOT VALID;

-- +goose Down
ALTER TABLE cart
    DROP CONSTRAINT cart_shown,
    DROP COLUMN refused_key,
    DROP COLUMN shown_currency,
    DROP COLUMN shown_minor;
