-- What the till has to remember: orders of an address that has its limit, whose
-- allowance a guest's units are after a login, and the total that a customer
-- was last shown. Owned by app/checkout and app/cart.

-- +goose Up

-- The cart first, as everywhere: a checkout locks it before its order.
ALTER TABLE cart
    ADD COLUMN shown_minor    bigint,   -- the total that its owner was last shown; NULL: none
    ADD COLUMN shown_currency char(3),
    ADD COLUMN refused_key    text,     -- a checkout was refused since, and told a dearer total under this key
    ADD CONSTRAINT cart_shown CHECK ((shown_minor IS NULL) = (shown_currency IS NULL)) NOT VALID;

-- Constraints are checked for new rows from here on, and for old ones by the
-- next migration: so nobody waits for a look at all orders.
-- https://www.postgresql.org/docs/current/sql-altertable.html
ALTER TABLE orders
    ADD COLUMN over_limit  text,  -- the SKU of which its e-mail address had enough: nothing is charged for such an order
    ADD COLUMN counted_for uuid,  -- whose allowance its units count against; NULL: its owner's
    DROP CONSTRAINT orders_cancel_reason_check,
    ADD CONSTRAINT orders_cancel_reason_check
        CHECK (cancel_reason IN ('declined', 'payment_failed', 'expired', 'customer_limit')) NOT VALID,
    ADD CONSTRAINT orders_email_lower CHECK (email = lower(email)) NOT VALID;

-- +goose Down
UPDATE orders SET cancel_reason = 'payment_failed' WHERE cancel_reason = 'customer_limit';
ALTER TABLE orders
    DROP CONSTRAINT orders_email_lower,
    DROP CONSTRAINT orders_cancel_reason_check,
    ADD CONSTRAINT orders_cancel_reason_check CHECK (cancel_reason IN ('declined', 'payment_failed', 'expired')),
    DROP COLUMN counted_for,
    DROP COLUMN over_limit;
ALTER TABLE cart
    DROP CONSTRAINT cart_shown,
    DROP COLUMN refused_key,
    DROP COLUMN shown_currency,
    DROP COLUMN shown_minor;
